//! Document paths: `a.b[2]`.

use std::fmt;

use super::Parsed;
use crate::dynamodb::value::{Item, Value};

/// AWS: "Expressions", limits.
pub const MAX_DEPTH: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    Attribute(String),
    Index(usize),
}

/// Begins with an attribute of the item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Segment>);

impl Path {
    /// The item's attribute that the path begins with.
    pub fn attribute(&self) -> &str {
        match &self.0[0] {
            Segment::Attribute(name) => name,
            Segment::Index(_) => unreachable!("a path begins with an attribute"),
        }
    }

    /// The attribute, when the path is nothing more.
    pub fn as_attribute(&self) -> Option<&str> {
        (self.0.len() == 1).then(|| self.attribute())
    }

    pub fn get<'a>(&self, item: &'a Item) -> Option<&'a Value> {
        let mut value = item.get(self.attribute())?;
        for segment in &self.0[1..] {
            value = match (segment, value) {
                (Segment::Attribute(name), Value::M(map)) => map.get(name)?,
                (Segment::Index(index), Value::L(list)) => list.get(*index)?,
                _ => return None,
            };
        }
        Some(value)
    }
}

/// `[a, b, [2]]`, as errors print paths.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.0.iter().map(|segment| match segment {
            Segment::Attribute(name) => name.clone(),
            Segment::Index(index) => format!("[{index}]"),
        });
        write!(f, "[{}]", segments.collect::<Vec<_>>().join(", "))
    }
}

/// Refuses paths of which one is or begins another, or that take one value for a list and a map.
pub fn check_overlap(paths: &[Path]) -> Parsed<()> {
    for (n, one) in paths.iter().enumerate() {
        for two in &paths[n + 1..] {
            let common = one.0.iter().zip(&two.0).take_while(|(a, b)| a == b).count();
            let whole = common == one.0.len().min(two.0.len());
            let fault = if whole {
                "overlap"
            } else {
                match (&one.0[common], &two.0[common]) {
                    (Segment::Attribute(_), Segment::Index(_))
                    | (Segment::Index(_), Segment::Attribute(_)) => "conflict",
                    _ => continue,
                }
            };
            return Err(format!(
                "Two document paths {fault} with each other; must remove or rewrite one of these \
                 paths; path one: {one}, path two: {two}"
            ));
        }
    }
    Ok(())
}

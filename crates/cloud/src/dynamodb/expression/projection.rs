//! Which parts of an item are answered.

use std::collections::BTreeMap;

use super::{Path, Segment};
use crate::dynamodb::value::{Item, Value};

/// A tree of the wanted paths; a node without branches wants all below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projection {
    branches: BTreeMap<Segment, Projection>,
}

impl Projection {
    pub fn new(paths: &[Path]) -> Projection {
        let mut root = Projection::default();
        for path in paths {
            let mut node = &mut root;
            for segment in &path.0 {
                node = node.branches.entry(segment.clone()).or_default();
            }
        }
        root
    }

    /// The item's attributes that the wanted paths begin with.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.branches.keys().filter_map(|segment| match segment {
            Segment::Attribute(name) => Some(name.as_str()),
            Segment::Index(_) => None,
        })
    }

    pub fn apply(&self, item: &Item) -> Item {
        self.apply_to_map(item)
    }

    fn apply_to_map(&self, map: &Item) -> Item {
        let mut out = Item::new();
        for (segment, below) in &self.branches {
            if let Segment::Attribute(name) = segment
                && let Some(value) = map.get(name)
                && let Some(value) = below.apply_to(value)
            {
                out.insert(name.clone(), value);
            }
        }
        out
    }

    fn apply_to(&self, value: &Value) -> Option<Value> {
        if self.branches.is_empty() {
            return Some(value.clone());
        }
        match value {
            Value::M(map) => {
                let out = self.apply_to_map(map);
                (!out.is_empty()).then_some(Value::M(out))
            }
            Value::L(list) => {
                // The elements move together, in the order of the list.
                let wanted = self.branches.iter().filter_map(|(segment, below)| match segment {
                    Segment::Index(index) => below.apply_to(list.get(*index)?),
                    Segment::Attribute(_) => None,
                });
                let out: Vec<Value> = wanted.collect();
                (!out.is_empty()).then_some(Value::L(out))
            }
            _ => None,
        }
    }
}

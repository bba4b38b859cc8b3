//! DynamoDB's expression language: what conditions, filters, key conditions, updates and projections
//! are written in. Parsing resolves the placeholders; evaluation is over plain items.

mod condition;
mod key_condition;
mod lexer;
mod parser;
mod path;
mod projection;
mod reserved;
mod update;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

pub use condition::{Comparator, Condition};
pub use key_condition::{KeyCondition, SortCondition};
pub use path::{Path, Segment};
pub use projection::Projection;
pub use update::Update;

use super::value::{Item, Value};
use super::{Error, Result};

/// 4 KB.
const MAX_BYTES: usize = 4096;

/// The names and values an expression may refer to, and which of them were.
#[derive(Debug, Default)]
pub struct Placeholders {
    names: BTreeMap<String, String>,
    values: BTreeMap<String, Value>,
    used: RefCell<BTreeSet<String>>,
}

impl Placeholders {
    /// `expressions`: those of the request by name, given or not; placeholders without any are refused.
    pub fn new(
        names: Option<BTreeMap<String, String>>,
        values: Option<Item>,
        expressions: &[(&'static str, bool)],
    ) -> Result<Placeholders> {
        let none_given = expressions.iter().all(|(_, given)| !given);
        if names.is_some() && none_given {
            return Err(Error::validation(
                "ExpressionAttributeNames can only be specified when using expressions",
            ));
        }
        // Projections take no values.
        let users: Vec<_> = expressions.iter().filter(|(name, _)| *name != PROJECTION).collect();
        if values.is_some() && users.iter().all(|(_, given)| !given) {
            let names: Vec<_> = users.iter().map(|(name, _)| *name).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            return Err(Error::validation(format!(
                "ExpressionAttributeValues can only be specified when using expressions: {} {verb} null",
                names.join(" and ")
            )));
        }
        for (member, keys, sign) in [
            ("ExpressionAttributeNames", names.as_ref().map(|m| m.keys().collect::<Vec<_>>()), '#'),
            ("ExpressionAttributeValues", values.as_ref().map(|m| m.keys().collect()), ':'),
        ] {
            let Some(keys) = keys else { continue };
            if keys.is_empty() {
                return Err(Error::validation(format!("{member} must not be empty")));
            }
            for key in keys {
                let rest = key.strip_prefix(sign).unwrap_or_default();
                if rest.is_empty() || !rest.chars().all(lexer::is_word) {
                    return Err(Error::validation(format!(
                        "{member} contains invalid key: Syntax error; key: \"{key}\""
                    )));
                }
            }
        }
        Ok(Placeholders {
            names: names.unwrap_or_default(),
            values: values.unwrap_or_default(),
            used: RefCell::default(),
        })
    }

    /// After all expressions of the request are parsed: refuses what none of them used.
    pub fn finish(&self) -> Result<()> {
        let used = self.used.borrow();
        let unused = |keys: Vec<&String>| -> Option<String> {
            let unused: Vec<&str> =
                keys.into_iter().filter(|key| !used.contains(*key)).map(String::as_str).collect();
            (!unused.is_empty()).then(|| unused.join(", "))
        };
        for (member, keys) in [
            ("ExpressionAttributeNames", self.names.keys().collect()),
            ("ExpressionAttributeValues", self.values.keys().collect()),
        ] {
            if let Some(keys) = unused(keys) {
                return Err(Error::validation(format!(
                    "Value provided in {member} unused in expressions: keys: {{{keys}}}"
                )));
            }
        }
        Ok(())
    }
}

pub const PROJECTION: &str = "ProjectionExpression";
pub const CONDITION: &str = "ConditionExpression";
pub const FILTER: &str = "FilterExpression";
pub const KEY_CONDITION: &str = "KeyConditionExpression";
pub const UPDATE: &str = "UpdateExpression";

/// `kind` is the request's member, as errors name it.
pub fn condition(kind: &'static str, text: &str, with: &Placeholders) -> Result<Condition> {
    parse(kind, text, with, |parser| {
        let condition = parser.condition()?;
        condition.check()?;
        Ok(condition)
    })
}

/// For a table or index whose keys are `partition` and `sort`.
pub fn key_condition(
    text: &str,
    with: &Placeholders,
    partition: &str,
    sort: Option<&str>,
) -> Result<KeyCondition> {
    let condition = condition(KEY_CONDITION, text, with)?;
    key_condition::analyze(condition, partition, sort)
}

pub fn update(text: &str, with: &Placeholders) -> Result<Update> {
    parse(UPDATE, text, with, |parser| {
        let update = parser.update()?;
        update.check()?;
        Ok(update)
    })
}

pub fn projection(text: &str, with: &Placeholders) -> Result<Projection> {
    parse(PROJECTION, text, with, |parser| {
        let paths = parser.paths()?;
        path::check_overlap(&paths)?;
        Ok(Projection::new(&paths))
    })
}

/// Messages inside the parser are without the name of the expression.
type Parsed<T> = std::result::Result<T, String>;

fn parse<T>(
    kind: &'static str,
    text: &str,
    with: &Placeholders,
    rule: impl FnOnce(&mut parser::Parser<'_>) -> Parsed<T>,
) -> Result<T> {
    let parsed = (|| {
        if text.trim().is_empty() {
            return Err("The expression can not be empty;".to_owned());
        }
        if text.len() > MAX_BYTES {
            return Err(format!(
                "Expression size has exceeded the maximum allowed size; expression size: {}",
                text.len()
            ));
        }
        let mut parser = parser::Parser::new(text, with)?;
        let parsed = rule(&mut parser)?;
        parser.end()?;
        Ok(parsed)
    })();
    parsed.map_err(|message| Error::validation(format!("Invalid {kind}: {message}")))
}

//! Which items a Query wants: one partition, and perhaps a part of its sort keys.

use super::condition::{Comparator, Operand};
use super::{Condition, KEY_CONDITION, Path};
use crate::dynamodb::value::Value;
use crate::dynamodb::{Error, Result};

#[derive(Clone, Debug, PartialEq)]
pub struct KeyCondition {
    pub partition: Value,
    pub sort: Option<SortCondition>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SortCondition {
    Compare(Comparator, Value),
    Between(Value, Value),
    BeginsWith(Value),
}

pub fn analyze(
    condition: Condition,
    partition_name: &str,
    sort_name: Option<&str>,
) -> Result<KeyCondition> {
    let mut parts = Vec::new();
    flatten(condition, &mut parts)?;
    let mut partition = None;
    let mut sort = None;
    let mut others = 0;
    for (path, part) in parts {
        let Some(name) = path.as_attribute() else {
            return Err(invalid(
                "KeyConditionExpressions cannot have conditions on nested attributes",
            ));
        };
        if name == partition_name {
            let SortCondition::Compare(Comparator::Eq, value) = part else {
                return Err(Error::validation("Query key condition not supported"));
            };
            if partition.replace(value).is_some() {
                return Err(invalid(
                    "KeyConditionExpressions must only contain one condition per key",
                ));
            }
        } else if sort_name == Some(name) {
            if sort.replace(part).is_some() {
                return Err(invalid(
                    "KeyConditionExpressions must only contain one condition per key",
                ));
            }
        } else {
            others += 1;
        }
    }
    let missed =
        |name| Error::validation(format!("Query condition missed key schema element: {name}"));
    let partition = partition.ok_or_else(|| missed(partition_name))?;
    if others > 0 {
        return Err(match sort_name {
            Some(name) if sort.is_none() => missed(name),
            _ => Error::validation("Query key condition not supported"),
        });
    }
    Ok(KeyCondition { partition, sort })
}

fn invalid(message: &str) -> Error {
    Error::validation(format!("Invalid {KEY_CONDITION}: {message}"))
}

fn flatten(condition: Condition, parts: &mut Vec<(Path, SortCondition)>) -> Result<()> {
    let operator =
        |name: &str| invalid(&format!("Invalid operator used in {KEY_CONDITION}: {name}"));
    let part = match condition {
        Condition::And(a, b) => {
            flatten(*a, parts)?;
            return flatten(*b, parts);
        }
        Condition::Or(..) => return Err(operator("OR")),
        Condition::Not(_) => return Err(operator("NOT")),
        Condition::In(..) => return Err(operator("IN")),
        Condition::Compare(_, Comparator::Ne, _) => return Err(operator("<>")),
        Condition::Exists(_) => return Err(operator("attribute_exists")),
        Condition::NotExists(_) => return Err(operator("attribute_not_exists")),
        Condition::Type(..) => return Err(operator("attribute_type")),
        Condition::Contains(..) => return Err(operator("contains")),
        Condition::Compare(Operand::Path(path), comparator, Operand::Value(value)) => {
            (path, SortCondition::Compare(comparator, value))
        }
        Condition::Compare(Operand::Value(value), comparator, Operand::Path(path)) => {
            let comparator = match comparator {
                Comparator::Lt => Comparator::Gt,
                Comparator::Le => Comparator::Ge,
                Comparator::Gt => Comparator::Lt,
                Comparator::Ge => Comparator::Le,
                same => same,
            };
            (path, SortCondition::Compare(comparator, value))
        }
        Condition::Between(Operand::Path(path), Operand::Value(low), Operand::Value(high)) => {
            (path, SortCondition::Between(low, high))
        }
        Condition::BeginsWith(Operand::Path(path), Operand::Value(value)) => {
            (path, SortCondition::BeginsWith(value))
        }
        Condition::Compare(Operand::Size(_), ..)
        | Condition::Compare(_, _, Operand::Size(_))
        | Condition::Between(Operand::Size(_), ..) => return Err(operator("size")),
        Condition::Compare(Operand::Path(_), _, Operand::Path(_)) => {
            return Err(invalid(
                "Invalid condition in KeyConditionExpression: Multiple attribute names used in one \
                 condition",
            ));
        }
        Condition::Compare(..) | Condition::Between(..) | Condition::BeginsWith(..) => {
            return Err(invalid(
                "Invalid condition in KeyConditionExpression: No key attribute specified",
            ));
        }
    };
    parts.push(part);
    Ok(())
}

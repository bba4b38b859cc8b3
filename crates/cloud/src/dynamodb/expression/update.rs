//! Updates of an item. Everything is read from the item as it was before.

use super::condition::incorrect_operand;
use super::path::check_overlap;
use super::{Parsed, Path, Segment};
use crate::dynamodb::value::{Item, Value};
use crate::dynamodb::{Error, Result};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    pub sets: Vec<(Path, Assigned)>,
    pub removes: Vec<Path>,
    pub adds: Vec<(Path, Value)>,
    pub deletes: Vec<(Path, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Assigned {
    Term(Term),
    Plus(Term, Term),
    Minus(Term, Term),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    Path(Path),
    Value(Value),
    IfNotExists(Path, Box<Term>),
    ListAppend(Box<Term>, Box<Term>),
}

const INVALID_PATH: &str =
    "The document path provided in the update expression is invalid for update";
const MISSING: &str =
    "The provided expression refers to an attribute that does not exist in the item";
const WRONG_TYPE: &str = "An operand in the update expression has an incorrect data type";

impl Update {
    /// Every path it changes.
    pub fn paths(&self) -> Vec<Path> {
        let sets = self.sets.iter().map(|(path, _)| path);
        let adds = self.adds.iter().map(|(path, _)| path);
        let deletes = self.deletes.iter().map(|(path, _)| path);
        sets.chain(&self.removes).chain(adds).chain(deletes).cloned().collect()
    }

    /// What AWS refuses before it looks at any item.
    pub fn check(&self) -> Parsed<()> {
        check_overlap(&self.paths())?;
        for (_, assigned) in &self.sets {
            let (operator, terms) = match assigned {
                Assigned::Term(term) => {
                    check_term(term)?;
                    continue;
                }
                Assigned::Plus(a, b) => ("+", [a, b]),
                Assigned::Minus(a, b) => ("-", [a, b]),
            };
            for term in terms {
                check_term(term)?;
                match term {
                    Term::Value(value) if !matches!(value, Value::N(_)) => {
                        return Err(incorrect_operand(operator, value));
                    }
                    _ => {}
                }
            }
        }
        let wrong = |operator: &str, value: &Value| {
            Err(format!(
                "Incorrect operand type for operator or function; operator: {operator}, operand \
                 type: {}, typeSet: {}",
                value.long_type_name(),
                if operator == "ADD" {
                    "ALLOWED_FOR_ADD_OPERAND"
                } else {
                    "ALLOWED_FOR_DELETE_OPERAND"
                },
            ))
        };
        for (_, value) in &self.adds {
            if !matches!(value, Value::N(_) | Value::Ss(_) | Value::Ns(_) | Value::Bs(_)) {
                return wrong("ADD", value);
            }
        }
        for (_, value) in &self.deletes {
            if !matches!(value, Value::Ss(_) | Value::Ns(_) | Value::Bs(_)) {
                return wrong("DELETE", value);
            }
        }
        Ok(())
    }

    /// The item afterwards.
    pub fn apply(&self, before: &Item) -> Result<Item> {
        let mut item = before.clone();
        let mut sets = Vec::new();
        for (path, assigned) in &self.sets {
            sets.push((path, evaluate(assigned, before)?));
        }
        // In the order of the paths, so that what goes behind the end of a list goes there in order.
        sets.sort_by_key(|(path, _)| *path);
        for (path, value) in sets {
            set(&mut item, path, value)?;
        }
        for (path, operand) in &self.adds {
            let value = match (path.get(before), operand) {
                (None, operand) => operand.clone(),
                (Some(Value::N(a)), Value::N(b)) => Value::N(a.plus(*b)?),
                (Some(Value::Ss(a)), Value::Ss(b)) => Value::Ss(a | b),
                (Some(Value::Ns(a)), Value::Ns(b)) => Value::Ns(a | b),
                (Some(Value::Bs(a)), Value::Bs(b)) => Value::Bs(a | b),
                _ => return Err(Error::validation(WRONG_TYPE)),
            };
            set(&mut item, path, value)?;
        }
        let mut gone: Vec<&Path> = self.removes.iter().collect();
        for (path, operand) in &self.deletes {
            let (value, empty) = match (path.get(before), operand) {
                (None, _) => continue,
                (Some(Value::Ss(a)), Value::Ss(b)) => (Value::Ss(a - b), a.is_subset(b)),
                (Some(Value::Ns(a)), Value::Ns(b)) => (Value::Ns(a - b), a.is_subset(b)),
                (Some(Value::Bs(a)), Value::Bs(b)) => (Value::Bs(a - b), a.is_subset(b)),
                _ => return Err(Error::validation(WRONG_TYPE)),
            };
            match empty {
                true => gone.push(path),
                false => set(&mut item, path, value)?,
            }
        }
        // From the back, so that the indexes of what is still to go stay right.
        gone.sort();
        for path in gone.into_iter().rev() {
            remove(&mut item, path)?;
        }
        Ok(item)
    }
}

fn check_term(term: &Term) -> Parsed<()> {
    match term {
        Term::Path(_) | Term::Value(_) => Ok(()),
        Term::IfNotExists(_, other) => check_term(other),
        Term::ListAppend(a, b) => {
            for term in [a, b] {
                match &**term {
                    Term::Value(value) if !matches!(value, Value::L(_)) => {
                        return Err(incorrect_operand("list_append", value));
                    }
                    other => check_term(other)?,
                }
            }
            Ok(())
        }
    }
}

fn evaluate(assigned: &Assigned, item: &Item) -> Result<Value> {
    let number = |term| match evaluate_term(term, item)? {
        Value::N(number) => Ok(number),
        _ => Err(Error::validation(WRONG_TYPE)),
    };
    Ok(match assigned {
        Assigned::Term(term) => evaluate_term(term, item)?,
        Assigned::Plus(a, b) => Value::N(number(a)?.plus(number(b)?)?),
        Assigned::Minus(a, b) => Value::N(number(a)?.plus(number(b)?.negated())?),
    })
}

fn evaluate_term(term: &Term, item: &Item) -> Result<Value> {
    match term {
        Term::Path(path) => path.get(item).cloned().ok_or_else(|| Error::validation(MISSING)),
        Term::Value(value) => Ok(value.clone()),
        Term::IfNotExists(path, other) => match path.get(item) {
            Some(value) => Ok(value.clone()),
            None => evaluate_term(other, item),
        },
        Term::ListAppend(a, b) => match (evaluate_term(a, item)?, evaluate_term(b, item)?) {
            (Value::L(mut a), Value::L(b)) => {
                a.extend(b);
                Ok(Value::L(a))
            }
            _ => Err(Error::validation(WRONG_TYPE)),
        },
    }
}

/// What holds the last segment of `path`: a map or a list. `None` when the path is an attribute.
fn holder<'a>(item: &'a mut Item, path: &Path) -> Result<Option<&'a mut Value>> {
    let Some((_, middle)) = path.0[1..].split_last() else { return Ok(None) };
    let invalid = || Error::validation(INVALID_PATH);
    let mut value = item.get_mut(path.attribute()).ok_or_else(invalid)?;
    for segment in middle {
        let below = match (segment, value) {
            (Segment::Attribute(name), Value::M(map)) => map.get_mut(name),
            (Segment::Index(index), Value::L(list)) => list.get_mut(*index),
            _ => None,
        };
        value = below.ok_or_else(invalid)?;
    }
    Ok(Some(value))
}

fn set(item: &mut Item, path: &Path, value: Value) -> Result<()> {
    match (holder(item, path)?, path.0.last()) {
        (None, _) => {
            item.insert(path.attribute().to_owned(), value);
        }
        (Some(Value::M(map)), Some(Segment::Attribute(name))) => {
            map.insert(name.clone(), value);
        }
        (Some(Value::L(list)), Some(Segment::Index(index))) => match list.get_mut(*index) {
            Some(place) => *place = value,
            None => list.push(value),
        },
        _ => return Err(Error::validation(INVALID_PATH)),
    }
    Ok(())
}

fn remove(item: &mut Item, path: &Path) -> Result<()> {
    match (holder(item, path)?, path.0.last()) {
        (None, _) => {
            item.remove(path.attribute());
        }
        (Some(Value::M(map)), Some(Segment::Attribute(name))) => {
            map.remove(name);
        }
        (Some(Value::L(list)), Some(Segment::Index(index))) => {
            if *index < list.len() {
                list.remove(*index);
            }
        }
        _ => return Err(Error::validation(INVALID_PATH)),
    }
    Ok(())
}

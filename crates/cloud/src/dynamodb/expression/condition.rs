//! Conditions and filters over an item.

use super::{Parsed, Path};
use crate::dynamodb::value::{Item, Value};

#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare(Operand, Comparator, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Exists(Path),
    NotExists(Path),
    Type(Path, Operand),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparator {
    pub fn parse(text: &str) -> Option<Comparator> {
        Some(match text {
            "=" => Comparator::Eq,
            "<>" => Comparator::Ne,
            "<" => Comparator::Lt,
            "<=" => Comparator::Le,
            ">" => Comparator::Gt,
            ">=" => Comparator::Ge,
            _ => return None,
        })
    }

    pub fn symbol(self) -> &'static str {
        match self {
            Comparator::Eq => "=",
            Comparator::Ne => "<>",
            Comparator::Lt => "<",
            Comparator::Le => "<=",
            Comparator::Gt => ">",
            Comparator::Ge => ">=",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Path(Path),
    Value(Value),
    Size(Path),
}

impl Operand {
    fn get<'a>(&'a self, item: &'a Item) -> Option<std::borrow::Cow<'a, Value>> {
        use std::borrow::Cow;
        match self {
            Operand::Path(path) => path.get(item).map(Cow::Borrowed),
            Operand::Value(value) => Some(Cow::Borrowed(value)),
            Operand::Size(path) => {
                let size = match path.get(item)? {
                    Value::S(s) => s.chars().count(),
                    Value::B(b) => b.len(),
                    Value::Ss(set) => set.len(),
                    Value::Ns(set) => set.len(),
                    Value::Bs(set) => set.len(),
                    Value::M(map) => map.len(),
                    Value::L(list) => list.len(),
                    Value::N(_) | Value::Bool(_) | Value::Null => return None,
                };
                Some(Cow::Owned(Value::N((size as u32).into())))
            }
        }
    }

    fn literal(&self) -> Option<&Value> {
        match self {
            Operand::Value(value) => Some(value),
            _ => None,
        }
    }
}

/// `None`: of different types, or of one that has no order.
pub fn order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::S(a), Value::S(b)) => Some(a.cmp(b)),
        (Value::N(a), Value::N(b)) => Some(a.cmp(b)),
        (Value::B(a), Value::B(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

impl Condition {
    /// Attributes named at the begin of any path.
    pub fn attributes(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.visit(
            &mut |operand| {
                if let Operand::Path(path) | Operand::Size(path) = operand {
                    found.push(path.attribute());
                }
            },
            &mut |_| {},
        );
        let mut paths = Vec::new();
        self.visit(&mut |_| {}, &mut |path| paths.push(path.attribute()));
        found.extend(paths);
        found
    }

    fn visit<'a>(&'a self, operands: &mut dyn FnMut(&'a Operand), paths: &mut dyn FnMut(&'a Path)) {
        match self {
            Condition::And(a, b) | Condition::Or(a, b) => {
                a.visit(operands, paths);
                b.visit(operands, paths);
            }
            Condition::Not(a) => a.visit(operands, paths),
            Condition::Compare(a, _, b)
            | Condition::BeginsWith(a, b)
            | Condition::Contains(a, b) => [a, b].into_iter().for_each(operands),
            Condition::Between(a, b, c) => [a, b, c].into_iter().for_each(operands),
            Condition::In(a, list) => std::iter::once(a).chain(list).for_each(operands),
            Condition::Exists(path) | Condition::NotExists(path) => paths(path),
            Condition::Type(path, operand) => {
                paths(path);
                operands(operand);
            }
        }
    }

    /// What AWS refuses before it looks at any item.
    pub fn check(&self) -> Parsed<()> {
        match self {
            Condition::And(a, b) | Condition::Or(a, b) => a.check().and_then(|()| b.check()),
            Condition::Not(a) => a.check(),
            Condition::Compare(a, comparator, b) => {
                if !matches!(comparator, Comparator::Eq | Comparator::Ne) {
                    ordered(comparator.symbol(), [a, b])?;
                }
                distinct(comparator.symbol(), a, b)
            }
            Condition::Between(a, low, high) => {
                ordered("BETWEEN", [a, low, high])?;
                let (Some(low), Some(high)) = (low.literal(), high.literal()) else {
                    return Ok(());
                };
                let fault = match order(low, high) {
                    None => "same data type for lower and upper bounds",
                    Some(std::cmp::Ordering::Greater) => {
                        "upper bound to be greater than or equal to lower bound"
                    }
                    Some(_) => return Ok(()),
                };
                Err(format!(
                    "The BETWEEN operator requires {fault}; lower bound operand: AttributeValue: \
                     {low}, upper bound operand: AttributeValue: {high}"
                ))
            }
            Condition::In(..) | Condition::Exists(_) | Condition::NotExists(_) => Ok(()),
            Condition::Type(_, operand) => {
                let Some(value) = operand.literal() else { return Ok(()) };
                let Value::S(name) = value else {
                    return Err(incorrect_operand("attribute_type", value));
                };
                if TYPES.contains(&name.as_str()) {
                    return Ok(());
                }
                Err(format!(
                    "Invalid attribute type name found; type: {name}, valid types: {{{}}}",
                    TYPES.join(",")
                ))
            }
            Condition::BeginsWith(a, b) => {
                for value in [a, b].into_iter().filter_map(Operand::literal) {
                    if !matches!(value, Value::S(_) | Value::B(_)) {
                        return Err(incorrect_operand("begins_with", value));
                    }
                }
                distinct("begins_with", a, b)
            }
            Condition::Contains(a, b) => {
                if let Some(value) = b.literal()
                    && matches!(value, Value::Ss(_) | Value::Ns(_) | Value::Bs(_))
                    && a.literal().is_some()
                {
                    return Err(incorrect_operand("contains", value));
                }
                distinct("contains", a, b)
            }
        }
    }

    pub fn holds(&self, item: &Item) -> bool {
        match self {
            Condition::And(a, b) => a.holds(item) && b.holds(item),
            Condition::Or(a, b) => a.holds(item) || b.holds(item),
            Condition::Not(a) => !a.holds(item),
            Condition::Compare(a, comparator, b) => {
                let (a, b) = (a.get(item), b.get(item));
                if *comparator == Comparator::Ne {
                    // What is not there differs from everything.
                    return a.is_none() || a != b;
                }
                let (Some(a), Some(b)) = (a, b) else { return false };
                match comparator {
                    Comparator::Eq | Comparator::Ne => a == b,
                    Comparator::Lt => order(&a, &b).is_some_and(|o| o.is_lt()),
                    Comparator::Le => order(&a, &b).is_some_and(|o| o.is_le()),
                    Comparator::Gt => order(&a, &b).is_some_and(|o| o.is_gt()),
                    Comparator::Ge => order(&a, &b).is_some_and(|o| o.is_ge()),
                }
            }
            Condition::Between(a, low, high) => {
                let values = (a.get(item), low.get(item), high.get(item));
                let (Some(a), Some(low), Some(high)) = values else { return false };
                order(&a, &low).is_some_and(|o| o.is_ge())
                    && order(&a, &high).is_some_and(|o| o.is_le())
            }
            Condition::In(a, list) => {
                let Some(a) = a.get(item) else { return false };
                list.iter().any(|b| b.get(item).is_some_and(|b| a == b))
            }
            Condition::Exists(path) => path.get(item).is_some(),
            Condition::NotExists(path) => path.get(item).is_none(),
            Condition::Type(path, operand) => {
                let Some(value) = path.get(item) else { return false };
                matches!(operand.get(item).as_deref(), Some(Value::S(name)) if name == value.type_name())
            }
            Condition::BeginsWith(a, b) => match (a.get(item).as_deref(), b.get(item).as_deref()) {
                (Some(Value::S(a)), Some(Value::S(b))) => a.starts_with(b),
                (Some(Value::B(a)), Some(Value::B(b))) => a.starts_with(b),
                _ => false,
            },
            Condition::Contains(a, b) => {
                let (Some(a), Some(b)) = (a.get(item), b.get(item)) else { return false };
                match (&*a, &*b) {
                    (Value::S(a), Value::S(b)) => a.contains(b),
                    (Value::B(a), Value::B(b)) => {
                        b.is_empty() || a.windows(b.len()).any(|w| w == b)
                    }
                    (Value::Ss(a), Value::S(b)) => a.contains(b),
                    (Value::Ns(a), Value::N(b)) => a.contains(b),
                    (Value::Bs(a), Value::B(b)) => a.contains(b),
                    (Value::L(a), b) => a.contains(b),
                    _ => false,
                }
            }
        }
    }
}

const TYPES: [&str; 10] = ["B", "NULL", "SS", "BOOL", "L", "BS", "N", "NS", "S", "M"];

fn ordered<const N: usize>(operator: &str, operands: [&Operand; N]) -> Parsed<()> {
    for value in operands.into_iter().filter_map(Operand::literal) {
        if !matches!(value, Value::S(_) | Value::N(_) | Value::B(_)) {
            return Err(incorrect_operand(operator, value));
        }
    }
    Ok(())
}

pub fn incorrect_operand(operator: &str, value: &Value) -> String {
    format!(
        "Incorrect operand type for operator or function; operator or function: {operator}, operand \
         type: {}",
        value.type_name()
    )
}

fn distinct(operator: &str, a: &Operand, b: &Operand) -> Parsed<()> {
    if let (Operand::Path(one), Operand::Path(two)) = (a, b)
        && one == two
    {
        return Err(format!(
            "The first operand must be distinct from the remaining operands for this operator or \
             function; operator: {operator}, first operand: {one}"
        ));
    }
    Ok(())
}

//! Condition operators.
//!
//! Several operators and several keys are joined by AND, several values of a key by OR, several
//! values of a negated operator by NOR. Where the request lacks the key:
//!
//! ```text
//!   operator        false          ForAnyValue:   false
//!   negated one     true           ForAllValues:  true
//!   …IfExists       true           Null           true of "true"
//! ```

use std::cmp::Ordering;

use crate::context::{Context, Key};
use crate::pattern::{Pattern, Wildcards};
use crate::value::{Arn, Network, base64, date, number};

/// One operator on one key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    key: Key,
    modifier: Option<Modifier>,
    if_exists: bool,
    negated: bool,
    values: Values,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Modifier {
    ForAllValues,
    ForAnyValue,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    /// Whether the key is to be missing.
    Null(Vec<bool>),
    Text(Vec<Pattern>),
    IgnoreCase(Vec<Pattern>),
    Arn(Vec<Arn>),
    Number(Relation, Vec<f64>),
    /// In milliseconds since 1970.
    Date(Relation, Vec<i64>),
    Bool(Vec<bool>),
    Binary(Vec<String>),
    Address(Vec<Network>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Ill {
    Operator,
    Date,
    Value,
}

impl Condition {
    pub fn new(
        operator: &str,
        key: &str,
        values: &[String],
        variables: bool,
    ) -> Result<Condition, Ill> {
        let (modifier, operator) = match operator.split_once(':') {
            Some(("ForAllValues", operator)) => (Some(Modifier::ForAllValues), operator),
            Some(("ForAnyValue", operator)) => (Some(Modifier::ForAnyValue), operator),
            Some(_) => return Err(Ill::Operator),
            None => (None, operator),
        };
        let (operator, if_exists) = match operator.strip_suffix("IfExists") {
            Some(operator) => (operator, true),
            None => (operator, false),
        };
        if operator == "Null" && (if_exists || modifier.is_some()) {
            return Err(Ill::Operator);
        }
        let (negated, values) = Values::new(operator, values, variables)?;
        Ok(Condition { key: Key::new(key), modifier, if_exists, negated, values })
    }

    pub fn holds(&self, context: &Context) -> bool {
        let found = context.of(&self.key);
        let values = found.unwrap_or_default();
        if let Values::Null(wanted) = &self.values {
            return wanted.contains(&values.is_empty());
        }
        let satisfies = |value: &String| self.values.any(value, context) != self.negated;
        match self.modifier {
            Some(Modifier::ForAllValues) => {
                // An empty text is no value.
                values.iter().filter(|value| !value.is_empty()).all(satisfies)
            }
            Some(Modifier::ForAnyValue) => {
                (found.is_none() && self.if_exists) || values.iter().any(satisfies)
            }
            None if values.is_empty() => self.if_exists || self.negated,
            None if self.negated => values.iter().all(satisfies),
            None => values.iter().any(satisfies),
        }
    }

    /// The condition key, and the keys of variables in its values.
    pub fn keys(&self) -> Vec<&Key> {
        let mut keys = vec![&self.key];
        match &self.values {
            Values::Text(patterns) | Values::IgnoreCase(patterns) => {
                keys.extend(patterns.iter().flat_map(Pattern::keys));
            }
            Values::Arn(arns) => keys.extend(arns.iter().flat_map(Arn::keys)),
            _ => {}
        }
        keys
    }
}

impl Values {
    /// The values of an operator, and whether it is a negated one.
    fn new(operator: &str, texts: &[String], variables: bool) -> Result<(bool, Values), Ill> {
        let pattern = |wildcards| move |text: &str| Pattern::new(text, variables, wildcards);
        let exact = || all(texts, pattern(Wildcards::None));
        let like = || all(texts, pattern(Wildcards::Anywhere));
        let arns = || all(texts, |text| Arn::new(text, variables));
        let numbers = |relation| Ok(Values::Number(relation, all(texts, number)?));
        let dates = |relation| Ok(Values::Date(relation, all(texts, date).map_err(|_| Ill::Date)?));
        let networks = || all(texts, Network::new);
        let values = match operator {
            "Null" => Values::Null(all(texts, boolean)?),
            "StringEquals" | "StringNotEquals" => Values::Text(exact()?),
            "StringEqualsIgnoreCase" | "StringNotEqualsIgnoreCase" => Values::IgnoreCase(exact()?),
            "StringLike" | "StringNotLike" => Values::Text(like()?),
            "ArnEquals" | "ArnLike" | "ArnNotEquals" | "ArnNotLike" => Values::Arn(arns()?),
            "NumericEquals" | "NumericNotEquals" => numbers(Relation::Equal)?,
            "NumericLessThan" => numbers(Relation::Less)?,
            "NumericLessThanEquals" => numbers(Relation::LessOrEqual)?,
            "NumericGreaterThan" => numbers(Relation::Greater)?,
            "NumericGreaterThanEquals" => numbers(Relation::GreaterOrEqual)?,
            "DateEquals" | "DateNotEquals" => dates(Relation::Equal)?,
            "DateLessThan" => dates(Relation::Less)?,
            "DateLessThanEquals" => dates(Relation::LessOrEqual)?,
            "DateGreaterThan" => dates(Relation::Greater)?,
            "DateGreaterThanEquals" => dates(Relation::GreaterOrEqual)?,
            "Bool" => Values::Bool(all(texts, boolean)?),
            "BinaryEquals" => {
                Values::Binary(all(texts, |text| base64(text).then(|| text.to_owned()))?)
            }
            "IpAddress" | "NotIpAddress" => Values::Address(networks()?),
            _ => return Err(Ill::Operator),
        };
        Ok((operator.contains("Not"), values))
    }

    /// Whether any of the values is equal, alike, less, … to what the request has.
    fn any(&self, found: &str, context: &Context) -> bool {
        match self {
            Values::Null(_) => false,
            Values::Text(patterns) => {
                patterns.iter().any(|pattern| pattern.matches(found, context))
            }
            Values::IgnoreCase(patterns) => patterns.iter().any(|pattern| {
                let text = pattern.text(context);
                text.is_some_and(|text| text.to_lowercase() == found.to_lowercase())
            }),
            Values::Arn(arns) => arns.iter().any(|arn| arn.matches(found, context)),
            Values::Number(relation, numbers) => number(found).is_some_and(|found| {
                numbers.iter().any(|number| relation.holds(found.partial_cmp(number)))
            }),
            Values::Date(relation, dates) => date(found).is_some_and(|found| {
                dates.iter().any(|date| relation.holds(Some(found.cmp(date))))
            }),
            Values::Bool(wanted) => boolean(found).is_some_and(|found| wanted.contains(&found)),
            Values::Binary(wanted) => wanted.iter().any(|wanted| wanted == found),
            Values::Address(networks) => networks.iter().any(|network| network.holds(found)),
        }
    }
}

impl Relation {
    fn holds(self, found: Option<Ordering>) -> bool {
        found.is_some_and(|found| match self {
            Relation::Equal => found.is_eq(),
            Relation::Less => found.is_lt(),
            Relation::LessOrEqual => found.is_le(),
            Relation::Greater => found.is_gt(),
            Relation::GreaterOrEqual => found.is_ge(),
        })
    }
}

fn all<T>(texts: &[String], parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Ill> {
    texts.iter().map(|text| parse(text).ok_or(Ill::Value)).collect()
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

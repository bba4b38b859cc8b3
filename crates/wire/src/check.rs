//! Constraints of the model, checked on what a codec has read, in the words of the service's framework:
//! EC2 names one parameter and stops; the others list every violation.

use std::fmt::Write;

use crate::schema::{Range, Structure, Text, Type};
use crate::value::Value;
use crate::{Error, Protocol};

/// Refuses a value that breaks a constraint.
pub fn check(protocol: Protocol, schema: &Structure, value: &Value) -> Result<(), Error> {
    let mut checker =
        Checker { ec2: protocol == Protocol::Ec2, path: String::new(), found: vec![] };
    checker.structure(schema, value);
    if checker.found.is_empty() {
        return Ok(());
    }
    if checker.ec2 {
        return Err(ec2(&checker.found[0]));
    }
    let code = match protocol {
        Protocol::Query => "ValidationError",
        _ => "ValidationException",
    };
    Err(Error::new(400, code, listed(&checker.found)))
}

fn ec2(violation: &Violation) -> Error {
    let Violation { path, shown, constraint } = violation;
    match constraint {
        Constraint::Present => missing_ec2(path),
        other => {
            let value = shown.as_deref().unwrap_or_default();
            let (code, expecting) = match other {
                Constraint::Present => unreachable!("it is handled above"),
                Constraint::AtLeast(n) => (
                    "InvalidParameterValue",
                    format!(" Expecting a value greater than or equal to {n}."),
                ),
                Constraint::AtMost(n) => (
                    "InvalidParameterValue",
                    format!(" Expecting a value less than or equal to {n}."),
                ),
                Constraint::Longer(n) => {
                    ("InvalidParameterValue", format!(" Its length must be at least {n}."))
                }
                Constraint::Shorter(n) => {
                    ("InvalidParameterValue", format!(" Its length must be at most {n}."))
                }
                Constraint::Pattern(_) => ("InvalidParameterValue", String::new()),
                Constraint::OneOf(values) => {
                    ("InvalidParameterValue", format!(" Valid values: {}.", values.join(", ")))
                }
            };
            let message = format!("Value ({value}) for parameter {path} is invalid.{expecting}");
            Error::new(400, code, message)
        }
    }
}

/// EC2's words for a parameter that must be there.
pub fn missing_ec2(path: &str) -> Error {
    let message = format!("The request must contain the parameter {path}");
    Error::new(400, "MissingParameter", message)
}

fn listed(found: &[Violation]) -> String {
    let (count, plural) = (found.len(), if found.len() == 1 { "" } else { "s" });
    let mut message = format!("{count} validation error{plural} detected: ");
    for (i, Violation { path, shown, constraint }) in found.iter().enumerate() {
        let separator = if i == 0 { "" } else { "; " };
        let value = match (constraint, shown) {
            (Constraint::Present, _) => " null".to_owned(),
            (_, Some(shown)) => format!(" '{shown}'"),
            (_, None) => String::new(),
        };
        let must = match constraint {
            Constraint::Present => "not be null".to_owned(),
            Constraint::AtLeast(n) => format!("have value greater than or equal to {n}"),
            Constraint::AtMost(n) => format!("have value less than or equal to {n}"),
            Constraint::Longer(n) => format!("have length greater than or equal to {n}"),
            Constraint::Shorter(n) => format!("have length less than or equal to {n}"),
            Constraint::Pattern(pattern) => {
                format!("satisfy regular expression pattern: {pattern}")
            }
            Constraint::OneOf(values) => format!("satisfy enum value set: [{}]", values.join(", ")),
        };
        write!(
            message,
            "{separator}Value{value} at '{path}' failed to satisfy constraint: Member must {must}"
        )
        .expect("strings take everything");
    }
    message
}

struct Violation {
    path: String,
    /// `None`: not to be shown.
    shown: Option<String>,
    constraint: Constraint,
}

enum Constraint {
    Present,
    AtLeast(i64),
    AtMost(i64),
    Longer(u64),
    Shorter(u64),
    Pattern(&'static str),
    OneOf(&'static [&'static str]),
}

struct Checker {
    ec2: bool,
    path: String,
    found: Vec<Violation>,
}

impl Checker {
    fn found(&mut self, shown: Option<String>, constraint: Constraint) {
        self.found.push(Violation { path: self.path.clone(), shown, constraint });
    }

    /// Runs `inner` with `step` at the path's end.
    fn under(&mut self, step: std::fmt::Arguments<'_>, inner: impl FnOnce(&mut Checker)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.write_fmt(step).expect("strings take everything");
        inner(self);
        self.path.truncate(length);
    }

    fn structure(&mut self, schema: &Structure, value: &Value) {
        let Value::Structure(present) = value else { return };
        for (index, member) in schema.members.iter().enumerate() {
            if member.required && !present.iter().any(|(i, _)| *i == index) {
                let name = if self.ec2 { member.request } else { member.name };
                self.member(name, |c| c.found(None, Constraint::Present));
            }
        }
        for (index, value) in present {
            let member = &schema.members[*index];
            if needs_look(&member.ty, value) {
                let name = if self.ec2 { member.request } else { member.name };
                self.member(name, |c| c.value(&member.ty, value));
            }
        }
    }

    fn member(&mut self, name: &str, inner: impl FnOnce(&mut Checker)) {
        if self.ec2 {
            self.under(format_args!("{name}"), inner);
        } else {
            self.under(format_args!("{}", lower_first(name)), inner);
        }
    }

    fn value(&mut self, ty: &Type, value: &Value) {
        match (ty, value) {
            (Type::String(text), Value::String(s)) => self.text(text, s),
            (Type::Blob(text), Value::Blob(bytes)) => {
                self.length(text.min, text.max, bytes.len(), || None);
            }
            (Type::Integer(range) | Type::Long(range), Value::Integer(n)) => {
                self.range(range, *n as f64, || n.to_string());
            }
            (Type::Float(range) | Type::Double(range), Value::Double(n)) => {
                self.range(range, *n, || n.to_string());
            }
            (Type::List(list), Value::List(items)) => {
                let shown = || (!list.sensitive).then(|| show(value));
                self.length(list.min, list.max, items.len(), shown);
                for (i, item) in items.iter().enumerate() {
                    if !needs_look(&list.item, item) {
                        continue;
                    }
                    let nth = i + 1;
                    match self.ec2 {
                        true => self.under(format_args!("{nth}"), |c| c.value(&list.item, item)),
                        false => {
                            self.under(format_args!("{nth}.member"), |c| c.value(&list.item, item));
                        }
                    }
                }
            }
            (Type::Map(map), Value::Map(entries)) => {
                let shown = || (!map.sensitive).then(|| show(value));
                self.length(map.min, map.max, entries.len(), shown);
                for (key, inner) in entries {
                    self.text(map.key, key);
                    if needs_look(&map.value, inner) {
                        self.under(format_args!("{key}.member"), |c| c.value(&map.value, inner));
                    }
                }
            }
            (Type::Structure(schema), value) => self.structure(schema, value),
            _ => {}
        }
    }

    fn text(&mut self, text: &'static Text, s: &str) {
        let shown = || (!text.sensitive).then(|| s.to_owned());
        if !text.values.is_empty() && !text.values.contains(&s) {
            self.found(shown(), Constraint::OneOf(text.values));
        }
        // Counting characters is spared where the bytes already tell: one has one to four.
        let bytes = s.len() as u64;
        let short = text.min.is_some_and(|min| bytes < min.saturating_mul(4));
        if short || text.max.is_some_and(|max| bytes > max) {
            self.length(text.min, text.max, s.chars().count(), shown);
        }
        if let Some(pattern) = &text.pattern
            && !pattern.matches(s)
        {
            self.found(shown(), Constraint::Pattern(pattern.text));
        }
    }

    fn length(
        &mut self,
        min: Option<u64>,
        max: Option<u64>,
        length: usize,
        shown: impl Fn() -> Option<String>,
    ) {
        if let Some(min) = min.filter(|min| (length as u64) < *min) {
            self.found(shown(), Constraint::Longer(min));
        }
        if let Some(max) = max.filter(|max| length as u64 > *max) {
            self.found(shown(), Constraint::Shorter(max));
        }
    }

    fn range(&mut self, range: &Range, n: f64, shown: impl Fn() -> String) {
        if let Some(min) = range.min.filter(|min| n < *min as f64) {
            self.found(Some(shown()), Constraint::AtLeast(min));
        }
        if let Some(max) = range.max.filter(|max| n > *max as f64) {
            self.found(Some(shown()), Constraint::AtMost(max));
        }
    }
}

/// Spares the path's upkeep for what can break nothing.
fn needs_look(ty: &Type, value: &Value) -> bool {
    match (ty, value) {
        (Type::String(text), Value::String(_)) => !std::ptr::eq(*text, &crate::schema::ANY_TEXT),
        (Type::Boolean | Type::Timestamp, _) => false,
        _ => true,
    }
}

/// `AutoScalingGroupName` → `autoScalingGroupName`; acronyms go down whole (`VPCZoneIdentifier` →
/// `vPCZoneIdentifier` is how Coral spells it: only the first letter).
fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

/// As Java prints collections.
fn show(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::String(s) => s.clone(),
        Value::Integer(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::Boolean(b) => b.to_string(),
        Value::Timestamp(ms) => crate::time::iso8601(*ms),
        Value::Blob(bytes) => format!("[{} bytes]", bytes.len()),
        Value::List(items) => format!("[{}]", joined(items.iter().map(show).collect())),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(k, v)| format!("{k}={}", show(v)));
            format!("{{{}}}", joined(entries.collect()))
        }
        // Names of members are not at hand here, and AWS prints hashes of objects in this place.
        Value::Structure(_) => "{…}".to_owned(),
    }
}

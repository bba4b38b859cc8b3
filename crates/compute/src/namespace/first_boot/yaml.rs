//! YAML as cloud-config is written in: read by events into values that keep their text, since what a
//! plain `0644` or `yes` means is for the reader of that key to say (cloud-init's parser knows YAML 1.1).

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// More than any user data has use for; aliases can make very much of very little.
const MOST_NODES: usize = 200_000;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `plain`: not quoted, so possibly a number, a truth value or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    pub fn truth(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn map(&self) -> Option<&[(String, Value)]> {
        match self {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Puts `other` over this: maps by key, all else replaced, as cloud-init merges parts.
    pub fn merge(&mut self, other: Value) {
        match (self, other) {
            (Value::Map(mine), Value::Map(theirs)) => {
                for (key, value) in theirs {
                    match mine.iter_mut().find(|(name, _)| *name == key) {
                        Some((_, old)) => old.merge(value),
                        None => mine.push((key, value)),
                    }
                }
            }
            (mine, other) => *mine = other,
        }
    }

    fn nodes(&self) -> usize {
        match self {
            Value::Scalar { .. } => 1,
            Value::List(items) => 1 + items.iter().map(Value::nodes).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|(_, v)| v.nodes()).sum::<usize>(),
        }
    }
}

/// A container whose end has not come.
enum Open {
    List(usize, Vec<Value>),
    Map(usize, Vec<(String, Value)>, Option<String>),
}

/// The first document.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Value> = HashMap::new();
    let mut nodes = 0;
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| error.to_string())?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                (anchor, Value::Scalar { text: text.into_owned(), plain })
            }
            Event::Alias(anchor) => {
                let value = anchors.get(&anchor).ok_or("an alias of what is not there")?;
                (0, value.clone())
            }
            Event::SequenceStart(anchor, _) => {
                open.push(Open::List(anchor, Vec::new()));
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open::Map(anchor, Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(anchor, items)) => (anchor, Value::List(items)),
                Some(Open::Map(anchor, entries, _)) => (anchor, Value::Map(entries)),
                None => return Err("an end without a beginning".into()),
            },
            _ => continue,
        };
        nodes += value.nodes();
        if nodes > MOST_NODES {
            return Err("too much of it".into());
        }
        if anchor > 0 {
            anchors.insert(anchor, value.clone());
        }
        match open.last_mut() {
            None => return Ok(value),
            Some(Open::List(_, items)) => items.push(value),
            Some(Open::Map(_, entries, key)) => match key.take() {
                None => match value {
                    Value::Scalar { text, .. } => *key = Some(text),
                    _ => return Err("a key that is no text".into()),
                },
                Some(name) if name == "<<" => merge_below(entries, value)?,
                Some(name) => match entries.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, old)) => *old = value,
                    None => entries.push((name, value)),
                },
            },
        }
    }
    Ok(Value::Scalar { text: String::new(), plain: true })
}

/// A merge key: what is there already stands.
fn merge_below(entries: &mut Vec<(String, Value)>, value: Value) -> Result<(), String> {
    let maps = match value {
        Value::List(maps) => maps,
        map => vec![map],
    };
    for map in maps {
        let Value::Map(more) = map else { return Err("<< of what is no map".into()) };
        for (key, value) in more {
            if !entries.iter().any(|(known, _)| *known == key) {
                entries.push((key, value));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_cloud_configs_are_made_of() {
        let text = "#cloud-config\nbase: &b {a: 1, b: '0644'}\nmore:\n  <<: *b\n  a: 2\nlist:\n- [x, y]\n\
                    - |\n  two\n  lines\nnone: ~\nyes_: yes\n";
        let value = parse(text).unwrap();
        let more = value.get("more").unwrap();
        assert_eq!(more.get("a").unwrap().text(), Some("2"));
        assert_eq!(more.get("b").unwrap(), &Value::Scalar { text: "0644".into(), plain: false });
        let list = value.get("list").unwrap().list().unwrap();
        assert_eq!(list[0].list().unwrap().len(), 2);
        assert_eq!(list[1].text(), Some("two\nlines\n"));
        assert!(value.get("none").unwrap().is_null());
        assert_eq!(value.get("yes_").unwrap().truth(), Some(true));
        assert!(parse("a: [").is_err());
        assert!(parse("").unwrap().is_null());
    }

    #[test]
    fn aliases_cannot_grow_without_end() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let line = vec![format!("*a{}", n - 1); 10].join(", ");
            text += &format!("a{n}: &a{n} [{line}]\n");
        }
        assert!(parse(&text).is_err());
    }

    #[test]
    fn later_parts_go_over_earlier_ones() {
        let mut value = parse("a: {x: 1, y: 1}\nb: [1]").unwrap();
        value.merge(parse("a: {y: 2}\nb: [2]").unwrap());
        assert_eq!(value, parse("a: {x: 1, y: 2}\nb: [2]").unwrap());
    }
}

//! JSON as policies need it: keys in their order, none twice, and where the statements stand.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Number(value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Json::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
                let mut object: Vec<(String, Json)> = Vec::new();
                while let Some((key, value)) = members.next_entry()? {
                    if object.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom("a key stands twice"));
                    }
                    object.push((key, value));
                }
                Ok(Json::Object(object))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The bytes of each object in the value of "Statement". The text is an object in valid JSON.
pub(crate) fn statements(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut at) = (0, 0, 0);
    let mut name = "";
    // How deep the statements' braces are, while the value of "Statement" lasts.
    let mut level = None;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => {
                let end = end_of_string(text, at);
                if depth == 1 {
                    name = &text[at..end];
                }
                at = end;
                continue;
            }
            b':' if depth == 1 && is_statement(name) => level = Some(2),
            b',' if depth == 1 => level = None,
            b'[' if depth == 1 => level = level.map(|_| 3),
            _ => {}
        }
        if matches!(byte, b'{' | b'[') {
            depth += 1;
            if level == Some(depth) {
                start = at;
            }
        } else if matches!(byte, b'}' | b']') {
            if level == Some(depth) {
                found.push(start..at + 1);
            }
            depth -= 1;
        }
        at += 1;
    }
    found
}

/// Also in escapes.
fn is_statement(quoted: &str) -> bool {
    serde_json::from_str::<String>(quoted).is_ok_and(|name| name == "Statement")
}

fn end_of_string(text: &str, start: usize) -> usize {
    let mut escaped = false;
    for (offset, byte) in text.bytes().enumerate().skip(start + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return offset + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_stand_where_they_stand() {
        for (text, found) in [
            (r#"{"Statement":{"a":{}}}"#, vec![r#"{"a":{}}"#]),
            (r#"{"Statement":[{"a":[{}]},{}],"Id":{}}"#, vec![r#"{"a":[{}]}"#, "{}"]),
            (r#"{"Id":"Statement","x":{},"Statement" : [ {"}\"":1} ]}"#, vec![r#"{"}\"":1}"#]),
            (r#"{"x":{"Statement":{}},"Statement":[]}"#, vec![]),
            (r#"{"\u0053tatement":{"a":1}}"#, vec![r#"{"a":1}"#]),
        ] {
            let got: Vec<&str> = statements(text).into_iter().map(|range| &text[range]).collect();
            assert_eq!(got, found, "{text}");
        }
    }

    #[test]
    fn no_key_stands_twice() {
        for (text, fine) in [(r#"{"a":1,"A":2}"#, true), (r#"{"a":[{"b":1,"b":2}]}"#, false)] {
            assert_eq!(serde_json::from_str::<Json>(text).is_ok(), fine, "{text}");
        }
    }
}

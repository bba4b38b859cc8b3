//! Messages: what may be sent, the digests that clients check, and how they are stored.
//!
//! ```text
//!  queue(8) B sequence(8)   body: 0 JSON, or 1 the same sealed for the queue
//!  queue(8) D id            what was sent with that deduplication id (FIFO)
//!  queue(8) M sequence(8)   `Entry`: when it was sent, and how it stands
//!  queue(8) S               up to where sequences are reserved
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::model::Queue;
use super::{Error, Result};
use crate::env::Env;

/// Of a message, and of all messages of a batch.
pub const MAX_BYTES: usize = 1 << 20;
const MAX_ATTRIBUTES: usize = 10;

/// What is stored of a message that never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    pub id: String,
    pub text: String,
    pub attributes: BTreeMap<String, Attribute>,
    pub trace_header: Option<String>,
    pub sender_id: String,
    pub deduplication_id: Option<String>,
    /// ARN of the queue that it was moved from.
    pub source: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    pub data_type: String,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    Text(String),
    Binary(#[serde(with = "base64_text")] Bytes),
}

/// Bytes in JSON.
mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}

/// Key of what is stored of one message.
pub fn key(queue: u64, kind: u8, sequence: u64) -> Vec<u8> {
    let mut key = prefix(queue, kind);
    key.extend(sequence.to_be_bytes());
    key
}

pub fn prefix(queue: u64, kind: u8) -> Vec<u8> {
    let mut key = queue.to_be_bytes().to_vec();
    key.push(kind);
    key
}

/// The sequence in a key.
pub fn sequence(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

pub const BODY: u8 = b'B';
pub const SENT: u8 = b'D';
pub const ENTRY: u8 = b'M';
pub const RESERVED: u8 = b'S';

pub fn encode(env: &Env, queue: &Queue, body: &Body) -> Vec<u8> {
    let plain = serde_json::to_vec(body).expect("a body is JSON");
    let (kind, content) = match queue.attributes.encrypted {
        true => (1, env.seal.seal(&env.rng, &queue.arn(), &plain)),
        false => (0, plain),
    };
    [&[kind][..], &content].concat()
}

pub fn decode(env: &Env, queue: &Queue, stored: &[u8]) -> Result<Body> {
    let broken = || Error::Store(std::io::Error::other("what is stored is not a message").into());
    let (kind, content) = stored.split_first().ok_or_else(broken)?;
    let opened = match kind {
        0 => None,
        _ => Some(env.seal.open(&queue.arn(), content).map_err(|_| broken())?),
    };
    serde_json::from_slice(opened.as_deref().unwrap_or(content)).map_err(|_| broken())
}

/// How long a message is, as limits count it.
pub fn size(text: &str, attributes: &BTreeMap<String, Attribute>) -> usize {
    let one = |(name, attribute): (&String, &Attribute)| {
        let value = match &attribute.value {
            Value::Text(text) => text.len(),
            Value::Binary(bytes) => bytes.len(),
        };
        name.len() + attribute.data_type.len() + value
    };
    text.len() + attributes.iter().map(one).sum::<usize>()
}

pub fn check_text(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::MissingParameter("MessageBody"));
    }
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
    if text.chars().all(allowed) { Ok(()) } else { Err(Error::InvalidMessageContents) }
}

/// Source: SQS Developer Guide, "Amazon SQS message metadata".
pub fn check_attributes(attributes: &BTreeMap<String, Attribute>) -> Result<()> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(Error::InvalidParameterValue(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MAX_ATTRIBUTES}].",
            attributes.len()
        )));
    }
    attributes.iter().try_for_each(|(name, attribute)| check_attribute(name, attribute))
}

fn check_attribute(name: &str, attribute: &Attribute) -> Result<()> {
    let invalid = |reason: String| Err(Error::InvalidParameterValue(reason));
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let lower = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > 256 || !name.chars().all(word) {
        return invalid(
            "Message (user) attribute name can only contain alphanumeric characters, underscores, \
             hyphens and periods, and be at most 256 characters long."
                .to_owned(),
        );
    }
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return invalid(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings \
             are reserved for internal use."
                .to_owned(),
        );
    }
    if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return invalid(
            "You can't use message attribute names that begin or end with a period or have periods in \
             succession."
                .to_owned(),
        );
    }
    let (kind, label) = attribute.data_type.split_once('.').unwrap_or((&attribute.data_type, ""));
    let fits = match (kind, &attribute.value) {
        ("String" | "Number", Value::Text(text)) => {
            check_value(name, kind, text)?;
            true
        }
        ("Binary", Value::Binary(bytes)) if bytes.is_empty() => {
            return invalid(empty(name, kind));
        }
        ("Binary", Value::Binary(_)) => true,
        ("String" | "Number" | "Binary", _) => {
            return invalid(format!(
                "The message attribute '{name}' with type '{kind}' must use field '{}'.",
                if kind == "Binary" { "Binary" } else { "String" }
            ));
        }
        _ => false,
    };
    if !fits || label.len() > 256 - kind.len() || !label.chars().all(word) {
        return invalid(format!(
            "The message attribute '{name}' has an invalid message attribute type, the set of supported \
             type prefixes is Binary, Number, and String."
        ));
    }
    Ok(())
}

fn empty(name: &str, kind: &str) -> String {
    format!("Message attribute '{name}' must contain a non-empty value of type '{kind}'.")
}

fn check_value(name: &str, kind: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::InvalidParameterValue(empty(name, "String")));
    }
    check_text(text)?;
    let number = || text.parse::<f64>().is_ok_and(f64::is_finite) && text.len() <= 128;
    if kind == "Number" && !number() {
        return Err(Error::InvalidParameterValue(format!(
            "Can't cast the value of message (user) attribute '{name}' to a number."
        )));
    }
    Ok(())
}

pub fn md5_of_text(text: &str) -> String {
    hex(&Md5::digest(text))
}

/// Source: SQS Developer Guide, "Calculating the MD5 message digest for message attributes".
pub fn md5_of_attributes(attributes: &BTreeMap<String, Attribute>) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    for (name, attribute) in attributes {
        let (kind, value): (u8, &[u8]) = match &attribute.value {
            Value::Text(text) => (1, text.as_bytes()),
            Value::Binary(bytes) => (2, bytes),
        };
        add(&mut digest, name.as_bytes());
        add(&mut digest, attribute.data_type.as_bytes());
        digest.update([kind]);
        add(&mut digest, value);
    }
    Some(hex(&digest.finalize()))
}

/// A part and, before it, how long it is.
fn add(digest: &mut Md5, part: &[u8]) {
    digest.update((part.len() as u32).to_be_bytes());
    digest.update(part);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data_type: &str, value: &str) -> Attribute {
        Attribute { data_type: data_type.into(), value: Value::Text(value.into()) }
    }

    #[test]
    fn digests_are_those_of_aws() {
        assert_eq!(md5_of_text("This is a test message"), "fafb00f5732ab283681e124bf8747ed1");
        assert_eq!(md5_of_attributes(&BTreeMap::new()), None);
        let binary =
            Attribute { data_type: "Binary".into(), value: Value::Binary(vec![1, 2].into()) };
        let attributes =
            BTreeMap::from([("a".to_owned(), text("String", "x")), ("b".to_owned(), binary)]);
        let written = b"\0\0\0\x01a\0\0\0\x06String\x01\0\0\0\x01x\
                        \0\0\0\x01b\0\0\0\x06Binary\x02\0\0\0\x02\x01\x02";
        assert_eq!(md5_of_attributes(&attributes), Some(hex(&Md5::digest(written))));
    }

    #[test]
    fn attributes_are_checked() {
        for (name, attribute, good) in [
            ("kind", text("String", "x"), true),
            ("kind", text("String.json", "x"), true),
            ("kind", text("Number.int", "1.5e3"), true),
            ("kind", text("Number", "many"), false),
            ("kind", text("Binary", "x"), false),
            ("kind", text("Text", "x"), false),
            ("kind", text("String", ""), false),
            ("a..b", text("String", "x"), false),
            ("AWS.kind", text("String", "x"), false),
            ("amazon.kind", text("String", "x"), false),
            (".kind", text("String", "x"), false),
            ("my kind", text("String", "x"), false),
        ] {
            let checked = check_attributes(&BTreeMap::from([(name.to_owned(), attribute.clone())]));
            assert_eq!(checked.is_ok(), good, "{name} {attribute:?}");
        }
    }

    #[test]
    fn texts_are_checked() {
        for (text, good) in [
            ("a\tb\r\n\u{10FFFF}\u{FFFD}", true),
            ("", false),
            ("\0", false),
            ("\u{FFFF}", false),
            ("\u{B}", false),
        ] {
            assert_eq!(check_text(text).is_ok(), good, "{text:?}");
        }
    }
}

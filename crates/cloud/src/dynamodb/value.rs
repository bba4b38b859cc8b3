//! Attribute values and items: sizes as AWS counts them, and their form on disk.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::number::Number;

/// 400 KB.
pub const MAX_ITEM_BYTES: usize = 400 * 1024;
/// Of lists and maps in each other.
pub const MAX_DEPTH: usize = 32;

pub type Item = BTreeMap<String, Value>;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    S(String),
    N(Number),
    B(Bytes),
    Ss(BTreeSet<String>),
    Ns(BTreeSet<Number>),
    Bs(BTreeSet<Bytes>),
    M(Item),
    L(Vec<Value>),
    Bool(bool),
    Null,
}

impl Value {
    /// As requests spell it: `S`, `NS`, `BOOL`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::S(_) => "S",
            Value::N(_) => "N",
            Value::B(_) => "B",
            Value::Ss(_) => "SS",
            Value::Ns(_) => "NS",
            Value::Bs(_) => "BS",
            Value::M(_) => "M",
            Value::L(_) => "L",
            Value::Bool(_) => "BOOL",
            Value::Null => "NULL",
        }
    }

    /// As errors of expressions spell it: `STRING`, `NUMBER`.
    pub fn long_type_name(&self) -> &'static str {
        match self {
            Value::S(_) => "STRING",
            Value::N(_) => "NUMBER",
            Value::B(_) => "BINARY",
            Value::Ss(_) => "STRING_SET",
            Value::Ns(_) => "NUMBER_SET",
            Value::Bs(_) => "BINARY_SET",
            Value::M(_) => "MAP",
            Value::L(_) => "LIST",
            Value::Bool(_) => "BOOLEAN",
            Value::Null => "NULL",
        }
    }

    /// AWS: "DynamoDB item sizes and formats".
    pub fn size(&self) -> usize {
        match self {
            Value::S(s) => s.len(),
            Value::N(n) => number_size(n),
            Value::B(b) => b.len(),
            Value::Ss(set) => set.iter().map(String::len).sum(),
            Value::Ns(set) => set.iter().map(number_size).sum(),
            Value::Bs(set) => set.iter().map(Bytes::len).sum(),
            Value::M(map) => 3 + size(map) + map.len(),
            Value::L(list) => 3 + list.iter().map(|value| value.size() + 1).sum::<usize>(),
            Value::Bool(_) | Value::Null => 1,
        }
    }

    pub fn depth(&self) -> usize {
        match self {
            Value::M(map) => 1 + map.values().map(Value::depth).max().unwrap_or(0),
            Value::L(list) => 1 + list.iter().map(Value::depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// How errors print values: `{N:5}`.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::S(s) => write!(f, "{{S:{s}}}"),
            Value::N(n) => write!(f, "{{N:{n}}}"),
            other => write!(f, "{{{}}}", other.type_name()),
        }
    }
}

fn number_size(number: &Number) -> usize {
    (number.digits() as usize).div_ceil(2) + 1 + usize::from(number.is_negative())
}

pub fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.size()).sum()
}

/// As responses spell it, for errors that carry an item.
pub fn to_json(item: &Item) -> serde_json::Value {
    let members = item.iter().map(|(name, value)| (name.clone(), value_to_json(value)));
    serde_json::Value::Object(members.collect())
}

fn value_to_json(value: &Value) -> serde_json::Value {
    use base64::Engine;
    use serde_json::json;
    let base64 = |bytes: &Bytes| base64::engine::general_purpose::STANDARD.encode(bytes);
    let inner = match value {
        Value::S(s) => json!(s),
        Value::N(n) => json!(n.to_string()),
        Value::B(b) => json!(base64(b)),
        Value::Ss(set) => json!(set),
        Value::Ns(set) => set.iter().map(Number::to_string).collect(),
        Value::Bs(set) => set.iter().map(base64).collect(),
        Value::M(map) => to_json(map),
        Value::L(list) => list.iter().map(value_to_json).collect(),
        Value::Bool(b) => json!(b),
        Value::Null => json!(true),
    };
    json!({ value.type_name(): inner })
}

/// The form on disk: for each attribute its name, a tag, and the value, lengths in LEB128.
pub fn encode(item: &Item) -> Vec<u8> {
    let mut out = Vec::with_capacity(size(item) + item.len() * 4 + 4);
    put_map(&mut out, item);
    out
}

/// `None` when the bytes are not an item.
pub fn decode(mut bytes: &[u8]) -> Option<Item> {
    let item = take_map(&mut bytes)?;
    bytes.is_empty().then_some(item)
}

fn put_length(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take_length(from: &mut &[u8]) -> Option<usize> {
    let mut n = 0usize;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        n |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend(bytes);
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_length(from)?;
    let (bytes, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(bytes)
}

fn take_string(from: &mut &[u8]) -> Option<String> {
    String::from_utf8(take_bytes(from)?.to_vec()).ok()
}

fn take_number(from: &mut &[u8]) -> Option<Number> {
    let (bytes, rest) = from.split_first_chunk::<19>()?;
    *from = rest;
    Some(Number::from_bytes(bytes))
}

fn put_map(out: &mut Vec<u8>, map: &Item) {
    put_length(out, map.len());
    for (name, value) in map {
        put_bytes(out, name.as_bytes());
        put(out, value);
    }
}

fn take_map(from: &mut &[u8]) -> Option<Item> {
    let length = take_length(from)?;
    (0..length).map(|_| Some((take_string(from)?, take(from)?))).collect()
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::S(s) => {
            out.push(b'S');
            put_bytes(out, s.as_bytes());
        }
        Value::N(n) => {
            out.push(b'N');
            out.extend(n.to_bytes());
        }
        Value::B(b) => {
            out.push(b'B');
            put_bytes(out, b);
        }
        Value::Ss(set) => {
            out.push(b's');
            put_length(out, set.len());
            set.iter().for_each(|s| put_bytes(out, s.as_bytes()));
        }
        Value::Ns(set) => {
            out.push(b'n');
            put_length(out, set.len());
            set.iter().for_each(|n| out.extend(n.to_bytes()));
        }
        Value::Bs(set) => {
            out.push(b'b');
            put_length(out, set.len());
            set.iter().for_each(|b| put_bytes(out, b));
        }
        Value::M(map) => {
            out.push(b'M');
            put_map(out, map);
        }
        Value::L(list) => {
            out.push(b'L');
            put_length(out, list.len());
            list.iter().for_each(|value| put(out, value));
        }
        Value::Bool(true) => out.push(b'1'),
        Value::Bool(false) => out.push(b'0'),
        Value::Null => out.push(b'-'),
    }
}

fn take(from: &mut &[u8]) -> Option<Value> {
    let (tag, rest) = from.split_first()?;
    *from = rest;
    Some(match tag {
        b'S' => Value::S(take_string(from)?),
        b'N' => Value::N(take_number(from)?),
        b'B' => Value::B(Bytes::copy_from_slice(take_bytes(from)?)),
        b's' => Value::Ss(many(from, take_string)?.into_iter().collect()),
        b'n' => Value::Ns(many(from, take_number)?.into_iter().collect()),
        b'b' => {
            let one = |from: &mut &[u8]| take_bytes(from).map(Bytes::copy_from_slice);
            Value::Bs(many(from, one)?.into_iter().collect())
        }
        b'M' => Value::M(take_map(from)?),
        b'L' => Value::L(many(from, take)?),
        b'1' => Value::Bool(true),
        b'0' => Value::Bool(false),
        b'-' => Value::Null,
        _ => return None,
    })
}

fn many<T>(from: &mut &[u8], one: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let length = take_length(from)?;
    (0..length).map(|_| one(from)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::S),
            any::<u32>().prop_map(|n| Value::N(n.into())),
            any::<Vec<u8>>().prop_map(|b| Value::B(b.into())),
            any::<BTreeSet<String>>().prop_map(Value::Ss),
            any::<BTreeSet<u32>>().prop_map(|s| Value::Ns(s.into_iter().map(Into::into).collect())),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::L),
                prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(Value::M),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(
            item in prop::collection::btree_map(any::<String>(), any_value(), 0..5)
        ) {
            prop_assert_eq!(decode(&encode(&item)), Some(item));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn sizes_are_awss() {
        let item = Item::from([
            ("id".to_owned(), Value::S("abc".to_owned())),
            ("n".to_owned(), Value::N(1234.into())),
            ("l".to_owned(), Value::L(vec![Value::Null])),
        ]);
        assert_eq!(size(&item), (2 + 3) + (1 + 3) + (1 + 3 + 1 + 1));
    }
}

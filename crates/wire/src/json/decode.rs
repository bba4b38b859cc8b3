//! A JSON object to a value, in one pass by the schema: no JSON tree is built.

use std::cell::RefCell;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::Error;
use crate::schema::{Place, Structure, Type};
use crate::value::Value;

/// Of a REST request: only the members that are not elsewhere.
pub fn document(body: &[u8], schema: &'static Structure) -> Result<Value, Error> {
    let value = decode(body, schema)?;
    let Value::Structure(members) = &value else { unreachable!("it is the schema's") };
    let elsewhere = members.iter().find(|(at, _)| schema.members[*at].place != Place::Document);
    match elsewhere {
        Some((at, _)) => Err(unknown_member(schema.members[*at].name)),
        None => Ok(value),
    }
}

pub(crate) fn unknown_member(name: &str) -> Error {
    let message = format!("1 validation error detected: Member '{name}' is not recognized");
    Error::new(400, "ValidationException", message)
}

pub fn decode(body: &[u8], schema: &'static Structure) -> Result<Value, Error> {
    if body.is_empty() {
        return Ok(Value::Structure(vec![]));
    }
    let unknown = RefCell::new(None);
    let mut json = serde_json::Deserializer::from_slice(body);
    let seed = Seed { ty: Type::Structure(schema), unknown: &unknown };
    let value = seed.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    let value = value.map_err(|error| {
        let text = error.to_string();
        // Where in the text it was is of no use to a caller that did not write it by hand.
        let text = text.split(" at line ").next().unwrap_or_default();
        Error::new(400, "SerializationException", text)
    })?;
    match unknown.into_inner() {
        Some(name) => Err(unknown_member(&name)),
        None => Ok(value),
    }
}

struct Seed<'a> {
    ty: Type,
    /// The first member that the schema does not know.
    unknown: &'a RefCell<Option<String>>,
}

impl<'a> Seed<'a> {
    fn of(&self, ty: Type) -> Seed<'a> {
        Seed { ty, unknown: self.unknown }
    }

    fn unexpected<E: serde::de::Error>(&self, found: &str) -> E {
        let (found_name, wanted) = (found, self.wanted());
        match self.ty {
            Type::List(_) | Type::Map(_) | Type::Structure(_) => {
                E::custom(format_args!("Unexpected value type in payload: {found_name}"))
            }
            _ => E::custom(format_args!("{found_name} can not be converted to {wanted}")),
        }
    }

    fn wanted(&self) -> &'static str {
        match self.ty {
            Type::String(_) => "a String",
            Type::Integer(_) => "an Integer",
            Type::Long(_) => "a Long",
            Type::Float(_) => "a Float",
            Type::Double(_) => "a Double",
            Type::Boolean => "a Boolean",
            Type::Timestamp => "milliseconds since epoch",
            Type::Blob(_) => "a Blob",
            Type::List(_) => "a list",
            Type::Map(_) => "a map",
            Type::Structure(_) => "a structure",
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted())
    }

    fn visit_bool<E: serde::de::Error>(self, b: bool) -> Result<Value, E> {
        match self.ty {
            Type::Boolean => Ok(Value::Boolean(b)),
            _ => Err(self.unexpected(if b { "TRUE_VALUE" } else { "FALSE_VALUE" })),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Value, E> {
        match self.ty {
            Type::Integer(_) if i32::try_from(n).is_ok() => Ok(Value::Integer(n)),
            Type::Long(_) => Ok(Value::Integer(n)),
            Type::Float(_) | Type::Double(_) => Ok(Value::Double(n as f64)),
            Type::Timestamp => Ok(Value::Timestamp(n.saturating_mul(1000))),
            _ => Err(self.unexpected("NUMBER_VALUE")),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Value, E> {
        match i64::try_from(n) {
            Ok(n) => self.visit_i64(n),
            Err(_) => self.visit_f64(n as f64),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Value, E> {
        match self.ty {
            Type::Float(_) | Type::Double(_) => Ok(Value::Double(n)),
            Type::Timestamp => Ok(Value::Timestamp((n * 1000.0).round() as i64)),
            _ => Err(self.unexpected("DECIMAL_VALUE")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Value, E> {
        match self.ty {
            Type::Blob(_) => match STANDARD.decode(s) {
                Ok(bytes) => Ok(Value::Blob(Bytes::from(bytes))),
                Err(_) => Err(E::custom("Invalid base64 text")),
            },
            Type::String(_) => Ok(Value::String(s.to_owned())),
            _ => Err(self.unexpected("STRING_VALUE")),
        }
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        Err(self.unexpected("NULL_VALUE"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let Type::List(list) = self.ty else {
            return Err(A::Error::custom("Start of list found where not expected"));
        };
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.of(list.item))? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        match self.ty {
            Type::Structure(schema) => {
                let mut members: Vec<(usize, Value)> = Vec::new();
                while let Some(member) = map.next_key_seed(Key { schema, unknown: self.unknown })? {
                    let Some(index) = member else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    let seed = Nullable(self.of(schema.members[index].ty));
                    if let Some(value) = map.next_value_seed(seed)? {
                        members.push((index, value));
                    }
                }
                Ok(Value::Structure(members))
            }
            Type::Map(schema) => {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    entries.push((key, map.next_value_seed(self.of(schema.value))?));
                }
                Ok(Value::Map(entries))
            }
            _ => Err(A::Error::custom("Start of structure or map found where not expected")),
        }
    }
}

/// A member: null is as good as absent.
struct Nullable<'a>(Seed<'a>);

impl<'de> DeserializeSeed<'de> for Nullable<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Nullable<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

/// A member's name to its index.
struct Key<'a> {
    schema: &'static Structure,
    unknown: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let index = self.schema.members.iter().position(|member| member.response == name);
        // Some clients name the shape of an object beside its members.
        if index.is_none() && name != "__type" {
            self.unknown.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        Ok(index)
    }
}

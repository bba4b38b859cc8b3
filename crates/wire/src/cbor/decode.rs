//! A CBOR map to a value, in one pass by the schema.

use bytes::Bytes;
use ciborium_ll::{Decoder, Header, simple};

use super::EPOCH;
use crate::Error;
use crate::schema::{Structure, Type};
use crate::value::Value;

/// Deeper documents than any shape has are nobody's.
const MAX_DEPTH: usize = 64;

pub fn decode(body: &[u8], schema: &'static Structure) -> Result<Value, Error> {
    if body.is_empty() {
        return Ok(Value::Structure(vec![]));
    }
    let mut reader = Reader { input: Decoder::from(body), depth: 0, unknown: None };
    let value = reader.value(&Type::Structure(schema))?;
    if reader.input.offset() != body.len() {
        return Err(malformed("Trailing bytes after the document"));
    }
    match (reader.unknown, value) {
        (Some(name), _) => Err(crate::json::unknown_member(&name)),
        (None, Some(value)) => Ok(value),
        (None, None) => Ok(Value::Structure(vec![])),
    }
}

fn malformed(text: &str) -> Error {
    Error::new(400, "SerializationException", text)
}

struct Reader<'a> {
    input: Decoder<&'a [u8]>,
    depth: usize,
    /// The first member that the schema does not know.
    unknown: Option<String>,
}

impl Reader<'_> {
    fn pull(&mut self) -> Result<Header, Error> {
        self.input.pull().map_err(|_| malformed("The document is not well-formed CBOR"))
    }

    /// `None`: null.
    fn value(&mut self, ty: &Type) -> Result<Option<Value>, Error> {
        let header = self.pull()?;
        let value = match (ty, header) {
            (_, Header::Simple(simple::NULL | simple::UNDEFINED)) => return Ok(None),
            (Type::Boolean, Header::Simple(simple::TRUE)) => Value::Boolean(true),
            (Type::Boolean, Header::Simple(simple::FALSE)) => Value::Boolean(false),
            (Type::Integer(_) | Type::Long(_), Header::Positive(_) | Header::Negative(_)) => {
                let n = integer(header).filter(|n| match ty {
                    Type::Integer(_) => i32::try_from(*n).is_ok(),
                    _ => true,
                });
                Value::Integer(n.ok_or_else(|| malformed("A number is too large for its member"))?)
            }
            (Type::Float(_) | Type::Double(_), Header::Float(n)) => Value::Double(n),
            (Type::Float(_) | Type::Double(_), Header::Positive(n)) => Value::Double(n as f64),
            (Type::Float(_) | Type::Double(_), Header::Negative(n)) => {
                Value::Double(-1.0 - n as f64)
            }
            (Type::Timestamp, Header::Tag(EPOCH)) => {
                let header = self.pull()?;
                let ms = match (header, integer(header)) {
                    (_, Some(seconds)) => seconds.saturating_mul(1000),
                    (Header::Float(seconds), _) if seconds.is_finite() => {
                        (seconds * 1000.0).round() as i64
                    }
                    _ => return Err(malformed("A timestamp has no number")),
                };
                Value::Timestamp(ms)
            }
            (Type::String(_), Header::Text(length)) => Value::String(self.text(length)?),
            (Type::Blob(_), Header::Bytes(length)) => Value::Blob(self.bytes(length)?),
            (Type::List(list), Header::Array(length)) => {
                let mut items = Vec::new();
                self.each(length, |reader| {
                    let item = reader.value(&list.item)?;
                    items.push(item.ok_or_else(|| malformed("A list has a null"))?);
                    Ok(())
                })?;
                Value::List(items)
            }
            (Type::Map(map), Header::Map(length)) => {
                let mut entries = Vec::new();
                self.each(length, |reader| {
                    let key = reader.key()?;
                    let value = reader.value(&map.value)?;
                    entries.push((key, value.ok_or_else(|| malformed("A map has a null"))?));
                    Ok(())
                })?;
                Value::Map(entries)
            }
            (Type::Structure(schema), Header::Map(length)) => {
                let mut members: Vec<(usize, Value)> = Vec::new();
                self.each(length, |reader| {
                    let key = reader.key()?;
                    match schema.members.iter().position(|member| member.name == key) {
                        Some(index) => {
                            let value = reader.value(&schema.members[index].ty)?;
                            members.extend(value.map(|value| (index, value)));
                        }
                        None => {
                            if key != "__type" {
                                reader.unknown.get_or_insert(key);
                            }
                            reader.skip()?;
                        }
                    }
                    Ok(())
                })?;
                Value::Structure(members)
            }
            _ => return Err(malformed(&format!("Unexpected type for {}", wanted(ty)))),
        };
        Ok(Some(value))
    }

    /// Runs `item` for every item of an array or map, whose length may be unknown until its break.
    fn each(
        &mut self,
        length: Option<usize>,
        mut item: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(malformed("The document is too deep"));
        }
        match length {
            Some(length) => {
                for _ in 0..length {
                    item(self)?;
                }
            }
            None => loop {
                match self.pull()? {
                    Header::Break => break,
                    header => self.input.push(header),
                }
                item(self)?;
            },
        }
        self.depth -= 1;
        Ok(())
    }

    fn key(&mut self) -> Result<String, Error> {
        match self.pull()? {
            Header::Text(length) => self.text(length),
            _ => Err(malformed("A key is not a text")),
        }
    }

    fn text(&mut self, length: Option<usize>) -> Result<String, Error> {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        let mut segments = self.input.text(length);
        let ill = || malformed("A text is not UTF-8 or is cut off");
        while let Some(mut segment) = segments.pull().map_err(|_| ill())? {
            while let Some(chunk) = segment.pull(&mut buffer).map_err(|_| ill())? {
                text.push_str(chunk);
            }
        }
        Ok(text)
    }

    fn bytes(&mut self, length: Option<usize>) -> Result<Bytes, Error> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        let mut segments = self.input.bytes(length);
        let ill = || malformed("A byte string is cut off");
        while let Some(mut segment) = segments.pull().map_err(|_| ill())? {
            while let Some(chunk) = segment.pull(&mut buffer).map_err(|_| ill())? {
                bytes.extend_from_slice(chunk);
            }
        }
        Ok(bytes.into())
    }

    fn skip(&mut self) -> Result<(), Error> {
        match self.pull()? {
            Header::Text(length) => self.text(length).map(drop),
            Header::Bytes(length) => self.bytes(length).map(drop),
            Header::Array(length) => self.each(length, Self::skip),
            Header::Map(length) => self.each(length, |reader| {
                reader.skip()?;
                reader.skip()
            }),
            Header::Tag(_) => self.each(Some(1), Self::skip),
            Header::Break => Err(malformed("A break ends nothing")),
            Header::Positive(_) | Header::Negative(_) | Header::Float(_) | Header::Simple(_) => {
                Ok(())
            }
        }
    }
}

fn integer(header: Header) -> Option<i64> {
    match header {
        Header::Positive(n) => i64::try_from(n).ok(),
        // CBOR has -1 - n.
        Header::Negative(n) => i64::try_from(n).ok().map(|n| -1 - n),
        _ => None,
    }
}

fn wanted(ty: &Type) -> &'static str {
    match ty {
        Type::String(_) => "a String",
        Type::Integer(_) => "an Integer",
        Type::Long(_) => "a Long",
        Type::Float(_) => "a Float",
        Type::Double(_) => "a Double",
        Type::Boolean => "a Boolean",
        Type::Timestamp => "a Timestamp",
        Type::Blob(_) => "a Blob",
        Type::List(_) => "a list",
        Type::Map(_) => "a map",
        Type::Structure(_) => "a structure",
    }
}

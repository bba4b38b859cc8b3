//! Which tables and keyspaces a store has, and how a table's records go to disk and come back: as JSON
//! behind the version they were written with (`3 {"id":…}`).

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{Error, Record, Result};

pub(crate) type Row = Arc<dyn Any + Send + Sync>;

/// Every table and keyspace that a store may hold. A store on disk that holds others was written by a
/// newer release and is refused.
#[derive(Clone, Default)]
pub struct Schema {
    tables: BTreeMap<&'static str, Codec>,
    keyspaces: BTreeSet<&'static str>,
}

impl Schema {
    pub fn new() -> Schema {
        Schema::default()
    }

    /// Adds the table of `R`.
    pub fn record<R: Record>(mut self) -> Schema {
        let codec = Codec { encode: encode::<R>, decode: decode::<R> };
        let twice = self.tables.insert(R::TABLE, codec).is_some();
        assert!(!twice, "two records have the table {}", R::TABLE);
        self
    }

    /// Adds a bulk keyspace.
    pub fn keyspace(mut self, name: &'static str) -> Schema {
        assert!(self.keyspaces.insert(name), "the keyspace {name} is listed twice");
        self
    }

    pub(crate) fn table(&self, name: &str) -> Option<(&'static str, Codec)> {
        self.tables.get_key_value(name).map(|(name, codec)| (*name, *codec))
    }

    pub(crate) fn keyspaces(&self) -> impl Iterator<Item = &'static str> {
        self.keyspaces.iter().copied()
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Codec {
    pub encode: fn(&Row) -> Result<Vec<u8>>,
    /// With the record's key.
    pub decode: fn(&str, &[u8]) -> Result<Row>,
}

fn encode<R: Record>(row: &Row) -> Result<Vec<u8>> {
    let record = row.downcast_ref::<R>().expect("a table holds records of one type");
    let mut bytes = format!("{} ", R::VERSION).into_bytes();
    serde_json::to_writer(&mut bytes, record)
        .map_err(|error| fault::<R>(&record.key(), error.to_string()))?;
    Ok(bytes)
}

fn decode<R: Record>(key: &str, bytes: &[u8]) -> Result<Row> {
    let record: R = decode_record(bytes).map_err(|message| fault::<R>(key, message))?;
    Ok(Arc::new(record))
}

fn decode_record<R: Record>(bytes: &[u8]) -> Result<R, String> {
    let space = bytes.iter().position(|b| *b == b' ').ok_or("it has no version")?;
    let (version, json) = (&bytes[..space], &bytes[space + 1..]);
    let version: u16 = std::str::from_utf8(version)
        .ok()
        .and_then(|version| version.parse().ok())
        .ok_or("its version is not a number")?;
    if version > R::VERSION {
        return Err(format!(
            "it was written by a newer release (version {version}, this one knows {})",
            R::VERSION
        ));
    }
    let text = |error: serde_json::Error| error.to_string();
    if version == R::VERSION {
        return serde_json::from_slice(json).map_err(text);
    }
    let value = serde_json::from_slice(json).map_err(text)?;
    let value = R::upgrade(version, value).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(text)
}

fn fault<R: Record>(key: &str, message: String) -> Error {
    Error::Record { table: R::TABLE, key: key.to_owned(), message }
}

//! An item's keys, in the table and in its indexes, and what is checked of them.

use std::collections::BTreeMap;

use super::model::{Index, KeySchema, Projection, Table};
use super::value::{Item, Value};
use super::{Error, Result, key};

const MAX_PARTITION_BYTES: usize = 2048;
const MAX_SORT_BYTES: usize = 1024;

/// The bytes of an item's key. The item has been checked.
pub fn item_key(table: &Table, item: &Item) -> Vec<u8> {
    let mut bytes = key::partition(table.number, key::ITEMS, &item[&table.key.partition]);
    if let Some(sort) = &table.key.sort {
        key::push(&mut bytes, &item[sort]);
    }
    bytes
}

/// The bytes of the key of an item's entry in an index; `None`: it has none, for want of a key.
pub fn entry_key(table: &Table, index: &Index, item: &Item) -> Option<Vec<u8>> {
    let mut bytes = key::partition(table.number, index.number, item.get(&index.key.partition)?);
    if let Some(sort) = &index.key.sort {
        key::push(&mut bytes, item.get(sort)?);
    }
    for name in table.key.names() {
        key::push(&mut bytes, &item[name]);
    }
    Some(bytes)
}

/// The attributes of an item that an index holds.
pub fn project(table: &Table, index: &Index, item: &Item) -> Item {
    let held = |(name, value): (&String, &Value)| {
        holds(table, index, name).then(|| (name.clone(), value.clone()))
    };
    item.iter().filter_map(held).collect()
}

/// Whether an index holds the attribute `name`.
pub fn holds(table: &Table, index: &Index, name: &str) -> bool {
    match &index.projection {
        Projection::All => true,
        _ if table.key.contains(name) || index.key.contains(name) => true,
        Projection::KeysOnly => false,
        Projection::Include(names) => names.contains(name),
    }
}

/// Checks that `key` is a key of `table`, no more and no less.
pub fn check_key(table: &Table, key: &Item) -> Result<()> {
    let wanted = table.key.names().count();
    let fits =
        |name: &str| key.get(name).is_some_and(|value| value.type_name() == table.attributes[name]);
    if key.len() != wanted || !table.key.names().all(fits) {
        return Err(Error::validation("The provided key element does not match the schema"));
    }
    check_sizes(&table.key, key)
}

/// Checks an item's keys, in the table and in its indexes.
pub fn check_item(table: &Table, item: &Item) -> Result<()> {
    for name in table.key.names() {
        let Some(value) = item.get(name) else {
            return Err(Error::parameter(format!("Missing the key {name} in the item")));
        };
        let expected = &table.attributes[name];
        if value.type_name() != expected {
            return Err(Error::parameter(format!(
                "Type mismatch for key {name} expected: {expected} actual: {}",
                value.type_name()
            )));
        }
    }
    check_sizes(&table.key, item)?;
    check_indexes(table, item)
}

/// Checks those attributes of an item that are keys of indexes.
pub fn check_indexes(table: &Table, item: &Item) -> Result<()> {
    for index in &table.indexes {
        for name in index.key.names() {
            let Some(value) = item.get(name) else { continue };
            let expected = &table.attributes[name];
            if value.type_name() != expected {
                return Err(Error::parameter(format!(
                    "Type mismatch for Index Key {name} Expected: {expected} Actual: {} IndexName: {}",
                    value.type_name(),
                    index.name
                )));
            }
            if let Some(kind) = empty(value) {
                return Err(Error::validation(format!(
                    "One or more parameter values are not valid. A value specified for a secondary \
                     index key is not supported. The AttributeValue for a key attribute cannot \
                     contain an empty {kind} value. IndexName: {}, IndexKey: {name}",
                    index.name
                )));
            }
        }
        check_lengths(&index.key, item)?;
    }
    Ok(())
}

fn check_sizes(schema: &KeySchema, item: &Item) -> Result<()> {
    for name in schema.names() {
        if let Some(kind) = empty(&item[name]) {
            return Err(Error::validation(format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute \
                 cannot contain an empty {kind} value. Key: {name}"
            )));
        }
    }
    check_lengths(schema, item)
}

fn check_lengths(schema: &KeySchema, item: &Item) -> Result<()> {
    if item.get(&schema.partition).is_some_and(|value| value.size() > MAX_PARTITION_BYTES) {
        return Err(Error::parameter(
            "Size of hashkey has exceeded the maximum size limit of2048 bytes",
        ));
    }
    let sort = schema.sort.as_ref().and_then(|name| item.get(name));
    if sort.is_some_and(|value| value.size() > MAX_SORT_BYTES) {
        return Err(Error::parameter(
            "Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
        ));
    }
    Ok(())
}

fn empty(value: &Value) -> Option<&'static str> {
    match value {
        Value::S(s) if s.is_empty() => Some("string"),
        Value::B(b) if b.is_empty() => Some("binary"),
        _ => None,
    }
}

/// The key attributes of an item, and those of the index if it was found there.
pub fn key_of(table: &Table, index: Option<&Index>, item: &Item) -> Item {
    let names = table.key.names().chain(index.into_iter().flat_map(|index| index.key.names()));
    let found: BTreeMap<_, _> =
        names.filter_map(|name| Some((name.to_owned(), item.get(name)?.clone()))).collect();
    found
}

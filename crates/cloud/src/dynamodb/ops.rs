//! Tables: create, find, list, delete, tag.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Index, IndexKind, KeySchema, Projection, Table, Throughput};
use super::{Error, Result};
use crate::tag::{self, Tags};
use crate::{Context, arn, id};

const MAX_GLOBAL_INDEXES: usize = 20;
const MAX_LOCAL_INDEXES: usize = 5;
const MAX_INCLUDED: usize = 100;

/// A CreateTable request as it came.
#[derive(Clone, Debug, Default)]
pub struct Creation {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub key: Vec<(String, String)>,
    pub global: Vec<IndexCreation>,
    pub local: Vec<IndexCreation>,
    pub billing_mode: Option<String>,
    pub throughput: Option<Throughput>,
    pub table_class: Option<String>,
    pub deletion_protection: bool,
    pub tags: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default)]
pub struct IndexCreation {
    pub name: String,
    /// Attribute and `HASH` or `RANGE`.
    pub key: Vec<(String, String)>,
    pub projection_type: Option<String>,
    pub non_key_attributes: Option<Vec<String>>,
    pub throughput: Option<Throughput>,
}

/// The table's name, from a name or an ARN of this account and region.
pub fn name_of<'a>(cx: &Context, name_or_arn: &'a str) -> Result<&'a str> {
    if !name_or_arn.starts_with("arn:") {
        return Ok(name_or_arn);
    }
    let parts = arn::parse(name_or_arn).filter(|arn| arn.service == "dynamodb");
    let name = parts.as_ref().and_then(|arn| arn.resource.strip_prefix("table/"));
    match (parts, name) {
        (Some(arn), Some(name)) if arn.region == cx.region && arn.account == cx.account => Ok(name),
        (Some(_), Some(_)) => Err(Error::no_table()),
        _ => Err(Error::validation(format!("Invalid TableArn: {name_or_arn}"))),
    }
}

/// A table to read and write.
pub fn table(snapshot: &Snapshot, cx: &Context, name_or_arn: &str) -> Result<Arc<Table>> {
    let found = snapshot.get::<Table>(&cx.key(name_of(cx, name_or_arn)?));
    found.filter(|table| !table.deleting).ok_or_else(Error::no_table)
}

/// Whether `table` is still there to be written.
pub fn same_table(snapshot: &Snapshot, table: &Table) -> Result<()> {
    let found = snapshot.get::<Table>(&store::Record::key(table));
    match found {
        Some(found) if found.number == table.number && !found.deleting => Ok(()),
        _ => Err(Error::no_table()),
    }
}

pub fn describe(snapshot: &Snapshot, cx: &Context, name_or_arn: &str) -> Result<Arc<Table>> {
    let name = name_of(cx, name_or_arn)?;
    snapshot.get::<Table>(&cx.key(name)).ok_or_else(|| {
        Error::ResourceNotFound(format!("Requested resource not found: Table: {name} not found"))
    })
}

/// Names after `start`, at most `limit`; the last one if there are more.
pub fn list(
    snapshot: &Snapshot,
    cx: &Context,
    start: Option<&str>,
    limit: usize,
) -> (Vec<String>, Option<String>) {
    let prefix = cx.prefix();
    let mut names: Vec<String> = snapshot
        .scan::<Table>(&prefix)
        .map(|table| table.name.clone())
        .filter(|name| start.is_none_or(|start| name.as_str() > start))
        .take(limit + 1)
        .collect();
    let more = names.len() > limit;
    names.truncate(limit);
    let last = if more { names.last().cloned() } else { None };
    (names, last)
}

pub fn create(tx: &mut Tx, cx: &Context, wanted: &Creation) -> Result<Table> {
    let table = check(cx, wanted)?;
    if tx.get::<Table>(&cx.key(&table.name)).is_some() {
        return Err(Error::ResourceInUse(format!("Table already exists: {}", table.name)));
    }
    tx.put(table.clone());
    Ok(table)
}

/// It is gone when its items are.
pub fn delete(tx: &mut Tx, cx: &Context, name_or_arn: &str) -> Result<Table> {
    let mut table = Table::clone(&*describe(tx, cx, name_or_arn)?);
    if table.deleting {
        return Err(Error::ResourceInUse(format!(
            "Attempt to change a resource which is still in use: Table is being deleted: {}",
            table.name
        )));
    }
    if table.deletion_protection {
        return Err(Error::validation(
            "Resource cannot be deleted as it is currently protected against deletion. Disable \
             deletion protection first.",
        ));
    }
    table.deleting = true;
    tx.put(table.clone());
    Ok(table)
}

/// The table that an ARN names, as tag calls do.
pub fn tagged(snapshot: &Snapshot, cx: &Context, resource_arn: &str) -> Result<Arc<Table>> {
    if !resource_arn.starts_with("arn:") {
        return Err(Error::validation(format!("Invalid TableArn: {resource_arn}")));
    }
    let name = name_of(cx, resource_arn)?;
    snapshot.get::<Table>(&cx.key(name)).ok_or_else(|| {
        Error::ResourceNotFound(format!(
            "Requested resource not found: ResourcArn: {resource_arn} not found"
        ))
    })
}

pub fn set_tags(
    tx: &mut Tx,
    cx: &Context,
    resource_arn: &str,
    tags: &[(String, String)],
) -> Result<()> {
    let mut table = Table::clone(&*tagged(tx, cx, resource_arn)?);
    table.tags.extend(tags.iter().cloned());
    check_tags(&table.tags)?;
    tx.put(table);
    Ok(())
}

pub fn remove_tags(tx: &mut Tx, cx: &Context, resource_arn: &str, keys: &[String]) -> Result<()> {
    let mut table = Table::clone(&*tagged(tx, cx, resource_arn)?);
    table.tags.retain(|key, _| !keys.contains(key));
    tx.put(table);
    Ok(())
}

fn check_tags(tags: &Tags) -> Result<()> {
    tag::check(tags).map_err(|invalid| {
        Error::validation(match invalid {
            tag::Invalid::Key(key) => format!("Tag key is invalid: {key}"),
            tag::Invalid::Value(value) => format!("Tag value is invalid: {value}"),
            tag::Invalid::Reserved(key) => format!("Tag keys must not begin with aws: {key}"),
            tag::Invalid::TooMany => "Too many tags: a table can have 50".to_owned(),
        })
    })
}

fn check(cx: &Context, wanted: &Creation) -> Result<Table> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    check_name("TableName", &wanted.name, legal)?;
    let mut attributes = BTreeMap::new();
    for (name, kind) in &wanted.attributes {
        if attributes.insert(name.clone(), kind.clone()).is_some() {
            return Err(Error::parameter(format!(
                "Duplicate AttributeName in AttributeDefinitions: {name}"
            )));
        }
    }
    let key = check_schema(&wanted.key, &attributes, None)?;
    let throughput =
        check_billing(wanted.billing_mode.as_deref(), wanted.throughput, &wanted.global)?;
    let mut indexes: Vec<Index> = Vec::new();
    for (kind, list, limit) in [
        (IndexKind::Global, &wanted.global, MAX_GLOBAL_INDEXES),
        (IndexKind::Local, &wanted.local, MAX_LOCAL_INDEXES),
    ] {
        if list.len() > limit {
            return Err(Error::parameter(match kind {
                IndexKind::Global => {
                    format!("GlobalSecondaryIndex count exceeds the per-table limit of {limit}")
                }
                IndexKind::Local => {
                    format!("Number of LocalSecondaryIndexes exceeds per-table limit of {limit}")
                }
            }));
        }
        for one in list {
            check_name("IndexName", &one.name, legal)?;
            if indexes.iter().any(|index| index.name == one.name) {
                return Err(Error::parameter(format!("Duplicate index name: {}", one.name)));
            }
            let schema = check_schema(&one.key, &attributes, Some(&one.name))?;
            if kind == IndexKind::Local {
                check_local(&key, &schema, &one.name)?;
            }
            indexes.push(Index {
                name: one.name.clone(),
                number: indexes.len() as u8 + 1,
                kind,
                key: schema,
                projection: check_projection(one)?,
                throughput: if kind == IndexKind::Global { one.throughput } else { None },
            });
        }
    }
    let schemas = indexes.iter().map(|index| &index.key).chain([&key]);
    let used: BTreeSet<&str> = schemas.flat_map(KeySchema::names).collect();
    if used.len() != attributes.len() {
        return Err(Error::parameter(match indexes.is_empty() {
            true => {
                "Number of attributes in KeySchema does not exactly match number of attributes \
                     defined in AttributeDefinitions"
                    .to_owned()
            }
            false => format!(
                "Some AttributeDefinitions are not used. AttributeDefinitions: [{}], keys used: [{}]",
                list_names(attributes.keys().map(String::as_str)),
                list_names(used.iter().copied())
            ),
        }));
    }
    let tags: Tags = wanted.tags.iter().cloned().collect();
    check_tags(&tags)?;
    Ok(Table {
        account: cx.account.clone(),
        region: cx.region.clone(),
        name: wanted.name.clone(),
        // 0 is where tokens are.
        number: cx.env.rng.u64().max(1),
        id: id::uuid(&cx.env.rng),
        created_at: cx.now,
        deleting: false,
        attributes,
        key,
        indexes,
        throughput,
        table_class: wanted.table_class.clone(),
        deletion_protection: wanted.deletion_protection,
        tags,
    })
}

fn check_name(member: &str, name: &str, legal: impl Fn(u8) -> bool) -> Result<()> {
    if !(3..=255).contains(&name.len()) {
        return Err(Error::validation(format!(
            "{member} must be at least 3 characters long and at most 255 characters long"
        )));
    }
    if !name.bytes().all(legal) {
        let mut at = member.to_owned();
        at[..1].make_ascii_lowercase();
        return Err(Error::validation(format!(
            "1 validation error detected: Value '{name}' at '{at}' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
        )));
    }
    Ok(())
}

fn list_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn check_schema(
    key: &[(String, String)],
    attributes: &BTreeMap<String, String>,
    index: Option<&str>,
) -> Result<KeySchema> {
    let missing: Vec<&str> = key
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !attributes.contains_key(*name))
        .collect();
    if !missing.is_empty() {
        let what = if index.is_some() { "index key" } else { "key" };
        return Err(Error::parameter(format!(
            "Some {what} attributes are not defined in AttributeDefinitions. Keys: [{}], \
             AttributeDefinitions: [{}]",
            missing.join(", "),
            list_names(attributes.keys().map(String::as_str))
        )));
    }
    let invalid = |message: &str| Err(Error::validation(format!("Invalid KeySchema: {message}")));
    let (partition, sort) = match key {
        [partition] => (partition, None),
        [partition, sort] => (partition, Some(sort)),
        [] => return invalid("Some index key attribute have no definition"),
        _ => return invalid("a key has at most two attributes here"),
    };
    if partition.1 != "HASH" {
        return invalid("The first KeySchemaElement is not a HASH key type");
    }
    if let Some(sort) = sort {
        if sort.1 != "RANGE" {
            return invalid("The second KeySchemaElement is not a RANGE key type");
        }
        if sort.0 == partition.0 {
            return Err(Error::validation(
                "Both the Hash Key and the Range Key element in the KeySchema have the same name",
            ));
        }
    }
    Ok(KeySchema { partition: partition.0.clone(), sort: sort.map(|sort| sort.0.clone()) })
}

fn check_local(table: &KeySchema, index: &KeySchema, name: &str) -> Result<()> {
    if table.sort.is_none() {
        return Err(Error::parameter(
            "Table KeySchema does not have a range key, which is required when specifying a \
             LocalSecondaryIndex",
        ));
    }
    if index.sort.is_none() {
        return Err(Error::parameter(format!(
            "Index KeySchema does not have a range key for index: {name}"
        )));
    }
    if index.partition != table.partition {
        return Err(Error::parameter(format!(
            "Index KeySchema does not have the same leading hash key as table KeySchema for index: \
             {name}. index hash key: {}, table hash key: {}",
            index.partition, table.partition
        )));
    }
    Ok(())
}

fn check_billing(
    mode: Option<&str>,
    throughput: Option<Throughput>,
    global: &[IndexCreation],
) -> Result<Option<Throughput>> {
    if mode == Some("PAY_PER_REQUEST") {
        if throughput.is_some() || global.iter().any(|index| index.throughput.is_some()) {
            return Err(Error::parameter(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode \
                 is PAY_PER_REQUEST",
            ));
        }
        return Ok(None);
    }
    let Some(throughput) = throughput else {
        return Err(Error::parameter(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is \
             PROVISIONED",
        ));
    };
    if let Some(index) = global.iter().find(|index| index.throughput.is_none()) {
        return Err(Error::parameter(format!(
            "ProvisionedThroughput must be specified for index: {}",
            index.name
        )));
    }
    Ok(Some(throughput))
}

fn check_projection(index: &IndexCreation) -> Result<Projection> {
    let kind = index.projection_type.as_deref();
    match (kind, &index.non_key_attributes) {
        (Some("ALL"), None) => Ok(Projection::All),
        (Some("KEYS_ONLY"), None) => Ok(Projection::KeysOnly),
        (Some("INCLUDE"), Some(names)) if names.len() <= MAX_INCLUDED => {
            Ok(Projection::Include(names.iter().cloned().collect()))
        }
        (Some("INCLUDE"), Some(_)) => {
            Err(Error::parameter("Number of NonKeyAttributes exceeds the limit of 100"))
        }
        (Some("INCLUDE"), None) => Err(Error::parameter(
            "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
        )),
        (Some(kind @ ("ALL" | "KEYS_ONLY")), Some(_)) => Err(Error::parameter(format!(
            "ProjectionType is {kind}, but NonKeyAttributes is specified"
        ))),
        (kind, _) => {
            Err(Error::parameter(format!("Unknown ProjectionType: {}", kind.unwrap_or("null"))))
        }
    }
}

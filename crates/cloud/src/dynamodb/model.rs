//! Tables: what was asked for, checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::tag::Tags;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub account: String,
    pub region: String,
    pub name: String,
    /// What its items' keys begin with. A table of the same name made later has another.
    pub number: u64,
    /// A UUID, for users.
    pub id: String,
    pub created_at: Timestamp,
    /// Its items are being removed; then it goes too.
    pub deleting: bool,
    /// Of the attributes that are keys: `S`, `N` or `B`.
    pub attributes: BTreeMap<String, String>,
    pub key: KeySchema,
    pub indexes: Vec<Index>,
    /// `None`: paid per request.
    pub throughput: Option<Throughput>,
    pub table_class: Option<String>,
    pub deletion_protection: bool,
    pub tags: Tags,
}

impl store::Record for Table {
    const TABLE: &'static str = "dynamodb.tables";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.name)
    }
}

impl Table {
    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().find(|index| index.name == name)
    }

    pub fn arn(&self) -> String {
        crate::arn::arn("dynamodb", &self.region, &self.account, &format!("table/{}", self.name))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySchema {
    pub partition: String,
    pub sort: Option<String>,
}

impl KeySchema {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.partition.as_str()).chain(self.sort.as_deref())
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names().any(|n| n == name)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    pub name: String,
    /// From 1; the table itself is 0.
    pub number: u8,
    pub kind: IndexKind,
    pub key: KeySchema,
    pub projection: Projection,
    pub throughput: Option<Throughput>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexKind {
    Global,
    Local,
}

/// Which attributes an index holds besides the keys of its own and of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Projection {
    All,
    KeysOnly,
    Include(BTreeSet<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throughput {
    pub read: i64,
    pub write: i64,
}

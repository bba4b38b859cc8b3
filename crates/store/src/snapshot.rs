//! All records at one moment, and a write in the making.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::Record;
use crate::schema::Row;

type Table = RedBlackTreeMapSync<Arc<str>, Row>;

/// What a write did to each record: its new value, or `None` where it was deleted.
pub(crate) type Changes = BTreeMap<(&'static str, Arc<str>), Option<Row>>;

/// All tables at one moment. Cheap to clone.
#[derive(Clone, Default)]
pub struct Snapshot {
    tables: HashTrieMapSync<&'static str, Table>,
}

impl Snapshot {
    pub fn get<R: Record>(&self, key: &str) -> Option<Arc<R>> {
        let row = self.tables.get(R::TABLE)?.get(key)?;
        Some(typed(row))
    }

    /// Every record whose key starts with `prefix`, in key order.
    pub fn scan<'a, R: Record>(&'a self, prefix: &'a str) -> impl Iterator<Item = Arc<R>> + 'a {
        self.tables
            .get(R::TABLE)
            .into_iter()
            .flat_map(move |table| {
                table.range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            })
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, row)| typed(row))
    }

    pub(crate) fn insert(&mut self, table: &'static str, key: Arc<str>, row: Row) {
        let rows = self.tables.get(table).cloned().unwrap_or_default();
        self.tables.insert_mut(table, rows.insert(key, row));
    }
}

fn typed<R: Record>(row: &Row) -> Arc<R> {
    Arc::clone(row).downcast::<R>().expect("a table holds records of one type")
}

/// A write in the making: reads see its own writes.
pub struct Tx {
    snapshot: Snapshot,
    changes: Changes,
}

impl std::ops::Deref for Tx {
    type Target = Snapshot;
    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Tx {
    pub(crate) fn new(snapshot: Snapshot) -> Tx {
        Tx { snapshot, changes: Changes::new() }
    }

    pub(crate) fn into_parts(self) -> (Snapshot, Changes) {
        (self.snapshot, self.changes)
    }

    /// Inserts or replaces.
    pub fn put<R: Record>(&mut self, record: R) {
        let key: Arc<str> = record.key().into();
        let row: Row = Arc::new(record);
        self.snapshot.insert(R::TABLE, Arc::clone(&key), Arc::clone(&row));
        self.changes.insert((R::TABLE, key), Some(row));
    }

    /// Whether it was there.
    pub fn delete<R: Record>(&mut self, key: &str) -> bool {
        let Some(table) = self.snapshot.tables.get(R::TABLE) else { return false };
        if !table.contains_key(key) {
            return false;
        }
        let table = table.remove(key);
        self.snapshot.tables.insert_mut(R::TABLE, table);
        self.changes.insert((R::TABLE, key.into()), None);
        true
    }
}

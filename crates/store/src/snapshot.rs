//! All records at one moment, and a write in the making.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::Record;
use crate::schema::Row;

#[derive(Clone, Default)]
struct Table {
    rows: RedBlackTreeMapSync<Arc<str>, Row>,
    /// No two contents of a table have the same; 0 is that of a table without a write.
    version: u64,
}

impl Table {
    fn new(rows: RedBlackTreeMapSync<Arc<str>, Row>) -> Table {
        static WRITES: AtomicU64 = AtomicU64::new(0);
        Table { rows, version: 1 + WRITES.fetch_add(1, Ordering::Relaxed) }
    }
}

/// What a write did to each record: its new value, or `None` where it was deleted.
pub(crate) type Changes = BTreeMap<(&'static str, Arc<str>), Option<Row>>;

/// All tables at one moment. Cheap to clone.
#[derive(Clone, Default)]
pub struct Snapshot {
    tables: HashTrieMapSync<&'static str, Table>,
    /// Where reads are noted, of a snapshot that is traced.
    reads: Option<Arc<Mutex<Reads>>>,
}

/// The tables that an answer was made from.
#[derive(Clone, Debug, Default)]
pub struct Reads(BTreeMap<&'static str, u64>);

impl Reads {
    /// Whether `snapshot` holds the same in all of them: what was made from them is still true.
    pub fn hold_in(&self, snapshot: &Snapshot) -> bool {
        self.0.iter().all(|(table, version)| snapshot.version(table) == *version)
    }
}

impl Snapshot {
    /// Also says which tables `look` has looked at.
    pub fn trace<T>(&self, look: impl FnOnce(&Snapshot) -> T) -> (T, Reads) {
        let reads = Arc::<Mutex<Reads>>::default();
        let made = look(&Snapshot { reads: Some(Arc::clone(&reads)), ..self.clone() });
        let reads = reads.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (made, reads)
    }

    fn version(&self, table: &str) -> u64 {
        self.tables.get(table).map_or(0, |table| table.version)
    }

    fn table<R: Record>(&self) -> Option<&Table> {
        if let Some(reads) = &self.reads {
            let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
            reads.0.insert(R::TABLE, self.version(R::TABLE));
        }
        self.tables.get(R::TABLE)
    }

    pub fn get<R: Record>(&self, key: &str) -> Option<Arc<R>> {
        let row = self.table::<R>()?.rows.get(key)?;
        Some(typed(row))
    }

    /// Every record whose key starts with `prefix`, in key order.
    pub fn scan<'a, R: Record>(&'a self, prefix: &'a str) -> impl Iterator<Item = Arc<R>> + 'a {
        self.table::<R>()
            .into_iter()
            .flat_map(move |table| {
                table.rows.range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            })
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, row)| typed(row))
    }

    pub(crate) fn insert(&mut self, table: &'static str, key: Arc<str>, row: Row) {
        let rows = self.tables.get(table).map(|table| table.rows.clone()).unwrap_or_default();
        self.tables.insert_mut(table, Table::new(rows.insert(key, row)));
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
        if !table.rows.contains_key(key) {
            return false;
        }
        let table = Table::new(table.rows.remove(key));
        self.snapshot.tables.insert_mut(R::TABLE, table);
        self.changes.insert((R::TABLE, key.into()), None);
        true
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct One(String);
    #[derive(Serialize, Deserialize)]
    struct Other(String);

    impl Record for One {
        const TABLE: &'static str = "ones";
        fn key(&self) -> String {
            self.0.clone()
        }
    }

    impl Record for Other {
        const TABLE: &'static str = "others";
        fn key(&self) -> String {
            self.0.clone()
        }
    }

    #[test]
    fn what_was_made_from_a_table_is_true_until_the_table_changes() {
        let mut tx = Tx::new(Snapshot::default());
        let (found, reads) = tx.trace(|snapshot| snapshot.get::<One>("a").is_some());
        assert!(!found);
        tx.put(Other("a".into()));
        assert!(reads.hold_in(&tx));
        tx.put(One("a".into()));
        assert!(!reads.hold_in(&tx));

        let (count, reads) = tx.trace(|snapshot| snapshot.scan::<One>("").count());
        assert_eq!(count, 1);
        tx.delete::<Other>("a");
        assert!(reads.hold_in(&tx));
        tx.delete::<One>("a");
        assert!(!reads.hold_in(&tx));
    }
}

//! Embedded transactional store of control records: typed tables held in memory as persistent maps,
//! snapshots that never block, one writer, a change feed. Not for bulk data (see `keyspace`).
//!
//! ```text
//!  write(closure) ─► working head ─► batch ─► disk (fsync, grouped) ─► published head ─► answer
//!                                                                          │
//!                                               read() ◄───────────────────┴──► changes()
//! ```
//!
//! Invariant: nobody reads what is not durable, but for the next writer's closure; when a batch
//! fails, the working head falls back to the published one and every waiting write gets the error.

mod schema;

use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

pub use schema::Schema;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("store: {0}")]
    Io(Arc<std::io::Error>),
    #[error("store: record {table}/{key}: {message}")]
    Record { table: &'static str, key: String, message: String },
}

/// A type with a table of its own.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    const TABLE: &'static str;
    /// Raised when the stored form changes in a way that serde defaults cannot bridge.
    const VERSION: u16 = 1;
    /// Unique in the table; scans go in its order, so put what scans select on first
    /// (`account/region/id`).
    fn key(&self) -> String;
    /// Brings a value written by an older `version` to the present form.
    fn upgrade(_version: u16, value: serde_json::Value) -> Result<serde_json::Value> {
        Ok(value)
    }
}

use schema::Row;
type Table = RedBlackTreeMapSync<Arc<str>, Row>;

/// All tables at one moment. Cheap to clone.
#[derive(Clone)]
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
}

fn typed<R: Record>(row: &Row) -> Arc<R> {
    Arc::clone(row).downcast::<R>().expect("a table holds records of one type")
}

/// A write in the making: reads see its own writes.
pub struct Tx {
    snapshot: Snapshot,
    changed: bool,
}

impl std::ops::Deref for Tx {
    type Target = Snapshot;
    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Tx {
    /// Inserts or replaces.
    pub fn put<R: Record>(&mut self, record: R) {
        let key: Arc<str> = record.key().into();
        let table = self.snapshot.tables.get(R::TABLE).cloned().unwrap_or_default();
        self.snapshot.tables.insert_mut(R::TABLE, table.insert(key, Arc::new(record)));
        self.changed = true;
    }

    /// Whether it was there.
    pub fn delete<R: Record>(&mut self, key: &str) -> bool {
        let Some(table) = self.snapshot.tables.get(R::TABLE) else { return false };
        if !table.contains_key(key) {
            return false;
        }
        let table = table.remove(key);
        self.snapshot.tables.insert_mut(R::TABLE, table);
        self.changed = true;
        true
    }
}

#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    head: Mutex<Snapshot>,
    changes: watch::Sender<u64>,
}

impl Store {
    /// Everything in memory, gone with the process.
    pub fn ephemeral() -> Store {
        let head = Snapshot { tables: HashTrieMapSync::new_sync() };
        Store { shared: Arc::new(Shared { head: Mutex::new(head), changes: watch::channel(0).0 }) }
    }

    /// The store in `dir`, made when there is none.
    pub fn open(_dir: impl AsRef<Path>, _schema: Schema) -> Result<Store> {
        Err(Error::Io(Arc::new(std::io::Error::from(std::io::ErrorKind::Unsupported))))
    }

    pub fn read(&self) -> Snapshot {
        self.shared.head.lock().expect("no panics under the lock").clone()
    }

    /// Runs `closure` on the newest state; when it is `Ok` its changes are durable before this returns.
    /// The closure may run again, so it must have no side effects.
    pub async fn write<T, E: From<Error>>(
        &self,
        mut closure: impl FnMut(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut head = self.shared.head.lock().expect("no panics under the lock");
        let mut tx = Tx { snapshot: head.clone(), changed: false };
        let answer = closure(&mut tx)?;
        if tx.changed {
            *head = tx.snapshot;
            drop(head);
            self.shared.changes.send_modify(|n| *n += 1);
        }
        Ok(answer)
    }

    /// Counts commits; wakes whoever waits for one.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

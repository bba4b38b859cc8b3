//! Bulk data: small values in great number, ordered by their keys, on the disk (or, in an ephemeral
//! store, in memory). No change feed and no types: values are bytes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use rpds::RedBlackTreeMapSync;

use crate::engine::{DiskView, Op};
use crate::locks::{Locked, Locks};
use crate::{Error, Result, Store};

/// A named, ordered map of bytes. Cheap to clone.
#[derive(Clone)]
pub struct Keyspace {
    pub(crate) store: Store,
    pub(crate) name: &'static str,
    pub(crate) locks: Arc<Locks>,
}

impl Keyspace {
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.store.view(|view| view.get(self, key))
    }

    /// See `View::scan`.
    pub fn scan<E: From<Error>>(
        &self,
        range: &Range,
        visit: impl FnMut(Vec<u8>, Vec<u8>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.store.view(|view| view.scan(self, range, visit))
    }

    /// Durable before it returns, as are `delete` and `Store::apply`.
    pub async fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Result<()> {
        let mut batch = Batch::default();
        batch.put(self, key, value);
        self.store.apply(batch).await
    }

    pub async fn delete(&self, key: impl Into<Vec<u8>>) -> Result<()> {
        let mut batch = Batch::default();
        batch.delete(self, key);
        self.store.apply(batch).await
    }

    /// Keeps other holders of these locks away until the answer is dropped. A write that depends on
    /// what was read holds the locks of the keys it read and writes from before the read until after
    /// the write.
    pub async fn lock<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Locked {
        self.locks.lock(keys).await
    }

    /// As `lock`, of every key there is or could be.
    pub async fn lock_all(&self) -> Locked {
        self.locks.lock_all().await
    }

    /// Waits until all who hold locks of this keyspace now have let go of them.
    pub async fn settle(&self) {
        self.locks.settle().await;
    }

    /// Which of its 512 locks a key has. The same for ever, so that what is kept for each stripe (a
    /// counter, say) is guarded by that lock.
    pub fn stripe(key: &[u8]) -> u16 {
        crate::locks::stripe(key) as u16
    }
}

/// Changes in one or more keyspaces, applied together.
#[derive(Default)]
pub struct Batch {
    pub(crate) ops: Vec<Op>,
}

impl Batch {
    pub fn put(&mut self, keyspace: &Keyspace, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), Some(value.into()));
        self.ops.push(Op { keyspace: Some(keyspace.name), key, value });
    }

    pub fn delete(&mut self, keyspace: &Keyspace, key: impl Into<Vec<u8>>) {
        self.ops.push(Op { keyspace: Some(keyspace.name), key: key.into(), value: None });
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// Which keys a scan visits, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    start: Vec<u8>,
    /// Excluded; `None`: to the last key.
    end: Option<Vec<u8>>,
    descending: bool,
}

impl Range {
    pub fn all() -> Range {
        Range::default()
    }

    /// Keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Range {
        Range { start: prefix.to_vec(), end: after_prefix(prefix), descending: false }
    }

    /// Only keys at or after `key`.
    #[must_use]
    pub fn from(mut self, key: &[u8]) -> Range {
        if key > &self.start[..] {
            self.start = key.to_vec();
        }
        self
    }

    /// Only keys after `key`.
    #[must_use]
    pub fn after(self, key: &[u8]) -> Range {
        self.from(&[key, b"\0"].concat())
    }

    /// Only keys after all that begin with `prefix`.
    #[must_use]
    pub fn after_prefix(self, prefix: &[u8]) -> Range {
        match after_prefix(prefix) {
            Some(key) => self.from(&key),
            None => self.before(&[]),
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.end.as_deref().is_none_or(|end| key < end)
    }

    /// Only keys before `key`.
    #[must_use]
    pub fn before(mut self, key: &[u8]) -> Range {
        if self.end.as_deref().is_none_or(|end| key < end) {
            self.end = Some(key.to_vec());
        }
        self
    }

    /// Only keys up to those that begin with `prefix`, these included.
    #[must_use]
    pub fn through_prefix(self, prefix: &[u8]) -> Range {
        match after_prefix(prefix) {
            Some(end) => self.before(&end),
            None => self,
        }
    }

    /// From the last key to the first.
    #[must_use]
    pub fn descending(mut self) -> Range {
        self.descending = true;
        self
    }
}

/// The first key after all that begin with `prefix`.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

/// The keyspaces at one moment.
pub enum View<'a> {
    #[doc(hidden)]
    Memory(Maps),
    #[doc(hidden)]
    Disk(DiskView<'a>),
}

impl View<'_> {
    pub fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self {
            View::Memory(maps) => {
                Ok(maps.get(keyspace.name).and_then(|map| map.get(key)).map(|value| value.to_vec()))
            }
            View::Disk(view) => view.get(keyspace.name, key),
        }
    }

    /// Hands `visit` keys and values in order until it breaks or fails.
    pub fn scan<E: From<Error>>(
        &self,
        keyspace: &Keyspace,
        range: &Range,
        mut visit: impl FnMut(Vec<u8>, Vec<u8>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let (start, end) = (&range.start[..], range.end.as_deref());
        match self {
            View::Memory(maps) => {
                let Some(map) = maps.get(keyspace.name) else { return Ok(()) };
                if end.is_some_and(|end| start >= end) {
                    return Ok(());
                }
                let from = std::ops::Bound::Included(start);
                let to = end.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
                let entries = map.range::<[u8], _>((from, to));
                drive(entries.map(|(key, value)| Ok((key.clone(), value.to_vec()))), range, visit)
            }
            View::Disk(view) => drive(view.iter(keyspace.name, start, end), range, &mut visit),
        }
    }
}

fn drive<E: From<Error>>(
    mut entries: impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>)>>,
    range: &Range,
    mut visit: impl FnMut(Vec<u8>, Vec<u8>) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    loop {
        let entry = if range.descending { entries.next_back() } else { entries.next() };
        let Some(entry) = entry else { return Ok(()) };
        let (key, value) = entry?;
        if visit(key, value)?.is_break() {
            return Ok(());
        }
    }
}

type Map = RedBlackTreeMapSync<Vec<u8>, Arc<[u8]>>;
type Maps = BTreeMap<&'static str, Map>;

/// The keyspaces of an ephemeral store.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Maps>);

impl Memory {
    pub fn snapshot(&self) -> Maps {
        self.0.lock().expect("no panics under the lock").clone()
    }

    pub fn clear(&self) {
        self.0.lock().expect("no panics under the lock").clear();
    }

    pub fn apply(&self, batch: Batch) {
        let mut maps = self.0.lock().expect("no panics under the lock");
        for op in batch.ops {
            let map = maps.entry(op.keyspace.expect("a bulk keyspace")).or_default();
            match op.value {
                Some(value) => map.insert_mut(op.key, value.into()),
                None => {
                    map.remove_mut(&op.key);
                }
            }
        }
    }
}

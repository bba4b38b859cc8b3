//! The disk: one fjall database, its batches, and its return after a failure.
//!
//! ```text
//! records     generation(4) table 0x00 key  →  version space JSON
//! bulk-NAME   generation(4) key             →  value
//! records     0000 "generation"             →  generation(4)
//! ```
//!
//! Everything belongs to a generation; a reset begins the next one, in one small write, and what is of
//! older ones is cleared away when there is nothing else to do.
//!
//! Invariant: a batch that was answered with an error does not come back. fjall refuses all writes
//! after a failed one, and its journal may or may not hold that batch. So before the next batch the
//! database is opened anew and every key of the failed batch gets the value it had before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, RwLock};

use fjall::{Database, KeyspaceCreateOptions, PersistMode, Readable};

use crate::schema::Schema;
use crate::snapshot::Changes;
use crate::{Error, Result, Snapshot};

const RECORDS: &str = "records";
const BULK: &str = "bulk-";
const GENERATION: &[u8] = b"\0\0\0\0generation";
/// Bounds what is replayed on open, and the memory held.
const MEMTABLE_BYTES: u64 = 8 << 20;
const CACHE_BYTES: u64 = 16 << 20;
const JOURNAL_BYTES: u64 = 128 << 20;
/// How many old entries are cleared away at a time: new writes wait for as long.
const CLEAR_AT_ONCE: usize = 500;

/// A change of one key.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    /// `None`: the records.
    pub keyspace: Option<&'static str>,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

impl Op {
    pub fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

pub(crate) fn encode(schema: &Schema, changes: &Changes) -> Result<Vec<Op>> {
    changes
        .iter()
        .map(|((table, key), row)| {
            let (_, codec) = schema.table(table).ok_or_else(|| Error::Record {
                table,
                key: key.to_string(),
                message: "its table is not in the schema".to_owned(),
            })?;
            let value = row.as_ref().map(codec.encode).transpose()?;
            let key = [table.as_bytes(), b"\0", key.as_bytes()].concat();
            Ok(Op { keyspace: None, key, value })
        })
        .collect()
}

/// Values to be, by keyspace and key with its generation; `None`: deleted. One for each key: fjall
/// does not say which of two in a batch holds.
type Values = BTreeMap<(Option<&'static str>, Vec<u8>), Option<Vec<u8>>>;

/// What one commit writes.
pub(crate) struct Batch {
    generation: u32,
    next: bool,
    values: Values,
}

impl Batch {
    pub fn extend(&mut self, ops: Vec<Op>) {
        for op in ops {
            self.values.insert((op.keyspace, keyed(self.generation, &op.key)), op.value);
        }
    }

    pub fn next_generation(&mut self) {
        self.generation += 1;
        self.next = true;
    }
}

fn keyed(generation: u32, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(4 + key.len());
    full.extend(generation.to_be_bytes());
    full.extend(key);
    full
}

pub(crate) struct Engine {
    dir: PathBuf,
    keyspaces: Vec<&'static str>,
    /// `None` after it could not be opened again; the next commit tries once more.
    open: RwLock<Option<Open>>,
    generation: AtomicU32,
    leftovers: AtomicBool,
    /// By keyspace and key, the values to put back before anything else is written.
    undo: Mutex<Undo>,
    #[cfg(test)]
    pub fault: Mutex<Option<std::io::ErrorKind>>,
}

#[derive(Default)]
struct Undo {
    failed: bool,
    values: Values,
}

struct Open {
    db: Database,
    records: fjall::Keyspace,
    bulk: BTreeMap<&'static str, fjall::Keyspace>,
}

impl Open {
    fn new(dir: &Path, keyspaces: &[&'static str]) -> Result<Open> {
        let db = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(2)
            .open()
            .map_err(|error| from_fjall(error, dir))?;
        let open = |name: &str| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            db.keyspace(name, options).map_err(|error| from_fjall(error, dir))
        };
        let records = open(RECORDS)?;
        let bulk = keyspaces
            .iter()
            .map(|name| Ok((*name, open(&format!("{BULK}{name}"))?)))
            .collect::<Result<_>>()?;
        Ok(Open { db, records, bulk })
    }

    fn keyspace(&self, name: Option<&str>) -> &fjall::Keyspace {
        match name {
            None => &self.records,
            Some(name) => &self.bulk[name],
        }
    }

    /// Visible to readers only once it is durable.
    fn write(&self, values: &Values, durable: bool) -> fjall::Result<()> {
        let mut batch = self.db.batch().durability(durable.then_some(PersistMode::SyncAll));
        for ((name, key), value) in values {
            match value {
                Some(value) => batch.insert(self.keyspace(*name), &key[..], &value[..]),
                None => batch.remove(self.keyspace(*name), &key[..]),
            }
        }
        batch.commit()
    }
}

impl Engine {
    pub fn open(dir: &Path, schema: &Schema) -> Result<Engine> {
        let path = dir.join("db");
        let keyspaces: Vec<&'static str> = schema.keyspaces().collect();
        let open = Open::new(&path, &keyspaces)?;
        for name in open.db.list_keyspace_names() {
            let known = match name.strip_prefix(BULK) {
                Some(bulk) => keyspaces.contains(&bulk),
                None => &*name == RECORDS,
            };
            if !known {
                let what = format!("keyspace {name}");
                return Err(Error::Unknown(dir.display().to_string(), what));
            }
        }
        let stored = open.records.get(GENERATION).map_err(|error| from_fjall(error, &path))?;
        let generation = match stored {
            Some(bytes) => u32::from_be_bytes(bytes[..].try_into().map_err(|_| corrupt(&path))?),
            None => 1,
        };
        Ok(Engine {
            dir: path,
            keyspaces,
            open: RwLock::new(Some(open)),
            generation: AtomicU32::new(generation),
            leftovers: AtomicBool::new(true),
            undo: Mutex::default(),
            #[cfg(test)]
            fault: Mutex::default(),
        })
    }

    /// Every record.
    pub fn load(&self, schema: &Schema) -> Result<Snapshot> {
        self.with_open(|open| {
            let mut snapshot = Snapshot::default();
            let generation = self.generation.load(Ordering::Acquire);
            for entry in open.records.prefix(generation.to_be_bytes()) {
                let (key, value) = entry.into_inner().map_err(|error| self.error(error))?;
                let mut parts = key[4..].splitn(2, |b| *b == 0);
                let (Some(table), Some(key)) = (parts.next(), parts.next()) else {
                    return Err(corrupt(&self.dir));
                };
                let table = std::str::from_utf8(table).map_err(|_| corrupt(&self.dir))?;
                let key = std::str::from_utf8(key).map_err(|_| corrupt(&self.dir))?;
                let Some((table, codec)) = schema.table(table) else {
                    let what = format!("table {table}");
                    return Err(Error::Unknown(self.dir.display().to_string(), what));
                };
                snapshot.insert(table, key.into(), (codec.decode)(key, &value)?);
            }
            Ok(snapshot)
        })
    }

    pub fn batch(&self) -> Batch {
        let generation = self.generation.load(Ordering::Acquire);
        Batch { generation, next: false, values: Values::new() }
    }

    /// All of it durable, or nothing of it, now and later.
    pub fn commit(&self, mut batch: Batch) -> Result<()> {
        if batch.values.is_empty() && !batch.next {
            return Ok(());
        }
        self.recover()?;
        if batch.next {
            let value = Some(batch.generation.to_be_bytes().to_vec());
            batch.values.insert((None, GENERATION.to_vec()), value);
        }
        self.with_open(|open| {
            let written = self
                .fault()
                .and_then(|()| open.write(&batch.values, true).map_err(|error| self.error(error)));
            if let Err(error) = written {
                self.remember(open, &batch);
                return Err(error);
            }
            Ok(())
        })?;
        if batch.next {
            self.generation.store(batch.generation, Ordering::Release);
            self.leftovers.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Keeps what the keys of a failed batch had before it. Reading still works then; should it not,
    /// the key is left as the journal has it, which nobody was told of either way.
    fn remember(&self, open: &Open, batch: &Batch) {
        let mut undo = self.undo.lock().expect("no panics under the lock");
        undo.failed = true;
        for (name, key) in batch.values.keys() {
            match open.keyspace(*name).get(key) {
                Ok(value) => {
                    undo.values.insert((*name, key.clone()), value.map(|value| value.to_vec()));
                }
                Err(error) => {
                    tracing::error!("cannot read what a failed batch overwrites: {error}")
                }
            }
        }
    }

    /// After a failure: opens the database anew and puts back what the failed batch may have changed.
    /// The old one goes on serving reads until the disk takes writes again.
    fn recover(&self) -> Result<()> {
        let mut undo = self.undo.lock().expect("no panics under the lock");
        if !undo.failed {
            return Ok(());
        }
        self.fault()?;
        self.probe()?;
        let mut open = self.open.write().expect("no panics under the lock");
        drop(open.take());
        let fresh = Open::new(&self.dir, &self.keyspaces)?;
        fresh.write(&undo.values, true).map_err(|error| self.error(error))?;
        *open = Some(fresh);
        *undo = Undo::default();
        tracing::info!("the disk takes writes again");
        Ok(())
    }

    /// Whether the disk takes a write of some size.
    fn probe(&self) -> Result<()> {
        let path = self.dir.with_extension("probe");
        let probe = || {
            let file = std::fs::File::create(&path)?;
            std::io::Write::write_all(&mut &file, &[1; 256 << 10])?;
            file.sync_all()
        };
        let answer = probe();
        let removed = std::fs::remove_file(&path);
        answer.and(removed).map_err(Error::from)
    }

    #[cfg(test)]
    fn fault(&self) -> Result<()> {
        match *self.fault.lock().expect("no panics under the lock") {
            Some(kind) => Err(std::io::Error::from(kind).into()),
            None => Ok(()),
        }
    }

    #[cfg(not(test))]
    fn fault(&self) -> Result<()> {
        Ok(())
    }

    /// Whether a reset left entries behind.
    pub fn has_leftovers(&self) -> bool {
        self.leftovers.load(Ordering::Acquire)
    }

    /// Clears some of them away. Needs no fsync: they are found again after a crash.
    pub fn clear_leftovers(&self) -> Result<()> {
        let generation = self.generation.load(Ordering::Acquire).to_be_bytes();
        self.recover()?;
        self.with_open(|open| {
            for name in [None].into_iter().chain(self.keyspaces.iter().map(|name| Some(*name))) {
                let old = open.keyspace(name).range(1u32.to_be_bytes()..generation);
                let gone: Values = old
                    .take(CLEAR_AT_ONCE)
                    .map(|entry| Ok(((name, entry.key()?.to_vec()), None)))
                    .collect::<fjall::Result<_>>()
                    .map_err(|error| self.error(error))?;
                if !gone.is_empty() {
                    return open.write(&gone, false).map_err(|error| {
                        self.undo.lock().expect("no panics under the lock").failed = true;
                        self.error(error)
                    });
                }
            }
            self.leftovers.store(false, Ordering::Release);
            Ok(())
        })
    }

    /// A last try to undo what failed, so that it does not come back with the next start.
    pub fn close(&self) {
        if let Err(error) = self.recover() {
            tracing::error!("a batch that failed may come back: {error}");
        }
        drop(self.open.write().expect("no panics under the lock").take());
    }

    /// The bulk keyspaces at one moment.
    pub fn view<T, E: From<Error>>(
        &self,
        read: impl FnOnce(DiskView<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.with_open(|open| {
            let generation = self.generation.load(Ordering::Acquire);
            read(DiskView { engine: self, open, snapshot: open.db.snapshot(), generation })
        })
    }

    fn with_open<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Open) -> Result<T, E>,
    ) -> Result<T, E> {
        let open = self.open.read().expect("no panics under the lock");
        let open = open.as_ref().ok_or_else(|| Error::from(std::io::Error::other("not open")))?;
        work(open)
    }

    fn error(&self, error: fjall::Error) -> Error {
        from_fjall(error, &self.dir)
    }
}

pub struct DiskView<'a> {
    engine: &'a Engine,
    open: &'a Open,
    snapshot: fjall::Snapshot,
    generation: u32,
}

impl DiskView<'_> {
    pub fn get(&self, keyspace: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let keyspace = self.open.keyspace(Some(keyspace));
        let value = self.snapshot.get(keyspace, keyed(self.generation, key));
        Ok(value.map_err(|error| self.engine.error(error))?.map(|value| value.to_vec()))
    }

    /// Keys from `start` (included) to `end` (excluded; `None`: to the last).
    pub fn iter(
        &self,
        keyspace: &str,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>)>> {
        let start = keyed(self.generation, start);
        let end = match end {
            Some(end) => keyed(self.generation, end),
            None => (self.generation + 1).to_be_bytes().to_vec(),
        };
        let entries = (start < end)
            .then(|| self.snapshot.range(self.open.keyspace(Some(keyspace)), start..end));
        entries.into_iter().flatten().map(|entry| {
            let (key, value) = entry.into_inner().map_err(|error| self.engine.error(error))?;
            Ok((key[4..].to_vec(), value.to_vec()))
        })
    }
}

fn from_fjall(error: fjall::Error, dir: &Path) -> Error {
    match error {
        fjall::Error::Io(error) => error.into(),
        fjall::Error::Locked => Error::Locked(dir.display().to_string()),
        other => std::io::Error::other(other).into(),
    }
}

fn corrupt(dir: &Path) -> Error {
    std::io::Error::other(format!("{} holds a key that is none", dir.display())).into()
}

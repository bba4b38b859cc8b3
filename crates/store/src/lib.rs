//! Embedded transactional store. Control records: typed tables held in memory as persistent maps,
//! snapshots that never block, one writer, a change feed. Bulk data beside them: `Keyspace` for small
//! values in great number, `Blobs` for bytes in files.
//!
//! ```text
//!  write(closure) ─► working head ─► batch ─► disk (fsync, grouped) ─► published head ─► answer
//!                                                                          │
//!                                               read() ◄───────────────────┴──► changes()
//! ```
//!
//! Invariant: nobody reads what is not durable, but for the next writer's closure; when a batch
//! fails, the working head falls back to the published one and every waiting write gets the error.

mod blobs;
mod commit;
mod engine;
mod keyspace;
mod locks;
mod schema;
mod snapshot;

use std::fs::{File, TryLockError};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

pub use blobs::{Blobs, Reader, Writer};
pub use keyspace::{Batch, Keyspace, Range, View};
pub use locks::Locked;
pub use schema::Schema;
pub use snapshot::{Reads, Snapshot, Tx};

use commit::{Committer, Heads, Job, Work};
use engine::Engine;
use keyspace::Memory;
use locks::Locks;
use snapshot::Changes;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("store: {0}")]
    Io(Arc<std::io::Error>),
    #[error("store: record {table}/{key}: {message}")]
    Record { table: &'static str, key: String, message: String },
    #[error("store: {0} is in use by another process")]
    Locked(String),
    #[error("store: {0} was written by a newer release: it holds the unknown {1}")]
    Unknown(String, String),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::Io(Arc::new(error))
    }
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

#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    heads: Arc<Heads>,
    bulk: Bulk,
    blobs: Blobs,
    locks: Mutex<std::collections::BTreeMap<&'static str, Arc<Locks>>>,
    pause: Option<Pause>,
    /// Held for as long as the store is open.
    _lock: Option<File>,
}

/// Whether a write shall wait before it takes effect.
type Pause = Box<dyn Fn() -> bool + Send + Sync>;

/// Where what was written goes.
enum Bulk {
    Memory(Memory),
    Disk { engine: Arc<Engine>, schema: Schema, committer: Committer },
}

impl Store {
    /// Everything in memory, gone with the process. Writes complete at once, on the caller.
    pub fn ephemeral() -> Store {
        Store::in_memory(None)
    }

    /// As `ephemeral`, for a simulator: a write that took effect waits for another poll before it
    /// answers, so that every state can be looked at, others come in between, or the writer is dropped
    /// there. Whenever `pause` says so it waits before too, having run its closure in vain already.
    pub fn simulated(pause: impl Fn() -> bool + Send + Sync + 'static) -> Store {
        Store::in_memory(Some(Box::new(pause)))
    }

    fn in_memory(pause: Option<Pause>) -> Store {
        let bulk = Bulk::Memory(Memory::default());
        Store::new(Arc::default(), bulk, Blobs::ephemeral(), None, pause)
    }

    /// The store in `dir`, made when there is none. Blocks until every record is in memory.
    pub fn open(dir: impl AsRef<Path>, schema: Schema) -> Result<Store> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir)?;
        let lock = lock(dir)?;
        let engine = Arc::new(Engine::open(dir, &schema)?);
        let heads = Arc::new(Heads::new(engine.load(&schema)?));
        let blobs = Blobs::open(dir.join("blobs"))?;
        let committer = Committer::start(Arc::clone(&engine), Arc::clone(&heads))?;
        let bulk = Bulk::Disk { engine, schema, committer };
        Ok(Store::new(heads, bulk, blobs, Some(lock), None))
    }

    fn new(
        heads: Arc<Heads>,
        bulk: Bulk,
        blobs: Blobs,
        lock: Option<File>,
        pause: Option<Pause>,
    ) -> Store {
        let shared = Shared { heads, bulk, blobs, locks: Mutex::default(), pause, _lock: lock };
        Store { shared: Arc::new(shared) }
    }

    pub fn read(&self) -> Snapshot {
        self.shared.heads.published()
    }

    /// Runs `closure` on the newest state; when it is `Ok` its changes are durable before this returns.
    /// The closure may run again, so it must have no side effects.
    pub async fn write<T, E: From<Error>>(
        &self,
        mut closure: impl FnMut(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let pause = self.shared.pause.as_ref();
        if pause.is_some_and(|pause| pause()) {
            let _ = closure(&mut Tx::new(self.read()));
            next_poll().await;
        }
        let (answer, job) = self.prepare(closure)?;
        if let Some(job) = job {
            job.wait().await?;
        }
        if pause.is_some() {
            next_poll().await;
        }
        answer
    }

    /// Runs the closure and queues its changes. What it answers, be it an error, may rest on changes
    /// that are not published yet: then there is a job to wait for even if it changed nothing.
    fn prepare<T, E: From<Error>>(
        &self,
        mut closure: impl FnMut(&mut Tx) -> Result<T, E>,
    ) -> Result<(Result<T, E>, Option<Job>)> {
        let mut working = self.shared.heads.working();
        let mut tx = Tx::new(working.head.clone());
        let answer = closure(&mut tx);
        let (head, changes) = match answer {
            Ok(_) => tx.into_parts(),
            Err(_) => (working.head.clone(), Changes::new()),
        };
        match &self.shared.bulk {
            Bulk::Memory(_) if changes.is_empty() => Ok((answer, None)),
            Bulk::Memory(_) => {
                working.advance(head.clone());
                self.shared.heads.publish(head, working.number());
                Ok((answer, None))
            }
            Bulk::Disk { .. } if changes.is_empty() && self.shared.heads.settled(&working) => {
                Ok((answer, None))
            }
            Bulk::Disk { schema, committer, .. } => {
                let ops = engine::encode(schema, &changes)?;
                if !changes.is_empty() {
                    working.advance(head);
                }
                let work =
                    Work::Records { ops, head: working.head.clone(), number: working.number() };
                Ok((answer, Some(committer.submit(work))))
            }
        }
    }

    /// Counts commits of records; wakes whoever waits for one.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.heads.changes()
    }

    /// Empties everything: records, keyspaces and blobs. Takes the same time whatever there was.
    pub async fn reset(&self) -> Result<()> {
        let before = self.read();
        let job = {
            let mut working = self.shared.heads.working();
            working.advance(Snapshot::default());
            let number = working.number();
            match &self.shared.bulk {
                Bulk::Memory(memory) => {
                    memory.clear();
                    self.shared.heads.publish(Snapshot::default(), number);
                    None
                }
                Bulk::Disk { committer, .. } => Some(committer.submit(Work::Reset { number })),
            }
        };
        if let Some(job) = job {
            job.wait().await?;
            // Freeing very many records takes a while, for which nobody has to wait.
            std::thread::spawn(move || drop(before));
        }
        self.shared.blobs.clear()
    }

    /// The bulk keyspace `name`, which the schema must list.
    pub fn keyspace(&self, name: &'static str) -> Keyspace {
        if let Bulk::Disk { schema, .. } = &self.shared.bulk {
            assert!(schema.keyspaces().any(|n| n == name), "keyspace {name} is not in the schema");
        }
        let mut locks = self.shared.locks.lock().expect("no panics under the lock");
        let locks = Arc::clone(locks.entry(name).or_default());
        Keyspace { store: self.clone(), name, locks }
    }

    pub fn blobs(&self) -> &Blobs {
        &self.shared.blobs
    }

    /// Reads several keyspaces as they are at one moment. `read` may block on the disk for a short
    /// while.
    pub fn view<T, E: From<Error>>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        match &self.shared.bulk {
            Bulk::Memory(memory) => read(&View::Memory(memory.snapshot())),
            Bulk::Disk { engine, .. } => engine.view(|view| read(&View::Disk(view))),
        }
    }

    /// Applies all of `batch` or nothing; durable before this returns.
    pub async fn apply(&self, batch: Batch) -> Result<()> {
        if batch.ops.is_empty() {
            return Ok(());
        }
        match &self.shared.bulk {
            Bulk::Memory(memory) => memory.apply(batch),
            Bulk::Disk { committer, .. } => {
                committer.submit(Work::Bulk { ops: batch.ops }).wait().await?
            }
        }
        Ok(())
    }

    /// Removes the entries of `range` whose values are `unwanted`, a part at a time: stopped in between,
    /// the rest is still there.
    pub async fn sweep(
        &self,
        keyspace: &Keyspace,
        range: &Range,
        unwanted: impl Fn(&[u8]) -> bool,
    ) -> Result<()> {
        const AT_ONCE: usize = 1000;
        loop {
            let mut batch = Batch::default();
            let mut left = AT_ONCE;
            keyspace.scan(range, |key, value| {
                if unwanted(&value) {
                    batch.delete(keyspace, key);
                    left -= 1;
                }
                let full = left == 0;
                let flow = if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
                Ok::<_, Error>(flow)
            })?;
            self.apply(batch).await?;
            if left > 0 {
                return Ok(());
            }
        }
    }
}

async fn next_poll() {
    let mut polled = false;
    std::future::poll_fn(|cx| match std::mem::replace(&mut polled, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(Error::Locked(dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

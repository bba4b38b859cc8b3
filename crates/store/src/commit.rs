//! The committer: one thread that takes whatever writes have queued while the disk was busy, makes
//! them one batch with one fsync, publishes the newest head among them, and answers them all.
//!
//! When a batch fails, the working head falls back to the published one in the same step in which the
//! queue is emptied, so that nothing built on the lost changes gets through.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::engine::{Engine, Op};
use crate::{Error, Result, Snapshot};

/// At most so many bytes in a group: bounds the memory and the time of one batch.
const GROUP_BYTES: usize = 8 << 20;

/// The two ends of the pipe: what the next write starts from, and what everybody reads.
pub(crate) struct Heads {
    working: Mutex<Working>,
    published: RwLock<(Snapshot, u64)>,
    changes: watch::Sender<u64>,
}

pub(crate) struct Working {
    pub head: Snapshot,
    /// Counts the writes that made changes.
    number: u64,
}

impl Working {
    pub fn advance(&mut self, head: Snapshot) {
        self.head = head;
        self.number += 1;
    }

    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Default for Heads {
    fn default() -> Heads {
        Heads::new(Snapshot::default())
    }
}

impl Heads {
    pub fn new(head: Snapshot) -> Heads {
        Heads {
            working: Mutex::new(Working { head: head.clone(), number: 0 }),
            published: RwLock::new((head, 0)),
            changes: watch::channel(0).0,
        }
    }

    /// A closure that panics leaves the head as it was, so the lock stays usable.
    pub fn working(&self) -> MutexGuard<'_, Working> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn published(&self) -> Snapshot {
        self.published.read().expect("no panics under the lock").0.clone()
    }

    /// Whether all of `working` is published.
    pub fn settled(&self, working: &Working) -> bool {
        self.published.read().expect("no panics under the lock").1 == working.number
    }

    pub fn publish(&self, head: Snapshot, number: u64) {
        {
            let mut published = self.published.write().expect("no panics under the lock");
            if published.1 == number {
                return;
            }
            *published = (head, number);
        }
        self.changes.send_modify(|n| *n += 1);
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// What a job wants done.
pub(crate) enum Work {
    /// Without `ops`: waits for what was queued before it.
    Records {
        ops: Vec<Op>,
        head: Snapshot,
        number: u64,
    },
    Bulk {
        ops: Vec<Op>,
    },
    Reset {
        number: u64,
    },
}

struct Queued {
    work: Work,
    done: oneshot::Sender<Result<()>>,
}

/// A queued write.
pub(crate) struct Job(oneshot::Receiver<Result<()>>);

impl Job {
    pub async fn wait(self) -> Result<()> {
        self.0.await.unwrap_or_else(|_| Err(stopped()))
    }
}

fn stopped() -> Error {
    std::io::Error::other("the committer has stopped").into()
}

/// Joins its thread when dropped, so that the directory is free by then.
pub(crate) struct Committer {
    queue: Option<Sender<Queued>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub fn start(engine: Arc<Engine>, heads: Arc<Heads>) -> Result<Committer> {
        let (queue, jobs) = channel();
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(&engine, &heads, &jobs))?;
        Ok(Committer { queue: Some(queue), thread: Some(thread) })
    }

    /// Writes of records are submitted under the lock of the working head, which fixes their order.
    pub fn submit(&self, work: Work) -> Job {
        let (done, waiting) = oneshot::channel();
        if let Some(queue) = &self.queue {
            // Refused only when the thread is gone; then `done` is dropped and the waiter sees it.
            let _ = queue.send(Queued { work, done });
        }
        Job(waiting)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn run(engine: &Engine, heads: &Heads, jobs: &Receiver<Queued>) {
    while let Some(first) = next(engine, jobs) {
        let mut group = vec![first];
        let mut size = group[0].work.size();
        while size < GROUP_BYTES {
            match jobs.try_recv() {
                Ok(job) => {
                    size += job.work.size();
                    group.push(job);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        match commit(engine, &mut group) {
            Ok(head) => {
                if let Some((head, number)) = head {
                    heads.publish(head, number);
                }
                for job in group {
                    let _ = job.done.send(Ok(()));
                }
            }
            Err(error) => {
                tracing::error!("a batch of {} writes failed: {error}", group.len());
                let mut working = heads.working();
                {
                    let published = heads.published.read().expect("no panics under the lock");
                    (working.head, working.number) = published.clone();
                }
                group.extend(jobs.try_iter());
                drop(working);
                for job in group {
                    let _ = job.done.send(Err(error.clone()));
                }
            }
        }
    }
    engine.close();
}

/// The next job; in between, what a reset left behind is cleared away.
fn next(engine: &Engine, jobs: &Receiver<Queued>) -> Option<Queued> {
    while engine.has_leftovers() {
        match jobs.recv_timeout(Duration::ZERO) {
            Ok(job) => return Some(job),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = engine.clear_leftovers() {
                    tracing::warn!("cannot clear away what a reset left behind: {error}");
                    break;
                }
            }
        }
    }
    jobs.recv().ok()
}

/// One batch of all jobs' work; the newest head among them.
fn commit(engine: &Engine, group: &mut [Queued]) -> Result<Option<(Snapshot, u64)>> {
    let mut newest = None;
    let mut batch = engine.batch();
    for job in group {
        match &mut job.work {
            Work::Records { ops, head, number } => {
                batch.extend(std::mem::take(ops));
                newest = Some((head.clone(), *number));
            }
            Work::Bulk { ops } => batch.extend(std::mem::take(ops)),
            Work::Reset { number } => {
                batch.next_generation();
                newest = Some((Snapshot::default(), *number));
            }
        }
    }
    engine.commit(batch)?;
    Ok(newest)
}

impl Work {
    fn size(&self) -> usize {
        match self {
            Work::Records { ops, .. } | Work::Bulk { ops } => ops.iter().map(Op::size).sum(),
            Work::Reset { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use serde::{Deserialize, Serialize};

    use crate::{Bulk, Error, Record, Schema, Store};

    #[derive(Serialize, Deserialize)]
    struct Cat {
        name: String,
        age: u32,
    }

    impl Record for Cat {
        const TABLE: &'static str = "cats";
        fn key(&self) -> String {
            self.name.clone()
        }
    }

    fn open(dir: &std::path::Path) -> Store {
        Store::open(dir, Schema::new().record::<Cat>().keyspace("toys")).unwrap()
    }

    async fn put(store: &Store, name: &str, age: u32) -> Result<u32, Error> {
        store
            .write(|tx| {
                tx.put(Cat { name: name.to_owned(), age });
                Ok(age)
            })
            .await
    }

    fn age(store: &Store, name: &str) -> Option<u32> {
        store.read().get::<Cat>(name).map(|cat| cat.age)
    }

    fn set_fault(store: &Store, kind: Option<ErrorKind>) {
        let Bulk::Disk { engine, .. } = &store.shared.bulk else { panic!("not on disk") };
        *engine.fault.lock().unwrap() = kind;
    }

    #[tokio::test]
    async fn a_failed_batch_leaves_no_trace_and_the_store_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        put(&store, "tom", 1).await.unwrap();
        store.keyspace("toys").put(*b"ball", *b"red").await.unwrap();

        set_fault(&store, Some(ErrorKind::StorageFull));
        for _ in 0..2 {
            assert!(put(&store, "tom", 2).await.is_err());
            assert!(put(&store, "kitty", 2).await.is_err());
            assert!(store.keyspace("toys").put(*b"ball", *b"blue").await.is_err());
            assert!(store.reset().await.is_err());
            assert_eq!((age(&store, "tom"), age(&store, "kitty")), (Some(1), None));
            assert_eq!(store.keyspace("toys").get(b"ball").unwrap().unwrap(), b"red");
        }

        set_fault(&store, None);
        let seen = store.write(|tx| Ok::<_, Error>(tx.get::<Cat>("tom").unwrap().age)).await;
        assert_eq!(seen.unwrap(), 1);
        put(&store, "minka", 3).await.unwrap();
        drop(store);
        let store = open(dir.path());
        let all = ["tom", "kitty", "minka"].map(|name| age(&store, name));
        assert_eq!(all, [Some(1), None, Some(3)]);
        assert_eq!(store.keyspace("toys").get(b"ball").unwrap().unwrap(), b"red");
    }

    #[tokio::test]
    async fn all_that_waits_for_a_failing_batch_fails() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        put(&store, "tom", 1).await.unwrap();
        set_fault(&store, Some(ErrorKind::Other));
        // Each starts from the unpublished changes of those before it, or reads them.
        let writes = (2..20).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                if n % 3 == 0 {
                    let refuse = |tx: &mut crate::Tx| match tx.get::<Cat>("tom").unwrap().age {
                        1 => Ok(1),
                        _ => Err(Error::Locked("read what is not published".to_owned())),
                    };
                    store.write(refuse).await
                } else {
                    put(&store, "tom", n).await
                }
            })
        });
        for write in writes.collect::<Vec<_>>() {
            let answer = write.await.unwrap();
            assert!(matches!(answer, Ok(1) | Err(Error::Io(_))), "{answer:?}");
        }
        assert_eq!(age(&store, "tom"), Some(1));
    }
}

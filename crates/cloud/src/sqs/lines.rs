//! The indexes of queues in use, and who waits for messages of theirs.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use store::{Batch, Range, Store};
use tokio::sync::Notify;

use super::index::{Entry, Index, Sent, State};
use super::message::{self, ENTRY, RESERVED, SENT};
use super::model::Queue;
use super::{Error, MESSAGES, Result};
use crate::Timestamp;
use crate::env::Env;

/// By the numbers of queues.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<HashMap<u64, Arc<Line>>>>);

#[derive(Default)]
pub struct Line {
    /// `None`: not made yet.
    index: Mutex<Option<Index>>,
    /// Tells that something can be received.
    pub arrived: Notify,
    /// Held by who sends to a FIFO queue until it is durable: its order is that of the answers.
    pub sending: tokio::sync::Mutex<()>,
}

/// How many sequences are reserved on the disk at once.
const RESERVE: u64 = 4096;

impl Lines {
    pub fn of(&self, queue: &Queue) -> Arc<Line> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lines.entry(queue.number).or_default())
    }

    /// Forgets the lines of queues that are no more, and lets go who waits at them.
    pub fn sweep(&self, store: &Store) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Read only now: whoever asked for a line had seen its queue before.
        let snapshot = store.read();
        let numbers: HashSet<u64> = snapshot.scan::<Queue>("").map(|queue| queue.number).collect();
        lines.retain(|number, line| {
            let kept = numbers.contains(number);
            if !kept {
                line.arrived.notify_waiters();
            }
            kept
        });
    }
}

impl Line {
    /// Runs `look` on the index, made first if need be. Nothing of what it does may take long.
    pub fn with<T>(
        &self,
        env: &Env,
        queue: &Queue,
        look: impl FnOnce(&mut Index) -> T,
    ) -> Result<T> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match &mut *index {
            Some(index) => index,
            none => none.insert(load(env, queue)?),
        };
        let woken = index.advance(env.clock.now());
        self.tell(woken);
        let before = index.wakes_at();
        let found = look(index);
        let earlier = |at: Timestamp| before.is_none_or(|before| at < before);
        if index.wakes_at().is_some_and(earlier) {
            // Whoever waits shall look again sooner than he thought.
            self.arrived.notify_waiters();
        }
        Ok(found)
    }

    /// As `with`, if there is an index already.
    pub fn if_loaded<T>(&self, env: &Env, look: impl FnOnce(&mut Index) -> T) -> Option<T> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let index = index.as_mut()?;
        let woken = index.advance(env.clock.now());
        self.tell(woken);
        Some(look(index))
    }

    /// Wakes as many as there is something new for.
    pub fn tell(&self, messages: usize) {
        (0..messages).for_each(|_| self.arrived.notify_one());
    }
}

/// The next `count` sequences; the reservation goes with the batch that uses them.
pub fn allocate(env: &Env, queue: &Queue, index: &mut Index, batch: &mut Batch, count: u64) -> u64 {
    let first = index.next;
    index.next += count;
    if index.next > index.reserved {
        index.reserved = index.next + RESERVE;
        let key = message::prefix(queue.number, RESERVED);
        batch.put(&env.store.keyspace(MESSAGES), key, index.reserved.to_be_bytes());
    }
    first
}

pub fn put(batch: &mut Batch, env: &Env, queue: &Queue, sequence: u64, entry: &Entry) {
    let value = serde_json::to_vec(entry).expect("an entry is JSON");
    let key = message::key(queue.number, ENTRY, sequence);
    batch.put(&env.store.keyspace(MESSAGES), key, value);
}

pub fn delete(batch: &mut Batch, env: &Env, queue: &Queue, sequence: u64) {
    let keyspace = env.store.keyspace(MESSAGES);
    for kind in [ENTRY, message::BODY] {
        batch.delete(&keyspace, message::key(queue.number, kind, sequence));
    }
}

/// Messages on their way to the disk. They are in the index when that is done; and also when nobody
/// waits for it any more, since it may be done then all the same.
pub struct Arriving<'a> {
    pub env: &'a Env,
    pub queue: &'a Queue,
    pub line: Arc<Line>,
    pub entries: Vec<(u64, Entry)>,
}

/// Until then it is known whether a write that nobody waited for was made.
pub const UNCERTAIN_MS: i64 = 1000;

impl Arriving<'_> {
    pub async fn apply(mut self, batch: Batch) -> Result<()> {
        let applied = self.env.store.apply(batch).await;
        let entries = std::mem::take(&mut self.entries);
        let (env, queue) = (self.env, self.queue);
        match applied {
            Ok(()) => {
                let count = entries.len();
                self.line.with(env, queue, |index| {
                    entries.into_iter().for_each(|(sequence, entry)| index.insert(sequence, entry));
                })?;
                self.line.tell(count);
                Ok(())
            }
            Err(error) => {
                // The reservation was not made either, perhaps.
                self.line.with(env, queue, |index| index.reserved = 0)?;
                Err(error.into())
            }
        }
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        if entries.is_empty() {
            return;
        }
        let until = Timestamp(self.env.clock.now().0 + UNCERTAIN_MS);
        self.line.if_loaded(self.env, |index| {
            for (sequence, entry) in entries {
                let state = match entry.state {
                    State::Delayed(at) => State::Delayed(at.max(until)),
                    _ => State::Delayed(until),
                };
                index.insert(sequence, Entry { state, ..entry });
            }
        });
    }
}

/// The index of what is stored.
fn load(env: &Env, queue: &Queue) -> Result<Index> {
    let keyspace = env.store.keyspace(MESSAGES);
    let mut index = Index::new(queue.fifo(), queue.first());
    let broken = |_| Error::Store(std::io::Error::other("what is stored is no message").into());
    env.store.view(|view| {
        let entries = Range::prefix(&message::prefix(queue.number, ENTRY));
        view.scan(&keyspace, &entries, |key, value| {
            let entry: Entry = serde_json::from_slice(&value).map_err(broken)?;
            let sequence = message::sequence(&key).unwrap_or_default();
            index.next = index.next.max(sequence + 1);
            index.insert(sequence, entry);
            Ok::<_, Error>(ControlFlow::Continue(()))
        })?;
        let sent = message::prefix(queue.number, SENT);
        view.scan(&keyspace, &Range::prefix(&sent), |key, value| {
            let id = String::from_utf8_lossy(&key[sent.len()..]).into_owned();
            let sent: Sent = serde_json::from_slice(&value).map_err(broken)?;
            index.next = index.next.max(sent.sequence + 1);
            index.remember(id, sent);
            Ok::<_, Error>(ControlFlow::Continue(()))
        })?;
        let reserved = view.get(&keyspace, &message::prefix(queue.number, RESERVED))?;
        let reserved = reserved.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        index.next = index.next.max(reserved.unwrap_or(0)).max(queue.first());
        index.reserved = index.next;
        Ok(index)
    })
}

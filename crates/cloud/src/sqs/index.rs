//! Which messages of a queue may be received, in what order, and which wait: kept in memory, since a
//! keyspace whose head is always being removed is slow to read from its beginning. Pure: the caller
//! stores what changes.
//!
//! A message is ready, delayed or in flight. In a standard queue whatever is ready may be received, the
//! oldest first. In a FIFO queue it is the beginning of a group, as long as none of the group is in
//! flight.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What is stored of a message besides its body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub sent_at: Timestamp,
    pub group: Option<String>,
    pub state: State,
    pub receives: u32,
    pub first_received_at: Option<Timestamp>,
    pub received_at: Option<Timestamp>,
    /// Of the newest receipt handle.
    pub receipt: u64,
    /// ReceiveRequestAttemptId that it was received with, while nothing was done to it since.
    pub attempt: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Ready,
    Delayed(Timestamp),
    InFlight(Timestamp),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub ready: usize,
    pub delayed: usize,
    pub in_flight: usize,
}

/// What was sent with a deduplication id, for as long as that counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    pub until: Timestamp,
    pub sequence: u64,
    pub message_id: String,
}

/// How long ids of deduplication and of attempts count.
pub const REMEMBERED: Duration = Duration::from_secs(300);

#[derive(Default)]
pub struct Index {
    fifo: bool,
    entries: HashMap<u64, Entry>,
    /// Of a standard queue.
    ready: BTreeSet<u64>,
    waiting: BTreeSet<(Timestamp, u64)>,
    by_age: BTreeSet<(Timestamp, u64)>,
    groups: HashMap<Arc<str>, Group>,
    /// Groups that may be received from, by their first message.
    open: BTreeMap<u64, Arc<str>>,
    counts: Counts,
    /// Messages of an attempt.
    attempts: HashMap<String, Vec<u64>>,
    sent: HashMap<String, Sent>,
    sent_by_age: BTreeSet<(Timestamp, String)>,
    /// The next message's number, and up to where numbers are reserved on the disk.
    pub next: u64,
    pub reserved: u64,
    /// What comes before was purged.
    first: u64,
}

#[derive(Default)]
struct Group {
    members: BTreeSet<u64>,
    in_flight: usize,
    /// Its key in `open`.
    open: Option<u64>,
}

/// What a receive found.
#[derive(Debug, Default, PartialEq)]
pub struct Taken {
    pub given: Vec<u64>,
    /// Received too often already; still where they were.
    pub dead: Vec<u64>,
}

/// How messages are received.
pub struct Taking<'a> {
    pub now: Timestamp,
    pub max: usize,
    pub visible_at: Timestamp,
    pub max_receives: Option<u32>,
    pub attempt: Option<&'a str>,
}

impl Index {
    pub fn new(fifo: bool, first: u64) -> Index {
        Index { fifo, first, ..Index::default() }
    }

    pub fn get(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(&sequence)
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn insert(&mut self, sequence: u64, entry: Entry) {
        if sequence < self.first {
            return;
        }
        self.by_age.insert((entry.sent_at, sequence));
        if let Some(attempt) = &entry.attempt {
            self.attempts.entry(attempt.clone()).or_default().push(sequence);
        }
        self.entries.insert(sequence, entry);
        self.link(sequence);
    }

    pub fn remove(&mut self, sequence: u64) -> Option<Entry> {
        self.unlink(sequence);
        let entry = self.entries.remove(&sequence)?;
        self.by_age.remove(&(entry.sent_at, sequence));
        if let Some(attempt) = &entry.attempt {
            self.attempts.remove(attempt);
        }
        Some(entry)
    }

    /// Changes an entry that is there.
    pub fn change(&mut self, sequence: u64, change: impl FnOnce(&mut Entry)) {
        self.unlink(sequence);
        if let Some(entry) = self.entries.get_mut(&sequence) {
            change(entry);
        }
        self.link(sequence);
    }

    /// Everything before `first` is gone.
    pub fn purge(&mut self, first: u64) {
        self.first = self.first.max(first);
        let old: Vec<u64> = self.entries.keys().copied().filter(|n| *n < first).collect();
        old.into_iter().for_each(|sequence| drop(self.remove(sequence)));
    }

    /// What was to wait until now no longer does; how many that are.
    pub fn advance(&mut self, now: Timestamp) -> usize {
        let mut woken = 0;
        while let Some((until, sequence)) = self.waiting.first().copied()
            && until <= now
        {
            self.change(sequence, |entry| entry.state = State::Ready);
            woken += 1;
        }
        woken
    }

    /// When the next message that waits will be ready.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(until, _)| *until)
    }

    /// Takes out what was sent at `oldest` or before.
    pub fn expire(&mut self, oldest: Timestamp) -> Vec<u64> {
        let mut expired = Vec::new();
        while let Some((sent_at, sequence)) = self.by_age.first().copied()
            && sent_at <= oldest
        {
            self.remove(sequence);
            expired.push(sequence);
        }
        expired
    }

    /// Receives what is ready. `receipt` makes handles.
    pub fn take(&mut self, taking: &Taking<'_>, mut receipt: impl FnMut() -> u64) -> Taken {
        if let Some(again) = taking.attempt.and_then(|attempt| self.again(attempt, taking.now)) {
            for sequence in &again {
                self.change(*sequence, |entry| entry.state = State::InFlight(taking.visible_at));
            }
            return Taken { given: again, dead: vec![] };
        }
        let mut taken = Taken::default();
        while taken.given.len() < taking.max && taken.dead.len() < 100 {
            let found = self.candidates(taking.max - taken.given.len(), &taken.dead);
            if found.is_empty() {
                break;
            }
            for sequence in found {
                let receives = self.entries[&sequence].receives;
                if taking.max_receives.is_some_and(|max| receives >= max) {
                    taken.dead.push(sequence);
                    continue;
                }
                let receipt = receipt();
                self.change(sequence, |entry| {
                    entry.state = State::InFlight(taking.visible_at);
                    entry.receives += 1;
                    entry.first_received_at.get_or_insert(taking.now);
                    entry.received_at = Some(taking.now);
                    entry.receipt = receipt;
                    entry.attempt = taking.attempt.map(str::to_owned);
                });
                taken.given.push(sequence);
            }
        }
        if let Some(attempt) = taking.attempt {
            self.attempts.insert(attempt.to_owned(), taken.given.clone());
        }
        taken
    }

    /// What is to be received next: of a FIFO queue all from one group.
    fn candidates(&self, max: usize, besides: &[u64]) -> Vec<u64> {
        let new = |sequence: &&u64| !besides.contains(sequence);
        if !self.fifo {
            return self.ready.iter().filter(new).take(max).copied().collect();
        }
        for group in self.open.values() {
            let members = self.groups[group].members.iter().filter(new);
            let ready = members.take_while(|n| self.entries[n].state == State::Ready);
            let found: Vec<u64> = ready.take(max).copied().collect();
            if !found.is_empty() {
                return found;
            }
        }
        vec![]
    }

    /// The messages of an attempt, if they are all as it left them.
    fn again(&mut self, attempt: &str, now: Timestamp) -> Option<Vec<u64>> {
        let sequences = self.attempts.get(attempt)?;
        let untouched = |sequence: &u64| {
            self.entries.get(sequence).is_some_and(|entry| {
                entry.attempt.as_deref() == Some(attempt)
                    && matches!(entry.state, State::InFlight(_))
                    && entry.received_at.is_some_and(|at| now.since(at) <= REMEMBERED)
            })
        };
        let whole = !sequences.is_empty() && sequences.iter().all(untouched);
        if whole { Some(sequences.clone()) } else { None }
    }

    /// The same that was sent within the last minutes.
    pub fn duplicate(&self, id: &str, now: Timestamp) -> Option<&Sent> {
        self.sent.get(id).filter(|sent| sent.until > now)
    }

    pub fn remember(&mut self, id: String, sent: Sent) {
        self.sent_by_age.insert((sent.until, id.clone()));
        self.sent.insert(id, sent);
    }

    pub fn forget(&mut self, id: &str) {
        if let Some(sent) = self.sent.remove(id) {
            self.sent_by_age.remove(&(sent.until, id.to_owned()));
        }
    }

    /// Takes out ids that no longer count; and of attempts.
    pub fn forget_old(&mut self, now: Timestamp) -> Vec<String> {
        let mut old = Vec::new();
        while let Some((until, _)) = self.sent_by_age.first()
            && *until <= now
        {
            let (until, id) = self.sent_by_age.pop_first().expect("there is a first");
            if self.sent.get(&id).is_some_and(|sent| sent.until == until) {
                self.sent.remove(&id);
                old.push(id);
            }
        }
        let Index { attempts, entries, .. } = self;
        attempts.retain(|attempt, sequences| {
            let kept = |entry: &Entry| entry.attempt.as_deref() == Some(attempt.as_str());
            sequences.iter().any(|sequence| entries.get(sequence).is_some_and(kept))
        });
        old
    }

    fn unlink(&mut self, sequence: u64) {
        let Some(entry) = self.entries.get(&sequence) else { return };
        match entry.state {
            State::Ready => {
                self.counts.ready -= 1;
                self.ready.remove(&sequence);
            }
            State::Delayed(until) => {
                self.counts.delayed -= 1;
                self.waiting.remove(&(until, sequence));
            }
            State::InFlight(until) => {
                self.counts.in_flight -= 1;
                self.waiting.remove(&(until, sequence));
            }
        }
        if let Some(name) = entry.group.as_deref().filter(|_| self.fifo)
            && let Some(group) = self.groups.get_mut(name)
        {
            group.members.remove(&sequence);
            group.in_flight -= usize::from(matches!(entry.state, State::InFlight(_)));
            self.reopen(sequence, true);
        }
    }

    fn link(&mut self, sequence: u64) {
        let Some(entry) = self.entries.get(&sequence) else { return };
        match entry.state {
            State::Ready => {
                self.counts.ready += 1;
                if !self.fifo {
                    self.ready.insert(sequence);
                }
            }
            State::Delayed(until) => {
                self.counts.delayed += 1;
                self.waiting.insert((until, sequence));
            }
            State::InFlight(until) => {
                self.counts.in_flight += 1;
                self.waiting.insert((until, sequence));
            }
        }
        if let Some(name) = entry.group.as_deref().filter(|_| self.fifo) {
            if !self.groups.contains_key(name) {
                self.groups.insert(name.into(), Group::default());
            }
            let group = self.groups.get_mut(name).expect("it is there now");
            group.members.insert(sequence);
            group.in_flight += usize::from(matches!(entry.state, State::InFlight(_)));
            self.reopen(sequence, false);
        }
    }

    /// Whether the group of a message may be received from, after a change of it.
    fn reopen(&mut self, sequence: u64, leaving: bool) {
        let name = self.entries[&sequence].group.as_deref().expect("it has a group");
        let (key, _) = self.groups.get_key_value(name).expect("the group is there");
        let key = Arc::clone(key);
        let group = self.groups.get_mut(&key).expect("the group is there");
        let first = group.members.first().copied();
        let ready = |n: &u64| self.entries[n].state == State::Ready;
        let open = first.filter(|n| group.in_flight == 0 && ready(n));
        if open != group.open {
            group.open.map(|old| self.open.remove(&old));
            open.map(|new| self.open.insert(new, Arc::clone(&key)));
            group.open = open;
        }
        if leaving && group.members.is_empty() {
            self.groups.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;

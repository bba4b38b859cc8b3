//! Counters that workers write without contention: each worker owns a shard, a report adds them up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::snapshot::{Counters, ListenerCounters};

/// Keeps neighbours off each other's cache lines (prefetchers fetch them in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

pub struct Shards<T>(Box<[Padded<T>]>);

impl<T: Default> Shards<T> {
    pub fn new(workers: usize) -> Shards<T> {
        Shards((0..workers).map(|_| Padded::default()).collect())
    }

    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker].0
    }

    fn sum(&self, field: impl Fn(&T) -> &Count) -> u64 {
        self.0.iter().fold(0, |sum, shard| sum.wrapping_add(field(&shard.0).get()))
    }
}

/// Written by one thread, read by any.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Relaxed);
    }

    pub fn subtract(&self, n: u64) {
        self.0.store(self.get().wrapping_sub(n), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Debug, Default)]
pub struct GroupShard {
    pub requests: Count,
    pub target_2xx: Count,
    pub target_3xx: Count,
    pub target_4xx: Count,
    pub target_5xx: Count,
    pub connection_errors: Count,
    pub target_response_time_us: Count,
}

impl GroupShard {
    pub fn answered(&self, status: u16, time_us: u64) {
        match status {
            200..300 => self.target_2xx.add(1),
            300..400 => self.target_3xx.add(1),
            400..500 => self.target_4xx.add(1),
            500.. => self.target_5xx.add(1),
            _ => {}
        }
        self.target_response_time_us.add(time_us);
    }
}

impl Shards<GroupShard> {
    pub fn total(&self) -> Counters {
        Counters {
            requests: self.sum(|s| &s.requests),
            target_2xx: self.sum(|s| &s.target_2xx),
            target_3xx: self.sum(|s| &s.target_3xx),
            target_4xx: self.sum(|s| &s.target_4xx),
            target_5xx: self.sum(|s| &s.target_5xx),
            connection_errors: self.sum(|s| &s.connection_errors),
            target_response_time_us: self.sum(|s| &s.target_response_time_us),
        }
    }
}

#[derive(Debug, Default)]
pub struct ListenerShard {
    pub requests: Count,
    pub elb_3xx: Count,
    pub elb_4xx: Count,
    pub elb_500: Count,
    pub elb_502: Count,
    pub elb_503: Count,
    pub elb_504: Count,
    pub active_connections: Count,
    pub new_connections: Count,
    pub received_bytes: Count,
    pub sent_bytes: Count,
}

impl ListenerShard {
    /// What the balancer itself answered.
    pub fn answered(&self, status: u16) {
        match status {
            300..400 => self.elb_3xx.add(1),
            400..500 => self.elb_4xx.add(1),
            500 => self.elb_500.add(1),
            502 => self.elb_502.add(1),
            503 => self.elb_503.add(1),
            504 => self.elb_504.add(1),
            _ => {}
        }
    }
}

impl Shards<ListenerShard> {
    pub fn total(&self) -> ListenerCounters {
        ListenerCounters {
            requests: self.sum(|s| &s.requests),
            elb_3xx: self.sum(|s| &s.elb_3xx),
            elb_4xx: self.sum(|s| &s.elb_4xx),
            elb_500: self.sum(|s| &s.elb_500),
            elb_502: self.sum(|s| &s.elb_502),
            elb_503: self.sum(|s| &s.elb_503),
            elb_504: self.sum(|s| &s.elb_504),
            active_connections: self.sum(|s| &s.active_connections),
            new_connections: self.sum(|s| &s.new_connections),
            received_bytes: self.sum(|s| &s.received_bytes),
            sent_bytes: self.sum(|s| &s.sent_bytes),
        }
    }
}

//! Targets and the choice among them. A target's state lives over snapshots; a group is made anew
//! with each and recomputes whom it may choose when health changes.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use crate::cookie;
use crate::counters::{GroupShard, Padded, Shards};
use crate::health::Tracker;
use crate::snapshot::{Algorithm, HealthCheck, HealthState, TargetHealth};
use crate::timer::now_ms;

/// How long a target that refused a connection is passed over while there are others. Health checks
/// decide about it; this spares requests until they do.
const AVOID_MS: u64 = 1000;
/// How long an answer speaks for a kept connection: one whose link has died since looks whole.
const LIVELY_MS: u64 = 250;
/// From this many targets on, the least busy is sought among a sample.
const SAMPLE: usize = 64;

pub struct Target {
    /// Unique in this process.
    pub key: u64,
    pub id: String,
    pub address: SocketAddrV4,
    token: u64,
    in_flight: Padded<AtomicU64>,
    requests: AtomicU64,
    healthy_since_ms: AtomicU64,
    avoid_until_ms: AtomicU64,
    heard_ms: AtomicU64,
    /// Draining or gone: connections to it are not kept.
    pub retired: AtomicBool,
    /// No snapshot names it any more: what is still on its way there is ended.
    pub gone: AtomicBool,
    health: Mutex<Tracker>,
}

impl Target {
    pub fn new(group: &str, id: &str, address: SocketAddrV4) -> Target {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        Target {
            key: KEYS.fetch_add(1, Relaxed),
            id: id.to_string(),
            address,
            token: cookie::token(&[group, id]),
            in_flight: Padded::default(),
            requests: AtomicU64::new(0),
            healthy_since_ms: AtomicU64::new(0),
            avoid_until_ms: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            health: Mutex::default(),
        }
    }

    pub fn token(&self) -> u64 {
        self.token
    }

    /// Whether its health changed.
    pub fn observe(
        &self,
        outcome: Result<(), crate::snapshot::Cause>,
        check: &HealthCheck,
    ) -> bool {
        let mut health = self.health.lock().expect("no panics under the lock");
        let changed = health.observe(outcome, check);
        if changed && health.state == HealthState::Healthy {
            self.healthy_since_ms.store(now_ms(), Relaxed);
            self.avoid_until_ms.store(0, Relaxed);
        }
        changed
    }

    pub fn health(&self) -> HealthState {
        self.health.lock().expect("no panics under the lock").state
    }

    /// It answered just now. `now_ms` may be coarse.
    pub fn hear(&self, now_ms: u64) {
        // A plain load leaves the line with all workers while the time stands.
        if self.heard_ms.load(Relaxed) < now_ms {
            self.heard_ms.store(now_ms, Relaxed);
        }
    }

    /// Whether it answered a moment ago, so that its link very likely still stands.
    pub fn is_lively(&self, now_ms: u64) -> bool {
        let heard = self.heard_ms.load(Relaxed);
        heard > 0 && now_ms.saturating_sub(heard) < LIVELY_MS
    }

    /// A connection to it failed.
    pub fn avoid(&self) {
        self.avoid_until_ms.store(now_ms() + AVOID_MS, Relaxed);
    }
}

/// A request on its way to a target.
pub struct InFlight(pub Arc<Target>);

impl InFlight {
    pub fn new(target: Arc<Target>) -> InFlight {
        target.in_flight.0.fetch_add(1, Relaxed);
        target.requests.fetch_add(1, Relaxed);
        InFlight(target)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.0.fetch_sub(1, Relaxed);
    }
}

pub struct Member {
    pub target: Arc<Target>,
    pub draining: bool,
    pub eligible: bool,
}

pub struct Group {
    pub id: String,
    pub token: u64,
    pub network: String,
    pub source: Ipv4Addr,
    pub stickiness_seconds: Option<u32>,
    pub health_check: Option<HealthCheck>,
    pub members: Vec<Member>,
    pub counters: Arc<Shards<GroupShard>>,
    pub algorithm: Algorithm,
    pub slow_start_ms: u64,
    pub cursor: Padded<AtomicUsize>,
    pub choice: ArcSwap<Choice>,
}

/// Whom requests may go to now.
#[derive(Default)]
pub struct Choice {
    targets: Vec<Arc<Target>>,
    by_token: HashMap<u64, usize>,
}

impl Group {
    /// To be called when members' health changed.
    pub fn refresh(&self) {
        let open = |healthy_only: bool| -> Vec<Arc<Target>> {
            let fits = |m: &&Member| {
                m.eligible
                    && !m.draining
                    && (!healthy_only
                        || self.health_check.is_none()
                        || m.target.health() == HealthState::Healthy)
            };
            self.members.iter().filter(fits).map(|m| m.target.clone()).collect()
        };
        let mut targets = open(true);
        if targets.is_empty() {
            // Fail open, as ALB does.
            targets = open(false);
        }
        let by_token = match self.stickiness_seconds {
            Some(_) => targets.iter().enumerate().map(|(i, t)| (t.token, i)).collect(),
            None => HashMap::new(),
        };
        self.choice.store(Arc::new(Choice { targets, by_token }));
    }

    /// The target for a request: the sticky one if it may be had, else by the group's algorithm;
    /// none of `tried`. `random` is uniform.
    pub fn choose(
        &self,
        sticky: Option<u64>,
        tried: &[u64],
        random: &Random,
    ) -> Option<Arc<Target>> {
        let choice = self.choice.load();
        if let Some(&i) = sticky.and_then(|token| choice.by_token.get(&token)) {
            let target = &choice.targets[i];
            if !tried.contains(&target.key) {
                return Some(target.clone());
            }
        }
        let now = now_ms();
        let untried = |t: &Target| tried.is_empty() || !tried.contains(&t.key);
        self.pick(&choice.targets, random, now, |t| {
            t.avoid_until_ms.load(Relaxed) <= now && untried(t)
        })
        .or_else(|| self.pick(&choice.targets, random, now, untried))
        .cloned()
    }

    /// Whether there is yet another to try than those and this one.
    pub fn has_other(&self, tried: &[u64], this: &Target) -> bool {
        self.choice.load().targets.iter().any(|t| t.key != this.key && !tried.contains(&t.key))
    }

    fn pick<'t>(
        &self,
        targets: &'t [Arc<Target>],
        random: &Random,
        now: u64,
        fits: impl Fn(&Target) -> bool,
    ) -> Option<&'t Arc<Target>> {
        if targets.is_empty() {
            return None;
        }
        let n = targets.len();
        let start = match self.algorithm {
            Algorithm::WeightedRandom => random.below(n as u64) as usize,
            Algorithm::RoundRobin | Algorithm::LeastOutstandingRequests => {
                self.cursor.0.fetch_add(1, Relaxed) % n
            }
        };
        let mut from_start = (0..n).map(|i| &targets[(start + i) % n]).filter(|t| fits(t));
        if self.algorithm == Algorithm::LeastOutstandingRequests {
            return from_start.take(SAMPLE).min_by_key(|t| t.in_flight.0.load(Relaxed));
        }
        if self.slow_start_ms == 0 {
            return from_start.next();
        }
        let mut warming = None;
        for target in from_start {
            if self.warm(target, now, random) {
                return Some(target);
            }
            warming = warming.or(Some(target));
        }
        warming
    }

    /// During slow start a target takes its turn with a chance that grows with time.
    fn warm(&self, target: &Target, now: u64, random: &Random) -> bool {
        let age = now.saturating_sub(target.healthy_since_ms.load(Relaxed));
        age >= self.slow_start_ms || random.below(self.slow_start_ms) < age
    }

    pub fn health(&self) -> impl Iterator<Item = (String, TargetHealth)> {
        self.members.iter().map(|m| {
            let state = match self.health_check {
                Some(_) => m.target.health(),
                None => HealthState::Unchecked,
            };
            let in_flight = m.target.in_flight.0.load(Relaxed);
            let requests = m.target.requests.load(Relaxed);
            (m.target.id.clone(), TargetHealth { state, in_flight, requests })
        })
    }
}

/// A small generator (xorshift64*), one per worker: nothing secret hangs on it.
pub struct Random(std::cell::Cell<u64>);

impl Random {
    pub fn new() -> Random {
        use std::hash::{BuildHasher, Hasher};
        // The standard library's hasher is seeded by the system.
        let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Random(std::cell::Cell::new(seed | 1))
    }

    pub fn next(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform in `0..n`.
    pub fn below(&self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

impl Default for Random {
    fn default() -> Random {
        Random::new()
    }
}

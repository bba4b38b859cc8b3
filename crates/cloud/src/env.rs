//! The only door from the control plane to the outside: time, randomness, storage, compute, networks
//! and balancers all come in here, so that a simulator can stand in for each.

use std::sync::{Arc, Mutex, Weak};

use crate::clock::Clock;
use crate::ec2::vpc::Cidr;

/// What one cloud consists of. Cheap to clone.
#[derive(Clone)]
pub struct Env(Arc<Parts>);

#[derive(Clone)]
pub struct Parts {
    pub config: Config,
    pub clock: Clock,
    pub rng: Rng,
    pub store: store::Store,
    pub driver: Arc<dyn compute::Driver>,
    pub storage: Arc<dyn compute::Storage>,
    pub fabric: Arc<dyn fabric::Fabric>,
    pub balancers: Arc<dyn Balancers>,
    pub metrics: crate::cloudwatch::Metrics,
    pub trail: crate::iam::Trail,
    pub seal: crate::seal::Seal,
    /// Which messages of queues can be received.
    pub sqs: crate::sqs::Lines,
    /// Held while networks are made as the records say; what they said last.
    pub network_gate: Arc<Mutex<Option<crate::ec2::network::Compiled>>>,
}

impl Env {
    pub fn new(parts: Parts) -> Env {
        Env(Arc::new(parts))
    }

    /// For what an environment holds itself: it must not keep its holder alive.
    pub fn downgrade(&self) -> impl Fn() -> Option<Env> + Send + Sync + use<> {
        let weak: Weak<Parts> = Arc::downgrade(&self.0);
        move || weak.upgrade().map(Env)
    }
}

impl std::ops::Deref for Env {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Set once, when the cloud starts.
#[derive(Clone, Debug)]
pub struct Config {
    pub account: String,
    pub default_region: String,
    /// Zones of each region: `a`, `b`, `c`, …
    pub zones: usize,
    /// Second octet of the loopback addresses that internet-facing balancers get on this host.
    pub loopback_octet: u8,
    /// Where public addresses of instances come from: a block that no other cloud of this host uses.
    pub public_pool: Cidr,
    /// Of the Spot market: the same seed has the same prices.
    pub spot_seed: u64,
    /// Port of the gateway, as clients on this host reach it.
    pub gateway_port: u16,
    /// What the cloud begins with, and goes back to when it is emptied.
    pub capacity: Vec<crate::ec2::capacity::Pool>,
    /// Labelled as simulated wherever it shows.
    pub fake_compute: bool,
}

/// The balancer processes, one per zone, started when first needed and found again after a restart.
pub trait Balancers: Send + Sync {
    /// Makes the zone's balancer serve `snapshot`, starting the process if there is none.
    /// Returns at once; `report` tells when it is in force.
    fn apply(&self, zone: &str, snapshot: balancer::snapshot::Snapshot);
    /// The newest report, `None` when the zone has no live balancer.
    fn report(&self, zone: &str) -> Option<Arc<balancer::snapshot::Report>>;
    /// Kills the zone's balancer, as a zone failure does; stays down until the next `apply`.
    fn kill(&self, zone: &str);
    /// Zones with a live balancer.
    fn zones(&self) -> Vec<String>;
    /// Counts up whenever a report changed in more than its counters.
    fn changes(&self) -> tokio::sync::watch::Receiver<u64>;
}

/// Randomness: the system's, or a seeded sequence for the simulator.
#[derive(Clone)]
pub struct Rng(Arc<Source>);

enum Source {
    System,
    Seeded(Mutex<u64>),
}

impl Rng {
    pub fn system() -> Rng {
        Rng(Arc::new(Source::System))
    }

    pub fn seeded(seed: u64) -> Rng {
        Rng(Arc::new(Source::Seeded(Mutex::new(seed))))
    }

    pub fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Uniform in `0..n`.
    pub fn below(&self, n: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(n)) >> 64) as u64
    }

    pub fn fill(&self, bytes: &mut [u8]) {
        match &*self.0 {
            #[allow(clippy::disallowed_methods)] // the one door to the system's randomness
            Source::System => getrandom::fill(bytes).expect("the system has randomness"),
            // SplitMix64 (Steele, Lea, Flood 2014).
            Source::Seeded(state) => {
                let mut state = state.lock().expect("no panics under the lock");
                for chunk in bytes.chunks_mut(8) {
                    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                    let mut z = *state;
                    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                    z ^= z >> 31;
                    chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }
}

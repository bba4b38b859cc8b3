//! Balancers without a data plane, for the simulator and the fake driver: a target is healthy when the
//! closure says that its instance is up. Nothing listens anywhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use balancer::snapshot::{
    Cause, Counters, HealthState, Report, Snapshot, Target, TargetGroup, TargetHealth,
};
use tokio::sync::watch;

use crate::env::Balancers;

pub struct FakeBalancers {
    up: Box<dyn Fn(&Target) -> bool + Send + Sync>,
    zones: Mutex<BTreeMap<String, Zone>>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Zone {
    snapshot: Snapshot,
    requests: BTreeMap<String, u64>,
}

impl FakeBalancers {
    /// `up` says whether a target answers its health check now. Whoever makes its answer change wakes
    /// the controllers by its own feed (the driver's), so reports are made when they are read.
    pub fn new(up: impl Fn(&Target) -> bool + Send + Sync + 'static) -> FakeBalancers {
        FakeBalancers { up: Box::new(up), zones: Mutex::default(), changes: watch::channel(0).0 }
    }

    /// Counts `requests` as served by the zone's balancer for a target group.
    pub fn add_requests(&self, zone: &str, target_group: &str, requests: u64) {
        if let Some(zone) = self.all().get_mut(zone) {
            *zone.requests.entry(target_group.to_owned()).or_default() += requests;
        }
    }

    /// What the zone's balancer was told last.
    pub fn snapshot(&self, zone: &str) -> Option<Snapshot> {
        self.all().get(zone).map(|zone| zone.snapshot.clone())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Zone>> {
        self.zones.lock().expect("no panics under the lock")
    }

    fn health(&self, group: &TargetGroup) -> BTreeMap<String, TargetHealth> {
        let state = |target: &Target| match (&group.health_check, (self.up)(target)) {
            (None, _) => HealthState::Unchecked,
            (Some(_), true) => HealthState::Healthy,
            (Some(_), false) => HealthState::Unhealthy(Cause::Timeout),
        };
        let health = |t: &Target| TargetHealth { state: state(t), in_flight: 0, requests: 0 };
        group.targets.iter().map(|t| (t.id.clone(), health(t))).collect()
    }
}

impl Balancers for FakeBalancers {
    fn apply(&self, zone: &str, snapshot: Snapshot) {
        self.all().entry(zone.to_owned()).or_default().snapshot = snapshot;
        self.changes.send_modify(|n| *n += 1);
    }

    fn report(&self, zone: &str) -> Option<Arc<Report>> {
        let zones = self.all();
        let Zone { snapshot, requests } = zones.get(zone)?;
        let counters = |(id, requests): (&String, &u64)| {
            let counters =
                Counters { requests: *requests, target_2xx: *requests, ..Counters::default() };
            (id.clone(), counters)
        };
        let health = |(id, group): (&String, &TargetGroup)| (id.clone(), self.health(group));
        Some(Arc::new(Report {
            version: snapshot.version,
            health: snapshot.target_groups.iter().map(health).collect(),
            counters: requests.iter().map(counters).collect(),
            ..Report::default()
        }))
    }

    fn kill(&self, zone: &str) {
        if self.all().remove(zone).is_some() {
            self.changes.send_modify(|n| *n += 1);
        }
    }

    fn zones(&self) -> Vec<String> {
        self.all().keys().cloned().collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

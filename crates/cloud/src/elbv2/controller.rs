//! Makes the balancers serve what the records say, and the records say what the balancers see.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use balancer::snapshot::Snapshot;
use compute::driver::BoxFuture;
use store::Record;

use super::model::{LoadBalancer, Node, Target, TargetState};
use super::ops::target;
use super::plan::{self, Heard, View, unchanged};
use super::state::{self, Next};
use crate::Timestamp;
use crate::controller::{Controller, Error};
use crate::ec2::vpc::model::Address;
use crate::env::Env;

/// How often to look again while something is on its way, in the host's time.
const POLL: Duration = Duration::from_millis(200);

/// What it remembers only saves work: lost in a crash, everything is told again.
#[derive(Default)]
pub struct LoadBalancers {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// By zone, as last told.
    told: BTreeMap<String, Snapshot>,
    /// Network and address of every node seen to.
    addresses: BTreeSet<(String, Ipv4Addr)>,
    /// Addresses that balancers could not listen on, said once.
    complaints: BTreeSet<String>,
}

/// One write to come; each holds what it was decided on.
enum Change {
    Active(Arc<LoadBalancer>),
    Target(Arc<Target>, Next),
    Left(Arc<Node>),
}

impl Controller for LoadBalancers {
    fn name(&self) -> &'static str {
        "load-balancers"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(self.round(env))
    }
}

impl LoadBalancers {
    async fn round(&self, env: &Env) -> Result<Option<Duration>, Error> {
        let view = View::of(&env.store.read());
        let fabric = self.place_addresses(env, &view);
        let heard = self.tell(env, &view);
        let mut changes = self.decide(env, &view, &heard);
        let (left, freed) = self.remove_addresses(env, &view);
        changes.extend(left);
        if !changes.is_empty() {
            let now = env.clock.now();
            let written = env.store.write(|tx| {
                write(tx, &changes, now);
                Ok::<_, store::Error>(())
            });
            written.await?;
        }
        fabric.and(freed)?;
        Ok(wake(env, &view))
    }

    /// Every node's private address is on its network.
    fn place_addresses(&self, env: &Env, view: &View) -> fabric::Result<()> {
        let mut wanted: BTreeMap<&str, Vec<Ipv4Addr>> = BTreeMap::new();
        for node in view.nodes() {
            wanted.entry(&node.vpc_id).or_default().push(node.private_ip);
        }
        let mut memory = self.memory.lock().expect("no panics under the lock");
        for (network, addresses) in wanted {
            env.fabric.ensure_network(network)?;
            let present = env.fabric.addresses(network)?;
            for address in addresses {
                if !present.contains(&address) {
                    env.fabric.ensure_address(network, address)?;
                }
                memory.addresses.insert((network.to_owned(), address));
            }
        }
        Ok(())
    }

    /// Tells every zone what changed for it, kills balancers of zones that failed or have nothing
    /// left to do, and hears the others.
    fn tell(&self, env: &Env, view: &View) -> BTreeMap<String, Heard> {
        let planned = plan::plan(view, &|d| env.clock.to_host(d));
        let mut memory = self.memory.lock().expect("no panics under the lock");
        memory.told.retain(|zone, _| planned.contains_key(zone));
        for zone in env.balancers.zones() {
            if !planned.contains_key(&zone) {
                env.balancers.kill(&zone);
            }
        }
        let mut heard = BTreeMap::new();
        for (zone, mut snapshot) in planned {
            let report = env.balancers.report(&zone);
            let reported = report.as_ref().map_or(0, |report| report.version);
            let last = memory.told.get(&zone);
            let version = last.map_or(0, |last| last.version);
            snapshot.version = version;
            // A balancer found again may be ahead of a daemon that has just begun.
            if last != Some(&snapshot) || reported > version {
                snapshot.version = version.max(reported) + 1;
                memory.told.insert(zone.clone(), snapshot.clone());
                env.balancers.apply(&zone, snapshot);
            }
            let told = memory.told[&zone].version;
            if let Some(report) = env.balancers.report(&zone) {
                heard.insert(zone, Heard { report, told });
            }
        }
        let complaints = heard.values().flat_map(|heard| &heard.report.bind_errors);
        let complaints: BTreeSet<String> = complaints
            .map(|(bind, error)| format!("cannot listen on {}: {error}", bind.address))
            .collect();
        for complaint in complaints.difference(&memory.complaints) {
            tracing::warn!("{complaint}");
        }
        memory.complaints = complaints;
        heard
    }

    fn decide(&self, env: &Env, view: &View, heard: &BTreeMap<String, Heard>) -> Vec<Change> {
        let now = env.clock.now();
        let active = plan::activated(view, heard).into_iter().map(Change::Active);
        let target = |target: &Arc<Target>| match state::next(
            target,
            &plan::view_of(view, target, heard),
            now,
        ) {
            Next::Stay => None,
            next => Some(Change::Target(Arc::clone(target), next)),
        };
        active.chain(view.targets().filter_map(target)).collect()
    }

    /// Of nodes that leave, and of those whose records are gone, as after a reset of the cloud.
    fn remove_addresses(&self, env: &Env, view: &View) -> (Vec<Change>, fabric::Result<()>) {
        let staying: BTreeSet<(String, Ipv4Addr)> =
            view.nodes().map(|node| (node.vpc_id.clone(), node.private_ip)).collect();
        let mut memory = self.memory.lock().expect("no panics under the lock");
        let leaving = view.leaving().iter().map(|node| (node.vpc_id.clone(), node.private_ip));
        let mut going: BTreeSet<(String, Ipv4Addr)> = leaving.collect();
        going.extend(memory.addresses.difference(&staying).cloned());
        let mut outcome = Ok(());
        let mut stuck = BTreeSet::new();
        for (network, address) in going {
            match env.fabric.remove_address(&network, address) {
                Ok(()) | Err(fabric::Error::NoNetwork(_)) => {
                    memory.addresses.remove(&(network, address));
                }
                Err(error) => {
                    outcome = Err(error);
                    stuck.insert((network, address));
                }
            }
        }
        let left = view.leaving().iter();
        let left = left.filter(|node| !stuck.contains(&(node.vpc_id.clone(), node.private_ip)));
        (left.cloned().map(Change::Left).collect(), outcome)
    }
}

/// Writes what still is as it was when it was decided on; the rest is decided anew next round.
fn write(tx: &mut store::Tx, changes: &[Change], now: Timestamp) {
    for change in changes {
        match change {
            Change::Active(owner) if unchanged(tx, &**owner) => {
                tx.put(LoadBalancer { active: true, ..LoadBalancer::clone(owner) });
            }
            Change::Target(seen, next) if unchanged(tx, &**seen) => match next {
                Next::Stay => {}
                Next::Gone => {
                    tx.delete::<Target>(&seen.key());
                }
                Next::Become(TargetState::Draining, _) => {
                    target::begin_draining(tx, seen, now);
                }
                Next::Become(state, reason) => {
                    let first = (*state == TargetState::Healthy).then_some(now);
                    tx.put(Target {
                        state: *state,
                        reason: reason.clone(),
                        healthy_at: seen.healthy_at.or(first),
                        ..Target::clone(seen)
                    });
                }
            },
            Change::Left(node) if unchanged(tx, &**node) => {
                let Node { account, region, subnet_id, private_ip, .. } = &**node;
                tx.delete::<Address>(&Address::key_of(account, region, subnet_id, *private_ip));
                tx.delete::<Node>(&node.key());
            }
            _ => {}
        }
    }
}

/// When to look again though nothing changes: reports tell of health by themselves, but not of
/// requests in flight.
fn wake(env: &Env, view: &View) -> Option<Duration> {
    let now = env.clock.now();
    let draining = view.targets().filter(|target| target.state == TargetState::Draining);
    let over = draining.filter_map(|target| {
        let group = view.group(&target.target_group_arn)?;
        let at = state::drained_at(target, plan::delay(group))?;
        Some(at.since(now).min(env.clock.to_cloud(POLL)))
    });
    let provisioning = view.load_balancers().iter().any(|owner| !owner.active);
    over.chain(provisioning.then(|| env.clock.to_cloud(POLL))).min()
}

//! A snapshot made ready for use. What has a life of its own (targets, counters) is kept over
//! snapshots by name; everything else is immutable and replaced whole.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;

use crate::cookie;
use crate::counters::{GroupShard, ListenerShard, Padded, Shards};
use crate::rule::Rule;
use crate::snapshot::{self, Algorithm, Snapshot};
use crate::target::{Choice, Group, Member, Target};

#[derive(Default)]
pub struct Table {
    pub version: u64,
    pub listeners: HashMap<String, Arc<Listener>>,
    pub groups: HashMap<String, Arc<Group>>,
}

pub struct Listener {
    /// As told, but for rules and binds, which are not kept here.
    pub options: snapshot::Listener,
    pub rules: Vec<Rule<Action>>,
    pub counters: Arc<Shards<ListenerShard>>,
}

pub enum Action {
    Forward { groups: Vec<(Arc<Group>, u32)>, stickiness_seconds: Option<u32> },
    FixedResponse { status: u16, content_type: Option<String>, body: String },
    Redirect(Redirect),
}

pub struct Redirect {
    pub status: u16,
    pub protocol: String,
    pub host: String,
    pub port: String,
    pub path: String,
    pub query: String,
}

/// What lives over snapshots.
pub struct Registry {
    workers: usize,
    targets: HashMap<(String, String, SocketAddrV4), Arc<Target>>,
    groups: HashMap<String, Arc<Shards<GroupShard>>>,
    listeners: HashMap<String, Arc<Shards<ListenerShard>>>,
}

impl Registry {
    pub fn new(workers: usize) -> Registry {
        Registry {
            workers,
            targets: HashMap::new(),
            groups: HashMap::new(),
            listeners: HashMap::new(),
        }
    }

    pub fn compile(&mut self, snapshot: &Snapshot) -> Table {
        let workers = self.workers;
        let mut targets = HashMap::new();
        let mut counters = HashMap::new();
        let mut groups = HashMap::new();
        for (id, told) in &snapshot.target_groups {
            let shards = self.groups.remove(id).unwrap_or_else(|| Arc::new(Shards::new(workers)));
            counters.insert(id.clone(), shards.clone());
            let members = told
                .targets
                .iter()
                .map(|t| {
                    let key = (id.clone(), t.id.clone(), t.address);
                    let target = self
                        .targets
                        .remove(&key)
                        .unwrap_or_else(|| Arc::new(Target::new(id, &t.id, t.address)));
                    target.retired.store(t.draining, Relaxed);
                    targets.insert(key, target.clone());
                    Member { target, draining: t.draining, eligible: t.eligible }
                })
                .collect();
            groups.insert(id.clone(), Arc::new(group(id, told, members, shards)));
        }
        for gone in self.targets.values() {
            gone.retired.store(true, Relaxed);
            gone.gone.store(true, Relaxed);
        }
        self.targets = targets;
        self.groups = counters;

        let mut counters = HashMap::new();
        let mut listeners = HashMap::new();
        for told in &snapshot.listeners {
            let shards =
                self.listeners.remove(&told.id).unwrap_or_else(|| Arc::new(Shards::new(workers)));
            counters.insert(told.id.clone(), shards.clone());
            let rules = told
                .rules
                .iter()
                .map(|r| Rule::new(&r.conditions, self.action(&r.action, &groups)))
                .collect();
            let options =
                snapshot::Listener { rules: Vec::new(), binds: Vec::new(), ..told.clone() };
            listeners
                .insert(told.id.clone(), Arc::new(Listener { options, rules, counters: shards }));
        }
        self.listeners = counters;
        Table { version: snapshot.version, listeners, groups }
    }

    fn action(&self, told: &snapshot::Action, groups: &HashMap<String, Arc<Group>>) -> Action {
        match told.clone() {
            snapshot::Action::Forward { groups: named, stickiness_seconds } => Action::Forward {
                groups: named
                    .into_iter()
                    .filter_map(|(id, weight)| match groups.get(&id) {
                        Some(group) => Some((group.clone(), weight)),
                        None => {
                            tracing::warn!(
                                group = id,
                                "a rule names a target group that is not there"
                            );
                            None
                        }
                    })
                    .collect(),
                stickiness_seconds,
            },
            snapshot::Action::FixedResponse { status, content_type, body } => {
                Action::FixedResponse { status, content_type, body }
            }
            snapshot::Action::Redirect { status, protocol, host, port, path, query } => {
                Action::Redirect(Redirect { status, protocol, host, port, path, query })
            }
        }
    }
}

fn group(
    id: &str,
    told: &snapshot::TargetGroup,
    members: Vec<Member>,
    counters: Arc<Shards<GroupShard>>,
) -> Group {
    let group = Group {
        id: id.to_string(),
        token: cookie::token(&[id]),
        network: told.network.clone(),
        source: told.source,
        stickiness_seconds: told.stickiness_seconds,
        health_check: told.health_check.clone(),
        members,
        counters,
        algorithm: told.algorithm,
        // ALB offers slow start for round robin only.
        slow_start_ms: match told.algorithm {
            Algorithm::RoundRobin => told.slow_start_ms,
            _ => 0,
        },
        cursor: Padded::default(),
        choice: ArcSwap::from_pointee(Choice::default()),
    };
    group.refresh();
    group
}

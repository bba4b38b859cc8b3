//! What a group needs next. Pure and level-triggered: look, act on the answer, look again, until
//! there is nothing to do. It remembers nothing but what the records say.
//!
//! The steps, each only when the ones before have nothing to do:
//! 1. instances on their way out: drained ones are terminated, gone ones forgotten;
//! 2. health: what is not running, impaired or fails its load balancer's checks is marked;
//! 3. instances on their way in: registered, and in service when EC2 runs them;
//! 4. the unhealthy are taken out (their replacements do not wait for the drain);
//! 5. capacity: launch into the emptiest working zones, or take out of the fullest;
//! 6. balance: launch into the emptiest zone first, later step 5 takes out of the fullest;
//! 7. age: one instance older than the maximum lifetime is taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::model::{Group, Lifecycle, Member, Process, Unhealthy, seconds};
use super::termination;
use crate::clock::Timestamp;

/// All that a decision depends on.
#[derive(Clone, Debug)]
pub struct View {
    pub now: Timestamp,
    pub group: Group,
    pub members: Vec<Seen>,
    pub failed_zones: BTreeSet<String>,
    /// The group's target groups that exist.
    pub target_groups: BTreeSet<String>,
}

/// A member and how the rest of the cloud sees its instance.
#[derive(Clone, Debug)]
pub struct Seen {
    pub member: Member,
    pub instance: Instance,
    /// EC2's status checks fail.
    pub impaired: bool,
    /// Its state as a target, by target group.
    pub targets: BTreeMap<String, Target>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    Pending,
    Running,
    /// Stopping, stopped or shutting down.
    Ending,
    /// Terminated, or not known any more.
    Gone,
}

/// Of several ports of an instance the worst counts, which is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Passes its checks, or none apply to it.
    Serving,
    Initial,
    Unhealthy,
    Draining,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Launch {
        zone: String,
        why: WhyLaunch,
    },
    Register {
        instance_id: String,
        target_groups: Vec<String>,
    },
    Deregister {
        instance_id: String,
        target_groups: Vec<String>,
    },
    EnterService {
        instance_id: String,
    },
    /// A newcomer serves: it counts as capacity now.
    Settle {
        instance_id: String,
    },
    MarkUnhealthy {
        instance_id: String,
        why: Unhealthy,
    },
    /// Begins the end: no new requests, then terminated.
    TakeOut {
        instance_id: String,
        why: WhyOut,
    },
    Terminate {
        instance_id: String,
    },
    /// The instance is gone.
    Forget {
        instance_id: String,
    },
    DeleteGroup,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyLaunch {
    /// Desired and actual capacity differ.
    Capacity {
        from: usize,
        to: usize,
    },
    Replacement,
    /// How many each zone had.
    Rebalance {
        counts: Vec<(String, usize)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyOut {
    Capacity { from: usize, to: usize },
    Unhealthy(Unhealthy),
    Age,
}

/// The next actions, all of which may be done at once. Empty: all is as it should be, for now.
pub fn plan(view: &View) -> Vec<Action> {
    if view.group.deleting.is_some() {
        return delete(view);
    }
    let steps: [fn(&View) -> Vec<Action>; 8] =
        [leave, check_health, enter, replace, launch, scale_in, rebalance, retire];
    steps.iter().map(|step| step(view)).find(|actions| !actions.is_empty()).unwrap_or_default()
}

/// When a plan may come out different although nothing changed but the time.
pub fn wake(view: &View) -> Option<Duration> {
    let group = &view.group;
    let grace_ends =
        view.active().filter_map(|seen| Some(seen.member.in_service_since?.plus(group.grace())));
    let retries = group.backoff.values().map(|backoff| backoff.until);
    let retirements = group.max_instance_lifetime_seconds.into_iter().flat_map(|lifetime| {
        view.active().map(move |seen| seen.member.launched.plus(seconds(lifetime)))
    });
    let next = grace_ends.chain(retries).chain(retirements).filter(|at| *at > view.now).min()?;
    Some(next.since(view.now).max(Duration::from_millis(1)))
}

impl View {
    fn active(&self) -> impl Iterator<Item = &Seen> {
        self.members.iter().filter(|seen| seen.member.is_active())
    }

    fn lists(&self, zone: &str) -> bool {
        self.group.places.iter().any(|place| place.zone == zone)
    }

    /// Zones where a launch may succeed. When every zone has failed the failed ones are tried, so
    /// that the failure shows as an activity.
    fn launch_zones(&self) -> Vec<&str> {
        let zones = || self.group.places.iter().map(|place| place.zone.as_str());
        let rested =
            |zone: &&str| self.group.backoff.get(*zone).is_none_or(|b| b.until <= self.now);
        let works = |zone: &&str| !self.failed_zones.contains(*zone);
        if zones().any(|zone| works(&zone)) {
            zones().filter(works).filter(rested).collect()
        } else {
            zones().filter(rested).collect()
        }
    }

    /// Active members by zone, with a 0 for zones of the group that have none.
    fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts: BTreeMap<&str, usize> =
            self.group.places.iter().map(|place| (place.zone.as_str(), 0)).collect();
        for seen in self.active() {
            *counts.entry(&seen.member.zone).or_default() += 1;
        }
        counts
    }
}

impl Seen {
    fn is_running(&self) -> bool {
        self.instance == Instance::Running
    }

    /// In service, and every load balancer it was registered with sends to it.
    pub fn serves(&self) -> bool {
        self.member.lifecycle == Lifecycle::InService
            && self.member.unhealthy.is_none()
            && self.is_running()
            && !self.impaired
            && self.targets.values().all(|target| *target == Target::Serving)
    }

    fn id(&self) -> String {
        self.member.instance_id.clone()
    }
}

fn delete(view: &View) -> Vec<Action> {
    if view.members.is_empty() {
        return vec![Action::DeleteGroup];
    }
    let from = view.active().count();
    let take_out = view.active().map(|seen| Action::TakeOut {
        instance_id: seen.id(),
        why: WhyOut::Capacity { from, to: 0 },
    });
    // Deleting by force waits for no drain.
    let leave = view.members.iter().filter(|seen| !seen.member.is_active()).filter_map(|seen| {
        match seen.instance {
            Instance::Gone => Some(Action::Forget { instance_id: seen.id() }),
            _ if seen.member.terminated => None,
            _ => Some(Action::Terminate { instance_id: seen.id() }),
        }
    });
    take_out.chain(leave).collect()
}

fn leave(view: &View) -> Vec<Action> {
    let leaving = view.members.iter().filter(|seen| !seen.member.is_active());
    leaving
        .filter_map(|seen| {
            let drains = seen.targets.values().any(|target| *target == Target::Draining);
            match seen.instance {
                Instance::Gone => Some(Action::Forget { instance_id: seen.id() }),
                _ if seen.member.terminated => None,
                // What is impaired answers nobody any more.
                Instance::Running if drains && !seen.impaired => None,
                _ => Some(Action::Terminate { instance_id: seen.id() }),
            }
        })
        .collect()
}

fn check_health(view: &View) -> Vec<Action> {
    if !view.group.runs(Process::HealthCheck) {
        return vec![];
    }
    let healthy = view.active().filter(|seen| seen.member.unhealthy.is_none());
    healthy
        .filter_map(|seen| {
            let why = diagnose(view, seen)?;
            Some(Action::MarkUnhealthy { instance_id: seen.id(), why })
        })
        .collect()
}

fn diagnose(view: &View, seen: &Seen) -> Option<Unhealthy> {
    match seen.instance {
        Instance::Ending | Instance::Gone => return Some(Unhealthy::NotRunning),
        Instance::Pending => return None,
        Instance::Running => {}
    }
    let graced = seen.member.in_service_since?.plus(view.group.grace());
    if view.now < graced {
        return None;
    }
    if seen.impaired {
        return Some(Unhealthy::Impaired);
    }
    // One whose target was taken away behind the group's back serves nobody either.
    let fails = |target_group: &&String| {
        matches!(seen.targets.get(*target_group), None | Some(Target::Unhealthy | Target::Draining))
    };
    let registered = seen.member.registered.intersection(&view.target_groups);
    if view.group.elb_health && registered.into_iter().any(|tg| fails(&tg)) {
        return Some(Unhealthy::Elb);
    }
    None
}

fn enter(view: &View) -> Vec<Action> {
    let mut actions = Vec::new();
    for seen in view.active().filter(|seen| seen.is_running() && seen.member.unhealthy.is_none()) {
        let member = &seen.member;
        let pending = member.lifecycle == Lifecycle::Pending;
        let adds = view.group.runs(Process::AddToLoadBalancer) && !member.unregistered;
        let wanted = view.target_groups.difference(&member.registered);
        let target_groups: Vec<String> = wanted.filter(|_| adds).cloned().collect();
        if !target_groups.is_empty() {
            actions.push(Action::Register { instance_id: seen.id(), target_groups });
        }
        let group_has = |tg: &&String| view.group.target_groups.contains(*tg);
        let target_groups: Vec<String> =
            member.registered.iter().filter(|tg| !group_has(tg)).cloned().collect();
        if !target_groups.is_empty() {
            actions.push(Action::Deregister { instance_id: seen.id(), target_groups });
        }
        if pending {
            actions.push(Action::EnterService { instance_id: seen.id() });
        } else if member.newcomer && seen.serves() {
            actions.push(Action::Settle { instance_id: seen.id() });
        }
    }
    actions
}

fn replace(view: &View) -> Vec<Action> {
    if !view.group.runs(Process::ReplaceUnhealthy) || !view.group.runs(Process::Terminate) {
        return vec![];
    }
    view.active()
        .filter_map(|seen| {
            let why = WhyOut::Unhealthy(seen.member.unhealthy?);
            Some(Action::TakeOut { instance_id: seen.id(), why })
        })
        .collect()
}

fn launch(view: &View) -> Vec<Action> {
    let from = view.active().count();
    let to = view.group.desired.max(0) as usize;
    if from >= to || !view.group.runs(Process::Launch) {
        return vec![];
    }
    let replaces = view.group.change.is_none()
        && view.members.iter().any(|s| !s.member.is_active() && s.member.unhealthy.is_some());
    let why = if replaces { WhyLaunch::Replacement } else { WhyLaunch::Capacity { from, to } };
    let zones = view.launch_zones();
    let mut counts = view.counts();
    (from..to)
        .filter_map(|_| {
            let zone = *zones.iter().min_by_key(|zone| counts[*zone])?;
            *counts.get_mut(zone)? += 1;
            Some(Action::Launch { zone: zone.to_owned(), why: why.clone() })
        })
        .collect()
}

fn scale_in(view: &View) -> Vec<Action> {
    if !view.group.runs(Process::Terminate) {
        return vec![];
    }
    // A newcomer is capacity only when it serves: until then nothing makes room for it.
    let from = view.active().filter(|seen| !seen.member.newcomer).count();
    let to = view.group.desired.max(0) as usize;
    let mut counts = view.counts();
    let mut candidates: Vec<&Seen> =
        view.active().filter(|seen| !seen.member.protected && !seen.member.newcomer).collect();
    let mut actions = Vec::new();
    for _ in to..from {
        // Zones the group left, or that failed, go before the fullest.
        let weight = |seen: &&Seen| {
            let zone = seen.member.zone.as_str();
            let stays = view.lists(zone) && !view.failed_zones.contains(zone);
            if stays { counts[zone] } else { usize::MAX }
        };
        let Some(fullest) = candidates.iter().map(weight).max() else { break };
        let among = candidates.iter().copied().filter(|s| weight(s) == fullest).collect();
        let chosen = termination::choose(&view.group, among, view.now);
        *counts.get_mut(chosen.member.zone.as_str()).expect("counted above") -= 1;
        candidates.retain(|seen| seen.member.instance_id != chosen.member.instance_id);
        let why = WhyOut::Capacity { from, to };
        actions.push(Action::TakeOut { instance_id: chosen.id(), why });
    }
    actions
}

fn rebalance(view: &View) -> Vec<Action> {
    let group = &view.group;
    let processes = [Process::AZRebalance, Process::Launch, Process::Terminate];
    let settled = view
        .active()
        .all(|seen| seen.member.lifecycle == Lifecycle::InService && !seen.member.newcomer);
    let active = view.active().count();
    if !processes.iter().all(|p| group.runs(*p)) || !settled || active != group.desired as usize {
        return vec![];
    }
    let mut zones = view.launch_zones();
    zones.retain(|zone| !view.failed_zones.contains(*zone));
    let mut counts = view.counts();
    let told: Vec<(String, usize)> =
        counts.iter().map(|(zone, n)| ((*zone).to_owned(), *n)).collect();
    let mut movable: BTreeMap<&str, usize> = BTreeMap::new();
    for seen in view.active().filter(|seen| !seen.member.protected) {
        let zone = seen.member.zone.as_str();
        if !view.failed_zones.contains(zone) {
            *movable.entry(zone).or_default() += 1;
        }
    }
    // AWS: while it balances a group may exceed its maximum by 10 percent or by one, if that is more.
    let ceiling = group.max as usize + (group.max as usize / 10).max(1);
    let mut actions = Vec::new();
    while active + actions.len() < ceiling {
        let Some(emptiest) = zones.iter().copied().min_by_key(|zone| counts[zone]) else { break };
        let weight = |zone: &str| if view.lists(zone) { counts[zone] } else { usize::MAX };
        let fullest = movable.keys().copied().max_by_key(|zone| weight(zone));
        let Some(fullest) = fullest.filter(|zone| weight(zone) > counts[emptiest] + 1) else {
            break;
        };
        *counts.get_mut(fullest).expect("counted above") -= 1;
        *counts.get_mut(emptiest).expect("counted above") += 1;
        let left = movable.get_mut(fullest).expect("chosen from it");
        *left -= 1;
        if *left == 0 {
            movable.remove(fullest);
        }
        let why = WhyLaunch::Rebalance { counts: told.clone() };
        actions.push(Action::Launch { zone: emptiest.to_owned(), why });
    }
    actions
}

fn retire(view: &View) -> Vec<Action> {
    let Some(lifetime) = view.group.max_instance_lifetime_seconds else { return vec![] };
    let all_serve = view.active().all(Seen::serves);
    let enough = view.active().count() == view.group.desired as usize;
    let may = view.group.runs(Process::Launch) && view.group.runs(Process::Terminate);
    if !all_serve || !enough || !may || view.launch_zones().is_empty() {
        return vec![];
    }
    let oldest = view.active().min_by_key(|seen| seen.member.launched);
    oldest
        .filter(|seen| view.now.since(seen.member.launched) >= seconds(lifetime))
        .map(|seen| Action::TakeOut { instance_id: seen.id(), why: WhyOut::Age })
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests;

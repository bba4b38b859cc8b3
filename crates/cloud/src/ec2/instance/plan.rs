//! What has to be done so that the driver runs what the records ask for. Pure: records, sightings and
//! failed zones in, actions out. The same view gives the same plan; doing any of it twice is harmless.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use compute::{Observed, Phase};

use super::model::{self, Cause, Goal, Instance};
use super::state::{Event, RECOVERY, REMEMBERED};
use crate::clock::Timestamp;
use crate::ec2::network_interface::NetworkInterface;
use crate::ec2::volume::{Content, Volume};

/// All there is to know in one round.
pub struct View {
    pub records: Vec<Arc<Instance>>,
    /// By instance id.
    pub seen: BTreeMap<String, Observed>,
    pub failed_zones: BTreeSet<String>,
    /// Interfaces that were changed since their instance was told of them.
    pub unsettled: Vec<Arc<NetworkInterface>>,
    /// And volumes.
    pub unsettled_volumes: Vec<Arc<Volume>>,
    /// Instances of which a snapshot is to be taken while they do not run.
    pub held: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Begin the boot asked for.
    Launch(Arc<Instance>),
    /// Ask the guest to shut down, for the end of this boot.
    Stop {
        id: String,
        boot: u64,
    },
    /// Its zone failed: pull the network cable, then the power cord.
    Cut(Arc<Instance>),
    Kill {
        id: String,
    },
    /// Remove every trace; for an instance of ours, then say so.
    Destroy {
        id: String,
        record: Option<Arc<Instance>>,
    },
    /// Tell what runs of an interface.
    Plug(Arc<NetworkInterface>),
    Unplug(Arc<NetworkInterface>),
    /// Nothing runs: the next boot has its interfaces right.
    Settle(Arc<NetworkInterface>),
    /// The same of a volume.
    PlugDisk(Arc<Volume>),
    UnplugDisk(Arc<Volume>),
    SettleDisk(Arc<Volume>),
    /// Nothing runs: save what the instance wrote to its root volume, which is leaving.
    TakeRoot(Arc<Volume>),
    /// Write what was seen.
    Record(Arc<Instance>, Event),
    /// Its time in the books is over.
    Forget(Arc<Instance>),
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// When time alone asks for another round.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }
}

pub fn plan(view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    for record in &view.records {
        let seen = view.seen.get(&record.id);
        let failed = view.failed_zones.contains(&record.zone);
        match record.desired.goal {
            Goal::Run if failed => in_failed_zone(record, seen, &mut plan),
            Goal::Run => run(record, seen, now, &mut plan),
            Goal::Stop => stop(record, seen, failed, &mut plan),
            Goal::Terminate => terminate(record, seen, failed, now, &mut plan),
        }
    }
    plan.actions.retain(|action| match action {
        Action::Launch(instance) => !view.held.contains(&instance.id),
        _ => true,
    });
    plan.actions.extend(view.unsettled.iter().filter_map(|interface| tell(view, interface)));
    plan.actions.extend(view.unsettled_volumes.iter().filter_map(|volume| tell_disk(view, volume)));
    let known: BTreeSet<&str> = view.records.iter().map(|r| r.id.as_str()).collect();
    for id in view.seen.keys().filter(|id| !known.contains(id.as_str())) {
        plan.actions.push(Action::Destroy { id: id.clone(), record: None });
    }
    plan
}

fn tell(view: &View, interface: &Arc<NetworkInterface>) -> Option<Action> {
    let attachment = interface.attachment.as_ref()?;
    let interface = Arc::clone(interface);
    match view.seen.get(&attachment.instance_id).map(|seen| seen.phase) {
        Some(Phase::Booting) => None,
        Some(Phase::Up) if interface.is_leaving() => Some(Action::Unplug(interface)),
        Some(Phase::Up) => Some(Action::Plug(interface)),
        Some(Phase::Exited(_)) | None => Some(Action::Settle(interface)),
    }
}

fn tell_disk(view: &View, volume: &Arc<Volume>) -> Option<Action> {
    let attachment = volume.attachment.as_ref()?;
    let volume = Arc::clone(volume);
    match view.seen.get(&attachment.instance_id).map(|seen| seen.phase) {
        Some(Phase::Booting) => None,
        Some(Phase::Up) if volume.content != Content::Blocks => None,
        Some(Phase::Up) if volume.is_leaving() => Some(Action::UnplugDisk(volume)),
        Some(Phase::Up) => Some(Action::PlugDisk(volume)),
        Some(Phase::Exited(_)) | None if volume.is_root() && volume.is_leaving() => {
            Some(Action::TakeRoot(volume))
        }
        Some(Phase::Exited(_)) | None => Some(Action::SettleDisk(volume)),
    }
}

fn runs(seen: Option<&Observed>) -> bool {
    seen.is_some_and(|seen| !matches!(seen.phase, Phase::Exited(_)))
}

fn in_failed_zone(record: &Arc<Instance>, seen: Option<&Observed>, plan: &mut Plan) {
    if runs(seen) {
        plan.actions.push(Action::Cut(Arc::clone(record)));
    }
    if record.broken().is_none_or(|fault| fault.cause != Cause::Zone) {
        plan.actions.push(Action::Record(Arc::clone(record), Event::ZoneFailed));
    }
}

fn run(record: &Arc<Instance>, seen: Option<&Observed>, now: Timestamp, plan: &mut Plan) {
    let boot = record.desired.boot;
    let mut saw = |event| plan.actions.push(Action::Record(Arc::clone(record), event));
    if let Some(seen) = seen.filter(|seen| seen.boot == boot) {
        match seen.phase {
            Phase::Up => {
                let known = record.observed.boot == boot
                    && record.observed.phase == model::Phase::Up
                    && record.observed.fault.is_none();
                if !known {
                    saw(Event::Up { boot });
                }
                return;
            }
            Phase::Booting => return,
            Phase::Exited(how) if record.broken().is_none() => {
                return saw(Event::Exited { boot, how });
            }
            Phase::Exited(_) => {}
        }
    }
    match record.broken() {
        Some(fault) if fault.cause == Cause::Host && now < fault.at.plus(RECOVERY) => {
            plan.wake(fault.at.plus(RECOVERY));
        }
        Some(_) => saw(Event::Recover),
        None if runs(seen) => {
            let boot = seen.map_or(0, |seen| seen.boot);
            plan.actions.push(Action::Stop { id: record.id.clone(), boot });
        }
        None => plan.actions.push(Action::Launch(Arc::clone(record))),
    }
}

fn stop(record: &Arc<Instance>, seen: Option<&Observed>, failed: bool, plan: &mut Plan) {
    match seen.filter(|_| runs(seen)) {
        Some(_) if failed => plan.actions.push(Action::Cut(Arc::clone(record))),
        Some(seen) => plan.actions.push(end(record, seen)),
        None if record.observed.phase != model::Phase::Down => {
            plan.actions.push(Action::Record(Arc::clone(record), Event::Down));
        }
        None => {}
    }
}

fn end(record: &Instance, seen: &Observed) -> Action {
    if record.desired.force {
        Action::Kill { id: record.id.clone() }
    } else {
        Action::Stop { id: record.id.clone(), boot: seen.boot }
    }
}

fn terminate(
    record: &Arc<Instance>,
    seen: Option<&Observed>,
    failed: bool,
    now: Timestamp,
    plan: &mut Plan,
) {
    let graceful = !record.desired.force && !failed;
    match seen {
        Some(seen) if runs(Some(seen)) && graceful => plan.actions.push(end(record, seen)),
        Some(_) => plan
            .actions
            .push(Action::Destroy { id: record.id.clone(), record: Some(Arc::clone(record)) }),
        None => match record.observed.terminated_at {
            None => plan.actions.push(Action::Record(Arc::clone(record), Event::Gone)),
            Some(at) if at.plus(REMEMBERED) <= now => {
                plan.actions.push(Action::Forget(Arc::clone(record)));
            }
            Some(at) => plan.wake(at.plus(REMEMBERED)),
        },
    }
}

#[cfg(test)]
mod tests {
    use compute::Exit;

    use super::super::state::{self, Failure, Request, observe};
    use super::super::testing::instance;
    use super::*;
    use crate::testing::NOW;

    type Change = fn(&mut Instance);

    fn up(i: &mut Instance) {
        let boot = i.desired.boot;
        observe(i, Event::Up { boot }, NOW);
    }

    fn asked(i: &mut Instance, request: Request) {
        up(i);
        state::request(i, request, NOW).unwrap();
    }

    fn lost(i: &mut Instance) {
        up(i);
        observe(i, Event::Exited { boot: 1, how: Exit::Lost }, NOW);
    }

    fn gone(i: &mut Instance) {
        asked(i, Request::Terminate { force: false });
        observe(i, Event::Gone, NOW);
    }

    fn verb(action: &Action) -> String {
        match action {
            Action::Launch(i) => format!("launch {}", i.desired.boot),
            Action::Stop { boot, .. } => format!("stop {boot}"),
            Action::Cut(_) => "cut".into(),
            Action::Kill { .. } => "kill".into(),
            Action::Destroy { .. } => "destroy".into(),
            Action::Plug(_) => "plug".into(),
            Action::Unplug(_) => "unplug".into(),
            Action::Settle(_) => "settle".into(),
            Action::PlugDisk(_) => "plug disk".into(),
            Action::UnplugDisk(_) => "unplug disk".into(),
            Action::SettleDisk(_) => "settle disk".into(),
            Action::TakeRoot(_) => "take root".into(),
            Action::Record(_, event) => format!("{event:?}"),
            Action::Forget(_) => "forget".into(),
        }
    }

    #[test]
    fn plans() {
        const UP: Phase = Phase::Up;
        const GRACEFUL: Request = Request::Terminate { force: false };
        let exited = Phase::Exited;
        let fresh: Change = |_| {};
        // The record, what the driver says of it, whether the zone failed, seconds later: the plan.
        let cases: Vec<(Change, Option<(u64, Phase)>, bool, u64, &str)> = vec![
            (fresh, None, false, 0, "launch 1"),
            (fresh, Some((1, Phase::Booting)), false, 0, ""),
            (fresh, Some((1, UP)), false, 0, "Up { boot: 1 }"),
            (fresh, None, true, 0, "ZoneFailed"),
            (up, Some((1, UP)), false, 0, ""),
            (up, Some((1, UP)), true, 0, "cut, ZoneFailed"),
            (
                up,
                Some((1, exited(Exit::PoweredOff))),
                false,
                0,
                "Exited { boot: 1, how: PoweredOff }",
            ),
            (|i| asked(i, Request::Reboot), Some((1, UP)), false, 0, "stop 1"),
            (|i| asked(i, Request::Reboot), Some((1, exited(Exit::Asked))), false, 0, "launch 2"),
            (lost, Some((1, exited(Exit::Lost))), false, 59, "wake 60"),
            (lost, Some((1, exited(Exit::Lost))), false, 60, "Recover"),
            (lost, Some((1, exited(Exit::Lost))), true, 60, "ZoneFailed"),
            (
                |i| {
                    up(i);
                    observe(i, Event::ZoneFailed, NOW);
                },
                Some((1, exited(Exit::Asked))),
                false,
                0,
                "Recover",
            ),
            (|i| asked(i, Request::Stop { force: false }), Some((1, UP)), false, 0, "stop 1"),
            (|i| asked(i, Request::Stop { force: true }), Some((1, UP)), false, 0, "kill"),
            (|i| asked(i, Request::Stop { force: false }), Some((1, UP)), true, 0, "cut"),
            (|i| asked(i, Request::Stop { force: false }), None, false, 0, "Down"),
            (|i| asked(i, GRACEFUL), Some((1, UP)), false, 0, "stop 1"),
            (|i| asked(i, GRACEFUL), Some((1, UP)), true, 0, "destroy"),
            (|i| asked(i, GRACEFUL), Some((1, exited(Exit::Asked))), false, 0, "destroy"),
            (|i| asked(i, GRACEFUL), None, false, 0, "Gone"),
            (
                |i| {
                    let failure = Failure::Internal;
                    observe(i, Event::LaunchFailed { boot: 1, failure }, NOW);
                },
                Some((1, Phase::Booting)),
                false,
                0,
                "destroy",
            ),
            (gone, None, false, 3599, "wake 3600"),
            (gone, None, false, 3600, "forget"),
        ];
        for (change, seen, failed, seconds, expected) in cases {
            let mut record = instance();
            change(&mut record);
            let view = View {
                seen: seen
                    .map(|(boot, phase)| {
                        (record.id.clone(), Observed { id: record.id.clone(), boot, phase })
                    })
                    .into_iter()
                    .collect(),
                failed_zones: failed.then(|| record.zone.clone()).into_iter().collect(),
                unsettled: vec![],
                unsettled_volumes: vec![],
                held: BTreeSet::new(),
                records: vec![Arc::new(record)],
            };
            let plan = plan(&view, Timestamp(NOW.0 + seconds as i64 * 1000));
            let mut words: Vec<String> = plan.actions.iter().map(verb).collect();
            if let Some(at) = plan.wake_at {
                words.push(format!("wake {}", at.since(NOW).as_secs()));
            }
            assert_eq!(words.join(", "), expected, "{seen:?} {failed} {:?}", view.records[0]);
        }
    }

    #[test]
    fn what_has_no_record_is_destroyed() {
        let seen = Observed { id: "i-x".into(), boot: 1, phase: Phase::Up };
        let view = View {
            records: vec![],
            seen: [("i-x".to_owned(), seen)].into(),
            failed_zones: BTreeSet::new(),
            unsettled: vec![],
            unsettled_volumes: vec![],
            held: BTreeSet::new(),
        };
        let actions = plan(&view, NOW).actions;
        assert_eq!(actions, [Action::Destroy { id: "i-x".into(), record: None }]);
    }
}

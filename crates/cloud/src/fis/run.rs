//! The course of an experiment.
//!
//! ```text
//!  initiating ─ targets resolved ─► running ─ all actions done ─► completed
//!      │                              │ ├── one failed ─────────► failed
//!      └── no role, no target ► failed│ └── stopped, by its user or an alarm ─► stopping ─► stopped
//!
//!  of an action: pending ─► running ─► completed, failed, stopped      (never begun: cancelled, skipped)
//! ```

use std::sync::Arc;
use std::time::Duration;

use store::{Snapshot, Tx};

use super::action::{self, What};
use super::model::{Experiment, Run, Status};
use super::{ops, target};
use crate::Context;
use crate::clock::Timestamp;
use crate::cloudwatch::alarm::model::{Alarm, State as AlarmState};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::{instance, spot};
use crate::iam::acting;

pub const SERVICE: &str = "fis.amazonaws.com";

/// "AWS FIS retains experiments for 120 days."
const REMEMBERED: Duration = Duration::from_secs(120 * 24 * 3600);

/// The cloud as the role of an experiment sees it; none where the role cannot be had.
pub fn acting(snapshot: &Snapshot, cx: &Context, role: &str, source: &str) -> Option<Context> {
    let session = source.rsplit('/').next().unwrap_or_default();
    acting::in_role(snapshot, cx, role, SERVICE, session, source)
}

pub fn alarm(snapshot: &Snapshot, cx: &Context, arn: &str) -> Option<Arc<Alarm>> {
    snapshot.scan::<Alarm>(&cx.prefix()).find(|alarm| alarm.arn() == arn)
}

fn is_stopped_by_alarm(snapshot: &Snapshot, cx: &Context, e: &Experiment) -> bool {
    let alarms = e.design.stop_alarms.iter().filter_map(|arn| alarm(snapshot, cx, arn));
    alarms.into_iter().any(|alarm| alarm.state == AlarmState::Alarm)
}

/// Whether `step` would change something, and when to look again if not.
pub fn due(snapshot: &Snapshot, cx: &Context, e: &Experiment) -> (bool, Option<Timestamp>) {
    if let Some(ended) = e.ended_at {
        let until = ended.plus(REMEMBERED);
        return (until <= cx.now, Some(until));
    }
    if e.status != Status::Running || is_stopped_by_alarm(snapshot, cx, e) {
        return (true, None);
    }
    let mut wake: Option<Timestamp> = None;
    let mut all_over = true;
    for (name, run) in &e.runs {
        match run.status {
            Status::Pending if may_begin(e, name) => return (true, None),
            Status::Pending => all_over = false,
            Status::Running => {
                all_over = false;
                match progress(snapshot, cx, e, name, run) {
                    Progress::Waits(None) => {}
                    Progress::Waits(Some(at)) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                    _ => return (true, None),
                }
            }
            _ => {}
        }
    }
    (all_over, wake)
}

fn may_begin(e: &Experiment, name: &str) -> bool {
    let after = &e.design.actions[name].start_after;
    after.iter().all(|other| {
        let run = e.runs.get(other);
        run.is_some_and(|run| matches!(run.status, Status::Completed | Status::Skipped))
    })
}

/// Ids of the instances that an action is for.
fn ids<'a>(e: &'a Experiment, name: &str) -> &'a [String] {
    let target = e.design.actions[name].targets.values().next();
    target.and_then(|target| e.resolved.get(target)).map_or(&[], Vec::as_slice)
}

fn what(e: &Experiment, name: &str) -> Option<What> {
    action::what(&e.design.actions[name]).ok()
}

enum Progress {
    Done,
    Waits(Option<Timestamp>),
    /// Stopped instances are to be started.
    Restart,
    Fails(String),
}

fn progress(snapshot: &Snapshot, cx: &Context, e: &Experiment, name: &str, run: &Run) -> Progress {
    let find = |id: &String| snapshot.get::<Instance>(&cx.key(id));
    let instances: Vec<Arc<Instance>> = ids(e, name).iter().filter_map(find).collect();
    let all = |state: InstanceState| {
        instances.iter().all(|i| i.state() == state || i.state() == InstanceState::Terminated)
    };
    let done = |is: bool| if is { Progress::Done } else { Progress::Waits(None) };
    match what(e, name) {
        None => Progress::Fails("The action is no longer known.".to_owned()),
        Some(What::Reboot) => Progress::Done,
        Some(What::Terminate) => done(all(InstanceState::Terminated)),
        Some(What::Interrupt { .. }) => done(instances.iter().all(|i| {
            let interruption = spot::ops::of(snapshot, cx, i).and_then(|r| r.interruption.clone());
            interruption.is_none_or(|i| i.done) || i.state() != InstanceState::Running
        })),
        Some(What::Stop { restart_after: None, .. }) => done(all(InstanceState::Stopped)),
        Some(What::Stop { restart_after: Some(after), may_be_terminated }) => {
            let ended = instances.iter().any(|i| i.state() == InstanceState::Terminated);
            let back = run.started_at.unwrap_or(cx.now).plus(after);
            match (run.restarted, ended) {
                (_, true) if !may_be_terminated => {
                    Progress::Fails("A target instance was terminated meanwhile.".to_owned())
                }
                (true, _) => done(all(InstanceState::Running)),
                (false, _) if back > cx.now => Progress::Waits(Some(back)),
                (false, _) if all(InstanceState::Stopped) => Progress::Restart,
                (false, _) => Progress::Waits(None),
            }
        }
    }
}

/// Takes the steps that are due.
pub fn step(tx: &mut Tx, cx: &Context, id: &str) {
    let Some(known) = tx.get::<Experiment>(&cx.key(id)) else { return };
    if !due(tx, cx, &known).0 {
        return;
    }
    if known.ended_at.is_some() {
        tx.delete::<Experiment>(&cx.key(id));
        return;
    }
    let mut e = Experiment::clone(&known);
    match e.status {
        Status::Initiating | Status::Pending => initiate(tx, cx, &mut e),
        Status::Stopping => halt(tx, cx, &mut e),
        _ if is_stopped_by_alarm(tx, cx, &e) => {
            e.status = Status::Stopping;
            e.reason = "Experiment halted by stop condition.".to_owned();
        }
        _ => advance(tx, cx, &mut e),
    }
    tx.put(e);
}

fn end(e: &mut Experiment, cx: &Context, status: Status, reason: impl Into<String>) {
    e.status = status;
    e.reason = reason.into();
    e.ended_at = Some(cx.now);
    for run in e.runs.values_mut().filter(|run| run.status == Status::Pending) {
        run.status = Status::Cancelled;
        run.reason = "Action was cancelled.".to_owned();
    }
}

fn initiate(tx: &mut Tx, cx: &Context, e: &mut Experiment) {
    let Some(acting) = acting(tx, cx, &e.design.role_arn, &e.arn()) else {
        let reason = format!("Unable to assume role {}.", e.design.role_arn);
        return end(e, cx, Status::Failed, reason);
    };
    for (name, wanted) in &e.design.targets {
        if wanted.arns.is_empty()
            && let Err(denied) = ops::may(tx, &acting, "DescribeInstances", &[])
        {
            let reason = format!("Target resolution failed for target {name}: {denied}");
            return end(e, cx, Status::Failed, reason);
        }
        e.resolved.insert(name.clone(), target::resolve(tx, cx, wanted));
    }
    let empty = |name: &String| ids(e, name).is_empty();
    let without: Vec<String> = e.runs.keys().filter(|name| empty(name)).cloned().collect();
    if let Some(name) = without.first().filter(|_| !e.design.skip_empty && !e.preview) {
        let reason = format!("Target resolution returned empty set for action {name}.");
        return end(e, cx, Status::Failed, reason);
    }
    for (name, run) in &mut e.runs {
        if e.preview || without.contains(name) {
            run.status = Status::Skipped;
            run.reason = match e.preview {
                true => "Action was skipped.".to_owned(),
                false => "Action was skipped because its target is empty.".to_owned(),
            };
        }
    }
    e.status = Status::Running;
    e.reason = "Experiment is running.".to_owned();
    e.started_at = Some(cx.now);
}

fn advance(tx: &mut Tx, cx: &Context, e: &mut Experiment) {
    let names: Vec<String> = e.runs.keys().cloned().collect();
    let acting = acting(tx, cx, &e.design.role_arn, &e.arn());
    let as_role = |acting: &Option<Context>| {
        acting.clone().ok_or_else(|| format!("Unable to assume role {}.", e.design.role_arn))
    };
    let mut runs = e.runs.clone();
    for name in &names {
        let run = runs.get_mut(name).expect("it is one of them");
        match run.status {
            Status::Pending if may_begin(e, name) => {
                run.started_at = Some(cx.now);
                let begun = as_role(&acting).and_then(|acting| begin(tx, &acting, e, name));
                match begun {
                    Ok(()) => {
                        run.status = Status::Running;
                        run.reason = "Action is running.".to_owned();
                    }
                    Err(reason) => over(run, cx, Status::Failed, &reason),
                }
            }
            Status::Running => match progress(tx, cx, e, name, run) {
                Progress::Done => over(run, cx, Status::Completed, "Action was completed."),
                Progress::Waits(_) => {}
                Progress::Fails(reason) => over(run, cx, Status::Failed, &reason),
                Progress::Restart => {
                    match as_role(&acting).and_then(|acting| restart(tx, &acting, ids(e, name))) {
                        Ok(()) => run.restarted = true,
                        Err(reason) => over(run, cx, Status::Failed, &reason),
                    }
                }
            },
            _ => {}
        }
    }
    e.runs = runs;
    let is = |status: Status| e.runs.values().any(|run| run.status == status);
    match (is(Status::Failed), is(Status::Running), is(Status::Pending)) {
        (true, false, _) => {
            let failed = e.runs.values().find(|run| run.status == Status::Failed);
            let reason = failed.map(|run| run.reason.clone()).unwrap_or_default();
            end(e, cx, Status::Failed, reason);
        }
        // What has not begun will not; what runs is waited for.
        (true, true, _) => {
            for run in e.runs.values_mut().filter(|run| run.status == Status::Pending) {
                over(run, cx, Status::Cancelled, "Action was cancelled.");
            }
        }
        (false, false, false) => end(e, cx, Status::Completed, "Experiment completed."),
        _ => {}
    }
}

fn over(run: &mut Run, cx: &Context, status: Status, reason: &str) {
    run.status = status;
    // Reasons are at most 512 characters.
    run.reason = reason.chars().take(512).collect();
    run.ended_at = Some(cx.now);
}

fn begin(tx: &mut Tx, acting: &Context, e: &Experiment, name: &str) -> Result<(), String> {
    let what = what(e, name).ok_or("The action is no longer known.")?;
    let ids = ids(e, name);
    ops::may(tx, acting, what.right(), ids)?;
    let done = match what {
        What::Interrupt { after } => {
            ids.iter().try_for_each(|id| spot::ops::interrupt(tx, acting, id, after))
        }
        What::Stop { .. } => instance::ops::stop(tx, acting, ids, false).map(drop),
        What::Terminate => instance::ops::terminate(tx, acting, ids, false).map(drop),
        What::Reboot => instance::ops::reboot(tx, acting, ids),
    };
    done.map_err(|error| error.to_string())
}

fn restart(tx: &mut Tx, acting: &Context, ids: &[String]) -> Result<(), String> {
    let alive = |id: &&String| {
        let found = tx.get::<Instance>(&acting.key(id));
        found.is_some_and(|i| i.is_alive())
    };
    let ids: Vec<String> = ids.iter().filter(alive).cloned().collect();
    ops::may(tx, acting, "StartInstances", &ids)?;
    instance::ops::start(tx, acting, &ids).map(drop).map_err(|error| error.to_string())
}

/// Takes back what can be taken back: notices that are not out yet, and stops that would end by themselves.
fn halt(tx: &mut Tx, cx: &Context, e: &mut Experiment) {
    let acting = acting(tx, cx, &e.design.role_arn, &e.arn());
    let names: Vec<String> = e.runs.keys().cloned().collect();
    for name in &names {
        if e.runs[name].status != Status::Running {
            continue;
        }
        match (what(e, name), &acting) {
            (Some(What::Interrupt { .. }), Some(acting)) => {
                ids(e, name).iter().for_each(|id| spot::ops::withdraw(tx, acting, id));
            }
            (Some(What::Stop { restart_after: Some(_), .. }), Some(acting))
                if !e.runs[name].restarted =>
            {
                // One that is not down yet stays as its user finds it.
                let _ = restart(tx, acting, ids(e, name));
            }
            _ => {}
        }
        let run = e.runs.get_mut(name).expect("it is one of them");
        over(run, cx, Status::Stopped, "Action was stopped.");
    }
    let reason = e.reason.clone();
    end(e, cx, Status::Stopped, reason);
}

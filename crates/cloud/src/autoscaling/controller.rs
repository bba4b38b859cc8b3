//! Keeps every group as it should be: looks, plans and acts in one transaction for each group, then
//! asks the scaling policies. Remembers nothing between rounds.

use std::collections::BTreeSet;
use std::time::Duration;

use compute::driver::BoxFuture;
use store::Snapshot;

use super::act::{self, Failure};
use super::model::{Group, Member, Policy, Process};
use super::policy::{self, Decision, Input, LOW_PERIODS, PERIOD};
use super::{observe, ops, plan, policies};
use crate::clock::Timestamp;
use crate::cloudwatch::alarm::{Alarm, State};
use crate::controller::{Controller, Error};
use crate::{Context, Env};

pub struct AutoScaling;

impl Controller for AutoScaling {
    fn name(&self) -> &'static str {
        "autoscaling"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(reconcile(env))
    }
}

async fn reconcile(env: &Env) -> Result<Option<Duration>, Error> {
    let owners: BTreeSet<(String, String)> = env
        .store
        .read()
        .scan::<Group>("")
        .map(|group| (group.account.clone(), group.region.clone()))
        .collect();
    let mut wake = None;
    for (account, region) in owners {
        let cx = Context::service(env, &account, &region, "autoscaling.amazonaws.com");
        let names: Vec<String> =
            env.store.read().scan::<Group>(&cx.prefix()).map(|g| g.name.clone()).collect();
        for name in names {
            wake = sooner(wake, tend(&cx, &name).await?);
        }
    }
    Ok(wake)
}

fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    [a, b].into_iter().flatten().min()
}

async fn tend(cx: &Context, name: &str) -> Result<Option<Duration>, Error> {
    settle(cx, name).await?;
    if let Some((seen, decision)) = decide(&cx.read(), cx, name) {
        resize(cx, &seen, &decision).await?;
        settle(cx, name).await?;
    }
    let snapshot = cx.read();
    let Some(group) = snapshot.get::<Group>(&cx.key(name)) else { return Ok(None) };
    let members = observe::members_of(&snapshot, cx, name);
    let view = observe::view(&snapshot, cx, &group, &members);
    let standing = alarms(&snapshot, cx, name).any(|alarm| alarm.state == State::Alarm);
    let next_period = standing.then(|| policy::next_period(cx.now) + Duration::from_millis(1));
    Ok(sooner(plan::wake(&view), next_period))
}

/// Acts until the plan has nothing left. A launch that is refused half written takes back everything
/// that was to be written with it; it is told, its zone rests, and the plan is made again without it.
async fn settle(cx: &Context, name: &str) -> Result<(), Error> {
    loop {
        let snapshot = cx.read();
        let Some(group) = snapshot.get::<Group>(&cx.key(name)) else { return Ok(()) };
        let members = observe::members_of(&snapshot, cx, name);
        if plan::plan(&observe::view(&snapshot, cx, &group, &members)).is_empty() {
            return Ok(());
        }
        match cx.write(|tx| act::settle(tx, cx, name)).await {
            Ok(_) => return Ok(()),
            Err(Failure::Refused(refused)) => {
                tracing::debug!(group = name, zone = refused.zone, "{}", refused.error);
                cx.write(|tx| {
                    act::record(tx, cx, name, &refused);
                    Ok::<_, store::Error>(())
                })
                .await?;
            }
            Err(Failure::Store(error)) => return Err(error.into()),
            Err(Failure::Other(message)) => return Err(Error(message)),
        }
    }
}

fn alarms(snapshot: &Snapshot, cx: &Context, group: &str) -> impl Iterator<Item = Alarm> {
    let names = policies::list(snapshot, cx, Some(group))
        .into_iter()
        .filter(|policy| policy.enabled)
        .flat_map(|policy| policies::alarms_of(&policy));
    names.filter_map(|(name, _)| snapshot.get::<Alarm>(&cx.key(&name))).map(|a| Alarm::clone(&a))
}

/// What the policies decide, and the group they saw.
fn decide(snapshot: &Snapshot, cx: &Context, name: &str) -> Option<(Group, Decision)> {
    let group = snapshot.get::<Group>(&cx.key(name))?;
    if !group.runs(Process::AlarmNotification) || group.deleting.is_some() {
        return None;
    }
    let policies = policies::list(snapshot, cx, Some(name));
    let state = |alarm: &str| {
        let alarm = snapshot.get::<Alarm>(&cx.key(alarm));
        alarm.map_or(State::InsufficientData, |alarm| alarm.state)
    };
    let values: Vec<Vec<Option<f64>>> =
        policies.iter().map(|policy| measured(cx, policy, cx.now)).collect();
    let inputs: Vec<Input<'_>> = policies
        .iter()
        .zip(&values)
        .map(|(policy, values)| Input {
            policy,
            high: state(&policy.alarm_high),
            low: policy.alarm_low.as_deref().map_or(State::InsufficientData, state),
            values,
        })
        .collect();
    let members = observe::members_of(snapshot, cx, name);
    let members: Vec<&Member> = members.iter().map(|member| &**member).collect();
    let decision = policy::decide(&group, &members, &inputs, cx.now)?;
    Some((Group::clone(&group), decision))
}

fn measured(cx: &Context, policy: &Policy, now: Timestamp) -> Vec<Option<f64>> {
    let (metric, statistic) = policies::metric_of(policy);
    let count = LOW_PERIODS as usize;
    let periods = cx.env.metrics.periods(&cx.account, &cx.region, &metric, PERIOD, count, now);
    periods.into_iter().map(|period| period.map(|p| p.get(statistic))).collect()
}

async fn resize(cx: &Context, seen: &Group, decision: &Decision) -> Result<(), Error> {
    let Decision { desired, policy, alarm } = decision;
    cx.write(|tx| {
        // Somebody else may have resized it meanwhile: then the next round decides anew.
        let group = tx.get::<Group>(&cx.key(&seen.name)).filter(|group| **group == *seen);
        if let Some(group) = group {
            let mut group = Group::clone(&group);
            let what = format!(
                "a monitor alarm {alarm} in state ALARM triggered policy {policy} changing the \
                 desired capacity"
            );
            ops::resize(&mut group, cx, *desired, &what);
            tx.put(group);
        }
        Ok::<_, store::Error>(())
    })
    .await?;
    tracing::info!(group = seen.name, desired, policy, "scaled by its policy");
    Ok(())
}

//! Does what the plan says, in one transaction with the looking: either all of it is written, with
//! the instances it launches, or nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use store::Tx;

use super::model::{
    ActivityStatus, Backoff, Group, Lifecycle, Member, Place, Preference, Process, Reservations,
    Unhealthy,
};
use super::plan::{self, Action, WhyLaunch, WhyOut};
use super::{activity, observe, ops};
use crate::ec2::capacity_reservation::{self, Specification, usage};
use crate::ec2::instance::launch::{Launch, Template};
use crate::ec2::placement_group::Named;
use crate::ec2::{self, launch_template};
use crate::tag::Tags;
use crate::{Context, elbv2};

/// Plans need no more than a few rounds; more would be a fault of the plan's.
const MAX_ROUNDS: usize = 20;

/// A launch that EC2 refused. Nothing was written; `record` writes what there is to say.
#[derive(Debug)]
pub struct Refused {
    pub zone: String,
    pub why: WhyLaunch,
    pub error: ec2::Error,
}

#[derive(Debug)]
pub enum Failure {
    Refused(Refused),
    Store(store::Error),
    /// Another service refused what must be possible.
    Other(String),
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        Failure::Store(error)
    }
}

impl From<elbv2::Error> for Failure {
    fn from(error: elbv2::Error) -> Failure {
        Failure::Other(error.to_string())
    }
}

/// Looks, plans and acts until there is nothing to do. Whether there was anything.
pub fn settle(tx: &mut Tx, cx: &Context, name: &str) -> Result<bool, Failure> {
    for round in 0..MAX_ROUNDS {
        let Some(group) = tx.get::<Group>(&cx.key(name)) else { return Ok(round > 0) };
        let members = observe::members_of(tx, cx, name);
        let actions = plan::plan(&observe::view(tx, cx, &group, &members));
        if actions.is_empty() {
            return Ok(round > 0);
        }
        apply(tx, cx, &group, actions)?;
    }
    Err(Failure::Other(format!("the plan of group {name} does not end")))
}

fn apply(tx: &mut Tx, cx: &Context, group: &Group, actions: Vec<Action>) -> Result<(), Failure> {
    let mut launches: BTreeMap<String, (WhyLaunch, u32)> = BTreeMap::new();
    for action in actions {
        match action {
            Action::Launch { zone, why } => launches.entry(zone).or_insert((why, 0)).1 += 1,
            Action::Register { instance_id, target_groups } => {
                register(tx, cx, &instance_id, &target_groups)?;
            }
            Action::Deregister { instance_id, target_groups } => {
                deregister(tx, cx, &instance_id, &target_groups)?;
                update(tx, cx, &instance_id, |member| {
                    member.registered.retain(|arn| !target_groups.contains(arn));
                });
            }
            Action::EnterService { instance_id } => enter_service(tx, cx, group, &instance_id),
            Action::Settle { instance_id } => {
                update(tx, cx, &instance_id, |member| member.newcomer = false);
            }
            Action::MarkUnhealthy { instance_id, why } => {
                update(tx, cx, &instance_id, |member| member.unhealthy = Some(why));
            }
            Action::TakeOut { instance_id, why } => {
                let Some(member) = member(tx, cx, &instance_id) else { continue };
                let cause = activity::cause_of_end(group, &instance_id, why, cx.now);
                take_out(tx, cx, group, &member, cause)?;
                if let WhyOut::Capacity { .. } = why {
                    told(tx, cx, &group.name);
                }
            }
            Action::Terminate { instance_id } => terminate(tx, cx, &instance_id),
            Action::Forget { instance_id } => forget(tx, cx, &group.name, &instance_id),
            Action::DeleteGroup => ops::forget_group(tx, cx, group),
        }
    }
    for (zone, (why, count)) in launches {
        launch(tx, cx, group, &zone, &why, count)
            .map_err(|error| Failure::Refused(Refused { zone, why, error }))?;
    }
    Ok(())
}

fn member(tx: &Tx, cx: &Context, instance_id: &str) -> Option<Member> {
    tx.get::<Member>(&cx.key(instance_id)).map(|member| Member::clone(&member))
}

fn update(tx: &mut Tx, cx: &Context, instance_id: &str, change: impl FnOnce(&mut Member)) {
    if let Some(mut member) = member(tx, cx, instance_id) {
        change(&mut member);
        tx.put(member);
    }
}

fn update_group(tx: &mut Tx, cx: &Context, name: &str, change: impl FnOnce(&mut Group)) {
    if let Some(group) = tx.get::<Group>(&cx.key(name)) {
        let mut next = Group::clone(&group);
        change(&mut next);
        if next != *group {
            tx.put(next);
        }
    }
}

/// An activity told why capacity changed; the next one has other reasons.
fn told(tx: &mut Tx, cx: &Context, group: &str) {
    update_group(tx, cx, group, |group| group.change = None);
}

fn launch(
    tx: &mut Tx,
    cx: &Context,
    group: &Group,
    zone: &str,
    why: &WhyLaunch,
    count: u32,
) -> ec2::Result<()> {
    let place = place(group, zone);
    let version = group.launch_template.version.clone();
    let template = Template { id: Some(group.launch_template.id.clone()), name: None, version };
    // Resolved here, so that the member's record and its instance tell of the same version.
    let resolved = launch_template::ops::resolve(tx, cx, &template)?;
    let version = resolved.version_number;
    let mut tags: Tags = group
        .tags
        .iter()
        .filter(|(_, tag)| tag.propagate_at_launch)
        .map(|(key, tag)| (key.clone(), tag.value.clone()))
        .collect();
    tags.insert("aws:autoscaling:groupName".to_owned(), group.name.clone());
    let launch = Launch {
        // What a zone has room for is taken; `short` tells of the rest.
        min_count: 1,
        zone: Some(zone.to_owned()),
        subnet_id: Some(place.subnet_id.clone()),
        placement_group: group
            .placement_group
            .clone()
            .map(|name| Named { name: Some(name), id: None }),
        tags: [("instance".to_owned(), tags)].into(),
        template: Some(Template { version: Some(version.to_string()), ..template }),
        ..Launch::default()
    };
    let instance_type = resolved.launch.instance_type.unwrap_or_default();
    for (wanted, count) in shares(tx, cx, group, zone, &instance_type, count) {
        let launch = Launch { max_count: count, capacity_reservation: wanted, ..launch.clone() };
        if !begin(tx, cx, group, zone, why, version, &launch)? {
            break;
        }
    }
    Ok(())
}

/// How many of those that are launched in a zone want what of capacity reservations.
fn shares(
    tx: &Tx,
    cx: &Context,
    group: &Group,
    zone: &str,
    instance_type: &str,
    count: u32,
) -> Vec<(Option<Specification>, u32)> {
    let Some(Reservations { preference, targets }) = &group.reservations else {
        return vec![(None, count)];
    };
    let prefer = |preference| Specification { preference: Some(preference), target: None };
    let target = |id: &String| Specification { preference: None, target: Some(id.clone()) };
    let (mut shares, mut left) = (Vec::new(), count);
    for id in targets {
        let open = usage::open_to(tx, cx, zone, instance_type, &target(id));
        let share = open.first().map_or(0, |(_, available)| left.min(*available));
        if share > 0 {
            shares.push((Some(target(id)), share));
            left -= share;
        }
    }
    let rest = match preference {
        Preference::None => Specification::NONE,
        Preference::First => prefer(capacity_reservation::Preference::Open),
        Preference::Only => {
            targets.first().map_or(prefer(capacity_reservation::Preference::Only), target)
        }
    };
    if left > 0 {
        shares.push((Some(rest), left));
    }
    shares
}

/// Whether all of a launch came to be.
fn begin(
    tx: &mut Tx,
    cx: &Context,
    group: &Group,
    zone: &str,
    why: &WhyLaunch,
    version: u64,
    launch: &Launch,
) -> ec2::Result<bool> {
    let place = place(group, zone);
    // Seen before anything is written, a refusal takes nothing else back.
    if let Some(error) = ec2::instance::ops::refusal(tx, cx, launch) {
        record(tx, cx, &group.name, &Refused { zone: zone.to_owned(), why: why.clone(), error });
        return Ok(false);
    }
    let reservation = ec2::instance::ops::run(tx, cx, launch)?;
    let cause = activity::cause_of_launch(group, why, cx.now);
    let short = launch.max_count - reservation.instances.len() as u32;
    for instance in reservation.instances {
        let mut member = Member {
            account: group.account.clone(),
            region: group.region.clone(),
            instance_id: instance.id,
            group: group.name.clone(),
            zone: zone.to_owned(),
            instance_type: instance.instance_type,
            image_id: instance.image_id,
            template: group.launch_template.clone(),
            template_version: version,
            launched: cx.now,
            lifecycle: Lifecycle::Pending,
            in_service_since: None,
            unhealthy: None,
            protected: group.new_instances_protected,
            newcomer: matches!(why, WhyLaunch::Rebalance { .. }),
            registered: Default::default(),
            unregistered: !group.runs(Process::AddToLoadBalancer),
            activity: None,
            terminated: false,
        };
        let subnet_id = &place.subnet_id;
        let key = activity::begin_launch(tx, cx, group, &member, subnet_id, cause.clone());
        member.activity = Some(key);
        tx.put(member);
    }
    if let WhyLaunch::Capacity { .. } = why {
        told(tx, cx, &group.name);
    }
    let refusal = (short > 0).then(|| ec2::instance::ops::refusal(tx, cx, launch)).flatten();
    if let Some(error) = refusal {
        let refused = Refused { zone: zone.to_owned(), why: why.clone(), error };
        record(tx, cx, &group.name, &refused);
    }
    Ok(short == 0)
}

fn place<'a>(group: &'a Group, zone: &str) -> &'a Place {
    let place = group.places.iter().find(|place| place.zone == zone);
    place.expect("the plan launches in the group's zones only")
}

/// Writes a launch that failed, and when to try again.
pub fn record(tx: &mut Tx, cx: &Context, name: &str, refused: &Refused) {
    let Some(group) = tx.get::<Group>(&cx.key(name)) else { return };
    let Some(place) = group.places.iter().find(|place| place.zone == refused.zone) else { return };
    let cause = activity::cause_of_launch(&group, &refused.why, cx.now);
    let refusal = refused.error.to_string();
    activity::failed_launch(tx, cx, &group, &refused.zone, &place.subnet_id, cause, &refusal);
    let of_zone = refused.error.is_of_zone();
    // Anything else than a full zone would be refused in every zone.
    let zones: Vec<String> = group
        .places
        .iter()
        .map(|place| place.zone.clone())
        .filter(|zone| !of_zone || *zone == refused.zone)
        .collect();
    back_off(tx, cx, name, &zones);
}

fn back_off(tx: &mut Tx, cx: &Context, name: &str, zones: &[String]) {
    update_group(tx, cx, name, |group| {
        for zone in zones {
            let failures = group.backoff.get(zone).map_or(0, |backoff| backoff.failures) + 1;
            let until = cx.now.plus(delay(failures));
            group.backoff.insert(zone.clone(), Backoff { failures, until });
        }
    });
}

/// 10 seconds after the first failure, twice as long after each further one, at most 5 minutes.
fn delay(failures: u32) -> Duration {
    let doubled = 10_u64.saturating_mul(1 << failures.saturating_sub(1).min(10));
    Duration::from_secs(doubled.min(300))
}

fn register(
    tx: &mut Tx,
    cx: &Context,
    instance_id: &str,
    target_groups: &[String],
) -> Result<(), Failure> {
    for target_group in target_groups {
        elbv2::ops::register(tx, cx, target_group, &[(instance_id.to_owned(), None)])?;
    }
    update(tx, cx, instance_id, |member| member.registered.extend(target_groups.iter().cloned()));
    Ok(())
}

/// Target groups that are no more are left out.
fn deregister(
    tx: &mut Tx,
    cx: &Context,
    instance_id: &str,
    target_groups: &[String],
) -> Result<(), Failure> {
    for target_group in target_groups {
        let is_target =
            elbv2::ops::targets(tx, cx, target_group).iter().any(|t| t.id == instance_id);
        if is_target {
            elbv2::ops::deregister(tx, cx, target_group, &[(instance_id.to_owned(), None)])?;
        }
    }
    Ok(())
}

fn enter_service(tx: &mut Tx, cx: &Context, group: &Group, instance_id: &str) {
    let Some(mut member) = member(tx, cx, instance_id) else { return };
    member.lifecycle = Lifecycle::InService;
    member.in_service_since = Some(cx.now);
    if let Some(key) = member.activity.take() {
        activity::end(tx, cx, &key, ActivityStatus::Successful, None);
    }
    let zone = member.zone.clone();
    tx.put(member);
    update_group(tx, cx, &group.name, |group| {
        group.last_scaled = Some(cx.now);
        // A launch that was refused since then still counts: the zone may be full by now.
        if group.backoff.get(&zone).is_some_and(|backoff| backoff.until <= cx.now) {
            group.backoff.remove(&zone);
        }
    });
}

/// The first step of every end: out of the balancers' rotation, counted no more.
pub fn take_out(
    tx: &mut Tx,
    cx: &Context,
    group: &Group,
    member: &Member,
    cause: String,
) -> Result<super::model::Activity, Failure> {
    let registered: Vec<String> = member.registered.iter().cloned().collect();
    deregister(tx, cx, &member.instance_id, &registered)?;
    if let Some(key) = &member.activity {
        let (status, message) = match member.unhealthy {
            Some(_) => {
                let message = "Instance became unhealthy while waiting for instance to be in \
                               InService state.";
                (ActivityStatus::Failed, Some(message.to_owned()))
            }
            None => (ActivityStatus::Cancelled, None),
        };
        activity::end(tx, cx, key, status, message);
    }
    if member.lifecycle == Lifecycle::Pending && member.unhealthy == Some(Unhealthy::NotRunning) {
        back_off(tx, cx, &group.name, std::slice::from_ref(&member.zone));
    }
    let activity = activity::begin_end(tx, cx, group, member, cause, !registered.is_empty());
    tx.put(Member {
        lifecycle: Lifecycle::Terminating,
        newcomer: false,
        activity: Some(store::Record::key(&activity)),
        ..member.clone()
    });
    Ok(activity)
}

fn terminate(tx: &mut Tx, cx: &Context, instance_id: &str) {
    // EC2 refuses only what it does not know any more; the next look sees that.
    let _ = ec2::instance::ops::terminate(tx, cx, &[instance_id.to_owned()], false);
    let Some(mut member) = member(tx, cx, instance_id) else { return };
    if let Some(key) = &member.activity {
        activity::drained(tx, key);
    }
    member.terminated = true;
    tx.put(member);
}

fn forget(tx: &mut Tx, cx: &Context, group: &str, instance_id: &str) {
    let Some(member) = member(tx, cx, instance_id) else { return };
    if let Some(key) = &member.activity {
        activity::end(tx, cx, key, ActivityStatus::Successful, None);
    }
    tx.delete::<Member>(&cx.key(instance_id));
    update_group(tx, cx, group, |group| group.last_scaled = Some(cx.now));
}

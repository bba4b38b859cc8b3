//! What users ask of groups and their instances: each call checks, then writes intent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::act::{self, Failure};
use super::activity::at;
use super::model::{
    Activity, Group, LaunchTemplate, Lifecycle, Member, Place, Policy, Process, Reservations, Tag,
    TerminationPolicy, Unhealthy, seconds,
};
use super::{Error, Result, observe, policies};
use crate::ec2::capacity_reservation::CapacityReservation;
use crate::ec2::instance::launch::Template;
use crate::ec2::{launch_template, placement_group, resource, vpc};
use crate::{Context, elbv2, id, zone};

/// AWS's default quota of groups in a region.
pub const MAX_GROUPS: usize = 500;
/// MaxInstanceLifetime: "Valid Range: Minimum value of 0", of which 1 to 86399 are refused.
const MIN_LIFETIME_SECONDS: i32 = 86_400;
const DEFAULT_COOLDOWN_SECONDS: i32 = 300;

/// What Create and Update say of a group. `None`: not said.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub min: Option<i32>,
    pub max: Option<i32>,
    pub desired: Option<i32>,
    pub default_cooldown: Option<i32>,
    pub zones: Option<Vec<String>>,
    pub subnets: Option<String>,
    /// By its name; the empty one takes it away.
    pub placement_group: Option<String>,
    /// `Some(None)`: as the launch template says.
    pub reservations: Option<Option<Reservations>>,
    pub template: Option<Template>,
    pub health_check_type: Option<String>,
    pub grace: Option<i32>,
    pub new_instances_protected: Option<bool>,
    pub termination_policies: Option<Vec<String>>,
    pub max_instance_lifetime: Option<i32>,
    /// -1 takes it away.
    pub default_warmup: Option<i32>,
}

pub fn group(snapshot: &Snapshot, cx: &Context, name: &str) -> Result<Arc<Group>> {
    snapshot.get::<Group>(&cx.key(name)).ok_or_else(Error::no_group)
}

/// A group that is not about to be deleted.
pub fn standing(snapshot: &Snapshot, cx: &Context, name: &str) -> Result<Group> {
    let group = group(snapshot, cx, name)?;
    if group.deleting.is_some() {
        return Err(Error::ScalingActivityInProgress(format!(
            "AutoScalingGroup {name} is being deleted."
        )));
    }
    Ok(Group::clone(&group))
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    settings: &Settings,
    target_groups: Vec<String>,
    tags: BTreeMap<String, Tag>,
) -> Result<()> {
    if name.is_empty() || name.chars().count() > 255 || name.contains(':') {
        return Err(Error::validation(
            "AutoScalingGroup name must have 1 to 255 characters and no colon.",
        ));
    }
    if tx.get::<Group>(&cx.key(name)).is_some() {
        return Err(Error::AlreadyExists(name.to_owned()));
    }
    let count = tx.scan::<Group>(&cx.prefix()).count();
    if count >= MAX_GROUPS {
        return Err(Error::LimitExceeded(format!(
            "You have exceeded the limit of {MAX_GROUPS} AutoScalingGroups."
        )));
    }
    if settings.template.is_none() {
        return Err(Error::validation(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId \
             or MixedInstancesPolicy parameter.",
        ));
    }
    if settings.zones.is_none() && settings.subnets.is_none() {
        return Err(Error::validation("At least one Availability Zone or VPC Subnet is required."));
    }
    super::tags::check(&tags)?;
    let mut group = Group {
        account: cx.account.clone(),
        region: cx.region.clone(),
        name: name.to_owned(),
        uuid: id::uuid(&cx.env.rng),
        created: cx.now,
        min: settings.min.unwrap_or(0),
        max: settings.max.unwrap_or(0),
        desired: settings.desired.or(settings.min).unwrap_or(0),
        default_cooldown_seconds: DEFAULT_COOLDOWN_SECONDS,
        places: vec![],
        by_subnet: false,
        placement_group: None,
        reservations: None,
        launch_template: LaunchTemplate { id: String::new(), name: String::new(), version: None },
        target_groups: vec![],
        elb_health: false,
        grace_seconds: 0,
        new_instances_protected: false,
        termination_policies: vec![TerminationPolicy::Default],
        max_instance_lifetime_seconds: None,
        default_warmup_seconds: None,
        suspended: BTreeMap::new(),
        tags,
        deleting: None,
        change: None,
        last_scaled: None,
        backoff: BTreeMap::new(),
    };
    apply(tx, cx, &mut group, settings)?;
    attach(tx, cx, &mut group, &target_groups)?;
    if group.desired > 0 {
        let what = "a user request created an AutoScalingGroup changing the desired capacity";
        group.changed(&at(cx.now, &format!("{what} from 0 to {}.", group.desired)));
    }
    tx.put(group);
    Ok(())
}

pub fn update(tx: &mut Tx, cx: &Context, name: &str, settings: &Settings) -> Result<()> {
    let before = standing(tx, cx, name)?;
    let mut group = before.clone();
    group.min = settings.min.unwrap_or(group.min);
    group.max = settings.max.unwrap_or(group.max);
    // A capacity that was not asked for follows its bounds.
    let followed = || before.desired.min(group.max).max(group.min);
    group.desired = settings.desired.unwrap_or_else(followed);
    apply(tx, cx, &mut group, settings)?;
    if group.desired != before.desired {
        let what = format!(
            "a user request update of AutoScalingGroup constraints to min: {}, max: {}, desired: {} \
             changing the desired capacity from {} to {}.",
            group.min, group.max, group.desired, before.desired, group.desired
        );
        group.changed(&at(cx.now, &what));
        group.last_scaled = Some(cx.now);
    }
    if group != before {
        // What was wrong with the launches may be right now.
        group.backoff.clear();
        tx.put(group);
    }
    Ok(())
}

/// Checks everything said but sizes' presence, and takes it over. Sizes are set already.
fn apply(tx: &Tx, cx: &Context, group: &mut Group, settings: &Settings) -> Result<()> {
    check_sizes(group)?;
    if let Some(cooldown) = settings.default_cooldown {
        group.default_cooldown_seconds = not_negative("DefaultCooldown", cooldown)?;
    }
    if settings.zones.is_some() || settings.subnets.is_some() {
        let zones = settings.zones.as_deref().unwrap_or_default();
        group.places = places(tx, cx, zones, settings.subnets.as_deref())?;
        group.by_subnet = settings.subnets.as_ref().is_some_and(|subnets| !subnets.is_empty());
    }
    if let Some(name) = &settings.placement_group {
        group.placement_group = None;
        if !name.is_empty() {
            placement_group::ops::by_name(tx, cx, name)
                .map_err(|error| Error::validation(error.to_string()))?;
            group.placement_group = Some(name.clone());
        }
    }
    if let Some(reservations) = &settings.reservations {
        for id in reservations.iter().flat_map(|reservations| &reservations.targets) {
            resource::find::<CapacityReservation>(tx, cx, id)
                .map_err(|error| Error::validation(error.to_string()))?;
        }
        group.reservations = reservations.clone();
    }
    if let Some(template) = &settings.template {
        group.launch_template = launch_template(tx, cx, template)?;
    }
    match settings.health_check_type.as_deref() {
        None => {}
        Some("EC2") => group.elb_health = false,
        Some("ELB" | "EC2,ELB" | "ELB,EC2") => group.elb_health = true,
        Some(other) => {
            return Err(Error::validation(format!(
                "Invalid HealthCheckType {other}: this cloud knows EC2 and ELB."
            )));
        }
    }
    if let Some(grace) = settings.grace {
        group.grace_seconds = not_negative("HealthCheckGracePeriod", grace)?;
    }
    if let Some(protected) = settings.new_instances_protected {
        group.new_instances_protected = protected;
    }
    if let Some(names) = settings.termination_policies.as_deref().filter(|p| !p.is_empty()) {
        group.termination_policies = names
            .iter()
            .map(|name| {
                TerminationPolicy::parse(name).ok_or_else(|| {
                    Error::validation(format!("TerminationPolicy {name} is not supported."))
                })
            })
            .collect::<Result<_>>()?;
    }
    match settings.max_instance_lifetime {
        None => {}
        Some(0) => group.max_instance_lifetime_seconds = None,
        Some(n) if n >= MIN_LIFETIME_SECONDS => group.max_instance_lifetime_seconds = Some(n),
        Some(_) => {
            return Err(Error::validation(format!(
                "MaxInstanceLifetime must be 0 or at least {MIN_LIFETIME_SECONDS} seconds."
            )));
        }
    }
    match settings.default_warmup {
        None => {}
        Some(-1) => group.default_warmup_seconds = None,
        Some(n) => {
            group.default_warmup_seconds = Some(not_negative("DefaultInstanceWarmup", n)?);
        }
    }
    Ok(())
}

fn check_sizes(group: &Group) -> Result<()> {
    let Group { min, max, desired, .. } = *group;
    not_negative("MinSize", min)?;
    not_negative("MaxSize", max)?;
    if min > max {
        return Err(Error::validation(format!(
            "Max bound, {max}, must be greater than or equal to min bound, {min}"
        )));
    }
    if !(min..=max).contains(&desired) {
        return Err(Error::validation(format!(
            "Desired capacity:{desired} must be between the specified min size:{min} and max \
             size:{max}"
        )));
    }
    Ok(())
}

fn not_negative(name: &str, n: i32) -> Result<i32> {
    if n < 0 {
        return Err(Error::validation(format!("{name} must be at least 0, but is {n}.")));
    }
    Ok(n)
}

/// One place for each zone, from subnets, zones, or both where they agree.
fn places(
    snapshot: &Snapshot,
    cx: &Context,
    zones: &[String],
    subnets: Option<&str>,
) -> Result<Vec<Place>> {
    let ids = subnets.unwrap_or_default().split(',').map(str::trim).filter(|id| !id.is_empty());
    let mut places: Vec<Place> = Vec::new();
    for subnet_id in ids {
        let subnet = vpc::ops::subnet(snapshot, cx, subnet_id)
            .map_err(|error| Error::validation(error.to_string()))?;
        if places.iter().any(|place| place.subnet_id == subnet.id) {
            continue;
        }
        if places.iter().any(|place| place.zone == subnet.zone) {
            return Err(Error::unsupported("More than one subnet in a zone"));
        }
        places.push(Place { zone: subnet.zone, subnet_id: subnet.id });
    }
    if !places.is_empty() {
        let disagrees = |zone: &&String| !places.iter().any(|place| place.zone == **zone);
        if let Some(zone) = zones.iter().find(disagrees) {
            return Err(Error::validation(format!(
                "The availability zones of the specified subnets and the Auto Scaling group do not \
                 match: {zone} has no subnet."
            )));
        }
        return Ok(places);
    }
    let known = zone::zones(&cx.region, cx.env.config.zones);
    for name in zones {
        let subnet = known
            .iter()
            .any(|zone| zone.name == *name)
            .then(|| vpc::ops::subnet_for_zone(snapshot, cx, name))
            .flatten()
            .ok_or_else(|| Error::validation(format!("Invalid availability zones: [{name}]")))?;
        if !places.iter().any(|place| place.zone == *name) {
            places.push(Place { zone: name.clone(), subnet_id: subnet.id });
        }
    }
    if places.is_empty() {
        return Err(Error::validation("At least one Availability Zone or VPC Subnet is required."));
    }
    Ok(places)
}

fn launch_template(
    snapshot: &Snapshot,
    cx: &Context,
    template: &Template,
) -> Result<LaunchTemplate> {
    if template.id.is_some() == template.name.is_some() {
        return Err(Error::validation(
            "Valid requests must contain either launchTemplateId or LaunchTemplateName",
        ));
    }
    let resolved = launch_template::ops::resolve(snapshot, cx, template)
        .map_err(|error| Error::template(&error))?;
    if resolved.launch.image_id.is_none() {
        return Err(Error::validation(
            "You must use a valid fully-formed launch template. The request must contain the \
             parameter ImageId",
        ));
    }
    Ok(LaunchTemplate {
        id: resolved.template_id,
        name: resolved.template_name,
        version: template.version.clone(),
    })
}

pub fn delete(tx: &mut Tx, cx: &Context, name: &str, force: bool) -> Result<()> {
    let mut group = Group::clone(&*group(tx, cx, name)?);
    let members = observe::members_of(tx, cx, name);
    if members.is_empty() {
        forget_group(tx, cx, &group);
        return Ok(());
    }
    if force {
        if group.deleting.is_none() {
            let what = format!(
                "a user request force deleted AutoScalingGroup changing the desired capacity from {} \
                 to 0.",
                group.desired
            );
            group.changed(&at(cx.now, &what));
            (group.min, group.max, group.desired) = (0, 0, 0);
            group.deleting = Some(cx.now);
            tx.put(group);
        }
        return Ok(());
    }
    if members.iter().any(|member| member.is_active()) {
        return Err(Error::ResourceInUse(
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance \
             request(s) still in the group."
                .to_owned(),
        ));
    }
    Err(Error::ScalingActivityInProgress(
        "You cannot delete an AutoScalingGroup while there are scaling activities in progress for \
         that group."
            .to_owned(),
    ))
}

/// Removes a group without members, and everything that is only the group's; its activities stay.
pub fn forget_group(tx: &mut Tx, cx: &Context, group: &Group) {
    let of_group = Policy::prefix(&cx.account, &cx.region, &group.name);
    let policies: Vec<Arc<Policy>> = tx.scan::<Policy>(&of_group).collect();
    for policy in policies {
        policies::forget(tx, cx, &policy);
    }
    tx.delete::<Group>(&cx.key(&group.name));
}

pub fn set_desired_capacity(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    desired: i32,
    honor_cooldown: bool,
) -> Result<()> {
    let mut group = standing(tx, cx, name)?;
    if desired > group.max {
        return Err(Error::validation(format!(
            "New SetDesiredCapacity value {desired} is above max value {} for the AutoScalingGroup.",
            group.max
        )));
    }
    if desired < group.min {
        return Err(Error::validation(format!(
            "New SetDesiredCapacity value {desired} is below min value {} for the AutoScalingGroup.",
            group.min
        )));
    }
    let cooldown = seconds(group.default_cooldown_seconds);
    if honor_cooldown && group.last_scaled.is_some_and(|last| cx.now < last.plus(cooldown)) {
        return Err(Error::ScalingActivityInProgress(format!(
            "The AutoScalingGroup {name} is in its cooldown period."
        )));
    }
    let what = "a user request explicitly set group desired capacity changing the desired capacity";
    resize(&mut group, cx, desired, what);
    tx.put(group);
    Ok(())
}

/// Sets the desired capacity; `what` ends in "… changing the desired capacity".
pub fn resize(group: &mut Group, cx: &Context, desired: i32, what: &str) {
    if desired == group.desired {
        return;
    }
    group.changed(&at(cx.now, &format!("{what} from {} to {desired}.", group.desired)));
    group.desired = desired;
    group.last_scaled = Some(cx.now);
}

pub fn attach_target_groups(tx: &mut Tx, cx: &Context, name: &str, arns: &[String]) -> Result<()> {
    let mut group = standing(tx, cx, name)?;
    attach(tx, cx, &mut group, arns)?;
    tx.put(group);
    Ok(())
}

fn attach(snapshot: &Snapshot, cx: &Context, group: &mut Group, arns: &[String]) -> Result<()> {
    for arn in arns {
        let target_group = elbv2::ops::target_group(snapshot, cx, arn).map_err(|_| {
            Error::validation(
                "Provided Target Groups may not be valid. Please ensure they exist and try again.",
            )
        })?;
        if target_group.target_type != elbv2::model::TargetType::Instance {
            return Err(Error::validation(format!(
                "Provided Target Groups must have target type instance: {arn}"
            )));
        }
        if !group.target_groups.contains(arn) {
            group.target_groups.push(arn.clone());
        }
    }
    Ok(())
}

pub fn detach_target_groups(tx: &mut Tx, cx: &Context, name: &str, arns: &[String]) -> Result<()> {
    let mut group = standing(tx, cx, name)?;
    if arns.iter().any(|arn| !group.target_groups.contains(arn)) {
        return Err(Error::validation(
            "Trying to remove Target Groups that are not part of the group",
        ));
    }
    group.target_groups.retain(|arn| !arns.contains(arn));
    tx.put(group);
    Ok(())
}

pub fn member(snapshot: &Snapshot, cx: &Context, instance_id: &str) -> Result<Member> {
    let member = snapshot.get::<Member>(&cx.key(instance_id));
    member.map(|m| Member::clone(&m)).ok_or_else(|| Error::no_instance(instance_id))
}

pub fn terminate_instance(
    tx: &mut Tx,
    cx: &Context,
    instance_id: &str,
    decrement: bool,
) -> Result<Activity> {
    let member = member(tx, cx, instance_id)?;
    let mut group = standing(tx, cx, &member.group)?;
    if !member.is_active() {
        return Err(Error::ScalingActivityInProgress(format!(
            "The instance {instance_id} is already being terminated."
        )));
    }
    let mut what =
        format!("instance {instance_id} was taken out of service in response to a user request");
    if decrement {
        if group.desired <= group.min {
            return Err(Error::validation(format!(
                "Currently, desiredSize equals minSize ({}). Terminating instance without replacement \
                 will violate group's min size constraint. Either set shouldDecrementDesiredCapacity \
                 flag to false or lower group's min size.",
                group.min
            )));
        }
        what +=
            &format!(", shrinking the capacity from {} to {}", group.desired, group.desired - 1);
        group.desired -= 1;
        group.last_scaled = Some(cx.now);
        tx.put(group.clone());
    }
    let cause = at(cx.now, &format!("{what}."));
    act::take_out(tx, cx, &group, &member, cause).map_err(|failure| match failure {
        Failure::Store(error) => Error::Store(error),
        Failure::Other(message) => Error::validation(message),
        Failure::Refused(refused) => Error::validation(refused.error.to_string()),
    })
}

pub fn set_instance_health(
    tx: &mut Tx,
    cx: &Context,
    instance_id: &str,
    status: &str,
    respect_grace: bool,
) -> Result<()> {
    let mut member = member(tx, cx, instance_id)?;
    let group = group(tx, cx, &member.group)?;
    let unhealthy = match status {
        "Healthy" => None,
        "Unhealthy" => Some(Unhealthy::User),
        other => {
            return Err(Error::validation(format!(
                "Invalid health status {other}: valid values are [Healthy, Unhealthy]."
            )));
        }
    };
    let in_grace = match (member.lifecycle, member.in_service_since) {
        (Lifecycle::InService, Some(since)) => cx.now < since.plus(group.grace()),
        (lifecycle, _) => lifecycle == Lifecycle::Pending,
    };
    if !(respect_grace && unhealthy.is_some() && in_grace) {
        member.unhealthy = unhealthy;
        tx.put(member);
    }
    Ok(())
}

pub fn set_instance_protection(
    tx: &mut Tx,
    cx: &Context,
    group_name: &str,
    instance_ids: &[String],
    protected: bool,
) -> Result<()> {
    group(tx, cx, group_name)?;
    for instance_id in instance_ids {
        let found = member(tx, cx, instance_id).ok().filter(|m| m.group == group_name);
        let Some(mut member) = found else {
            return Err(Error::validation(format!(
                "The instance {instance_id} is not part of Auto Scaling group {group_name}."
            )));
        };
        member.protected = protected;
        tx.put(member);
    }
    Ok(())
}

/// No names: all of them.
pub fn suspend_processes(tx: &mut Tx, cx: &Context, name: &str, names: &[String]) -> Result<()> {
    let mut group = standing(tx, cx, name)?;
    for process in processes(names)? {
        let reason = format!("User suspended at {}", cx.now.iso8601());
        group.suspended.entry(process).or_insert(reason);
    }
    tx.put(group);
    Ok(())
}

pub fn resume_processes(tx: &mut Tx, cx: &Context, name: &str, names: &[String]) -> Result<()> {
    let mut group = standing(tx, cx, name)?;
    let resumed: BTreeSet<Process> = processes(names)?.into_iter().collect();
    group.suspended.retain(|process, _| !resumed.contains(process));
    tx.put(group);
    Ok(())
}

fn processes(names: &[String]) -> Result<Vec<Process>> {
    if names.is_empty() {
        return Ok(Process::ALL.to_vec());
    }
    names
        .iter()
        .map(|name| {
            Process::parse(name).ok_or_else(|| {
                let all = Process::ALL.map(Process::name).join(", ");
                Error::validation(format!(
                    "{name} is not a valid process: valid processes are [{all}]."
                ))
            })
        })
        .collect()
}

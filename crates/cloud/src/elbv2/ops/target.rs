//! Registering and deregistering targets, and telling their health.

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::{attached_load_balancers, target_group};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::vpc;
use crate::elbv2::error::Quota;
use crate::elbv2::model::{Reason, Target, TargetGroup, TargetState, TargetType};
use crate::elbv2::state::{self, Next};
use crate::elbv2::{Error, Result, quota};
use crate::{Context, Timestamp};

/// Every target of a group, in order of id and port.
pub fn targets(snapshot: &Snapshot, cx: &Context, target_group_arn: &str) -> Vec<Arc<Target>> {
    match super::group_id(cx, target_group_arn) {
        Some(id) => snapshot.scan(&format!("{}{id}/", cx.prefix())).collect(),
        None => vec![],
    }
}

/// A target that is draining comes back; one that is registered already stays as it is.
pub fn register(
    tx: &mut Tx,
    cx: &Context,
    target_group_arn: &str,
    wanted: &[(String, Option<u16>)],
) -> Result<()> {
    let group = target_group(tx, cx, target_group_arn)?;
    if wanted.is_empty() {
        return Err(Error::validation("At least one target must be specified"));
    }
    let mut fresh = Vec::new();
    for (id, port) in wanted {
        fresh.push(new_target(tx, cx, &group, id, port.unwrap_or(group.port))?);
    }
    for target in fresh {
        let key = store::Record::key(&target);
        let present = tx.get::<Target>(&key);
        if present.is_none_or(|present| present.state == TargetState::Draining) {
            tx.put(target);
        }
    }
    if targets(tx, cx, target_group_arn).len() > quota::TARGETS {
        let message = "The maximum number of targets per target group has been reached";
        return Err(Error::TooMany(Quota::Targets, message.to_owned()));
    }
    Ok(())
}

/// Without a port: the group's. Unknown ones are no error, as in AWS.
pub fn deregister(
    tx: &mut Tx,
    cx: &Context,
    target_group_arn: &str,
    wanted: &[(String, Option<u16>)],
) -> Result<()> {
    target_group(tx, cx, target_group_arn)?;
    let present = targets(tx, cx, target_group_arn);
    for (id, port) in wanted {
        let meant =
            |target: &&Arc<Target>| target.id == *id && port.is_none_or(|port| target.port == port);
        for target in present.iter().filter(meant) {
            begin_draining(tx, target, cx.now);
        }
    }
    Ok(())
}

/// Writes what deregistration makes of the target.
pub fn begin_draining(tx: &mut Tx, target: &Target, now: Timestamp) {
    match state::deregistered(target) {
        Next::Stay => {}
        Next::Gone => {
            tx.delete::<Target>(&store::Record::key(target));
        }
        Next::Become(state, reason) => {
            tx.put(Target { state, reason, draining_since: Some(now), ..target.clone() });
        }
    }
}

fn new_target(tx: &Tx, cx: &Context, group: &TargetGroup, id: &str, port: u16) -> Result<Target> {
    let zone = match group.target_type {
        TargetType::Instance => zone_of_instance(tx, cx, group, id)?,
        TargetType::Ip => zone_of_address(tx, cx, group, id)?,
    };
    let (state, reason) = if attached_load_balancers(tx, cx, &group.arn).is_empty() {
        (TargetState::Unused, Some(Reason::NotInUse))
    } else {
        state::registered()
    };
    Ok(Target {
        account: cx.account.clone(),
        region: cx.region.clone(),
        target_group_arn: group.arn.clone(),
        id: id.to_owned(),
        port,
        zone,
        state,
        reason,
        registered_at: cx.now,
        healthy_at: None,
        draining_since: None,
    })
}

fn zone_of_instance(tx: &Tx, cx: &Context, group: &TargetGroup, id: &str) -> Result<String> {
    let Some(instance) = tx.get::<Instance>(&cx.key(id)) else {
        return Err(Error::InvalidTarget(format!("Instance ID '{id}' is not valid")));
    };
    if instance.state() != InstanceState::Running {
        return Err(Error::InvalidTarget(format!(
            "The following targets are not in a running state and cannot be registered: '{id}'"
        )));
    }
    if instance.vpc_id != group.vpc_id {
        let vpc = &group.vpc_id;
        return Err(Error::InvalidTarget(format!(
            "The following targets are not in the target group VPC '{vpc}': '{id}'"
        )));
    }
    Ok(instance.zone.clone())
}

fn zone_of_address(tx: &Tx, cx: &Context, group: &TargetGroup, id: &str) -> Result<String> {
    let Ok(address) = id.parse::<Ipv4Addr>() else {
        return Err(Error::validation(format!(
            "The IP address '{id}' is not a valid IPv4 address"
        )));
    };
    let subnets = vpc::ops::subnets(tx, cx).into_iter().filter(|s| s.vpc_id == group.vpc_id);
    let mut containing = subnets.filter(|subnet| subnet.cidr.contains(address));
    containing.next().map(|subnet| subnet.zone).ok_or_else(|| {
        let vpc = &group.vpc_id;
        Error::validation(format!("The IP address '{id}' is not in a subnet of the VPC '{vpc}'"))
    })
}

/// What DescribeTargetHealth says of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub id: String,
    pub port: u16,
    pub zone: Option<String>,
    pub check_port: Option<u16>,
    pub state: &'static str,
    /// Code and description.
    pub reason: Option<(&'static str, String)>,
}

/// Of the targets named, in that order, or of all.
pub fn health(
    snapshot: &Snapshot,
    cx: &Context,
    target_group_arn: &str,
    wanted: &[(String, Option<u16>)],
) -> Result<Vec<Health>> {
    let group = target_group(snapshot, cx, target_group_arn)?;
    let all = targets(snapshot, cx, target_group_arn);
    if wanted.is_empty() {
        return Ok(all.iter().map(|target| health_of(&group, target)).collect());
    }
    let mut answer = Vec::new();
    for (id, port) in wanted {
        let port = port.unwrap_or(group.port);
        let target = all.iter().find(|target| target.id == *id && target.port == port);
        answer.push(match target {
            Some(target) => health_of(&group, target),
            None => not_registered(snapshot, cx, &group, id, port)?,
        });
    }
    Ok(answer)
}

fn health_of(group: &TargetGroup, target: &Target) -> Health {
    Health {
        id: target.id.clone(),
        port: target.port,
        // AWS names the zone of addresses only.
        zone: (group.target_type == TargetType::Ip).then(|| target.zone.clone()),
        check_port: Some(group.health_check.port.unwrap_or(target.port)),
        state: target.state.name(),
        reason: target.reason.as_ref().map(|reason| (reason.code(), reason.description())),
    }
}

fn not_registered(
    snapshot: &Snapshot,
    cx: &Context,
    group: &TargetGroup,
    id: &str,
    port: u16,
) -> Result<Health> {
    let known = snapshot.get::<Instance>(&cx.key(id)).is_some() || id.parse::<Ipv4Addr>().is_ok();
    if group.target_type == TargetType::Instance && !known {
        return Err(Error::InvalidTarget(format!("Instance ID '{id}' is not valid")));
    }
    let description = "Target is not registered to the target group".to_owned();
    Ok(Health {
        id: id.to_owned(),
        port,
        zone: None,
        check_port: None,
        state: TargetState::Unused.name(),
        reason: Some(("Target.NotRegistered", description)),
    })
}

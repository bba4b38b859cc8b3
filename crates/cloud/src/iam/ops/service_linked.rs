//! Roles that services use for themselves: made on request, deletable, otherwise AWS's to change.

use store::{Record, Snapshot, Tx};

use super::super::document::{Document, Place};
use super::super::model::{Identity, Kind, Role};
use super::super::{Error, Result};
use super::identity::{self, New};
use crate::Context;
use crate::autoscaling::model::Group;
use crate::elbv2::LoadBalancer;
use crate::tag::Tags;

/// Service, role, and whether a suffix may be added.
const SERVICES: &[(&str, &str, bool)] = &[
    ("autoscaling.amazonaws.com", "AWSServiceRoleForAutoScaling", true),
    ("elasticloadbalancing.amazonaws.com", "AWSServiceRoleForElasticLoadBalancing", false),
    ("spot.amazonaws.com", "AWSServiceRoleForEC2Spot", false),
];

/// Of a service's role.
pub fn name(service: &str, suffix: Option<&str>) -> Result<String> {
    let known = SERVICES.iter().find(|(name, ..)| *name == service);
    let Some((_, base, suffixes)) = known else {
        return Err(Error::InvalidInput(format!(
            "{service} does not have a service-linked role in this cloud."
        )));
    };
    if suffix.is_some() && !suffixes {
        return Err(Error::InvalidInput(format!("Custom suffix is not allowed for {service}")));
    }
    Ok(suffix.map_or_else(|| base.to_string(), |suffix| format!("{base}_{suffix}")))
}

pub fn path(service: &str) -> String {
    format!("/aws-service-role/{service}/")
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    service: &str,
    description: Option<&str>,
    suffix: Option<&str>,
) -> Result<Identity> {
    let name = name(service, suffix)?;
    if identity::get(tx, cx, Kind::Role, &name).is_ok() {
        return Err(Error::InvalidInput(format!(
            "Service role name {name} has been taken in this account, please try a different \
             suffix."
        )));
    }
    let trust = format!(
        "{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Principal\":\
         {{\"Service\":\"{service}\"}},\"Action\":\"sts:AssumeRole\"}}]}}"
    );
    let new = New {
        kind: Kind::Role,
        name,
        path: Some(path(service)),
        tags: Tags::new(),
        boundary: None,
        role: Some(Role {
            trust: Document::parse(&trust, Place::Trust)?,
            description: description.map(str::to_owned),
            max_session_seconds: 3600,
            service: Some(service.to_owned()),
        }),
    };
    identity::create(tx, cx, new)
}

/// Deletes it unless its service still uses it.
pub fn delete(tx: &mut Tx, cx: &Context, name: &str) -> Result<()> {
    let role = identity::get(tx, cx, Kind::Role, name)?;
    if role.role.as_ref().is_none_or(|role| role.service.is_none()) {
        return Err(Error::InvalidInput(format!("Role {name} is not a service-linked role.")));
    }
    if in_use(tx, cx, &role).is_empty() {
        tx.delete::<Identity>(&role.key());
    }
    Ok(())
}

/// What of its service there is, so that the role must stay.
pub fn in_use(snapshot: &Snapshot, cx: &Context, role: &Identity) -> Vec<String> {
    let of_account = format!("{}/", cx.account);
    match role.role.as_ref().and_then(|role| role.service.as_deref()) {
        Some("autoscaling.amazonaws.com") => {
            snapshot.scan::<Group>(&of_account).map(|group| group.key()).collect()
        }
        Some("elasticloadbalancing.amazonaws.com") => {
            snapshot.scan::<LoadBalancer>(&of_account).map(|balancer| balancer.key()).collect()
        }
        _ => Vec::new(),
    }
}

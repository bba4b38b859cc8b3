//! Associating instances with instance profiles.

use std::sync::Arc;

use store::{Record, Snapshot, Tx};

use super::{Association, Found};
use crate::ec2::instance::launch::InstanceProfile;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::ops::instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::listing::Listing;
use crate::ec2::{Error, Result};
use crate::iam::ops::profile;
use crate::{Context, arn, id};

/// The instance profile that a request names. It must carry a role.
pub fn find(snapshot: &Snapshot, cx: &Context, named: &InstanceProfile) -> Result<Found> {
    let (given, member, noun) = match (&named.arn, &named.name) {
        (Some(_), Some(_)) => {
            return Err(Error::combination(
                "The parameter 'iamInstanceProfile.name' may not be used in combination with \
                 'iamInstanceProfile.arn'",
            ));
        }
        (Some(arn), None) => (arn, "arn", "ARN"),
        (None, Some(name)) => (name, "name", "name"),
        (None, None) => return Err(Error::MissingParameter("IamInstanceProfile")),
    };
    let invalid = || {
        Error::value(format!(
            "Value ({given}) for parameter iamInstanceProfile.{member} is invalid. Invalid IAM \
             Instance Profile {noun}"
        ))
    };
    let name = match &named.arn {
        Some(arn) => arn::parse(arn).and_then(|parts| parts.resource.rsplit('/').next()),
        None => Some(given.as_str()),
    };
    let found = profile::get(snapshot, cx, name.ok_or_else(invalid)?).map_err(|_| invalid())?;
    if named.arn.as_ref().is_some_and(|arn| *arn != found.arn()) {
        return Err(invalid());
    }
    if found.role.is_none() {
        return Err(Error::value(format!(
            "IAM Instance Profile \"{}\" has no associated IAM Roles",
            found.arn()
        )));
    }
    Ok(Found { arn: found.arn(), id: found.id.clone(), name: found.name.clone() })
}

/// What the instance has; nothing once it ends.
pub fn of(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Option<Arc<Association>> {
    snapshot.get(&cx.key(&instance.id)).filter(|_| instance.is_alive())
}

/// In place of what the instance may have.
pub fn associate(tx: &mut Tx, cx: &Context, instance_id: &str, profile: &Found) -> Association {
    let association = Association {
        account: cx.account.clone(),
        region: cx.region.clone(),
        instance_id: instance_id.to_owned(),
        id: id::resource(&cx.env.rng, "iip-assoc"),
        profile: profile.clone(),
        since: cx.now,
        offered_from: cx.env.clock.host_now(),
    };
    tx.put(association.clone());
    association
}

/// With an instance that has none.
pub fn add(
    tx: &mut Tx,
    cx: &Context,
    instance_id: &str,
    named: &InstanceProfile,
) -> Result<Association> {
    let found = instance(tx, cx, instance_id)?;
    let profile = find(tx, cx, named)?;
    if !matches!(found.state(), InstanceState::Running | InstanceState::Stopped) {
        return Err(Error::IncorrectState(format!(
            "The instance {instance_id} is not in the 'running' or 'stopped' state"
        )));
    }
    if of(tx, cx, &found).is_some() {
        return Err(Error::IncorrectState(format!(
            "There is an existing association for instance {instance_id}"
        )));
    }
    Ok(associate(tx, cx, instance_id, &profile))
}

/// Another profile for the instance of an association.
pub fn replace(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    named: &InstanceProfile,
) -> Result<Association> {
    let before = by_id(tx, cx, id)?;
    let profile = find(tx, cx, named)?;
    Ok(associate(tx, cx, &before.instance_id, &profile))
}

pub fn remove(tx: &mut Tx, cx: &Context, id: &str) -> Result<Arc<Association>> {
    let association = by_id(tx, cx, id)?;
    tx.delete::<Association>(&association.key());
    Ok(association)
}

pub fn by_id(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<Association>> {
    let found = alive(snapshot, cx).into_iter().find(|association| association.id == id);
    found.ok_or_else(|| Error::NoSuchAssociation(id.to_owned()))
}

/// Of instances that have not ended.
fn alive(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<Association>> {
    let alive = |association: &Arc<Association>| {
        let instance = snapshot.get::<Instance>(&cx.key(&association.instance_id));
        instance.is_some_and(|instance| instance.is_alive())
    };
    snapshot.scan::<Association>(&cx.prefix()).filter(alive).collect()
}

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Arc<Association>>, Option<String>)> {
    listing.check(&["instance-id", "state"], false)?;
    listing.check_max_results(5..=1000)?;
    let mut all = alive(snapshot, cx);
    for id in ids {
        by_id(snapshot, cx, id)?;
    }
    all.retain(|one| ids.is_empty() || ids.contains(&one.id));
    all.retain(|one| {
        listing.keeps(Default::default, |name| match name {
            "instance-id" => vec![one.instance_id.clone()],
            _ => vec!["associated".to_owned()],
        })
    });
    all.sort_by(|a, b| a.id.cmp(&b.id));
    listing.page(all, |one| one.id.clone())
}

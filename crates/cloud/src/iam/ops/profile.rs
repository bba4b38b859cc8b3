//! Instance profiles: what carries a role to instances.

use std::sync::Arc;

use store::{Record, Snapshot, Tx};

use super::super::model::{Identity, InstanceProfile, Kind};
use super::super::{Error, Result};
use super::identity;
use crate::tag::Tags;
use crate::{Context, id};

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    path: Option<&str>,
    tags: Tags,
) -> Result<InstanceProfile> {
    if tx.get::<InstanceProfile>(&InstanceProfile::key_of(&cx.account, name)).is_some() {
        return Err(Error::EntityAlreadyExists(format!("Instance Profile {name} already exists.")));
    }
    let profile = InstanceProfile {
        account: cx.account.clone(),
        name: name.to_owned(),
        path: path.unwrap_or("/").to_owned(),
        id: id::principal(&cx.env.rng, "AIPA"),
        created_at: cx.now,
        tags,
        role: None,
    };
    tx.put(profile.clone());
    Ok(profile)
}

pub fn get(snapshot: &Snapshot, cx: &Context, name: &str) -> Result<Arc<InstanceProfile>> {
    snapshot
        .get::<InstanceProfile>(&InstanceProfile::key_of(&cx.account, name))
        .filter(|profile| profile.name == name)
        .ok_or_else(|| Error::NoSuchEntity(format!("Instance Profile {name} cannot be found.")))
}

pub fn list(
    snapshot: &Snapshot,
    cx: &Context,
    path_prefix: Option<&str>,
) -> Vec<Arc<InstanceProfile>> {
    let prefix = path_prefix.unwrap_or("/");
    let of_account = format!("{}/", cx.account);
    let all = snapshot.scan::<InstanceProfile>(&of_account);
    all.filter(|profile| profile.path.starts_with(prefix)).collect()
}

/// Its role, while it has one.
pub fn role(snapshot: &Snapshot, cx: &Context, profile: &InstanceProfile) -> Option<Arc<Identity>> {
    identity::get(snapshot, cx, Kind::Role, profile.role.as_deref()?).ok()
}

pub fn update<T>(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    change: impl FnOnce(&mut InstanceProfile) -> Result<T>,
) -> Result<T> {
    let mut profile = InstanceProfile::clone(&*get(tx, cx, name)?);
    let answer = change(&mut profile)?;
    tx.put(profile);
    Ok(answer)
}

pub fn add_role(tx: &mut Tx, cx: &Context, name: &str, role: &str) -> Result<()> {
    identity::get(tx, cx, Kind::Role, role)?;
    update(tx, cx, name, |profile| match &profile.role {
        Some(_) => Err(Error::Quota("InstanceSessionsPerInstanceProfile", 1)),
        None => {
            profile.role = Some(role.to_owned());
            Ok(())
        }
    })
}

pub fn remove_role(tx: &mut Tx, cx: &Context, name: &str, role: &str) -> Result<()> {
    update(tx, cx, name, |profile| match profile.role.as_deref() == Some(role) {
        true => {
            profile.role = None;
            Ok(())
        }
        false => Err(Error::not_found(Kind::Role, role)),
    })
}

pub fn delete(tx: &mut Tx, cx: &Context, name: &str) -> Result<()> {
    let profile = get(tx, cx, name)?;
    if profile.role.is_some() {
        return Err(Error::DeleteConflict("remove roles from instance profile"));
    }
    tx.delete::<InstanceProfile>(&profile.key());
    Ok(())
}

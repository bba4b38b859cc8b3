//! Users, groups and roles: what is done with each alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use store::{Record, Snapshot, Tx};

use super::super::model::{AccessKey, Identity, InstanceProfile, Kind, LastUsed, Role};
use super::super::{Error, Result};
use super::policy;
use crate::tag::Tags;
use crate::{Context, id};

const MAX_GROUPS_PER_USER: usize = 10;

/// What a new identity is given.
pub struct New {
    pub kind: Kind,
    pub name: String,
    pub path: Option<String>,
    pub tags: Tags,
    pub boundary: Option<String>,
    pub role: Option<Role>,
}

pub fn create(tx: &mut Tx, cx: &Context, new: New) -> Result<Identity> {
    let New { kind, name, path, tags, boundary, role } = new;
    must_be_free(tx, cx, kind, &name)?;
    if let Some(arn) = &boundary {
        policy::must_be_attachable(tx, cx, arn)?;
    }
    let identity = Identity {
        account: cx.account.clone(),
        kind,
        name,
        path: path.unwrap_or_else(|| "/".to_owned()),
        id: id::principal(&cx.env.rng, kind.id_prefix()),
        created_at: cx.now,
        tags,
        boundary,
        attached: BTreeSet::new(),
        inline: BTreeMap::new(),
        groups: BTreeSet::new(),
        role,
    };
    tx.put(identity.clone());
    Ok(identity)
}

fn must_be_free(tx: &Snapshot, cx: &Context, kind: Kind, name: &str) -> Result<()> {
    match tx.get::<Identity>(&Identity::key_of(&cx.account, kind, name)) {
        None => Ok(()),
        Some(_) => Err(Error::EntityAlreadyExists(format!(
            "{} with name {name} already exists.",
            kind.title()
        ))),
    }
}

pub fn get(snapshot: &Snapshot, cx: &Context, kind: Kind, name: &str) -> Result<Arc<Identity>> {
    snapshot
        .get::<Identity>(&Identity::key_of(&cx.account, kind, name))
        .filter(|identity| identity.name == name)
        .ok_or_else(|| Error::not_found(kind, name))
}

/// By name, those whose path begins with `path_prefix`.
pub fn list(
    snapshot: &Snapshot,
    cx: &Context,
    kind: Kind,
    path_prefix: Option<&str>,
) -> Vec<Arc<Identity>> {
    let prefix = path_prefix.unwrap_or("/");
    let of_kind = format!("{}/{}/", cx.account, kind.word());
    let all = snapshot.scan::<Identity>(&of_kind);
    all.filter(|identity| identity.path.starts_with(prefix)).collect()
}

/// With this unique id, whatever its name is now.
pub fn with_id(snapshot: &Snapshot, account: &str, kind: Kind, id: &str) -> Option<Arc<Identity>> {
    let of_kind = format!("{account}/{}/", kind.word());
    let mut all = snapshot.scan::<Identity>(&of_kind);
    all.find(|identity| identity.id == id)
}

pub fn update<T>(
    tx: &mut Tx,
    cx: &Context,
    kind: Kind,
    name: &str,
    change: impl FnOnce(&mut Identity) -> Result<T>,
) -> Result<T> {
    let mut identity = Identity::clone(&*get(tx, cx, kind, name)?);
    if identity.role.as_ref().is_some_and(|role| role.service.is_some()) {
        return Err(Error::Unmodifiable(format!(
            "Cannot perform the operation on the protected role '{name}' - this role is only \
             modifiable by AWS"
        )));
    }
    let answer = change(&mut identity)?;
    tx.put(identity);
    Ok(answer)
}

/// A user or a group; what refers to it by name goes with it.
pub fn rename(
    tx: &mut Tx,
    cx: &Context,
    kind: Kind,
    name: &str,
    new_name: Option<&str>,
    new_path: Option<&str>,
) -> Result<()> {
    let before = get(tx, cx, kind, name)?;
    let to = new_name.unwrap_or(name);
    if to.to_lowercase() != name.to_lowercase() {
        must_be_free(tx, cx, kind, to)?;
    }
    let path = new_path.unwrap_or(&before.path).to_owned();
    tx.delete::<Identity>(&before.key());
    tx.put(Identity { name: to.to_owned(), path, ..Identity::clone(&before) });
    if to == name {
        return Ok(());
    }
    match kind {
        Kind::User => {
            for key in super::key::of(tx, cx, name) {
                tx.put(AccessKey { user: to.to_owned(), ..AccessKey::clone(&key) });
            }
        }
        _ => {
            for member in members(tx, cx, name) {
                let mut member = Identity::clone(&member);
                member.groups.remove(name);
                member.groups.insert(to.to_owned());
                tx.put(member);
            }
        }
    }
    Ok(())
}

pub fn delete(tx: &mut Tx, cx: &Context, kind: Kind, name: &str) -> Result<()> {
    let identity = get(tx, cx, kind, name)?;
    if identity.role.as_ref().is_some_and(|role| role.service.is_some()) {
        return Err(Error::Unmodifiable(format!(
            "Cannot perform the operation on the protected role '{name}' - this role is only \
             modifiable by AWS"
        )));
    }
    if !super::key::of(tx, cx, name).is_empty() && kind == Kind::User {
        return Err(Error::DeleteConflict("delete access keys"));
    }
    if !profiles_of(tx, cx, name).is_empty() && kind == Kind::Role {
        return Err(Error::DeleteConflict("remove roles from instance profile"));
    }
    if !members(tx, cx, name).is_empty() && kind == Kind::Group {
        return Err(Error::DeleteConflict("remove users from group"));
    }
    if !identity.attached.is_empty() {
        return Err(Error::DeleteConflict("detach all policies"));
    }
    if !identity.inline.is_empty() {
        return Err(Error::DeleteConflict("delete policies"));
    }
    if !identity.groups.is_empty() {
        return Err(Error::DeleteConflict("remove users from group"));
    }
    tx.delete::<LastUsed>(&identity.id);
    tx.delete::<Identity>(&identity.key());
    Ok(())
}

/// Users of the group, by name.
pub fn members(snapshot: &Snapshot, cx: &Context, group: &str) -> Vec<Arc<Identity>> {
    let mut users = list(snapshot, cx, Kind::User, None);
    users.retain(|user| user.groups.contains(group));
    users
}

pub fn join(tx: &mut Tx, cx: &Context, group: &str, user: &str) -> Result<()> {
    get(tx, cx, Kind::Group, group)?;
    update(tx, cx, Kind::User, user, |user| {
        user.groups.insert(group.to_owned());
        match user.groups.len() > MAX_GROUPS_PER_USER {
            true => Err(Error::Quota("GroupsPerUser", MAX_GROUPS_PER_USER)),
            false => Ok(()),
        }
    })
}

pub fn leave(tx: &mut Tx, cx: &Context, group: &str, user: &str) -> Result<()> {
    get(tx, cx, Kind::Group, group)?;
    update(tx, cx, Kind::User, user, |user| match user.groups.remove(group) {
        true => Ok(()),
        false => Err(Error::NoSuchEntity(format!("User {} is not in group {group}", user.name))),
    })
}

/// Instance profiles with this role.
pub fn profiles_of(snapshot: &Snapshot, cx: &Context, role: &str) -> Vec<Arc<InstanceProfile>> {
    let of_account = format!("{}/", cx.account);
    let all = snapshot.scan::<InstanceProfile>(&of_account);
    all.filter(|profile| profile.role.as_deref() == Some(role)).collect()
}

pub fn set_boundary(
    tx: &mut Tx,
    cx: &Context,
    kind: Kind,
    name: &str,
    arn: Option<&str>,
) -> Result<()> {
    if let Some(arn) = arn {
        policy::must_be_attachable(tx, cx, arn)?;
    }
    update(tx, cx, kind, name, |identity| {
        if arn.is_none() && identity.boundary.is_none() {
            return Err(Error::NoSuchEntity(format!(
                "The permissions boundary of {} {name} cannot be found.",
                kind.word()
            )));
        }
        identity.boundary = arn.map(str::to_owned);
        Ok(())
    })
}

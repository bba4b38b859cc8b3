//! Access keys of users.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::super::model::{AccessKey, Kind, LastUsed};
use super::super::{Error, Result};
use super::identity;
use crate::{Context, id};

const MAX_PER_USER: usize = 2;

/// With its secret, which is told this once.
pub fn create(tx: &mut Tx, cx: &Context, user: &str) -> Result<(AccessKey, String)> {
    identity::get(tx, cx, Kind::User, user)?;
    if of(tx, cx, user).len() == MAX_PER_USER {
        return Err(Error::Quota("AccessKeysPerUser", MAX_PER_USER));
    }
    let key = id::access_key(&cx.env.rng, "AKIA");
    let secret = id::secret(&cx.env.rng);
    let key = AccessKey {
        secret: cx.env.seal.seal(&cx.env.rng, &key, secret.as_bytes()),
        id: key,
        account: cx.account.clone(),
        user: user.to_owned(),
        active: true,
        created_at: cx.now,
    };
    tx.put(key.clone());
    Ok((key, secret))
}

/// The user's, by id.
pub fn of(snapshot: &Snapshot, cx: &Context, user: &str) -> Vec<Arc<AccessKey>> {
    let all = snapshot.scan::<AccessKey>("");
    all.filter(|key| key.account == cx.account && key.user == user).collect()
}

pub fn get(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<AccessKey>> {
    let key = snapshot.get::<AccessKey>(id).filter(|key| key.account == cx.account);
    key.ok_or_else(|| no_key(id))
}

fn of_user(snapshot: &Snapshot, cx: &Context, user: &str, id: &str) -> Result<Arc<AccessKey>> {
    identity::get(snapshot, cx, Kind::User, user)?;
    let key = get(snapshot, cx, id)?;
    if key.user == user { Ok(key) } else { Err(no_key(id)) }
}

fn no_key(id: &str) -> Error {
    Error::NoSuchEntity(format!("The Access Key with id {id} cannot be found."))
}

pub fn set_active(tx: &mut Tx, cx: &Context, user: &str, id: &str, active: bool) -> Result<()> {
    let key = of_user(tx, cx, user, id)?;
    tx.put(AccessKey { active, ..AccessKey::clone(&key) });
    Ok(())
}

pub fn delete(tx: &mut Tx, cx: &Context, user: &str, id: &str) -> Result<()> {
    let key = of_user(tx, cx, user, id)?;
    tx.delete::<LastUsed>(&key.id);
    tx.delete::<AccessKey>(&key.id);
    Ok(())
}

pub fn last_used(snapshot: &Snapshot, id: &str) -> Option<Arc<LastUsed>> {
    snapshot.get::<LastUsed>(id)
}

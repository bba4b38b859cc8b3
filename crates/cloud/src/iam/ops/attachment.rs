//! Policies of an identity: managed ones attached, others in line.

use store::{Snapshot, Tx};

use super::super::document::{Document, Place};
use super::super::model::{Identity, Kind};
use super::super::{Error, Result};
use super::{identity, policy};
use crate::Context;

const MAX_ATTACHED: usize = 10;

pub fn attach(tx: &mut Tx, cx: &Context, kind: Kind, name: &str, arn: &str) -> Result<()> {
    policy::must_be_attachable(tx, cx, arn)?;
    identity::update(tx, cx, kind, name, |identity| {
        identity.attached.insert(arn.to_owned());
        let quota = match kind {
            Kind::User => "PoliciesPerUser",
            Kind::Group => "PoliciesPerGroup",
            Kind::Role => "PoliciesPerRole",
        };
        match identity.attached.len() > MAX_ATTACHED {
            true => Err(Error::Quota(quota, MAX_ATTACHED)),
            false => Ok(()),
        }
    })
}

pub fn detach(tx: &mut Tx, cx: &Context, kind: Kind, name: &str, arn: &str) -> Result<()> {
    identity::update(tx, cx, kind, name, |identity| match identity.attached.remove(arn) {
        true => Ok(()),
        false => Err(Error::NoSuchEntity(format!("Policy {arn} was not found."))),
    })
}

/// Name and ARN of what is attached, by name, where the policy's path begins with `path_prefix`.
pub fn attached(
    snapshot: &Snapshot,
    cx: &Context,
    identity: &Identity,
    path_prefix: Option<&str>,
) -> Vec<(String, String)> {
    let prefix = path_prefix.unwrap_or("/");
    let found = identity.attached.iter().filter_map(|arn| policy::find(snapshot, cx, arn));
    let mut list: Vec<(String, String)> = found
        .filter(|policy| policy.path().starts_with(prefix))
        .map(|policy| (policy.name().to_owned(), policy.arn()))
        .collect();
    list.sort();
    list
}

pub fn put(
    tx: &mut Tx,
    cx: &Context,
    kind: Kind,
    name: &str,
    policy: &str,
    text: &str,
) -> Result<()> {
    let document = Document::parse(text, Place::Identity)?;
    identity::update(tx, cx, kind, name, |identity| {
        identity.inline.insert(policy.to_owned(), document);
        let size: usize = identity.inline.values().map(Document::size).sum();
        match size > kind.inline_quota() {
            true => Err(Error::LimitExceeded(format!(
                "Maximum policy size of {} bytes exceeded for {} {name}",
                kind.inline_quota(),
                kind.word()
            ))),
            false => Ok(()),
        }
    })
}

pub fn get(
    snapshot: &Snapshot,
    cx: &Context,
    kind: Kind,
    name: &str,
    policy: &str,
) -> Result<String> {
    let identity = identity::get(snapshot, cx, kind, name)?;
    let document = identity.inline.get(policy).ok_or_else(|| no_policy(kind, policy))?;
    Ok(document.text.clone())
}

pub fn delete(tx: &mut Tx, cx: &Context, kind: Kind, name: &str, policy: &str) -> Result<()> {
    identity::update(tx, cx, kind, name, |identity| match identity.inline.remove(policy) {
        Some(_) => Ok(()),
        None => Err(no_policy(kind, policy)),
    })
}

fn no_policy(kind: Kind, policy: &str) -> Error {
    let kind = kind.word();
    Error::NoSuchEntity(format!("The {kind} policy with name {policy} cannot be found."))
}

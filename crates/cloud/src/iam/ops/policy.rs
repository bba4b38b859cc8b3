//! Managed policies: those of customers, with versions, and AWS's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::Managed;
use store::{Record, Snapshot, Tx};

use super::super::document::{Document, Place};
use super::super::model::{Identity, ManagedPolicy, PolicyVersion};
use super::super::{Error, Result};
use crate::tag::Tags;
use crate::{Context, Timestamp, arn, id};

const MAX_VERSIONS: usize = 5;
const MAX_SIZE: usize = 6144;

/// One that an ARN names.
pub enum Found {
    Customer(Arc<ManagedPolicy>),
    Aws(&'static Managed),
}

impl Found {
    pub fn name(&self) -> &str {
        match self {
            Found::Customer(policy) => &policy.name,
            Found::Aws(policy) => policy.name,
        }
    }

    pub fn path(&self) -> &str {
        match self {
            Found::Customer(policy) => &policy.path,
            Found::Aws(policy) => policy.path,
        }
    }

    pub fn arn(&self) -> String {
        match self {
            Found::Customer(policy) => policy.arn(),
            Found::Aws(policy) => policy.arn.clone(),
        }
    }

    pub fn id(&self) -> String {
        match self {
            Found::Customer(policy) => policy.id.clone(),
            Found::Aws(policy) => id::stable_principal("ANPA", &[policy.name]),
        }
    }

    pub fn compiled(&self) -> Arc<policy::Document> {
        match self {
            Found::Customer(policy) => Arc::clone(&policy.default_document().compiled),
            Found::Aws(policy) => Arc::clone(&policy.document),
        }
    }

    /// Each version's number, text and time.
    pub fn versions(&self) -> Vec<(u32, &str, Timestamp)> {
        match self {
            Found::Customer(policy) => {
                let all = policy.versions.iter();
                all.map(|(n, v)| (*n, v.document.text.as_str(), v.created_at)).collect()
            }
            Found::Aws(policy) => vec![(1, policy.text, created(policy))],
        }
    }

    /// When it was made, and last changed.
    pub fn times(&self) -> (Timestamp, Timestamp) {
        match self {
            Found::Customer(policy) => (policy.created_at, policy.updated_at),
            Found::Aws(policy) => (created(policy), created(policy)),
        }
    }

    pub fn default_version(&self) -> u32 {
        match self {
            Found::Customer(policy) => policy.default_version,
            Found::Aws(_) => 1,
        }
    }
}

/// When AWS made it.
fn created(policy: &Managed) -> Timestamp {
    Timestamp::from_iso8601(policy.created).unwrap_or_default()
}

pub fn find(snapshot: &Snapshot, cx: &Context, arn: &str) -> Option<Found> {
    let parts = arn::parse(arn)?;
    if parts.account == "aws" {
        return managed().iter().find(|policy| policy.arn == arn).map(Found::Aws);
    }
    let name = parts.resource.rsplit('/').next()?;
    let policy = snapshot.get::<ManagedPolicy>(&ManagedPolicy::key_of(&cx.account, name))?;
    (policy.arn() == arn).then_some(Found::Customer(policy))
}

pub fn get(snapshot: &Snapshot, cx: &Context, arn: &str) -> Result<Found> {
    find(snapshot, cx, arn)
        .ok_or_else(|| Error::NoSuchEntity(format!("Policy {arn} was not found.")))
}

pub fn must_be_attachable(snapshot: &Snapshot, cx: &Context, arn: &str) -> Result<()> {
    match arn::parse(arn).filter(|parts| parts.service == "iam") {
        None => Err(Error::InvalidInput(format!("ARN {arn} is not valid."))),
        Some(_) if find(snapshot, cx, arn).is_none() => Err(Error::NotAttachable(arn.to_owned())),
        Some(_) => Ok(()),
    }
}

/// AWS's own, by name.
pub fn managed() -> &'static [Managed] {
    policy::managed()
}

/// All customers' policies, by name.
pub fn customers(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<ManagedPolicy>> {
    snapshot.scan(&format!("{}/", cx.account)).collect()
}

/// How many identities it is attached to, and how many it bounds.
pub fn usage(snapshot: &Snapshot, cx: &Context, arn: &str) -> (usize, usize) {
    let of_account = format!("{}/", cx.account);
    let all = || snapshot.scan::<Identity>(&of_account);
    let attached = all().filter(|identity| identity.attached.contains(arn)).count();
    let bounded = all().filter(|identity| identity.boundary.as_deref() == Some(arn)).count();
    (attached, bounded)
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    path: Option<&str>,
    description: Option<&str>,
    text: &str,
    tags: Tags,
) -> Result<Arc<ManagedPolicy>> {
    let document = parse(text)?;
    if tx.get::<ManagedPolicy>(&ManagedPolicy::key_of(&cx.account, name)).is_some() {
        return Err(Error::EntityAlreadyExists(format!(
            "A policy called {name} already exists. Duplicate names are not allowed."
        )));
    }
    let version = PolicyVersion { document, created_at: cx.now };
    let policy = ManagedPolicy {
        account: cx.account.clone(),
        name: name.to_owned(),
        path: path.unwrap_or("/").to_owned(),
        id: id::principal(&cx.env.rng, "ANPA"),
        description: description.map(str::to_owned),
        created_at: cx.now,
        updated_at: cx.now,
        tags,
        default_version: 1,
        last_version: 1,
        versions: BTreeMap::from([(1, version)]),
    };
    tx.put(policy.clone());
    Ok(Arc::new(policy))
}

fn parse(text: &str) -> Result<Document> {
    let document = Document::parse(text, Place::Identity)?;
    match document.size() > MAX_SIZE {
        true => Err(Error::Quota("PolicySize", MAX_SIZE)),
        false => Ok(document),
    }
}

/// Changes a customer's policy; AWS's own cannot be changed.
pub fn update<T>(
    tx: &mut Tx,
    cx: &Context,
    arn: &str,
    change: impl FnOnce(&mut ManagedPolicy) -> Result<T>,
) -> Result<T> {
    match get(tx, cx, arn)? {
        Found::Aws(_) => Err(Error::AccessDenied(format!(
            "Policy {arn} is managed by AWS and cannot be modified."
        ))),
        Found::Customer(policy) => {
            let mut policy = ManagedPolicy::clone(&policy);
            let answer = change(&mut policy)?;
            tx.put(policy);
            Ok(answer)
        }
    }
}

pub fn create_version(
    tx: &mut Tx,
    cx: &Context,
    arn: &str,
    text: &str,
    as_default: bool,
) -> Result<u32> {
    let document = parse(text)?;
    update(tx, cx, arn, |policy| {
        if policy.versions.len() == MAX_VERSIONS {
            return Err(Error::LimitExceeded(
                "A managed policy can have up to 5 versions. Before you create a new version, you \
                 must delete an existing version."
                    .to_owned(),
            ));
        }
        policy.last_version += 1;
        let number = policy.last_version;
        policy.versions.insert(number, PolicyVersion { document, created_at: cx.now });
        if as_default {
            policy.default_version = number;
        }
        policy.updated_at = cx.now;
        Ok(number)
    })
}

/// `v3` is 3.
pub fn version_number(arn: &str, version: &str) -> Result<u32> {
    let number = version.strip_prefix('v').and_then(|number| number.parse().ok());
    number.ok_or_else(|| no_version(arn, version))
}

pub fn no_version(arn: &str, version: &str) -> Error {
    Error::NoSuchEntity(format!(
        "Policy {arn} version {version} does not exist or is not attachable."
    ))
}

pub fn delete_version(tx: &mut Tx, cx: &Context, arn: &str, version: &str) -> Result<()> {
    let number = version_number(arn, version)?;
    update(tx, cx, arn, |policy| {
        if policy.default_version == number {
            return Err(Error::DefaultVersion);
        }
        let gone = policy.versions.remove(&number);
        gone.map(|_| ()).ok_or_else(|| no_version(arn, version))
    })
}

pub fn set_default(tx: &mut Tx, cx: &Context, arn: &str, version: &str) -> Result<()> {
    let number = version_number(arn, version)?;
    update(tx, cx, arn, |policy| {
        if !policy.versions.contains_key(&number) {
            return Err(no_version(arn, version));
        }
        policy.default_version = number;
        policy.updated_at = cx.now;
        Ok(())
    })
}

pub fn delete(tx: &mut Tx, cx: &Context, arn: &str) -> Result<()> {
    if usage(tx, cx, arn) != (0, 0) {
        return Err(Error::PolicyAttached);
    }
    let key = update(tx, cx, arn, |policy| match policy.versions.len() {
        1 => Ok(policy.key()),
        _ => Err(Error::PolicyHasVersions),
    })?;
    tx.delete::<ManagedPolicy>(&key);
    Ok(())
}

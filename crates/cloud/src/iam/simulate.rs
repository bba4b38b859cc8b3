//! What policies would say of requests that nobody makes.

use std::collections::{BTreeMap, BTreeSet};

use policy::{Context as Keys, Policies, Policy, Principal, Request, Simulation};
use store::Snapshot;

use super::document::{Document, Place};
use super::model::{Identity, Kind};
use super::ops::identity;
use super::{Error, Result, authorize};
use crate::{Context, arn};

/// A simulation as asked for, by texts.
#[derive(Debug, Default)]
pub struct Asked {
    pub actions: Vec<String>,
    /// ARNs; none: `*`.
    pub resources: Vec<String>,
    pub policies: Vec<String>,
    pub boundaries: Vec<String>,
    pub resource_policy: Option<String>,
    pub caller_arn: Option<String>,
    /// Keys of the request, and their values.
    pub keys: BTreeMap<String, Vec<String>>,
}

pub struct Evaluation {
    pub action: String,
    pub resource: String,
    pub simulation: Simulation,
}

/// The user, group or role that an ARN names.
pub fn source(snapshot: &Snapshot, cx: &Context, source: &str) -> Result<std::sync::Arc<Identity>> {
    let parts = arn::parse(source).filter(|parts| parts.service == "iam");
    let (kind, path) = parts
        .and_then(|parts| parts.resource.split_once('/'))
        .ok_or_else(|| Error::InvalidInput(format!("Invalid Entity Arn: {source}")))?;
    let kind = match kind {
        "user" => Kind::User,
        "group" => Kind::Group,
        "role" => Kind::Role,
        _ => return Err(Error::InvalidInput(format!("Invalid Entity Arn: {source}"))),
    };
    identity::get(snapshot, cx, kind, path.rsplit('/').next().unwrap_or(path))
}

/// Policies of an identity; a group's are those of a user that has no others.
pub fn policies(snapshot: &Snapshot, cx: &Context, source: &Identity) -> Policies {
    authorize::of_identity(snapshot, cx, source)
}

/// Every action on every resource.
pub fn run(cx: &Context, base: Policies, asked: &Asked, who: &str) -> Result<Vec<Evaluation>> {
    let mut policies = base;
    for (n, text) in asked.policies.iter().enumerate() {
        policies.identity.push(input(text, Place::Identity, "PolicyInputList", n)?);
    }
    for (n, text) in asked.boundaries.iter().enumerate() {
        let name = "PermissionsBoundaryPolicyInputList";
        policies.boundary = Some(input(text, Place::Identity, name, n)?);
    }
    if let Some(text) = &asked.resource_policy {
        policies.resource = Some(input(text, Place::Resource, "ResourcePolicy", 0)?);
    }
    let principal = principal(cx, asked.caller_arn.as_deref().unwrap_or(who));
    let mut keys = Keys::new();
    for (key, values) in &asked.keys {
        keys.set_all(key, values.clone());
    }
    let any = ["*".to_owned()];
    let resources = if asked.resources.is_empty() { &any[..] } else { &asked.resources };
    let mut evaluations = Vec::new();
    for action in &asked.actions {
        if !action.contains(':') {
            return Err(Error::InvalidInput(format!("Invalid Action: {action}")));
        }
        for resource in resources {
            let request = Request {
                principal: &principal,
                action,
                resource,
                account: &cx.account,
                canonical_user: None,
                context: &keys,
            };
            evaluations.push(Evaluation {
                action: action.clone(),
                resource: resource.clone(),
                simulation: policy::simulate(&policies, &request),
            });
        }
    }
    Ok(evaluations)
}

fn input(text: &str, place: Place, list: &str, n: usize) -> Result<Policy> {
    let document = Document::parse(text, place)
        .map_err(|error| Error::InvalidInput(format!("Invalid policy in {list}: {error}")))?;
    let name = if list == "ResourcePolicy" { list.to_owned() } else { format!("{list}.{}", n + 1) };
    Ok(Policy::new(name, document.compiled))
}

fn principal(cx: &Context, who: &str) -> Principal {
    let resource = arn::parse(who).map(|parts| parts.resource).unwrap_or_default();
    match resource.split_once('/') {
        Some(("role", name)) => {
            let name = name.rsplit('/').next().unwrap_or(name);
            let session = format!("assumed-role/{name}/simulation");
            let session = arn::arn("sts", "", &cx.account, &session);
            Principal::Role { role: who.to_owned(), session }
        }
        Some(_) => Principal::User { arn: who.to_owned() },
        // Policies alone, or a group's: some user of the account.
        None => Principal::User { arn: arn::arn("iam", "", &cx.account, "user/simulation") },
    }
}

/// The condition keys that policies look at.
pub fn context_keys(policies: &Policies, texts: &[String]) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    let of_identity = policies.identity.iter().chain(&policies.groups).chain(&policies.boundary);
    for policy in of_identity {
        names.extend(policy::context_keys(&policy.document));
    }
    for (n, text) in texts.iter().enumerate() {
        let given = input(text, Place::Identity, "PolicyInputList", n)?;
        names.extend(policy::context_keys(&given.document));
    }
    Ok(names.into_iter().collect())
}

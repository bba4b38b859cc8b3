//! Beginning sessions: of roles for who may assume them, of users and root for themselves.

use std::sync::Arc;
use std::time::Duration;

use policy::Policy;
use store::Snapshot;

use crate::iam::model::{Identity, Kind};
use crate::iam::ops::{identity, policy as managed};
use crate::iam::{Demand, Document, Error, Place, Result, Session, Who, authorize};
use crate::tag::Tags;
use crate::{Context, arn};

const HOUR: i32 = 3600;
/// Session policies, without white space.
const MAX_POLICY: usize = 2048;
const MAX_POLICY_ARNS: usize = 10;

/// What AssumeRole is asked.
pub struct Assume {
    pub role_arn: String,
    pub session_name: String,
    pub seconds: Option<i32>,
    pub external_id: Option<String>,
    pub policy: Option<String>,
    pub policy_arns: Vec<String>,
    pub source_identity: Option<String>,
    pub tags: Tags,
}

/// The session and the role.
pub fn assume(
    snapshot: &Snapshot,
    cx: &Context,
    asked: &Assume,
) -> Result<(Session, Arc<Identity>)> {
    if cx.from.who == Who::Root {
        return Err(Error::AccessDenied("Roles may not be assumed by root accounts.".to_owned()));
    }
    let role = authorize_assume(snapshot, cx, asked)?;
    let of_role = role.role.as_ref().map_or(HOUR, |role| role.max_session_seconds);
    let chained = matches!(cx.from.who, Who::Role { .. });
    let seconds = asked.seconds.unwrap_or(HOUR);
    if seconds > of_role {
        return Err(Error::validation(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    if chained && seconds > HOUR {
        return Err(Error::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by \
             role chaining",
        ));
    }
    check_policies(snapshot, cx, asked)?;
    let who = Who::Role {
        name: role.name.clone(),
        id: role.id.clone(),
        session: asked.session_name.clone(),
    };
    let session = Session {
        policy: asked.policy.clone(),
        policy_arns: asked.policy_arns.clone(),
        tags: asked.tags.clone(),
        source_identity: source_identity(cx, asked)?,
        ..Session::begin(&cx.env, who, Duration::from_secs(seconds as u64))
    };
    Ok((session, role))
}

/// Once set it stays, through chains of roles.
fn source_identity(cx: &Context, asked: &Assume) -> Result<Option<String>> {
    let held = cx.from.session.as_ref().and_then(|session| session.source_identity.clone());
    match (held, &asked.source_identity) {
        (Some(held), Some(wanted)) if held != *wanted => Err(Error::AccessDenied(
            "A source identity that is set cannot be changed while chaining roles.".to_owned(),
        )),
        (held, wanted) => Ok(held.or(wanted.clone())),
    }
}

/// The caller's policies and the role's trust policy, on assuming it and all that goes with it.
fn authorize_assume(snapshot: &Snapshot, cx: &Context, asked: &Assume) -> Result<Arc<Identity>> {
    let found = arn::parse(&asked.role_arn)
        .filter(|parts| parts.service == "iam" && parts.account == cx.account)
        .and_then(|parts| parts.resource.strip_prefix("role/"))
        .and_then(|path| path.rsplit('/').next())
        .and_then(|name| identity::get(snapshot, cx, Kind::Role, name).ok())
        .filter(|role| role.arn() == asked.role_arn);
    let trust = found.as_ref().and_then(|role| role.role.as_ref()).map(|role| &role.trust);
    let mut demand = Demand::new("sts:AssumeRole", asked.role_arn.clone());
    demand.policy = trust.map(|trust| Policy::new("AssumeRolePolicy", trust.compiled.clone()));
    demand = demand.with("sts:RoleSessionName", asked.session_name.clone());
    if let Some(id) = &asked.external_id {
        demand = demand.with("sts:ExternalId", id.clone());
    }
    if let Some(source) = &asked.source_identity {
        demand = demand.with("sts:SourceIdentity", source.clone());
    }
    for (key, value) in &asked.tags {
        demand = demand.with(&format!("aws:RequestTag/{key}"), value.clone());
    }
    if !asked.tags.is_empty() {
        demand.keys.push(("aws:TagKeys".to_owned(), asked.tags.keys().cloned().collect()));
    }
    let also = |action: &str| Demand { action: action.to_owned(), ..demand.clone() };
    let mut demands = vec![demand.clone()];
    demands.extend((!asked.tags.is_empty()).then(|| also("sts:TagSession")));
    demands.extend(asked.source_identity.as_ref().map(|_| also("sts:SetSourceIdentity")));
    match (authorize::check(cx, &demands), found) {
        (Ok(_), Some(role)) => Ok(role),
        (Err(denied), Some(_)) => Err(Error::AccessDenied(denied.message)),
        // Who may not know a role does not learn whether there is one.
        (_, None) => Err(Error::AccessDenied(format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {}",
            cx.caller, asked.role_arn
        ))),
    }
}

fn check_policies(snapshot: &Snapshot, cx: &Context, asked: &Assume) -> Result<()> {
    if let Some(text) = &asked.policy
        && Document::parse(text, Place::Session)?.size() > MAX_POLICY
    {
        return Err(Error::Packed);
    }
    if asked.policy_arns.len() > MAX_POLICY_ARNS {
        return Err(Error::Packed);
    }
    for arn in &asked.policy_arns {
        if managed::find(snapshot, cx, arn).is_none() {
            return Err(Error::validation(format!(
                "Policy {arn} does not exist or is not attachable."
            )));
        }
    }
    Ok(())
}

/// How much of what session policies and tags may take they do, in percent.
pub fn packed_percent(asked: &Assume) -> Option<i32> {
    let policy = asked.policy.as_ref().map_or(0, String::len);
    let arns: usize = asked.policy_arns.iter().map(String::len).sum();
    let tags: usize = asked.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    let size = policy + arns + tags;
    (size > 0).then(|| (size * 100).div_ceil(4 * MAX_POLICY) as i32)
}

/// For the caller himself, who must not be in a session yet.
pub fn session_of_caller(cx: &Context, seconds: Option<i32>) -> Result<Session> {
    if cx.from.session.is_some() || matches!(cx.from.who, Who::Role { .. }) {
        return Err(Error::AccessDenied(
            "Cannot call GetSessionToken with session credentials".to_owned(),
        ));
    }
    // Root's are good for an hour at most.
    let (usual, most) = match cx.from.who {
        Who::Root => (HOUR, HOUR),
        _ => (12 * HOUR, 36 * HOUR),
    };
    let seconds = seconds.unwrap_or(usual).min(most);
    Ok(Session::begin(&cx.env, cx.from.who.clone(), Duration::from_secs(seconds as u64)))
}

//! Whether a caller may do what a call asks: his policies, those of his groups, his boundary and
//! session, and the resource's own, put before the `policy` crate.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use policy::{Decision, Effect, Layer, Policies, Policy, Principal, Request};
use serde_json::json;
use store::Snapshot;

use super::document::{Document, Place};
use super::model::{Identity, Kind};
use super::ops::{identity, policy as managed};
use super::resources::Demand;
use super::{Caller, Who, context};
use crate::{Context, arn};

/// What encoded authorization messages are sealed for.
const MESSAGE_OWNER: &str = "sts:authorization-message";

/// How a call was judged, for the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// `ec2:RunInstances`, of the demand that decided.
    pub action: String,
    pub resource: String,
    /// `identity-based policy AllowStart, statement 2 (Sid)`
    pub by: String,
}

/// A call that is not allowed.
#[derive(Clone, Debug)]
pub struct Denied {
    pub verdict: Verdict,
    /// Who may not do what, and why.
    pub message: String,
    /// The same and more for those who may know, as DecodeAuthorizationMessage shows it.
    pub encoded: String,
}

/// Every demand must be allowed; the first that is not is the answer. The verdict of what is allowed is
/// that of the first demand.
pub fn check(cx: &Context, demands: &[Demand]) -> Result<Verdict, Box<Denied>> {
    let judge = Judge::of(cx);
    let mut verdicts = demands.iter().map(|demand| judge.decide(demand));
    let first = verdicts.next().transpose()?;
    verdicts.try_for_each(|verdict| verdict.map(drop))?;
    Ok(first.unwrap_or_else(|| Verdict {
        allowed: true,
        action: String::new(),
        resource: String::new(),
        by: freely(&cx.from).unwrap_or("no permission is needed").to_owned(),
    }))
}

/// On whose word those act whom no policy is asked about.
fn freely(caller: &Caller) -> Option<&'static str> {
    let by = if caller.who == Who::Root { "root" } else { "service" };
    caller.may_do_all().then_some(by)
}

/// Decides on what one call asks for, demand by demand.
pub struct Judge<'a> {
    cx: &'a Context,
    /// `None`: the caller may do all.
    bounds: Option<Bounds>,
}

struct Bounds {
    principal: Principal,
    policies: Policies,
    /// Of the caller and the call.
    keys: policy::Context,
}

impl Judge<'_> {
    pub fn of(cx: &Context) -> Judge<'_> {
        if cx.from.may_do_all() {
            return Judge { cx, bounds: None };
        }
        let snapshot = cx.read();
        let bounds = Bounds {
            principal: principal(&snapshot, cx, &cx.from),
            policies: policies_of(&snapshot, cx, &cx.from),
            keys: context::of_call(&snapshot, cx),
        };
        Judge { cx, bounds: Some(bounds) }
    }

    pub fn decide(&self, demand: &Demand) -> Result<Verdict, Box<Denied>> {
        let Some(Bounds { principal, policies, keys }) = &self.bounds else {
            return Ok(Verdict {
                allowed: true,
                action: demand.action.clone(),
                resource: demand.resource.clone(),
                by: freely(&self.cx.from).unwrap_or_default().to_owned(),
            });
        };
        let mut keys = keys.clone();
        for (key, values) in &demand.keys {
            keys.set_all(key, values.clone());
        }
        let request = Request {
            principal,
            action: &demand.action,
            resource: &demand.resource,
            account: &self.cx.account,
            canonical_user: None,
            context: &keys,
        };
        let policies = Policies { resource: demand.policy.clone(), ..policies.clone() };
        let decision = policy::evaluate(&policies, &request);
        if !decision.is_allowed() {
            return Err(Box::new(denied(self.cx, demand, &decision, &keys)));
        }
        Ok(verdict(demand, &decision))
    }
}

fn verdict(demand: &Demand, decision: &Decision) -> Verdict {
    let layer = match decision.layer {
        Layer::Identity => "identity-based policy",
        Layer::Group => "group's policy",
        Layer::Boundary => "permissions boundary",
        Layer::Session => "session policy",
        Layer::Resource => "resource-based policy",
        Layer::Trust => "role trust policy",
        Layer::Endpoint => "VPC endpoint policy",
    };
    let by = match &decision.by {
        Some(found) => {
            let sid = found.sid.as_ref().map(|sid| format!(" ({sid})")).unwrap_or_default();
            format!("{layer} {}, statement {}{sid}", found.policy, found.statement + 1)
        }
        None => format!("no {layer} allows it"),
    };
    Verdict {
        allowed: decision.is_allowed(),
        action: demand.action.clone(),
        resource: demand.resource.clone(),
        by,
    }
}

fn denied(cx: &Context, demand: &Demand, decision: &Decision, keys: &policy::Context) -> Denied {
    let conditions: Vec<_> = keys.iter().map(|(k, v)| json!({"key": k, "values": v})).collect();
    let matched: Vec<_> = decision
        .by
        .iter()
        .map(|by| json!({"policy": &*by.policy, "statement": by.statement + 1, "sid": by.sid.as_deref()}))
        .collect();
    let plain = json!({
        "allowed": false,
        "explicitDeny": decision.effect == Effect::ExplicitDeny,
        "matchedStatements": {"items": matched},
        "failures": {"items": []},
        "context": {
            "principal": {"id": cx.from.user_id(&cx.account), "arn": cx.caller},
            "action": demand.action,
            "resource": demand.resource,
            "conditions": {"items": conditions},
        },
    });
    let sealed = cx.env.seal.seal(&cx.env.rng, MESSAGE_OWNER, plain.to_string().as_bytes());
    Denied {
        verdict: verdict(demand, decision),
        message: decision.message(&cx.caller, &demand.action, &demand.resource),
        encoded: URL_SAFE_NO_PAD.encode(sealed),
    }
}

/// What an encoded authorization message says; `None` when it is none of ours.
pub fn decode_message(cx: &Context, encoded: &str) -> Option<String> {
    let sealed = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    String::from_utf8(cx.env.seal.open(MESSAGE_OWNER, &sealed).ok()?).ok()
}

/// The caller as policies name him.
pub fn principal(snapshot: &Snapshot, cx: &Context, caller: &Caller) -> Principal {
    let arn = || caller.arn(snapshot, &cx.account);
    match &caller.who {
        Who::Root => Principal::Root { account: cx.account.clone() },
        Who::Service(name) => Principal::Service { name: name.clone() },
        Who::User { .. } => Principal::User { arn: arn() },
        Who::Role { name, .. } => {
            let key = Identity::key_of(&cx.account, Kind::Role, name);
            let role = snapshot.get::<Identity>(&key).map(|role| role.arn());
            let role =
                role.unwrap_or_else(|| arn::arn("iam", "", &cx.account, &format!("role/{name}")));
            Principal::Role { role, session: arn() }
        }
        Who::Anonymous => Principal::Anonymous,
    }
}

/// All policies that are the caller's, but for those of resources.
pub fn policies_of(snapshot: &Snapshot, cx: &Context, caller: &Caller) -> Policies {
    let identity = match &caller.who {
        Who::User { name, .. } => identity::get(snapshot, cx, Kind::User, name).ok(),
        Who::Role { name, .. } => identity::get(snapshot, cx, Kind::Role, name).ok(),
        _ => None,
    };
    let mut policies = identity.map(|one| of_identity(snapshot, cx, &one)).unwrap_or_default();
    policies.endpoint = caller.endpoint_policy();
    if let Some(session) = &caller.session {
        let given = session.policy_arns.iter().filter_map(|arn| of_arn(snapshot, cx, arn));
        policies.session = given.collect();
        let text = session.policy.as_deref();
        let document = text.and_then(|text| Document::parse(text, Place::Session).ok());
        policies.session.extend(document.map(|d| Policy::new("SessionPolicy", d.compiled)));
        let asked = text.is_some() || !session.policy_arns.is_empty();
        if asked && policies.session.is_empty() {
            // What was to limit the session is no more: then nothing is allowed.
            policies.session.push(nothing());
        }
    }
    policies
}

/// Of a user, group or role, with those of a user's groups.
pub fn of_identity(snapshot: &Snapshot, cx: &Context, one: &Identity) -> Policies {
    let groups = one.groups.iter();
    let groups = groups.filter_map(|name| identity::get(snapshot, cx, Kind::Group, name).ok());
    Policies {
        identity: own(snapshot, cx, one),
        groups: groups.flat_map(|group| own(snapshot, cx, &group)).collect(),
        boundary: one
            .boundary
            .as_ref()
            .map(|arn| of_arn(snapshot, cx, arn).unwrap_or_else(nothing)),
        ..Policies::default()
    }
}

fn own(snapshot: &Snapshot, cx: &Context, one: &Identity) -> Vec<Policy> {
    let attached = one.attached.iter().filter_map(|arn| of_arn(snapshot, cx, arn));
    let inline = one.inline.iter();
    let inline = inline.map(|(name, d)| Policy::new(name.as_str(), Arc::clone(&d.compiled)));
    attached.chain(inline).collect()
}

fn of_arn(snapshot: &Snapshot, cx: &Context, arn: &str) -> Option<Policy> {
    let found = managed::find(snapshot, cx, arn)?;
    Some(Policy::new(arn, found.compiled()))
}

/// Stands where a policy that limits is missing.
fn nothing() -> Policy {
    const TEXT: &str = r#"{"Version":"2012-10-17",
        "Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
    let document = policy::Document::parse(TEXT, policy::Kind::Identity);
    Policy::new("a policy that is no more", document.expect("it is a policy"))
}

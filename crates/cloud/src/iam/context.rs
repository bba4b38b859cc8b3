//! The keys that conditions are about: of the caller and the call here, of resources and requests in
//! `resources`. Source: IAM User Guide, "AWS global condition context keys".

use policy::Context as Keys;
use store::Snapshot;

use super::Who;
use super::model::{Identity, Kind};
use crate::Context;

/// Of the caller and the call, whatever it is about.
pub fn of_call(snapshot: &Snapshot, cx: &Context) -> Keys {
    let caller = &cx.from;
    let mut keys = Keys::new()
        .with("aws:CurrentTime", cx.now.iso8601())
        .with("aws:EpochTime", cx.now.seconds().to_string())
        .with("aws:RequestedRegion", cx.region.clone())
        .with("aws:SecureTransport", caller.source.secure.to_string())
        .with("aws:PrincipalIsAWSService", "false")
        .with("aws:ViaAWSService", "false");
    let endpoint = caller.source.endpoint.as_ref();
    if let Some(ip) = caller.source.ip {
        keys.set(endpoint.map_or("aws:SourceIp", |_| "aws:VpcSourceIp"), ip.to_string());
    }
    if let Some(endpoint) = endpoint {
        keys.set("aws:SourceVpc", endpoint.vpc_id.clone());
        keys.set("aws:SourceVpce", endpoint.id.clone());
    }
    if let Some(agent) = &caller.user_agent {
        keys.set("aws:UserAgent", agent.clone());
    }
    if caller.who == Who::Anonymous {
        keys.set("aws:PrincipalType", "Anonymous");
        return keys;
    }
    let account = &cx.account;
    keys.set("aws:PrincipalAccount", account.clone());
    keys.set("aws:userid", caller.user_id(account));
    let (kind, identity) = match &caller.who {
        Who::User { name, .. } => {
            keys.set("aws:username", name.clone());
            let user = snapshot.get::<Identity>(&Identity::key_of(account, Kind::User, name));
            ("User", user)
        }
        Who::Role { name, .. } => {
            let role = snapshot.get::<Identity>(&Identity::key_of(account, Kind::Role, name));
            ("AssumedRole", role)
        }
        _ => ("Account", None),
    };
    keys.set("aws:PrincipalType", kind);
    // Of a session it is the role's.
    let arn = identity.as_ref().map_or_else(|| cx.caller.clone(), |identity| identity.arn());
    keys.set("aws:PrincipalArn", arn);
    for (key, value) in identity.iter().flat_map(|identity| &identity.tags) {
        keys.set(&format!("aws:PrincipalTag/{key}"), value.clone());
    }
    if let Some(session) = &caller.session {
        keys.set("aws:TokenIssueTime", session.issued_at.iso8601());
        keys.set("aws:MultiFactorAuthPresent", "false");
        for (key, value) in &session.tags {
            keys.set(&format!("aws:PrincipalTag/{key}"), value.clone());
        }
        if let Some(identity) = &session.source_identity {
            keys.set("aws:SourceIdentity", identity.clone());
        }
        if let Some(instance) = &session.instance {
            keys.set("ec2:SourceInstanceARN", instance.clone());
        }
    }
    keys
}

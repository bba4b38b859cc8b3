//! Trust policies: who may become a role.

use policy::{Context as Keys, Policies, Policy, Principal, Request};
use store::Snapshot;

use super::model::{Identity, Kind};
use super::{Document, Error, Result};
use crate::{Context, arn};

/// Refuses a document that names users or roles of this account that do not exist.
pub fn check_principals(snapshot: &Snapshot, cx: &Context, document: &Document) -> Result<()> {
    for named in document.compiled.principal_arns() {
        let Some(parts) = arn::parse(named).filter(|parts| parts.account == cx.account) else {
            continue;
        };
        let (kind, path) = match parts.resource.split_once('/') {
            Some(("user", path)) => (Kind::User, path),
            Some(("role" | "assumed-role", path)) => (Kind::Role, path),
            _ => continue,
        };
        let name = match parts.service {
            "sts" => path.split('/').next(),
            _ => path.rsplit('/').next(),
        };
        let key = Identity::key_of(&cx.account, kind, name.unwrap_or_default());
        if snapshot.get::<Identity>(&key).is_none() {
            return Err(Error::Malformed(format!(
                "Invalid principal in policy: \"AWS\":\"{named}\""
            )));
        }
    }
    Ok(())
}

/// Whether a service may act in the role.
pub fn allows_service(role: &Identity, service: &str) -> bool {
    allows_service_for(role, service, &Keys::new())
}

/// Likewise, with what the service says of whom it acts for.
pub fn allows_service_for(role: &Identity, service: &str, keys: &Keys) -> bool {
    let Some(trust) = role.role.as_ref().map(|role| &role.trust) else { return false };
    let policies = Policies {
        resource: Some(Policy::new("AssumeRolePolicy", trust.compiled.clone())),
        ..Policies::default()
    };
    let principal = Principal::Service { name: service.to_owned() };
    let request = Request {
        principal: &principal,
        action: "sts:AssumeRole",
        resource: &role.arn(),
        account: &role.account,
        canonical_user: None,
        context: keys,
    };
    policy::evaluate(&policies, &request).is_allowed()
}

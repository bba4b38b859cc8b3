//! Services that act in a role of the user's, and may do no more than it: Spot Fleets, fault injection.

use std::sync::Arc;

use store::Snapshot;

use super::authorize::{self, Denied, Verdict};
use super::model::{Identity, Kind};
use super::{Call, Caller, Who, demands, trust};
use crate::{Context, arn};

/// As `service` sees the cloud in the role of this ARN, for the resource `source`; none where there is no such role of the account,
/// or where its trust policy does not let the service have it.
pub fn in_role(
    snapshot: &Snapshot,
    cx: &Context,
    role: &str,
    service: &str,
    session: &str,
    source: &str,
) -> Option<Context> {
    let parts = arn::parse(role).filter(|parts| parts.service == "iam")?;
    let path = parts.resource.strip_prefix("role/").filter(|_| parts.account == cx.account)?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let found = snapshot.get::<Identity>(&Identity::key_of(&cx.account, Kind::Role, name))?;
    let mut keys = policy::Context::new();
    keys.set_all("aws:SourceAccount", vec![cx.account.clone()]);
    keys.set_all("aws:SourceArn", vec![source.to_owned()]);
    if found.arn() != role || !trust::allows_service_for(&found, service, &keys) {
        return None;
    }
    let session = session.to_owned();
    let who = Who::Role { name: found.name.clone(), id: found.id.clone(), session };
    let from = Caller { who, ..Caller::default() };
    let caller = from.arn(snapshot, &cx.account);
    Some(Context { caller, from: Arc::new(from), ..cx.clone() })
}

/// Whether the role may make a call, by its members' names.
pub fn may(snapshot: &Snapshot, cx: &Context, call: &Call<'_>) -> Result<Verdict, Box<Denied>> {
    authorize::check(cx, &demands(snapshot, cx, call))
}

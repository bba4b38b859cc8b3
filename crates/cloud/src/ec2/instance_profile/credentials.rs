//! What metadata says of an instance's role: `iam/info` and `iam/security-credentials/`.
//!
//! ```text
//!  association ──── 5 h ────┬──── 5 h ────┬──── …      new credentials are offered
//!               each good for 6 h ────────────┤
//! ```
//!
//! Which credentials are offered follows from the time alone: nothing is stored, every look within
//! five hours sees the same key, and what is offered is good for an hour yet at least.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use store::Snapshot;

use super::{Association, ops};
use crate::ec2::instance::model::Instance;
use crate::iam::model::{Identity, InstanceProfile};
use crate::iam::ops::profile;
use crate::iam::{Caller, Session, Who, trust};
use crate::{Context, Timestamp, id};

const ROTATION: Duration = Duration::from_secs(5 * 3600);
const LIFE: Duration = Duration::from_secs(6 * 3600);

/// Values by path below `meta-data/iam/`; none without an instance profile.
pub fn metadata(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Vec<(String, String)> {
    let Some(association) = ops::of(snapshot, cx, instance) else { return vec![] };
    let began = began(&association, cx.env.clock.host_now());
    let info = json!({
        "Code": "Success",
        "LastUpdated": began.iso8601(),
        "InstanceProfileArn": association.profile.arn,
        "InstanceProfileId": association.profile.id,
    });
    let mut values = vec![("info".to_owned(), format!("{info:#}"))];
    if let Some(role) = role(snapshot, cx, &association) {
        let document = credentials(cx, instance, &association, &role, began);
        values.push((format!("security-credentials/{}", role.name), document));
    }
    values
}

/// The role of the profile, while both are what they were.
fn role(snapshot: &Snapshot, cx: &Context, association: &Association) -> Option<Arc<Identity>> {
    let key = InstanceProfile::key_of(&cx.account, &association.profile.name);
    let found = snapshot.get::<InstanceProfile>(&key);
    profile::role(snapshot, cx, &*found.filter(|found| found.id == association.profile.id)?)
}

/// Of the instance's role, whether it may be assumed or not.
pub fn role_name(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Option<String> {
    Some(role(snapshot, cx, &*ops::of(snapshot, cx, instance)?)?.name.clone())
}

/// Whoever acts with the credentials that the instance is offered; none where it is offered none.
pub fn caller(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Option<Caller> {
    let association = ops::of(snapshot, cx, instance)?;
    let role = role(snapshot, cx, &association)?;
    if !trust::allows_service(&role, "ec2.amazonaws.com") {
        return None;
    }
    let session =
        session(cx, instance, &association, &role, began(&association, cx.env.clock.host_now()));
    Some(Caller { who: session.who.clone(), session: Some(Box::new(session)), ..Caller::default() })
}

/// When the credentials offered `now` began.
fn began(association: &Association, now: Timestamp) -> Timestamp {
    let turns = now.since(association.offered_from).as_millis() / ROTATION.as_millis();
    association.offered_from.plus(ROTATION * u32::try_from(turns).unwrap_or(u32::MAX))
}

fn credentials(
    cx: &Context,
    instance: &Instance,
    association: &Association,
    role: &Identity,
    began: Timestamp,
) -> String {
    if !trust::allows_service(role, "ec2.amazonaws.com") {
        let refused = json!({
            "Code": "AssumeRoleUnauthorizedAccess",
            "Message": format!(
                "EC2 cannot assume the role {}. Its trust policy must allow ec2.amazonaws.com to \
                 call sts:AssumeRole.",
                role.name
            ),
            "LastUpdated": began.iso8601(),
        });
        return format!("{refused:#}");
    }
    let credentials = session(cx, instance, association, role, began).credentials(&cx.env);
    let document = json!({
        "Code": "Success",
        "LastUpdated": began.iso8601(),
        "Type": "AWS-HMAC",
        "AccessKeyId": credentials.access_key,
        "SecretAccessKey": credentials.secret,
        "Token": credentials.token,
        "Expiration": credentials.expires_at.iso8601(),
    });
    format!("{document:#}")
}

fn session(
    cx: &Context,
    instance: &Instance,
    association: &Association,
    role: &Identity,
    began: Timestamp,
) -> Session {
    let words = [instance.id.as_str(), &association.id, &role.id, &began.0.to_string()];
    Session {
        access_key: id::stable_access_key("ASIA", &words),
        who: Who::Role {
            name: role.name.clone(),
            id: role.id.clone(),
            session: instance.id.clone(),
        },
        issued_at: began,
        expires_at: began.plus(LIFE),
        instance: Some(cx.arn("ec2", &format!("instance/{}", instance.id))),
        ..Session::default()
    }
}

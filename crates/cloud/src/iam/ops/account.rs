//! The account: its alias, and what it counts.

use std::collections::BTreeMap;

use store::{Snapshot, Tx};

use super::super::model::{Alias, InstanceProfile, Kind};
use super::super::{Error, Result};
use super::{identity, policy};
use crate::Context;

pub fn alias(snapshot: &Snapshot, cx: &Context) -> Option<String> {
    snapshot.get::<Alias>(&cx.account).map(|alias| alias.alias.clone())
}

/// An account has one; another takes its place.
pub fn set_alias(tx: &mut Tx, cx: &Context, alias: &str) {
    tx.put(Alias { account: cx.account.clone(), alias: alias.to_owned() });
}

pub fn delete_alias(tx: &mut Tx, cx: &Context, wanted: &str) -> Result<()> {
    if alias(tx, cx).as_deref() != Some(wanted) {
        return Err(Error::NoSuchEntity(format!(
            "The Account Alias with name {wanted} cannot be found."
        )));
    }
    tx.delete::<Alias>(&cx.account);
    Ok(())
}

/// What there is and AWS's default quotas, for the things that are here.
pub fn summary(snapshot: &Snapshot, cx: &Context) -> BTreeMap<String, i32> {
    let count = |kind| identity::list(snapshot, cx, kind, None).len();
    let profiles = snapshot.scan::<InstanceProfile>(&format!("{}/", cx.account)).count();
    let policies = policy::customers(snapshot, cx);
    let versions: usize = policies.iter().map(|policy| policy.versions.len()).sum();
    [
        ("Users", count(Kind::User)),
        ("UsersQuota", 5000),
        ("Groups", count(Kind::Group)),
        ("GroupsQuota", 300),
        ("Roles", count(Kind::Role)),
        ("RolesQuota", 1000),
        ("InstanceProfiles", profiles),
        ("InstanceProfilesQuota", 1000),
        ("Policies", policies.len()),
        ("PoliciesQuota", 1500),
        ("PolicyVersionsInUse", versions),
        ("PolicyVersionsInUseQuota", 10_000),
        ("PolicySizeQuota", 6144),
        ("VersionsPerPolicyQuota", 5),
        ("AccessKeysPerUserQuota", 2),
        ("GroupsPerUserQuota", 10),
        ("AttachedPoliciesPerUserQuota", 10),
        ("AttachedPoliciesPerGroupQuota", 10),
        ("AttachedPoliciesPerRoleQuota", 10),
        ("UserPolicySizeQuota", Kind::User.inline_quota()),
        ("GroupPolicySizeQuota", Kind::Group.inline_quota()),
        ("RolePolicySizeQuota", Kind::Role.inline_quota()),
        ("AssumeRolePolicySizeQuota", 2048),
        ("AccountAccessKeysPresent", 1),
        ("AccountMFAEnabled", 0),
        ("AccountPasswordPresent", 0),
        ("AccountSigningCertificatesPresent", 0),
        ("MFADevices", 0),
        ("MFADevicesInUse", 0),
        ("Providers", 0),
        ("ServerCertificates", 0),
        ("ServerCertificatesQuota", 20),
    ]
    .map(|(name, n)| (name.to_owned(), i32::try_from(n).unwrap_or(i32::MAX)))
    .into()
}

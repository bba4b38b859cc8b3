//! Which snapshots a Describe call is about: ids, owners, filters, pages.

use std::sync::Arc;

use store::Snapshot as Read;

use super::model::Snapshot;
use crate::Context;
use crate::ec2::instance::describe::filter_time;
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Error, Kind, Result, resource, tag};

/// Who is asked for, besides ids and filters.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `self`, `amazon`, or account ids.
    pub owners: Vec<String>,
    /// `self`, `all`, or account ids: who can make volumes of it.
    pub restorable_by: Vec<String>,
}

const FILTERS: &[&str] = &[
    "description",
    "encrypted",
    "owner-alias",
    "owner-id",
    "progress",
    "snapshot-id",
    "start-time",
    "status",
    "storage-tier",
    "transfer-type",
    "volume-id",
    "volume-size",
];

/// In order of their ids.
pub fn snapshots(
    read: &Read,
    cx: &Context,
    ids: &[String],
    scope: &Scope,
    listing: &Listing,
) -> Result<(Vec<Arc<Snapshot>>, Option<String>)> {
    if !ids.is_empty() && listing.max_results.is_some() {
        return Err(Error::combination(
            "The parameter snapshotSet cannot be used with the parameter maxResults",
        ));
    }
    listing.check_max_results(5..=1000)?;
    listing.check(FILTERS, true)?;
    let mut all = resource::all::<Snapshot>(read, cx);
    listing::only(&mut all, ids, |snapshot| &snapshot.id, Kind::Snapshot)?;
    let owned =
        |s: &Snapshot| scope.owners.iter().any(|owner| owner == "self" || *owner == s.account);
    let restorable = |s: &Snapshot| {
        scope.restorable_by.iter().any(|user| match user.as_str() {
            "all" => s.permissions.everybody,
            // An owner needs no permission.
            "self" => true,
            account => account == s.account || s.permissions.accounts.contains(account),
        })
    };
    all.retain(|s| scope.owners.is_empty() || owned(s));
    all.retain(|s| scope.restorable_by.is_empty() || restorable(s));
    all.retain(|s| {
        let tags = || tag::ops::tags_of(read, cx, &s.id);
        listing.keeps(tags, |name| values(s, name))
    });
    listing.page(all, |s| s.id.clone())
}

/// In percent.
pub fn progress(s: &Snapshot) -> &'static str {
    if s.completed.is_some() { "100%" } else { "0%" }
}

fn values(s: &Snapshot, name: &str) -> Vec<String> {
    let one = match name {
        "description" => s.description.clone(),
        "encrypted" => s.encrypted.to_string(),
        "owner-id" => s.account.clone(),
        "progress" => progress(s).to_owned(),
        "snapshot-id" => s.id.clone(),
        "start-time" => filter_time(s.started),
        "status" => s.stage.name().to_owned(),
        "storage-tier" | "transfer-type" => "standard".to_owned(),
        "volume-id" => s.volume_id.clone(),
        "volume-size" => s.size_gib.to_string(),
        _ => return vec![],
    };
    vec![one]
}

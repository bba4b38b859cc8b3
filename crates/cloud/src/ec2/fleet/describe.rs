//! Which fleets a Describe call is about, and how fleets are said to be.

use std::sync::Arc;

use store::Snapshot;

use super::model::{Fleet, Kind, State};
use super::ops;
use crate::Context;
use crate::ec2::listing::Listing;
use crate::ec2::{Kind as Named, Result, tag};

/// `ActivityStatus`
pub fn activity(fleet: &Fleet) -> &'static str {
    match fleet.state {
        State::DeletedTerminating => "pending_termination",
        State::Deleted | State::DeletedRunning => "fulfilled",
        _ if fleet.members.iter().any(|member| member.ending) => "pending_termination",
        _ if !ops::is_short(fleet) => "fulfilled",
        _ if !fleet.errors.is_empty() => "error",
        _ => "pending_fulfillment",
    }
}

const FILTERS: &[&str] = &[
    "activity-status",
    "excess-capacity-termination-policy",
    "fleet-state",
    "replace-unhealthy-instances",
    "type",
];

/// Fleets of type instant are described by their ids only.
pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Arc<Fleet>>, Option<String>)> {
    listing.check(FILTERS, true)?;
    listing.check_max_results(1..=1000)?;
    let mut all = ops::named(snapshot, cx, Named::Fleet, ids)?;
    all.retain(|fleet| {
        let shown = !ids.is_empty() || fleet.wanted.kind != Kind::Instant;
        let tags = || tag::ops::tags_of(snapshot, cx, &fleet.id);
        shown
            && listing.keeps(tags, |name| {
                vec![match name {
                    "activity-status" => activity(fleet).to_owned(),
                    "excess-capacity-termination-policy" => {
                        excess_policy(fleet.wanted.terminate_excess).to_owned()
                    }
                    "fleet-state" => fleet.state_name().to_owned(),
                    "replace-unhealthy-instances" => fleet.wanted.replace_unhealthy.to_string(),
                    "type" => fleet.wanted.kind.name().to_owned(),
                    _ => return vec![],
                }]
            })
    });
    listing.page(all, |fleet| fleet.id.clone())
}

/// `ExcessCapacityTerminationPolicy`
pub fn excess_policy(terminate: bool) -> &'static str {
    if terminate { "termination" } else { "no-termination" }
}

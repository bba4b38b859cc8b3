//! Which elastic addresses, by id, address and filter.

use std::sync::Arc;

use store::Snapshot;

use super::model::PublicAddress;
use super::ops;
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::network_interface::{self, NetworkInterface};
use crate::ec2::{Kind, Result, tag};

const FILTERS: &[&str] = &[
    "allocation-id",
    "association-id",
    "domain",
    "instance-id",
    "network-border-group",
    "network-interface-id",
    "network-interface-owner-id",
    "private-ip-address",
    "public-ip",
];

pub fn addresses(
    snapshot: &Snapshot,
    cx: &Context,
    allocation_ids: &[String],
    public_ips: &[String],
    listing: &Listing,
) -> Result<Vec<Arc<PublicAddress>>> {
    let mut all = ops::elastic(snapshot, cx);
    listing::only(
        &mut all,
        allocation_ids,
        |a| a.allocation_id.as_deref().unwrap_or_default(),
        Kind::Allocation,
    )?;
    for text in public_ips {
        ops::named(snapshot, cx, None, Some(text))?;
    }
    let asked = |a: &PublicAddress| public_ips.iter().any(|text| *text == a.address.to_string());
    all.retain(|a| public_ips.is_empty() || asked(a));
    listing.check(FILTERS, true)?;
    all.retain(|a| {
        let id = a.allocation_id.as_deref().unwrap_or_default();
        listing.keeps(
            || tag::ops::tags_of(snapshot, cx, id),
            |name| values(snapshot, cx, a, name).into_iter().collect(),
        )
    });
    Ok(all)
}

fn values(snapshot: &Snapshot, cx: &Context, a: &PublicAddress, name: &str) -> Option<String> {
    let association = a.association.as_ref();
    match name {
        "allocation-id" => a.allocation_id.clone(),
        "association-id" => association.map(|a| a.id.clone()),
        "domain" => Some("vpc".to_owned()),
        "instance-id" => instance_id(snapshot, cx, a),
        "network-border-group" => Some(a.region.clone()),
        "network-interface-id" => association.map(|a| a.interface_id.clone()),
        "network-interface-owner-id" => association.map(|_| a.account.clone()),
        "private-ip-address" => association.map(|a| a.private_ip.to_string()),
        "public-ip" => Some(a.address.to_string()),
        _ => None,
    }
}

pub fn interface(
    snapshot: &Snapshot,
    cx: &Context,
    a: &PublicAddress,
) -> Option<Arc<NetworkInterface>> {
    network_interface::ops::by_id(snapshot, cx, &a.association.as_ref()?.interface_id).ok()
}

/// Of the instance whose interface it stands for.
pub fn instance_id(snapshot: &Snapshot, cx: &Context, a: &PublicAddress) -> Option<String> {
    Some(interface(snapshot, cx, a)?.attachment.as_ref()?.instance_id.clone())
}

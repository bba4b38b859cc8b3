//! Which VPCs, by id and filter.

use store::Snapshot;

use super::{Vpc, ops};
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Kind, Result, tag};

const FILTERS: &[&str] = &[
    "cidr",
    "cidr-block",
    "cidrBlock",
    "cidr-block-association.association-id",
    "cidr-block-association.cidr-block",
    "cidr-block-association.state",
    "dhcp-options-id",
    "dhcpOptionsId",
    "ipv6-cidr-block-association.association-id",
    "ipv6-cidr-block-association.ipv6-cidr-block",
    "ipv6-cidr-block-association.ipv6-pool",
    "ipv6-cidr-block-association.state",
    "is-default",
    "isDefault",
    "owner-id",
    "state",
    "vpc-id",
];

pub fn vpcs(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Vpc>, Option<String>)> {
    let mut all = ops::vpcs(snapshot, cx);
    listing::only(&mut all, ids, |vpc| &vpc.id, Kind::Vpc)?;
    listing.check(FILTERS, true)?;
    all.retain(|vpc| {
        let tags = || tag::ops::tags_of(snapshot, cx, &vpc.id);
        listing.keeps(tags, |name| match name {
            "cidr" | "cidr-block" | "cidrBlock" => vec![vpc.cidr.to_string()],
            "cidr-block-association.cidr-block" => {
                vpc.blocks().map(|cidr| cidr.to_string()).collect()
            }
            "cidr-block-association.association-id" => {
                vpc.associations().map(|(id, _)| id.to_owned()).collect()
            }
            "cidr-block-association.state" => vec!["associated".to_owned()],
            "dhcp-options-id" | "dhcpOptionsId" => vec![vpc.dhcp_options_id.clone()],
            "is-default" | "isDefault" => vec![vpc.is_default.to_string()],
            "owner-id" => vec![vpc.account.clone()],
            "state" => vec!["available".to_owned()],
            "vpc-id" => vec![vpc.id.clone()],
            _ => vec![],
        })
    });
    listing.page(all, |vpc| vpc.id.clone())
}

//! Which subnets, by id and filter.

use store::Snapshot;

use super::ops;
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::vpc::{Subnet, address};
use crate::ec2::{Kind, Result, tag};

const FILTERS: &[&str] = &[
    "availability-zone",
    "availabilityZone",
    "availability-zone-id",
    "availabilityZoneId",
    "available-ip-address-count",
    "cidr",
    "cidr-block",
    "cidrBlock",
    "customer-owned-ipv4-pool",
    "default-for-az",
    "defaultForAz",
    "enable-dns64",
    "enable-lni-at-device-index",
    "ipv6-cidr-block-association.association-id",
    "ipv6-cidr-block-association.ipv6-cidr-block",
    "ipv6-cidr-block-association.state",
    "ipv6-native",
    "map-customer-owned-ip-on-launch",
    "map-public-ip-on-launch",
    "outpost-arn",
    "owner-id",
    "private-dns-name-options-on-launch.hostname-type",
    "private-dns-name-options-on-launch.enable-resource-name-dns-a-record",
    "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record",
    "state",
    "subnet-arn",
    "subnet-id",
    "vpc-id",
];

pub fn subnets(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Subnet>, Option<String>)> {
    let mut all = ops::subnets(snapshot, cx);
    listing::only(&mut all, ids, |subnet| &subnet.id, Kind::Subnet)?;
    listing.check(FILTERS, true)?;
    all.retain(|subnet| {
        let tags = || tag::ops::tags_of(snapshot, cx, &subnet.id);
        listing.keeps(tags, |name| match name {
            "availability-zone" | "availabilityZone" => vec![subnet.zone.clone()],
            "availability-zone-id" | "availabilityZoneId" => vec![subnet.zone_id.clone()],
            "available-ip-address-count" => {
                vec![address::available(snapshot, cx, subnet).to_string()]
            }
            "cidr" | "cidr-block" | "cidrBlock" => vec![subnet.cidr.to_string()],
            "default-for-az" | "defaultForAz" => vec![subnet.default_for_zone.to_string()],
            "enable-dns64"
            | "ipv6-native"
            | "map-customer-owned-ip-on-launch"
            | "private-dns-name-options-on-launch.enable-resource-name-dns-a-record"
            | "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record" => {
                vec!["false".to_owned()]
            }
            "map-public-ip-on-launch" => vec![subnet.map_public_ip.to_string()],
            "owner-id" => vec![subnet.account.clone()],
            "private-dns-name-options-on-launch.hostname-type" => vec!["ip-name".to_owned()],
            "state" => vec!["available".to_owned()],
            "subnet-arn" => vec![ops::arn(cx, &subnet.id)],
            "subnet-id" => vec![subnet.id.clone()],
            "vpc-id" => vec![subnet.vpc_id.clone()],
            _ => vec![],
        })
    });
    all.sort_by(|a, b| a.id.cmp(&b.id));
    listing.page(all, |subnet| subnet.id.clone())
}

//! Which network ACLs, by id and filter.

use std::sync::Arc;

use store::Snapshot;

use super::model::{Association, Entry, NetworkAcl};
use super::ops;
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::vpc::Cidr;
use crate::ec2::{Kind, Result, resource, tag};

/// The number that stands for the last word of each direction.
pub const LAST: i32 = 32767;

/// As calls show them: each direction ends with the entry that denies all else.
pub fn entries(acl: &NetworkAcl) -> Vec<Entry> {
    let last = |egress| Entry {
        egress,
        number: LAST,
        allow: false,
        protocol: -1,
        ports: None,
        icmp: None,
        cidr: Cidr::ANY,
    };
    let of = |egress| acl.entries_of(egress).cloned().chain([last(egress)]);
    of(true).chain(of(false)).collect()
}

pub fn action(entry: &Entry) -> &'static str {
    if entry.allow { "allow" } else { "deny" }
}

const FILTERS: &[&str] = &[
    "association.association-id",
    "association.network-acl-id",
    "association.subnet-id",
    "default",
    "entry.cidr",
    "entry.egress",
    "entry.icmp.code",
    "entry.icmp.type",
    "entry.ipv6-cidr",
    "entry.port-range.from",
    "entry.port-range.to",
    "entry.protocol",
    "entry.rule-action",
    "entry.rule-number",
    "network-acl-id",
    "owner-id",
    "vpc-id",
];

/// An ACL and the subnets that have it.
pub type Found = (Arc<NetworkAcl>, Vec<Association>);

pub fn acls(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Found>, Option<String>)> {
    let mut all = resource::all::<NetworkAcl>(snapshot, cx);
    listing::only(&mut all, ids, |acl| &acl.id, Kind::NetworkAcl)?;
    listing.check(FILTERS, true)?;
    listing.check_max_results(5..=1000)?;
    let with_subnets = |acl: Arc<NetworkAcl>| {
        let associations = ops::associations(snapshot, cx, &acl);
        (acl, associations)
    };
    let mut all: Vec<Found> = all.into_iter().map(with_subnets).collect();
    all.retain(|(acl, associations)| {
        let tags = || tag::ops::tags_of(snapshot, cx, &acl.id);
        listing.keeps(tags, |name| match name.strip_prefix("entry.") {
            Some(name) => {
                entries(acl).iter().filter_map(|entry| entry_value(entry, name)).collect()
            }
            None => values(acl, associations, name),
        })
    });
    listing.page(all, |(acl, _)| acl.id.clone())
}

fn entry_value(entry: &Entry, name: &str) -> Option<String> {
    match name {
        "cidr" => Some(entry.cidr.to_string()),
        "egress" => Some(entry.egress.to_string()),
        "icmp.code" => entry.icmp.map(|(_, code)| code.to_string()),
        "icmp.type" => entry.icmp.map(|(kind, _)| kind.to_string()),
        "port-range.from" => entry.ports.map(|(from, _)| from.to_string()),
        "port-range.to" => entry.ports.map(|(_, to)| to.to_string()),
        "protocol" => Some(entry.protocol.to_string()),
        "rule-action" => Some(action(entry).to_owned()),
        "rule-number" => Some(entry.number.to_string()),
        _ => None,
    }
}

fn values(acl: &NetworkAcl, associations: &[Association], name: &str) -> Vec<String> {
    match name {
        "association.association-id" => associations.iter().map(|a| a.id.clone()).collect(),
        "association.network-acl-id" => associations.iter().map(|_| acl.id.clone()).collect(),
        "association.subnet-id" => associations.iter().map(|a| a.subnet_id.clone()).collect(),
        "default" => vec![acl.is_default.to_string()],
        "network-acl-id" => vec![acl.id.clone()],
        "owner-id" => vec![acl.account.clone()],
        "vpc-id" => vec![acl.vpc_id.clone()],
        _ => vec![],
    }
}

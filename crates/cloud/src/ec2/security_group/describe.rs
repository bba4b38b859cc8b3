//! Which groups and rules, by id, name and filter.

use std::sync::Arc;

use store::Snapshot;

use super::model::{Direction, Peer, Rule, SecurityGroup};
use super::ops;
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Kind, Result, tag};

const FILTERS: &[&str] = &[
    "description",
    "egress.ip-permission.cidr",
    "egress.ip-permission.from-port",
    "egress.ip-permission.group-id",
    "egress.ip-permission.group-name",
    "egress.ip-permission.ipv6-cidr",
    "egress.ip-permission.prefix-list-id",
    "egress.ip-permission.protocol",
    "egress.ip-permission.to-port",
    "egress.ip-permission.user-id",
    "group-id",
    "group-name",
    "ip-permission.cidr",
    "ip-permission.from-port",
    "ip-permission.group-id",
    "ip-permission.group-name",
    "ip-permission.ipv6-cidr",
    "ip-permission.prefix-list-id",
    "ip-permission.protocol",
    "ip-permission.to-port",
    "ip-permission.user-id",
    "owner-id",
    "vpc-id",
];

pub fn groups(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    names: &[String],
    listing: &Listing,
) -> Result<(Vec<Arc<SecurityGroup>>, Option<String>)> {
    let every = ops::groups(snapshot, cx);
    let mut all = every.clone();
    listing::only(&mut all, ids, |group| &group.id, Kind::SecurityGroup)?;
    listing::named(&mut all, names, |group| &group.name, Kind::SecurityGroup)?;
    listing.check(FILTERS, true)?;
    all.retain(|group| {
        let tags = || tag::ops::tags_of(snapshot, cx, &group.id);
        listing.keeps(tags, |name| values(&every, group, name))
    });
    listing.page(all, |group| group.id.clone())
}

fn values(every: &[Arc<SecurityGroup>], group: &SecurityGroup, name: &str) -> Vec<String> {
    if let Some(name) = name.strip_prefix("ip-permission.") {
        return rule_values(every, group, Direction::Ingress, name);
    }
    if let Some(name) = name.strip_prefix("egress.ip-permission.") {
        return rule_values(every, group, Direction::Egress, name);
    }
    match name {
        "description" => vec![group.description.clone()],
        "group-id" => vec![group.id.clone()],
        "group-name" => vec![group.name.clone()],
        "owner-id" => vec![group.account.clone()],
        "vpc-id" => vec![group.vpc_id.clone()],
        _ => vec![],
    }
}

fn rule_values(
    every: &[Arc<SecurityGroup>],
    group: &SecurityGroup,
    direction: Direction,
    name: &str,
) -> Vec<String> {
    let value = |rule: &Rule| match (name, &rule.peer) {
        ("cidr", Peer::Ipv4(cidr)) | ("ipv6-cidr", Peer::Ipv6(cidr)) => Some(cidr.clone()),
        ("group-id", Peer::Group(id)) => Some(id.clone()),
        ("group-name", Peer::Group(id)) => {
            every.iter().find(|other| other.id == *id).map(|other| other.name.clone())
        }
        ("prefix-list-id", Peer::PrefixList(id)) => Some(id.clone()),
        ("user-id", Peer::Group(_)) => Some(group.account.clone()),
        ("protocol", _) => Some(rule.traffic.protocol.clone()),
        ("from-port", _) => rule.traffic.ports.map(|(from, _)| from.to_string()),
        ("to-port", _) => rule.traffic.ports.map(|(_, to)| to.to_string()),
        _ => None,
    };
    group.rules_of(direction).filter_map(value).collect()
}

/// A rule and the group it belongs to.
pub type Found = (Arc<SecurityGroup>, Rule);

pub fn rules(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Found>, Option<String>)> {
    let mut all: Vec<Found> = ops::groups(snapshot, cx)
        .into_iter()
        .flat_map(|group| {
            let rules = group.rules.clone();
            rules.into_iter().map(move |rule| (Arc::clone(&group), rule))
        })
        .collect();
    all.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
    listing::only(&mut all, ids, |(_, rule)| &rule.id, Kind::SecurityGroupRule)?;
    listing.check(&["group-id", "security-group-rule-id"], true)?;
    all.retain(|(group, rule)| {
        let tags = || tag::ops::tags_of(snapshot, cx, &rule.id);
        listing.keeps(tags, |name| match name {
            "group-id" => vec![group.id.clone()],
            "security-group-rule-id" => vec![rule.id.clone()],
            _ => vec![],
        })
    });
    listing.page(all, |(_, rule)| rule.id.clone())
}

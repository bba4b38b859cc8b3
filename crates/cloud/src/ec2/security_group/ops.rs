//! Groups and their rules: making, changing, deleting, and finding those a launch names.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{DEFAULT_NAME, Direction, Peer, Rule, SecurityGroup, Traffic};
use super::permission::{self, GroupPair, Permission, Single};
use super::text;
use crate::ec2::network_interface::NetworkInterface;
use crate::ec2::resource::{self, Resource};
use crate::ec2::{Error, Kind, Result, prefix_list, tag, vpc, vpc_endpoint, vpc_peering};
use crate::elbv2::LoadBalancer;
use crate::tag::Tags;
use crate::{Context, id};

/// AWS's default quota: inbound and outbound counted apart, and IPv6 apart from the others. A prefix list
/// counts as many as it has room for.
const MAX_RULES: usize = 60;

/// AWS's default quota.
pub const MAX_PER_INTERFACE: usize = 5;

impl Resource for SecurityGroup {
    const KIND: Kind = Kind::SecurityGroup;

    fn id(&self) -> &str {
        &self.id
    }

    /// The group `default` of each VPC.
    fn untouched(snapshot: &Snapshot, cx: &Context) -> Vec<SecurityGroup> {
        vpc::ops::vpcs(snapshot, cx).iter().map(|vpc| untouched_default(cx, &vpc.id)).collect()
    }
}

/// Of a VPC's default group.
pub fn default_id(cx: &Context, vpc_id: &str) -> String {
    stable_id(cx, vpc_id, "sg", &[])
}

/// The first default VPC's are made of the account and the region, the others' of the VPC.
fn stable_id(cx: &Context, vpc_id: &str, prefix: &str, words: &[&str]) -> String {
    let place: &[&str] =
        if vpc_id == vpc::ops::first_id(cx) { &[&cx.account, &cx.region] } else { &[vpc_id] };
    id::stable(prefix, &[place, words].concat())
}

/// The default group as it is until it is changed.
fn untouched_default(cx: &Context, vpc_id: &str) -> SecurityGroup {
    let id = default_id(cx, vpc_id);
    let rule = |direction, peer, word| Rule {
        id: stable_id(cx, vpc_id, "sgr", &[word]),
        direction,
        traffic: Traffic::all(),
        peer,
        description: None,
    };
    SecurityGroup {
        account: cx.account.clone(),
        region: cx.region.clone(),
        name: DEFAULT_NAME.to_owned(),
        description: "default VPC security group".to_owned(),
        vpc_id: vpc_id.to_owned(),
        rules: vec![
            rule(Direction::Ingress, Peer::Group(id.clone()), "ingress"),
            rule(Direction::Egress, everywhere(), "egress"),
        ],
        id,
    }
}

fn everywhere() -> Peer {
    Peer::Ipv4("0.0.0.0/0".to_owned())
}

/// Every group of the region, in order of their ids.
pub fn groups(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<SecurityGroup>> {
    resource::all(snapshot, cx)
}

pub fn group(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<SecurityGroup>> {
    resource::find(snapshot, cx, id)
}

/// In the default VPC, the only one whose groups have names that calls can use.
pub fn by_name(snapshot: &Snapshot, cx: &Context, name: &str) -> Result<Arc<SecurityGroup>> {
    let vpc = vpc::ops::default_vpc(snapshot, cx)?;
    let found = in_vpc(snapshot, cx, &vpc.id, name);
    found.ok_or_else(|| Error::not_found(Kind::SecurityGroup, name))
}

fn in_vpc(
    snapshot: &Snapshot,
    cx: &Context,
    vpc_id: &str,
    name: &str,
) -> Option<Arc<SecurityGroup>> {
    groups(snapshot, cx).into_iter().find(|group| group.vpc_id == vpc_id && group.name == name)
}

/// By id or by name, one of which must be given.
pub fn find(
    snapshot: &Snapshot,
    cx: &Context,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<Arc<SecurityGroup>> {
    match (id, name) {
        (Some(_), Some(_)) => Err(Error::combination(
            "A security group is given by its ID or by its name, not by both.",
        )),
        (Some(id), None) => group(snapshot, cx, id),
        (None, Some(name)) => by_name(snapshot, cx, name),
        (None, None) => Err(Error::MissingParameter("groupName or groupId")),
    }
}

/// The groups of an interface in `vpc_id`, sorted: those named by id or by name, or the default one.
pub fn for_interface(
    snapshot: &Snapshot,
    cx: &Context,
    vpc_id: &str,
    ids: &[String],
    names: &[String],
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for id in ids {
        found.push(group(snapshot, cx, id)?);
    }
    for name in names {
        found.push(by_name(snapshot, cx, name)?);
    }
    if let Some(foreign) = found.iter().find(|group| group.vpc_id != vpc_id) {
        return Err(Error::InvalidParameter(format!(
            "Security group {} and network {vpc_id} belong to different networks.",
            foreign.id
        )));
    }
    let mut ids: Vec<String> = found.iter().map(|group| group.id.clone()).collect();
    if ids.is_empty() {
        ids.push(default_id(cx, vpc_id));
    }
    ids.sort();
    ids.dedup();
    if ids.len() > MAX_PER_INTERFACE {
        return Err(Error::SecurityGroupsPerInterfaceLimitExceeded);
    }
    Ok(ids)
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    description: &str,
    vpc_id: Option<&str>,
    tags: &Tags,
) -> Result<Arc<SecurityGroup>> {
    text::check_name(name)?;
    text::check_description(description)?;
    tag::ops::check(tags)?;
    let vpc_id = match vpc_id {
        Some(id) => vpc::ops::vpc(tx, cx, id)?.id,
        None => vpc::ops::default_vpc(tx, cx)?.id,
    };
    if in_vpc(tx, cx, &vpc_id, name).is_some() {
        return Err(Error::GroupDuplicate { name: name.to_owned(), vpc_id });
    }
    let open = Single { traffic: Traffic::all(), peer: everywhere(), description: None };
    let group = SecurityGroup {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "sg"),
        name: name.to_owned(),
        description: description.to_owned(),
        vpc_id,
        rules: vec![new_rule(cx, Direction::Egress, open)],
    };
    tag::ops::set(tx, cx, &group.id, tags)?;
    tx.put(group.clone());
    Ok(Arc::new(group))
}

pub fn delete(tx: &mut Tx, cx: &Context, group: &SecurityGroup) -> Result<()> {
    if group.is_default() {
        return Err(Error::CannotDelete(format!(
            "the specified group: \"{}\" name: \"{}\" cannot be deleted by a user",
            group.id, group.name
        )));
    }
    if in_use(tx, cx, group) {
        return Err(Error::DependencyViolation(format!(
            "resource {} has a dependent object",
            group.id
        )));
    }
    for rule in &group.rules {
        tag::ops::forget(tx, cx, &rule.id);
    }
    resource::delete::<SecurityGroup>(tx, cx, &group.id);
    Ok(())
}

/// Whether an interface, an endpoint or a load balancer is in the group, or a rule of another group of
/// its VPC refers to it. Rules of peered VPCs' become stale.
fn in_use(snapshot: &Snapshot, cx: &Context, group: &SecurityGroup) -> bool {
    let SecurityGroup { id, vpc_id, .. } = group;
    let refers = |rule: &Rule| matches!(&rule.peer, Peer::Group(peer) if peer == id);
    let other = |one: &SecurityGroup| one.id != *id && one.vpc_id == *vpc_id;
    let prefix = cx.prefix();
    let balanced = |lb: Arc<LoadBalancer>| lb.security_groups.iter().any(|one| one == id);
    snapshot.scan::<LoadBalancer>(&prefix).any(balanced)
        || snapshot
            .scan::<NetworkInterface>(&prefix)
            .any(|interface| interface.groups.iter().any(|one| one == id))
        || vpc_endpoint::ops::all(snapshot, cx)
            .iter()
            .filter_map(|endpoint| endpoint.interface.as_ref())
            .any(|endpoint| endpoint.groups.iter().any(|one| one == id))
        || groups(snapshot, cx).iter().any(|one| other(one) && one.rules.iter().any(refers))
}

fn new_rule(cx: &Context, direction: Direction, single: Single) -> Rule {
    Rule {
        id: id::resource(&cx.env.rng, "sgr"),
        direction,
        traffic: single.traffic,
        peer: single.peer,
        description: single.description,
    }
}

/// Which groups permissions may name.
#[derive(Clone, Copy, PartialEq)]
enum Whom {
    /// Those that a rule may refer to now.
    Current,
    /// Those that the group's rules refer to, too.
    Present,
}

/// The permissions, one for each peer, with every group they refer to found.
fn singles(
    snapshot: &Snapshot,
    cx: &Context,
    group: &SecurityGroup,
    permissions: &[Permission],
    whom: Whom,
) -> Result<Vec<Single>> {
    if permissions.is_empty() {
        return Err(Error::MissingParameter("ipPermissions"));
    }
    let is_known =
        |id: &String| group.rules.iter().any(|rule| rule.peer == Peer::Group(id.clone()));
    let referred = |pair: &GroupPair| match &pair.id {
        // It may be stale by now.
        Some(id) if whom == Whom::Present && is_known(id) => Ok(id.clone()),
        _ => referred(snapshot, cx, group, pair),
    };
    let listed = |id: &str| prefix_list::ops::by_id(snapshot, cx, id).map(drop);
    let mut all: Vec<Single> = Vec::new();
    for permission in permissions {
        for single in permission.singles(referred, listed)? {
            let twice =
                |known: &Single| known.traffic == single.traffic && known.peer == single.peer;
            if all.iter().any(twice) {
                return Err(Error::value("The same permission must not appear multiple times"));
            }
            all.push(single);
        }
    }
    Ok(all)
}

/// Of the same VPC, or of one that it is peered with in the region.
fn referred(
    snapshot: &Snapshot,
    cx: &Context,
    group: &SecurityGroup,
    pair: &GroupPair,
) -> Result<String> {
    let other = find(snapshot, cx, pair.id.as_deref(), pair.name.as_deref())?;
    let peering = vpc_peering::ops::between(snapshot, cx, &group.vpc_id, &other.vpc_id);
    let by = peering.as_ref().map(|peering| &peering.id);
    let foreign = pair.user_id.as_ref().is_some_and(|user| *user != cx.account)
        || pair.vpc_id.as_ref().is_some_and(|vpc| *vpc != other.vpc_id)
        || pair.peering_connection_id.as_ref().is_some_and(|id| Some(id) != by)
        || other.vpc_id != group.vpc_id && by.is_none();
    if foreign {
        Err(Error::not_found(Kind::SecurityGroup, other.id.clone()))
    } else {
        Ok(other.id.clone())
    }
}

/// Adds rules, all or none; they have `tags`.
pub fn authorize(
    tx: &mut Tx,
    cx: &Context,
    group: &SecurityGroup,
    direction: Direction,
    permissions: &[Permission],
    tags: &Tags,
) -> Result<Vec<Rule>> {
    tag::ops::check(tags)?;
    let mut group = group.clone();
    let mut added = Vec::new();
    for single in singles(tx, cx, &group, permissions, Whom::Current)? {
        if position(&group, direction, &single).is_some() {
            return Err(Error::PermissionDuplicate(permission::sentence(&single)));
        }
        let rule = new_rule(cx, direction, single);
        tag::ops::set(tx, cx, &rule.id, tags)?;
        group.rules.push(rule.clone());
        added.push(rule);
    }
    check_limit(tx, cx, &group)?;
    tx.put(group);
    Ok(added)
}

fn position(group: &SecurityGroup, direction: Direction, single: &Single) -> Option<usize> {
    group.rules.iter().position(|rule| {
        rule.direction == direction && rule.traffic == single.traffic && rule.peer == single.peer
    })
}

pub fn check_limit(snapshot: &Snapshot, cx: &Context, group: &SecurityGroup) -> Result<()> {
    let weight = |rule: &Rule| match &rule.peer {
        Peer::PrefixList(id) => {
            prefix_list::ops::by_id(snapshot, cx, id).map_or(1, |list| list.max_entries)
        }
        _ => 1,
    };
    for direction in [Direction::Ingress, Direction::Egress] {
        let (ipv6, others): (Vec<&Rule>, Vec<&Rule>) =
            group.rules_of(direction).partition(|rule| matches!(rule.peer, Peer::Ipv6(_)));
        let count = |rules: Vec<&Rule>| rules.into_iter().map(weight).sum::<usize>();
        if count(ipv6).max(count(others)) > MAX_RULES {
            return Err(Error::RulesPerSecurityGroupLimitExceeded);
        }
    }
    Ok(())
}

/// What a revocation removed, and which of its permissions there were not.
#[derive(Debug, Default)]
pub struct Revoked {
    pub rules: Vec<Rule>,
    pub unknown: Vec<Single>,
}

/// Removes rules by what they permit. What is not there is no error in a default VPC, as
/// RevokeSecurityGroupIngress documents.
pub fn revoke(
    tx: &mut Tx,
    cx: &Context,
    group: &SecurityGroup,
    direction: Direction,
    permissions: &[Permission],
) -> Result<Revoked> {
    let mut group = group.clone();
    let mut revoked = Revoked::default();
    for single in singles(tx, cx, &group, permissions, Whom::Present)? {
        match position(&group, direction, &single) {
            Some(at) => revoked.rules.push(group.rules.remove(at)),
            None => revoked.unknown.push(single),
        }
    }
    drop_rules(tx, cx, group, &revoked.rules);
    Ok(revoked)
}

pub fn revoke_ids(
    tx: &mut Tx,
    cx: &Context,
    group: &SecurityGroup,
    direction: Direction,
    ids: &[String],
) -> Result<Revoked> {
    let mut group = group.clone();
    let mut rules = Vec::new();
    for id in ids {
        let at = rule_position(&group, Some(direction), id)?;
        rules.push(group.rules.remove(at));
    }
    drop_rules(tx, cx, group, &rules);
    Ok(Revoked { rules, unknown: vec![] })
}

fn drop_rules(tx: &mut Tx, cx: &Context, group: SecurityGroup, dropped: &[Rule]) {
    for rule in dropped {
        tag::ops::forget(tx, cx, &rule.id);
    }
    if !dropped.is_empty() {
        tx.put(group);
    }
}

fn rule_position(group: &SecurityGroup, direction: Option<Direction>, id: &str) -> Result<usize> {
    if !Kind::SecurityGroupRule.is_id(id) {
        return Err(Error::malformed(Kind::SecurityGroupRule, id));
    }
    let wanted = |rule: &Rule| rule.id == id && direction.is_none_or(|d| d == rule.direction);
    let at = group.rules.iter().position(wanted);
    at.ok_or_else(|| Error::not_found(Kind::SecurityGroupRule, id))
}

/// Replaces rules by new permissions, each for one peer; ids and directions stay.
pub fn modify_rules(
    tx: &mut Tx,
    cx: &Context,
    group: &SecurityGroup,
    changes: &[(String, Permission)],
) -> Result<()> {
    let mut group = group.clone();
    for (id, permission) in changes {
        let at = rule_position(&group, None, id)?;
        let one = std::slice::from_ref(permission);
        let mut singles = singles(tx, cx, &group, one, Whom::Current)?;
        if singles.len() != 1 {
            return Err(Error::combination("A security group rule has one source or destination."));
        }
        let single = singles.remove(0);
        let direction = group.rules[at].direction;
        if position(&group, direction, &single).is_some_and(|other| other != at) {
            return Err(Error::PermissionDuplicate(permission::sentence(&single)));
        }
        let rule = &mut group.rules[at];
        *rule = Rule {
            id: rule.id.clone(),
            direction,
            traffic: single.traffic,
            peer: single.peer,
            description: single.description,
        };
    }
    check_limit(tx, cx, &group)?;
    tx.put(group);
    Ok(())
}

/// Sets or removes the descriptions of rules, named by what they permit.
pub fn describe_permissions(
    tx: &mut Tx,
    cx: &Context,
    group: &SecurityGroup,
    direction: Direction,
    permissions: &[Permission],
) -> Result<()> {
    let mut group = group.clone();
    for single in singles(tx, cx, &group, permissions, Whom::Present)? {
        let at = position(&group, direction, &single).ok_or(Error::PermissionNotFound)?;
        group.rules[at].description = single.description;
    }
    tx.put(group);
    Ok(())
}

/// The same, by the ids of the rules.
pub fn describe_rule_ids(
    tx: &mut Tx,
    group: &SecurityGroup,
    direction: Direction,
    descriptions: &[(String, Option<String>)],
) -> Result<()> {
    let mut group = group.clone();
    for (id, description) in descriptions {
        text::check_rule_description(description.as_deref())?;
        let at = rule_position(&group, Some(direction), id)?;
        group.rules[at].description = description.clone();
    }
    tx.put(group);
    Ok(())
}

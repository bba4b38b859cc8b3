//! What groups have to do with each other and with VPCs.

use std::collections::BTreeSet;
use std::sync::Arc;

use store::Snapshot;
use wire::ec2 as w;

use super::super::model::{Direction, Peer, Rule, SecurityGroup};
use super::super::ops;
use crate::Context;
use crate::ec2::handlers::{listing, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::vpc_peering::VpcPeering;
use crate::ec2::{Result, tag, vpc, vpc_peering};

/// VPCs on the other side of a peering whose groups refer to these.
pub async fn references(
    cx: Context,
    input: w::DescribeSecurityGroupReferencesRequest,
) -> Result<w::DescribeSecurityGroupReferencesResult> {
    let snapshot = cx.read();
    let all = ops::groups(&snapshot, &cx);
    let mut found = BTreeSet::new();
    for id in &input.group_id {
        let group = ops::group(&snapshot, &cx, id)?;
        let refers = |other: &&Arc<SecurityGroup>| other.rules.iter().any(|rule| names(rule, id));
        for other in all.iter().filter(refers) {
            let peering = vpc_peering::ops::between(&snapshot, &cx, &group.vpc_id, &other.vpc_id);
            found.extend(peering.map(|p| (id.clone(), other.vpc_id.clone(), p.id.clone())));
        }
    }
    dry_run(input.dry_run)?;
    let reference = |(group_id, vpc_id, peering_id)| w::SecurityGroupReference {
        group_id: Some(group_id),
        referencing_vpc_id: Some(vpc_id),
        vpc_peering_connection_id: Some(peering_id),
        ..Default::default()
    };
    let security_group_reference_set = Some(found.into_iter().map(reference).collect());
    Ok(w::DescribeSecurityGroupReferencesResult { security_group_reference_set })
}

fn names(rule: &Rule, id: &str) -> bool {
    matches!(&rule.peer, Peer::Group(peer) if peer == id)
}

/// Whether a rule refers to a group that is no more, or of a VPC whose peering is gone.
fn is_stale(snapshot: &Snapshot, cx: &Context, group: &SecurityGroup, rule: &Rule) -> bool {
    let Peer::Group(id) = &rule.peer else { return false };
    let Ok(other) = ops::group(snapshot, cx, id) else { return true };
    let joined = || vpc_peering::ops::between(snapshot, cx, &group.vpc_id, &other.vpc_id).is_some();
    other.vpc_id != group.vpc_id && !joined()
}

/// What is known of the peering by which a rule refers to a group of another VPC.
pub fn show_peering(
    snapshot: &Snapshot,
    cx: &Context,
    group: &SecurityGroup,
    pair: &mut w::UserIdGroupPair,
) {
    let id = pair.group_id.as_deref().unwrap_or_default();
    let Ok(other) = ops::group(snapshot, cx, id) else { return };
    if other.vpc_id == group.vpc_id {
        return;
    }
    let by = |p: &Arc<VpcPeering>| p.other(&group.vpc_id).is_some_and(|o| o.vpc_id == other.vpc_id);
    let mut peerings = vpc_peering::ops::peerings(snapshot, cx).into_iter().filter(by);
    // The one that joins them now, else one that did.
    let active = vpc_peering::ops::between(snapshot, cx, &group.vpc_id, &other.vpc_id);
    let peering = active.or_else(|| peerings.next());
    pair.vpc_id = Some(other.vpc_id.clone());
    pair.peering_status = peering.as_ref().map(|peering| peering.state.code().to_owned());
    pair.vpc_peering_connection_id = peering.map(|peering| peering.id.clone());
}

/// Groups with rules that refer to groups which are no more, or of VPCs whose peering is gone.
pub async fn stale(
    cx: Context,
    input: w::DescribeStaleSecurityGroupsRequest,
) -> Result<w::DescribeStaleSecurityGroupsResult> {
    let listing = listing(None, input.max_results, input.next_token);
    listing.check_max_results(5..=255)?;
    let snapshot = cx.read();
    let vpc = vpc::ops::vpc(&snapshot, &cx, &input.vpc_id)?;
    let mut all = ops::groups(&snapshot, &cx);
    let stale = |group: &SecurityGroup, rule: &Rule| is_stale(&snapshot, &cx, group, rule);
    all.retain(|group| group.vpc_id == vpc.id && group.rules.iter().any(|rule| stale(group, rule)));
    let (found, next_token) = listing.page(all, |group| group.id.clone())?;
    dry_run(input.dry_run)?;
    let permissions = |group: &SecurityGroup, direction| {
        let rules = group.rules_of(direction).filter(|rule| stale(group, rule));
        let mut rules: Vec<w::StaleIpPermission> =
            rules.map(|rule| stale_permission(group, rule)).collect();
        for pair in rules.iter_mut().flat_map(|rule| rule.user_id_group_pairs.iter_mut().flatten())
        {
            show_peering(&snapshot, &cx, group, pair);
        }
        Some(rules)
    };
    let shown = |group: &Arc<SecurityGroup>| w::StaleSecurityGroup {
        description: Some(group.description.clone()),
        group_id: Some(group.id.clone()),
        group_name: Some(group.name.clone()),
        stale_ip_permissions: permissions(group, Direction::Ingress),
        stale_ip_permissions_egress: permissions(group, Direction::Egress),
        vpc_id: Some(group.vpc_id.clone()),
    };
    let stale_security_group_set = Some(found.iter().map(shown).collect());
    Ok(w::DescribeStaleSecurityGroupsResult { next_token, stale_security_group_set })
}

fn stale_permission(group: &SecurityGroup, rule: &Rule) -> w::StaleIpPermission {
    let (from_port, to_port) = rule.traffic.ports.unzip();
    let pair = |id: &String| w::UserIdGroupPair {
        description: rule.description.clone(),
        group_id: Some(id.clone()),
        user_id: Some(group.account.clone()),
        ..Default::default()
    };
    let pairs = match &rule.peer {
        Peer::Group(id) => vec![pair(id)],
        _ => vec![],
    };
    w::StaleIpPermission {
        from_port,
        ip_protocol: Some(rule.traffic.protocol.clone()),
        to_port,
        user_id_group_pairs: Some(pairs),
        ..Default::default()
    }
}

pub async fn for_vpc(
    cx: Context,
    input: w::GetSecurityGroupsForVpcRequest,
) -> Result<w::GetSecurityGroupsForVpcResult> {
    let snapshot = cx.read();
    let listing = listing(input.filters, input.max_results, input.next_token);
    listing.check_max_results(5..=1000)?;
    listing
        .check(&["group-id", "description", "group-name", "owner-id", "primary-vpc-id"], true)?;
    let vpc = vpc::ops::vpc(&snapshot, &cx, &input.vpc_id)?;
    let mut all = ops::groups(&snapshot, &cx);
    all.retain(|group| group.vpc_id == vpc.id);
    all.retain(|group| {
        let tags = || tag::ops::tags_of(&snapshot, &cx, &group.id);
        listing.keeps(tags, |name| values(group, name))
    });
    let (found, next_token) = listing.page(all, |group| group.id.clone())?;
    dry_run(input.dry_run)?;
    let shown = |group: &Arc<SecurityGroup>| w::SecurityGroupForVpc {
        description: Some(group.description.clone()),
        group_id: Some(group.id.clone()),
        group_name: Some(group.name.clone()),
        owner_id: Some(group.account.clone()),
        primary_vpc_id: Some(group.vpc_id.clone()),
        tags: tags_out(tag::ops::tags_of(&snapshot, &cx, &group.id)),
    };
    let security_group_for_vpcs = Some(found.iter().map(shown).collect());
    Ok(w::GetSecurityGroupsForVpcResult { next_token, security_group_for_vpcs })
}

fn values(group: &SecurityGroup, name: &str) -> Vec<String> {
    vec![match name {
        "group-id" => group.id.clone(),
        "description" => group.description.clone(),
        "group-name" => group.name.clone(),
        "owner-id" => group.account.clone(),
        "primary-vpc-id" => group.vpc_id.clone(),
        _ => return vec![],
    }]
}

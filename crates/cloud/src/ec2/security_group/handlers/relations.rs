//! What groups have to do with each other and with VPCs.

use wire::ec2 as w;

use super::super::model::SecurityGroup;
use super::super::ops;
use crate::Context;
use crate::ec2::handlers::{listing, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Result, tag, vpc};

/// VPCs on the other side of a peering whose groups refer to these. No rule can refer to a group of
/// another VPC here, so there are none.
pub async fn references(
    cx: Context,
    input: w::DescribeSecurityGroupReferencesRequest,
) -> Result<w::DescribeSecurityGroupReferencesResult> {
    let snapshot = cx.read();
    for id in &input.group_id {
        ops::group(&snapshot, &cx, id)?;
    }
    dry_run(input.dry_run)?;
    Ok(w::DescribeSecurityGroupReferencesResult { security_group_reference_set: Some(vec![]) })
}

/// Groups with rules that refer to a group of a VPC whose peering is gone: none, as above.
pub async fn stale(
    cx: Context,
    input: w::DescribeStaleSecurityGroupsRequest,
) -> Result<w::DescribeStaleSecurityGroupsResult> {
    let listing = listing(None, input.max_results, input.next_token);
    listing.check_max_results(5..=255)?;
    vpc::ops::vpc(&cx.read(), &cx, &input.vpc_id)?;
    let none: Vec<w::StaleSecurityGroup> = vec![];
    let (found, next_token) = listing.page(none, |_| String::new())?;
    dry_run(input.dry_run)?;
    Ok(w::DescribeStaleSecurityGroupsResult { next_token, stale_security_group_set: Some(found) })
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
    let shown = |group: &std::sync::Arc<SecurityGroup>| w::SecurityGroupForVpc {
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

//! VPCs and subnets on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::{Subnet, Vpc, ops};
use crate::Context;
use crate::ec2::handlers::{listing, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::DescribeVpcs, _, _, _>(describe_vpcs),
        serve::<w::DescribeSubnets, _, _, _>(describe_subnets),
    ]
}

async fn describe_vpcs(
    cx: Context,
    input: w::DescribeVpcsRequest,
) -> Result<w::DescribeVpcsResult> {
    let snapshot = cx.read();
    let ids = input.vpc_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = ops::describe_vpcs(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let vpcs = found.into_iter().map(|vpc| vpc_out(&snapshot, &cx, vpc)).collect();
    Ok(w::DescribeVpcsResult { next_token, vpcs: Some(vpcs) })
}

fn vpc_out(snapshot: &Snapshot, cx: &Context, vpc: Vpc) -> w::Vpc {
    let associated = w::VpcCidrBlockAssociation {
        association_id: Some(vpc.cidr_association_id),
        cidr_block: Some(vpc.cidr.to_string()),
        cidr_block_state: Some(w::VpcCidrBlockState {
            state: Some("associated".to_owned()),
            ..Default::default()
        }),
    };
    w::Vpc {
        cidr_block: Some(vpc.cidr.to_string()),
        cidr_block_association_set: Some(vec![associated]),
        dhcp_options_id: Some(vpc.dhcp_options_id),
        instance_tenancy: Some("default".to_owned()),
        is_default: Some(vpc.is_default),
        owner_id: Some(vpc.owner),
        state: Some("available".to_owned()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &vpc.id)),
        vpc_id: Some(vpc.id),
        ..Default::default()
    }
}

async fn describe_subnets(
    cx: Context,
    input: w::DescribeSubnetsRequest,
) -> Result<w::DescribeSubnetsResult> {
    let snapshot = cx.read();
    let ids = input.subnet_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = ops::describe_subnets(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let subnets = found.into_iter().map(|subnet| subnet_out(&snapshot, &cx, subnet)).collect();
    Ok(w::DescribeSubnetsResult { next_token, subnets: Some(subnets) })
}

fn subnet_out(snapshot: &Snapshot, cx: &Context, subnet: Subnet) -> w::Subnet {
    let available = ops::available(snapshot, cx, &subnet);
    w::Subnet {
        assign_ipv6_address_on_creation: Some(false),
        available_ip_address_count: i32::try_from(available).ok(),
        availability_zone: Some(subnet.zone),
        availability_zone_id: Some(subnet.zone_id),
        cidr_block: Some(subnet.cidr.to_string()),
        default_for_az: Some(subnet.default_for_zone),
        enable_dns64: Some(false),
        ipv6_cidr_block_association_set: Some(vec![]),
        ipv6_native: Some(false),
        map_customer_owned_ip_on_launch: Some(false),
        map_public_ip_on_launch: Some(subnet.map_public_ip),
        owner_id: Some(subnet.owner),
        private_dns_name_options_on_launch: Some(w::PrivateDnsNameOptionsOnLaunch {
            enable_resource_name_dns_aaaa_record: Some(false),
            enable_resource_name_dns_a_record: Some(false),
            hostname_type: Some("ip-name".to_owned()),
        }),
        state: Some("available".to_owned()),
        subnet_arn: Some(subnet.arn),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &subnet.id)),
        subnet_id: Some(subnet.id),
        vpc_id: Some(subnet.vpc_id),
        ..Default::default()
    }
}

//! VPCs on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::ops::Attribute;
use super::{Cidr, Vpc, cidr_block, describe, ops};
use crate::Context;
use crate::ec2::handlers::{listing, one_of, refuse, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    let mut entries = vec![
        serve::<w::CreateVpc, _, _, _>(create),
        serve::<w::CreateDefaultVpc, _, _, _>(create_default),
        serve::<w::DeleteVpc, _, _, _>(delete),
        serve::<w::DescribeVpcs, _, _, _>(describe_vpcs),
        serve::<w::DescribeVpcAttribute, _, _, _>(describe_attribute),
        serve::<w::ModifyVpcAttribute, _, _, _>(modify_attribute),
        serve::<w::AssociateVpcCidrBlock, _, _, _>(associate_block),
        serve::<w::DisassociateVpcCidrBlock, _, _, _>(disassociate_block),
    ];
    entries.extend(super::subnet::handlers::operations());
    entries
}

const IPV6: &str = "IPv6 in a VPC";
const IPAM: &str = "IPAM";

async fn create(cx: Context, input: w::CreateVpcRequest) -> Result<w::CreateVpcResult> {
    let w::CreateVpcRequest {
        amazon_provided_ipv6_cidr_block,
        cidr_block,
        dry_run: dry,
        instance_tenancy,
        ipv4_ipam_pool_id,
        ipv4_netmask_length,
        ipv6_cidr_block,
        ipv6_cidr_block_network_border_group,
        ipv6_ipam_pool_id,
        ipv6_netmask_length,
        ipv6_pool,
        tag_specifications,
        vpc_encryption_control,
    } = input;
    refuse(amazon_provided_ipv6_cidr_block == Some(true), IPV6)?;
    refuse(ipv6_cidr_block.is_some() || ipv6_netmask_length.is_some(), IPV6)?;
    refuse(ipv6_cidr_block_network_border_group.is_some() || ipv6_pool.is_some(), IPV6)?;
    refuse(ipv4_ipam_pool_id.is_some() || ipv4_netmask_length.is_some(), IPAM)?;
    refuse(ipv6_ipam_pool_id.is_some(), IPAM)?;
    refuse(vpc_encryption_control.is_some(), "VPC encryption control")?;
    let tenancy = instance_tenancy.unwrap_or_else(|| "default".to_owned());
    one_of("instanceTenancy", &tenancy, &["default", "dedicated", "host"])?;
    if tenancy != "default" {
        return Err(Error::tenancy(format_args!("The tenancy '{tenancy}'")));
    }
    let tags = tags_of_type(tag_specifications, "vpc")?;
    let cidr = cidr_block.ok_or(Error::MissingParameter("cidrBlock"))?;
    let vpc = cx
        .write(|tx| {
            let vpc = ops::create(tx, &cx, &cidr, &tags)?;
            dry_run(dry)?;
            Ok::<_, Error>(vpc)
        })
        .await?;
    Ok(w::CreateVpcResult { vpc: Some(vpc_out(&cx.read(), &cx, &vpc)) })
}

async fn create_default(
    cx: Context,
    input: w::CreateDefaultVpcRequest,
) -> Result<w::CreateDefaultVpcResult> {
    let vpc = cx
        .write(|tx| {
            let vpc = ops::create_default(tx, &cx)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(vpc)
        })
        .await?;
    Ok(w::CreateDefaultVpcResult { vpc: Some(vpc_out(&cx.read(), &cx, &vpc)) })
}

async fn delete(cx: Context, input: w::DeleteVpcRequest) -> Result<w::DeleteVpcOutput> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.vpc_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteVpcOutput {})
}

async fn describe_vpcs(
    cx: Context,
    input: w::DescribeVpcsRequest,
) -> Result<w::DescribeVpcsResult> {
    let snapshot = cx.read();
    let ids = input.vpc_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::vpcs(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let vpcs = found.iter().map(|vpc| vpc_out(&snapshot, &cx, vpc)).collect();
    Ok(w::DescribeVpcsResult { next_token, vpcs: Some(vpcs) })
}

fn vpc_out(snapshot: &Snapshot, cx: &Context, vpc: &Vpc) -> w::Vpc {
    let blocks = vpc.associations().map(|(id, cidr)| block_out(id, cidr, "associated"));
    w::Vpc {
        cidr_block: Some(vpc.cidr.to_string()),
        cidr_block_association_set: Some(blocks.collect()),
        dhcp_options_id: Some(vpc.dhcp_options_id.clone()),
        instance_tenancy: Some("default".to_owned()),
        is_default: Some(vpc.is_default),
        owner_id: Some(vpc.account.clone()),
        state: Some("available".to_owned()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &vpc.id)),
        vpc_id: Some(vpc.id.clone()),
        ..Default::default()
    }
}

fn block_out(id: &str, cidr: Cidr, state: &str) -> w::VpcCidrBlockAssociation {
    w::VpcCidrBlockAssociation {
        association_id: Some(id.to_owned()),
        cidr_block: Some(cidr.to_string()),
        cidr_block_state: Some(w::VpcCidrBlockState {
            state: Some(state.to_owned()),
            ..Default::default()
        }),
    }
}

async fn describe_attribute(
    cx: Context,
    input: w::DescribeVpcAttributeRequest,
) -> Result<w::DescribeVpcAttributeResult> {
    let vpc = ops::vpc(&cx.read(), &cx, &input.vpc_id)?;
    dry_run(input.dry_run)?;
    let value = |on| Some(w::AttributeBooleanValue { value: Some(on) });
    let mut result =
        w::DescribeVpcAttributeResult { vpc_id: Some(vpc.id.clone()), ..Default::default() };
    match input.attribute.as_str() {
        "enableDnsSupport" => result.enable_dns_support = value(vpc.dns_support),
        "enableDnsHostnames" => result.enable_dns_hostnames = value(vpc.dns_hostnames),
        "enableNetworkAddressUsageMetrics" => {
            result.enable_network_address_usage_metrics = value(false);
        }
        other => {
            return Err(Error::value(format!(
                "Value ({other}) for parameter attribute is invalid. Unknown attribute."
            )));
        }
    }
    Ok(result)
}

async fn modify_attribute(
    cx: Context,
    input: w::ModifyVpcAttributeRequest,
) -> Result<w::ModifyVpcAttributeOutput> {
    let value = |attribute: Option<w::AttributeBooleanValue>| attribute.and_then(|a| a.value);
    let metrics = value(input.enable_network_address_usage_metrics);
    refuse(metrics == Some(true), "Network address usage metrics")?;
    let support = value(input.enable_dns_support).map(Attribute::DnsSupport);
    let hostnames = value(input.enable_dns_hostnames).map(Attribute::DnsHostnames);
    let attribute = match (support, hostnames, metrics) {
        (None, None, None) => return Err(Error::MissingParameter("enableDnsSupport")),
        (Some(attribute), None, None) | (None, Some(attribute), None) => Some(attribute),
        (None, None, Some(_)) => None,
        _ => return Err(Error::combination("Fields for multiple attribute types specified")),
    };
    cx.write(|tx| match attribute {
        Some(attribute) => ops::modify(tx, &cx, &input.vpc_id, attribute),
        None => ops::vpc(tx, &cx, &input.vpc_id).map(drop),
    })
    .await?;
    Ok(w::ModifyVpcAttributeOutput {})
}

async fn associate_block(
    cx: Context,
    input: w::AssociateVpcCidrBlockRequest,
) -> Result<w::AssociateVpcCidrBlockResult> {
    let w::AssociateVpcCidrBlockRequest {
        amazon_provided_ipv6_cidr_block,
        cidr_block,
        ipv4_ipam_pool_id,
        ipv4_netmask_length,
        ipv6_cidr_block,
        ipv6_cidr_block_network_border_group,
        ipv6_ipam_pool_id,
        ipv6_netmask_length,
        ipv6_pool,
        vpc_id,
    } = input;
    refuse(amazon_provided_ipv6_cidr_block == Some(true), IPV6)?;
    refuse(ipv6_cidr_block.is_some() || ipv6_netmask_length.is_some(), IPV6)?;
    refuse(ipv6_cidr_block_network_border_group.is_some() || ipv6_pool.is_some(), IPV6)?;
    refuse(ipv4_ipam_pool_id.is_some() || ipv4_netmask_length.is_some(), IPAM)?;
    refuse(ipv6_ipam_pool_id.is_some(), IPAM)?;
    let block = cidr_block.ok_or(Error::MissingParameter("cidrBlock"))?;
    let added = cx.write(|tx| cidr_block::associate(tx, &cx, &vpc_id, &block)).await?;
    Ok(w::AssociateVpcCidrBlockResult {
        cidr_block_association: Some(block_out(&added.id, added.cidr, "associating")),
        vpc_id: Some(vpc_id),
        ..Default::default()
    })
}

async fn disassociate_block(
    cx: Context,
    input: w::DisassociateVpcCidrBlockRequest,
) -> Result<w::DisassociateVpcCidrBlockResult> {
    let id = &input.association_id;
    let (vpc, block) = cx.write(|tx| cidr_block::disassociate(tx, &cx, id)).await?;
    Ok(w::DisassociateVpcCidrBlockResult {
        cidr_block_association: Some(block_out(&block.id, block.cidr, "disassociating")),
        vpc_id: Some(vpc.id),
        ..Default::default()
    })
}

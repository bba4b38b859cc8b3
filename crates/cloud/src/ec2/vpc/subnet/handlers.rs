//! Subnets on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::describe;
use super::ops::{self, Place};
use crate::Context;
use crate::ec2::handlers::{listing, one_of, refuse, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::vpc::{Subnet, address};
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateSubnet, _, _, _>(create),
        serve::<w::CreateDefaultSubnet, _, _, _>(create_default),
        serve::<w::DeleteSubnet, _, _, _>(delete),
        serve::<w::DescribeSubnets, _, _, _>(describe_subnets),
        serve::<w::ModifySubnetAttribute, _, _, _>(modify_attribute),
    ]
}

async fn create(cx: Context, input: w::CreateSubnetRequest) -> Result<w::CreateSubnetResult> {
    let w::CreateSubnetRequest {
        availability_zone,
        availability_zone_id,
        cidr_block,
        dry_run: dry,
        ipv4_ipam_pool_id,
        ipv4_netmask_length,
        ipv6_cidr_block,
        ipv6_ipam_pool_id,
        ipv6_native,
        ipv6_netmask_length,
        outpost_arn,
        tag_specifications,
        vpc_id,
    } = input;
    let ipv6 = ipv6_cidr_block.is_some() || ipv6_netmask_length.is_some();
    refuse(ipv6 || ipv6_native == Some(true), "IPv6 in a subnet")?;
    refuse(ipv4_ipam_pool_id.is_some() || ipv4_netmask_length.is_some(), "IPAM")?;
    refuse(ipv6_ipam_pool_id.is_some(), "IPAM")?;
    refuse(outpost_arn.is_some(), "An Outpost")?;
    let tags = tags_of_type(tag_specifications, "subnet")?;
    let cidr = cidr_block.ok_or(Error::MissingParameter("cidrBlock"))?;
    let place = Place { zone: availability_zone, zone_id: availability_zone_id };
    let subnet = cx
        .write(|tx| {
            let subnet = ops::create(tx, &cx, &vpc_id, &cidr, &place, &tags)?;
            dry_run(dry)?;
            Ok::<_, Error>(subnet)
        })
        .await?;
    Ok(w::CreateSubnetResult { subnet: Some(subnet_out(&cx.read(), &cx, &subnet)) })
}

async fn create_default(
    cx: Context,
    input: w::CreateDefaultSubnetRequest,
) -> Result<w::CreateDefaultSubnetResult> {
    refuse(input.ipv6_native == Some(true), "IPv6 in a subnet")?;
    let place = Place { zone: input.availability_zone, zone_id: input.availability_zone_id };
    let subnet = cx
        .write(|tx| {
            let subnet = ops::create_default_in(tx, &cx, &place)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(subnet)
        })
        .await?;
    Ok(w::CreateDefaultSubnetResult { subnet: Some(subnet_out(&cx.read(), &cx, &subnet)) })
}

async fn delete(cx: Context, input: w::DeleteSubnetRequest) -> Result<w::DeleteSubnetOutput> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.subnet_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteSubnetOutput {})
}

async fn describe_subnets(
    cx: Context,
    input: w::DescribeSubnetsRequest,
) -> Result<w::DescribeSubnetsResult> {
    let snapshot = cx.read();
    let ids = input.subnet_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::subnets(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let subnets = found.iter().map(|subnet| subnet_out(&snapshot, &cx, subnet)).collect();
    Ok(w::DescribeSubnetsResult { next_token, subnets: Some(subnets) })
}

fn subnet_out(snapshot: &Snapshot, cx: &Context, subnet: &Subnet) -> w::Subnet {
    let available = address::available(snapshot, cx, subnet);
    w::Subnet {
        assign_ipv6_address_on_creation: Some(false),
        available_ip_address_count: i32::try_from(available).ok(),
        availability_zone: Some(subnet.zone.clone()),
        availability_zone_id: Some(subnet.zone_id.clone()),
        cidr_block: Some(subnet.cidr.to_string()),
        default_for_az: Some(subnet.default_for_zone),
        enable_dns64: Some(false),
        ipv6_cidr_block_association_set: Some(vec![]),
        ipv6_native: Some(false),
        map_customer_owned_ip_on_launch: Some(false),
        map_public_ip_on_launch: Some(subnet.map_public_ip),
        owner_id: Some(subnet.account.clone()),
        private_dns_name_options_on_launch: Some(w::PrivateDnsNameOptionsOnLaunch {
            enable_resource_name_dns_aaaa_record: Some(false),
            enable_resource_name_dns_a_record: Some(false),
            hostname_type: Some("ip-name".to_owned()),
        }),
        state: Some("available".to_owned()),
        subnet_arn: Some(ops::arn(cx, &subnet.id)),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &subnet.id)),
        subnet_id: Some(subnet.id.clone()),
        vpc_id: Some(subnet.vpc_id.clone()),
        ..Default::default()
    }
}

/// One attribute a call. Only public addresses can be changed: all else is as it always is here.
async fn modify_attribute(
    cx: Context,
    input: w::ModifySubnetAttributeRequest,
) -> Result<w::ModifySubnetAttributeOutput> {
    let w::ModifySubnetAttributeRequest {
        assign_ipv6_address_on_creation,
        customer_owned_ipv4_pool,
        disable_lni_at_device_index,
        enable_dns64,
        enable_lni_at_device_index,
        enable_resource_name_dns_aaaa_record_on_launch,
        enable_resource_name_dns_a_record_on_launch,
        map_customer_owned_ip_on_launch,
        map_public_ip_on_launch,
        private_dns_hostname_type_on_launch,
        subnet_id,
    } = input;
    let switches = [
        ("AssignIpv6AddressOnCreation", assign_ipv6_address_on_creation),
        ("DisableLniAtDeviceIndex", disable_lni_at_device_index),
        ("EnableDns64", enable_dns64),
        ("EnableResourceNameDnsAAAARecordOnLaunch", enable_resource_name_dns_aaaa_record_on_launch),
        ("EnableResourceNameDnsARecordOnLaunch", enable_resource_name_dns_a_record_on_launch),
        ("MapCustomerOwnedIpOnLaunch", map_customer_owned_ip_on_launch),
    ];
    let map_public_ip = map_public_ip_on_launch.and_then(|attribute| attribute.value);
    let said = switches.iter().filter(|(_, attribute)| attribute.is_some()).count()
        + usize::from(map_public_ip.is_some())
        + usize::from(private_dns_hostname_type_on_launch.is_some());
    refuse(customer_owned_ipv4_pool.is_some(), "CustomerOwnedIpv4Pool")?;
    refuse(enable_lni_at_device_index.is_some(), "EnableLniAtDeviceIndex")?;
    for (name, attribute) in switches {
        refuse(attribute.and_then(|attribute| attribute.value) == Some(true), name)?;
    }
    if let Some(kind) = private_dns_hostname_type_on_launch {
        one_of("privateDnsHostnameTypeOnLaunch", &kind, &["ip-name", "resource-name"])?;
        refuse(kind != "ip-name", "Resource-based naming of hosts")?;
    }
    match said {
        0 => return Err(Error::MissingParameter("mapPublicIpOnLaunch")),
        1 => {}
        _ => return Err(Error::combination("Fields for multiple attribute types specified")),
    }
    cx.write(|tx| match map_public_ip {
        Some(on) => ops::map_public_ip(tx, &cx, &subnet_id, on),
        None => ops::subnet(tx, &cx, &subnet_id).map(drop),
    })
    .await?;
    Ok(w::ModifySubnetAttributeOutput {})
}

//! Load balancers on the wire.

use store::Snapshot;
use wire::elbv2 as w;

use super::{attributes_out, page_in, pairs, refuse, tags_in};
use crate::Context;
use crate::elbv2::attribute::LOAD_BALANCER;
use crate::elbv2::error::Result;
use crate::elbv2::model::{LoadBalancer, Scheme};
use crate::elbv2::ops::load_balancer as ops;
use crate::elbv2::ops::{load_balancer, nodes};
use crate::elbv2::{Error, Node};

pub async fn create(
    cx: Context,
    input: w::CreateLoadBalancerInput,
) -> Result<w::CreateLoadBalancerOutput> {
    refuse(&input.customer_owned_ipv4_pool, "CustomerOwnedIpv4Pool")?;
    refuse(&input.ipam_pools, "IpamPools")?;
    refuse(&input.enable_prefix_for_ipv6_source_nat, "EnablePrefixForIpv6SourceNat")?;
    let request = ops::Create {
        name: input.name,
        subnets: subnets_in(input.subnets, input.subnet_mappings)?,
        security_groups: input.security_groups.unwrap_or_default(),
        scheme: input.scheme,
        kind: input.r#type,
        ip_address_type: input.ip_address_type,
        tags: tags_in(input.tags)?,
    };
    let made = cx.write(|tx| ops::create(tx, &cx, &request)).await?;
    let load_balancers = Some(vec![load_balancer_out(&cx.read(), &cx, &made)]);
    Ok(w::CreateLoadBalancerOutput { load_balancers })
}

/// One of both lists.
fn subnets_in(
    subnets: Option<Vec<String>>,
    mappings: Option<Vec<w::SubnetMapping>>,
) -> Result<Vec<String>> {
    let mappings = match (subnets, mappings) {
        (Some(subnets), None) => return Ok(subnets),
        (None, mappings) => mappings.unwrap_or_default(),
        (Some(_), Some(_)) => {
            let message = "You can specify either subnets or subnet mappings, but not both";
            return Err(Error::validation(message));
        }
    };
    let subnet = |mapping: w::SubnetMapping| {
        refuse(&mapping.allocation_id, "AllocationId of an Application Load Balancer")?;
        refuse(
            &mapping.private_i_pv4_address,
            "PrivateIPv4Address of an Application Load Balancer",
        )?;
        refuse(&mapping.i_pv6_address, "IPv6Address")?;
        refuse(&mapping.source_nat_ipv6_prefix, "SourceNatIpv6Prefix")?;
        mapping.subnet_id.ok_or_else(|| Error::validation("A subnet ID must be specified"))
    };
    mappings.into_iter().map(subnet).collect()
}

pub async fn describe(
    cx: Context,
    input: w::DescribeLoadBalancersInput,
) -> Result<w::DescribeLoadBalancersOutput> {
    let snapshot = cx.read();
    let arns = input.load_balancer_arns.unwrap_or_default();
    let names = input.names.unwrap_or_default();
    let page = page_in(input.page_size, input.marker);
    let (found, next_marker) = ops::describe(&snapshot, &cx, &arns, &names, &page)?;
    let load_balancers = found.iter().map(|found| load_balancer_out(&snapshot, &cx, found));
    let load_balancers = Some(load_balancers.collect());
    Ok(w::DescribeLoadBalancersOutput { load_balancers, next_marker })
}

fn load_balancer_out(snapshot: &Snapshot, cx: &Context, found: &LoadBalancer) -> w::LoadBalancer {
    let code = if found.active { "active" } else { "provisioning" };
    w::LoadBalancer {
        availability_zones: Some(zones_out(snapshot, cx, &found.arn)),
        created_time: Some(wire::Timestamp(found.created_at.0)),
        dns_name: Some(found.dns_name.clone()),
        ip_address_type: Some("ipv4".to_owned()),
        load_balancer_arn: Some(found.arn.clone()),
        load_balancer_name: Some(found.name.clone()),
        scheme: Some(found.scheme.name().to_owned()),
        security_groups: Some(found.security_groups.clone()),
        state: Some(w::LoadBalancerState { code: Some(code.to_owned()), reason: None }),
        r#type: Some("application".to_owned()),
        vpc_id: Some(found.vpc_id.clone()),
        ..w::LoadBalancer::default()
    }
}

fn zones_out(snapshot: &Snapshot, cx: &Context, arn: &str) -> Vec<w::AvailabilityZone> {
    let zone = |node: &Node| w::AvailabilityZone {
        // AWS names the addresses of Network Load Balancers only.
        load_balancer_addresses: Some(vec![]),
        subnet_id: Some(node.subnet_id.clone()),
        zone_name: Some(node.zone.clone()),
        ..w::AvailabilityZone::default()
    };
    nodes(snapshot, cx, arn).iter().map(|node| zone(node)).collect()
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Scheme::InternetFacing => "internet-facing",
            Scheme::Internal => "internal",
        }
    }
}

pub async fn delete(
    cx: Context,
    input: w::DeleteLoadBalancerInput,
) -> Result<w::DeleteLoadBalancerOutput> {
    cx.write(|tx| ops::delete(tx, &cx, &input.load_balancer_arn)).await?;
    Ok(w::DeleteLoadBalancerOutput {})
}

pub async fn attributes(
    cx: Context,
    input: w::DescribeLoadBalancerAttributesInput,
) -> Result<w::DescribeLoadBalancerAttributesOutput> {
    let found = load_balancer(&cx.read(), &cx, &input.load_balancer_arn)?;
    Ok(w::DescribeLoadBalancerAttributesOutput { attributes: listed(&found) })
}

pub async fn modify_attributes(
    cx: Context,
    input: w::ModifyLoadBalancerAttributesInput,
) -> Result<w::ModifyLoadBalancerAttributesOutput> {
    let request = pairs(input.attributes, |attribute| (attribute.key, attribute.value));
    let arn = input.load_balancer_arn;
    let found = cx.write(|tx| ops::modify_attributes(tx, &cx, &arn, &request)).await?;
    Ok(w::ModifyLoadBalancerAttributesOutput { attributes: listed(&found) })
}

fn listed(found: &LoadBalancer) -> Option<Vec<w::LoadBalancerAttribute>> {
    let shape = |key, value| w::LoadBalancerAttribute { key, value };
    attributes_out(LOAD_BALANCER, &found.attributes, shape)
}

pub async fn set_security_groups(
    cx: Context,
    input: w::SetSecurityGroupsInput,
) -> Result<w::SetSecurityGroupsOutput> {
    refuse(
        &input.enforce_security_group_inbound_rules_on_private_link_traffic,
        "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic",
    )?;
    let (arn, ids) = (input.load_balancer_arn, input.security_groups);
    let groups = cx.write(|tx| ops::set_security_groups(tx, &cx, &arn, &ids)).await?;
    Ok(w::SetSecurityGroupsOutput {
        security_group_ids: Some(groups),
        ..w::SetSecurityGroupsOutput::default()
    })
}

pub async fn set_subnets(cx: Context, input: w::SetSubnetsInput) -> Result<w::SetSubnetsOutput> {
    refuse(&input.enable_prefix_for_ipv6_source_nat, "EnablePrefixForIpv6SourceNat")?;
    ops::check_ip_address_type(input.ip_address_type.as_deref())?;
    let subnets = subnets_in(input.subnets, input.subnet_mappings)?;
    let arn = input.load_balancer_arn;
    cx.write(|tx| ops::set_subnets(tx, &cx, &arn, &subnets)).await?;
    Ok(w::SetSubnetsOutput {
        availability_zones: Some(zones_out(&cx.read(), &cx, &arn)),
        ip_address_type: Some("ipv4".to_owned()),
        ..w::SetSubnetsOutput::default()
    })
}

pub async fn set_ip_address_type(
    cx: Context,
    input: w::SetIpAddressTypeInput,
) -> Result<w::SetIpAddressTypeOutput> {
    load_balancer(&cx.read(), &cx, &input.load_balancer_arn)?;
    ops::check_ip_address_type(Some(&input.ip_address_type))?;
    Ok(w::SetIpAddressTypeOutput { ip_address_type: Some(input.ip_address_type) })
}

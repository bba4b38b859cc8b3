//! VPC endpoints on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::describe;
use super::model::VpcEndpoint;
use super::ops::{self, New};
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::instance::handlers::describe::time;
use crate::ec2::instance::handlers::launch::{only, refuse_list, refuse_some, refuse_true};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, client_token, tag};
use crate::services::{Entry, serve};
use crate::zone;

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateVpcEndpoint, _, _, _>(create),
        serve::<w::ModifyVpcEndpoint, _, _, _>(modify),
        serve::<w::DeleteVpcEndpoints, _, _, _>(delete),
        serve::<w::DescribeVpcEndpoints, _, _, _>(describe_endpoints),
        serve::<w::DescribeVpcEndpointServices, _, _, _>(describe_services),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateVpcEndpointRequest,
) -> Result<w::CreateVpcEndpointResult> {
    let w::CreateVpcEndpointRequest {
        client_token: token,
        dns_options,
        dry_run: dry,
        ip_address_type,
        policy_document,
        private_dns_enabled,
        resource_configuration_arn,
        route_table_ids,
        security_group_ids,
        service_name,
        service_network_arn,
        service_region,
        subnet_configurations,
        subnet_ids,
        tag_specifications,
        vpc_endpoint_type,
        vpc_id,
    } = input;
    only(&vpc_endpoint_type, "Gateway", "VpcEndpointType")?;
    only(&ip_address_type, "ipv4", "IpAddressType")?;
    only(&service_region, &cx.region, "ServiceRegion")?;
    refuse_some(&dns_options, "DnsOptions")?;
    refuse_some(&resource_configuration_arn, "ResourceConfigurationArn")?;
    refuse_some(&service_network_arn, "ServiceNetworkArn")?;
    refuse_list(&subnet_configurations, "SubnetConfigurations")?;
    let of_interfaces = private_dns_enabled == Some(true)
        || security_group_ids.is_some_and(|ids| !ids.is_empty())
        || subnet_ids.is_some_and(|ids| !ids.is_empty());
    if of_interfaces {
        return Err(Error::InvalidParameter(
            "Endpoints of type Gateway have no subnets, security groups or private DNS names."
                .to_owned(),
        ));
    }
    if let Some(policy) = &policy_document {
        ops::check_policy(policy)?;
    }
    let service_name = service_name.ok_or(Error::MissingParameter("ServiceName"))?;
    let tables = route_table_ids.unwrap_or_default();
    let tags = tags_of_type(tag_specifications, "vpc-endpoint")?;
    let asked = (&vpc_id, &service_name, &tables, &tags);
    let client_token = client_token::of(token.as_deref(), &asked)?;
    let new = New {
        vpc_id: &vpc_id,
        service_name: &service_name,
        route_tables: &tables,
        tags: &tags,
        client_token,
    };
    let made = cx
        .write(|tx| {
            let known = ops::all(tx, &cx).into_iter();
            let made = client_token::made(&new.client_token, known, |e| &e.client_token)?;
            if let Some(made) = made {
                return Ok((*made).clone());
            }
            let made = ops::create(tx, &cx, &new)?;
            dry_run(dry)?;
            Ok::<_, Error>(made)
        })
        .await?;
    Ok(w::CreateVpcEndpointResult {
        client_token: token,
        vpc_endpoint: Some(endpoint_out(&cx.read(), &cx, &made)),
    })
}

fn endpoint_out(snapshot: &Snapshot, cx: &Context, endpoint: &VpcEndpoint) -> w::VpcEndpoint {
    w::VpcEndpoint {
        creation_timestamp: Some(time(endpoint.created_at)),
        dns_entries: Some(vec![]),
        groups: Some(vec![]),
        ip_address_type: Some("ipv4".to_owned()),
        network_interface_ids: Some(vec![]),
        owner_id: Some(endpoint.account.clone()),
        policy_document: Some(ops::full_access().to_string()),
        private_dns_enabled: Some(false),
        requester_managed: Some(false),
        route_table_ids: Some(ops::route_tables(snapshot, cx, endpoint)),
        service_name: Some(endpoint.service_name()),
        service_region: Some(endpoint.region.clone()),
        state: Some("available".to_owned()),
        subnet_ids: Some(vec![]),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &endpoint.id)),
        vpc_endpoint_id: Some(endpoint.id.clone()),
        vpc_endpoint_type: Some("Gateway".to_owned()),
        vpc_id: Some(endpoint.vpc_id.clone()),
        ..Default::default()
    }
}

async fn modify(
    cx: Context,
    input: w::ModifyVpcEndpointRequest,
) -> Result<w::ModifyVpcEndpointResult> {
    refuse_list(&input.add_security_group_ids, "AddSecurityGroupIds")?;
    refuse_list(&input.add_subnet_ids, "AddSubnetIds")?;
    refuse_list(&input.remove_security_group_ids, "RemoveSecurityGroupIds")?;
    refuse_list(&input.remove_subnet_ids, "RemoveSubnetIds")?;
    refuse_list(&input.subnet_configurations, "SubnetConfigurations")?;
    refuse_some(&input.dns_options, "DnsOptions")?;
    refuse_true(input.private_dns_enabled, "PrivateDnsEnabled")?;
    only(&input.ip_address_type, "ipv4", "IpAddressType")?;
    if let Some(policy) = &input.policy_document {
        ops::check_policy(policy)?;
    }
    let add = input.add_route_table_ids.unwrap_or_default();
    let remove = input.remove_route_table_ids.unwrap_or_default();
    cx.write(|tx| {
        ops::modify(tx, &cx, &input.vpc_endpoint_id, &add, &remove)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::ModifyVpcEndpointResult { r#return: Some(true) })
}

/// Those that can be; the others are listed.
async fn delete(
    cx: Context,
    input: w::DeleteVpcEndpointsRequest,
) -> Result<w::DeleteVpcEndpointsResult> {
    let unsuccessful = cx
        .write(|tx| {
            let mut unsuccessful = Vec::new();
            for id in &input.vpc_endpoint_ids {
                if let Err(error) = ops::delete(tx, &cx, id) {
                    let error = w::UnsuccessfulItemError {
                        code: Some(error.code()),
                        message: Some(error.to_string()),
                    };
                    let resource_id = Some(id.clone());
                    unsuccessful.push(w::UnsuccessfulItem { error: Some(error), resource_id });
                }
            }
            dry_run(input.dry_run)?;
            Ok::<_, Error>(unsuccessful)
        })
        .await?;
    Ok(w::DeleteVpcEndpointsResult { unsuccessful: Some(unsuccessful) })
}

async fn describe_endpoints(
    cx: Context,
    input: w::DescribeVpcEndpointsRequest,
) -> Result<w::DescribeVpcEndpointsResult> {
    let snapshot = cx.read();
    let ids = input.vpc_endpoint_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::endpoints(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let vpc_endpoints = Some(found.iter().map(|e| endpoint_out(&snapshot, &cx, e)).collect());
    Ok(w::DescribeVpcEndpointsResult { next_token, vpc_endpoints })
}

async fn describe_services(
    cx: Context,
    input: w::DescribeVpcEndpointServicesRequest,
) -> Result<w::DescribeVpcEndpointServicesResult> {
    refuse_list(&input.service_regions, "ServiceRegions")?;
    let names = input.service_names.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::services(&cx, &names, &listing)?;
    dry_run(input.dry_run)?;
    let zones = zone::zones(&cx.region, cx.env.config.zones);
    let detail = |name: &String| w::ServiceDetail {
        acceptance_required: Some(false),
        availability_zone_ids: Some(zones.iter().map(|zone| zone.id.clone()).collect()),
        availability_zones: Some(zones.iter().map(|zone| zone.name.clone()).collect()),
        manages_vpc_endpoints: Some(false),
        owner: Some("amazon".to_owned()),
        service_name: Some(name.clone()),
        service_region: Some(cx.region.clone()),
        service_type: Some(vec![w::ServiceTypeDetail { service_type: Some("Gateway".to_owned()) }]),
        supported_ip_address_types: Some(vec!["ipv4".to_owned()]),
        vpc_endpoint_policy_supported: Some(false),
        ..Default::default()
    };
    Ok(w::DescribeVpcEndpointServicesResult {
        next_token,
        service_details: Some(found.iter().map(detail).collect()),
        service_names: Some(found),
    })
}

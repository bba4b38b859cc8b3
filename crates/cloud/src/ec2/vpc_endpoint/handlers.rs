//! VPC endpoints on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::describe::{self, Offer};
use super::interface::{self, New, Subnets};
use super::model::VpcEndpoint;
use super::names;
use super::ops::{self, Change, OF_INTERFACES, Way, mismatch};
use crate::ec2::handlers::{listing, one_of, tags_of_type, tags_out};
use crate::ec2::instance::handlers::describe::time;
use crate::ec2::instance::handlers::launch::{
    address, only, refuse_list, refuse_some, refuse_true,
};
use crate::ec2::instance::resolve;
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, client_token, tag};
use crate::services::{Entry, serve};
use crate::{Context, id, zone};

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
    let kind = vpc_endpoint_type.unwrap_or_else(|| "Gateway".to_owned());
    let kinds = ["Gateway", "GatewayLoadBalancer", "Interface", "Resource", "ServiceNetwork"];
    one_of("vpcEndpointType", &kind, &kinds)?;
    only(&ip_address_type, "ipv4", "IpAddressType")?;
    only(&service_region, &cx.region, "ServiceRegion")?;
    refuse_some(&resource_configuration_arn, "ResourceConfigurationArn")?;
    refuse_some(&service_network_arn, "ServiceNetworkArn")?;
    let tables = route_table_ids.unwrap_or_default();
    let interface = interface::New {
        subnets: subnets(subnet_ids, subnet_configurations)?,
        groups: security_group_ids.unwrap_or_default(),
        private_dns: private_dns_enabled,
    };
    let service_name = service_name.ok_or(Error::MissingParameter("ServiceName"))?;
    check_dns(dns_options, &service_name, interface.private_dns)?;
    let way = match kind.as_str() {
        "Interface" if !tables.is_empty() => return Err(mismatch(&kind, "route tables")),
        "Interface" => Way::Interface(&interface),
        "Gateway" => {
            let New { subnets, groups, private_dns } = &interface;
            if !subnets.is_empty() || !groups.is_empty() || *private_dns == Some(true) {
                return Err(mismatch(&kind, OF_INTERFACES));
            }
            Way::Gateway(&tables)
        }
        other => return Err(Error::unsupported(format_args!("An endpoint of type {other}"))),
    };
    let tags = tags_of_type(tag_specifications, "vpc-endpoint")?;
    let asked = (&vpc_id, &service_name, &kind, &policy_document, &tables, &interface, &tags);
    let client_token = client_token::of(token.as_deref(), &asked)?;
    let new = ops::New {
        vpc_id: &vpc_id,
        service_name: &service_name,
        way,
        policy: policy_document.as_deref(),
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

/// Each by its id alone, or with the address to have there.
fn subnets(
    ids: Option<Vec<String>>,
    configurations: Option<Vec<w::SubnetConfiguration>>,
) -> Result<Subnets> {
    let ids = ids.unwrap_or_default().into_iter();
    let mut subnets: Subnets = ids.map(|id| (id, None)).collect();
    for one in configurations.unwrap_or_default() {
        refuse_some(&one.ipv6, "Ipv6")?;
        let id = one.subnet_id.ok_or(Error::MissingParameter("SubnetId"))?;
        subnets.insert(id, one.ipv4.map(address).transpose()?);
    }
    Ok(subnets)
}

/// Names have IPv4 addresses; S3's own names lead to an endpoint wholly or not at all.
fn check_dns(
    options: Option<w::DnsOptionsSpecification>,
    service_name: &str,
    private: Option<bool>,
) -> Result<()> {
    let w::DnsOptionsSpecification {
        dns_record_ip_type,
        private_dns_only_for_inbound_resolver_endpoint: only_inbound,
        private_dns_preference,
        private_dns_specified_domains,
    } = options.unwrap_or_default();
    only(&dns_record_ip_type, "ipv4", "DnsRecordIpType")?;
    refuse_some(&private_dns_preference, "PrivateDnsPreference")?;
    refuse_list(&private_dns_specified_domains, "PrivateDnsSpecifiedDomains")?;
    let by_default = service_name.ends_with(".s3") && private == Some(true);
    refuse_true(only_inbound.or(Some(by_default)), "PrivateDnsOnlyForInboundResolverEndpoint")
}

fn endpoint_out(snapshot: &Snapshot, cx: &Context, endpoint: &VpcEndpoint) -> w::VpcEndpoint {
    let policy = endpoint.policy.as_ref().map(|policy| policy.text.clone());
    let of = endpoint.interface.as_ref();
    let group = |id: &String| w::SecurityGroupIdentifier {
        group_id: Some(id.clone()),
        group_name: resolve::group_name(snapshot, cx, id),
    };
    let groups = of.map(|of| of.groups.iter().map(group).collect());
    w::VpcEndpoint {
        creation_timestamp: Some(time(endpoint.created_at)),
        dns_entries: Some(dns_entries(snapshot, cx, endpoint)),
        dns_options: of.map(|_| w::DnsOptions {
            dns_record_ip_type: Some("ipv4".to_owned()),
            ..Default::default()
        }),
        groups: Some(groups.unwrap_or_default()),
        ip_address_type: Some("ipv4".to_owned()),
        network_interface_ids: Some(
            of.map(|of| of.interfaces.values().cloned().collect()).unwrap_or_default(),
        ),
        owner_id: Some(endpoint.account.clone()),
        policy_document: Some(policy.unwrap_or_else(|| ops::full_access().to_string())),
        private_dns_enabled: Some(of.is_some_and(|of| of.private_dns)),
        requester_managed: Some(false),
        route_table_ids: Some(ops::route_tables(snapshot, cx, endpoint)),
        service_name: Some(endpoint.service_name()),
        service_region: Some(endpoint.region.clone()),
        state: Some(endpoint.state().to_owned()),
        subnet_ids: Some(of.map(|of| of.interfaces.keys().cloned().collect()).unwrap_or_default()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &endpoint.id)),
        vpc_endpoint_id: Some(endpoint.id.clone()),
        vpc_endpoint_type: Some(endpoint.kind().to_owned()),
        vpc_id: Some(endpoint.vpc_id.clone()),
        ..Default::default()
    }
}

/// The endpoint's own names are in a zone of the service's, the private ones in one of the endpoint's.
fn dns_entries(snapshot: &Snapshot, cx: &Context, endpoint: &VpcEndpoint) -> Vec<w::DnsEntry> {
    let entry = |name: String| {
        let words = match name.contains(".vpce.") {
            true => [endpoint.region.as_str(), &endpoint.service],
            false => [endpoint.id.as_str(), &endpoint.service],
        };
        let hosted_zone_id = Some(id::stable_principal("Z", &words));
        w::DnsEntry { dns_name: Some(name), hosted_zone_id }
    };
    names::all(snapshot, cx, endpoint).into_iter().map(entry).collect()
}

async fn modify(
    cx: Context,
    input: w::ModifyVpcEndpointRequest,
) -> Result<w::ModifyVpcEndpointResult> {
    let w::ModifyVpcEndpointRequest {
        add_route_table_ids,
        add_security_group_ids,
        add_subnet_ids,
        dns_options,
        dry_run: dry,
        ip_address_type,
        policy_document,
        private_dns_enabled,
        remove_route_table_ids,
        remove_security_group_ids,
        remove_subnet_ids,
        reset_policy,
        subnet_configurations,
        vpc_endpoint_id: id,
    } = input;
    only(&ip_address_type, "ipv4", "IpAddressType")?;
    let service_name = ops::by_id(&cx.read(), &cx, &id)?.service_name();
    check_dns(dns_options, &service_name, private_dns_enabled)?;
    let interface = interface::Change {
        add_subnets: subnets(add_subnet_ids, subnet_configurations)?,
        remove_subnets: remove_subnet_ids.unwrap_or_default(),
        add_groups: add_security_group_ids.unwrap_or_default(),
        remove_groups: remove_security_group_ids.unwrap_or_default(),
        private_dns: private_dns_enabled,
    };
    let change = Change {
        add_tables: add_route_table_ids.unwrap_or_default(),
        remove_tables: remove_route_table_ids.unwrap_or_default(),
        interface: (interface != interface::Change::default()).then_some(interface),
        policy: policy_document,
        reset_policy: reset_policy == Some(true),
    };
    cx.write(|tx| {
        ops::modify(tx, &cx, &id, &change)?;
        dry_run(dry)
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
    Ok(w::DescribeVpcEndpointServicesResult {
        next_token,
        service_details: Some(found.iter().map(|offer| detail(&cx, offer)).collect()),
        service_names: Some(found.into_iter().map(|offer| offer.name).collect()),
    })
}

fn detail(cx: &Context, offer: &Offer) -> w::ServiceDetail {
    let zones = zone::zones(&cx.region, cx.env.config.zones);
    let private =
        if offer.has_private_names() { names::private(&cx.region, offer.service) } else { vec![] };
    let named = |name: &String| w::PrivateDnsDetails { private_dns_name: Some(name.clone()) };
    let base = names::base(&cx.region, offer.service);
    w::ServiceDetail {
        acceptance_required: Some(false),
        availability_zone_ids: Some(zones.iter().map(|zone| zone.id.clone()).collect()),
        availability_zones: Some(zones.iter().map(|zone| zone.name.clone()).collect()),
        base_endpoint_dns_names: offer.is_interface.then(|| vec![base]),
        manages_vpc_endpoints: Some(false),
        owner: Some("amazon".to_owned()),
        private_dns_name: private.first().cloned(),
        private_dns_name_verification_state: private.first().map(|_| "verified".to_owned()),
        private_dns_names: Some(private.iter().map(named).collect()),
        service_id: Some(id::stable("vpce-svc", &[&offer.name, offer.kind()])),
        service_name: Some(offer.name.clone()),
        service_region: Some(cx.region.clone()),
        service_type: Some(vec![w::ServiceTypeDetail {
            service_type: Some(offer.kind().to_owned()),
        }]),
        supported_ip_address_types: Some(vec!["ipv4".to_owned()]),
        vpc_endpoint_policy_supported: Some(true),
        ..Default::default()
    }
}

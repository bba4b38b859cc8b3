//! Route tables on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::describe::{self, Shown};
use super::model::{Destination, RouteTable};
use super::ops;
use super::target::Wanted;
use crate::Context;
use crate::ec2::handlers::{listing, refuse, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::vpc::Cidr;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateRouteTable, _, _, _>(create),
        serve::<w::DeleteRouteTable, _, _, _>(delete),
        serve::<w::DescribeRouteTables, _, _, _>(describe_tables),
        serve::<w::AssociateRouteTable, _, _, _>(associate),
        serve::<w::DisassociateRouteTable, _, _, _>(disassociate),
        serve::<w::ReplaceRouteTableAssociation, _, _, _>(replace_association),
        serve::<w::CreateRoute, _, _, _>(create_route),
        serve::<w::ReplaceRoute, _, _, _>(replace_route),
        serve::<w::DeleteRoute, _, _, _>(delete_route),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateRouteTableRequest,
) -> Result<w::CreateRouteTableResult> {
    let tags = tags_of_type(input.tag_specifications, "route-table")?;
    let token = input.client_token.as_deref();
    let table = cx
        .write(|tx| {
            let table = ops::create(tx, &cx, &input.vpc_id, token, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(table)
        })
        .await?;
    Ok(w::CreateRouteTableResult {
        client_token: input.client_token,
        route_table: Some(table_out(&cx.read(), &cx, &table)),
    })
}

async fn delete(
    cx: Context,
    input: w::DeleteRouteTableRequest,
) -> Result<w::DeleteRouteTableOutput> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.route_table_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteRouteTableOutput {})
}

async fn describe_tables(
    cx: Context,
    input: w::DescribeRouteTablesRequest,
) -> Result<w::DescribeRouteTablesResult> {
    let snapshot = cx.read();
    let ids = input.route_table_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::tables(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let tables = found.iter().map(|table| table_out(&snapshot, &cx, table)).collect();
    Ok(w::DescribeRouteTablesResult { next_token, route_tables: Some(tables) })
}

fn table_out(snapshot: &Snapshot, cx: &Context, table: &RouteTable) -> w::RouteTable {
    let association = |id: &String, subnet_id: Option<&String>| w::RouteTableAssociation {
        association_state: associated(),
        main: Some(subnet_id.is_none()),
        route_table_association_id: Some(id.clone()),
        route_table_id: Some(table.id.clone()),
        subnet_id: subnet_id.cloned(),
        ..Default::default()
    };
    let main = table.main.iter().map(|id| association(id, None));
    let others = table.associations.iter().map(|a| association(&a.id, Some(&a.subnet_id)));
    let routes = describe::routes(snapshot, cx, table);
    w::RouteTable {
        associations: Some(main.chain(others).collect()),
        owner_id: Some(table.account.clone()),
        propagating_vgws: Some(vec![]),
        route_table_id: Some(table.id.clone()),
        routes: Some(routes.iter().map(|route| route_out(cx, route)).collect()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &table.id)),
        vpc_id: Some(table.vpc_id.clone()),
    }
}

fn route_out(cx: &Context, route: &Shown) -> w::Route {
    w::Route {
        destination_cidr_block: route.cidr(),
        destination_prefix_list_id: route.prefix_list_id(),
        gateway_id: route.gateway_id(),
        instance_owner_id: route.instance_id.as_ref().map(|_| cx.account.clone()),
        instance_id: route.instance_id.clone(),
        nat_gateway_id: route.nat_gateway_id(),
        network_interface_id: route.network_interface_id(),
        origin: Some(route.origin().to_owned()),
        state: Some(route.state().to_owned()),
        vpc_peering_connection_id: route.peering_id(),
        ..Default::default()
    }
}

fn associated() -> Option<w::RouteTableAssociationState> {
    let state = Some("associated".to_owned());
    Some(w::RouteTableAssociationState { state, ..Default::default() })
}

async fn associate(
    cx: Context,
    input: w::AssociateRouteTableRequest,
) -> Result<w::AssociateRouteTableResult> {
    let gateway = input.gateway_id.is_some() || input.public_ipv4_pool.is_some();
    refuse(gateway, "A route table of a gateway")?;
    let subnet_id = input.subnet_id.ok_or(Error::MissingParameter("subnetId"))?;
    let id = cx
        .write(|tx| {
            let id = ops::associate(tx, &cx, &input.route_table_id, &subnet_id)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(id)
        })
        .await?;
    Ok(w::AssociateRouteTableResult { association_id: Some(id), association_state: associated() })
}

async fn disassociate(
    cx: Context,
    input: w::DisassociateRouteTableRequest,
) -> Result<w::DisassociateRouteTableOutput> {
    cx.write(|tx| {
        ops::disassociate(tx, &cx, &input.association_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DisassociateRouteTableOutput {})
}

async fn replace_association(
    cx: Context,
    input: w::ReplaceRouteTableAssociationRequest,
) -> Result<w::ReplaceRouteTableAssociationResult> {
    let (association, table) = (&input.association_id, &input.route_table_id);
    let id = cx
        .write(|tx| {
            let id = ops::replace_association(tx, &cx, association, table)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(id)
        })
        .await?;
    Ok(w::ReplaceRouteTableAssociationResult {
        association_state: associated(),
        new_association_id: Some(id),
    })
}

/// The one destination of a request.
fn destination(
    cidr: Option<&String>,
    ipv6: Option<&String>,
    prefix_list: Option<String>,
) -> Result<Destination> {
    refuse(ipv6.is_some(), "An IPv6 route")?;
    match (cidr, prefix_list) {
        (Some(_), Some(_)) => Err(Error::combination(
            "The request must contain exactly one of destinationCidrBlock, destinationIpv6CidrBlock, \
             destinationPrefixListId",
        )),
        (None, None) => Err(Error::MissingParameter("destinationCidrBlock")),
        (None, Some(id)) => Ok(Destination::PrefixList(id)),
        (Some(text), None) => {
            let cidr = Cidr::canonical(text).ok_or_else(|| {
                Error::value(format!(
                    "Value ({text}) for parameter destinationCidrBlock is invalid. This is not a valid \
                     CIDR block."
                ))
            })?;
            Ok(Destination::Cidr(cidr))
        }
    }
}

/// The one target of a request.
fn wanted(named: impl IntoIterator<Item = Option<Wanted>>) -> Result<Wanted> {
    let mut named = named.into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::MissingParameter("gatewayId")),
        (Some(_), Some(_)) => Err(Error::combination(
            "The request must contain exactly one of gatewayId, natGatewayId, networkInterfaceId, \
             vpcPeeringConnectionId, instanceId",
        )),
    }
}

fn gateway(id: String) -> Wanted {
    if id == "local" { Wanted::Local } else { Wanted::Gateway(id) }
}

async fn create_route(cx: Context, input: w::CreateRouteRequest) -> Result<w::CreateRouteResult> {
    let w::CreateRouteRequest {
        carrier_gateway_id,
        core_network_arn,
        destination_cidr_block,
        destination_ipv6_cidr_block,
        destination_prefix_list_id,
        dry_run: dry,
        egress_only_internet_gateway_id,
        gateway_id,
        instance_id,
        local_gateway_id,
        nat_gateway_id,
        network_interface_id,
        odb_network_arn,
        route_table_id,
        transit_gateway_id,
        vpc_endpoint_id,
        vpc_peering_connection_id,
    } = input;
    refuse(carrier_gateway_id.is_some(), "A carrier gateway")?;
    refuse(core_network_arn.is_some(), "A core network")?;
    refuse(egress_only_internet_gateway_id.is_some(), "An egress-only internet gateway")?;
    refuse(local_gateway_id.is_some(), "A local gateway")?;
    refuse(odb_network_arn.is_some(), "An ODB network")?;
    refuse(transit_gateway_id.is_some(), "A transit gateway")?;
    refuse(vpc_endpoint_id.is_some(), "A Gateway Load Balancer endpoint")?;
    let destination = destination(
        destination_cidr_block.as_ref(),
        destination_ipv6_cidr_block.as_ref(),
        destination_prefix_list_id,
    )?;
    let wanted = wanted([
        gateway_id.map(gateway),
        nat_gateway_id.map(Wanted::NatGateway),
        network_interface_id.map(Wanted::NetworkInterface),
        vpc_peering_connection_id.map(Wanted::Peering),
        instance_id.map(Wanted::Instance),
    ])?;
    cx.write(|tx| {
        ops::create_route(tx, &cx, &route_table_id, destination.clone(), &wanted)?;
        dry_run(dry)
    })
    .await?;
    Ok(w::CreateRouteResult { r#return: Some(true) })
}

async fn replace_route(
    cx: Context,
    input: w::ReplaceRouteRequest,
) -> Result<w::ReplaceRouteOutput> {
    let w::ReplaceRouteRequest {
        carrier_gateway_id,
        core_network_arn,
        destination_cidr_block,
        destination_ipv6_cidr_block,
        destination_prefix_list_id,
        dry_run: dry,
        egress_only_internet_gateway_id,
        gateway_id,
        instance_id,
        local_gateway_id,
        local_target,
        nat_gateway_id,
        network_interface_id,
        odb_network_arn,
        route_table_id,
        transit_gateway_id,
        vpc_endpoint_id,
        vpc_peering_connection_id,
    } = input;
    refuse(carrier_gateway_id.is_some(), "A carrier gateway")?;
    refuse(core_network_arn.is_some(), "A core network")?;
    refuse(egress_only_internet_gateway_id.is_some(), "An egress-only internet gateway")?;
    refuse(local_gateway_id.is_some(), "A local gateway")?;
    refuse(odb_network_arn.is_some(), "An ODB network")?;
    refuse(transit_gateway_id.is_some(), "A transit gateway")?;
    refuse(vpc_endpoint_id.is_some(), "A Gateway Load Balancer endpoint")?;
    let destination = destination(
        destination_cidr_block.as_ref(),
        destination_ipv6_cidr_block.as_ref(),
        destination_prefix_list_id,
    )?;
    let wanted = wanted([
        (local_target == Some(true)).then_some(Wanted::Local),
        gateway_id.map(gateway),
        nat_gateway_id.map(Wanted::NatGateway),
        network_interface_id.map(Wanted::NetworkInterface),
        vpc_peering_connection_id.map(Wanted::Peering),
        instance_id.map(Wanted::Instance),
    ])?;
    cx.write(|tx| {
        ops::replace_route(tx, &cx, &route_table_id, &destination, &wanted)?;
        dry_run(dry)
    })
    .await?;
    Ok(w::ReplaceRouteOutput {})
}

async fn delete_route(cx: Context, input: w::DeleteRouteRequest) -> Result<w::DeleteRouteOutput> {
    let destination = destination(
        input.destination_cidr_block.as_ref(),
        input.destination_ipv6_cidr_block.as_ref(),
        input.destination_prefix_list_id,
    )?;
    cx.write(|tx| {
        ops::delete_route(tx, &cx, &input.route_table_id, &destination)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteRouteOutput {})
}

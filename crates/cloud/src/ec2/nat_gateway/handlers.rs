//! NAT gateways on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::model::{NatGateway, State};
use super::ops::{self, Create};
use crate::Context;
use crate::ec2::handlers::{listing, one_of, refuse, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateNatGateway, _, _, _>(create),
        serve::<w::DeleteNatGateway, _, _, _>(delete),
        serve::<w::DescribeNatGateways, _, _, _>(describe),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateNatGatewayRequest,
) -> Result<w::CreateNatGatewayResult> {
    let w::CreateNatGatewayRequest {
        allocation_id,
        availability_mode,
        availability_zone_addresses,
        client_token,
        connectivity_type,
        dry_run: dry,
        private_ip_address,
        secondary_allocation_ids,
        secondary_private_ip_address_count,
        secondary_private_ip_addresses,
        subnet_id,
        tag_specifications,
        vpc_id,
    } = input;
    let connectivity = connectivity_type.unwrap_or_else(|| "public".to_owned());
    one_of("connectivityType", &connectivity, &["public", "private"])?;
    let mode = availability_mode.unwrap_or_else(|| "zonal".to_owned());
    one_of("availabilityMode", &mode, &["zonal", "regional"])?;
    let regional = mode == "regional" || vpc_id.is_some();
    let many = availability_zone_addresses.is_some_and(|all| !all.is_empty());
    refuse(regional || many, "A regional NAT gateway")?;
    let secondary = secondary_allocation_ids.is_some_and(|all| !all.is_empty())
        || secondary_private_ip_addresses.is_some_and(|all| !all.is_empty())
        || secondary_private_ip_address_count.is_some_and(|count| count > 0);
    refuse(secondary, "A second address of a NAT gateway")?;
    let private_ip = match &private_ip_address {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Error::value(format!(
                "Value ({text}) for parameter privateIpAddress is invalid. It is not an IPv4 address."
            ))
        })?),
    };
    match (connectivity.as_str(), &allocation_id) {
        ("public", None) => return Err(Error::MissingParameter("AllocationId")),
        ("private", Some(_)) => {
            return Err(Error::combination(
                "AllocationId may not be specified for a private NAT gateway.",
            ));
        }
        _ => {}
    }
    let request = Create {
        subnet_id: subnet_id.ok_or(Error::MissingParameter("SubnetId"))?,
        allocation_id,
        private_ip,
        client_token: client_token.clone(),
        tags: tags_of_type(tag_specifications, "natgateway")?,
    };
    let gateway = cx
        .write(|tx| {
            let gateway = ops::create(tx, &cx, &request)?;
            dry_run(dry)?;
            Ok::<_, Error>(gateway)
        })
        .await?;
    let nat_gateway = Some(gateway_out(&cx.read(), &cx, &gateway));
    Ok(w::CreateNatGatewayResult { client_token, nat_gateway })
}

async fn delete(
    cx: Context,
    input: w::DeleteNatGatewayRequest,
) -> Result<w::DeleteNatGatewayResult> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.nat_gateway_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteNatGatewayResult { nat_gateway_id: Some(input.nat_gateway_id) })
}

async fn describe(
    cx: Context,
    input: w::DescribeNatGatewaysRequest,
) -> Result<w::DescribeNatGatewaysResult> {
    let snapshot = cx.read();
    let ids = input.nat_gateway_ids.unwrap_or_default();
    let listing = listing(input.filter, input.max_results, input.next_token);
    let (found, next_token) = ops::describe(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let gateways = found.iter().map(|gateway| gateway_out(&snapshot, &cx, gateway)).collect();
    Ok(w::DescribeNatGatewaysResult { nat_gateways: Some(gateways), next_token })
}

fn gateway_out(snapshot: &Snapshot, cx: &Context, gateway: &NatGateway) -> w::NatGateway {
    let (failure_code, failure_message) = ops::failure(gateway).unzip();
    let over = matches!(gateway.state, State::Failed | State::Deleted);
    let elastic = gateway.elastic.as_ref();
    let address = w::NatGatewayAddress {
        allocation_id: elastic.map(|elastic| elastic.allocation_id.clone()),
        association_id: elastic.filter(|_| !over).map(|elastic| elastic.association_id.clone()),
        is_primary: Some(true),
        network_interface_id: Some(gateway.interface_id.clone()),
        private_ip: Some(gateway.private_ip.to_string()),
        public_ip: elastic.map(|elastic| elastic.public_ip.to_string()),
        status: (!over).then(|| "succeeded".to_owned()),
        ..Default::default()
    };
    w::NatGateway {
        availability_mode: Some("zonal".to_owned()),
        connectivity_type: Some(gateway.connectivity().to_owned()),
        create_time: Some(wire::Timestamp(gateway.created_at.0)),
        delete_time: gateway.ended_at.map(|at| wire::Timestamp(at.0)),
        failure_code,
        failure_message,
        nat_gateway_addresses: Some(vec![address]),
        nat_gateway_id: Some(gateway.id.clone()),
        state: Some(gateway.state.name().to_owned()),
        subnet_id: Some(gateway.subnet_id.clone()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &gateway.id)),
        vpc_id: Some(gateway.vpc_id.clone()),
        ..Default::default()
    }
}

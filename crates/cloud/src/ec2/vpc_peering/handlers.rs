//! Peerings on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::model::{Side, State, VpcPeering};
use super::ops::{self, Options, Peer};
use crate::Context;
use crate::ec2::handlers::{listing, refuse, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateVpcPeeringConnection, _, _, _>(create),
        serve::<w::AcceptVpcPeeringConnection, _, _, _>(accept),
        serve::<w::RejectVpcPeeringConnection, _, _, _>(reject),
        serve::<w::DeleteVpcPeeringConnection, _, _, _>(delete),
        serve::<w::DescribeVpcPeeringConnections, _, _, _>(describe),
        serve::<w::ModifyVpcPeeringConnectionOptions, _, _, _>(modify_options),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateVpcPeeringConnectionRequest,
) -> Result<w::CreateVpcPeeringConnectionResult> {
    let options = input.requester_peering_connection_options.unwrap_or_default();
    let resilience = options.allow_multipath_resilience == Some(true)
        || options.multipath_resilience_mode.is_some();
    refuse(resilience, "Multipath resilience of a peering")?;
    let tags = tags_of_type(input.tag_specifications, "vpc-peering-connection")?;
    let peer =
        Peer { vpc_id: input.peer_vpc_id, region: input.peer_region, owner: input.peer_owner_id };
    let peering = cx
        .write(|tx| {
            let peering = ops::create(tx, &cx, &input.vpc_id, &peer, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(peering)
        })
        .await?;
    let vpc_peering_connection = Some(peering_out(&cx.read(), &cx, &peering));
    Ok(w::CreateVpcPeeringConnectionResult { vpc_peering_connection })
}

async fn accept(
    cx: Context,
    input: w::AcceptVpcPeeringConnectionRequest,
) -> Result<w::AcceptVpcPeeringConnectionResult> {
    let peering = cx
        .write(|tx| {
            let peering = ops::accept(tx, &cx, &input.vpc_peering_connection_id)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(peering)
        })
        .await?;
    let vpc_peering_connection = Some(peering_out(&cx.read(), &cx, &peering));
    Ok(w::AcceptVpcPeeringConnectionResult { vpc_peering_connection })
}

async fn reject(
    cx: Context,
    input: w::RejectVpcPeeringConnectionRequest,
) -> Result<w::RejectVpcPeeringConnectionResult> {
    cx.write(|tx| {
        ops::reject(tx, &cx, &input.vpc_peering_connection_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::RejectVpcPeeringConnectionResult { r#return: Some(true) })
}

async fn delete(
    cx: Context,
    input: w::DeleteVpcPeeringConnectionRequest,
) -> Result<w::DeleteVpcPeeringConnectionResult> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.vpc_peering_connection_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteVpcPeeringConnectionResult { r#return: Some(true) })
}

async fn describe(
    cx: Context,
    input: w::DescribeVpcPeeringConnectionsRequest,
) -> Result<w::DescribeVpcPeeringConnectionsResult> {
    let snapshot = cx.read();
    let ids = input.vpc_peering_connection_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = ops::describe(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let peerings = found.iter().map(|peering| peering_out(&snapshot, &cx, peering)).collect();
    Ok(w::DescribeVpcPeeringConnectionsResult {
        next_token,
        vpc_peering_connections: Some(peerings),
    })
}

async fn modify_options(
    cx: Context,
    input: w::ModifyVpcPeeringConnectionOptionsRequest,
) -> Result<w::ModifyVpcPeeringConnectionOptionsResult> {
    let of_requester = input.requester_peering_connection_options.map(option).transpose()?;
    let of_accepter = input.accepter_peering_connection_options.map(option).transpose()?;
    if of_requester.is_none() && of_accepter.is_none() {
        return Err(Error::combination(
            "At least one peering connection option must be specified.",
        ));
    }
    let options = Options { requester: of_requester.flatten(), accepter: of_accepter.flatten() };
    let changed = cx
        .write(|tx| {
            let id = &input.vpc_peering_connection_id;
            let changed = ops::modify_options(tx, &cx, id, options)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(changed)
        })
        .await?;
    let out = |side: &Side| w::PeeringConnectionOptions {
        allow_dns_resolution_from_remote_vpc: Some(side.allow_dns),
        allow_egress_from_local_classic_link_to_remote_vpc: Some(false),
        allow_egress_from_local_vpc_to_remote_classic_link: Some(false),
        ..Default::default()
    };
    Ok(w::ModifyVpcPeeringConnectionOptionsResult {
        accepter_peering_connection_options: of_accepter.map(|_| out(&changed.accepter)),
        requester_peering_connection_options: of_requester.map(|_| out(&changed.requester)),
    })
}

/// The one that is there, if it is said.
fn option(options: w::PeeringConnectionOptionsRequest) -> Result<Option<bool>> {
    let w::PeeringConnectionOptionsRequest {
        allow_dns_resolution_from_remote_vpc: allow_dns,
        allow_egress_from_local_classic_link_to_remote_vpc: from_classic,
        allow_egress_from_local_vpc_to_remote_classic_link: to_classic,
        allow_multipath_resilience,
        multipath_resilience_mode,
    } = options;
    refuse(from_classic == Some(true) || to_classic == Some(true), "ClassicLink")?;
    let resilience =
        allow_multipath_resilience == Some(true) || multipath_resilience_mode.is_some();
    refuse(resilience, "Multipath resilience of a peering")?;
    Ok(allow_dns)
}

fn peering_out(snapshot: &Snapshot, cx: &Context, peering: &VpcPeering) -> w::VpcPeeringConnection {
    let side = |side: &Side| w::VpcPeeringConnectionVpcInfo {
        cidr_block: side.blocks.first().map(|block| block.to_string()),
        cidr_block_set: Some(
            side.blocks
                .iter()
                .map(|block| w::CidrBlock { cidr_block: Some(block.to_string()) })
                .collect(),
        ),
        owner_id: Some(peering.account.clone()),
        peering_options: Some(w::VpcPeeringConnectionOptionsDescription {
            allow_dns_resolution_from_remote_vpc: Some(side.allow_dns),
            ..Default::default()
        }),
        region: Some(side.region.clone()),
        vpc_id: Some(side.vpc_id.clone()),
        ..Default::default()
    };
    let pending = peering.state == State::PendingAcceptance;
    w::VpcPeeringConnection {
        accepter_vpc_info: Some(side(&peering.accepter)),
        expiration_time: pending.then_some(wire::Timestamp(peering.expires_at.0)),
        requester_vpc_info: Some(side(&peering.requester)),
        status: Some(w::VpcPeeringConnectionStateReason {
            code: Some(peering.state.code().to_owned()),
            message: Some(ops::message(peering)),
        }),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &peering.id)),
        vpc_peering_connection_id: Some(peering.id.clone()),
        ..Default::default()
    }
}

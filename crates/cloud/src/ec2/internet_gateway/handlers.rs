//! Internet gateways on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::{InternetGateway, ops};
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateInternetGateway, _, _, _>(create),
        serve::<w::DeleteInternetGateway, _, _, _>(delete),
        serve::<w::AttachInternetGateway, _, _, _>(attach),
        serve::<w::DetachInternetGateway, _, _, _>(detach),
        serve::<w::DescribeInternetGateways, _, _, _>(describe),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateInternetGatewayRequest,
) -> Result<w::CreateInternetGatewayResult> {
    let tags = tags_of_type(input.tag_specifications, "internet-gateway")?;
    let gateway = cx
        .write(|tx| {
            let gateway = ops::create(tx, &cx, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(gateway)
        })
        .await?;
    let internet_gateway = Some(gateway_out(&cx.read(), &cx, &gateway));
    Ok(w::CreateInternetGatewayResult { internet_gateway })
}

async fn delete(
    cx: Context,
    input: w::DeleteInternetGatewayRequest,
) -> Result<w::DeleteInternetGatewayOutput> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.internet_gateway_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteInternetGatewayOutput {})
}

async fn attach(
    cx: Context,
    input: w::AttachInternetGatewayRequest,
) -> Result<w::AttachInternetGatewayOutput> {
    cx.write(|tx| {
        ops::attach(tx, &cx, &input.internet_gateway_id, &input.vpc_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::AttachInternetGatewayOutput {})
}

async fn detach(
    cx: Context,
    input: w::DetachInternetGatewayRequest,
) -> Result<w::DetachInternetGatewayOutput> {
    cx.write(|tx| {
        ops::detach(tx, &cx, &input.internet_gateway_id, &input.vpc_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DetachInternetGatewayOutput {})
}

async fn describe(
    cx: Context,
    input: w::DescribeInternetGatewaysRequest,
) -> Result<w::DescribeInternetGatewaysResult> {
    let snapshot = cx.read();
    let ids = input.internet_gateway_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = ops::describe(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let gateways = found.iter().map(|gateway| gateway_out(&snapshot, &cx, gateway)).collect();
    Ok(w::DescribeInternetGatewaysResult { internet_gateways: Some(gateways), next_token })
}

fn gateway_out(snapshot: &Snapshot, cx: &Context, gateway: &InternetGateway) -> w::InternetGateway {
    let attachment = |vpc_id: &String| w::InternetGatewayAttachment {
        // AWS says this of gateways, where other attachments are `attached`.
        state: Some("available".to_owned()),
        vpc_id: Some(vpc_id.clone()),
    };
    w::InternetGateway {
        attachments: Some(gateway.vpc_id.iter().map(attachment).collect()),
        internet_gateway_id: Some(gateway.id.clone()),
        owner_id: Some(gateway.account.clone()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &gateway.id)),
    }
}

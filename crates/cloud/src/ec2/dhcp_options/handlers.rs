//! DHCP options on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::model::{Configuration, DhcpOptions};
use super::ops;
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateDhcpOptions, _, _, _>(create),
        serve::<w::AssociateDhcpOptions, _, _, _>(associate),
        serve::<w::DeleteDhcpOptions, _, _, _>(delete),
        serve::<w::DescribeDhcpOptions, _, _, _>(describe),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateDhcpOptionsRequest,
) -> Result<w::CreateDhcpOptionsResult> {
    let tags = tags_of_type(input.tag_specifications, "dhcp-options")?;
    // A client may list several servers in one value, between commas.
    let split = |values: Vec<String>| {
        let parts = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        parts.map(str::to_owned).collect()
    };
    let configuration = |new: w::NewDhcpConfiguration| Configuration {
        key: new.key.unwrap_or_default(),
        values: split(new.values.unwrap_or_default()),
    };
    let configurations: Vec<_> = input.dhcp_configurations.into_iter().map(configuration).collect();
    let options = cx
        .write(|tx| {
            let options = ops::create(tx, &cx, &configurations, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(options)
        })
        .await?;
    let dhcp_options = Some(options_out(&cx.read(), &cx, &options));
    Ok(w::CreateDhcpOptionsResult { dhcp_options })
}

async fn associate(
    cx: Context,
    input: w::AssociateDhcpOptionsRequest,
) -> Result<w::AssociateDhcpOptionsOutput> {
    cx.write(|tx| {
        ops::associate(tx, &cx, &input.dhcp_options_id, &input.vpc_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::AssociateDhcpOptionsOutput {})
}

async fn delete(
    cx: Context,
    input: w::DeleteDhcpOptionsRequest,
) -> Result<w::DeleteDhcpOptionsOutput> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.dhcp_options_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteDhcpOptionsOutput {})
}

async fn describe(
    cx: Context,
    input: w::DescribeDhcpOptionsRequest,
) -> Result<w::DescribeDhcpOptionsResult> {
    let snapshot = cx.read();
    let ids = input.dhcp_options_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = ops::describe(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let options = found.iter().map(|options| options_out(&snapshot, &cx, options)).collect();
    Ok(w::DescribeDhcpOptionsResult { dhcp_options: Some(options), next_token })
}

fn options_out(snapshot: &Snapshot, cx: &Context, options: &DhcpOptions) -> w::DhcpOptions {
    let value = |value: &String| w::AttributeValue { value: Some(value.clone()) };
    let configuration = |configuration: &Configuration| w::DhcpConfiguration {
        key: Some(configuration.key.clone()),
        values: Some(configuration.values.iter().map(value).collect()),
    };
    w::DhcpOptions {
        dhcp_configurations: Some(options.configurations.iter().map(configuration).collect()),
        dhcp_options_id: Some(options.id.clone()),
        owner_id: Some(options.account.clone()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &options.id)),
    }
}

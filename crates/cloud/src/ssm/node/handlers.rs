//! Managed nodes on the wire.

use wire::ssm as w;

use super::describe::{self, Filter, Shown};
use crate::Context;
use crate::services::{Entry, serve};
use crate::ssm::{Error, Result};

const PAGE: usize = 50;

pub fn operations() -> Vec<Entry> {
    vec![serve::<w::DescribeInstanceInformation, _, _, _>(describe_instance_information)]
}

async fn describe_instance_information(
    cx: Context,
    input: w::DescribeInstanceInformationRequest,
) -> Result<w::DescribeInstanceInformationResult> {
    let older = input.instance_information_filter_list.unwrap_or_default();
    let newer = input.filters.unwrap_or_default();
    if !older.is_empty() && !newer.is_empty() {
        return Err(Error::validation(
            "Filters and InstanceInformationFilterList cannot be used together.",
        ));
    }
    let older = older.into_iter().map(|one| Filter { key: one.key, values: one.value_set });
    let newer = newer.into_iter().map(|one| Filter { key: one.key, values: one.values });
    let filters: Vec<Filter> = older.chain(newer).collect();
    let limit = input.max_results.map_or(PAGE, |n| n as usize);
    let token = input.next_token.as_deref();
    let (shown, next_token) = describe::describe(&cx.read(), &cx, &filters, limit, token)?;
    Ok(w::DescribeInstanceInformationResult {
        instance_information_list: Some(shown.iter().map(information).collect()),
        next_token,
    })
}

fn information(shown: &Shown) -> w::InstanceInformation {
    let Shown { node, instance, last_ping, .. } = shown;
    w::InstanceInformation {
        instance_id: Some(instance.id.clone()),
        ping_status: Some(shown.ping_status().to_owned()),
        last_ping_date_time: Some(wire::Timestamp(last_ping.0)),
        // This cloud's own: there is no agent in the guest.
        agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        is_latest_version: Some(true),
        platform_type: Some("Linux".to_owned()),
        platform_name: node.platform_name.clone(),
        platform_version: node.platform_version.clone(),
        resource_type: Some("EC2Instance".to_owned()),
        ip_address: Some(instance.private_ip.to_string()),
        computer_name: node.computer_name.clone(),
        source_id: Some(instance.id.clone()),
        source_type: Some("AWS::EC2::Instance".to_owned()),
        ..Default::default()
    }
}

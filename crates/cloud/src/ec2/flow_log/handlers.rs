//! Flow logs on the wire.

use wire::ec2 as w;

use super::model::{FlowLog, Traffic};
use super::{line, ops};
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::network_interface;
use crate::ec2::{Error, Result, tag, vpc};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateFlowLogs, _, _, _>(create_flow_logs),
        serve::<w::DescribeFlowLogs, _, _, _>(describe_flow_logs),
        serve::<w::DeleteFlowLogs, _, _, _>(delete_flow_logs),
    ]
}

pub(super) async fn create_flow_logs(
    cx: Context,
    input: w::CreateFlowLogsRequest,
) -> Result<w::CreateFlowLogsResult> {
    if input.log_destination_type.as_deref() != Some("s3") {
        return Err(Error::unsupported("A log destination type other than 's3'"));
    }
    let refused = [
        (input.log_group_name.is_some(), "LogGroupName"),
        (input.deliver_cross_account_role.is_some(), "DeliverCrossAccountRole"),
        (input.tag_field_specifications.is_some(), "TagFieldSpecifications"),
    ];
    if let Some((_, name)) = refused.iter().find(|(given, _)| *given) {
        return Err(Error::combination(format!("{name} does not go with the destination type s3")));
    }
    if input.deliver_logs_permission_arn.is_some() {
        return Err(Error::value(
            "DeliverLogsPermissionArn is not applicable for s3 delivery. Please remove it.",
        ));
    }
    let plain = |options: &w::DestinationOptionsRequest| {
        options.file_format.as_deref().is_none_or(|format| format == "plain-text")
            && options.hive_compatible_partitions != Some(true)
            && options.per_hour_partition != Some(true)
    };
    if !input.destination_options.as_ref().is_none_or(plain) {
        return Err(Error::unsupported("A destination option other than plain text"));
    }
    let destination = input.log_destination.ok_or(Error::MissingParameter("LogDestination"))?;
    let bucket = destination.strip_prefix("arn:aws:s3:::").filter(|path| !path.is_empty());
    let bucket = bucket.ok_or_else(|| {
        Error::value(format!("LogDestination: {destination} is not the ARN of a bucket"))
    })?;
    let traffic = input.traffic_type.as_deref().ok_or(Error::MissingParameter("TrafficType"))?;
    let traffic = Traffic::ALL.into_iter().find(|known| known.word() == traffic);
    let interval = input.max_aggregation_interval.unwrap_or(600);
    if !matches!(interval, 60 | 600) {
        return Err(Error::value("MaxAggregationInterval must be 60 or 600"));
    }
    let create = ops::Create {
        resources: input.resource_ids,
        traffic: traffic
            .ok_or_else(|| Error::value("TrafficType must be ACCEPT, REJECT or ALL"))?,
        fields: ops::fields(input.log_format.as_deref())?,
        interval_seconds: interval as u32,
        client_token: input.client_token.clone(),
        tags: tags_of_type(input.tag_specifications, "vpc-flow-log")?,
        destination: destination.clone(),
    };
    let name = bucket.split('/').next().unwrap_or_default();
    let ids = cx
        .write(|tx| {
            for id in &create.resources {
                match input.resource_type.as_str() {
                    "VPC" => vpc::ops::vpc(tx, &cx, id).map(drop)?,
                    "Subnet" => vpc::ops::subnet(tx, &cx, id).map(drop)?,
                    "NetworkInterface" => network_interface::ops::by_id(tx, &cx, id).map(drop)?,
                    other => return Err(Error::unsupported(format!("A flow log of a {other}"))),
                }
            }
            if crate::s3::bucket(tx, name).is_err() {
                return Err(Error::value(format!("LogDestination: {name} does not exist.")));
            }
            let ids = ops::create(tx, &cx, &create)?;
            dry_run(input.dry_run)?;
            Ok(ids)
        })
        .await?;
    Ok(w::CreateFlowLogsResult {
        client_token: input.client_token,
        flow_log_ids: Some(ids),
        unsuccessful: None,
    })
}

pub(super) async fn describe_flow_logs(
    cx: Context,
    input: w::DescribeFlowLogsRequest,
) -> Result<w::DescribeFlowLogsResult> {
    let snapshot = cx.read();
    let listing = listing(input.filter, input.max_results, input.next_token);
    let ids = input.flow_log_ids.unwrap_or_default();
    let (found, next_token) = ops::describe(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let flow_log = |log: &FlowLog| w::FlowLog {
        creation_time: Some(wire::Timestamp(log.created_at.0)),
        deliver_logs_error_message: log.failure.clone(),
        deliver_logs_status: Some(ops::status(log).to_owned()),
        flow_log_id: Some(log.id.clone()),
        flow_log_status: Some("ACTIVE".to_owned()),
        log_destination: Some(log.destination.clone()),
        log_destination_type: Some("s3".to_owned()),
        log_format: Some(line::format(&log.fields)),
        max_aggregation_interval: Some(log.interval_seconds as i32),
        resource_id: Some(log.resource_id.clone()),
        tags: tags_out(tag::ops::tags_of(&snapshot, &cx, &log.id)),
        traffic_type: Some(log.traffic.word().to_owned()),
        ..w::FlowLog::default()
    };
    Ok(w::DescribeFlowLogsResult {
        flow_logs: Some(found.iter().map(|log| flow_log(log)).collect()),
        next_token,
    })
}

pub(super) async fn delete_flow_logs(
    cx: Context,
    input: w::DeleteFlowLogsRequest,
) -> Result<w::DeleteFlowLogsResult> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.flow_log_ids)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteFlowLogsResult { unsuccessful: None })
}

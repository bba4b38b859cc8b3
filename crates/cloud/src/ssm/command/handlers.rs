//! Run Command on the wire.

use wire::ssm as w;

use super::model::{Command, Invocation, Output, Target};
use super::ops::{self, Listing, Send};
use super::run::{self, shown};
use super::state::Summary;
use crate::services::{Entry, serve};
use crate::ssm::{Error, Result, document};
use crate::{Context, Timestamp};

const PAGE: usize = 50;
/// Characters of a plugin's output, errors included. Source: CommandPlugin, "Output".
const PLUGIN_OUTPUT: usize = 2500;
const ERRORS_BELOW: &str = "\n----------ERROR-------\n";

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::SendCommand, _, _, _>(send_command),
        serve::<w::CancelCommand, _, _, _>(cancel_command),
        serve::<w::ListCommands, _, _, _>(list_commands),
        serve::<w::ListCommandInvocations, _, _, _>(list_command_invocations),
        serve::<w::GetCommandInvocation, _, _, _>(get_command_invocation),
    ]
}

async fn send_command(cx: Context, input: w::SendCommandRequest) -> Result<w::SendCommandResult> {
    refuse_what_has_no_effect(&input)?;
    let targets = input.targets.unwrap_or_default().into_iter().map(|target| Target {
        key: target.key.unwrap_or_default(),
        values: target.values.unwrap_or_default(),
    });
    let (prefix, region) = (input.output_s3_key_prefix, input.output_s3_region);
    let bucket = input.output_s3_bucket_name.filter(|bucket| !bucket.is_empty());
    let prefix = prefix.filter(|prefix| !prefix.is_empty());
    if bucket.is_none() && prefix.is_some() {
        return Err(Error::validation("OutputS3KeyPrefix needs OutputS3BucketName."));
    }
    let send = Send {
        document: input.document_name,
        document_version: input.document_version.filter(|version| !version.is_empty()),
        document_hash: input.document_hash.filter(|hash| !hash.is_empty()),
        parameters: input.parameters.unwrap_or_default(),
        instance_ids: input.instance_ids.unwrap_or_default(),
        targets: targets.collect(),
        comment: input.comment,
        timeout_seconds: input.timeout_seconds,
        max_concurrency: input.max_concurrency,
        max_errors: input.max_errors,
        output: bucket.map(|bucket| Output { bucket, prefix, region }),
    };
    let command = cx.write(|tx| ops::send(tx, &cx, &send)).await?;
    let summary = super::state::summary(&command, &[]);
    Ok(w::SendCommandResult { command: Some(show(&command, &summary)) })
}

fn refuse_what_has_no_effect(input: &w::SendCommandRequest) -> Result<()> {
    let refuse = |what: &str| Err(Error::validation(format!("{what} is not supported here.")));
    if input.alarm_configuration.is_some() {
        return refuse("AlarmConfiguration");
    }
    if input.service_role_arn.as_ref().is_some_and(|arn| !arn.is_empty()) {
        return refuse("ServiceRoleArn");
    }
    if input.document_hash_type.as_ref().is_some_and(|kind| kind != "Sha256") {
        return refuse("A DocumentHashType other than Sha256");
    }
    let logs = input.cloud_watch_output_config.as_ref();
    if logs.is_some_and(|logs| logs.cloud_watch_output_enabled == Some(true)) {
        return refuse("CloudWatchOutputConfig");
    }
    if let Some(notify) = &input.notification_config
        && (notify.notification_arn.as_ref().is_some_and(|arn| !arn.is_empty())
            || notify.notification_events.as_ref().is_some_and(|events| !events.is_empty()))
    {
        return refuse("NotificationConfig");
    }
    Ok(())
}

async fn cancel_command(
    cx: Context,
    input: w::CancelCommandRequest,
) -> Result<w::CancelCommandResult> {
    let nodes = input.instance_ids.unwrap_or_default();
    cx.write(|tx| ops::cancel(tx, &cx, &input.command_id, &nodes)).await?;
    Ok(w::CancelCommandResult {})
}

fn filters(filters: Option<Vec<w::CommandFilter>>) -> Vec<(String, String)> {
    filters.unwrap_or_default().into_iter().map(|filter| (filter.key, filter.value)).collect()
}

async fn list_commands(
    cx: Context,
    input: w::ListCommandsRequest,
) -> Result<w::ListCommandsResult> {
    let listing = Listing {
        command_id: input.command_id,
        instance_id: input.instance_id,
        filters: filters(input.filters),
        limit: input.max_results.map_or(PAGE, |n| n as usize),
        token: input.next_token,
    };
    let (commands, next_token) = ops::commands(&cx.read(), &cx, &listing)?;
    let commands = commands.iter().map(|(command, summary)| show(command, summary));
    Ok(w::ListCommandsResult { commands: Some(commands.collect()), next_token })
}

async fn list_command_invocations(
    cx: Context,
    input: w::ListCommandInvocationsRequest,
) -> Result<w::ListCommandInvocationsResult> {
    let listing = Listing {
        command_id: input.command_id,
        instance_id: input.instance_id,
        filters: filters(input.filters),
        limit: input.max_results.map_or(PAGE, |n| n as usize),
        token: input.next_token,
    };
    let details = input.details.unwrap_or(false);
    let (found, next_token) = ops::listed_invocations(&cx.read(), &cx, &listing)?;
    let found = found.iter().map(|(command, one)| show_invocation(command, one, details));
    Ok(w::ListCommandInvocationsResult { command_invocations: Some(found.collect()), next_token })
}

async fn get_command_invocation(
    cx: Context,
    input: w::GetCommandInvocationRequest,
) -> Result<w::GetCommandInvocationResult> {
    let snapshot = cx.read();
    let (command, found) = ops::invocation(&snapshot, &cx, &input.command_id, &input.instance_id)?;
    if input.plugin_name.is_some_and(|name| name != document::PLUGIN) {
        return Err(Error::InvalidPluginName);
    }
    let instant = |at: Option<Timestamp>| at.map_or_else(String::new, precise);
    let elapsed = match (found.started_at, found.ended_at) {
        (Some(started), Some(ended)) => {
            let elapsed = ended.since(started);
            format!("PT{}.{:03}S", elapsed.as_secs(), elapsed.subsec_millis())
        }
        _ => String::new(),
    };
    Ok(w::GetCommandInvocationResult {
        command_id: Some(command.id.clone()),
        instance_id: Some(found.instance_id.clone()),
        comment: Some(command.comment.clone()),
        document_name: Some(command.document.clone()),
        document_version: Some(command.document_version.clone()),
        plugin_name: Some(document::PLUGIN.to_owned()),
        response_code: Some(found.response_code),
        execution_start_date_time: Some(instant(found.started_at)),
        execution_elapsed_time: Some(elapsed),
        execution_end_date_time: Some(instant(found.ended_at)),
        status: Some(found.state.status().to_owned()),
        status_details: Some(found.state.details().to_owned()),
        standard_output_content: Some(found.stdout.clone()),
        standard_output_url: Some(url(&command, &found, "stdout")),
        standard_error_content: Some(found.stderr.clone()),
        standard_error_url: Some(url(&command, &found, "stderr")),
        cloud_watch_output_config: Some(no_logs()),
    })
}

/// `2026-01-02T03:04:05.678Z`
fn precise(at: Timestamp) -> String {
    format!("{}T{}.{:03}Z", at.date(), at.time_of_day(), at.0.rem_euclid(1000))
}

/// Where S3 has it, if that was asked for.
fn url(command: &Command, invocation: &Invocation, stream: &str) -> String {
    let Some(output) = &command.output else { return String::new() };
    let key = run::key(output, &command.id, &invocation.instance_id, stream);
    format!("https://s3.{}.amazonaws.com/{}/{key}", command.region, output.bucket)
}

fn no_logs() -> w::CloudWatchOutputConfig {
    w::CloudWatchOutputConfig {
        cloud_watch_log_group_name: Some(String::new()),
        cloud_watch_output_enabled: Some(false),
    }
}

fn no_notifications() -> w::NotificationConfig {
    w::NotificationConfig {
        notification_arn: Some(String::new()),
        notification_events: Some(vec![]),
        notification_type: Some(String::new()),
    }
}

fn timestamp(at: Timestamp) -> wire::Timestamp {
    wire::Timestamp(at.0)
}

fn show(command: &Command, summary: &Summary) -> w::Command {
    let number = |n: usize| Some(i32::try_from(n).unwrap_or(i32::MAX));
    let targets = command.targets.iter().map(|target| w::Target {
        key: Some(target.key.clone()),
        values: Some(target.values.clone()),
    });
    let output = command.output.as_ref();
    w::Command {
        command_id: Some(command.id.clone()),
        document_name: Some(command.document.clone()),
        document_version: Some(command.document_version.clone()),
        comment: Some(command.comment.clone()),
        expires_after: Some(timestamp(command.expires_after())),
        parameters: Some(command.parameters.clone()),
        instance_ids: Some(command.instance_ids.clone()),
        targets: Some(targets.collect()),
        requested_date_time: Some(timestamp(command.requested_at)),
        status: Some(summary.status.to_owned()),
        status_details: Some(summary.details.to_owned()),
        output_s3_region: output.and_then(|output| output.region.clone()),
        output_s3_bucket_name: Some(output.map_or_else(String::new, |o| o.bucket.clone())),
        output_s3_key_prefix: Some(
            output.and_then(|output| output.prefix.clone()).unwrap_or_default(),
        ),
        max_concurrency: Some(command.max_concurrency.0.clone()),
        max_errors: Some(command.max_errors.0.clone()),
        target_count: number(summary.targets),
        completed_count: number(summary.completed),
        error_count: number(summary.errors),
        delivery_timed_out_count: number(summary.delivery_timed_out),
        service_role: Some(String::new()),
        notification_config: Some(no_notifications()),
        cloud_watch_output_config: Some(no_logs()),
        timeout_seconds: Some(command.timeout_seconds),
        alarm_configuration: None,
        triggered_alarms: Some(vec![]),
    }
}

fn show_invocation(
    command: &Command,
    invocation: &Invocation,
    details: bool,
) -> w::CommandInvocation {
    let (status, status_details) = (invocation.state.status(), invocation.state.details());
    let plugin = || {
        let output = command.output.as_ref();
        let errors = match invocation.stderr.is_empty() {
            true => String::new(),
            false => format!("{ERRORS_BELOW}{}", invocation.stderr),
        };
        let prefix = output.map(|output| {
            let key = run::key(output, &command.id, &invocation.instance_id, "");
            key.trim_end_matches('/').to_owned()
        });
        w::CommandPlugin {
            name: Some(document::PLUGIN.to_owned()),
            status: Some(status.to_owned()),
            status_details: Some(status_details.to_owned()),
            response_code: Some(invocation.response_code),
            response_start_date_time: invocation.started_at.map(timestamp),
            response_finish_date_time: invocation.ended_at.map(timestamp),
            output: Some(shown(&format!("{}{errors}", invocation.stdout), PLUGIN_OUTPUT)),
            standard_output_url: Some(url(command, invocation, "stdout")),
            standard_error_url: Some(url(command, invocation, "stderr")),
            output_s3_region: Some(command.region.clone()),
            output_s3_bucket_name: Some(output.map_or_else(String::new, |o| o.bucket.clone())),
            output_s3_key_prefix: Some(prefix.unwrap_or_default()),
        }
    };
    w::CommandInvocation {
        command_id: Some(command.id.clone()),
        instance_id: Some(invocation.instance_id.clone()),
        instance_name: Some(invocation.instance_name.clone()),
        comment: Some(command.comment.clone()),
        document_name: Some(command.document.clone()),
        document_version: Some(command.document_version.clone()),
        requested_date_time: Some(timestamp(invocation.requested_at)),
        status: Some(status.to_owned()),
        status_details: Some(status_details.to_owned()),
        trace_output: Some(String::new()),
        standard_output_url: Some(url(command, invocation, "stdout")),
        standard_error_url: Some(url(command, invocation, "stderr")),
        command_plugins: Some(if details { vec![plugin()] } else { vec![] }),
        service_role: Some(String::new()),
        notification_config: Some(no_notifications()),
        cloud_watch_output_config: Some(no_logs()),
    }
}

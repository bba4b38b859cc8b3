//! EC2's instance operations on the wire.

mod attribute;
mod console;
pub mod describe;
pub mod launch;

use wire::ec2 as w;

use super::attribute as instance_attribute;
use super::ops::{self, StateChange};
use super::state::InstanceState;
use crate::Context;
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::RunInstances, _, _, _>(run_instances),
        serve::<w::StartInstances, _, _, _>(start_instances),
        serve::<w::StopInstances, _, _, _>(stop_instances),
        serve::<w::RebootInstances, _, _, _>(reboot_instances),
        serve::<w::TerminateInstances, _, _, _>(terminate_instances),
        serve::<w::MonitorInstances, _, _, _>(monitor_instances),
        serve::<w::UnmonitorInstances, _, _, _>(unmonitor_instances),
        serve::<w::GetConsoleOutput, _, _, _>(console::output),
        serve::<w::GetConsoleScreenshot, _, _, _>(console::screenshot),
        serve::<w::EnableSerialConsoleAccess, _, _, _>(console::enable_access),
        serve::<w::DisableSerialConsoleAccess, _, _, _>(console::disable_access),
        serve::<w::GetSerialConsoleAccessStatus, _, _, _>(console::access_status),
        serve::<w::DescribeInstances, _, _, _>(describe::instances),
        serve::<w::DescribeInstanceStatus, _, _, _>(describe::status),
        serve::<w::DescribeInstanceAttribute, _, _, _>(attribute::describe),
        serve::<w::ModifyInstanceAttribute, _, _, _>(attribute::modify),
        serve::<w::ResetInstanceAttribute, _, _, _>(attribute::reset),
        serve::<w::ModifyInstanceMetadataOptions, _, _, _>(attribute::modify_metadata),
        serve::<w::ModifyInstancePlacement, _, _, _>(attribute::modify_placement),
    ]
}

async fn run_instances(cx: Context, input: w::RunInstancesRequest) -> Result<w::Reservation> {
    let dry = input.dry_run;
    let launch = launch::launch(input)?;
    let reservation = cx
        .write(|tx| {
            let reservation = ops::run(tx, &cx, &launch)?;
            dry_run(dry)?;
            Ok::<_, Error>(reservation)
        })
        .await?;
    Ok(describe::reservation(&cx.read(), &cx, &reservation))
}

async fn start_instances(
    cx: Context,
    input: w::StartInstancesRequest,
) -> Result<w::StartInstancesResult> {
    launch::refuse_some(&input.additional_info, "AdditionalInfo")?;
    let changes = cx
        .write(|tx| {
            let changes = ops::start(tx, &cx, &input.instance_ids)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(changes)
        })
        .await?;
    Ok(w::StartInstancesResult { starting_instances: Some(changes_out(changes)) })
}

async fn stop_instances(
    cx: Context,
    input: w::StopInstancesRequest,
) -> Result<w::StopInstancesResult> {
    if input.hibernate == Some(true) {
        return Err(launch::no_hibernation());
    }
    let force = input.force == Some(true) || input.skip_os_shutdown == Some(true);
    let changes = cx
        .write(|tx| {
            let changes = ops::stop(tx, &cx, &input.instance_ids, force)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(changes)
        })
        .await?;
    Ok(w::StopInstancesResult { stopping_instances: Some(changes_out(changes)) })
}

async fn reboot_instances(
    cx: Context,
    input: w::RebootInstancesRequest,
) -> Result<w::RebootInstancesOutput> {
    cx.write(|tx| {
        ops::reboot(tx, &cx, &input.instance_ids)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::RebootInstancesOutput::default())
}

async fn terminate_instances(
    cx: Context,
    input: w::TerminateInstancesRequest,
) -> Result<w::TerminateInstancesResult> {
    let force = input.force == Some(true) || input.skip_os_shutdown == Some(true);
    let changes = cx
        .write(|tx| {
            let changes = ops::terminate(tx, &cx, &input.instance_ids, force)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(changes)
        })
        .await?;
    Ok(w::TerminateInstancesResult { terminating_instances: Some(changes_out(changes)) })
}

fn changes_out(changes: Vec<StateChange>) -> Vec<w::InstanceStateChange> {
    let change = |change: StateChange| w::InstanceStateChange {
        instance_id: Some(change.id),
        current_state: Some(state_out(change.current)),
        previous_state: Some(state_out(change.previous)),
    };
    changes.into_iter().map(change).collect()
}

fn state_out(state: InstanceState) -> w::InstanceState {
    w::InstanceState { code: Some(state.code()), name: Some(state.name().to_owned()) }
}

async fn monitor_instances(
    cx: Context,
    input: w::MonitorInstancesRequest,
) -> Result<w::MonitorInstancesResult> {
    let instance_monitorings = Some(monitor(&cx, input, true).await?);
    Ok(w::MonitorInstancesResult { instance_monitorings })
}

async fn unmonitor_instances(
    cx: Context,
    input: w::UnmonitorInstancesRequest,
) -> Result<w::UnmonitorInstancesResult> {
    let w::UnmonitorInstancesRequest { dry_run, instance_ids, metric_category_ids } = input;
    let input = w::MonitorInstancesRequest { dry_run, instance_ids, metric_category_ids };
    let instance_monitorings = Some(monitor(&cx, input, false).await?);
    Ok(w::UnmonitorInstancesResult { instance_monitorings })
}

async fn monitor(
    cx: &Context,
    input: w::MonitorInstancesRequest,
    on: bool,
) -> Result<Vec<w::InstanceMonitoring>> {
    launch::refuse_some(&input.metric_category_ids, "MetricCategoryIds")?;
    let ids = cx
        .write(|tx| {
            let ids = instance_attribute::monitor(tx, cx, &input.instance_ids, on)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(ids)
        })
        .await?;
    let monitoring = |id| w::InstanceMonitoring {
        instance_id: Some(id),
        monitoring: Some(describe::monitoring(on)),
    };
    Ok(ids.into_iter().map(monitoring).collect())
}

#[cfg(test)]
mod tests;

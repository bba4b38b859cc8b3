//! The console on the wire: its output, its picture, and who may type on it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wire::ec2 as w;

use super::super::{ops, screenshot, serial_console};
use crate::Context;
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result};

pub async fn output(
    cx: Context,
    input: w::GetConsoleOutputRequest,
) -> Result<w::GetConsoleOutputResult> {
    let (instance, output) = ops::console(&cx.read(), &cx, &input.instance_id)?;
    dry_run(input.dry_run)?;
    Ok(w::GetConsoleOutputResult {
        instance_id: Some(instance.id.clone()),
        output: (!output.is_empty()).then(|| STANDARD.encode(output)),
        timestamp: Some(wire::Timestamp(cx.now.0)),
    })
}

pub async fn screenshot(
    cx: Context,
    input: w::GetConsoleScreenshotRequest,
) -> Result<w::GetConsoleScreenshotResult> {
    if input.wake_up == Some(true) {
        let why = "WakeUp is not supported: nothing here falls asleep.";
        return Err(Error::UnsupportedOperation(why.to_owned()));
    }
    let output = ops::running_console(&cx.read(), &cx, &input.instance_id)?;
    dry_run(input.dry_run)?;
    Ok(w::GetConsoleScreenshotResult {
        instance_id: Some(input.instance_id),
        image_data: Some(STANDARD.encode(screenshot::render(&output))),
    })
}

async fn set_access(cx: &Context, enabled: bool) -> Result<()> {
    cx.write(|tx| {
        serial_console::set(tx, cx, enabled);
        Ok(())
    })
    .await
}

pub async fn enable_access(
    cx: Context,
    input: w::EnableSerialConsoleAccessRequest,
) -> Result<w::EnableSerialConsoleAccessResult> {
    dry_run(input.dry_run)?;
    set_access(&cx, true).await?;
    Ok(w::EnableSerialConsoleAccessResult { serial_console_access_enabled: Some(true) })
}

pub async fn disable_access(
    cx: Context,
    input: w::DisableSerialConsoleAccessRequest,
) -> Result<w::DisableSerialConsoleAccessResult> {
    dry_run(input.dry_run)?;
    set_access(&cx, false).await?;
    Ok(w::DisableSerialConsoleAccessResult { serial_console_access_enabled: Some(false) })
}

pub async fn access_status(
    cx: Context,
    input: w::GetSerialConsoleAccessStatusRequest,
) -> Result<w::GetSerialConsoleAccessStatusResult> {
    dry_run(input.dry_run)?;
    Ok(w::GetSerialConsoleAccessStatusResult {
        managed_by: Some("account".to_owned()),
        serial_console_access_enabled: Some(serial_console::is_enabled(&cx.read(), &cx)),
    })
}

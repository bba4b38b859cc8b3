//! Target groups and their targets on the wire.

use store::Snapshot;
use wire::elbv2 as w;

use super::{attributes_out, page_in, pairs, refuse, tags_in};
use crate::Context;
use crate::elbv2::attribute::TARGET_GROUP;
use crate::elbv2::error::Result;
use crate::elbv2::model::{TargetGroup, TargetType};
use crate::elbv2::ops::target_group as ops;
use crate::elbv2::ops::{attached_load_balancers, target, target_group};

pub async fn create(
    cx: Context,
    input: w::CreateTargetGroupInput,
) -> Result<w::CreateTargetGroupOutput> {
    refuse(&input.target_control_port, "TargetControlPort")?;
    let request = ops::Create {
        name: input.name,
        protocol: input.protocol,
        protocol_version: input.protocol_version,
        port: input.port,
        vpc_id: input.vpc_id,
        target_type: input.target_type,
        ip_address_type: input.ip_address_type,
        health_check: ops::HealthCheckRequest {
            enabled: input.health_check_enabled,
            protocol: input.health_check_protocol,
            path: input.health_check_path,
            port: input.health_check_port,
            interval_seconds: input.health_check_interval_seconds,
            timeout_seconds: input.health_check_timeout_seconds,
            healthy_threshold: input.healthy_threshold_count,
            unhealthy_threshold: input.unhealthy_threshold_count,
            matcher: matcher_in(input.matcher)?,
        },
        tags: tags_in(input.tags)?,
    };
    let made = cx.write(|tx| ops::create(tx, &cx, &request)).await?;
    let target_groups = Some(vec![target_group_out(&cx.read(), &cx, &made)]);
    Ok(w::CreateTargetGroupOutput { target_groups })
}

fn matcher_in(matcher: Option<w::Matcher>) -> Result<Option<String>> {
    let matcher = matcher.unwrap_or_default();
    refuse(&matcher.grpc_code, "GrpcCode")?;
    Ok(matcher.http_code)
}

fn target_group_out(snapshot: &Snapshot, cx: &Context, group: &TargetGroup) -> w::TargetGroup {
    let check = &group.health_check;
    let number = |n: u32| Some(n as i32);
    let text = |text: &str| Some(text.to_owned());
    let port = check.port.map_or("traffic-port".to_owned(), |port| port.to_string());
    let kind = match group.target_type {
        TargetType::Instance => "instance",
        TargetType::Ip => "ip",
    };
    w::TargetGroup {
        health_check_enabled: Some(true),
        health_check_interval_seconds: number(check.interval_seconds),
        health_check_path: text(&check.path),
        health_check_port: Some(port),
        health_check_protocol: text("HTTP"),
        health_check_timeout_seconds: number(check.timeout_seconds),
        healthy_threshold_count: number(check.healthy_threshold),
        ip_address_type: text("ipv4"),
        load_balancer_arns: Some(attached_load_balancers(snapshot, cx, &group.arn)),
        matcher: Some(w::Matcher { http_code: text(&check.matcher), grpc_code: None }),
        port: Some(group.port.into()),
        protocol: text("HTTP"),
        protocol_version: text("HTTP1"),
        target_control_port: None,
        target_group_arn: text(&group.arn),
        target_group_name: text(&group.name),
        target_type: text(kind),
        unhealthy_threshold_count: number(check.unhealthy_threshold),
        vpc_id: text(&group.vpc_id),
    }
}

pub async fn describe(
    cx: Context,
    input: w::DescribeTargetGroupsInput,
) -> Result<w::DescribeTargetGroupsOutput> {
    let snapshot = cx.read();
    let owner = input.load_balancer_arn.as_deref();
    let arns = input.target_group_arns.unwrap_or_default();
    let names = input.names.unwrap_or_default();
    let page = page_in(input.page_size, input.marker);
    let (found, next_marker) = ops::describe(&snapshot, &cx, owner, &arns, &names, &page)?;
    let target_groups = found.iter().map(|group| target_group_out(&snapshot, &cx, group)).collect();
    Ok(w::DescribeTargetGroupsOutput { target_groups: Some(target_groups), next_marker })
}

pub async fn modify(
    cx: Context,
    input: w::ModifyTargetGroupInput,
) -> Result<w::ModifyTargetGroupOutput> {
    let request = ops::HealthCheckRequest {
        enabled: input.health_check_enabled,
        protocol: input.health_check_protocol,
        path: input.health_check_path,
        port: input.health_check_port,
        interval_seconds: input.health_check_interval_seconds,
        timeout_seconds: input.health_check_timeout_seconds,
        healthy_threshold: input.healthy_threshold_count,
        unhealthy_threshold: input.unhealthy_threshold_count,
        matcher: matcher_in(input.matcher)?,
    };
    let arn = input.target_group_arn;
    let found = cx.write(|tx| ops::modify(tx, &cx, &arn, &request)).await?;
    let target_groups = Some(vec![target_group_out(&cx.read(), &cx, &found)]);
    Ok(w::ModifyTargetGroupOutput { target_groups })
}

pub async fn delete(
    cx: Context,
    input: w::DeleteTargetGroupInput,
) -> Result<w::DeleteTargetGroupOutput> {
    cx.write(|tx| ops::delete(tx, &cx, &input.target_group_arn)).await?;
    Ok(w::DeleteTargetGroupOutput {})
}

pub async fn attributes(
    cx: Context,
    input: w::DescribeTargetGroupAttributesInput,
) -> Result<w::DescribeTargetGroupAttributesOutput> {
    let found = target_group(&cx.read(), &cx, &input.target_group_arn)?;
    Ok(w::DescribeTargetGroupAttributesOutput { attributes: listed(&found) })
}

pub async fn modify_attributes(
    cx: Context,
    input: w::ModifyTargetGroupAttributesInput,
) -> Result<w::ModifyTargetGroupAttributesOutput> {
    let request = pairs(input.attributes, |attribute| (attribute.key, attribute.value));
    let arn = input.target_group_arn;
    let found = cx.write(|tx| ops::modify_attributes(tx, &cx, &arn, &request)).await?;
    Ok(w::ModifyTargetGroupAttributesOutput { attributes: listed(&found) })
}

fn listed(found: &TargetGroup) -> Option<Vec<w::TargetGroupAttribute>> {
    let shape = |key, value| w::TargetGroupAttribute { key, value };
    attributes_out(TARGET_GROUP, &found.attributes, shape)
}

pub async fn register(
    cx: Context,
    input: w::RegisterTargetsInput,
) -> Result<w::RegisterTargetsOutput> {
    let targets = targets_in(input.targets)?;
    cx.write(|tx| target::register(tx, &cx, &input.target_group_arn, &targets)).await?;
    Ok(w::RegisterTargetsOutput {})
}

pub async fn deregister(
    cx: Context,
    input: w::DeregisterTargetsInput,
) -> Result<w::DeregisterTargetsOutput> {
    let targets = targets_in(input.targets)?;
    cx.write(|tx| target::deregister(tx, &cx, &input.target_group_arn, &targets)).await?;
    Ok(w::DeregisterTargetsOutput {})
}

fn targets_in(targets: Vec<w::TargetDescription>) -> Result<Vec<(String, Option<u16>)>> {
    let target = |target: w::TargetDescription| {
        refuse(&target.availability_zone, "AvailabilityZone of a target")?;
        refuse(&target.quic_server_id, "QuicServerId")?;
        // The wire's schema allows ports only.
        Ok((target.id, target.port.and_then(|port| u16::try_from(port).ok())))
    };
    targets.into_iter().map(target).collect()
}

pub async fn health(
    cx: Context,
    input: w::DescribeTargetHealthInput,
) -> Result<w::DescribeTargetHealthOutput> {
    refuse(&input.include, "Include")?;
    let targets = targets_in(input.targets.unwrap_or_default())?;
    let all = target::health(&cx.read(), &cx, &input.target_group_arn, &targets)?;
    let target_health_descriptions = Some(all.into_iter().map(health_out).collect());
    Ok(w::DescribeTargetHealthOutput { target_health_descriptions })
}

fn health_out(health: target::Health) -> w::TargetHealthDescription {
    let (reason, description) = health.reason.unzip();
    w::TargetHealthDescription {
        health_check_port: health.check_port.map(|port| port.to_string()),
        target: Some(w::TargetDescription {
            availability_zone: health.zone,
            id: health.id,
            port: Some(health.port.into()),
            quic_server_id: None,
        }),
        target_health: Some(w::TargetHealth {
            description,
            reason: reason.map(str::to_owned),
            state: Some(health.state.to_owned()),
        }),
        ..w::TargetHealthDescription::default()
    }
}

//! Scaling policies and their alarms.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Group, Policy, PolicyMetric};
use super::policy::{HIGH_PERIODS, LOW_FRACTION, LOW_PERIODS, PERIOD};
use super::{Error, Result, ops};
use crate::cloudwatch::alarm::{Alarm, Comparison, MissingData, State};
use crate::cloudwatch::{MetricId, Statistic};
use crate::{Context, elbv2, id};

/// What PutScalingPolicy says of a target tracking policy.
#[derive(Clone, Debug)]
pub struct TargetTracking {
    pub group: String,
    pub name: String,
    pub enabled: bool,
    pub warmup_seconds: Option<i32>,
    /// `ASGAverageCPUUtilization` or `ALBRequestCountPerTarget`
    pub metric: String,
    pub resource_label: Option<String>,
    pub target: f64,
    pub disable_scale_in: bool,
}

/// Creates the policy, or replaces the one of that name; its alarms begin anew.
pub fn put(tx: &mut Tx, cx: &Context, wanted: &TargetTracking) -> Result<Policy> {
    let group = ops::standing(tx, cx, &wanted.group)?;
    if !wanted.target.is_finite() || wanted.target <= 0.0 {
        return Err(Error::validation("TargetValue must be greater than 0."));
    }
    if wanted.warmup_seconds.is_some_and(|n| n < 0) {
        return Err(Error::validation("EstimatedInstanceWarmup must be at least 0."));
    }
    let metric = metric(tx, cx, &group, wanted)?;
    let before = find(tx, cx, &wanted.group, &wanted.name);
    if let Some(before) = &before {
        forget(tx, cx, before);
    }
    let alarm = |direction: &str| {
        let uuid = id::uuid(&cx.env.rng);
        format!("TargetTracking-{}-Alarm{direction}-{uuid}", wanted.group)
    };
    let policy = Policy {
        account: cx.account.clone(),
        region: cx.region.clone(),
        group: wanted.group.clone(),
        name: wanted.name.clone(),
        uuid: before.map_or_else(|| id::uuid(&cx.env.rng), |before| before.uuid.clone()),
        enabled: wanted.enabled,
        warmup_seconds: wanted.warmup_seconds,
        metric,
        target: wanted.target,
        disable_scale_in: wanted.disable_scale_in,
        alarm_high: alarm("High"),
        alarm_low: (!wanted.disable_scale_in).then(|| alarm("Low")),
    };
    for alarm in alarms(cx, &policy) {
        tx.put(alarm);
    }
    tx.put(policy.clone());
    Ok(policy)
}

fn metric(
    snapshot: &Snapshot,
    cx: &Context,
    group: &Group,
    wanted: &TargetTracking,
) -> Result<PolicyMetric> {
    match (wanted.metric.as_str(), &wanted.resource_label) {
        ("ASGAverageCPUUtilization", None) => Ok(PolicyMetric::AverageCpu),
        ("ASGAverageCPUUtilization", Some(_)) => Err(Error::validation(
            "ResourceLabel must not be given for the metric type ASGAverageCPUUtilization.",
        )),
        ("ALBRequestCountPerTarget", None) => Err(Error::validation(
            "ResourceLabel must be given for the metric type ALBRequestCountPerTarget.",
        )),
        ("ALBRequestCountPerTarget", Some(label)) => {
            check_label(snapshot, cx, group, label)?;
            Ok(PolicyMetric::RequestCountPerTarget { resource_label: label.clone() })
        }
        (other, _) => Err(Error::unsupported(format_args!("The metric type {other}"))),
    }
}

/// `app/NAME/ID/targetgroup/NAME/ID`: a target group of this group's, to which that balancer forwards.
fn check_label(snapshot: &Snapshot, cx: &Context, group: &Group, label: &str) -> Result<()> {
    let invalid =
        |why: &str| Err(Error::validation(format!("Invalid ResourceLabel {label}: {why}")));
    let Some((load_balancer, target_group)) = split_label(label) else {
        return invalid("it must be app/<load-balancer>/<id>/targetgroup/<target-group>/<id>.");
    };
    let arn = cx.arn("elasticloadbalancing", target_group);
    if !group.target_groups.contains(&arn) {
        return invalid("the target group is not attached to the Auto Scaling group.");
    }
    let load_balancer = cx.arn("elasticloadbalancing", &format!("loadbalancer/{load_balancer}"));
    if !elbv2::ops::attached_load_balancers(snapshot, cx, &arn).contains(&load_balancer) {
        return invalid("the load balancer does not route traffic to the target group.");
    }
    Ok(())
}

/// The values of the dimensions LoadBalancer and TargetGroup.
pub fn split_label(label: &str) -> Option<(&str, &str)> {
    let (load_balancer, rest) = label.split_once("/targetgroup/")?;
    let target_group = &label[label.len() - rest.len() - "targetgroup/".len()..];
    let fits = load_balancer.starts_with("app/")
        && load_balancer.split('/').count() == 3
        && target_group.split('/').count() == 3;
    fits.then_some((load_balancer, target_group))
}

pub fn metric_of(policy: &Policy) -> (MetricId, Statistic) {
    match &policy.metric {
        PolicyMetric::AverageCpu => {
            let group = [("AutoScalingGroupName", policy.group.as_str())];
            (MetricId::new("AWS/EC2", "CPUUtilization", &group), Statistic::Average)
        }
        PolicyMetric::RequestCountPerTarget { resource_label } => {
            let (load_balancer, target_group) =
                split_label(resource_label).expect("checked when it was put");
            let dimensions = [("LoadBalancer", load_balancer), ("TargetGroup", target_group)];
            let id = MetricId::new("AWS/ApplicationELB", "RequestCountPerTarget", &dimensions);
            (id, Statistic::Sum)
        }
    }
}

/// High and, where the policy shrinks too, low.
fn alarms(cx: &Context, policy: &Policy) -> Vec<Alarm> {
    let (metric, statistic) = metric_of(policy);
    let alarm = |name: &str, comparison, threshold, periods| Alarm {
        account: policy.account.clone(),
        region: policy.region.clone(),
        name: name.to_owned(),
        description: format!(
            "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {}.",
            policy.arn()
        ),
        metric: metric.clone(),
        statistic,
        period_seconds: PERIOD.as_secs() as u32,
        evaluation_periods: periods,
        datapoints_to_alarm: periods,
        threshold,
        comparison,
        missing_data: MissingData::Missing,
        alarm_actions: vec![policy.arn()],
        state: State::InsufficientData,
        state_reason: "Unchecked: Initial alarm creation".to_owned(),
        state_updated: cx.now,
    };
    let high =
        alarm(&policy.alarm_high, Comparison::GreaterThanThreshold, policy.target, HIGH_PERIODS);
    let low = policy.alarm_low.as_ref().map(|name| {
        let threshold = policy.target * LOW_FRACTION;
        alarm(name, Comparison::LessThanThreshold, threshold, LOW_PERIODS)
    });
    std::iter::once(high).chain(low).collect()
}

/// Name and ARN of each of a policy's alarms.
pub fn alarms_of(policy: &Policy) -> Vec<(String, String)> {
    let names = std::iter::once(&policy.alarm_high).chain(&policy.alarm_low);
    names
        .map(|name| {
            let resource = format!("alarm:{name}");
            let arn = crate::arn::arn("cloudwatch", &policy.region, &policy.account, &resource);
            (name.clone(), arn)
        })
        .collect()
}

/// By name or ARN.
pub fn find(snapshot: &Snapshot, cx: &Context, group: &str, name: &str) -> Option<Arc<Policy>> {
    let prefix = Policy::prefix(&cx.account, &cx.region, group);
    snapshot.scan::<Policy>(&prefix).find(|policy| policy.name == name || policy.arn() == name)
}

/// All of this account and region, or of one group.
pub fn list(snapshot: &Snapshot, cx: &Context, group: Option<&str>) -> Vec<Arc<Policy>> {
    let prefix = match group {
        Some(group) => Policy::prefix(&cx.account, &cx.region, group),
        None => cx.prefix(),
    };
    snapshot.scan(&prefix).collect()
}

/// `group` may be left out where `name` is an ARN.
pub fn delete(tx: &mut Tx, cx: &Context, group: Option<&str>, name: &str) -> Result<()> {
    if let Some(group) = group {
        ops::group(tx, cx, group)?;
    } else if !name.starts_with("arn:") {
        return Err(Error::validation("AutoScalingGroupName must be given with a policy name."));
    }
    let found = list(tx, cx, group).into_iter().find(|p| p.name == name || p.arn() == name);
    match found {
        Some(policy) => {
            forget(tx, cx, &policy);
            Ok(())
        }
        None => Err(Error::validation(format!("No scaling policy found with name: {name}"))),
    }
}

/// Removes the policy and its alarms.
pub fn forget(tx: &mut Tx, cx: &Context, policy: &Policy) {
    for (name, _) in alarms_of(policy) {
        tx.delete::<Alarm>(&cx.key(&name));
    }
    tx.delete::<Policy>(&store::Record::key(policy));
}

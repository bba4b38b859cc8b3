//! Measures: what instances use and balancers count, as CloudWatch names it.
//!
//! | Namespace | Metric | Dimensions | |
//! |---|---|---|---|
//! | AWS/EC2 | CPUUtilization | InstanceId | percent of the instance's vCPUs |
//! | AWS/EC2 | NetworkIn, NetworkOut, NetworkPacketsIn, NetworkPacketsOut | InstanceId | |
//! | AWS/EC2 | EBSReadBytes, EBSWriteBytes, EBSReadOps, EBSWriteOps | InstanceId | |
//! | AWS/EC2 | CPUUtilization | AutoScalingGroupName | of each instance in service and warmed up |
//! | AWS/ApplicationELB | RequestCount | LoadBalancer, TargetGroup | |
//! | AWS/ApplicationELB | RequestCountPerTarget | LoadBalancer, TargetGroup | by healthy, else registered targets |
//! | AWS/ApplicationELB | HealthyHostCount, UnHealthyHostCount | LoadBalancer, TargetGroup | |
//!
//! CPU is a rate over host time, since instances run at the host's pace whatever the clock's. Counts
//! are what came in a window of cloud time: at 60 times the speed a minute has one second's requests.

use std::collections::HashMap;
use std::time::Duration;

use store::Snapshot;

use super::metrics::{Growth, MetricId};
use crate::autoscaling::model::{Group, Member, Policy};
use crate::autoscaling::policy;
use crate::clock::Timestamp;
use crate::ec2::catalog;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::elbv2::model::{Target, TargetGroup, TargetState};
use crate::{Context, Env, arn, elbv2};

/// Takes one sample of everything there is. Whether there was anything.
pub fn collect(env: &Env, snapshot: &Snapshot, now: Timestamp) -> bool {
    let mut counters = Vec::new();
    let any_instances = instances(env, snapshot, now, &mut counters);
    let any_target_groups = target_groups(env, snapshot, now, &mut counters);
    counters.sort();
    env.metrics.forget(now, |name| counters.binary_search_by(|c| c.as_str().cmp(name)).is_ok());
    any_instances || any_target_groups
}

/// Percent of `vcpus` that `growth`, in seconds of CPU, is.
fn percent(growth: Growth, vcpus: u32) -> Option<f64> {
    let available = growth.elapsed.as_secs_f64() * f64::from(vcpus);
    (available > 0.0).then(|| (100.0 * growth.by / available).clamp(0.0, 100.0))
}

fn instances(env: &Env, snapshot: &Snapshot, now: Timestamp, counters: &mut Vec<String>) -> bool {
    let mut warmups: HashMap<String, Duration> = HashMap::new();
    let mut any = false;
    for instance in snapshot.scan::<Instance>("") {
        if instance.state() != InstanceState::Running {
            continue;
        }
        any = true;
        let Some(usage) = env.driver.usage(&instance.id) else { continue };
        let mut grown = |what: &str, total: f64| {
            let counter = format!("{what}/{}", instance.id);
            let growth = env.metrics.growth(&counter, total, env.clock.host_elapsed());
            counters.push(counter);
            growth
        };
        for (name, total) in [
            ("NetworkIn", usage.network_in_bytes),
            ("NetworkOut", usage.network_out_bytes),
            ("NetworkPacketsIn", usage.network_in_packets),
            ("NetworkPacketsOut", usage.network_out_packets),
            ("EBSReadBytes", usage.volume_read_bytes),
            ("EBSWriteBytes", usage.volume_write_bytes),
            ("EBSReadOps", usage.volume_reads),
            ("EBSWriteOps", usage.volume_writes),
        ] {
            if let Some(growth) = grown(name, total as f64) {
                let id = MetricId::new("AWS/EC2", name, &[("InstanceId", &instance.id)]);
                env.metrics.put(&instance.account, &instance.region, &id, now, growth.by);
            }
        }
        let growth = grown("cpu", usage.cpu.as_secs_f64());
        let vcpus = catalog::instance_type(&instance.instance_type).map(|kind| kind.vcpus);
        let Some(value) = growth.zip(vcpus).and_then(|(growth, n)| percent(growth, n)) else {
            continue;
        };
        let put = |dimension: (&str, &str)| {
            let id = MetricId::new("AWS/EC2", "CPUUtilization", &[dimension]);
            env.metrics.put(&instance.account, &instance.region, &id, now, value);
        };
        put(("InstanceId", &instance.id));
        let key = Member::key_of(&instance.account, &instance.region, &instance.id);
        let Some(member) = snapshot.get::<Member>(&key) else { continue };
        let group = format!("{}/{}/{}", member.account, member.region, member.group);
        let warmup =
            *warmups.entry(group).or_insert_with_key(|group| warmup(snapshot, group, &member));
        if policy::is_warm(&member, warmup, now) {
            put(("AutoScalingGroupName", &member.group));
        }
    }
    any
}

fn warmup(snapshot: &Snapshot, group: &str, member: &Member) -> Duration {
    let Some(group) = snapshot.get::<Group>(group) else { return Duration::MAX };
    let prefix = Policy::prefix(&member.account, &member.region, &member.group);
    let policies: Vec<_> = snapshot.scan::<Policy>(&prefix).collect();
    policy::group_warmup(&group, policies.iter().map(|policy| &**policy))
}

fn target_groups(
    env: &Env,
    snapshot: &Snapshot,
    now: Timestamp,
    counters: &mut Vec<String>,
) -> bool {
    let requests = requests(env, counters);
    let mut any = false;
    for group in snapshot.scan::<TargetGroup>("") {
        any = true;
        let cx = Context::service(env, &group.account, &group.region, "cloudwatch.amazonaws.com");
        let targets = elbv2::ops::targets(snapshot, &cx, &group.arn);
        let count = |state: TargetState| {
            targets.iter().filter(|target: &&std::sync::Arc<Target>| target.state == state).count()
        };
        let healthy = count(TargetState::Healthy);
        let divisor = if healthy > 0 { healthy } else { targets.len() };
        let came = requests.get(&group.arn).copied();
        for load_balancer in elbv2::ops::attached_load_balancers(snapshot, &cx, &group.arn) {
            let of = [
                ("LoadBalancer", resource(&load_balancer, "loadbalancer/")),
                ("TargetGroup", resource(&group.arn, "")),
            ];
            let put = |name: &str, value: f64| {
                let id = MetricId::new("AWS/ApplicationELB", name, &of);
                env.metrics.put(&group.account, &group.region, &id, now, value);
            };
            put("HealthyHostCount", healthy as f64);
            put("UnHealthyHostCount", count(TargetState::Unhealthy) as f64);
            let Some(came) = came else { continue };
            put("RequestCount", came);
            if divisor > 0 {
                put("RequestCountPerTarget", came / divisor as f64);
            }
        }
    }
    any
}

/// Requests since the last sample, by target group's ARN, of all zones' balancers. A counter that was
/// read for the first time counts from then on.
fn requests(env: &Env, counters: &mut Vec<String>) -> HashMap<String, f64> {
    let mut requests: HashMap<String, f64> = HashMap::new();
    for sample in elbv2::metrics::samples(env) {
        let counter = format!("requests/{}", sample.counter);
        let total = sample.counters.requests as f64;
        let growth = env.metrics.growth(&counter, total, env.clock.host_elapsed());
        counters.push(counter);
        if let Some(growth) = growth {
            *requests.entry(sample.target_group).or_default() += growth.by;
        }
    }
    requests
}

/// `app/web/0123…` of a load balancer's ARN, `targetgroup/web/0123…` of a target group's.
fn resource<'a>(full: &'a str, kind: &str) -> &'a str {
    let resource = arn::parse(full).map_or(full, |parts| parts.resource);
    resource.strip_prefix(kind).unwrap_or(resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_of_the_types_cpus() {
        for (by, elapsed_ms, vcpus, expected) in [
            (0.5, 1000, 1, Some(50.0)),
            (0.5, 1000, 2, Some(25.0)),
            (5.0, 1000, 1, Some(100.0)),
            (0.5, 0, 1, None),
        ] {
            let growth = Growth { by, elapsed: Duration::from_millis(elapsed_ms) };
            assert_eq!(percent(growth, vcpus), expected);
        }
    }

    #[test]
    fn dimensions_are_the_ends_of_arns() {
        let lb = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/web/0123";
        let tg = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/4567";
        assert_eq!(resource(lb, "loadbalancer/"), "app/web/0123");
        assert_eq!(resource(tg, ""), "targetgroup/web/4567");
    }
}

//! Reading metrics: what GetMetricStatistics, GetMetricData and ListMetrics answer from.
//!
//! Times are the cloud's. A datapoint is stamped with the start of its period; periods begin at
//! multiples of their length.

use std::time::Duration;

use store::Snapshot;

use super::metrics::{MetricId, RESOLUTION, Statistic, Statistics, start_of};
use crate::Context;
use crate::clock::Timestamp;
use crate::ec2::instance::model::Instance;

/// Of EC2 without detailed monitoring.
const BASIC: Duration = Duration::from_secs(300);

/// A span of time in periods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
    pub period: Duration,
}

impl Span {
    pub fn datapoints(&self) -> u128 {
        self.to.since(self.from).as_millis() / self.period.as_millis().max(1)
    }
}

/// What was measured, the oldest first.
pub fn series(
    snapshot: &Snapshot,
    cx: &Context,
    id: &MetricId,
    span: &Span,
) -> Vec<(Timestamp, Statistics)> {
    let fine = fineness(snapshot, cx, id);
    // Nothing is measured by the second.
    if span.period < RESOLUTION {
        return vec![];
    }
    let slots = cx.env.metrics.slots(&cx.account, &cx.region, id);
    let mut found: Vec<(Timestamp, Statistics)> = Vec::new();
    for (at, statistics) in slots {
        // A value of basic monitoring is there at its five minutes' start alone.
        let start = start_of(start_of(at, fine), span.period);
        if start < start_of(span.from, span.period) || start >= span.to {
            continue;
        }
        match found.last_mut() {
            Some((last, known)) if *last == start => *known = known.and(statistics),
            _ => found.push((start, statistics)),
        }
    }
    found
}

/// Between two values that users are shown.
fn fineness(snapshot: &Snapshot, cx: &Context, id: &MetricId) -> Duration {
    let of_instance = id.dimensions.get("InstanceId").filter(|_| id.namespace == "AWS/EC2");
    let detailed = of_instance.is_none_or(|instance_id| {
        snapshot.get::<Instance>(&cx.key(instance_id)).is_some_and(|found| found.monitoring)
    });
    if detailed { RESOLUTION } else { BASIC }
}

pub fn unit(id: &MetricId) -> &'static str {
    match id.name.as_str() {
        "CPUUtilization" => "Percent",
        "NetworkIn" | "NetworkOut" | "EBSReadBytes" | "EBSWriteBytes" => "Bytes",
        _ => "Count",
    }
}

pub fn statistic(word: &str) -> Option<Statistic> {
    Some(match word {
        "Average" => Statistic::Average,
        "Sum" => Statistic::Sum,
        "Minimum" => Statistic::Minimum,
        "Maximum" => Statistic::Maximum,
        "SampleCount" => Statistic::SampleCount,
        _ => return None,
    })
}

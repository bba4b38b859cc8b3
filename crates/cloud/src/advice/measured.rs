//! What instances used of what they have, and which types would do: over- and under-provisioned ones.
//! What is measured is kept for three hours; what ran for less than five minutes is not judged.

use std::sync::Arc;
use std::time::Duration;

use store::Snapshot;

use super::workload::{self, Fit, MONTH_HOURS};
use crate::clock::Timestamp;
use crate::cloudwatch::metrics::{MetricId, RESOLUTION, RETENTION, Statistic, Statistics};
use crate::ec2::catalog::{self, InstanceType, prices};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::env::Env;

const LEAST: Duration = Duration::from_secs(300);
const OPTIONS: usize = 3;
/// How much of a type the measured peak may take.
const TARGET: f64 = 0.7;
/// Above this of its processors or memory an instance has too little, below that too much.
const TIGHT: f64 = 90.0;
const LOOSE: f64 = 40.0;
/// Average of its processors above which a burstable type is not for it.
const BURSTABLE: f64 = 15.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    Over,
    Under,
    Optimized,
}

impl Finding {
    /// As recommendations say it.
    pub fn name(self) -> &'static str {
        match self {
            Finding::Over => "OVER_PROVISIONED",
            Finding::Under => "UNDER_PROVISIONED",
            Finding::Optimized => "OPTIMIZED",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Used {
    /// Percent of the processors, by the minute.
    pub cpu_peak: f64,
    pub cpu_average: f64,
    /// Percent of the memory, now.
    pub memory: Option<f64>,
    /// Most in a minute, by the second of the host's time.
    pub rates: Rates,
}

/// By the second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub network_in_bytes: f64,
    pub network_out_bytes: f64,
    pub volume_read_bytes: f64,
    pub volume_write_bytes: f64,
    pub volume_reads: f64,
    pub volume_writes: f64,
}

impl Rates {
    /// Percent of what a type carries for as long as one likes; none where it has no figure.
    pub fn network(&self, t: &InstanceType) -> Option<f64> {
        let bytes = t.network.cards.first()?.baseline_gbps * 1e9 / 8.0;
        share(self.network_in_bytes.max(self.network_out_bytes), bytes)
    }

    pub fn volume_throughput(&self, t: &InstanceType) -> Option<f64> {
        let bytes = t.ebs.speed?.baseline_mb_per_s * 1e6;
        share(self.volume_read_bytes + self.volume_write_bytes, bytes)
    }

    pub fn volume_operations(&self, t: &InstanceType) -> Option<f64> {
        share(self.volume_reads + self.volume_writes, f64::from(t.ebs.speed?.baseline_iops))
    }

    /// All that there are, with the names that Compute Optimizer has for them.
    fn of(&self, t: &InstanceType) -> [(&'static str, Option<f64>); 3] {
        [
            ("NetworkBandwidth", self.network(t)),
            ("EBSThroughput", self.volume_throughput(t)),
            ("EBSIOPS", self.volume_operations(t)),
        ]
    }
}

fn share(used: f64, of: f64) -> Option<f64> {
    (of > 0.0).then(|| 100.0 * used / of)
}

#[derive(Clone, Debug)]
pub struct Advice {
    pub instance: Arc<Instance>,
    pub used: Used,
    pub finding: Finding,
    /// `CPUOverprovisioned`, …
    pub reasons: Vec<String>,
    /// The cheapest first; none where the type is right.
    pub options: Vec<Choice>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub fit: Fit,
    /// Percent of this type that the peak would take.
    pub cpu_peak: f64,
    pub memory: Option<f64>,
    /// US dollars a month; less than nothing where it costs more.
    pub saves: f64,
    pub saves_percent: f64,
}

/// Of every running instance of the account that was measured for long enough.
pub fn advise(snapshot: &Snapshot, env: &Env, account: &str) -> Vec<Advice> {
    let now = env.clock.now();
    let mut all = Vec::new();
    for instance in snapshot.scan::<Instance>(&format!("{account}/")) {
        if instance.state() != InstanceState::Running {
            continue;
        }
        let Some(t) = catalog::instance_type(&instance.instance_type) else { continue };
        let Some(used) = used(env, &instance, t, now) else { continue };
        let (finding, reasons) = judge(&used, t);
        let options = match finding {
            Finding::Optimized => vec![],
            _ => options(t, &instance.architecture, &used, finding),
        };
        // With nothing better to be had it is right as it is.
        let finding = if options.is_empty() { Finding::Optimized } else { finding };
        let reasons = if options.is_empty() { vec![] } else { reasons };
        all.push(Advice { instance, used, finding, reasons, options });
    }
    all
}

fn used(env: &Env, i: &Instance, t: &InstanceType, now: Timestamp) -> Option<Used> {
    let since = i.observed.up_since?;
    if now.since(since) < LEAST {
        return None;
    }
    let id = MetricId::new("AWS/EC2", "CPUUtilization", &[("InstanceId", &i.id)]);
    let count = (now.since(since).min(RETENTION).as_secs() / RESOLUTION.as_secs()) as usize;
    let minutes = env.metrics.periods(&i.account, &i.region, &id, RESOLUTION, count, now);
    let seen: Vec<Statistics> = minutes.into_iter().flatten().collect();
    let all = seen.iter().copied().reduce(Statistics::and)?;
    let peak = seen.iter().map(|s| s.get(Statistic::Average)).fold(0.0, f64::max);
    let memory = env
        .driver
        .usage(&i.id)
        .map(|usage| 100.0 * usage.memory_bytes as f64 / (t.memory_mib as f64 * 1024.0 * 1024.0));
    // Bytes come at the host's pace, whatever the clock's.
    let minute = env.clock.to_host(RESOLUTION).as_secs_f64();
    let rate = |name: &str| {
        let id = MetricId::new("AWS/EC2", name, &[("InstanceId", &i.id)]);
        let minutes = env.metrics.periods(&i.account, &i.region, &id, RESOLUTION, count, now);
        let sums = minutes.into_iter().flatten().map(|s| s.get(Statistic::Sum));
        sums.fold(0.0, f64::max) / minute
    };
    let rates = Rates {
        network_in_bytes: rate("NetworkIn"),
        network_out_bytes: rate("NetworkOut"),
        volume_read_bytes: rate("EBSReadBytes"),
        volume_write_bytes: rate("EBSWriteBytes"),
        volume_reads: rate("EBSReadOps"),
        volume_writes: rate("EBSWriteOps"),
    };
    Some(Used { cpu_peak: peak, cpu_average: all.get(Statistic::Average), memory, rates })
}

/// Too little of anything is too little; too much is what processors or memory have too much of, since
/// next to nothing uses all of its network and volumes.
fn judge(used: &Used, t: &InstanceType) -> (Finding, Vec<String>) {
    let main = [("CPU", Some(used.cpu_peak)), ("Memory", used.memory)];
    let others = used.rates.of(t);
    let all = || main.iter().chain(&others);
    let tight = |(what, share): &(&str, Option<f64>)| {
        share.is_some_and(|share| share >= TIGHT).then(|| format!("{what}Underprovisioned"))
    };
    let loose = |(what, share): &(&str, Option<f64>)| {
        share.is_some_and(|share| share < LOOSE).then(|| format!("{what}Overprovisioned"))
    };
    let short: Vec<String> = all().filter_map(tight).collect();
    if !short.is_empty() {
        return (Finding::Under, short);
    }
    match main.iter().any(|one| loose(one).is_some()) {
        true => (Finding::Over, all().filter_map(loose).collect()),
        false => (Finding::Optimized, vec![]),
    }
}

/// The cheapest types that the peak would take `TARGET` of, of families for general use.
fn options(t: &InstanceType, architecture: &str, used: &Used, finding: Finding) -> Vec<Choice> {
    let Some(price) = prices::on_demand(t.name) else { return vec![] };
    let busy = used.cpu_peak / 100.0 * f64::from(t.vcpus);
    let held = used.memory.map(|memory| memory / 100.0 * t.memory_mib as f64);
    let mut options: Vec<Choice> = Vec::new();
    for other in catalog::all() {
        let Some(fit) = workload::fit(other) else { continue };
        let series = workload::series(other.family());
        // Disks and accelerators are there for a reason that no measure of these tells.
        let alike = series == workload::series(t.family())
            || (matches!(series, "t" | "m" | "c" | "r")
                && matches!(workload::series(t.family()), "t" | "m" | "c" | "r"));
        let rates = used.rates.of(other);
        let average = used.cpu_average * f64::from(t.vcpus) / f64::from(other.vcpus);
        if !alike
            || !other.current_generation
            || other.bare_metal
            || other.name == t.name
            || !other.architectures.contains(&architecture)
            || (t.disks.is_some() && other.disks.is_none())
            || (other.burstable && average > BURSTABLE)
            || busy > f64::from(other.vcpus) * TARGET
            || held.is_some_and(|held| held > other.memory_mib as f64 * TARGET)
            || rates.iter().any(|(_, share)| share.is_some_and(|share| share > 100.0 * TARGET))
        {
            continue;
        }
        let saves = (price - fit.usd_per_hour) * MONTH_HOURS;
        if finding == Finding::Over && saves <= 0.0 {
            continue;
        }
        options.push(Choice {
            cpu_peak: 100.0 * busy / f64::from(other.vcpus),
            memory: held.map(|held| 100.0 * held / other.memory_mib as f64),
            saves,
            saves_percent: 100.0 * (1.0 - fit.usd_per_hour / price),
            fit,
        });
    }
    options.sort_by(|a, b| {
        let by_price = a.fit.usd_per_hour.total_cmp(&b.fit.usd_per_hour);
        by_price.then(a.fit.instance_type.cmp(b.fit.instance_type))
    });
    options.truncate(OPTIONS);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings() {
        // 0.75 Gbit/s, 81.25 MB/s and 3600 operations a second for as long as one likes.
        let t = catalog::instance_type("m5.large").unwrap();
        let none = Rates::default();
        let idle =
            "NetworkBandwidthOverprovisioned EBSThroughputOverprovisioned EBSIOPSOverprovisioned";
        let both = format!("CPUOverprovisioned MemoryOverprovisioned {idle}");
        let network = Rates { network_out_bytes: 90e6, ..none };
        let bytes = Rates { volume_write_bytes: 80e6, ..none };
        let operations = Rates { volume_reads: 2000.0, volume_writes: 1500.0, ..none };
        for (cpu_peak, memory, rates, finding, reasons) in [
            (95.0, Some(50.0), none, Finding::Under, "CPUUnderprovisioned"),
            (50.0, Some(95.0), none, Finding::Under, "MemoryUnderprovisioned"),
            (10.0, Some(95.0), none, Finding::Under, "MemoryUnderprovisioned"),
            (10.0, Some(10.0), none, Finding::Over, &both),
            (60.0, Some(60.0), none, Finding::Optimized, ""),
            (60.0, None, none, Finding::Optimized, ""),
            (10.0, Some(10.0), network, Finding::Under, "NetworkBandwidthUnderprovisioned"),
            (60.0, Some(60.0), bytes, Finding::Under, "EBSThroughputUnderprovisioned"),
            (60.0, Some(60.0), operations, Finding::Under, "EBSIOPSUnderprovisioned"),
        ] {
            let used = Used { cpu_peak, cpu_average: cpu_peak, memory, rates };
            let (found, why) = judge(&used, t);
            assert_eq!((found, why.join(" ").as_str()), (finding, reasons), "{used:?}");
        }
    }

    #[test]
    fn options_take_the_peak() {
        let t = catalog::instance_type("m5.4xlarge").unwrap();
        let rates = Rates::default();
        let used = Used { cpu_peak: 10.0, cpu_average: 10.0, memory: Some(5.0), rates };
        let found = options(t, "x86_64", &used, Finding::Over);
        assert_eq!(found.len(), OPTIONS);
        for option in &found {
            assert!(option.cpu_peak <= 70.0 && option.memory.unwrap() <= 70.0, "{option:?}");
            assert!(option.saves > 0.0 && option.saves_percent > 50.0, "{option:?}");
        }
        // One that is full has more to come, of which nothing is burstable.
        let used = Used { cpu_peak: 100.0, cpu_average: 90.0, memory: Some(50.0), rates };
        let found =
            options(catalog::instance_type("m5.large").unwrap(), "x86_64", &used, Finding::Under);
        assert!(!found.is_empty());
        assert!(found.iter().all(|o| o.fit.vcpus >= 3 && !o.fit.instance_type.starts_with('t')));
        // One that sends a lot needs a type that carries it, however idle it is otherwise.
        let rates = Rates { network_out_bytes: 150e6, ..rates };
        let used = Used { cpu_peak: 10.0, cpu_average: 10.0, memory: Some(5.0), rates };
        let found = options(t, "x86_64", &used, Finding::Over);
        for option in &found {
            let other = catalog::instance_type(option.fit.instance_type).unwrap();
            assert!(rates.network(other).unwrap() <= 70.0, "{option:?}");
        }
    }
}

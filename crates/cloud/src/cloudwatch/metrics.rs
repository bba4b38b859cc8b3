//! Time series in memory: what was measured in the last three hours of cloud time, by the minute.
//!
//! Values are what was measured in a window of *cloud* time: under a clock that runs 60 times faster
//! a minute's request count is what really came in one second. A datapoint is stamped when it is
//! taken, so that a past minute never changes any more; what happened up to one sampling interval
//! before the minute began may be counted in it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The finest period there is.
pub const RESOLUTION: Duration = Duration::from_secs(60);
/// What is older is forgotten.
pub const RETENTION: Duration = Duration::from_secs(3 * 3600);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MetricId {
    /// `AWS/EC2`
    pub namespace: String,
    /// `CPUUtilization`
    pub name: String,
    pub dimensions: BTreeMap<String, String>,
}

impl MetricId {
    pub fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> MetricId {
        MetricId {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statistic {
    Average,
    Sum,
    Minimum,
    Maximum,
    SampleCount,
}

/// Of all values of a period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    pub sum: f64,
    pub minimum: f64,
    pub maximum: f64,
    pub samples: u64,
}

impl Statistics {
    pub fn of(value: f64) -> Statistics {
        Statistics { sum: value, minimum: value, maximum: value, samples: 1 }
    }

    pub fn and(self, other: Statistics) -> Statistics {
        Statistics {
            sum: self.sum + other.sum,
            minimum: self.minimum.min(other.minimum),
            maximum: self.maximum.max(other.maximum),
            samples: self.samples + other.samples,
        }
    }

    pub fn get(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::Average => self.sum / self.samples as f64,
            Statistic::Sum => self.sum,
            Statistic::Minimum => self.minimum,
            Statistic::Maximum => self.maximum,
            Statistic::SampleCount => self.samples as f64,
        }
    }
}

/// Who owns a series: metrics of one account and region are not seen in another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Owner {
    account: String,
    region: String,
}

/// All series of the cloud. Cheap to clone; lost with the process, as measurements may be.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    owners: HashMap<Owner, HashMap<MetricId, Series>>,
    /// The last reading of each cumulative counter, by the reader's name for it.
    counters: HashMap<String, Reading>,
    sampled: Option<Timestamp>,
}

#[derive(Clone, Copy)]
struct Reading {
    total: f64,
    /// Host time, for rates of what really ran.
    at: Duration,
}

/// How much a counter grew, and in how much host time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    pub by: f64,
    pub elapsed: Duration,
}

/// One slot for each minute that has values, oldest first.
type Series = VecDeque<(Timestamp, Statistics)>;

impl Metrics {
    pub fn put(&self, account: &str, region: &str, id: &MetricId, at: Timestamp, value: f64) {
        let slot = start_of(at, RESOLUTION);
        self.with_owner(account, region, |series| {
            let series = match series.get_mut(id) {
                Some(series) => series,
                None => series.entry(id.clone()).or_default(),
            };
            match series.iter().rposition(|(start, _)| *start <= slot) {
                Some(i) if series[i].0 == slot => {
                    series[i].1 = series[i].1.and(Statistics::of(value));
                }
                Some(i) => series.insert(i + 1, (slot, Statistics::of(value))),
                None => series.push_front((slot, Statistics::of(value))),
            }
            forget_before(series, at);
        });
    }

    /// Of everything in `from..to`, both on whole minutes. `None`: nothing was measured.
    pub fn statistics(
        &self,
        account: &str,
        region: &str,
        id: &MetricId,
        from: Timestamp,
        to: Timestamp,
    ) -> Option<Statistics> {
        self.with_owner(account, region, |series| {
            let slots = series.get(id)?.iter();
            slots
                .filter(|(start, _)| *start >= from && *start < to)
                .map(|(_, statistics)| *statistics)
                .reduce(Statistics::and)
        })
    }

    /// By the minute, the oldest first.
    pub fn slots(
        &self,
        account: &str,
        region: &str,
        id: &MetricId,
    ) -> Vec<(Timestamp, Statistics)> {
        self.with_owner(account, region, |series| {
            series.get(id).map(|series| series.iter().copied().collect()).unwrap_or_default()
        })
    }

    /// Everything that has values, in no order.
    pub fn list(&self, account: &str, region: &str) -> Vec<MetricId> {
        self.with_owner(account, region, |series| {
            let valued = series.iter().filter(|(_, series)| !series.is_empty());
            valued.map(|(id, _)| id.clone()).collect()
        })
    }

    /// The last `count` whole periods before `now`, the newest first.
    pub fn periods(
        &self,
        account: &str,
        region: &str,
        id: &MetricId,
        period: Duration,
        count: usize,
        now: Timestamp,
    ) -> Vec<Option<Statistics>> {
        let end = start_of(now, period);
        let at = |n: usize| Timestamp(end.0 - period.as_millis() as i64 * n as i64);
        (0..count).map(|n| self.statistics(account, region, id, at(n + 1), at(n))).collect()
    }

    /// How much the cumulative `counter` grew since it was last read. `None` at the first reading;
    /// a counter that went down began again at 0.
    pub fn growth(&self, counter: &str, total: f64, at: Duration) -> Option<Growth> {
        let mut inner = self.0.lock().expect("no panics under the lock");
        let last = inner.counters.insert(counter.to_owned(), Reading { total, at })?;
        let by = if total < last.total { total } else { total - last.total };
        Some(Growth { by, elapsed: at.saturating_sub(last.at) })
    }

    /// Drops the readings of counters that `keep` does not know, and series too old to matter.
    pub fn forget(&self, now: Timestamp, keep: impl Fn(&str) -> bool) {
        let mut inner = self.0.lock().expect("no panics under the lock");
        inner.counters.retain(|counter, _| keep(counter));
        for series in inner.owners.values_mut() {
            for series in series.values_mut() {
                forget_before(series, now);
            }
            series.retain(|_, series| !series.is_empty());
        }
        inner.owners.retain(|_, series| !series.is_empty());
    }

    /// Whether a sample is due, `interval` after the last; if so this one is the last now.
    pub fn begin_sample(&self, now: Timestamp, interval: Duration) -> Result<(), Duration> {
        let mut inner = self.0.lock().expect("no panics under the lock");
        let since = inner.sampled.map_or(interval, |last| now.since(last));
        if since < interval {
            return Err(interval - since);
        }
        inner.sampled = Some(now);
        Ok(())
    }

    /// Forgets everything, as a reset of the cloud does.
    pub fn clear(&self) {
        *self.0.lock().expect("no panics under the lock") = Inner::default();
    }

    fn with_owner<T>(
        &self,
        account: &str,
        region: &str,
        f: impl FnOnce(&mut HashMap<MetricId, Series>) -> T,
    ) -> T {
        let owner = Owner { account: account.to_owned(), region: region.to_owned() };
        let mut inner = self.0.lock().expect("no panics under the lock");
        f(inner.owners.entry(owner).or_default())
    }
}

/// The start of the period that `at` is in; periods begin at multiples of their length.
pub fn start_of(at: Timestamp, period: Duration) -> Timestamp {
    let period = period.as_millis() as i64;
    Timestamp(at.0.div_euclid(period) * period)
}

fn forget_before(series: &mut Series, now: Timestamp) {
    let oldest = now.0 - RETENTION.as_millis() as i64;
    while series.front().is_some_and(|(start, _)| start.0 < oldest) {
        series.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1";
    const R: &str = "r";
    const MINUTE: Duration = Duration::from_secs(60);

    fn id() -> MetricId {
        MetricId::new("AWS/EC2", "CPUUtilization", &[("InstanceId", "i-1")])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    #[test]
    fn statistics_of_a_period() {
        let metrics = Metrics::default();
        for (second, value) in [(61, 4.0), (60, 2.0), (119, 9.0), (120, 100.0), (59, 7.0)] {
            metrics.put(A, R, &id(), at(second), value);
        }
        let minute = metrics.statistics(A, R, &id(), at(60), at(120)).unwrap();
        assert_eq!(minute.get(Statistic::Sum), 15.0);
        assert_eq!(minute.get(Statistic::Average), 5.0);
        assert_eq!(minute.get(Statistic::Minimum), 2.0);
        assert_eq!(minute.get(Statistic::Maximum), 9.0);
        assert_eq!(minute.get(Statistic::SampleCount), 3.0);
        let sums: Vec<_> = metrics
            .periods(A, R, &id(), MINUTE, 4, at(185))
            .into_iter()
            .map(|s| s.map(|s| s.sum))
            .collect();
        assert_eq!(sums, [Some(100.0), Some(15.0), Some(7.0), None]);
        assert_eq!(metrics.statistics(A, "other", &id(), at(0), at(500)), None);
    }

    #[test]
    fn three_hours_are_kept() {
        let metrics = Metrics::default();
        for minute in 0..1000 {
            metrics.put(A, R, &id(), at(minute * 60), 1.0);
        }
        let kept = metrics.statistics(A, R, &id(), at(0), at(60_000)).unwrap();
        assert_eq!(kept.samples, 181);
        metrics.forget(at(100_000), |_| true);
        assert!(metrics.0.lock().unwrap().owners.is_empty());
    }

    #[test]
    fn counters_may_begin_again() {
        let metrics = Metrics::default();
        let s = Duration::from_secs;
        assert_eq!(metrics.growth("c", 10.0, s(1)), None);
        assert_eq!(metrics.growth("c", 15.0, s(3)), Some(Growth { by: 5.0, elapsed: s(2) }));
        assert_eq!(metrics.growth("c", 2.0, s(4)), Some(Growth { by: 2.0, elapsed: s(1) }));
        metrics.forget(at(0), |counter| counter != "c");
        assert_eq!(metrics.growth("c", 3.0, s(5)), None);
    }

    #[test]
    fn samples_keep_their_distance() {
        let metrics = Metrics::default();
        let s = Duration::from_secs;
        assert_eq!(metrics.begin_sample(at(100), s(10)), Ok(()));
        assert_eq!(metrics.begin_sample(at(104), s(10)), Err(s(6)));
        assert_eq!(metrics.begin_sample(at(110), s(10)), Ok(()));
    }
}

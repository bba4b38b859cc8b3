//! The cloud's time. Nothing in this crate reads any other: `Clock` comes with `Env`.
//!
//! Kinds: real; scaled (cooldowns, alarm periods, notices and drains run faster while instances run as
//! they are); simulated (time moves only when the simulator says so).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Milliseconds since the Unix epoch, in the cloud's time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn plus(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(d.as_millis() as i64))
    }

    /// Zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// `2026-01-02T03:04:05Z`
    pub fn iso8601(self) -> String {
        format!("{}T{}Z", self.date(), self.time_of_day())
    }

    /// The other way, of that very form.
    pub fn from_iso8601(text: &str) -> Option<Timestamp> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let numbers = |text: &str, separator: char| -> Option<[i64; 3]> {
            let numbers: Option<Vec<i64>> =
                text.split(separator).map(|number| number.parse().ok()).collect();
            numbers?.try_into().ok()
        };
        let ([year, month, day], [hour, minute, second]) =
            (numbers(date, '-')?, numbers(time, ':')?);
        // Civil date to days, the inverse of `date`.
        let year = year - i64::from(month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        Some(Timestamp((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000))
    }

    /// `2026-01-02`, in UTC.
    pub fn date(self) -> String {
        // Days to civil date, after Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
        let z = self.seconds().div_euclid(86_400) + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// `03:04:05`, in UTC.
    pub fn time_of_day(self) -> String {
        let second = self.seconds().rem_euclid(86_400);
        format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    }
}

#[derive(Clone)]
pub struct Clock(Arc<Kind>);

enum Kind {
    /// Cloud time = `origin` + (host time since `started`) × `scale`.
    Host {
        origin: Timestamp,
        started: tokio::time::Instant,
        scale: f64,
    },
    Simulated(Mutex<Simulated>),
}

struct Simulated {
    now: Timestamp,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    next: u64,
}

impl Clock {
    /// `wall` is the host's time now; `scale` 1.0 is real time.
    #[allow(clippy::disallowed_methods)] // the one door to the host's clock
    pub fn host(wall: Timestamp, scale: f64) -> Clock {
        Clock(Arc::new(Kind::Host { origin: wall, started: tokio::time::Instant::now(), scale }))
    }

    pub fn simulated(now: Timestamp) -> Clock {
        let state = Simulated { now, sleepers: BTreeMap::new(), next: 0 };
        Clock(Arc::new(Kind::Simulated(Mutex::new(state))))
    }

    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Kind::Host { origin, started, scale } => origin.plus(started.elapsed().mul_f64(*scale)),
            Kind::Simulated(state) => state.lock().expect("no panics under the lock").now,
        }
    }

    /// How much host time `d` of cloud time takes.
    pub fn to_host(&self, d: Duration) -> Duration {
        match &*self.0 {
            Kind::Host { scale, .. } => d.div_f64(*scale),
            Kind::Simulated(_) => d,
        }
    }

    /// How much cloud time passes in `d` of host time.
    pub fn to_cloud(&self, d: Duration) -> Duration {
        match &*self.0 {
            Kind::Host { scale, .. } => d.mul_f64(*scale),
            Kind::Simulated(_) => d,
        }
    }

    /// Host time since some fixed moment, for rates of what runs on the host at its own pace.
    pub fn host_elapsed(&self) -> Duration {
        match &*self.0 {
            Kind::Host { started, .. } => started.elapsed(),
            Kind::Simulated(state) => {
                let now = state.lock().expect("no panics under the lock").now;
                Duration::from_millis(now.0.max(0) as u64)
            }
        }
    }

    /// The host's time: what clients and guests count by. As the cloud's, where that is not scaled.
    pub fn host_now(&self) -> Timestamp {
        match &*self.0 {
            Kind::Host { origin, started, .. } => origin.plus(started.elapsed()),
            Kind::Simulated(_) => self.now(),
        }
    }

    /// Sleeps `d` of cloud time.
    pub async fn sleep(&self, d: Duration) {
        match &*self.0 {
            #[allow(clippy::disallowed_methods)] // the other half of the door
            Kind::Host { scale, .. } => tokio::time::sleep(d.div_f64(*scale)).await,
            Kind::Simulated(state) => {
                let woken = {
                    let mut state = state.lock().expect("no panics under the lock");
                    let (wake, woken) = oneshot::channel();
                    let key = (state.now.plus(d), state.next);
                    state.next += 1;
                    state.sleepers.insert(key, wake);
                    woken
                };
                let _ = woken.await;
            }
        }
    }

    /// Simulated only: when the next sleeper's time comes.
    pub fn next_due(&self) -> Option<Timestamp> {
        let Kind::Simulated(state) = &*self.0 else {
            panic!("only simulated time knows who sleeps")
        };
        let mut state = state.lock().expect("no panics under the lock");
        state.sleepers.retain(|_, wake| !wake.is_closed());
        state.sleepers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Simulated only: moves time to `to` and wakes, in order, whoever's time has come.
    pub fn advance(&self, to: Timestamp) {
        let Kind::Simulated(state) = &*self.0 else {
            panic!("only simulated time can be advanced")
        };
        let mut state = state.lock().expect("no panics under the lock");
        state.now = state.now.max(to);
        let later = state.sleepers.split_off(&(Timestamp(to.0 + 1), 0));
        for (_, wake) in std::mem::replace(&mut state.sleepers, later) {
            let _ = wake.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn dates() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_798_761_599_999, "2026-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp(ms).iso8601(), expected);
            let second = Timestamp(ms - ms.rem_euclid(1000));
            assert_eq!(Timestamp::from_iso8601(expected), Some(second));
        }
    }
}

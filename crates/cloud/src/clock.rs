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

    /// Sleeps `d` of cloud time.
    pub async fn sleep(&self, d: Duration) {
        match &*self.0 {
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

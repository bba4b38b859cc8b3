//! Counts, once a minute of cloud time, what burstable instances earned and used, holds those that are
//! out of credits to their baseline, and lets all others run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compute::driver::BoxFuture;
use store::{Record, Snapshot};

use super::facts;
use super::model::Credits;
use super::state;
use crate::clock::Timestamp;
use crate::cloudwatch::MetricId;
use crate::cloudwatch::metrics::start_of;
use crate::controller::{Controller, Error};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::env::Env;

/// Between two counts, in the cloud's time …
const STEP: Duration = Duration::from_secs(60);
/// … and at least this much of the host's.
const HOST_STEP: Duration = Duration::from_millis(500);
/// CloudWatch has credits every five minutes.
const MARK: Duration = Duration::from_secs(300);

/// What it remembers saves calls of the driver only: lost, it tells again.
#[derive(Default)]
pub struct CpuCredits {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    counted: Option<Timestamp>,
    /// By instance: the boot, and how much it was allowed.
    told: BTreeMap<String, (u64, f64)>,
}

impl Controller for CpuCredits {
    fn name(&self) -> &'static str {
        "ec2-cpu-credits"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(self.round(env))
    }
}

/// One instance's news.
struct News {
    /// As it was read.
    before: Arc<Credits>,
    after: Credits,
    /// As CloudWatch shall show it, when five minutes are over.
    published: Option<Credits>,
    /// What may be used from now on.
    cores: Option<f64>,
}

impl CpuCredits {
    async fn round(&self, env: &Env) -> Result<Option<Duration>, Error> {
        let snapshot = env.store.read();
        if snapshot.scan::<Credits>("").next().is_none() {
            return Ok(None);
        }
        let now = env.clock.now();
        let step = STEP.max(env.clock.to_cloud(HOST_STEP));
        if let Some(counted) = self.memory().counted
            && now.since(counted) < step
        {
            return Ok(Some(step - now.since(counted)));
        }
        let all = snapshot.scan::<Credits>("");
        let news: Vec<News> =
            all.filter_map(|credits| count(env, &snapshot, credits, now, step)).collect();
        let counted = env
            .store
            .write(|tx| {
                let mut counted = Vec::new();
                for News { before, after, .. } in &news {
                    // Changed by a user in between: counted next time, from where it was.
                    let same =
                        tx.get::<Credits>(&after.key()).is_some_and(|known| known == *before);
                    if same && **before != *after {
                        tx.put(after.clone());
                    }
                    counted.push(same);
                }
                Ok::<_, store::Error>(counted)
            })
            .await?;
        for (News { after, published, cores, .. }, counted) in news.iter().zip(counted) {
            if let Some(credits) = published.as_ref().filter(|_| counted) {
                publish(env, credits);
            }
            if let Some(cores) = cores {
                self.tell(env, after, *cores);
            }
        }
        let mut memory = self.memory();
        memory.counted = Some(now);
        memory
            .told
            .retain(|id, _| news.iter().any(|n| n.cores.is_some() && n.after.instance_id == *id));
        Ok(Some(step))
    }

    fn tell(&self, env: &Env, credits: &Credits, cores: f64) {
        let (id, told) = (&credits.instance_id, (credits.boot, cores));
        if self.memory().told.get(id) == Some(&told) {
            return;
        }
        match env.driver.set_cpu(id, cores) {
            Ok(()) => drop(self.memory().told.insert(id.clone(), told)),
            // It may have ended just now; what still runs is told next time.
            Err(error) => tracing::debug!(instance = id, "cannot be held: {error}"),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("no panics under the lock")
    }
}

fn count(
    env: &Env,
    snapshot: &Snapshot,
    before: Arc<Credits>,
    now: Timestamp,
    step: Duration,
) -> Option<News> {
    let instance = snapshot.get::<Instance>(&before.key())?;
    let facts = facts::of(&instance.instance_type)?;
    let mut after = Credits::clone(&before);
    let (mut cores, mut published) = (None, None);
    match instance.state() {
        InstanceState::Pending | InstanceState::Running => {
            state::started(&mut after, &facts, now);
            let spent = measure(env, &mut after, &instance);
            let elapsed = now.since(after.at);
            state::ran(&mut after, &facts, elapsed, spent);
            if start_of(after.at, MARK) != start_of(now, MARK) {
                published = Some(after.clone());
                (after.spent, after.charged) = (0.0, 0.0);
            }
            after.at = now;
            let up = instance.observed.boot == instance.desired.boot;
            cores = up.then(|| state::allowance(&after, &facts, step));
        }
        InstanceState::Stopped if after.stopped.is_none() => {
            state::stopped(&mut after, &facts, now);
        }
        _ => {}
    }
    Some(News { before, after, published, cores })
}

/// Credits' worth of the processor time since the last count. A day of the cloud's may be a minute of
/// the host's, and what was used in it counts as used for the day.
fn measure(env: &Env, credits: &mut Credits, instance: &Instance) -> f64 {
    let Some(usage) = env.driver.usage(&instance.id) else { return 0.0 };
    let total = usage.cpu.as_secs_f64();
    let known = if credits.boot == instance.observed.boot { credits.cpu_seconds } else { 0.0 };
    (credits.boot, credits.cpu_seconds) = (instance.observed.boot, total);
    let seconds = if total < known { total } else { total - known };
    seconds * env.clock.to_cloud(Duration::from_secs(1)).as_secs_f64() / 60.0
}

/// Stamped with the five minutes that are over.
fn publish(env: &Env, credits: &Credits) {
    for (name, value) in [
        ("CPUCreditUsage", credits.spent),
        ("CPUCreditBalance", credits.balance + credits.launch),
        ("CPUSurplusCreditBalance", credits.surplus),
        ("CPUSurplusCreditsCharged", credits.charged),
    ] {
        let id = MetricId::new("AWS/EC2", name, &[("InstanceId", &credits.instance_id)]);
        env.metrics.put(&credits.account, &credits.region, &id, credits.at, value);
    }
}

//! Samples what there is to measure and keeps alarms in the state their metrics put them in.

use std::time::Duration;

use compute::driver::BoxFuture;
use store::Snapshot;

use super::alarm::model::Alarm;
use super::alarm::state::{self, Verdict};
use super::collect;
use crate::Env;
use crate::clock::Timestamp;
use crate::controller::{Controller, Error};

/// Between two samples, in the cloud's time …
const INTERVAL: Duration = Duration::from_secs(10);
/// … and at least this much of the host's: a fast clock must not busy the host.
const HOST_INTERVAL: Duration = Duration::from_millis(250);

pub struct CloudWatch;

impl Controller for CloudWatch {
    fn name(&self) -> &'static str {
        "cloudwatch"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(reconcile(env))
    }
}

async fn reconcile(env: &Env) -> Result<Option<Duration>, Error> {
    let now = env.clock.now();
    let interval = INTERVAL.max(env.clock.to_cloud(HOST_INTERVAL));
    if let Err(wait) = env.metrics.begin_sample(now, interval) {
        return Ok(Some(wait));
    }
    let snapshot = env.store.read();
    let measures = collect::collect(env, &snapshot, now);
    let watches = snapshot.scan::<Alarm>("").next().is_some();
    let changes = verdicts(env, &snapshot, now);
    if !changes.is_empty() {
        env.store
            .write(|tx| {
                for (key, verdict) in &changes {
                    let Some(alarm) = tx.get::<Alarm>(key) else { continue };
                    tx.put(Alarm {
                        state: verdict.state,
                        state_reason: verdict.reason.clone(),
                        state_updated: now,
                        ..Alarm::clone(&alarm)
                    });
                }
                Ok::<_, store::Error>(())
            })
            .await?;
    }
    Ok((measures || watches).then_some(interval))
}

/// The alarms whose state is another now, by key.
fn verdicts(env: &Env, snapshot: &Snapshot, now: Timestamp) -> Vec<(String, Verdict)> {
    snapshot
        .scan::<Alarm>("")
        .filter_map(|alarm| {
            let periods = env.metrics.periods(
                &alarm.account,
                &alarm.region,
                &alarm.metric,
                alarm.period(),
                alarm.evaluation_periods as usize,
                now,
            );
            let values: Vec<Option<f64>> =
                periods.iter().map(|p| p.map(|p| p.get(alarm.statistic))).collect();
            let verdict = state::evaluate(&alarm, &values)?;
            Some((store::Record::key(&*alarm), verdict))
        })
        .collect()
}

//! Lets experiments run their course.

use std::sync::Arc;
use std::time::Duration;

use compute::driver::BoxFuture;

use super::model::Experiment;
use super::run;
use crate::Context;
use crate::controller::{Controller, Error};
use crate::env::Env;

pub struct Experiments;

impl Controller for Experiments {
    fn name(&self) -> &'static str {
        "fis-experiments"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(round(env))
    }
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let mut wake: Option<Duration> = None;
    let snapshot = env.store.read();
    let experiments: Vec<Arc<Experiment>> = snapshot.scan("").collect();
    for experiment in experiments {
        let cx = Context::service(env, &experiment.account, &experiment.region, run::SERVICE);
        let (due, at) = run::due(&snapshot, &cx, &experiment);
        if due {
            cx.write(|tx| {
                run::step(tx, &cx, &experiment.id);
                Ok::<_, store::Error>(())
            })
            .await?;
        } else if let Some(left) = at.map(|at| at.since(cx.now)) {
            wake = Some(wake.map_or(left, |wake| wake.min(left)));
        }
    }
    Ok(wake)
}

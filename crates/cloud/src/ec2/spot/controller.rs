//! Fulfils Spot requests, takes Spot Instances away when their market says so, and brings those of
//! persistent requests back.

use std::sync::Arc;
use std::time::Duration;

use compute::driver::BoxFuture;

use super::model::SpotRequest;
use super::ops;
use crate::Context;
use crate::controller::{Controller, Error};
use crate::env::Env;

pub struct SpotRequests;

/// The service whose name its launches carry.
pub const SERVICE: &str = "spot.amazonaws.com";

impl Controller for SpotRequests {
    fn name(&self) -> &'static str {
        "ec2-spot"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(round(env))
    }
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let mut wake: Option<Duration> = None;
    let snapshot = env.store.read();
    let requests: Vec<Arc<SpotRequest>> = snapshot.scan("").collect();
    for request in requests {
        let cx = Context::service(env, &request.account, &request.region, SERVICE);
        let (due, at) = ops::due(&snapshot, &cx, &request);
        if due {
            cx.write(|tx| {
                ops::step(tx, &cx, &request.id);
                Ok::<_, store::Error>(())
            })
            .await?;
        }
        if let Some(left) = at.map(|at| at.since(cx.now)) {
            wake = Some(wake.map_or(left, |wake| wake.min(left)));
        }
    }
    Ok(wake)
}

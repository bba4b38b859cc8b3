//! Gives fleets what they are short of, and takes what they are to give up.

use std::sync::Arc;
use std::time::Duration;

use compute::driver::BoxFuture;

use super::model::Fleet;
use super::ops;
use crate::Context;
use crate::controller::{Controller, Error};
use crate::env::Env;

pub struct Fleets;

impl Controller for Fleets {
    fn name(&self) -> &'static str {
        "ec2-fleets"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(round(env))
    }
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let mut wake: Option<Duration> = None;
    let snapshot = env.store.read();
    let fleets: Vec<Arc<Fleet>> = snapshot.scan("").collect();
    for fleet in fleets {
        let cx = Context::service(env, &fleet.account, &fleet.region, "ec2fleet.amazonaws.com");
        match ops::due(&snapshot, &cx, &fleet) {
            (true, _) => {
                cx.write(|tx| {
                    ops::step(tx, &cx, &fleet.id);
                    Ok::<_, store::Error>(())
                })
                .await?;
            }
            (false, Some(at)) => {
                let left = at.since(cx.now);
                wake = Some(wake.map_or(left, |wake| wake.min(left)));
            }
            (false, None) => {}
        }
    }
    Ok(wake)
}

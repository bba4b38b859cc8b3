//! Lets peerings expire, and forgets those that are over.

use std::time::Duration;

use compute::driver::BoxFuture;

use super::model::VpcPeering;
use super::ops;
use super::state::{self, Next};
use crate::Context;
use crate::controller::{Controller, Error};
use crate::env::Env;

pub struct Peerings;

impl Controller for Peerings {
    fn name(&self) -> &'static str {
        "ec2-vpc-peerings"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(round(env))
    }
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let now = env.clock.now();
    let mut wake: Option<Duration> = None;
    for peering in env.store.read().scan::<VpcPeering>("") {
        match state::next(&peering, now) {
            Next::Never => {}
            Next::At(at) => wake = Some(wake.map_or(at.since(now), |w| w.min(at.since(now)))),
            Next::Expire | Next::Forget => {
                let region = &peering.requester.region;
                let cx = Context::service(env, &peering.account, region, "ec2.amazonaws.com");
                cx.write(|tx| {
                    ops::pass_time(tx, &cx, &peering.id);
                    Ok::<_, store::Error>(())
                })
                .await?;
            }
        }
    }
    Ok(wake)
}

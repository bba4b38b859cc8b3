//! Brings NAT gateways from state to state, and forgets those that are over.

use std::time::Duration;

use compute::driver::BoxFuture;

use super::model::NatGateway;
use super::ops;
use super::state::Next;
use crate::Context;
use crate::controller::{Controller, Error};
use crate::ec2::network;
use crate::env::Env;

pub struct NatGateways;

impl Controller for NatGateways {
    fn name(&self) -> &'static str {
        "ec2-nat-gateways"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(round(env))
    }
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let mut wake: Option<Duration> = None;
    let snapshot = env.store.read();
    for gateway in snapshot.scan::<NatGateway>("") {
        let cx = Context::service(env, &gateway.account, &gateway.region, "ec2.amazonaws.com");
        match ops::next(&snapshot, &cx, &gateway) {
            Next::Never => {}
            Next::At(at) => {
                let left = at.since(cx.now);
                wake = Some(wake.map_or(left, |wake| wake.min(left)));
            }
            Next::Become(_) | Next::Forget => {
                // It translates, or does so no more, before it says so and lets go of its address.
                network::sync(env)?;
                cx.write(|tx| {
                    ops::step(tx, &cx, &gateway.id);
                    Ok::<_, store::Error>(())
                })
                .await?;
            }
        }
    }
    Ok(wake)
}

//! Ends capacity reservations at their end date, and forgets those that are over.

use std::time::Duration;

use compute::driver::BoxFuture;

use super::model::CapacityReservation;
use super::ops;
use crate::Context;
use crate::controller::{Controller, Error};
use crate::env::Env;

pub struct CapacityReservations;

impl Controller for CapacityReservations {
    fn name(&self) -> &'static str {
        "ec2-capacity-reservations"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(round(env))
    }
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let mut wake: Option<Duration> = None;
    for reservation in env.store.read().scan::<CapacityReservation>("") {
        let Some(due) = ops::due(&reservation) else { continue };
        let cx =
            Context::service(env, &reservation.account, &reservation.region, "ec2.amazonaws.com");
        if due > cx.now {
            let left = due.since(cx.now);
            wake = Some(wake.map_or(left, |wake| wake.min(left)));
            continue;
        }
        cx.write(|tx| {
            ops::step(tx, &cx, &reservation.id);
            Ok::<_, store::Error>(())
        })
        .await?;
    }
    Ok(wake)
}

//! Takes keys out whose time is over.

use std::time::Duration;

use compute::driver::BoxFuture;
use compute::exec::{self, Keys};
use store::Record;

use super::Key;
use crate::Context;
use crate::controller::{Controller, Error};
use crate::ec2::instance::Instance;
use crate::env::Env;

/// Between attempts at an instance that cannot be entered, in the cloud's time.
const AGAIN: Duration = Duration::from_secs(5);

pub struct ExpiredKeys;

impl Controller for ExpiredKeys {
    fn name(&self) -> &'static str {
        "ec2-instance-connect"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(round(env))
    }
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let snapshot = env.store.read();
    let now = env.clock.host_now();
    let mut wake: Option<Duration> = None;
    let mut sooner = |after: Duration| wake = Some(wake.map_or(after, |wake| wake.min(after)));
    let mut done = Vec::new();
    for key in snapshot.scan::<Key>("") {
        let cx =
            Context::service(env, &key.account, &key.region, "ec2-instance-connect.amazonaws.com");
        let instance = snapshot.get::<Instance>(&cx.key(&key.instance_id));
        if !instance.is_some_and(|instance| instance.is_alive()) {
            done.push(key.key());
            continue;
        }
        if now < key.expires_at {
            sooner(env.clock.to_cloud(key.expires_at.since(now)));
            continue;
        }
        let user = key.user.clone();
        let keys = Keys { user, remove: vec![key.line.clone()], add: vec![] };
        match env.driver.authorize(&key.instance_id, &keys).await {
            // There is no such user any more, or never was.
            Ok(()) | Err(exec::Error::Refused(_) | exec::Error::Simulated(_)) => {
                done.push(key.key());
            }
            // It comes back with its disk: then. Its coming up wakes this.
            Err(exec::Error::NotRunning(_)) => {}
            Err(error) => {
                tracing::warn!("a key of {} is not taken out yet: {error}", key.instance_id);
                sooner(AGAIN);
            }
        }
    }
    if !done.is_empty() {
        let forget = |tx: &mut store::Tx| {
            done.iter().for_each(|key| {
                tx.delete::<Key>(key);
            });
            Ok::<_, store::Error>(())
        };
        env.store.write(forget).await?;
    }
    Ok(wake)
}

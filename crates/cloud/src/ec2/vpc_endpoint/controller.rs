//! Interface endpoints are available once their networks have been told of them.

use std::time::Duration;

use compute::driver::BoxFuture;

use super::model::VpcEndpoint;
use crate::Context;
use crate::controller::{Controller, Error};
use crate::ec2::network;
use crate::env::Env;

pub struct Endpoints;

impl Controller for Endpoints {
    fn name(&self) -> &'static str {
        "ec2-vpc-endpoints"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(round(env))
    }
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let snapshot = env.store.read();
    let pending = snapshot.scan::<VpcEndpoint>("").filter(|e| e.state() == "pending");
    for endpoint in pending.collect::<Vec<_>>() {
        network::sync(env)?;
        let cx = Context::service(env, &endpoint.account, &endpoint.region, "ec2.amazonaws.com");
        cx.write(|tx| {
            if let Some(present) = tx.get::<VpcEndpoint>(&cx.key(&endpoint.id)) {
                let mut told = VpcEndpoint::clone(&present);
                told.interface.iter_mut().for_each(|interface| interface.available = true);
                tx.put(told);
            }
            Ok::<_, store::Error>(())
        })
        .await?;
    }
    Ok(None)
}

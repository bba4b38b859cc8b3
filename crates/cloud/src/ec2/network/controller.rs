//! Applies every change of the records to the networks.

use std::time::Duration;

use compute::driver::BoxFuture;

use crate::controller::{Controller, Error};
use crate::env::Env;

pub struct Networks;

impl Controller for Networks {
    fn name(&self) -> &'static str {
        "ec2-networks"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(async { super::sync(env).map(|()| None) })
    }
}

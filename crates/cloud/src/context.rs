//! Who calls, where and when: fixed once for each call, the same for its every part.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::env::Env;
use crate::iam::Caller;

#[derive(Clone)]
pub struct Context {
    pub env: Env,
    pub account: String,
    pub region: String,
    /// ARN of the caller, or a service principal for what controllers do on a user's behalf.
    pub caller: String,
    /// The same in full, as policies see it.
    pub from: Arc<Caller>,
    pub request_id: String,
    pub now: Timestamp,
}

impl Context {
    /// A controller acting as `service` (`autoscaling.amazonaws.com`).
    pub fn service(env: &Env, account: &str, region: &str, service: &str) -> Context {
        Context {
            env: env.clone(),
            account: account.to_owned(),
            region: region.to_owned(),
            caller: service.to_owned(),
            from: Arc::new(Caller::service(service)),
            request_id: crate::id::uuid(&env.rng),
            now: env.clock.now(),
        }
    }

    /// Key of a resource in this account and region: `account/region/id`.
    pub fn key(&self, id: &str) -> String {
        format!("{}/{}/{id}", self.account, self.region)
    }

    /// What the keys of this account and region begin with.
    pub fn prefix(&self) -> String {
        format!("{}/{}/", self.account, self.region)
    }

    pub fn read(&self) -> store::Snapshot {
        self.env.store.read()
    }

    pub async fn write<T, E: From<store::Error>>(
        &self,
        closure: impl FnMut(&mut store::Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        self.env.store.write(closure).await
    }

    pub fn arn(&self, service: &str, resource: &str) -> String {
        crate::arn::arn(service, &self.region, &self.account, resource)
    }
}

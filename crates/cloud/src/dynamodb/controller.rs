//! Removes the items of tables that are being deleted, then the tables; and what has expired.

use std::time::Duration;

use compute::driver::BoxFuture;
use store::Range;

use super::model::Table;
use super::write::{TOKENS, expires};
use super::{ITEMS, key};
use crate::controller::{Controller, Error};
use crate::env::Env;

const SWEEP_EVERY: Duration = Duration::from_secs(600);

pub struct Sweeper;

impl Controller for Sweeper {
    fn name(&self) -> &'static str {
        "dynamodb"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(async move {
            let items = env.store.keyspace(ITEMS);
            let snapshot = env.store.read();
            for table in snapshot.scan::<Table>("").filter(|table| table.deleting) {
                // Writers that began before the deletion are done after this; later ones refuse.
                items.settle().await;
                let all = Range::prefix(&table.number.to_be_bytes());
                env.store.sweep(&items, &all, |_| true).await?;
                let key = store::Record::key(&*table);
                env.store.write(|tx| Ok::<_, store::Error>(tx.delete::<Table>(&key))).await?;
            }
            let now = env.clock.now();
            let tokens = Range::prefix(&key::root(TOKENS, key::ITEMS));
            env.store.sweep(&items, &tokens, |stored| expires(stored) <= now).await?;
            Ok(Some(SWEEP_EVERY))
        })
    }
}

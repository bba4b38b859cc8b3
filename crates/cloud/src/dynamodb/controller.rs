//! Removes the items of tables that are being deleted, then the tables; and what has expired.

use std::ops::ControlFlow;
use std::time::Duration;

use compute::driver::BoxFuture;
use store::{Batch, Keyspace, Range};

use super::model::Table;
use super::write::{TOKENS, expires};
use super::{ITEMS, key};
use crate::controller::{Controller, Error};
use crate::env::Env;

const AT_ONCE: usize = 1000;
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
                remove(env, &items, &all, |_| true).await?;
                let key = store::Record::key(&*table);
                env.store.write(|tx| Ok::<_, store::Error>(tx.delete::<Table>(&key))).await?;
            }
            let now = env.clock.now();
            let tokens = Range::prefix(&key::root(TOKENS, key::ITEMS));
            remove(env, &items, &tokens, |stored| expires(stored) <= now).await?;
            Ok(Some(SWEEP_EVERY))
        })
    }
}

/// Removes those of `range` whose values are `unwanted`.
async fn remove(
    env: &Env,
    items: &Keyspace,
    range: &Range,
    unwanted: impl Fn(&[u8]) -> bool,
) -> Result<(), Error> {
    loop {
        let mut batch = Batch::default();
        let mut left = AT_ONCE;
        items.scan(range, |key, value| {
            if unwanted(&value) {
                batch.delete(items, key);
                left -= 1;
            }
            let flow = if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            Ok::<_, store::Error>(flow)
        })?;
        env.store.apply(batch).await?;
        if left > 0 {
            return Ok(());
        }
    }
}

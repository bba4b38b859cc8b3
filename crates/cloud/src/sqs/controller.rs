//! Sweeps what is no more: messages of deleted and purged queues, those that were kept long enough, and
//! ids of deduplication that no longer count.

use std::time::Duration;

use compute::driver::BoxFuture;
use store::{Batch, Keyspace, Range};

use super::model::{Gone, Queue};
use super::ops::PAUSE;
use super::{MESSAGES, lines, message};
use crate::Timestamp;
use crate::controller::{Controller, Error};
use crate::env::Env;

const SWEEP_EVERY: Duration = Duration::from_secs(60);

pub struct Sweeper;

impl Controller for Sweeper {
    fn name(&self) -> &'static str {
        "sqs"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(async move {
            let messages = env.store.keyspace(MESSAGES);
            let snapshot = env.store.read();
            let mut wake = None;
            for gone in snapshot.scan::<Gone>("") {
                let left = PAUSE.saturating_sub(env.clock.now().since(gone.at));
                if !gone.swept || left.is_zero() {
                    // Whoever was still writing when it was deleted has long done so in the end.
                    let all = Range::prefix(&gone.number.to_be_bytes());
                    env.store.sweep(&messages, &all, |_| true).await?;
                    let key = store::Record::key(&*gone);
                    let write = env.store.write(|tx| {
                        if tx.get::<Gone>(&key).as_deref() == Some(&*gone) {
                            match left.is_zero() {
                                true => drop(tx.delete::<Gone>(&key)),
                                false => tx.put(Gone { swept: true, ..Gone::clone(&gone) }),
                            }
                        }
                        Ok::<_, store::Error>(())
                    });
                    write.await?;
                }
                if !left.is_zero() {
                    wake = Some(wake.map_or(left, |wake: Duration| wake.min(left)));
                }
            }
            let mut any = false;
            for queue in snapshot.scan::<Queue>("") {
                any = true;
                sweep(env, &messages, &queue).await?;
            }
            env.sqs.sweep(&env.store);
            Ok(match (wake, any) {
                (wake, false) => wake,
                (wake, true) => Some(wake.map_or(SWEEP_EVERY, |wake| wake.min(SWEEP_EVERY))),
            })
        })
    }
}

async fn sweep(env: &Env, messages: &Keyspace, queue: &Queue) -> Result<(), Error> {
    if let Some(purge) = queue.purge.as_ref().filter(|purge| !purge.swept) {
        for kind in [message::ENTRY, message::BODY] {
            let old = Range::prefix(&message::prefix(queue.number, kind));
            let end = message::key(queue.number, kind, purge.before);
            env.store.sweep(messages, &old.before(&end), |_| true).await?;
        }
        let key = store::Record::key(queue);
        let write = env.store.write(|tx| {
            if let Some(found) = tx.get::<Queue>(&key)
                && found.purge == queue.purge
                && found.number == queue.number
            {
                let mut swept = Queue::clone(&found);
                swept.purge.iter_mut().for_each(|purge| purge.swept = true);
                tx.put(swept);
            }
            Ok::<_, store::Error>(())
        });
        write.await?;
    }
    let now = env.clock.now();
    let oldest = Timestamp(now.0 - queue.retention().as_millis() as i64);
    let old =
        env.sqs.of(queue).if_loaded(env, |index| (index.expire(oldest), index.forget_old(now)));
    let Some((expired, forgotten)) = old else { return Ok(()) };
    let mut batch = Batch::default();
    expired.iter().for_each(|sequence| lines::delete(&mut batch, env, queue, *sequence));
    let sent = message::prefix(queue.number, message::SENT);
    for id in forgotten {
        batch.delete(messages, [&sent[..], id.as_bytes()].concat());
    }
    env.store.apply(batch).await?;
    Ok(())
}

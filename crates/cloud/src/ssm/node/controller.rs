//! Registers instances as managed nodes after each boot, keeps what is known of them, and forgets those
//! that are no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compute::driver::BoxFuture;
use compute::exec::{self, Program};
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;

use super::Node;
use super::ops::{self, Found};
use crate::controller::{Controller, Error};
use crate::ec2::instance::Instance;
use crate::ec2::instance_profile::Association;
use crate::env::Env;
use crate::{Context, Timestamp};

/// How long an instance that may not register is left alone, in the cloud's time.
const AGAIN: Duration = Duration::from_secs(5);
/// How long looking into an instance may take, in the host's time.
const LOOK: Duration = Duration::from_secs(10);
const CONCURRENCY: usize = 4;

const SCRIPT: &str = "cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null; \
                      read name < /proc/sys/kernel/hostname; echo; echo \"computer $name\"";
const MOST_OUTPUT: u64 = 16 * 1024;

/// What it remembers only saves work.
#[derive(Default)]
pub struct Nodes {
    /// Boots that could not be registered, and when that was tried last.
    refused: Mutex<BTreeMap<(String, u64), Timestamp>>,
}

impl Controller for Nodes {
    fn name(&self) -> &'static str {
        "ssm-nodes"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(self.round(env))
    }
}

enum News {
    Registered(u64, Found),
    Online(bool),
    Gone,
}

impl Nodes {
    async fn round(&self, env: &Env) -> Result<Option<Duration>, Error> {
        let snapshot = env.store.read();
        let now = env.clock.now();
        let mut news: Vec<(Context, String, News)> = Vec::new();
        for node in snapshot.scan::<Node>("") {
            let cx = context(env, &node.account, &node.region);
            let id = node.instance_id.clone();
            match ops::node(&snapshot, &cx, &id) {
                None => news.push((cx, id, News::Gone)),
                Some((_, instance)) => {
                    // One that boots is looked at again below.
                    let online = ops::is_online(&cx, &node, &instance);
                    if node.online != online {
                        news.push((cx, id, News::Online(online)));
                    }
                }
            }
        }
        let wanted: Vec<(Context, Arc<Instance>)> = snapshot
            .scan::<Association>("")
            .filter_map(|association| {
                let cx = context(env, &association.account, &association.region);
                let key = cx.key(&association.instance_id);
                let instance = snapshot.get::<Instance>(&key).filter(|i| ops::is_up(i))?;
                let node = snapshot.get::<Node>(&key);
                let known = node.is_some_and(|node| node.boot == instance.observed.boot);
                (!known && self.shall_try(&instance, now)).then_some((cx, instance))
            })
            .collect();
        let looked = futures_util::stream::iter(wanted)
            .map(|(cx, instance)| async move {
                let found = match ops::may_register(&cx, &instance) {
                    true => look(env, &instance.id).await,
                    false => None,
                };
                (cx, instance, found)
            })
            .buffer_unordered(CONCURRENCY);
        for (cx, instance, found) in looked.collect::<Vec<_>>().await {
            let boot = instance.observed.boot;
            match found {
                Some(found) => {
                    news.push((cx, instance.id.clone(), News::Registered(boot, found)));
                }
                None => {
                    self.refused().insert((instance.id.clone(), boot), now);
                }
            }
        }
        if !news.is_empty() {
            let write = |tx: &mut store::Tx| {
                for (cx, id, news) in &news {
                    match news {
                        News::Registered(boot, found) => ops::register(tx, cx, id, *boot, found),
                        News::Online(online) => ops::set_online(tx, cx, id, *online),
                        News::Gone => {
                            tx.delete::<Node>(&cx.key(id));
                        }
                    }
                }
                Ok::<_, store::Error>(())
            };
            env.store.write(write).await?;
        }
        let mut refused = self.refused();
        refused.retain(|_, at| now.since(*at) < AGAIN * 2);
        Ok((!refused.is_empty()).then_some(AGAIN))
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, u64), Timestamp>> {
        self.refused.lock().expect("no panics under the lock")
    }

    fn shall_try(&self, instance: &Instance, now: Timestamp) -> bool {
        let key = (instance.id.clone(), instance.observed.boot);
        self.refused().get(&key).is_none_or(|at| now.since(*at) >= AGAIN)
    }
}

fn context(env: &Env, account: &str, region: &str) -> Context {
    Context::service(env, account, region, "ssm.amazonaws.com")
}

/// What the instance says of itself. `None`: it cannot be entered now. One that has no shell, or is
/// simulated, is registered without.
async fn look(env: &Env, id: &str) -> Option<Found> {
    let program = Program {
        arguments: ["/bin/sh", "-c", SCRIPT].map(str::to_owned).to_vec(),
        ..Program::default()
    };
    let running = match env.driver.exec(id, &program).await {
        Ok(running) => running,
        Err(exec::Error::Refused(_) | exec::Error::Simulated(_)) => return Some(Found::default()),
        Err(error) => {
            tracing::warn!("{id} cannot be registered: {error}");
            return None;
        }
    };
    let mut output = Vec::new();
    let mut limited = running.output.take(MOST_OUTPUT);
    let read = limited.read_to_end(&mut output);
    tokio::select! {
        _ = read => {}
        () = env.clock.sleep(env.clock.to_cloud(LOOK)) => return None,
    }
    Some(ops::parse(&String::from_utf8_lossy(&output)))
}

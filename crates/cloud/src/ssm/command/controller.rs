//! Carries commands out: makes their invocations, begins them where and when they may, and ends those
//! that are cancelled or too late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compute::driver::BoxFuture;
use store::Record;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::model::{Command, Invocation};
use super::ops::{self, Ended};
use super::plan::{self, Seen, Step};
use super::run::{self, Cancel};
use super::state::State;
use crate::Context;
use crate::controller::{Controller, Error};
use crate::env::Env;
use crate::ssm::node;

/// What runs dies with it.
#[derive(Default)]
pub struct Commands {
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    /// By the invocation's key.
    cancels: BTreeMap<String, Cancel>,
    tasks: JoinSet<String>,
}

impl Controller for Commands {
    fn name(&self) -> &'static str {
        "ssm-commands"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(self.round(env))
    }
}

impl Commands {
    async fn round(&self, env: &Env) -> Result<Option<Duration>, Error> {
        self.reap();
        let snapshot = env.store.read();
        let now = env.clock.now();
        let mut wake: Option<Duration> = None;
        let mut sooner = |after: Duration| wake = Some(wake.map_or(after, |wake| wake.min(after)));
        for command in snapshot.scan::<Command>("") {
            let cx = Context::service(env, &command.account, &command.region, "ssm.amazonaws.com");
            if now.since(command.requested_at) >= ops::KEPT {
                write(env, |tx| ops::forget(tx, &command)).await?;
                continue;
            }
            if !command.expanded {
                write(env, |tx| ops::expand(tx, &cx, &command.id)).await?;
                continue;
            }
            let invocations = ops::invocations(&snapshot, &command);
            if invocations.iter().all(|invocation| invocation.state.is_over()) {
                sooner(ops::KEPT.saturating_sub(now.since(command.requested_at)));
                continue;
            }
            let seen: Vec<(&Invocation, Seen)> = invocations
                .iter()
                .map(|invocation| (&**invocation, self.see(&snapshot, &cx, invocation)))
                .collect();
            let (steps, at) = plan::plan(&command, &seen, now);
            at.into_iter().for_each(|at| sooner(at.since(now)));
            for (invocation, step) in invocations.iter().zip(steps) {
                if let Some(step) = step {
                    self.act(&cx, &command, invocation, step).await?;
                }
            }
        }
        Ok(wake)
    }

    fn see(&self, snapshot: &store::Snapshot, cx: &Context, invocation: &Invocation) -> Seen {
        let running = self.running().cancels.contains_key(&invocation.key());
        let online = invocation.state.waits()
            && node::ops::node(snapshot, cx, &invocation.instance_id)
                .is_some_and(|(node, instance)| node::ops::is_online(cx, &node, &instance));
        Seen { online, running }
    }

    async fn act(
        &self,
        cx: &Context,
        command: &Arc<Command>,
        invocation: &Arc<Invocation>,
        step: Step,
    ) -> Result<(), Error> {
        let (env, key) = (&cx.env, invocation.key());
        let ended = |state, code, why: &str| Ended {
            state,
            response_code: code,
            stdout: String::new(),
            stderr: why.to_owned(),
        };
        match step {
            Step::Begin => {
                let begun = write(env, |tx| ops::begin(tx, cx, &key)).await?;
                if begun {
                    self.spawn(cx, command, invocation);
                }
            }
            Step::Become(state @ (State::Pending | State::Delayed)) => {
                write(env, |tx| ops::wait(tx, &key, state)).await?;
            }
            Step::Become(state) => {
                let ended = ended(state, -1, "");
                write(env, |tx| ops::end(tx, cx.now, &key, &ended)).await?;
            }
            Step::Lost => {
                let why = "The agent was restarted while the command was in progress.";
                let ended = ended(State::Failed, -1, why);
                write(env, |tx| ops::end(tx, cx.now, &key, &ended)).await?;
            }
            Step::Cancel => {
                if let Some(cancel) = self.running().cancels.get(&key) {
                    cancel.notify_one();
                }
            }
        }
        Ok(())
    }

    fn spawn(&self, cx: &Context, command: &Arc<Command>, invocation: &Arc<Invocation>) {
        let cancel: Cancel = Arc::new(Notify::new());
        let mut running = self.running();
        running.cancels.insert(invocation.key(), Arc::clone(&cancel));
        let (cx, command, invocation) = (cx.clone(), Arc::clone(command), Arc::clone(invocation));
        running.tasks.spawn(async move {
            let ended = run::run(&cx, &command, &invocation, &cancel).await;
            let (key, now) = (invocation.key(), cx.env.clock.now());
            let written = write(&cx.env, |tx| ops::end(tx, now, &key, &ended)).await;
            if let Err(Error(why)) = written {
                tracing::error!("the end of {key} is not kept: {why}");
            }
            key
        });
    }

    fn reap(&self) {
        let mut running = self.running();
        while let Some(ended) = running.tasks.try_join_next() {
            if let Ok(key) = ended {
                running.cancels.remove(&key);
            }
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().expect("no panics under the lock")
    }
}

async fn write<T>(env: &Env, mut act: impl FnMut(&mut store::Tx) -> T) -> Result<T, Error> {
    Ok(env.store.write(|tx| Ok::<_, store::Error>(act(tx))).await?)
}

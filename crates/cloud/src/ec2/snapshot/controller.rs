//! Takes snapshots and completes them.

use std::time::Duration;

use compute::Phase;
use compute::driver::BoxFuture;

use super::model::{Snapshot, Source, Stage};
use super::ops;
use crate::controller::{Controller, Error};
use crate::ec2::volume::{self, Content, Volume, encryption};
use crate::env::Env;
use crate::{Context, zone};

/// Between two tries, in the cloud's time.
const RETRY: Duration = Duration::from_secs(1);

pub struct Snapshots;

impl Controller for Snapshots {
    fn name(&self) -> &'static str {
        "ec2-snapshots"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(round(env))
    }
}

fn context(env: &Env, snapshot: &Snapshot) -> Context {
    Context::service(env, &snapshot.account, &snapshot.region, "ec2.amazonaws.com")
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let read = env.store.read();
    let mut wake: Option<Duration> = None;
    let mut sooner = |at: Duration| wake = Some(wake.map_or(at, |wake: Duration| wake.min(at)));
    for snapshot in read.scan::<Snapshot>("") {
        let cx = context(env, &snapshot);
        match &snapshot.stage {
            Stage::Completed | Stage::Failed(_) => {}
            Stage::Waits(instance) if runs(env, instance) => {}
            Stage::Waits(_) | Stage::Taking => match take(env, &snapshot).await {
                Ok(true) => {}
                Ok(false) => sooner(RETRY),
                Err(why) => {
                    tracing::warn!(snapshot = snapshot.id, "{why}");
                    sooner(RETRY);
                }
            },
            Stage::Taken => {
                cx.write(|tx| {
                    ops::completed(tx, &cx, &snapshot.id);
                    Ok::<_, store::Error>(())
                })
                .await?;
            }
            Stage::Filling => {
                let Source::Upload { timeout_minutes, touched, .. } = snapshot.source else {
                    continue;
                };
                let over = touched.plus(Duration::from_secs(60 * u64::from(timeout_minutes)));
                match over.since(cx.now) {
                    Duration::ZERO => fail(&cx, &snapshot.id, "No block came for too long").await?,
                    left => sooner(left),
                }
            }
        }
    }
    Ok(wake)
}

fn is_known(env: &Env, instance: &str) -> bool {
    env.driver.list().iter().any(|seen| seen.id == instance)
}

fn runs(env: &Env, instance: &str) -> bool {
    let running = |phase| !matches!(phase, Phase::Exited(_));
    env.driver.list().iter().any(|seen| seen.id == instance && running(seen.phase))
}

async fn fail(cx: &Context, id: &str, why: &str) -> Result<(), store::Error> {
    cx.write(|tx| {
        ops::failed(tx, cx, id, why);
        Ok(())
    })
    .await
}

/// Takes one; whether it is done, as what is encrypted takes its time. May run twice, also at once: what
/// has the name already is left as it is. An error says why it shall be tried again.
pub async fn take(env: &Env, snapshot: &Snapshot) -> Result<bool, String> {
    let cx = context(env, snapshot);
    let read = env.store.read();
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let answer = match (&snapshot.source, &snapshot.content) {
        (Source::Copy(source), Content::Blocks) => {
            let bytes = u64::from(snapshot.size_gib) << 30;
            let begun = env
                .storage
                .begin_snapshot(&snapshot.id, bytes, Some(source), snapshot.encrypted)
                .await;
            let copied = match begun {
                Ok(()) => env.storage.complete_snapshot(&snapshot.id).await,
                failed => failed,
            };
            copied.map(|()| (None, None))
        }
        (Source::Copy(_), Content::Tree(tree)) => {
            let copied = encryption::encrypted(env, tree).await;
            copied.map(|tree| (Some(tree), None))
        }
        (Source::Upload { .. }, _) => return Ok(true),
        (Source::Volume, content) => {
            let Some(volume) = read.get::<Volume>(&cx.key(&snapshot.volume_id)) else {
                let failed = fail(&cx, &snapshot.id, "The volume is gone").await;
                return failed.map(|()| true).map_err(|error| text(&error));
            };
            // Its bytes are where nobody can reach them.
            if zone::is_failed(&read, &volume.zone) {
                return Ok(true);
            }
            match content {
                Content::Blocks => {
                    let taken = env.storage.create_snapshot(&snapshot.id, &volume.id).await;
                    taken.map(|()| (None, None))
                }
                Content::Tree(_) => frozen(env, &volume, &snapshot.id)
                    .await
                    .map(|wrote| (volume::ops::tree(&volume).cloned(), wrote)),
            }
        }
    };
    match answer {
        Ok((beneath, wrote)) => {
            let known = cx
                .write(|tx| {
                    let (beneath, wrote) = (beneath.as_ref(), wrote.clone());
                    Ok::<_, store::Error>(ops::taken(tx, &cx, &snapshot.id, beneath, wrote))
                })
                .await
                .map_err(|error| text(&error))?;
            // Deleted meanwhile.
            if !known {
                env.storage.delete_snapshot(&snapshot.id).await.map_err(|error| text(&error))?;
            }
            Ok(true)
        }
        Err(compute::Error::Busy(_)) => Ok(false),
        Err(compute::Error::Spec(why)) => {
            let failed = fail(&cx, &snapshot.id, &why).await;
            failed.map(|()| true).map_err(|error| text(&error))
        }
        Err(error) => Err(text(&error)),
    }
}

/// The writable layer of the instance that has this root volume, frozen under this name. None: it has
/// no instance, or that never booted.
pub async fn frozen(
    env: &Env,
    volume: &Volume,
    name: &str,
) -> Result<Option<compute::Layer>, compute::Error> {
    let Some(attachment) = volume.attachment.as_ref() else { return Ok(None) };
    match env.storage.freeze_root(&attachment.instance_id, name).await {
        Ok(layer) => Ok(Some(layer)),
        Err(compute::Error::Spec(_)) if !is_known(env, &attachment.instance_id) => Ok(None),
        Err(error) => Err(error),
    }
}

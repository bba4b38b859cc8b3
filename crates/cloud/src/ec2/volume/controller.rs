//! Makes volumes have the bytes that their records speak of, lets them grow, and removes those of
//! volumes that are deleted. What instances have of them is the affair of the instances' controller.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use compute::driver::BoxFuture;
use futures_util::StreamExt;

use super::model::{Content, Progress, Stage, Volume};
use super::modification::{self, Phase};
use super::{encryption, ops};
use crate::controller::{Controller, Error};
use crate::ec2::instance::Instance;
use crate::ec2::snapshot::{self, Snapshot};
use crate::env::Env;
use crate::{Context, zone};

/// Between two tries, in the cloud's time.
const RETRY: Duration = Duration::from_secs(1);

/// Acts of the storage in the air at once.
const CONCURRENCY: usize = 8;

#[derive(Default)]
pub struct Volumes {
    /// Whether instances of a store that an older release wrote have their volumes.
    adopted: AtomicBool,
}

impl Controller for Volumes {
    fn name(&self) -> &'static str {
        "ec2-volumes"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(async {
            if !self.adopted.load(Ordering::Relaxed) {
                adopt(env).await?;
                self.adopted.store(true, Ordering::Relaxed);
            }
            round(env).await
        })
    }
}

/// Older releases kept no records of root volumes.
async fn adopt(env: &Env) -> Result<(), Error> {
    let read = env.store.read();
    for instance in read.scan::<Instance>("").filter(|instance| instance.is_alive()) {
        let cx = Context::service(env, &instance.account, &instance.region, "ec2.amazonaws.com");
        let missing = |id: &&String| read.get::<Volume>(&cx.key(id)).is_none();
        let Some(id) = instance.volumes.iter().find(missing) else { continue };
        cx.write(|tx| {
            ops::adopt(tx, &instance, id);
            Ok::<_, store::Error>(())
        })
        .await?;
    }
    Ok(())
}

async fn round(env: &Env) -> Result<Option<Duration>, Error> {
    let read = env.store.read();
    let failed: BTreeSet<String> =
        zone::failures(&read).iter().map(|failure| failure.zone.clone()).collect();
    let todo: Vec<_> = read
        .scan::<Volume>("")
        .filter(|volume| match volume.stage {
            Stage::Creating => !failed.contains(&volume.zone),
            Stage::Deleting => !is_wanted(&read, &volume.id),
            Stage::Ready => {
                volume.pending_modification().is_some() && !failed.contains(&volume.zone)
            }
            Stage::Failed => false,
        })
        .collect();
    let answers: Vec<Result<bool, String>> = futures_util::stream::iter(todo)
        .map(|volume| async move {
            let cx = Context::service(env, &volume.account, &volume.region, "ec2.amazonaws.com");
            act(env, &cx, &volume).await.map_err(|why| format!("{}: {why}", volume.id))
        })
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    let mut wake = None;
    for answer in answers {
        match answer {
            Ok(true) => {}
            Ok(false) => wake = Some(RETRY),
            Err(why) => {
                tracing::warn!(controller = "ec2-volumes", "{why}");
                wake = Some(RETRY);
            }
        }
    }
    Ok(wake)
}

/// By a snapshot that is yet to be taken.
fn is_wanted(read: &store::Snapshot, volume: &str) -> bool {
    read.scan::<Snapshot>("").any(|snapshot| {
        let open = matches!(snapshot.stage, snapshot::Stage::Taking | snapshot::Stage::Waits(_));
        open && snapshot.volume_id == volume
    })
}

/// Whether it is done: what takes long is asked for again. An error says why it shall be tried again.
async fn act(env: &Env, cx: &Context, volume: &Volume) -> Result<bool, String> {
    let is_blocks = volume.content == Content::Blocks;
    match volume.stage {
        Stage::Creating => {
            let made = match make(env, volume).await {
                Ok(content) => Some(content),
                Err(compute::Error::Busy(_)) => return Ok(false),
                Err(compute::Error::Spec(why)) => {
                    tracing::warn!(volume = volume.id, "cannot be made: {why}");
                    None
                }
                Err(error) => return Err(error.to_string()),
            };
            write(cx, |tx| ops::made(tx, cx, &volume.id, made.as_ref())).await
        }
        Stage::Deleting => {
            if is_blocks {
                match env.storage.delete_volume(&volume.id).await {
                    Ok(()) => {}
                    Err(compute::Error::Busy(_)) => return Ok(false),
                    Err(error) => return Err(error.to_string()),
                }
            }
            write(cx, |tx| ops::remove(tx, cx, &volume.id)).await
        }
        Stage::Ready | Stage::Failed => modify(env, cx, volume).await,
    }
}

/// What it then holds.
async fn make(env: &Env, volume: &Volume) -> Result<Content, compute::Error> {
    match &volume.content {
        Content::Blocks => {
            let from = Some(volume.snapshot_id.as_str()).filter(|id| !id.is_empty());
            let (id, bytes) = (&volume.id, volume.bytes());
            env.storage.create_volume(id, bytes, from, volume.encrypted).await?;
            Ok(Content::Blocks)
        }
        Content::Tree(tree) if volume.encrypted => {
            Ok(Content::Tree(encryption::encrypted(env, tree).await?))
        }
        Content::Tree(tree) => Ok(Content::Tree(tree.clone())),
    }
}

async fn modify(env: &Env, cx: &Context, volume: &Volume) -> Result<bool, String> {
    let Some(modification) = volume.pending_modification() else { return Ok(true) };
    if modification.phase == Phase::Modifying && volume.content == Content::Blocks {
        let bytes = u64::from(modification.to.size_gib) << 30;
        match env.storage.grow_volume(&volume.id, bytes).await {
            Ok(()) => {}
            Err(compute::Error::Spec(_) | compute::Error::Capacity(_)) => {
                return write(cx, |tx| modification::fail(tx, cx, volume)).await;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let progress = volume.attachment.as_ref().map(|attachment| attachment.progress);
    // What runs is to be told first.
    if modification.phase == Phase::Optimizing && progress == Some(Progress::Changing) {
        return Ok(true);
    }
    write(cx, |tx| modification::step(tx, cx, volume)).await
}

async fn write(cx: &Context, change: impl Fn(&mut store::Tx)) -> Result<bool, String> {
    let written = cx.write(|tx| {
        change(tx);
        Ok::<_, store::Error>(())
    });
    written.await.map(|()| true).map_err(|error| error.to_string())
}

//! Removes what the storage keeps and no record needs: bytes of deleted snapshots, frozen roots that no
//! image, snapshot or volume is made of any more, and what a crash left between the two.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use compute::driver::BoxFuture;
use compute::storage::Kind;

use super::encryption::copy_name;
use super::model::{Content, Stage, Tree, Volume};
use crate::controller::{Controller, Error};
use crate::ec2::image::Image;
use crate::ec2::instance::Instance;
use crate::ec2::snapshot::{self, Snapshot, Source};
use crate::env::Env;

/// Between two tries, in the cloud's time.
const RETRY: Duration = Duration::from_secs(1);

/// What it remembers is learnt again after a crash, from the storage itself.
#[derive(Default)]
pub struct Sweeper {
    /// What there may be.
    known: Mutex<Option<BTreeSet<String>>>,
}

impl Controller for Sweeper {
    fn name(&self) -> &'static str {
        "ec2-storage"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(self.round(env))
    }
}

impl Sweeper {
    async fn round(&self, env: &Env) -> Result<Option<Duration>, Error> {
        let known = self.known.lock().expect("no panics under the lock").clone();
        let mut known = match known {
            Some(known) => known,
            // The storage first: what it keeps was asked for by a record that is in the later snapshot.
            None => env
                .storage
                .stored()?
                .into_iter()
                .map(|stored| name(stored.kind, stored.name))
                .collect(),
        };
        let wanted = wanted(&env.store.read());
        let mut wake = None;
        for name in known.difference(&wanted).cloned().collect::<Vec<String>>() {
            let gone = match name.strip_prefix(VOLUME) {
                Some(volume) => env.storage.delete_volume(volume).await,
                None => env.storage.delete_snapshot(&name).await,
            };
            match gone {
                Ok(()) => drop(known.remove(&name)),
                Err(error) => {
                    tracing::warn!(controller = self.name(), "{name}: {error}");
                    wake = Some(RETRY);
                }
            }
        }
        known.extend(wanted);
        *self.known.lock().expect("no panics under the lock") = Some(known);
        Ok(wake)
    }
}

/// What names of volumes begin with here, so that one can tell them from the others.
const VOLUME: &str = "volume:";

fn name(kind: Kind, name: String) -> String {
    match kind {
        Kind::Volume => format!("{VOLUME}{name}"),
        Kind::Begun | Kind::Snapshot | Kind::Root => name,
    }
}

/// Everything that records need, or may be about to.
pub fn wanted(read: &store::Snapshot) -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    let tree = |wanted: &mut BTreeSet<String>, tree: &Tree| {
        wanted.extend(tree.frozen.iter().cloned());
    };
    for volume in read.scan::<Volume>("") {
        match &volume.content {
            Content::Blocks => {
                wanted.insert(name(Kind::Volume, volume.id.clone()));
            }
            Content::Tree(of) => {
                tree(&mut wanted, of);
                if volume.stage == Stage::Creating && volume.encrypted {
                    wanted.extend(of.frozen.iter().map(|name| copy_name(name)));
                }
                wanted.insert(volume.next_frozen());
            }
        }
        if volume.stage == Stage::Creating && !volume.snapshot_id.is_empty() {
            wanted.insert(volume.snapshot_id.clone());
        }
    }
    for snapshot in read.scan::<Snapshot>("") {
        wanted.insert(snapshot.id.clone());
        if let Content::Tree(of) = &snapshot.content {
            tree(&mut wanted, of);
            if snapshot.stage == snapshot::Stage::Taking && snapshot.encrypted {
                wanted.extend(of.frozen.iter().map(|name| copy_name(name)));
            }
        }
        if let (Source::Copy(source), snapshot::Stage::Taking) = (&snapshot.source, &snapshot.stage)
        {
            wanted.insert(source.clone());
        }
    }
    for instance in read.scan::<Instance>("").filter(|instance| instance.is_alive()) {
        wanted.extend(instance.frozen.iter().cloned());
    }
    for image in read.scan::<Image>("") {
        wanted.extend(image.frozen.iter().cloned());
    }
    wanted
}

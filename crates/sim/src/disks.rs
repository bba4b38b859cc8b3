//! What users ask of disks, and what must hold of them: the storage has what records speak of, and in
//! the end nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cloud::ec2::image::Image;
use cloud::ec2::image::make;
use cloud::ec2::instance::launch::BlockDevice;
use cloud::ec2::instance::{Instance, InstanceState, ops as instances};
use cloud::ec2::snapshot::{self, Snapshot};
use cloud::ec2::volume::modification;
use cloud::ec2::volume::performance::Asked;
use cloud::ec2::volume::{self, Content, Stage, Volume, sweep};
use cloud::env::Rng;
use cloud::tag::Tags;
use cloud::{Context, ec2};
use compute::DiskSource;
use compute::storage::Kind;
use store::Tx;

use crate::checkers::{Checker, Sight};
use crate::workload::{self, Answer};
use crate::world::{ZONES, key, zone_name};

#[derive(Clone, Debug)]
pub enum Request {
    Create { zone: String, snapshot: Option<String>, encrypted: bool },
    Delete(String),
    Attach { volume: String, instance: String, root: bool },
    Detach { volume: String, force: bool },
    Grow(String),
    Snapshot(String),
    Copy { snapshot: String, encrypted: bool },
    DeleteSnapshot(String),
    CreateImage { instance: String, name: String, no_reboot: bool },
    Run { image: String, data: bool, encrypted: bool },
    Deregister(String),
    KeepRoot(String),
}

/// Draws the next request from what is there.
pub fn draw(dice: &Rng, read: &store::Snapshot, number: usize) -> Option<Request> {
    fn pick<T: Clone>(dice: &Rng, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[dice.below(from.len() as u64) as usize].clone())
    }
    let any = |n: usize| dice.below(n as u64) as usize;
    let volumes: Vec<Arc<Volume>> = read.scan("").collect();
    let snapshots: Vec<Arc<Snapshot>> = read.scan("").collect();
    let images: Vec<Arc<Image>> = read.scan("").collect();
    let alive: Vec<Arc<Instance>> =
        read.scan("").filter(|i: &Arc<Instance>| i.is_alive()).collect();
    let volume = || pick(dice, &volumes).map(|volume| volume.id.clone());
    let snapshot = || pick(dice, &snapshots).map(|snapshot| snapshot.id.clone());
    let instance = || pick(dice, &alive).map(|instance| instance.id.clone());
    let image = || pick(dice, &images).map(|image| image.id.clone());
    match any(24) {
        0..3 => Some(Request::Create {
            zone: zone_name(any(ZONES)),
            snapshot: snapshot().filter(|_| any(2) == 0),
            encrypted: any(3) == 0,
        }),
        3 => volume().map(Request::Delete),
        4..9 => {
            let free: Vec<_> = volumes.iter().filter(|v| v.attachment.is_none()).collect();
            let volume = pick(dice, &free)?;
            let here: Vec<_> = alive.iter().filter(|i| i.zone == volume.zone).collect();
            let instance = pick(dice, &here)?.id.clone();
            let root = matches!(volume.content, Content::Tree(_));
            Some(Request::Attach { volume: volume.id.clone(), instance, root })
        }
        9..12 => volume().map(|volume| Request::Detach { volume, force: any(2) == 0 }),
        12 => volume().map(Request::Grow),
        13..16 => volume().map(Request::Snapshot),
        16 => snapshot().map(|snapshot| Request::Copy { snapshot, encrypted: any(2) == 0 }),
        17 => snapshot().map(Request::DeleteSnapshot),
        18..20 => instance().map(|instance| Request::CreateImage {
            instance,
            name: format!("image {number}"),
            no_reboot: any(2) == 0,
        }),
        20..22 => {
            image().map(|image| Request::Run { image, data: any(2) == 0, encrypted: any(3) == 0 })
        }
        22 => image().map(Request::Deregister),
        _ => instance().map(Request::KeepRoot),
    }
}

pub async fn perform(cx: &Context, request: Request) -> Result<Answer, String> {
    let no_tags = Tags::new();
    match request {
        Request::Create { zone, snapshot, encrypted } => {
            let new = volume::ops::New {
                zone,
                size_gib: snapshot.is_none().then_some(1),
                snapshot_id: snapshot,
                encrypted: encrypted.then_some(true),
                ..Default::default()
            };
            done(cx, |tx| volume::ops::create(tx, cx, &new, None).map(drop)).await
        }
        Request::Delete(id) => done(cx, |tx| volume::ops::delete(tx, cx, &id)).await,
        Request::Attach { volume, instance, root } => {
            let device = if root { "/dev/xvda" } else { "/dev/sdf" };
            done(cx, |tx| volume::ops::attach(tx, cx, &volume, &instance, device).map(drop)).await
        }
        Request::Detach { volume, force } => {
            done(cx, |tx| volume::ops::detach(tx, cx, &volume, None, None, force).map(drop)).await
        }
        Request::Grow(id) => {
            done(cx, |tx| {
                let size = volume::ops::by_id(tx, cx, &id)?.size_gib as i32 + 1;
                modification::modify(tx, cx, &id, Some(size), &Asked::default()).map(drop)
            })
            .await
        }
        Request::Snapshot(id) => {
            done(cx, |tx| snapshot::ops::create(tx, cx, &id, "", &no_tags).map(drop)).await
        }
        Request::Copy { snapshot: id, encrypted } => {
            let region = &cx.region;
            done(cx, |tx| {
                snapshot::ops::copy(tx, cx, region, &id, "", &no_tags, encrypted).map(drop)
            })
            .await
        }
        Request::DeleteSnapshot(id) => done(cx, |tx| snapshot::ops::delete(tx, cx, &id)).await,
        Request::CreateImage { instance, name, no_reboot } => {
            let asked =
                make::OfInstance { instance_id: instance, name, no_reboot, ..Default::default() };
            done(cx, |tx| make::of_instance(tx, cx, &asked).map(drop)).await
        }
        Request::Run { image, data, encrypted } => {
            let data = data.then(|| BlockDevice {
                device_name: "/dev/sdg".to_owned(),
                volume_size_gib: Some(1),
                delete_on_termination: Some(true),
                ..BlockDevice::default()
            });
            let root = encrypted.then(|| BlockDevice {
                device_name: "/dev/xvda".to_owned(),
                encrypted: Some(true),
                ..BlockDevice::default()
            });
            let launch = ec2::instance::Launch {
                image_id: Some(image),
                min_count: 1,
                max_count: 1,
                block_devices: data.into_iter().chain(root).collect(),
                ..workload::launch()
            };
            let made = cx.write(|tx| instances::run(tx, cx, &launch)).await;
            let made = made.map_err(|error| format!("{error:?}"))?;
            Ok(Answer::Launched(made.instances.into_iter().map(|instance| instance.id).collect()))
        }
        Request::Deregister(id) => {
            done(cx, |tx| make::deregister(tx, cx, &id, true).map(drop)).await
        }
        Request::KeepRoot(id) => {
            let change = ec2::instance::attribute::Change::DeleteOnTermination(vec![(
                "/dev/xvda".to_owned(),
                false,
            )]);
            done(cx, |tx| ec2::instance::attribute::modify(tx, cx, &id, &change)).await
        }
    }
}

async fn done(
    cx: &Context,
    closure: impl FnMut(&mut Tx) -> ec2::Result<()>,
) -> Result<Answer, String> {
    cx.write(closure).await.map_err(|error| format!("{error:?}"))?;
    Ok(Answer::Done)
}

/// Volumes and snapshots have their bytes from the moment that they say so until they are deleted; no
/// volume is in two instances; nothing else is kept.
#[derive(Default)]
pub struct Disks {
    known: BTreeMap<String, Arc<Volume>>,
}

impl Disks {
    fn volumes<'a>(sight: &'a Sight<'_>) -> impl Iterator<Item = Arc<Volume>> + 'a {
        sight.snapshot.scan("")
    }
}

impl Checker for Disks {
    fn name(&self) -> &'static str {
        "disks"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        let has = |kind: &[Kind], name: &str| {
            sight.stored.iter().any(|stored| stored.name == name && kind.contains(&stored.kind))
        };
        let plain: BTreeSet<&str> = {
            let plain = sight.stored.iter().filter(|stored| !stored.encrypted);
            plain.map(|stored| stored.name.as_str()).collect()
        };
        let tree = |of: &Content, holder: &str, encrypted: bool| match of {
            Content::Tree(tree) => {
                if let Some(name) = tree.frozen.iter().find(|name| !has(&[Kind::Root], name)) {
                    return Err(format!("{holder} is made of {name}, which is lost"));
                }
                let found = tree.frozen.iter().find(|name| plain.contains(name.as_str()));
                match found.filter(|_| encrypted) {
                    Some(name) => Err(format!("{holder} is made of {name}, which is plain")),
                    None => Ok(()),
                }
            }
            Content::Blocks if encrypted && plain.contains(holder) => {
                Err(format!("{holder} is plain"))
            }
            Content::Blocks => Ok(()),
        };
        let mut present = BTreeMap::new();
        for volume in Disks::volumes(sight) {
            let blocks = volume.content == Content::Blocks;
            if volume.stage == Stage::Ready && blocks && !has(&[Kind::Volume], &volume.id) {
                return Err(format!("{} has lost its bytes", volume.id));
            }
            if volume.stage == Stage::Failed {
                return Err(format!("{} could not be made", volume.id));
            }
            let made = volume.stage == Stage::Ready;
            tree(&volume.content, &volume.id, volume.encrypted && made)?;
            let holder = volume.attachment.as_ref().filter(|_| made && volume.is_root());
            let spec = holder.and_then(|holder| sight.specs.get(&holder.instance_id));
            if volume.encrypted && spec.is_some_and(|spec| !spec.root_encrypted) {
                return Err(format!("what is written to {} is plain", volume.id));
            }
            present.insert(volume.id.clone(), volume);
        }
        let may_go = |volume: &Volume| volume.stage == Stage::Deleting || volume.is_root();
        let lost = |(id, volume): &(&String, &Arc<Volume>)| {
            !present.contains_key(*id)
                && !may_go(volume)
                // A tree without an instance has no bytes of its own, so that it goes at once.
                && volume.content == Content::Blocks
        };
        if let Some((id, _)) = self.known.iter().find(lost) {
            return Err(format!("{id} is lost"));
        }
        self.known = present;
        for snapshot in sight.snapshot.scan::<Snapshot>("") {
            if !matches!(snapshot.stage, snapshot::Stage::Taken | snapshot::Stage::Completed) {
                continue;
            }
            let blocks = snapshot.content == Content::Blocks;
            if blocks && !has(&[Kind::Snapshot], &snapshot.id) {
                return Err(format!("{} has lost its bytes", snapshot.id));
            }
            tree(&snapshot.content, &snapshot.id, snapshot.encrypted)?;
        }
        for image in sight.snapshot.scan::<Image>("") {
            if let Some(name) = image.frozen.iter().find(|name| !has(&[Kind::Root], name)) {
                return Err(format!("{} is made of {name}, which is lost", image.id));
            }
        }
        let mut held = BTreeSet::new();
        for (id, spec) in &sight.specs {
            if !sight.runs(id) {
                continue;
            }
            for disk in &spec.disks {
                if let DiskSource::Volume(volume) = &disk.source
                    && !held.insert(volume.clone())
                {
                    return Err(format!("{volume} is in two instances"));
                }
            }
        }
        Ok(())
    }

    fn settled(&self, sight: &Sight<'_>) -> Result<(), String> {
        let wanted = sweep::wanted(sight.snapshot);
        for stored in &sight.stored {
            let name = match stored.kind {
                Kind::Volume => format!("volume:{}", stored.name),
                _ => stored.name.clone(),
            };
            if !wanted.contains(&name) {
                return Err(format!("nothing needs {stored:?}"));
            }
        }
        for volume in Disks::volumes(sight) {
            let Some(attachment) = &volume.attachment else {
                if volume.stage == Stage::Ready {
                    continue;
                }
                let dark = sight.failed.contains(&volume.zone) && volume.stage == Stage::Creating;
                if dark {
                    continue;
                }
                return Err(format!("{} is still {:?}", volume.id, volume.stage));
            };
            if sight.failed.contains(&volume.zone) {
                continue;
            }
            if volume.is_unsettled() || volume.pending_modification().is_some() {
                return Err(format!("{} is not settled: {volume:?}", volume.id));
            }
            let holder = sight.snapshot.get::<Instance>(&key(&attachment.instance_id));
            let Some(holder) = holder.filter(|holder| holder.volumes.contains(&volume.id)) else {
                return Err(format!("{} is in {}", volume.id, attachment.instance_id));
            };
            let runs = holder.state() == InstanceState::Running;
            let spec = sight.specs.get(&holder.id);
            let plugged =
                spec.is_some_and(|spec| spec.disks.iter().any(|disk| disk.name == volume.id));
            if runs && volume.content == Content::Blocks && !plugged {
                return Err(format!("{} has not {}", holder.id, volume.id));
            }
        }
        for snapshot in sight.snapshot.scan::<Snapshot>("") {
            let dark = sight.snapshot.get::<Volume>(&key(&snapshot.volume_id));
            let dark = dark.is_some_and(|volume| sight.failed.contains(&volume.zone));
            let over =
                matches!(snapshot.stage, snapshot::Stage::Completed | snapshot::Stage::Failed(_));
            if !over && !dark {
                return Err(format!("{} is still {:?}", snapshot.id, snapshot.stage));
            }
        }
        Ok(())
    }
}

//! What users and launches ask of volumes.

use std::sync::Arc;

use serde::Serialize;
use store::{Snapshot, Tx};

use super::device;
use super::encryption;
use super::mapping::New as Mapped;
use super::model::{Attachment, Content, Progress, Stage, State, Tree, Volume};
use super::performance::{self, Asked, Kind, Performance};
use crate::ec2::client_token::ClientToken;
use crate::ec2::image::model::{ROOT_DEVICE, ROOT_SIZE_GIB};
use crate::ec2::instance::{self, Instance, InstanceState};
use crate::ec2::resource::{self, Resource};
use crate::ec2::snapshot;
use crate::ec2::{Error, Kind as What, Result, catalog, network_interface, tag};
use crate::{Context, id, zone};

impl Resource for Volume {
    const KIND: What = What::Volume;

    fn id(&self) -> &str {
        &self.id
    }
}

pub fn by_id(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<Volume>> {
    resource::find(snapshot, cx, id)
}

/// Those of an instance, its root first.
pub fn of_instance(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Vec<Arc<Volume>> {
    let get = |id: &String| snapshot.get::<Volume>(&cx.key(id));
    let mut volumes: Vec<Arc<Volume>> = instance.volumes.iter().filter_map(get).collect();
    volumes.sort_by_key(|volume| !volume.is_root());
    volumes
}

pub fn root_of(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Option<Arc<Volume>> {
    of_instance(snapshot, cx, instance).into_iter().find(|volume| volume.is_root())
}

/// What `CreateVolume` asks for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct New {
    pub zone: String,
    pub size_gib: Option<i32>,
    pub performance: Asked,
    pub snapshot_id: Option<String>,
    pub encrypted: Option<bool>,
    pub kms_key_id: Option<String>,
}

pub fn create(tx: &mut Tx, cx: &Context, new: &New, token: Option<ClientToken>) -> Result<Volume> {
    if !zone::zones(&cx.region, cx.env.config.zones).iter().any(|known| known.name == new.zone) {
        return Err(Error::not_found(What::Zone, &new.zone));
    }
    if zone::is_failed(tx, &new.zone) {
        return Err(Error::InsufficientVolumeCapacity);
    }
    encryption::check(new.encrypted, new.kms_key_id.as_deref())?;
    new.kms_key_id.as_ref().map_or(Ok(()), |key| encryption::check_key(cx, key))?;
    let (content, least, sealed) = match &new.snapshot_id {
        None => (Content::Blocks, None, false),
        Some(id) => {
            let source = snapshot::ops::usable(tx, cx, id)?;
            (source.content.clone(), Some((id, source.size_gib)), source.encrypted)
        }
    };
    if sealed && new.encrypted == Some(false) {
        let id = new.snapshot_id.as_deref().unwrap_or_default();
        return Err(Error::value(cannot_decrypt(id)));
    }
    let kind = new.performance.kind.as_deref().map_or(Ok(Kind::Gp2), Kind::parse)?;
    let size = match (new.size_gib, least) {
        (None, None) => return Err(Error::MissingParameter("size/snapshot")),
        (None, Some((_, least))) => performance::check_size(kind, i64::from(least))?,
        (Some(size), least) => {
            let size = performance::check_size(kind, i64::from(size))?;
            if let Some((id, least)) = least.filter(|(_, least)| size < *least) {
                return Err(Error::value(smaller(size, id, least)));
            }
            size
        }
    };
    let volume = Volume {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "vol"),
        zone: new.zone.clone(),
        size_gib: size,
        performance: performance::resolve(&new.performance, size, Kind::Gp2, None)?,
        snapshot_id: new.snapshot_id.clone().unwrap_or_default(),
        content,
        encrypted: encryption::of_new(tx, cx, new.encrypted, sealed)?,
        stage: Stage::Creating,
        attachment: None,
        modification: None,
        auto_enable_io: false,
        client_token: token,
        created: cx.now,
    };
    tx.put(volume.clone());
    Ok(volume)
}

pub fn smaller(size: u32, snapshot: &str, least: u32) -> String {
    format!(
        "Volume of size {size}GB is smaller than snapshot '{snapshot}', expect size>= {least}GB"
    )
}

pub fn cannot_decrypt(snapshot: &str) -> String {
    format!(
        "Encrypted cannot be set to false: the snapshot '{snapshot}' is encrypted, and so is every \
         volume that is created from it."
    )
}

pub fn cannot_boot(kind: Kind) -> Error {
    Error::value(format!("The volume type {} cannot be used for a root volume.", kind.name()))
}

/// A volume that an instance is launched with.
pub fn launched(tx: &mut Tx, cx: &Context, zone: &str, instance_id: &str, new: &Mapped) -> Volume {
    let root = device::is_root(&new.device);
    let volume = Volume {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "vol"),
        zone: zone.to_owned(),
        size_gib: new.size_gib,
        performance: new.performance,
        snapshot_id: new.snapshot_id.clone().unwrap_or_default(),
        content: new.content.clone(),
        encrypted: new.encrypted,
        // The bytes of a root are made by the boot itself, unless what is beneath is to be encrypted.
        stage: if root && !new.encrypts { Stage::Ready } else { Stage::Creating },
        attachment: Some(Attachment {
            instance_id: instance_id.to_owned(),
            device: new.device.clone(),
            delete_on_termination: new.delete_on_termination,
            at: cx.now,
            progress: Progress::Attached,
        }),
        modification: None,
        auto_enable_io: false,
        client_token: None,
        created: cx.now,
    };
    tx.put(volume.clone());
    volume
}

/// The root volume of an instance that was launched when there were no records of such.
pub fn adopt(tx: &mut Tx, instance: &Instance, id: &str) {
    tx.put(Volume {
        account: instance.account.clone(),
        region: instance.region.clone(),
        id: id.to_owned(),
        zone: instance.zone.clone(),
        size_gib: ROOT_SIZE_GIB,
        performance: Performance { kind: Kind::Gp3, iops: Some(3000), throughput: Some(125) },
        snapshot_id: String::new(),
        content: Content::Tree(Tree { layers: instance.layers.clone(), frozen: vec![] }),
        encrypted: false,
        stage: Stage::Ready,
        attachment: Some(Attachment {
            instance_id: instance.id.clone(),
            device: ROOT_DEVICE.to_owned(),
            delete_on_termination: true,
            at: instance.created_at,
            progress: Progress::Attached,
        }),
        modification: None,
        auto_enable_io: false,
        client_token: None,
        created: instance.created_at,
    });
}

pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let volume = by_id(tx, cx, id)?;
    match volume.state() {
        State::InUse => {
            let holder = volume.attachment.as_ref().map_or("", |a| a.instance_id.as_str());
            Err(Error::VolumeInUse(format!("Volume {id} is currently attached to {holder}")))
        }
        State::Deleting => Ok(()),
        State::Creating | State::Available | State::Error => {
            if let Some(attachment) = &volume.attachment {
                let holder = &attachment.instance_id;
                let message = format!("Volume {id} is currently attached to {holder}");
                return Err(Error::VolumeInUse(message));
            }
            tx.put(Volume { stage: Stage::Deleting, ..(*volume).clone() });
            Ok(())
        }
    }
}

/// Removes the record of a volume that has no bytes any more.
pub fn remove(tx: &mut Tx, cx: &Context, id: &str) {
    tag::ops::forget(tx, cx, id);
    tx.delete::<Volume>(&cx.key(id));
}

/// The record for change, unless it is not as it was any more.
pub fn unchanged(tx: &Tx, cx: &Context, volume: &Volume) -> Option<Volume> {
    let present = tx.get::<Volume>(&cx.key(&volume.id))?;
    (*present == *volume).then(|| (*present).clone())
}

/// It has its bytes, which are these, or can never have them.
pub fn made(tx: &mut Tx, cx: &Context, id: &str, content: Option<&Content>) {
    let Some(volume) = tx.get::<Volume>(&cx.key(id)) else { return };
    if volume.stage != Stage::Creating {
        return;
    }
    let stage = if content.is_some() { Stage::Ready } else { Stage::Failed };
    let content = content.unwrap_or(&volume.content).clone();
    // What it was launched with.
    if let (Content::Tree(tree), Some(attachment)) = (&content, &volume.attachment)
        && let Some(instance) = tx.get::<Instance>(&cx.key(&attachment.instance_id))
    {
        tx.put(Instance { layers: tree.layers.clone(), ..Instance::clone(&instance) });
    }
    tx.put(Volume { stage, content, ..(*volume).clone() });
}

pub fn attach(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    instance_id: &str,
    name: &str,
) -> Result<Volume> {
    let volume = by_id(tx, cx, id)?;
    let instance = instance::ops::instance(tx, cx, instance_id)?;
    if volume.attachment.is_some() {
        return Err(Error::VolumeInUse(format!("{id} is already attached to an instance")));
    }
    if volume.state() != State::Available {
        return Err(Error::IncorrectState(format!("Volume '{id}' is not 'available'.")));
    }
    if volume.zone != instance.zone {
        return Err(Error::VolumeZoneMismatch(format!(
            "The volume '{id}' is not in the same availability zone as instance '{instance_id}'"
        )));
    }
    let stopped = match instance.state() {
        InstanceState::Stopped => true,
        InstanceState::Running => false,
        _ => {
            return Err(Error::IncorrectState(format!(
                "Instance '{instance_id}' is not 'running'."
            )));
        }
    };
    let present = of_instance(tx, cx, &instance);
    let root = device::is_root(name);
    match (&volume.content, root) {
        (Content::Tree(_), true) if !stopped => {
            return Err(Error::IncorrectState(format!(
                "Instance '{instance_id}' is not 'stopped': a root volume can be attached to a stopped \
                 instance only."
            )));
        }
        (Content::Tree(_), true) | (Content::Blocks, false) => {}
        (Content::Tree(_), false) => {
            return Err(Error::UnsupportedOperation(format!(
                "The volume '{id}' holds a root file system as a tree of files, not as blocks: it can \
                 be attached as a root device ({}) only.",
                ROOT_DEVICE
            )));
        }
        (Content::Blocks, true) => {
            return Err(Error::UnsupportedOperation(format!(
                "The volume '{id}' holds blocks, from which nothing boots here: only what was a root \
                 volume, or is made from a snapshot of one, can be attached as a root device."
            )));
        }
    }
    if !root {
        device::check(name)?;
    }
    let same = |volume: &Arc<Volume>| {
        let device =
            volume.attachment.as_ref().map(|attachment| device::normal(&attachment.device));
        device.is_some_and(|known| known == device::normal(name))
    };
    let mapped =
        instance.ephemeral.iter().any(|e| device::normal(&e.device) == device::normal(name));
    if mapped || present.iter().any(same) {
        return Err(Error::value(format!(
            "Invalid value '{name}' for unixDevice. Attachment point {name} is already in use"
        )));
    }
    let interfaces = network_interface::ops::of_instance(tx, cx, &instance).len();
    check_limit(&instance.instance_type, present.len() + 1, interfaces)?;
    let attachment = Attachment {
        instance_id: instance_id.to_owned(),
        device: name.to_owned(),
        delete_on_termination: false,
        at: cx.now,
        progress: if stopped { Progress::Attached } else { Progress::Attaching },
    };
    let mut instance = Instance::clone(&instance);
    instance.volumes.push(id.to_owned());
    if let Content::Tree(tree) = &volume.content {
        instance.layers = tree.layers.clone();
    }
    tx.put(instance);
    let next = Volume { attachment: Some(attachment), ..(*volume).clone() };
    tx.put(next.clone());
    Ok(next)
}

/// How many an instance type can have. Where the limit is shared, interfaces and local disks count too.
pub fn check_limit(instance_type: &str, volumes: usize, interfaces: usize) -> Result<()> {
    let Some(size) = catalog::instance_type(instance_type) else { return Ok(()) };
    let disks = size.disks.as_ref().map_or(0, |disks| disks.count as usize);
    let others = match size.ebs.limit_type {
        "shared" => interfaces.saturating_sub(1) + disks,
        _ => 0,
    };
    if volumes + others > size.ebs.max_attachments as usize {
        return Err(Error::AttachmentLimitExceeded(format!(
            "Volume count {volumes} exceeds the limit for {instance_type}"
        )));
    }
    Ok(())
}

/// The volume with the attachment that ends.
pub fn detach(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    instance_id: Option<&str>,
    name: Option<&str>,
    force: bool,
) -> Result<Volume> {
    let volume = by_id(tx, cx, id)?;
    let Some(attachment) = &volume.attachment else {
        return Err(Error::IncorrectState(format!(
            "Volume '{id}' is in the '{}' state.",
            volume.state().name()
        )));
    };
    if let Some(asked) = instance_id {
        instance::ops::instance(tx, cx, asked)?;
        if asked != attachment.instance_id {
            return Err(Error::NoSuchVolumeAttachment(format!(
                "The volume '{id}' is not attached to instance '{asked}'."
            )));
        }
    }
    if name.is_some_and(|name| device::normal(name) != device::normal(&attachment.device)) {
        return Err(Error::NoSuchVolumeAttachment(format!(
            "The volume '{id}' is not attached to instance '{}' as device '{}'.",
            attachment.instance_id,
            name.unwrap_or_default()
        )));
    }
    let instance = instance::ops::instance(tx, cx, &attachment.instance_id)?;
    let stopped = match instance.state() {
        InstanceState::Stopped => true,
        InstanceState::Running => false,
        _ => {
            return Err(Error::IncorrectState(format!(
                "Instance '{}' is not in the 'running' or the 'stopped' state.",
                instance.id
            )));
        }
    };
    if volume.is_root() && !stopped {
        return Err(Error::OperationNotPermitted(format!(
            "Unable to detach root volume '{id}' from instance '{}'",
            instance.id
        )));
    }
    let (forced, busy) = match attachment.progress {
        Progress::Detaching { force, busy } => (force, busy),
        _ => (false, false),
    };
    let progress = Progress::Detaching { force: force || forced, busy };
    let leaving = Attachment { progress, ..attachment.clone() };
    let shown = Volume { attachment: Some(leaving), ..(*volume).clone() };
    match stopped && !volume.is_root() {
        true => let_go(tx, cx, &volume),
        false => tx.put(shown.clone()),
    }
    Ok(shown)
}

/// The instance has it no more.
fn let_go(tx: &mut Tx, cx: &Context, volume: &Volume) {
    tx.put(Volume { attachment: None, ..volume.clone() });
    let Some(attachment) = &volume.attachment else { return };
    if let Some(instance) = tx.get::<Instance>(&cx.key(&attachment.instance_id)) {
        let mut instance = Instance::clone(&instance);
        instance.volumes.retain(|id| *id != volume.id);
        tx.put(instance);
    }
}

/// What runs has `volume` as this record says, or has it no more if it was to leave. Nothing, when the
/// record has changed since.
pub fn settle(tx: &mut Tx, cx: &Context, volume: &Volume) {
    let Some(next) = unchanged(tx, cx, volume) else { return };
    let Some(attachment) = &next.attachment else { return };
    if volume.is_leaving() {
        return let_go(tx, cx, &next);
    }
    let attachment = Attachment { progress: Progress::Attached, ..attachment.clone() };
    tx.put(Volume { attachment: Some(attachment), ..next });
}

/// The guest still uses what shall leave it.
pub fn busy(tx: &mut Tx, cx: &Context, volume: &Volume) {
    let Some(mut next) = unchanged(tx, cx, volume) else { return };
    if let Some(Attachment { progress: Progress::Detaching { busy, .. }, .. }) =
        &mut next.attachment
        && !*busy
    {
        *busy = true;
        tx.put(next);
    }
}

/// A root volume was taken from its stopped instance: this layer is what that wrote, if it ever did.
pub fn root_taken(tx: &mut Tx, cx: &Context, volume: &Volume, wrote: Option<compute::Layer>) {
    let Some(next) = unchanged(tx, cx, volume) else { return };
    let_go(tx, cx, &kept(&next, wrote));
}

fn kept(volume: &Volume, wrote: Option<compute::Layer>) -> Volume {
    let content = match (&volume.content, wrote) {
        (Content::Tree(tree), Some(layer)) => {
            Content::Tree(tree.with(&volume.next_frozen(), layer))
        }
        (content, _) => content.clone(),
    };
    Volume { content, ..volume.clone() }
}

/// Nothing of the instance is left: its volumes go, or are free again. `wrote`: what it left of a root
/// that stays.
pub fn instance_gone(
    tx: &mut Tx,
    cx: &Context,
    instance: &Instance,
    wrote: Option<compute::Layer>,
) {
    for volume in of_instance(tx, cx, instance) {
        match (&volume.content, volume.goes_with_instance()) {
            (Content::Tree(_), true) => remove(tx, cx, &volume.id),
            (Content::Tree(_), false) => {
                tx.put(Volume { attachment: None, ..kept(&volume, wrote.clone()) });
            }
            (Content::Blocks, true) => {
                tx.put(Volume { attachment: None, stage: Stage::Deleting, ..(*volume).clone() });
            }
            (Content::Blocks, false) => {
                tx.put(Volume { attachment: None, ..(*volume).clone() });
            }
        }
    }
}

/// Whether a volume goes with its instance, by its device's name.
pub fn set_delete_on_termination(
    tx: &mut Tx,
    cx: &Context,
    instance: &Instance,
    name: &str,
    on: bool,
) -> Result<()> {
    let of = |volume: &Volume| volume.attachment.clone();
    let found = of_instance(tx, cx, instance).into_iter().find(|volume| {
        of(volume).is_some_and(|a| device::normal(&a.device) == device::normal(name))
    });
    let volume = found.ok_or_else(|| {
        Error::InvalidBlockDeviceMapping(format!("No device is currently mapped at {name}"))
    })?;
    if let Some(attachment) = &volume.attachment {
        let attachment = Attachment { delete_on_termination: on, ..attachment.clone() };
        tx.put(Volume { attachment: Some(attachment), ..(*volume).clone() });
    }
    Ok(())
}

/// Whether reads and writes would go on by themselves after a doubt about the data; here none arises.
pub fn set_auto_enable_io(tx: &mut Tx, cx: &Context, id: &str, on: bool) -> Result<()> {
    let volume = by_id(tx, cx, id)?;
    tx.put(Volume { auto_enable_io: on, ..(*volume).clone() });
    Ok(())
}

/// Reads and writes are never held back, but where the zone is down.
pub fn enable_io(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<()> {
    let volume = by_id(snapshot, cx, id)?;
    if zone::is_failed(snapshot, &volume.zone) {
        return Err(Error::IncorrectState(format!(
            "Volume '{id}' cannot be reached: its zone {} is down.",
            volume.zone
        )));
    }
    Ok(())
}

/// The tree that a root volume holds, without what its instance writes.
pub fn tree(volume: &Volume) -> Option<&Tree> {
    match &volume.content {
        Content::Tree(tree) => Some(tree),
        Content::Blocks => None,
    }
}

/// How fast it is in an instance of this type: the slower of both.
pub fn limits(volume: &Volume, instance_type: &str) -> (u64, u64) {
    let (iops, bytes) = Performance::limits(&volume.performance, volume.size_gib);
    let speed = catalog::instance_type(instance_type).and_then(|size| size.ebs.speed);
    match speed {
        Some(speed) => (
            iops.min(u64::from(speed.max_iops)),
            bytes.min((speed.max_mb_per_s * 1_000_000.0) as u64),
        ),
        None => (iops, bytes),
    }
}

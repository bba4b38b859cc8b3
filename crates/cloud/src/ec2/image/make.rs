//! Images made of instances, of snapshots, and of other images; and their end.

use serde::Serialize;
use store::Tx;

use super::model::{Image, Origin, ROOT_DEVICE, Stage};
use super::ops;
use crate::ec2::client_token::ClientToken;
use crate::ec2::instance::launch::BlockDevice;
use crate::ec2::instance::state::{self, Request};
use crate::ec2::instance::{self, Instance, InstanceState};
use crate::ec2::snapshot;
use crate::ec2::volume::mapping::{self, Device, For, What};
use crate::ec2::volume::{self, Content, device, encryption};
use crate::ec2::{Error, Result, tag};
use crate::tag::Tags;
use crate::{Context, region};

fn invalid(message: String) -> Error {
    Error::InvalidBlockDeviceMapping(message)
}

/// `CreateImage`
#[derive(Clone, Debug, Default)]
pub struct OfInstance {
    pub instance_id: String,
    pub name: String,
    pub description: String,
    /// Do not boot the instance anew for it.
    pub no_reboot: bool,
    pub devices: Vec<BlockDevice>,
    pub tags: Tags,
    pub snapshot_tags: Tags,
}

/// An image of an instance, and the snapshots that it waits for. One that runs is booted anew, and they
/// are taken in between, unless that is not wanted.
pub fn of_instance(
    tx: &mut Tx,
    cx: &Context,
    asked: &OfInstance,
) -> Result<(Image, Vec<snapshot::Snapshot>)> {
    mapping::check(&asked.devices)?;
    let instance = instance::ops::instance(tx, cx, &asked.instance_id)?;
    let runs = match instance.state() {
        InstanceState::Running => true,
        InstanceState::Stopped => false,
        _ => {
            return Err(Error::IncorrectInstanceState(format!(
                "The instance '{}' is not in the 'running' or the 'stopped' state.",
                instance.id
            )));
        }
    };
    let volumes = volume::ops::of_instance(tx, cx, &instance);
    if !volumes.first().is_some_and(|root| root.is_root() && !root.is_leaving()) {
        return Err(Error::value(format!(
            "Invalid value '{}' for instanceId. Instance does not have a volume attached at root \
             ({ROOT_DEVICE})",
            instance.id
        )));
    }
    let waits_for = (runs && !asked.no_reboot).then_some(instance.id.as_str());
    let image = ops::named(cx, &asked.name, &asked.description);
    let description = format!("Created by CreateImage({}) for {}", instance.id, image.id);
    let (mut devices, mut snapshots) = (Vec::new(), Vec::new());
    for volume in volumes.iter().filter(|volume| !volume.is_leaving()) {
        let Some(attachment) = &volume.attachment else { continue };
        let normal = device::normal(&attachment.device);
        let said = asked.devices.iter().find(|said| device::normal(&said.device_name) == normal);
        if said.is_some_and(|said| said.no_device) {
            continue;
        }
        if let Some(said) = said {
            only_ends(said, volume.encrypted)?;
        }
        let taken = snapshot::ops::of_volume(
            tx,
            cx,
            volume,
            &description,
            waits_for,
            &asked.snapshot_tags,
        )?;
        devices.push(Device {
            name: attachment.device.clone(),
            what: What::Ebs {
                snapshot_id: Some(taken.id.clone()),
                size_gib: volume.size_gib,
                performance: volume.performance,
                delete_on_termination: said
                    .and_then(|said| said.delete_on_termination)
                    .unwrap_or(attachment.delete_on_termination),
                encrypted: volume.encrypted,
            },
        });
        snapshots.push(taken);
    }
    for mapped in &instance.ephemeral {
        devices.push(Device { name: mapped.device.clone(), what: What::Ephemeral(mapped.index) });
    }
    let is_new = |said: &&BlockDevice| {
        let normal = device::normal(&said.device_name);
        let of_volume = |volume: &volume::Volume| {
            volume.attachment.as_ref().map(|attachment| device::normal(&attachment.device))
        };
        !volumes.iter().any(|volume| of_volume(volume).as_ref() == Some(&normal))
    };
    let more: Vec<BlockDevice> = asked.devices.iter().filter(is_new).cloned().collect();
    let mapping = mapping::over(tx, cx, &[], &more, For::Image)?.into_iter();
    devices.retain(|known| {
        !more.iter().any(|said| device::normal(&said.device_name) == device::normal(&known.name))
    });
    devices.extend(mapping);
    let image = Image {
        architecture: instance.architecture.clone(),
        init: instance.init,
        mapping: devices,
        stage: Stage::Pending,
        origin: Origin {
            instance_id: Some(instance.id.clone()),
            image: Some((instance.image_id.clone(), cx.region.clone())),
        },
        ..image
    };
    let image = ops::put_new(tx, cx, image)?;
    tag::ops::set(tx, cx, &image.id, &asked.tags)?;
    if waits_for.is_some() {
        let mut next = Instance::clone(&instance);
        state::request(&mut next, Request::Reboot, cx.now).map_err(|_| {
            Error::IncorrectInstanceState("The instance cannot be rebooted.".into())
        })?;
        tx.put(next);
    }
    Ok((image, snapshots))
}

/// Of a volume that is there, only what becomes of it at the end can be said, and that it is as encrypted
/// as it is.
fn only_ends(said: &BlockDevice, encrypted: bool) -> Result<()> {
    if said.encrypted == Some(true) && !encrypted {
        return Err(invalid(format!(
            "The volume at '{}' is not encrypted: its snapshot cannot be",
            said.device_name
        )));
    }
    let BlockDevice { volume_size_gib, volume_type, iops, throughput, snapshot_id, .. } = said;
    let more = volume_size_gib.is_some()
        || volume_type.is_some()
        || iops.is_some()
        || throughput.is_some()
        || snapshot_id.is_some()
        || said.kms_key_id.is_some()
        || said.virtual_name.is_some();
    if more {
        return Err(invalid(format!(
            "For '{}', which the instance has, only deleteOnTermination can be specified",
            said.device_name
        )));
    }
    Ok(())
}

/// `RegisterImage`
#[derive(Clone, Debug, Default)]
pub struct OfSnapshots {
    pub name: String,
    pub description: String,
    pub architecture: Option<String>,
    pub root_device: Option<String>,
    pub devices: Vec<BlockDevice>,
    pub tags: Tags,
}

pub fn of_snapshots(tx: &mut Tx, cx: &Context, asked: &OfSnapshots) -> Result<Image> {
    mapping::check(&asked.devices)?;
    let root_name = asked.root_device.as_deref().unwrap_or(ROOT_DEVICE);
    if root_name != ROOT_DEVICE {
        return Err(Error::unsupported(format_args!(
            "A root device by another name than {ROOT_DEVICE}"
        )));
    }
    let (roots, others): (Vec<BlockDevice>, Vec<BlockDevice>) =
        asked.devices.iter().cloned().partition(|said| device::is_root(&said.device_name));
    let root = roots.first().ok_or_else(|| {
        invalid(format!("A block device mapping for the root device {ROOT_DEVICE} is required"))
    })?;
    let id = root.snapshot_id.as_ref().ok_or_else(|| {
        invalid(format!("The root device {ROOT_DEVICE} must be made of a snapshot"))
    })?;
    let source = snapshot::ops::usable(tx, cx, id)?;
    let Content::Tree(tree) = &source.content else {
        return Err(Error::UnsupportedOperation(format!(
            "The snapshot '{id}' holds blocks, from which nothing boots here: only snapshots of root \
             volumes can be registered."
        )));
    };
    // The host's processor runs it.
    let architecture = asked.architecture.clone().unwrap_or_else(|| "i386".to_owned());
    let here = super::model::host_architecture();
    if architecture != here {
        return Err(Error::unsupported(format_args!(
            "An image of the architecture {architecture} (instances here run on {here})"
        )));
    }
    let base = Device {
        name: ROOT_DEVICE.to_owned(),
        what: What::Ebs {
            snapshot_id: Some(id.clone()),
            size_gib: source.size_gib,
            performance: volume::performance::resolve(
                &volume::performance::Asked::default(),
                source.size_gib,
                volume::Kind::Gp2,
                None,
            )?,
            delete_on_termination: true,
            encrypted: source.encrypted,
        },
    };
    let mut said = vec![root.clone()];
    said.extend(others);
    let mapping = mapping::over(tx, cx, &[base], &said, For::Image)?;
    let image = Image {
        architecture,
        layers: tree.layers.clone(),
        frozen: tree.frozen.clone(),
        mapping,
        ..ops::named(cx, &asked.name, &asked.description)
    };
    let image = ops::put_new(tx, cx, image)?;
    tag::ops::set(tx, cx, &image.id, &asked.tags)?;
    Ok(image)
}

/// `CopyImage`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Copy {
    pub source_region: String,
    pub source_id: String,
    pub name: String,
    pub description: Option<String>,
    pub copy_tags: bool,
    pub encrypted: bool,
    pub tags: Tags,
    pub snapshot_tags: Tags,
}

/// A copy in the caller's region, with copies of the snapshots.
pub fn copy(tx: &mut Tx, cx: &Context, asked: &Copy, token: Option<ClientToken>) -> Result<Image> {
    if region::find(&asked.source_region).is_none() {
        return Err(Error::value(format!(
            "Value ({}) for parameter sourceRegion is invalid.",
            asked.source_region
        )));
    }
    let there = Context { region: asked.source_region.clone(), ..cx.clone() };
    let source = ops::image(tx, &there, &asked.source_id)?;
    if source.stage != Stage::Available || source.disabled {
        return Err(Error::AmiUnavailable(format!(
            "The image ID '{}' is not available: it is in the '{}' state.",
            source.id,
            source.state()
        )));
    }
    let description = asked.description.clone().unwrap_or_else(|| source.description.clone());
    let named = ops::named(cx, &asked.name, &description);
    let encrypts = asked.encrypted || encryption::by_default(tx, cx);
    let mut mapping = if encrypts { source.devices() } else { source.mapping.clone() };
    for device in &mut mapping {
        let What::Ebs { snapshot_id, encrypted, .. } = &mut device.what else { continue };
        let Some(id) = snapshot_id else {
            *encrypted = encryption::of_new(tx, cx, Some(encrypts), *encrypted)?;
            continue;
        };
        let said = format!(
            "Copied for DestinationAmi {} from SourceAmi {} for SourceSnapshot {id}.",
            named.id, source.id
        );
        let (region, tags) = (&asked.source_region, &asked.snapshot_tags);
        let copied = snapshot::ops::copy(tx, cx, region, id, &said, tags, encrypts)?;
        *encrypted = copied.encrypted;
        *id = copied.id;
    }
    let waits =
        mapping.iter().any(|device| matches!(&device.what, What::Ebs { snapshot_id: Some(_), .. }));
    let image = Image {
        id: named.id,
        name: named.name,
        description: named.description,
        region: cx.region.clone(),
        mapping,
        stage: if waits { Stage::Pending } else { Stage::Available },
        permissions: Default::default(),
        deprecate_at: None,
        disabled: false,
        protection: Default::default(),
        origin: Origin {
            instance_id: None,
            image: Some((source.id.clone(), asked.source_region.clone())),
        },
        client_token: token,
        created: cx.now,
        ..source
    };
    let mut tags = Tags::new();
    if asked.copy_tags {
        let of_source = tag::ops::tags_of(tx, &there, &asked.source_id).into_iter();
        tags.extend(of_source.filter(|(key, _)| !key.starts_with("aws:")));
    }
    tags.extend(asked.tags.clone());
    let image = ops::put_new(tx, cx, image)?;
    tag::ops::set(tx, cx, &image.id, &tags)?;
    Ok(image)
}

/// What became of a snapshot of an image that is no more.
pub struct DeletedSnapshot {
    pub id: String,
    pub code: &'static str,
}

/// Instances that were launched from it go on.
pub fn deregister(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    with_snapshots: bool,
) -> Result<Vec<DeletedSnapshot>> {
    let image = super::attribute::changeable(tx, cx, id)?;
    if image.is_protected(cx.now) {
        return Err(Error::OperationNotPermitted(format!(
            "The image '{id}' is protected from deregistration."
        )));
    }
    tag::ops::forget(tx, cx, id);
    tx.delete::<Image>(&cx.key(id));
    if !with_snapshots {
        return Ok(vec![]);
    }
    let snapshots: Vec<String> = image.snapshots().cloned().collect();
    let deleted = snapshots.into_iter().map(|id| {
        let code = match snapshot::ops::delete(tx, cx, &id) {
            Ok(()) => "success",
            Err(Error::SnapshotInUse(_)) => "skipped",
            Err(_) => "client-error",
        };
        DeletedSnapshot { id, code }
    });
    Ok(deleted.collect())
}

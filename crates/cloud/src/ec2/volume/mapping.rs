//! Block device mappings: what a launch says of devices, over what its image says.

use serde::{Deserialize, Serialize};
use store::Snapshot;

use super::device;
use super::encryption;
use super::model::{Content, Tree};
use super::ops;
use super::performance::{self, Asked, Kind, Performance};
use crate::Context;
use crate::ec2::image::Image;
use crate::ec2::image::model::{ROOT_DEVICE, RootDevice};
use crate::ec2::instance::launch::BlockDevice;
use crate::ec2::{Error, Result, snapshot};

/// A device of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub name: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    Ebs {
        /// None: of a root that has none, or empty.
        snapshot_id: Option<String>,
        size_gib: u32,
        performance: Performance,
        delete_on_termination: bool,
        /// Its snapshot is, or it is to be.
        #[serde(default)]
        encrypted: bool,
    },
    /// The instance store disk of this number.
    Ephemeral(u32),
}

/// A disk of the host under the name that the mapping gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ephemeral {
    pub device: String,
    pub index: u32,
}

/// A volume that each launched instance gets.
#[derive(Clone, Debug)]
pub struct New {
    pub device: String,
    pub size_gib: u32,
    pub performance: Performance,
    pub snapshot_id: Option<String>,
    pub content: Content,
    pub delete_on_termination: bool,
    pub encrypted: bool,
    /// What it is made of is not.
    pub encrypts: bool,
}

/// What devices are said for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Launch,
    Image,
}

#[derive(Clone, Debug, Default)]
pub struct Mapped {
    /// The root first, if it is one.
    pub volumes: Vec<New>,
    pub ephemeral: Vec<Ephemeral>,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::InvalidBlockDeviceMapping(message.into())
}

/// What can be judged without an image.
pub fn check(asked: &[BlockDevice]) -> Result<()> {
    let mut seen: Vec<String> = Vec::new();
    for device in asked {
        let name = &device.device_name;
        if !device::is_root(name) {
            device::check(name)?;
        }
        let normal = device::normal(name);
        if seen.contains(&normal) {
            return Err(invalid(format!(
                "The device '{name}' is used in more than one block-device mapping"
            )));
        }
        seen.push(normal);
        encryption::check(device.encrypted, device.kms_key_id.as_deref())?;
        if let Some(kind) = &device.volume_type {
            let kind = Kind::parse(kind)?;
            if device::is_root(name) && !kind.boots() {
                return Err(ops::cannot_boot(kind));
            }
        }
        let ways = [device.no_device, device.virtual_name.is_some(), device.says_ebs()];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err(invalid(format!(
                "Only one of EBS, virtual name and no device can be given for '{name}'"
            )));
        }
        if device::is_root(name) && (device.no_device || device.virtual_name.is_some()) {
            return Err(invalid(format!("The root device '{name}' must be an EBS volume")));
        }
        if let Some(name) = &device.virtual_name {
            ephemeral(name)?;
        }
    }
    Ok(())
}

fn ephemeral(name: &str) -> Result<u32> {
    let index = name.strip_prefix("ephemeral").and_then(|digits| digits.parse().ok());
    index
        .filter(|n| *n < 24)
        .ok_or_else(|| invalid(format!("The virtual name '{name}' is invalid")))
}

/// The image's devices with what is asked for over them, in order of their names.
pub fn over(
    snapshot: &Snapshot,
    cx: &Context,
    image: &[Device],
    asked: &[BlockDevice],
    said_for: For,
) -> Result<Vec<Device>> {
    check(asked)?;
    let mut devices = image.to_vec();
    for wanted in asked {
        let normal = device::normal(&wanted.device_name);
        let at = devices.iter().position(|known| device::normal(&known.name) == normal);
        let before = at.map(|at| devices.remove(at));
        if wanted.no_device {
            continue;
        }
        let what = match &wanted.virtual_name {
            Some(name) => What::Ephemeral(ephemeral(name)?),
            None => {
                ebs(snapshot, cx, wanted, before.as_ref().map(|before| &before.what), said_for)?
            }
        };
        let name = before.map_or_else(|| wanted.device_name.clone(), |before| before.name);
        devices.push(Device { name, what });
    }
    devices.sort_by_key(|device| (!device::is_root(&device.name), device::normal(&device.name)));
    Ok(devices)
}

fn ebs(
    snapshot: &Snapshot,
    cx: &Context,
    wanted: &BlockDevice,
    before: Option<&What>,
    said_for: For,
) -> Result<What> {
    let root = device::is_root(&wanted.device_name);
    let (mut from, mut size, mut performance, mut goes) = (None, None, None, root);
    let mut encrypted = wanted.encrypted == Some(true);
    if let Some(What::Ebs {
        snapshot_id,
        size_gib,
        performance: known,
        delete_on_termination,
        encrypted: sealed,
    }) = before
    {
        (from, size) = (snapshot_id.clone(), Some(*size_gib));
        (performance, goes) = (Some(*known), *delete_on_termination);
        encrypted = wanted.encrypted.unwrap_or(*sealed);
    }
    let name = &wanted.device_name;
    if let (For::Image, Some(_)) = (said_for, &wanted.kms_key_id) {
        return Err(invalid(format!("A KMS key cannot be specified for '{name}' of an image")));
    }
    wanted.kms_key_id.as_ref().map_or(Ok(()), |key| encryption::check_key(cx, key))?;
    let mut least = root.then_some(size).flatten();
    if let Some(id) = &wanted.snapshot_id {
        if root && from.as_ref() != Some(id) {
            return Err(invalid("snapshotId cannot be modified on root device"));
        }
        from = Some(id.clone());
        size = None;
    }
    if let Some(id) = &from {
        let source = snapshot::ops::usable(snapshot, cx, id)?;
        if said_for == For::Image && wanted.encrypted.is_some() {
            return Err(invalid(format!(
                "the encrypted flag cannot be specified since device {name} has a snapshot specified."
            )));
        }
        if source.encrypted && wanted.encrypted == Some(false) {
            return Err(invalid(ops::cannot_decrypt(id)));
        }
        encrypted |= source.encrypted;
        if !root && source.content != Content::Blocks {
            return Err(invalid(format!(
                "The snapshot '{id}' holds a root file system as a tree of files, not as blocks: it \
                 cannot be a data volume"
            )));
        }
        least = Some(least.map_or(source.size_gib, |least: u32| least.max(source.size_gib)));
        size = Some(size.unwrap_or(source.size_gib).max(source.size_gib));
    }
    let asked = Asked {
        kind: wanted.volume_type.clone(),
        iops: wanted.iops,
        throughput: wanted.throughput,
    };
    let default = performance.map_or(Kind::Gp2, |known| known.kind);
    let kind = asked.kind.as_deref().map_or(Ok(default), Kind::parse)?;
    let size = match wanted.volume_size_gib {
        Some(size) => performance::check_size(kind, i64::from(size))?,
        None => size.ok_or(Error::MissingParameter("size/snapshot"))?,
    };
    if let Some(least) = least.filter(|least| size < *least) {
        let source = from.as_deref().unwrap_or("of the image");
        return Err(invalid(ops::smaller(size, source, least)));
    }
    Ok(What::Ebs {
        snapshot_id: from,
        size_gib: size,
        performance: performance::resolve(&asked, size, default, performance.as_ref())?,
        delete_on_termination: wanted.delete_on_termination.unwrap_or(goes),
        encrypted,
    })
}

/// What each instance gets that is launched from the image.
pub fn resolve(
    snapshot: &Snapshot,
    cx: &Context,
    image: &Image,
    asked: &[BlockDevice],
) -> Result<Mapped> {
    let of_root = asked.iter().find(|asked| device::is_root(&asked.device_name));
    if let (RootDevice::InstanceStore, Some(asked)) = (image.root_device, of_root) {
        return Err(invalid(format!(
            "The root device '{}' of an instance store-backed image cannot be mapped",
            asked.device_name
        )));
    }
    let mut mapped = Mapped::default();
    for device in over(snapshot, cx, &image.devices(), asked, For::Launch)? {
        match device.what {
            What::Ephemeral(index) => {
                mapped.ephemeral.push(Ephemeral { device: device.name, index });
            }
            What::Ebs { snapshot_id, size_gib, performance, delete_on_termination, encrypted } => {
                let source = snapshot_id.as_ref().map(|id| snapshot::ops::by_id(snapshot, cx, id));
                let sealed = source.transpose()?.is_some_and(|source| source.encrypted);
                let encrypted = encryption::of_new(snapshot, cx, Some(encrypted), sealed)?;
                let content = match device.name == ROOT_DEVICE {
                    true => Content::Tree(Tree {
                        layers: image.layers.clone(),
                        frozen: image.frozen.clone(),
                    }),
                    false => Content::Blocks,
                };
                let plain = match &content {
                    Content::Tree(tree) => !tree.frozen.is_empty(),
                    Content::Blocks => snapshot_id.is_some(),
                };
                mapped.volumes.push(New {
                    encrypted,
                    encrypts: encrypted && !sealed && plain,
                    device: device.name,
                    size_gib,
                    performance,
                    snapshot_id,
                    content,
                    delete_on_termination,
                });
            }
        }
    }
    Ok(mapped)
}

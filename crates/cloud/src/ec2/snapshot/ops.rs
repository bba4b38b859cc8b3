//! What users ask of snapshots.

use std::sync::Arc;

use store::{Snapshot as Read, Tx};

use super::model::{Permissions, Snapshot, Source, Stage};
use crate::ec2::client_token::ClientToken;
use crate::ec2::image::Image;
use crate::ec2::instance;
use crate::ec2::resource::{self, Resource};
use crate::ec2::volume::{self, Content, Tree, Volume, encryption};
use crate::ec2::{Error, Kind, Result, tag};
use crate::tag::Tags;
use crate::{Context, id, region};

/// What a snapshot says that was taken of no volume of this account and region.
pub const NO_VOLUME: &str = "vol-ffffffff";

impl Resource for Snapshot {
    const KIND: Kind = Kind::Snapshot;

    fn id(&self) -> &str {
        &self.id
    }
}

pub fn by_id(read: &Read, cx: &Context, id: &str) -> Result<Arc<Snapshot>> {
    resource::find(read, cx, id)
}

/// One that a volume can be made of.
pub fn usable(read: &Read, cx: &Context, id: &str) -> Result<Arc<Snapshot>> {
    let found = by_id(read, cx, id)?;
    match found.stage {
        Stage::Completed => Ok(found),
        _ => Err(Error::IncorrectState(format!("Snapshot '{id}' is not 'completed'."))),
    }
}

pub fn check_description(text: &str) -> Result<()> {
    if text.chars().count() > 255 {
        return Err(Error::value("Description must be at most 255 characters long."));
    }
    Ok(())
}

/// A snapshot of a volume to be taken: now, or once this instance does not run.
pub fn of_volume(
    tx: &mut Tx,
    cx: &Context,
    volume: &Volume,
    description: &str,
    waits_for: Option<&str>,
    tags: &Tags,
) -> Result<Snapshot> {
    let snapshot = Snapshot {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "snap"),
        volume_id: volume.id.clone(),
        size_gib: volume.size_gib,
        description: description.to_owned(),
        lineage: volume.id.clone(),
        source: Source::Volume,
        content: volume.content.clone(),
        encrypted: volume.encrypted,
        stage: waits_for.map_or(Stage::Taking, |instance| Stage::Waits(instance.to_owned())),
        permissions: Permissions::default(),
        client_token: None,
        started: cx.now,
        completed: None,
    };
    tag::ops::set(tx, cx, &snapshot.id, tags)?;
    tx.put(snapshot.clone());
    Ok(snapshot)
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    volume_id: &str,
    description: &str,
    tags: &Tags,
) -> Result<Snapshot> {
    check_description(description)?;
    let volume = volume::ops::by_id(tx, cx, volume_id)?;
    if volume.stage != volume::Stage::Ready {
        return Err(Error::IncorrectState(format!(
            "Volume '{volume_id}' is in the '{}' state.",
            volume.state().name()
        )));
    }
    of_volume(tx, cx, &volume, description, None, tags)
}

/// `CreateSnapshots`: which volumes of an instance.
#[derive(Clone, Debug, Default)]
pub struct OfInstance {
    pub instance_id: String,
    pub without_root: bool,
    pub without: Vec<String>,
    pub description: String,
    pub tags: Tags,
    /// Each also gets the tags of its volume.
    pub copy_tags: bool,
}

pub fn create_all(tx: &mut Tx, cx: &Context, asked: &OfInstance) -> Result<Vec<Snapshot>> {
    check_description(&asked.description)?;
    let instance = instance::ops::instance(tx, cx, &asked.instance_id)?;
    if !matches!(
        instance.state(),
        instance::InstanceState::Running | instance::InstanceState::Stopped
    ) {
        return Err(Error::IncorrectState(format!(
            "Instance '{}' is not in the 'running' or the 'stopped' state.",
            instance.id
        )));
    }
    let mut volumes = volume::ops::of_instance(tx, cx, &instance);
    for id in &asked.without {
        let known = volumes.iter().find(|volume| volume.id == *id);
        if known.is_none_or(|volume| volume.is_root()) {
            return Err(Error::value(format!(
                "The volume '{id}' is no data volume of the instance '{}'.",
                instance.id
            )));
        }
    }
    volumes.retain(|volume| !asked.without.contains(&volume.id));
    volumes.retain(|volume| !asked.without_root || !volume.is_root());
    if volumes.is_empty() {
        return Err(Error::value("There is no volume left to take a snapshot of."));
    }
    let mut made = Vec::new();
    for volume in volumes {
        let mut tags = Tags::new();
        if asked.copy_tags {
            let of_volume = tag::ops::tags_of(tx, cx, &volume.id).into_iter();
            tags.extend(of_volume.filter(|(key, _)| !key.starts_with("aws:")));
        }
        tags.extend(asked.tags.clone());
        made.push(of_volume(tx, cx, &volume, &asked.description, None, &tags)?);
    }
    Ok(made)
}

/// A copy in the caller's region. One of what is encrypted is so too; what is not becomes so where it is
/// `encrypted` or the region does it by default.
pub fn copy(
    tx: &mut Tx,
    cx: &Context,
    source_region: &str,
    source_id: &str,
    description: &str,
    tags: &Tags,
    encrypted: bool,
) -> Result<Snapshot> {
    check_description(description)?;
    if region::find(source_region).is_none() {
        return Err(Error::value(format!(
            "Value ({source_region}) for parameter sourceRegion is invalid."
        )));
    }
    let there = Context { region: source_region.to_owned(), ..cx.clone() };
    let source = usable(tx, &there, source_id)?;
    let encrypted = encryption::of_new(tx, cx, Some(encrypted), source.encrypted)?;
    let copy = Snapshot {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "snap"),
        volume_id: NO_VOLUME.to_owned(),
        description: description.to_owned(),
        source: Source::Copy(source.id.clone()),
        // A tree's layers never change, so that all copies have them together.
        stage: match source.content {
            Content::Blocks => Stage::Taking,
            Content::Tree(_) if encrypted && !source.encrypted => Stage::Taking,
            Content::Tree(_) => Stage::Taken,
        },
        encrypted,
        permissions: Permissions::default(),
        client_token: None,
        started: cx.now,
        completed: None,
        ..(*source).clone()
    };
    tag::ops::set(tx, cx, &copy.id, tags)?;
    tx.put(copy.clone());
    Ok(copy)
}

/// One to be filled block by block.
pub struct Upload<'a> {
    pub size_gib: u32,
    pub parent: Option<&'a Snapshot>,
    pub description: &'a str,
    pub timeout_minutes: u32,
    pub tags: &'a Tags,
    pub encrypted: bool,
}

pub fn upload(
    tx: &mut Tx,
    cx: &Context,
    asked: &Upload<'_>,
    token: Option<ClientToken>,
) -> Result<Snapshot> {
    let id = id::resource(&cx.env.rng, "snap");
    let snapshot = Snapshot {
        account: cx.account.clone(),
        region: cx.region.clone(),
        volume_id: NO_VOLUME.to_owned(),
        size_gib: asked.size_gib,
        description: asked.description.to_owned(),
        lineage: asked.parent.map_or(&id, |parent| &parent.lineage).clone(),
        source: Source::Upload {
            parent: asked.parent.map(|parent| parent.id.clone()),
            timeout_minutes: asked.timeout_minutes,
            touched: cx.now,
            written: vec![],
        },
        content: Content::Blocks,
        encrypted: asked.encrypted,
        stage: Stage::Filling,
        permissions: Permissions::default(),
        client_token: token,
        started: cx.now,
        completed: None,
        id,
    };
    tag::ops::set(tx, cx, &snapshot.id, asked.tags)?;
    tx.put(snapshot.clone());
    Ok(snapshot)
}

/// The image that holds a snapshot fast.
pub fn image_of(read: &Read, cx: &Context, id: &str) -> Option<Arc<Image>> {
    read.scan::<Image>(&cx.prefix()).find(|image| image.snapshots().any(|held| held == id))
}

/// Its bytes are removed when nothing needs them.
pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    by_id(tx, cx, id)?;
    if let Some(image) = image_of(tx, cx, id) {
        return Err(Error::SnapshotInUse(format!(
            "The snapshot {id} is currently in use by {}",
            image.id
        )));
    }
    tag::ops::forget(tx, cx, id);
    tx.delete::<Snapshot>(&cx.key(id));
    Ok(())
}

/// Its bytes are there. `wrote`: what the instance wrote over the tree that its root volume holds.
pub fn taken(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    beneath: Option<&Tree>,
    wrote: Option<compute::Layer>,
) -> bool {
    let Some(snapshot) = tx.get::<Snapshot>(&cx.key(id)) else { return false };
    if !matches!(snapshot.stage, Stage::Taking | Stage::Waits(_)) {
        return true;
    }
    let mut next = Snapshot { stage: Stage::Taken, ..(*snapshot).clone() };
    if let Some(tree) = beneath {
        next.content = Content::Tree(match wrote {
            Some(layer) => tree.with(id, layer),
            None => tree.clone(),
        });
    }
    tx.put(next);
    true
}

pub fn failed(tx: &mut Tx, cx: &Context, id: &str, why: &str) {
    let Some(snapshot) = tx.get::<Snapshot>(&cx.key(id)) else { return };
    if snapshot.stage != Stage::Completed {
        tx.put(Snapshot { stage: Stage::Failed(why.to_owned()), ..(*snapshot).clone() });
    }
}

pub fn completed(tx: &mut Tx, cx: &Context, id: &str) {
    let Some(snapshot) = tx.get::<Snapshot>(&cx.key(id)) else { return };
    if snapshot.stage == Stage::Taken {
        tx.put(Snapshot {
            stage: Stage::Completed,
            completed: Some(cx.now),
            ..(*snapshot).clone()
        });
    }
}

/// A change of who may make volumes of it.
#[derive(Clone, Debug, Default)]
pub struct Share {
    pub everybody: Option<bool>,
    pub add: Vec<String>,
    pub remove: Vec<String>,
}

impl Share {
    pub fn is_empty(&self) -> bool {
        self.everybody.is_none() && self.add.is_empty() && self.remove.is_empty()
    }

    /// Whether somebody may do more than before.
    pub fn gives(&self) -> bool {
        self.everybody == Some(true) || !self.add.is_empty()
    }

    pub fn check(&self) -> Result<()> {
        let account = |id: &&String| id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit());
        match self.add.iter().chain(&self.remove).find(account) {
            Some(bad) => Err(Error::value(format!("Invalid user id: \"{bad}\""))),
            None => Ok(()),
        }
    }

    pub fn apply(&self, permissions: &Permissions) -> Permissions {
        let mut next = permissions.clone();
        next.everybody = self.everybody.unwrap_or(next.everybody);
        next.accounts.extend(self.add.iter().cloned());
        next.accounts.retain(|account| !self.remove.contains(account));
        next
    }
}

pub fn share(tx: &mut Tx, cx: &Context, id: &str, share: &Share) -> Result<()> {
    share.check()?;
    let snapshot = by_id(tx, cx, id)?;
    if snapshot.encrypted && share.gives() {
        return Err(Error::OperationNotPermitted(
            "Encrypted snapshots with EBS default key cannot be shared".into(),
        ));
    }
    let permissions = share.apply(&snapshot.permissions);
    tx.put(Snapshot { permissions, ..(*snapshot).clone() });
    Ok(())
}

pub fn unshare(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let snapshot = by_id(tx, cx, id)?;
    tx.put(Snapshot { permissions: Permissions::default(), ..(*snapshot).clone() });
    Ok(())
}

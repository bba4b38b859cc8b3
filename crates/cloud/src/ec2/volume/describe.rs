//! Which volumes a Describe call is about: ids, filters, pages.

use std::sync::Arc;

use store::Snapshot;

use super::model::{Attachment, Content, Progress, State, Volume};
use crate::ec2::instance::describe::{filter_time, zone_id};
use crate::ec2::instance::{self, InstanceState};
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Error, Kind, Result, resource, tag};
use crate::{Context, zone};

type Found = (Vec<Arc<Volume>>, Option<String>);

const FILTERS: &[&str] = &[
    "attachment.attach-time",
    "attachment.delete-on-termination",
    "attachment.device",
    "attachment.instance-id",
    "attachment.status",
    "availability-zone",
    "availability-zone-id",
    "create-time",
    "encrypted",
    "fast-restored",
    "multi-attach-enabled",
    "operator.managed",
    "operator.principal",
    "size",
    "snapshot-id",
    "status",
    "volume-id",
    "volume-type",
];

/// In order of their ids.
pub fn volumes(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    let all = chosen(snapshot, cx, ids, listing, FILTERS, true)?;
    let keeps = |volume: &Volume| {
        let tags = || tag::ops::tags_of(snapshot, cx, &volume.id);
        listing.keeps(tags, |name| values(snapshot, cx, volume, name))
    };
    page(listing, all.into_iter().filter(|volume| keeps(volume)).collect())
}

fn chosen(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
    filters: &[&str],
    tagged: bool,
) -> Result<Vec<Arc<Volume>>> {
    if !ids.is_empty() && listing.max_results.is_some() {
        return Err(Error::combination(
            "The parameter volumeSet cannot be used with the parameter maxResults",
        ));
    }
    listing.check_max_results(5..=1000)?;
    listing.check(filters, tagged)?;
    let mut all = resource::all::<Volume>(snapshot, cx);
    listing::only(&mut all, ids, |volume| &volume.id, Kind::Volume)?;
    Ok(all)
}

fn page(listing: &Listing, all: Vec<Arc<Volume>>) -> Result<Found> {
    listing.page(all, |volume| volume.id.clone())
}

pub fn values(snapshot: &Snapshot, cx: &Context, volume: &Volume, name: &str) -> Vec<String> {
    if let Some(name) = name.strip_prefix("attachment.") {
        let of = |attachment: &Attachment| attached(snapshot, cx, volume, attachment, name);
        return volume.attachment.as_ref().and_then(of).into_iter().collect();
    }
    let one = match name {
        "availability-zone" => volume.zone.clone(),
        "availability-zone-id" => return zone_id(cx, &volume.zone).into_iter().collect(),
        "create-time" => filter_time(volume.created),
        "encrypted" => volume.encrypted.to_string(),
        "fast-restored" | "multi-attach-enabled" | "operator.managed" => "false".to_owned(),
        "size" => volume.size_gib.to_string(),
        "snapshot-id" => volume.snapshot_id.clone(),
        "status" => volume.state().name().to_owned(),
        "volume-id" => volume.id.clone(),
        "volume-type" => volume.performance.kind.name().to_owned(),
        _ => return vec![],
    };
    vec![one]
}

fn attached(
    snapshot: &Snapshot,
    cx: &Context,
    volume: &Volume,
    attachment: &Attachment,
    name: &str,
) -> Option<String> {
    Some(match name {
        "attach-time" => filter_time(attachment.at),
        "delete-on-termination" => attachment.delete_on_termination.to_string(),
        "device" | "device-name" => attachment.device.clone(),
        "instance-id" => attachment.instance_id.clone(),
        "status" => attachment_status(snapshot, cx, attachment).to_owned(),
        "volume-id" => volume.id.clone(),
        _ => return None,
    })
}

/// What comes with a launch is on its way until the instance runs, and leaves with its end.
pub fn attachment_status(
    snapshot: &Snapshot,
    cx: &Context,
    attachment: &Attachment,
) -> &'static str {
    match attachment.progress {
        Progress::Attaching => "attaching",
        Progress::Detaching { busy: true, .. } => "busy",
        Progress::Detaching { .. } => "detaching",
        Progress::Attached | Progress::Changing => {
            let holder = instance::ops::instance(snapshot, cx, &attachment.instance_id);
            match holder.map(|holder| (holder.state(), holder.desired.since_boot)) {
                Ok((InstanceState::Pending, 1)) => "attaching",
                Ok((InstanceState::ShuttingDown, _)) => "detaching",
                _ => "attached",
            }
        }
    }
}

const STATUS_FILTERS: &[&str] = &[
    "action.code",
    "action.description",
    "action.event-id",
    "attachment-status.instance-id",
    "attachment-status.io-performance",
    "availability-zone",
    "availability-zone-id",
    "event.description",
    "event.event-id",
    "event.event-type",
    "event.not-after",
    "event.not-before",
    "operator.managed",
    "operator.principal",
    "volume-status.details-name",
    "volume-status.details-status",
    "volume-status.status",
];

/// Whether a volume can be reached: not in a zone that is down, nor when what decrypts it has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    Impaired,
    InsufficientData,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Impaired => "impaired",
            Status::InsufficientData => "insufficient-data",
        }
    }

    /// Of its one detail, `io-enabled`.
    pub fn io_enabled(self) -> &'static str {
        match self {
            Status::Ok => "passed",
            Status::Impaired => "failed",
            Status::InsufficientData => "insufficient-data",
        }
    }
}

pub fn status(snapshot: &Snapshot, cx: &Context, volume: &Volume) -> Status {
    match volume.state() {
        State::Creating | State::Error => Status::InsufficientData,
        _ if zone::is_failed(snapshot, &volume.zone) => Status::Impaired,
        State::InUse if volume.encrypted && is_impaired(cx, volume) => Status::Impaired,
        _ => Status::Ok,
    }
}

/// A root is impaired with any of what it consists of.
fn is_impaired(cx: &Context, volume: &Volume) -> bool {
    let of_root = volume.attachment.iter().map(|attachment| &attachment.instance_id);
    match &volume.content {
        Content::Blocks => cx.env.storage.is_impaired(&volume.id),
        Content::Tree(tree) => {
            of_root.chain(&tree.frozen).any(|name| cx.env.storage.is_impaired(name))
        }
    }
}

pub fn statuses(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    let all = chosen(snapshot, cx, ids, listing, STATUS_FILTERS, false)?;
    let keeps = |volume: &Volume| {
        listing.keeps(Default::default, |name| match name {
            "volume-status.status" => vec![status(snapshot, cx, volume).name().to_owned()],
            "volume-status.details-name" => vec!["io-enabled".to_owned()],
            "volume-status.details-status" => {
                vec![status(snapshot, cx, volume).io_enabled().to_owned()]
            }
            "attachment-status.instance-id" => {
                volume.attachment.iter().map(|a| a.instance_id.clone()).collect()
            }
            "availability-zone" | "availability-zone-id" | "operator.managed" => {
                values(snapshot, cx, volume, name)
            }
            _ => vec![],
        })
    };
    page(listing, all.into_iter().filter(|volume| keeps(volume)).collect())
}

const MODIFICATION_FILTERS: &[&str] = &[
    "modification-state",
    "original-iops",
    "original-size",
    "original-volume-type",
    "originalMultiAttachEnabled",
    "start-time",
    "target-iops",
    "target-size",
    "target-volume-type",
    "targetMultiAttachEnabled",
    "volume-id",
];

/// Those that were modified.
pub fn modifications(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    let mut all = chosen(snapshot, cx, ids, listing, MODIFICATION_FILTERS, false)?;
    if let Some(never) = all.iter().find(|v| !ids.is_empty() && v.modification.is_none()) {
        return Err(Error::NoSuchModification(never.id.clone()));
    }
    all.retain(|volume| volume.modification.is_some());
    let keeps = |volume: &Volume| {
        let Some(m) = &volume.modification else { return false };
        let number = |n: Option<u32>| n.map(|n| n.to_string()).into_iter().collect();
        listing.keeps(Default::default, |name| match name {
            "modification-state" => vec![m.phase.name().to_owned()],
            "original-iops" => number(m.from.performance.iops),
            "original-size" => number(Some(m.from.size_gib)),
            "original-volume-type" => vec![m.from.performance.kind.name().to_owned()],
            "target-iops" => number(m.to.performance.iops),
            "target-size" => number(Some(m.to.size_gib)),
            "target-volume-type" => vec![m.to.performance.kind.name().to_owned()],
            "start-time" => vec![filter_time(m.started)],
            "volume-id" => vec![volume.id.clone()],
            _ => vec!["false".to_owned()],
        })
    };
    page(listing, all.into_iter().filter(|volume| keeps(volume)).collect())
}

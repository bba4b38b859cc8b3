//! Volumes that grow or become faster while they are used. Source: Amazon EBS User Guide, "Amazon EBS
//! Elastic Volumes operations".
//!
//! ```text
//!  modifying ──the storage has grown──► optimizing ──what runs knows──► completed
//!      └───────── it cannot be done ──► failed
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use store::Tx;

use super::model::{Content, Progress, Stage, State, Volume};
use super::ops;
use super::performance::{self, Asked, Performance};
use crate::Context;
use crate::clock::Timestamp;
use crate::ec2::instance::{self, InstanceState};
use crate::ec2::{Error, Result};

/// Between two modifications of one volume.
const REST: Duration = Duration::from_secs(6 * 3600);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Modification {
    pub phase: Phase,
    pub from: Shape,
    pub to: Shape,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Modifying,
    Optimizing,
    Completed,
    Failed,
}

/// What a modification changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub size_gib: u32,
    pub performance: Performance,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Modifying => "modifying",
            Phase::Optimizing => "optimizing",
            Phase::Completed => "completed",
            Phase::Failed => "failed",
        }
    }

    /// In percent.
    pub fn progress(self) -> i64 {
        match self {
            Phase::Completed => 100,
            Phase::Optimizing => 50,
            Phase::Modifying | Phase::Failed => 0,
        }
    }
}

impl Volume {
    fn shape(&self) -> Shape {
        Shape { size_gib: self.size_gib, performance: self.performance }
    }

    /// The modification that is still to be made true.
    pub fn pending_modification(&self) -> Option<&Modification> {
        let open = |m: &&Modification| matches!(m.phase, Phase::Modifying | Phase::Optimizing);
        self.modification.as_ref().filter(open)
    }
}

/// `ModifyVolume`: the volume as it is then.
pub fn modify(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    size_gib: Option<i32>,
    asked: &Asked,
) -> Result<Volume> {
    let volume = ops::by_id(tx, cx, id)?;
    if !matches!(volume.state(), State::Available | State::InUse) {
        return Err(Error::IncorrectState(format!(
            "Volume '{id}' is in the '{}' state and cannot be modified.",
            volume.state().name()
        )));
    }
    if let Some(before) = &volume.modification {
        if volume.pending_modification().is_some() {
            return Err(Error::IncorrectModificationState(format!(
                "Volume '{id}' is already being modified."
            )));
        }
        if before.phase == Phase::Completed && cx.now.since(before.started) < REST {
            return Err(Error::VolumeModificationRateExceeded(id.to_owned()));
        }
    }
    let size = match size_gib {
        Some(size) if size < volume.size_gib as i32 => {
            return Err(Error::value(format!(
                "New size cannot be smaller than existing size ({} GiB)",
                volume.size_gib
            )));
        }
        Some(size) => {
            let kind = asked.kind.as_deref().map(performance::Kind::parse).transpose()?;
            performance::check_size(kind.unwrap_or(volume.performance.kind), i64::from(size))?
        }
        None => volume.size_gib,
    };
    let before = Some(&volume.performance);
    let performance = performance::resolve(asked, size, volume.performance.kind, before)?;
    if volume.is_root() && !performance.kind.boots() {
        return Err(ops::cannot_boot(performance.kind));
    }
    let to = Shape { size_gib: size, performance };
    if to == volume.shape() {
        return Err(Error::value("The volume is like that already: nothing would be modified."));
    }
    if size > volume.size_gib && volume.is_root() {
        let holder = volume.attachment.as_ref().map(|a| a.instance_id.as_str());
        let holder = holder.and_then(|id| instance::ops::instance(tx, cx, id).ok());
        if holder.is_some_and(|holder| holder.state() != InstanceState::Stopped) {
            return Err(Error::UnsupportedOperation(format!(
                "The root volume '{id}' can be made larger while its instance is stopped only: its \
                 files have a quota here, which is set when the instance starts."
            )));
        }
    }
    let modification = Modification {
        phase: Phase::Modifying,
        from: volume.shape(),
        to,
        started: cx.now,
        ended: None,
    };
    let next = Volume { modification: Some(modification), ..(*volume).clone() };
    tx.put(next.clone());
    Ok(next)
}

/// The next phase, once what the present one waits for is so.
pub fn step(tx: &mut Tx, cx: &Context, volume: &Volume) {
    let Some(mut next) = ops::unchanged(tx, cx, volume) else { return };
    let Some(modification) = &mut next.modification else { return };
    match modification.phase {
        Phase::Modifying => {
            modification.phase = Phase::Optimizing;
            let to = modification.to;
            next.size_gib = to.size_gib;
            next.performance = to.performance;
            let blocks = next.content == Content::Blocks && next.stage == Stage::Ready;
            if let Some(attachment) = &mut next.attachment
                && blocks
                && attachment.progress == Progress::Attached
            {
                attachment.progress = Progress::Changing;
            }
        }
        Phase::Optimizing => {
            modification.phase = Phase::Completed;
            modification.ended = Some(cx.now);
        }
        Phase::Completed | Phase::Failed => return,
    }
    tx.put(next);
}

/// The storage has no room.
pub fn fail(tx: &mut Tx, cx: &Context, volume: &Volume) {
    let Some(mut next) = ops::unchanged(tx, cx, volume) else { return };
    if let Some(modification) = &mut next.modification {
        modification.phase = Phase::Failed;
        modification.ended = Some(cx.now);
        tx.put(next);
    }
}

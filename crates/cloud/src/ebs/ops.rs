//! Blocks of snapshots. Reads and writes go to the storage; what came of an upload is kept in the
//! snapshot's record, so that it can be completed after a restart too.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use store::Tx;

use super::error::{Error, Reason, Result};
use crate::Context;
use crate::ec2::client_token::{self, ClientToken};
use crate::ec2::snapshot::ops::{self, Upload};
use crate::ec2::snapshot::{Snapshot, Source, Stage};
use crate::ec2::volume::{Content, encryption};
use crate::ec2::{Kind, tag};
use crate::tag::Tags;

/// Bytes.
pub const BLOCK: u64 = 512 * 1024;

/// GiB
pub const MAX_VOLUME: i64 = 65_536;

pub const BLOCKS_PER_GIB: u64 = (1 << 30) / BLOCK;

/// One whose blocks can be spoken of.
fn of_blocks(cx: &Context, id: &str) -> Result<Arc<Snapshot>> {
    if !Kind::Snapshot.is_id(id) {
        return Err(Error::NotFound(id.to_owned()));
    }
    let found = ops::by_id(&cx.read(), cx, id)?;
    match found.content {
        Content::Blocks => Ok(found),
        Content::Tree(_) => Err(Error::invalid(
            Reason::SnapshotId,
            format!(
                "The snapshot '{id}' holds a root file system as a tree of files: it has no blocks."
            ),
        )),
    }
}

/// One that is complete.
pub fn complete(cx: &Context, id: &str) -> Result<Arc<Snapshot>> {
    let found = of_blocks(cx, id)?;
    match found.stage {
        Stage::Completed => Ok(found),
        _ => Err(Error::invalid(
            Reason::SnapshotId,
            format!("The snapshot '{id}' is not completed: its blocks cannot be read."),
        )),
    }
}

/// One that is being filled.
fn pending(cx: &Context, id: &str) -> Result<Arc<Snapshot>> {
    let found = of_blocks(cx, id)?;
    match found.stage {
        Stage::Filling => Ok(found),
        _ => Err(Error::invalid(
            Reason::SnapshotId,
            format!("The snapshot '{id}' is not pending: nothing can be written to it."),
        )),
    }
}

/// The blocks that hold data.
pub fn blocks(cx: &Context, snapshot: &Snapshot) -> Result<Vec<u64>> {
    Ok(cx.env.storage.blocks(&snapshot.id, BLOCK)?)
}

/// The blocks that differ, and whether each has one of them.
pub struct Changed {
    pub index: u64,
    pub in_first: bool,
}

pub fn changed(cx: &Context, first: &Snapshot, second: &Snapshot) -> Result<Vec<Changed>> {
    if first.lineage != second.lineage {
        return Err(Error::invalid(
            Reason::Unrelated,
            "The snapshots are not of the same volume or lineage of snapshots.",
        ));
    }
    let of_first: std::collections::BTreeSet<u64> = blocks(cx, first)?.into_iter().collect();
    let changed = cx.env.storage.changed_blocks(&first.id, &second.id, BLOCK)?;
    let changed = changed.into_iter();
    Ok(changed.map(|index| Changed { index, in_first: of_first.contains(&index) }).collect())
}

pub fn read(cx: &Context, snapshot: &Snapshot, index: u64) -> Result<Vec<u8>> {
    check_index(snapshot, index)?;
    Ok(cx.env.storage.read(&snapshot.id, index * BLOCK, BLOCK as usize)?)
}

fn check_index(snapshot: &Snapshot, index: u64) -> Result<()> {
    if index < u64::from(snapshot.size_gib) * BLOCKS_PER_GIB {
        return Ok(());
    }
    Err(Error::invalid(
        Reason::Block,
        format!("The block {index} is behind the end of the snapshot ({} GiB).", snapshot.size_gib),
    ))
}

/// `StartSnapshot`
pub struct Start {
    pub size_gib: i64,
    pub parent: Option<String>,
    pub description: String,
    pub timeout_minutes: u32,
    pub tags: Tags,
    pub client_token: Option<String>,
    pub encrypted: Option<bool>,
    pub kms_key: Option<String>,
}

/// The record, and then what it speaks of.
pub async fn start(cx: &Context, asked: &Start) -> Result<Snapshot> {
    let size_gib =
        u32::try_from(asked.size_gib).ok().filter(|n| (1..=MAX_VOLUME as u32).contains(n));
    let size_gib = size_gib.ok_or_else(|| {
        Error::invalid(
            Reason::VolumeSize,
            format!("A volume has 1 to {MAX_VOLUME} GiB, not {}.", asked.size_gib),
        )
    })?;
    let parent = asked.parent.as_deref().map(|id| complete(cx, id)).transpose()?;
    if parent.as_ref().is_some_and(|parent| parent.size_gib > size_gib) {
        return Err(Error::invalid(
            Reason::VolumeSize,
            "The volume size must not be smaller than that of the parent snapshot.",
        ));
    }
    let encrypted = encrypted(cx, asked, parent.as_deref())?;
    tag::ops::check(&asked.tags).map_err(|error| Error::invalid(Reason::Tag, error.to_string()))?;
    ops::check_description(&asked.description)?;
    let said = (
        (asked.size_gib, &asked.parent, &asked.description, asked.timeout_minutes, &asked.tags),
        (asked.encrypted, &asked.kms_key),
    );
    let token: Option<ClientToken> = client_token::of(asked.client_token.as_deref(), &said)?;
    let snapshot = cx
        .write(|tx| {
            let prefix = cx.prefix();
            let known = tx.scan::<Snapshot>(&prefix);
            if let Some(made) = client_token::made(&token, known, |s| &s.client_token)? {
                return Ok((*made).clone());
            }
            let upload = Upload {
                size_gib,
                parent: parent.as_deref(),
                description: &asked.description,
                timeout_minutes: asked.timeout_minutes,
                tags: &asked.tags,
                encrypted,
            };
            Ok::<_, Error>(ops::upload(tx, cx, &upload, token.clone())?)
        })
        .await?;
    begin(cx, &snapshot).await?;
    Ok(snapshot)
}

/// Source: Amazon EBS User Guide, "Encryption outcomes for EBS direct APIs".
fn encrypted(cx: &Context, asked: &Start, parent: Option<&Snapshot>) -> Result<bool> {
    let Some(parent) = parent else {
        encryption::check(asked.encrypted, asked.kms_key.as_deref())?;
        asked.kms_key.as_ref().map_or(Ok(()), |key| encryption::check_key(cx, key))?;
        return Ok(encryption::of_new(&cx.read(), cx, asked.encrypted, false)?);
    };
    if asked.encrypted.is_some() || asked.kms_key.is_some() {
        return Err(Error::value(
            "Encrypted and KmsKeyArn cannot be specified together with ParentSnapshotId.",
        ));
    }
    if !parent.encrypted && encryption::by_default(&cx.read(), cx) {
        return Err(Error::value(
            "The parent snapshot is not encrypted, and encryption by default is enabled: copy it first.",
        ));
    }
    Ok(parent.encrypted)
}

/// Makes what is to be filled; it may be there already.
async fn begin(cx: &Context, snapshot: &Snapshot) -> Result<()> {
    let Source::Upload { parent, .. } = &snapshot.source else { return Ok(()) };
    let bytes = u64::from(snapshot.size_gib) << 30;
    let begun = cx
        .env
        .storage
        .begin_snapshot(&snapshot.id, bytes, parent.as_deref(), snapshot.encrypted)
        .await;
    Ok(begun?)
}

/// The block's checksum.
pub async fn put(
    cx: &Context,
    id: &str,
    index: u64,
    data: &[u8],
    checksum: &[u8],
) -> Result<[u8; 32]> {
    let snapshot = pending(cx, id)?;
    check_index(&snapshot, index)?;
    if data.len() as u64 != BLOCK {
        return Err(Error::value(format!("A block has {BLOCK} bytes, not {}.", data.len())));
    }
    let actual: [u8; 32] = Sha256::digest(data).into();
    if actual != checksum {
        return Err(Error::value("The checksum is not that of the data."));
    }
    // Its making may have been cut short by a crash.
    begin(cx, &snapshot).await?;
    cx.env.storage.write(id, index * BLOCK, data)?;
    let kept = cx.write(|tx| Ok::<_, Error>(note(tx, cx, id, index))).await?;
    match kept {
        true => Ok(actual),
        false => Err(Error::NotFound(id.to_owned())),
    }
}

/// The block has come. Whether anybody waits for it.
fn note(tx: &mut Tx, cx: &Context, id: &str, index: u64) -> bool {
    let Some(snapshot) = tx.get::<Snapshot>(&cx.key(id)) else { return false };
    let mut next = (*snapshot).clone();
    let Source::Upload { written, touched, .. } = &mut next.source else { return false };
    add(written, index);
    *touched = cx.now;
    let is_pending = next.stage == Stage::Filling;
    if is_pending {
        tx.put(next);
    }
    is_pending
}

/// To sorted runs that do not touch each other.
fn add(runs: &mut Vec<(u64, u64)>, index: u64) {
    let at = runs.partition_point(|(_, last)| last + 1 < index);
    match runs.get_mut(at) {
        Some((first, last)) if *first <= index + 1 => {
            *first = (*first).min(index);
            *last = (*last).max(index);
            let (first, last) = (*first, *last);
            if let Some(&(next, end)) = runs.get(at + 1)
                && next == last + 1
            {
                runs[at] = (first, end);
                runs.remove(at + 1);
            }
        }
        _ => runs.insert(at, (index, index)),
    }
}

/// Seals it. `changed` is how many blocks were written, `checksum` that of all their checksums.
pub async fn finish(cx: &Context, id: &str, changed: u64, checksum: Option<&[u8]>) -> Result<()> {
    let snapshot = of_blocks(cx, id)?;
    let Source::Upload { written, .. } = &snapshot.source else {
        return Err(Error::invalid(
            Reason::SnapshotId,
            format!("The snapshot '{id}' was not started to be written."),
        ));
    };
    match snapshot.stage {
        Stage::Filling => {}
        Stage::Taken | Stage::Completed => return Ok(()),
        _ => pending(cx, id).map(drop)?,
    }
    let count: u64 = written.iter().map(|(first, last)| last - first + 1).sum();
    if count != changed {
        return Err(Error::value(format!(
            "{count} blocks were written to the snapshot, not {changed}."
        )));
    }
    if let Some(checksum) = checksum {
        let mut all = Sha256::new();
        for index in written.iter().flat_map(|(first, last)| *first..=*last) {
            all.update(Sha256::digest(read(cx, &snapshot, index)?));
        }
        if all.finalize()[..] != *checksum {
            return Err(Error::value("The checksum is not that of the blocks that were written."));
        }
    }
    begin(cx, &snapshot).await?;
    cx.env.storage.complete_snapshot(id).await?;
    cx.write(|tx| {
        if let Some(snapshot) = tx.get::<Snapshot>(&cx.key(id))
            && snapshot.stage == Stage::Filling
        {
            tx.put(Snapshot { stage: Stage::Taken, ..(*snapshot).clone() });
        }
        Ok::<_, Error>(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_grow_and_join() {
        let mut runs = Vec::new();
        for (index, expected) in [
            (5, vec![(5, 5)]),
            (3, vec![(3, 3), (5, 5)]),
            (4, vec![(3, 5)]),
            (4, vec![(3, 5)]),
            (9, vec![(3, 5), (9, 9)]),
            (0, vec![(0, 0), (3, 5), (9, 9)]),
            (6, vec![(0, 0), (3, 6), (9, 9)]),
            (8, vec![(0, 0), (3, 6), (8, 9)]),
            (7, vec![(0, 0), (3, 9)]),
        ] {
            add(&mut runs, index);
            assert_eq!(runs, expected, "{index}");
        }
    }
}

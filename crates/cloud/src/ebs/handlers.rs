//! The EBS direct APIs on the wire.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use wire::ebs as w;

use super::error::{Error, Reason, Result};
use super::ops::{self, BLOCK, Start};
use super::token::{self, LIFE};
use crate::Context;
use crate::ec2::tag;
use crate::ec2::volume::encryption;
use crate::page;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::ListSnapshotBlocks, _, _, _>(list),
        serve::<w::ListChangedBlocks, _, _, _>(list_changed),
        serve::<w::GetSnapshotBlock, _, _, _>(get),
        serve::<w::StartSnapshot, _, _, _>(start),
        serve::<w::PutSnapshotBlock, _, _, _>(put),
        serve::<w::CompleteSnapshot, _, _, _>(complete),
    ]
}

const PAGE: usize = 10_000;

/// One page of blocks, and the token of the next one.
fn paged<T>(
    blocks: Vec<T>,
    index: impl Fn(&T) -> u64,
    starting: Option<i32>,
    max_results: Option<i32>,
    next_token: Option<&str>,
) -> Result<(Vec<T>, Option<String>)> {
    let first = starting.filter(|_| next_token.is_none()).map_or(0, |index| index.max(0) as u64);
    let blocks = blocks.into_iter().filter(|block| index(block) >= first);
    let limit = max_results.map_or(PAGE, |n| n.max(1) as usize);
    // Its tokens have no other letters than base64.
    let token = next_token
        .map(|token| STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()))
        .map(|token| token.ok_or_else(bad_page))
        .transpose()?;
    let key = |block: &T| format!("{:020}", index(block));
    let (page, next) = page::page(blocks, key, limit, token.as_deref()).map_err(|_| bad_page())?;
    Ok((page, next.map(|token| STANDARD.encode(token))))
}

fn bad_page() -> Error {
    Error::invalid(Reason::PageToken, "The page token is invalid.")
}

async fn list(
    cx: Context,
    input: w::ListSnapshotBlocksRequest,
) -> Result<w::ListSnapshotBlocksResponse> {
    let snapshot = ops::complete(&cx, &input.snapshot_id)?;
    let blocks = ops::blocks(&cx, &snapshot)?;
    let (page, next_token) = paged(
        blocks,
        |index| *index,
        input.starting_block_index,
        input.max_results,
        input.next_token.as_deref(),
    )?;
    let until = cx.now.plus(LIFE);
    let block = |index: u64| w::Block {
        block_index: Some(index as i32),
        block_token: Some(token::of(&cx, &snapshot.id, index, until)),
    };
    Ok(w::ListSnapshotBlocksResponse {
        block_size: Some(BLOCK as i32),
        blocks: Some(page.into_iter().map(block).collect()),
        expiry_time: Some(wire::Timestamp(until.0)),
        next_token,
        volume_size: Some(i64::from(snapshot.size_gib)),
    })
}

async fn list_changed(
    cx: Context,
    input: w::ListChangedBlocksRequest,
) -> Result<w::ListChangedBlocksResponse> {
    let first = input.first_snapshot_id.as_deref().ok_or_else(|| {
        Error::value("FirstSnapshotId must be specified together with SecondSnapshotId.")
    })?;
    let first = ops::complete(&cx, first)?;
    let second = ops::complete(&cx, &input.second_snapshot_id)?;
    let changed = ops::changed(&cx, &first, &second)?;
    let (page, next_token) = paged(
        changed,
        |changed| changed.index,
        input.starting_block_index,
        input.max_results,
        input.next_token.as_deref(),
    )?;
    let until = cx.now.plus(LIFE);
    let block = |changed: ops::Changed| w::ChangedBlock {
        block_index: Some(changed.index as i32),
        first_block_token: changed
            .in_first
            .then(|| token::of(&cx, &first.id, changed.index, until)),
        second_block_token: Some(token::of(&cx, &second.id, changed.index, until)),
    };
    Ok(w::ListChangedBlocksResponse {
        block_size: Some(BLOCK as i32),
        changed_blocks: Some(page.into_iter().map(block).collect()),
        expiry_time: Some(wire::Timestamp(until.0)),
        next_token,
        volume_size: Some(i64::from(second.size_gib)),
    })
}

async fn get(
    cx: Context,
    input: w::GetSnapshotBlockRequest,
) -> Result<w::GetSnapshotBlockResponse> {
    let snapshot = ops::complete(&cx, &input.snapshot_id)?;
    let index = input.block_index.max(0) as u64;
    token::check(&cx, &input.block_token, &snapshot.id, index)?;
    let data = ops::read(&cx, &snapshot, index)?;
    Ok(w::GetSnapshotBlockResponse {
        checksum: Some(STANDARD.encode(Sha256::digest(&data))),
        checksum_algorithm: Some("SHA256".to_owned()),
        data_length: Some(data.len() as i32),
        block_data: Some(data.into()),
    })
}

async fn start(cx: Context, input: w::StartSnapshotRequest) -> Result<w::StartSnapshotResponse> {
    let pairs = input.tags.unwrap_or_default().into_iter();
    let pairs = pairs.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    let tags =
        tag::ops::unique(pairs).map_err(|error| Error::invalid(Reason::Tag, error.to_string()))?;
    let asked = Start {
        size_gib: input.volume_size,
        parent: input.parent_snapshot_id,
        description: input.description.unwrap_or_default(),
        timeout_minutes: input.timeout.unwrap_or(60).max(1) as u32,
        tags,
        client_token: input.client_token,
        encrypted: input.encrypted,
        kms_key: input.kms_key_arn,
    };
    let made = ops::start(&cx, &asked).await?;
    let tag = |(key, value): (&String, &String)| w::Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    Ok(w::StartSnapshotResponse {
        block_size: Some(BLOCK as i32),
        description: Some(made.description.clone()),
        kms_key_arn: made.encrypted.then(|| encryption::key_arn(&cx)),
        owner_id: Some(made.account.clone()),
        parent_snapshot_id: asked.parent.clone(),
        snapshot_id: Some(made.id.clone()),
        start_time: Some(wire::Timestamp(made.started.0)),
        status: Some(made.stage.name().to_owned()),
        tags: Some(asked.tags.iter().map(tag).collect()),
        volume_size: Some(i64::from(made.size_gib)),
        ..Default::default()
    })
}

fn sha256(text: &str) -> Result<Vec<u8>> {
    STANDARD.decode(text).map_err(|_| Error::value("The checksum is not base64."))
}

async fn put(
    cx: Context,
    input: w::PutSnapshotBlockRequest,
) -> Result<w::PutSnapshotBlockResponse> {
    if i64::from(input.data_length) != BLOCK as i64 {
        return Err(Error::value(format!("x-amz-Data-Length must be {BLOCK}.")));
    }
    let checksum = sha256(&input.checksum)?;
    let index = input.block_index.max(0) as u64;
    let actual = ops::put(&cx, &input.snapshot_id, index, &input.block_data, &checksum).await?;
    Ok(w::PutSnapshotBlockResponse {
        checksum: Some(STANDARD.encode(actual)),
        checksum_algorithm: Some("SHA256".to_owned()),
    })
}

async fn complete(
    cx: Context,
    input: w::CompleteSnapshotRequest,
) -> Result<w::CompleteSnapshotResponse> {
    let checksum = input.checksum.as_deref().map(sha256).transpose()?;
    if checksum.is_some() && input.checksum_aggregation_method.is_none() {
        return Err(Error::value("x-amz-Checksum-Aggregation-Method must say LINEAR."));
    }
    let changed = input.changed_blocks_count.max(0) as u64;
    ops::finish(&cx, &input.snapshot_id, changed, checksum.as_deref()).await?;
    // It can be read once its state says so.
    Ok(w::CompleteSnapshotResponse { status: Some("pending".to_owned()) })
}

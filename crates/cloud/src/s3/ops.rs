//! Buckets and objects. An object is put in two steps: its bytes become a blob, then, under the lock of
//! its key, the index is made to name that blob. What the index named before is deleted after.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use store::{Batch, Keyspace, Range, Snapshot, Tx};

use super::checksum::Algorithm;
use super::ingest::Ingested;
use super::model::{About, Bucket, BucketPolicy, Checksum, Object, Part, Piece, Upload};
use super::{Error, OBJECTS, Result, key};
use crate::env::Env;

pub fn bucket(snapshot: &Snapshot, name: &str) -> Result<Arc<Bucket>> {
    snapshot.get::<Bucket>(name).ok_or(Error::NoSuchBucket)
}

/// Whether it is new: in us-east-1 making one's own bucket again succeeds.
pub fn create(tx: &mut Tx, bucket: Bucket) -> Result<bool> {
    match tx.get::<Bucket>(&bucket.name) {
        None => {
            tx.put(bucket);
            Ok(true)
        }
        Some(there) if there.region == "us-east-1" && bucket.region == "us-east-1" => Ok(false),
        Some(_) => Err(Error::BucketAlreadyOwnedByYou),
    }
}

/// Only when it has no objects. Unfinished uploads go with it.
pub async fn delete_bucket(env: &Env, name: &str) -> Result<()> {
    let index = env.store.keyspace(OBJECTS);
    // Nobody puts an object in the meantime.
    let _locked = index.lock_all().await;
    let bucket = bucket(&env.store.read(), name)?;
    let mut batch = Batch::default();
    let mut blobs = Vec::new();
    index.scan(&Range::prefix(&bucket.number.to_be_bytes()), |key, value| {
        match key::letter(&key) {
            Some(b'o') => return Err(Error::BucketNotEmpty),
            Some(b'p') => blobs.push(parse::<Part>(&value)?.piece.blob),
            _ => {}
        }
        batch.delete(&index, key);
        Ok(ControlFlow::Continue(()))
    })?;
    env.store.apply(batch).await?;
    env.store
        .write(|tx| {
            tx.delete::<BucketPolicy>(name);
            Ok::<_, store::Error>(tx.delete::<Bucket>(name))
        })
        .await?;
    discard(env, blobs).await;
    Ok(())
}

pub fn get(index: &Keyspace, bucket: &Bucket, key: &str) -> Result<Option<Object>> {
    let bytes = index.get(&key::object(bucket.number, key))?;
    bytes.map(|bytes| parse(&bytes)).transpose()
}

pub fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::Store(std::io::Error::from(error).into()))
}

pub fn print<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structures of strings and numbers")
}

/// What must hold of the object that is there for a write to happen.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// `If-Match`: `*` or an ETag.
    pub matches: Option<String>,
    /// `If-None-Match`, likewise.
    pub none_matches: Option<String>,
}

impl Guard {
    pub fn check(&self, there: Option<&Object>) -> Result<()> {
        let same = |tag: &str| there.is_some_and(|object| tag == "*" || tag == object.etag);
        if let Some(tag) = &self.matches {
            if there.is_none() {
                return Err(Error::NoSuchKey);
            }
            if !same(tag) {
                return Err(Error::PreconditionFailed);
            }
        }
        if self.none_matches.as_deref().is_some_and(same) {
            return Err(Error::PreconditionFailed);
        }
        Ok(())
    }
}

/// The object that bytes make in one piece.
pub fn object(env: &Env, ingested: Ingested, about: About) -> Object {
    let Ingested { piece, sums } = ingested;
    Object {
        size: piece.size,
        etag: crate::id::hex(&sums.md5),
        modified_at: env.clock.now(),
        about,
        pieces: vec![piece],
        checksum: Some(Checksum {
            algorithm: sums.algorithm,
            value: sums.checksum,
            full_object: true,
        }),
    }
}

/// Makes `key` name `object`, whose blobs are there.
pub async fn put(
    env: &Env,
    bucket: &Bucket,
    key: &str,
    object: &Object,
    guard: &Guard,
) -> Result<()> {
    let put = async {
        let index = env.store.keyspace(OBJECTS);
        let at = key::object(bucket.number, key);
        let _locked = index.lock([&at]).await;
        still_there(env, bucket)?;
        let before = get(&index, bucket, key)?;
        guard.check(before.as_ref())?;
        index.put(at, print(object)).await?;
        Ok(before)
    };
    match put.await {
        Ok(before) => {
            discard(env, blobs_of(before)).await;
            Ok(())
        }
        Err(error) => {
            discard(env, blobs_of(Some(object.clone()))).await;
            Err(error)
        }
    }
}

/// Refuses when the bucket was deleted, perhaps made again, since it was looked up.
pub fn still_there(env: &Env, looked_up: &Bucket) -> Result<()> {
    let there = bucket(&env.store.read(), &looked_up.name)?;
    if there.number == looked_up.number { Ok(()) } else { Err(Error::NoSuchBucket) }
}

/// Nothing happens when there is none.
pub async fn delete(env: &Env, bucket: &Bucket, key: &str, guard: &Guard) -> Result<()> {
    let index = env.store.keyspace(OBJECTS);
    let at = key::object(bucket.number, key);
    let locked = index.lock([&at]).await;
    let before = get(&index, bucket, key)?;
    guard.check(before.as_ref())?;
    if before.is_some() {
        index.delete(at).await?;
    }
    drop(locked);
    discard(env, blobs_of(before)).await;
    Ok(())
}

fn blobs_of(object: Option<Object>) -> impl Iterator<Item = String> {
    object.into_iter().flat_map(|object| object.pieces).map(|piece| piece.blob)
}

/// Deletes blobs that nothing names any more. What is left over goes with the next sweep.
pub async fn discard(env: &Env, blobs: impl IntoIterator<Item = String>) {
    for blob in blobs {
        if let Err(error) = env.store.blobs().delete(&blob).await {
            tracing::warn!("cannot delete a blob: {error}");
        }
    }
}

/// Every blob that the index names.
pub fn each_blob(env: &Env, mut visit: impl FnMut(String)) -> Result<()> {
    env.store.keyspace(OBJECTS).scan(&Range::all(), |key, value| {
        match key::letter(&key) {
            Some(b'o') => parse::<Object>(&value)?.pieces.into_iter().for_each(|p| visit(p.blob)),
            Some(b'p') => visit(parse::<Part>(&value)?.piece.blob),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })
}

pub type Body = BoxStream<'static, Result<Bytes, std::io::Error>>;

/// The bytes `range` of an object.
pub fn read(env: &Env, object: &Object, range: std::ops::Range<u64>) -> Body {
    let mut begin = 0;
    let mut wanted = Vec::new();
    for piece in &object.pieces {
        let end = begin + piece.size;
        let (from, to) = (range.start.max(begin), range.end.min(end));
        if from < to {
            wanted.push((piece.clone(), from - begin, to - from));
        }
        begin = end;
    }
    let env = env.clone();
    stream::iter(wanted)
        .flat_map(move |(piece, start, length)| read_piece(env.clone(), piece, start, length))
        .boxed()
}

fn read_piece(env: Env, piece: Piece, start: u64, length: u64) -> Body {
    let gone = || std::io::Error::other("the object was replaced while it was read");
    let open = async move {
        let reader = env.store.blobs().read(&piece.blob, start, length).await;
        let reader = reader.map_err(std::io::Error::other)?.ok_or_else(gone)?;
        Ok(stream::try_unfold((reader, length), move |(mut reader, left)| async move {
            match reader.next().await.map_err(std::io::Error::other)? {
                Some(bytes) => {
                    let left = left - bytes.len() as u64;
                    Ok(Some((Bytes::from(bytes), (reader, left))))
                }
                None if left > 0 => Err(gone()),
                None => Ok(None),
            }
        }))
    };
    stream::once(open)
        .flat_map(|opened| match opened {
            Ok(pieces) => pieces.boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        })
        .boxed()
}

/// The algorithm and kind of checksum a multipart upload will have.
pub fn checksum_kind(
    algorithm: Option<&str>,
    kind: Option<&str>,
) -> Result<(Option<Algorithm>, bool)> {
    let algorithm = algorithm.map(Algorithm::parse).transpose()?;
    let full_object = match (kind, algorithm) {
        (Some("FULL_OBJECT"), Some(Algorithm::Sha1 | Algorithm::Sha256)) => {
            return Err(Error::InvalidRequest(format!(
                "The FULL_OBJECT checksum type cannot be used with the {} checksum algorithm.",
                algorithm.map_or("", Algorithm::name).to_ascii_lowercase()
            )));
        }
        (Some("COMPOSITE"), Some(Algorithm::Crc64Nvme)) => {
            return Err(Error::InvalidRequest(
                "The COMPOSITE checksum type cannot be used with the crc64nvme checksum algorithm."
                    .to_owned(),
            ));
        }
        (Some("FULL_OBJECT"), _) => true,
        (Some(_), _) => false,
        (None, algorithm) => matches!(algorithm, None | Some(Algorithm::Crc64Nvme)),
    };
    Ok((algorithm, full_object))
}

pub fn upload(index: &Keyspace, bucket: &Bucket, key: &str, id: &str) -> Result<Upload> {
    let bytes = index.get(&key::upload(bucket.number, key, id))?.ok_or(Error::NoSuchUpload)?;
    parse(&bytes)
}

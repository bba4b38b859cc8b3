//! Uploads in parts. The lock of an upload's key orders its parts against its end.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use md5::{Digest, Md5};
use store::{Batch, Keyspace, Range};

use super::checksum::combine;
use super::ingest::Ingested;
use super::model::{About, Bucket, Checksum, Object, Part, Upload};
use super::ops::{self, Guard, discard, parse, print, still_there, upload};
use super::{Error, OBJECTS, Result, key};
use crate::env::Env;

/// But for the last part.
const MIN_PART_BYTES: u64 = 5 << 20;

pub async fn create(
    env: &Env,
    bucket: &Bucket,
    key: &str,
    about: About,
    kind: (Option<super::checksum::Algorithm>, bool),
) -> Result<Upload> {
    let index = env.store.keyspace(OBJECTS);
    let id = format!("{}{}", crate::id::hex16(&env.rng), crate::id::hex16(&env.rng));
    let upload = Upload {
        key: key.to_owned(),
        id,
        initiated_at: env.clock.now(),
        about,
        algorithm: kind.0,
        full_object: kind.1,
    };
    let at = key::upload(bucket.number, key, &upload.id);
    let _locked = index.lock([&at]).await;
    still_there(env, bucket)?;
    index.put(at, print(&upload)).await?;
    Ok(upload)
}

/// In place of one with the same number.
pub async fn put_part(
    env: &Env,
    bucket: &Bucket,
    key: &str,
    id: &str,
    number: u32,
    ingested: Ingested,
) -> Result<Part> {
    let Ingested { piece, sums } = ingested;
    let part = Part {
        number,
        piece,
        etag: crate::id::hex(&sums.md5),
        modified_at: env.clock.now(),
        algorithm: sums.algorithm,
        checksum: sums.checksum,
    };
    let put = async {
        let index = env.store.keyspace(OBJECTS);
        let _locked = index.lock([key::upload(bucket.number, key, id)]).await;
        upload(&index, bucket, key, id)?;
        let at = key::part(bucket.number, id, number);
        let before = index.get(&at)?.map(|bytes| parse::<Part>(&bytes)).transpose()?;
        index.put(at, print(&part)).await?;
        Ok(before)
    };
    match put.await {
        Ok(before) => {
            discard(env, before.map(|part| part.piece.blob)).await;
            Ok(part)
        }
        Err(error) => {
            discard(env, [part.piece.blob]).await;
            Err(error)
        }
    }
}

/// In order; `after`: only those with a greater number.
pub fn parts(
    index: &Keyspace,
    bucket: &Bucket,
    id: &str,
    after: u32,
    limit: usize,
) -> Result<(Vec<Part>, bool)> {
    let root = key::parts(bucket.number, id);
    let range = Range::prefix(&root).after(&key::part(bucket.number, id, after));
    let mut parts = Vec::new();
    let mut more = false;
    index.scan(&range, |_, value| {
        if parts.len() == limit {
            more = true;
            return Ok(ControlFlow::Break(()));
        }
        parts.push(parse::<Part>(&value)?);
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    Ok((parts, more))
}

/// A part as the completing client names it.
#[derive(Clone, Debug)]
pub struct Named {
    pub number: u32,
    pub etag: String,
    pub checksum: Option<String>,
}

/// What the completing client says of the whole.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    pub checksum: Option<String>,
    pub size: Option<i64>,
}

/// Makes the object out of the named parts; the others are dropped.
pub async fn complete(
    env: &Env,
    bucket: &Bucket,
    key: &str,
    id: &str,
    named: &[Named],
    claimed: Whole,
    guard: &Guard,
) -> Result<Object> {
    let index = env.store.keyspace(OBJECTS);
    let (object_at, upload_at) =
        (key::object(bucket.number, key), key::upload(bucket.number, key, id));
    let locked = index.lock([&object_at, &upload_at]).await;
    still_there(env, bucket)?;
    let upload = upload(&index, bucket, key, id)?;
    let (all, _) = parts(&index, bucket, id, 0, usize::MAX)?;
    let all: BTreeMap<u32, Part> = all.into_iter().map(|part| (part.number, part)).collect();
    let chosen = choose(&all, named)?;
    let object = assemble(env, upload, &chosen)?;
    if claimed.size.is_some_and(|size| size != object.size as i64) {
        return Err(Error::InvalidRequest(
            "The provided 'x-amz-mp-object-size' header does not match the computed size"
                .to_owned(),
        ));
    }
    if let (Some(claimed), Some(checksum)) = (claimed.checksum, &object.checksum)
        && claimed != checksum.value
    {
        return Err(Error::BadDigest(format!(
            "The {} you specified did not match the calculated checksum.",
            checksum.algorithm.name()
        )));
    }
    let before = ops::get(&index, bucket, key)?;
    guard.check(before.as_ref())?;
    let mut batch = Batch::default();
    batch.put(&index, object_at, print(&object));
    batch.delete(&index, upload_at);
    for number in all.keys() {
        batch.delete(&index, key::part(bucket.number, id, *number));
    }
    env.store.apply(batch).await?;
    drop(locked);
    let used = |blob: &String| object.pieces.iter().any(|piece| piece.blob == *blob);
    let unused = all.into_values().map(|part| part.piece.blob).filter(|blob| !used(blob));
    let replaced = before.into_iter().flat_map(|object| object.pieces).map(|piece| piece.blob);
    discard(env, unused.chain(replaced).collect::<Vec<_>>()).await;
    Ok(object)
}

fn choose<'a>(all: &'a BTreeMap<u32, Part>, named: &[Named]) -> Result<Vec<&'a Part>> {
    if named.is_empty() {
        return Err(Error::InvalidRequest("You must specify at least one part".to_owned()));
    }
    if !named.is_sorted_by(|a, b| a.number < b.number) {
        return Err(Error::InvalidPartOrder);
    }
    let mut chosen = Vec::with_capacity(named.len());
    for (n, name) in named.iter().enumerate() {
        let part = all.get(&name.number).ok_or(Error::InvalidPart)?;
        let checksum_differs = name.checksum.as_ref().is_some_and(|sum| *sum != part.checksum);
        if part.etag != name.etag || checksum_differs {
            return Err(Error::InvalidPart);
        }
        if part.piece.size < MIN_PART_BYTES && n + 1 < named.len() {
            return Err(Error::EntityTooSmall);
        }
        chosen.push(part);
    }
    Ok(chosen)
}

fn assemble(env: &Env, upload: Upload, parts: &[&Part]) -> Result<Object> {
    let mut md5 = Md5::new();
    for part in parts {
        let bytes = (0..part.etag.len() / 2)
            .map(|n| u8::from_str_radix(&part.etag[2 * n..2 * n + 2], 16))
            .collect::<Result<Vec<u8>, _>>();
        md5.update(bytes.map_err(|_| Error::InvalidPart)?);
    }
    let sums: Vec<(String, u64)> =
        parts.iter().map(|part| (part.checksum.clone(), part.piece.size)).collect();
    // Parts may have come with another checksum than the upload was begun with, or with several.
    let algorithm = upload.algorithm.unwrap_or(parts[0].algorithm);
    let alike = parts.iter().all(|part| part.algorithm == algorithm);
    let value = if alike { combine(algorithm, &sums, upload.full_object) } else { None };
    if value.is_none() && upload.algorithm.is_some() {
        return Err(Error::InvalidRequest(format!(
            "The upload was created using the {} checksum algorithm. The complete request must \
             include the checksum for each part.",
            algorithm.name().to_ascii_lowercase()
        )));
    }
    Ok(Object {
        size: parts.iter().map(|part| part.piece.size).sum(),
        etag: format!("{}-{}", crate::id::hex(&md5.finalize()), parts.len()),
        modified_at: env.clock.now(),
        about: upload.about,
        pieces: parts.iter().map(|part| part.piece.clone()).collect(),
        checksum: value.map(|value| Checksum { algorithm, value, full_object: upload.full_object }),
    })
}

pub async fn abort(env: &Env, bucket: &Bucket, key: &str, id: &str) -> Result<()> {
    let index = env.store.keyspace(OBJECTS);
    let upload_at = key::upload(bucket.number, key, id);
    let locked = index.lock([&upload_at]).await;
    upload(&index, bucket, key, id)?;
    let (all, _) = parts(&index, bucket, id, 0, usize::MAX)?;
    let mut batch = Batch::default();
    batch.delete(&index, upload_at);
    for part in &all {
        batch.delete(&index, key::part(bucket.number, id, part.number));
    }
    env.store.apply(batch).await?;
    drop(locked);
    discard(env, all.into_iter().map(|part| part.piece.blob)).await;
    Ok(())
}

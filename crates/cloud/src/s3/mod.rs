//! S3: buckets are records, the index of objects is a bulk keyspace, their bytes are blobs. The
//! protocol is `s3s`'s; `service` is what a server mounts.

mod checksum;
mod error;
mod handlers;
mod ingest;
mod key;
mod list;
mod model;
mod multipart;
mod ops;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use bytes::Bytes;
pub use error::{Error, Result};
pub use handlers::service;
pub use model::{Bucket, BucketPolicy};
pub use ops::bucket;

use crate::env::Env;

/// The bulk keyspace of objects, uploads and their parts.
pub const OBJECTS: &str = "s3.objects";

/// What a service writes into a user's bucket.
pub async fn deposit(env: &Env, bucket: &Bucket, key: &str, bytes: Bytes) -> Result<()> {
    let body = futures_util::stream::iter([Ok(bytes)]);
    let ingested = ingest::ingest(env, body, &ingest::Claims::default(), |_| None).await?;
    let object = ops::object(env, ingested, model::About::default());
    ops::put(env, bucket, key, &object, &ops::Guard::default()).await
}

/// Removes blobs that a crash has left without an object. Before anybody writes; blocks.
pub fn sweep(env: &Env) -> Result<usize> {
    let mut kept = HashSet::new();
    ops::each_blob(env, |blob| {
        kept.insert(blob);
    })?;
    Ok(env.store.blobs().sweep(|name| kept.contains(name))?)
}

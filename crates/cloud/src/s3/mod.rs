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

pub use error::{Error, Result};
pub use handlers::Source;
pub use handlers::service;
pub use model::{Bucket, BucketPolicy};

use crate::env::Env;

/// The bulk keyspace of objects, uploads and their parts.
pub const OBJECTS: &str = "s3.objects";

/// Removes blobs that a crash has left without an object. Before anybody writes; blocks.
pub fn sweep(env: &Env) -> Result<usize> {
    let mut kept = HashSet::new();
    ops::each_blob(env, |blob| {
        kept.insert(blob);
    })?;
    Ok(env.store.blobs().sweep(|name| kept.contains(name))?)
}

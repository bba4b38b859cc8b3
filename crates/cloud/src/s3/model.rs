//! Buckets, objects, and uploads of objects in parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checksum::Algorithm;
use crate::Timestamp;
use crate::iam::Document;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Unique in the whole cloud.
    pub name: String,
    pub account: String,
    pub region: String,
    pub created_at: Timestamp,
    /// What the keys of its objects begin with. A bucket of the same name made later has another.
    pub number: u64,
}

impl store::Record for Bucket {
    const TABLE: &'static str = "s3.buckets";
    fn key(&self) -> String {
        self.name.clone()
    }
}

/// Who may do what with a bucket and its objects; goes with the bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BucketPolicy {
    /// The bucket's name.
    pub bucket: String,
    pub document: Document,
}

impl store::Record for BucketPolicy {
    const TABLE: &'static str = "s3.bucket_policies";
    fn key(&self) -> String {
        self.bucket.clone()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    pub modified_at: Timestamp,
    pub about: About,
    /// Its bytes, one after the other: one piece, or one for each part it was uploaded in.
    pub pieces: Vec<Piece>,
    pub checksum: Option<Checksum>,
}

impl Object {
    /// Uploaded in parts.
    pub fn is_multipart(&self) -> bool {
        self.etag.contains('-')
    }
}

/// What its owner said of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub expires: Option<Timestamp>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    pub blob: String,
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: Algorithm,
    /// Base64; of a composite one with `-` and the number of parts.
    pub value: String,
    /// Of all bytes, not of the parts' checksums.
    pub full_object: bool,
}

/// A multipart upload that is not completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    pub key: String,
    pub id: String,
    pub initiated_at: Timestamp,
    pub about: About,
    pub algorithm: Option<Algorithm>,
    pub full_object: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub number: u32,
    pub piece: Piece,
    pub etag: String,
    pub modified_at: Timestamp,
    pub algorithm: Algorithm,
    /// Base64.
    pub checksum: String,
}

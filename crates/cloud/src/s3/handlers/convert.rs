//! Values between `s3s` and the domain.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::Stream;
use s3s::dto;

use crate::Timestamp;
use crate::s3::checksum::Algorithm;
use crate::s3::model::{Checksum, Object};
use crate::s3::ops::Body;
use crate::s3::{Error, Result};

pub fn timestamp_out(timestamp: Timestamp) -> dto::Timestamp {
    let since = Duration::from_millis(timestamp.0.max(0) as u64);
    dto::Timestamp::from(SystemTime::UNIX_EPOCH + since)
}

pub fn timestamp(wire: &dto::Timestamp) -> Result<Timestamp> {
    let invalid = || Error::InvalidArgument("a date that is none".to_owned());
    let mut text = Vec::new();
    wire.format(dto::TimestampFormat::EpochSeconds, &mut text).map_err(|_| invalid())?;
    let text = String::from_utf8(text).map_err(|_| invalid())?;
    let seconds: f64 = text.parse().map_err(|_| invalid())?;
    Ok(Timestamp((seconds * 1000.0) as i64))
}

/// `s3s` wants bodies that can be shared between threads, which no stream of futures is; nor does it
/// share them.
pub fn body_out(stream: Body) -> dto::StreamingBlob {
    dto::StreamingBlob::wrap(Shared(Mutex::new(stream)))
}

struct Shared(Mutex<Body>);

impl Stream for Shared {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        stream.as_mut().poll_next(cx)
    }
}

pub fn etag_out(etag: &str) -> dto::ETag {
    dto::ETag::Strong(etag.to_owned())
}

/// `*` or the tag.
pub fn condition(wire: Option<dto::ETagCondition>) -> Option<String> {
    wire.map(|condition| match condition.into_etag() {
        Some(etag) => etag.into_value(),
        None => "*".to_owned(),
    })
}

pub fn checksum_type(checksum: &Checksum) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match checksum.full_object {
        true => dto::ChecksumType::FULL_OBJECT,
        false => dto::ChecksumType::COMPOSITE,
    })
}

/// A checksum in the member of its algorithm.
pub fn sums(algorithm: Algorithm, value: &str) -> dto::Checksum {
    let mut sums = dto::Checksum::default();
    let member = match algorithm {
        Algorithm::Crc32 => &mut sums.checksum_crc32,
        Algorithm::Crc32c => &mut sums.checksum_crc32c,
        Algorithm::Crc64Nvme => &mut sums.checksum_crc64nvme,
        Algorithm::Sha1 => &mut sums.checksum_sha1,
        Algorithm::Sha256 => &mut sums.checksum_sha256,
    };
    *member = Some(value.to_owned());
    sums
}

pub fn sums_of(object: &Object) -> dto::Checksum {
    let Some(checksum) = &object.checksum else { return dto::Checksum::default() };
    let sums = sums(checksum.algorithm, &checksum.value);
    dto::Checksum { checksum_type: Some(checksum_type(checksum)), ..sums }
}

/// The one that is given; in the order of `Algorithm::ALL`.
pub fn claimed(given: [Option<String>; 5]) -> Result<Option<(Algorithm, String)>> {
    let mut given = Algorithm::ALL
        .into_iter()
        .zip(given)
        .filter_map(|(algorithm, sum)| Some((algorithm, sum?)));
    let first = given.next();
    match given.next() {
        Some(_) => Err(Error::InvalidRequest(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
                .to_owned(),
        )),
        None => Ok(first),
    }
}

/// How a list prints keys: percent-encoded when the client asked for it.
pub fn encoder(kind: Option<&dto::EncodingType>) -> impl Fn(&str) -> String + use<> {
    let url = kind.is_some_and(|kind| kind.as_str() == dto::EncodingType::URL);
    move |text| if url { percent(text) } else { text.to_owned() }
}

fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b"-_.~/*".contains(&b) => out.push(b as char),
            b' ' => out.push('+'),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

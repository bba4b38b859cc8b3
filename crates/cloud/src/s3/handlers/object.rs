//! Objects: put, get, head, delete, copy.

use std::ops::Range;

use s3s::{S3Request, dto};

use super::access::Refusals;
use super::convert::{body_out, claimed, condition, etag_out, sums_of, timestamp, timestamp_out};
use super::{Answer, Handlers, answer, refuse};
use crate::Timestamp;
use crate::env::Env;
use crate::s3::checksum::Algorithm;
use crate::s3::ingest::{Claims, ingest};
use crate::s3::model::{About, Bucket, Object};
use crate::s3::ops::{self, Guard};
use crate::s3::{Error, OBJECTS, Result};

/// 5 GiB.
const MAX_PUT_BYTES: i64 = 5 << 30;

/// Members that put, copy and create have in common and that have no effect here.
macro_rules! refuse_extras {
    ($input:expr) => {{
        let input = &$input;
        let acl = input.acl.as_ref().is_some_and(|acl| {
            ![dto::ObjectCannedACL::PRIVATE, dto::ObjectCannedACL::BUCKET_OWNER_FULL_CONTROL]
                .contains(&acl.as_str())
        });
        if acl
            || input.grant_full_control.is_some()
            || input.grant_read.is_some()
            || input.grant_read_acp.is_some()
            || input.grant_write_acp.is_some()
        {
            return Err(crate::s3::Error::AccessControlListNotSupported.into());
        }
        let class = input.storage_class.as_ref();
        super::refuse(&[
            (input.server_side_encryption.is_some(), "ServerSideEncryption"),
            (input.sse_customer_algorithm.is_some(), "SSECustomerAlgorithm"),
            (input.sse_customer_key.is_some(), "SSECustomerKey"),
            (input.ssekms_key_id.is_some(), "SSEKMSKeyId"),
            (input.ssekms_encryption_context.is_some(), "SSEKMSEncryptionContext"),
            (input.bucket_key_enabled == Some(true), "BucketKeyEnabled"),
            (input.object_lock_mode.is_some(), "ObjectLockMode"),
            (input.object_lock_retain_until_date.is_some(), "ObjectLockRetainUntilDate"),
            (input.object_lock_legal_hold_status.is_some(), "ObjectLockLegalHoldStatus"),
            (input.tagging.is_some(), "Tagging"),
            (input.website_redirect_location.is_some(), "WebsiteRedirectLocation"),
            (class.is_some_and(|c| c.as_str() != dto::StorageClass::STANDARD), "StorageClass"),
        ])?;
    }};
}
pub(super) use refuse_extras;

/// What the owner says of an object, from those members that put, copy and create have in common.
macro_rules! about {
    ($input:expr) => {{
        let expires = match $input.expires.take() {
            Some(expires) => Some(super::convert::timestamp(&expires)?),
            None => None,
        };
        let about = crate::s3::model::About {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take().and_then(super::object::real_encoding),
            content_language: $input.content_language.take(),
            expires,
            metadata: $input.metadata.take().unwrap_or_default().into_iter().collect(),
        };
        super::object::check_metadata(&about)?;
        about
    }};
}
pub(super) use about;

/// Without `aws-chunked`, which is of the request, not of the object.
pub fn real_encoding(encoding: String) -> Option<String> {
    let kept = encoding.split(',').map(str::trim).filter(|one| *one != "aws-chunked");
    let kept: Vec<&str> = kept.filter(|one| !one.is_empty()).collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

pub fn check_metadata(about: &About) -> Result<()> {
    let bytes: usize = about.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > 2048 {
        return Err(Error::InvalidArgument(
            "Your metadata headers exceed the maximum allowed metadata size".to_owned(),
        ));
    }
    Ok(())
}

/// The checksum algorithm of a request whose value comes in a trailer.
pub fn trailing_algorithm(headers: &http::HeaderMap) -> Option<Algorithm> {
    let trailer = headers.get("x-amz-trailer")?.to_str().ok()?;
    let names = trailer.split(',').map(str::trim);
    let find = |name: &str| Algorithm::ALL.into_iter().find(|one| one.header() == name);
    names.filter_map(find).next()
}

pub async fn put(
    env: &Env,
    handlers: &Handlers,
    request: S3Request<dto::PutObjectInput>,
) -> Answer<dto::PutObjectOutput> {
    let S3Request { mut input, headers, trailing_headers, .. } = request;
    refuse_extras!(input);
    refuse(&[(input.write_offset_bytes.is_some(), "WriteOffsetBytes")])?;
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    check_length(input.content_length)?;
    let claim = claimed([
        input.checksum_crc32.take(),
        input.checksum_crc32c.take(),
        input.checksum_crc64nvme.take(),
        input.checksum_sha1.take(),
        input.checksum_sha256.take(),
    ])?;
    let named = input.checksum_algorithm.as_ref().map(|name| Algorithm::parse(name.as_str()));
    let named = trailing_algorithm(&headers).or(named.transpose()?);
    let claims = claims(claim, named, input.content_md5.take(), input.content_length);
    let guard =
        Guard { matches: condition(input.if_match), none_matches: condition(input.if_none_match) };
    let about = about!(input);
    let body = input.body.take().unwrap_or_else(|| s3s::Body::empty().into());
    let trailer = |algorithm: Algorithm| {
        let trailers = trailing_headers.as_ref()?.take()?;
        Some(trailers.get(algorithm.header())?.to_str().ok()?.to_owned())
    };
    let ingested = ingest(env, body, &claims, trailer).await?;
    let object = ops::object(env, ingested, about);
    ops::put(env, &bucket, &input.key, &object, &guard).await?;
    let sums = sums_of(&object);
    answer(dto::PutObjectOutput {
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        e_tag: Some(etag_out(&object.etag)),
        ..Default::default()
    })
}

pub fn check_length(length: Option<i64>) -> Result<()> {
    if length.is_some_and(|length| length > MAX_PUT_BYTES) {
        return Err(Error::InvalidRequest(
            "Your proposed upload exceeds the maximum allowed size".to_owned(),
        ));
    }
    Ok(())
}

pub fn claims(
    claim: Option<(Algorithm, String)>,
    named: Option<Algorithm>,
    md5: Option<String>,
    length: Option<i64>,
) -> Claims {
    let length = length.and_then(|length| u64::try_from(length).ok());
    match claim {
        Some((algorithm, sum)) => {
            Claims { md5, algorithm: Some(algorithm), checksum: Some(sum), length }
        }
        None => Claims { md5, algorithm: named, checksum: None, length },
    }
}

/// What a reader demands of the object (RFC 9110, 13.2.2).
#[derive(Default)]
struct Conditions {
    matches: Option<String>,
    none_matches: Option<String>,
    modified_since: Option<Timestamp>,
    unmodified_since: Option<Timestamp>,
}

impl Conditions {
    fn check(&self, object: &Object) -> Result<()> {
        let same = |tag: &str| tag == "*" || tag == object.etag;
        let seconds = object.modified_at.seconds();
        match (&self.matches, self.unmodified_since) {
            (Some(tag), _) if !same(tag) => return Err(Error::PreconditionFailed),
            (None, Some(since)) if seconds > since.seconds() => {
                return Err(Error::PreconditionFailed);
            }
            _ => {}
        }
        match (&self.none_matches, self.modified_since) {
            (Some(tag), _) if same(tag) => Err(Error::NotModified),
            (None, Some(since)) if seconds <= since.seconds() => Err(Error::NotModified),
            _ => Ok(()),
        }
    }
}

/// What is read of an object: the bytes, and whether they are a part of it.
struct Extent {
    range: Range<u64>,
    partial: bool,
    parts: Option<i32>,
}

fn extent(object: &Object, range: Option<&dto::Range>, part: Option<i32>) -> Result<Extent> {
    let whole = 0..object.size;
    let Some(part) = part else {
        let Some(range) = range else {
            return Ok(Extent { range: whole, partial: false, parts: None });
        };
        let range = range.check(object.size).map_err(|_| Error::InvalidRange)?;
        return Ok(Extent { range, partial: true, parts: None });
    };
    if range.is_some() {
        return Err(Error::InvalidRequest(
            "Cannot specify both Range header and partNumber query parameter".to_owned(),
        ));
    }
    let index = usize::try_from(part).ok().and_then(|part| part.checked_sub(1));
    let index = index.filter(|index| *index < object.pieces.len());
    let index = index.ok_or(Error::InvalidPartNumber)?;
    let begin: u64 = object.pieces[..index].iter().map(|piece| piece.size).sum();
    let parts = object.is_multipart().then_some(object.pieces.len() as i32);
    Ok(Extent { range: begin..begin + object.pieces[index].size, partial: true, parts })
}

fn find(
    handlers: &Handlers,
    bucket: &str,
    owner: Option<&String>,
    key: &str,
    conditions: &Conditions,
) -> Result<Object> {
    let bucket = handlers.bucket(bucket, owner)?;
    let index = handlers.env.store.keyspace(OBJECTS);
    let object = ops::get(&index, &bucket, key)?.ok_or(Error::NoSuchKey)?;
    conditions.check(&object)?;
    Ok(object)
}

/// Reads the members that get and head have in common into the object and what to answer of it.
macro_rules! look_up {
    ($handlers:expr, $input:expr) => {{
        let (handlers, input) = ($handlers, &mut $input);
        refuse(&[
            (input.version_id.as_ref().is_some_and(|version| version != "null"), "VersionId"),
            (input.sse_customer_algorithm.is_some(), "SSECustomerAlgorithm"),
            (input.sse_customer_key.is_some(), "SSECustomerKey"),
        ])?;
        let since = |wire: &Option<dto::Timestamp>| wire.as_ref().map(timestamp).transpose();
        let conditions = Conditions {
            matches: condition(input.if_match.take()),
            none_matches: condition(input.if_none_match.take()),
            modified_since: since(&input.if_modified_since)?,
            unmodified_since: since(&input.if_unmodified_since)?,
        };
        let owner = input.expected_bucket_owner.as_ref();
        let object = find(handlers, &input.bucket, owner, &input.key, &conditions)?;
        let extent = extent(&object, input.range.as_ref(), input.part_number)?;
        let with_sums = input.checksum_mode.is_some() && !extent.partial;
        let sums = if with_sums { sums_of(&object) } else { dto::Checksum::default() };
        (object, extent, sums)
    }};
}

fn content_range(object: &Object, extent: &Extent) -> Option<String> {
    let Range { start, end } = extent.range;
    // An empty object has no byte to name.
    (extent.partial && end > start).then(|| format!("bytes {start}-{}/{}", end - 1, object.size))
}

const DEFAULT_TYPE: &str = "binary/octet-stream";

pub fn get(handlers: &Handlers, mut input: dto::GetObjectInput) -> Answer<dto::GetObjectOutput> {
    let (object, extent, sums) = look_up!(handlers, input);
    let length = extent.range.end - extent.range.start;
    let content_range = content_range(&object, &extent);
    let body = ops::read(&handlers.env, &object, extent.range);
    let about = object.about;
    answer(dto::GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(body_out(body)),
        cache_control: about.cache_control,
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        content_disposition: about.content_disposition,
        content_encoding: about.content_encoding,
        content_language: about.content_language,
        content_length: Some(length as i64),
        content_range,
        content_type: Some(about.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
        e_tag: Some(etag_out(&object.etag)),
        expires: about.expires.map(timestamp_out),
        last_modified: Some(timestamp_out(object.modified_at)),
        metadata: Some(about.metadata.into_iter().collect()),
        parts_count: extent.parts,
        ..Default::default()
    })
}

pub fn head(handlers: &Handlers, mut input: dto::HeadObjectInput) -> Answer<dto::HeadObjectOutput> {
    refuse(&[
        (input.response_cache_control.is_some(), "response-cache-control"),
        (input.response_content_disposition.is_some(), "response-content-disposition"),
        (input.response_content_encoding.is_some(), "response-content-encoding"),
        (input.response_content_language.is_some(), "response-content-language"),
        (input.response_content_type.is_some(), "response-content-type"),
        (input.response_expires.is_some(), "response-expires"),
    ])?;
    let (object, extent, sums) = look_up!(handlers, input);
    let content_range = content_range(&object, &extent);
    let about = object.about;
    answer(dto::HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: about.cache_control,
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        content_disposition: about.content_disposition,
        content_encoding: about.content_encoding,
        content_language: about.content_language,
        content_length: Some((extent.range.end - extent.range.start) as i64),
        content_range,
        content_type: Some(about.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
        e_tag: Some(etag_out(&object.etag)),
        expires: about.expires.map(timestamp_out),
        last_modified: Some(timestamp_out(object.modified_at)),
        metadata: Some(about.metadata.into_iter().collect()),
        parts_count: extent.parts,
        ..Default::default()
    })
}

pub async fn delete(
    handlers: &Handlers,
    input: dto::DeleteObjectInput,
) -> Answer<dto::DeleteObjectOutput> {
    refuse(&[
        (input.version_id.as_ref().is_some_and(|version| version != "null"), "VersionId"),
        (input.mfa.is_some(), "MFA"),
        (input.bypass_governance_retention == Some(true), "BypassGovernanceRetention"),
        (input.if_match_size.is_some(), "IfMatchSize"),
        (input.if_match_last_modified_time.is_some(), "IfMatchLastModifiedTime"),
    ])?;
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    let guard = Guard { matches: condition(input.if_match), none_matches: None };
    ops::delete(&handlers.env, &bucket, &input.key, &guard).await?;
    answer(dto::DeleteObjectOutput::default())
}

/// All but those that `refusals` says may not be deleted.
pub async fn delete_many(
    handlers: &Handlers,
    input: dto::DeleteObjectsInput,
    refusals: Refusals,
) -> Answer<dto::DeleteObjectsOutput> {
    refuse(&[
        (input.mfa.is_some(), "MFA"),
        (input.bypass_governance_retention == Some(true), "BypassGovernanceRetention"),
    ])?;
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    if input.delete.objects.len() > 1000 {
        return Err(
            Error::InvalidRequest("At most 1000 keys can be deleted at once".to_owned()).into()
        );
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let refusals = refusals.0.into_iter().chain(std::iter::repeat(None));
    let results = input.delete.objects.into_iter().zip(refusals).map(|(one, refusal)| {
        let bucket: &Bucket = &bucket;
        async move {
            if let Some(message) = refusal {
                return (one.key, Err(Error::Unauthorized(message)));
            }
            let refused = refuse(&[
                (one.version_id.as_ref().is_some_and(|version| version != "null"), "VersionId"),
                (one.size.is_some(), "Size"),
                (one.last_modified_time.is_some(), "LastModifiedTime"),
            ]);
            let guard = Guard { matches: one.e_tag.map(dto::ETag::into_value), none_matches: None };
            let deleted = match refused {
                Ok(()) => ops::delete(&handlers.env, bucket, &one.key, &guard).await,
                refused => refused,
            };
            (one.key, deleted)
        }
    });
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    // Together, so that they share their fsyncs.
    for (key, result) in futures_util::future::join_all(results).await {
        match result {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(dto::DeletedObject { key: Some(key), ..Default::default() }),
            Err(error) => {
                let error = s3s::S3Error::from(error);
                errors.push(dto::Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(key),
                    message: error.message().map(str::to_owned),
                    version_id: None,
                });
            }
        }
    }
    answer(dto::DeleteObjectsOutput {
        deleted: (!deleted.is_empty()).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        request_charged: None,
    })
}

/// What a copy reads, when the conditions on it hold.
pub fn source(
    handlers: &Handlers,
    source: &dto::CopySource,
    owner: Option<&String>,
    conditions: (Option<dto::ETagCondition>, Option<dto::ETagCondition>),
    since: (Option<&dto::Timestamp>, Option<&dto::Timestamp>),
) -> Result<Object> {
    let dto::CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(Error::NotImplemented("an access point as the source of a copy"));
    };
    refuse(&[(version_id.as_ref().is_some_and(|version| **version != *"null"), "VersionId")])?;
    let conditions = Conditions {
        matches: condition(conditions.0),
        none_matches: condition(conditions.1),
        modified_since: since.0.map(timestamp).transpose()?,
        unmodified_since: since.1.map(timestamp).transpose()?,
    };
    let object = find(handlers, bucket, owner, key, &conditions).map_err(|error| match error {
        // A copy that would copy nothing is a failure.
        Error::NotModified => Error::PreconditionFailed,
        other => other,
    })?;
    Ok(object)
}

pub async fn copy(
    handlers: &Handlers,
    mut input: dto::CopyObjectInput,
) -> Answer<dto::CopyObjectOutput> {
    refuse_extras!(input);
    refuse(&[
        (input.copy_source_sse_customer_algorithm.is_some(), "CopySourceSSECustomerAlgorithm"),
        (input.copy_source_sse_customer_key.is_some(), "CopySourceSSECustomerKey"),
        (
            input.tagging_directive.as_ref().is_some_and(|d| d.as_str() == "REPLACE"),
            "TaggingDirective",
        ),
    ])?;
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    let source = source(
        handlers,
        &input.copy_source,
        input.expected_source_bucket_owner.as_ref(),
        (input.copy_source_if_match.take(), input.copy_source_if_none_match.take()),
        (
            input.copy_source_if_modified_since.as_ref(),
            input.copy_source_if_unmodified_since.as_ref(),
        ),
    )?;
    if source.size > MAX_PUT_BYTES as u64 {
        return Err(Error::InvalidRequest(
            "The specified copy source is larger than the maximum allowable size for a copy source: \
             5368709120"
                .to_owned(),
        )
        .into());
    }
    let replace = input
        .metadata_directive
        .as_ref()
        .is_some_and(|directive| directive.as_str() == dto::MetadataDirective::REPLACE);
    let onto_itself = matches!(&input.copy_source, dto::CopySource::Bucket { bucket, key, .. }
        if **bucket == *input.bucket && **key == *input.key);
    if onto_itself && !replace {
        return Err(Error::InvalidRequest(
            "This copy request is illegal because it is trying to copy an object to itself without \
             changing the object's metadata, storage class, website redirect location or encryption \
             attributes."
                .to_owned(),
        )
        .into());
    }
    let about = if replace { about!(input) } else { source.about.clone() };
    let named = input.checksum_algorithm.as_ref().map(|name| Algorithm::parse(name.as_str()));
    let kept = source.checksum.as_ref().map(|checksum| checksum.algorithm);
    let algorithm = named.transpose()?.or(kept);
    let claims = Claims { algorithm, length: Some(source.size), ..Default::default() };
    let body = ops::read(&handlers.env, &source, 0..source.size);
    let body = futures_util::TryStreamExt::map_err(body, Into::into);
    let ingested = ingest(&handlers.env, body, &claims, |_| None).await?;
    let object = ops::object(&handlers.env, ingested, about);
    ops::put(&handlers.env, &bucket, &input.key, &object, &Guard::default()).await?;
    let sums = sums_of(&object);
    answer(dto::CopyObjectOutput {
        copy_object_result: Some(dto::CopyObjectResult {
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            checksum_type: sums.checksum_type,
            e_tag: Some(etag_out(&object.etag)),
            last_modified: Some(timestamp_out(object.modified_at)),
        }),
        ..Default::default()
    })
}

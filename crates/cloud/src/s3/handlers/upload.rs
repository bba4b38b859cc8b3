//! Uploads in parts.

use s3s::{S3Request, dto};

use super::convert::{claimed, condition, encoder, etag_out, sums, sums_of, timestamp_out};
use super::object::{about, check_length, claims, refuse_extras, source, trailing_algorithm};
use super::{Answer, Handlers, Upload, answer, limit, prefixes, refuse};
use crate::s3::checksum::Algorithm;
use crate::s3::ingest::{Claims, ingest};
use crate::s3::list::{Listing, list};
use crate::s3::model::Part;
use crate::s3::multipart::{self, Named};
use crate::s3::ops::{self, Guard, checksum_kind, parse};
use crate::s3::{Error, OBJECTS, Result, key};

pub async fn create(
    handlers: &Handlers,
    mut input: dto::CreateMultipartUploadInput,
) -> Answer<dto::CreateMultipartUploadOutput> {
    refuse_extras!(input);
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    let kind = checksum_kind(
        input.checksum_algorithm.as_ref().map(|algorithm| algorithm.as_str()),
        input.checksum_type.as_ref().map(|kind| kind.as_str()),
    )?;
    let about = about!(input);
    let upload = multipart::create(&handlers.env, &bucket, &input.key, about, kind).await?;
    answer(dto::CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: upload.algorithm.map(|_| kind_out(&upload)),
        key: Some(input.key),
        upload_id: Some(upload.id),
        ..Default::default()
    })
}

fn kind_out(upload: &Upload) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match upload.full_object {
        true => dto::ChecksumType::FULL_OBJECT,
        false => dto::ChecksumType::COMPOSITE,
    })
}

fn part_number(number: i32) -> Result<u32> {
    match number {
        1..=10_000 => Ok(number as u32),
        _ => Err(Error::InvalidArgument(
            "Part number must be an integer between 1 and 10000, inclusive".to_owned(),
        )),
    }
}

pub async fn put_part(
    handlers: &Handlers,
    request: S3Request<dto::UploadPartInput>,
) -> Answer<dto::UploadPartOutput> {
    let S3Request { mut input, headers, trailing_headers, .. } = request;
    refuse(&[
        (input.sse_customer_algorithm.is_some(), "SSECustomerAlgorithm"),
        (input.sse_customer_key.is_some(), "SSECustomerKey"),
    ])?;
    let env = &handlers.env;
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    let number = part_number(input.part_number)?;
    check_length(input.content_length)?;
    let upload = ops::upload(&env.store.keyspace(OBJECTS), &bucket, &input.key, &input.upload_id)?;
    let claim = claimed([
        input.checksum_crc32.take(),
        input.checksum_crc32c.take(),
        input.checksum_crc64nvme.take(),
        input.checksum_sha1.take(),
        input.checksum_sha256.take(),
    ])?;
    let named = input.checksum_algorithm.as_ref().map(|name| Algorithm::parse(name.as_str()));
    let named = trailing_algorithm(&headers).or(named.transpose()?).or(upload.algorithm);
    let claims = claims(claim, named, input.content_md5.take(), input.content_length);
    if let (Some(wanted), Some(given)) = (upload.algorithm, claims.algorithm)
        && wanted != given
    {
        return Err(Error::InvalidRequest(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            wanted.name().to_ascii_lowercase(),
            given.name().to_ascii_lowercase()
        ))
        .into());
    }
    let body = input.body.take().unwrap_or_else(|| s3s::Body::empty().into());
    let trailer = |algorithm: Algorithm| {
        let trailers = trailing_headers.as_ref()?.take()?;
        Some(trailers.get(algorithm.header())?.to_str().ok()?.to_owned())
    };
    let ingested = ingest(env, body, &claims, trailer).await?;
    let part = multipart::put_part(env, &bucket, &input.key, &upload.id, number, ingested).await?;
    let sums = sums(part.algorithm, &part.checksum);
    answer(dto::UploadPartOutput {
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        e_tag: Some(etag_out(&part.etag)),
        ..Default::default()
    })
}

pub async fn copy_part(
    handlers: &Handlers,
    mut input: dto::UploadPartCopyInput,
) -> Answer<dto::UploadPartCopyOutput> {
    refuse(&[
        (input.sse_customer_algorithm.is_some(), "SSECustomerAlgorithm"),
        (input.sse_customer_key.is_some(), "SSECustomerKey"),
        (input.copy_source_sse_customer_algorithm.is_some(), "CopySourceSSECustomerAlgorithm"),
        (input.copy_source_sse_customer_key.is_some(), "CopySourceSSECustomerKey"),
    ])?;
    let env = &handlers.env;
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    let number = part_number(input.part_number)?;
    let upload = ops::upload(&env.store.keyspace(OBJECTS), &bucket, &input.key, &input.upload_id)?;
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
    let range = match &input.copy_source_range {
        None => 0..source.size,
        Some(text) => {
            let invalid = || {
                Error::InvalidArgument(
                    "The x-amz-copy-source-range value must be of the form bytes=first-last where \
                     first and last are the zero-based offsets of the first and last bytes to copy"
                        .to_owned(),
                )
            };
            let bounds = text.strip_prefix("bytes=").and_then(|text| text.split_once('-'));
            let (first, last) = bounds.ok_or_else(invalid)?;
            let first: u64 = first.parse().map_err(|_| invalid())?;
            let last: u64 = last.parse().map_err(|_| invalid())?;
            if first > last || last >= source.size {
                return Err(Error::InvalidRange.into());
            }
            first..last + 1
        }
    };
    let claims = Claims {
        algorithm: upload.algorithm,
        length: Some(range.end - range.start),
        ..Default::default()
    };
    check_length(i64::try_from(range.end - range.start).ok())?;
    let body = ops::read(env, &source, range);
    let body = futures_util::TryStreamExt::map_err(body, Into::into);
    let ingested = ingest(env, body, &claims, |_| None).await?;
    let part = multipart::put_part(env, &bucket, &input.key, &upload.id, number, ingested).await?;
    let sums = sums(part.algorithm, &part.checksum);
    answer(dto::UploadPartCopyOutput {
        copy_part_result: Some(dto::CopyPartResult {
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            e_tag: Some(etag_out(&part.etag)),
            last_modified: Some(timestamp_out(part.modified_at)),
        }),
        ..Default::default()
    })
}

pub async fn complete(
    handlers: &Handlers,
    request: S3Request<dto::CompleteMultipartUploadInput>,
) -> Answer<dto::CompleteMultipartUploadOutput> {
    let S3Request { mut input, headers, .. } = request;
    refuse(&[
        (input.sse_customer_algorithm.is_some(), "SSECustomerAlgorithm"),
        (input.sse_customer_key.is_some(), "SSECustomerKey"),
    ])?;
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    let mut named = Vec::new();
    for part in input.multipart_upload.unwrap_or_default().parts.unwrap_or_default() {
        let checksum = claimed([
            part.checksum_crc32,
            part.checksum_crc32c,
            part.checksum_crc64nvme,
            part.checksum_sha1,
            part.checksum_sha256,
        ])?;
        let (Some(number), Some(etag)) = (part.part_number, part.e_tag) else {
            return Err(Error::InvalidRequest(
                "Each part must have a PartNumber and an ETag".to_owned(),
            )
            .into());
        };
        named.push(Named {
            number: part_number(number)?,
            etag: etag.into_value(),
            checksum: checksum.map(|(_, sum)| sum),
        });
    }
    let claim = claimed([
        input.checksum_crc32.take(),
        input.checksum_crc32c.take(),
        input.checksum_crc64nvme.take(),
        input.checksum_sha1.take(),
        input.checksum_sha256.take(),
    ])?;
    let upload =
        ops::upload(&handlers.env.store.keyspace(OBJECTS), &bucket, &input.key, &input.upload_id)?;
    if upload.algorithm.is_some()
        && input.checksum_type.as_ref().is_some_and(|kind| *kind != kind_out(&upload))
    {
        return Err(Error::InvalidRequest(
            "The upload was created using another checksum type than the complete request names"
                .to_owned(),
        )
        .into());
    }
    let guard =
        Guard { matches: condition(input.if_match), none_matches: condition(input.if_none_match) };
    let object = multipart::complete(
        &handlers.env,
        &bucket,
        &input.key,
        &input.upload_id,
        &named,
        multipart::Whole { checksum: claim.map(|(_, sum)| sum), size: input.mpu_object_size },
        &guard,
    )
    .await?;
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let sums = sums_of(&object);
    answer(dto::CompleteMultipartUploadOutput {
        location: Some(format!("http://{host}/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
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

pub async fn abort(
    handlers: &Handlers,
    input: dto::AbortMultipartUploadInput,
) -> Answer<dto::AbortMultipartUploadOutput> {
    refuse(&[(input.if_match_initiated_time.is_some(), "IfMatchInitiatedTime")])?;
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    multipart::abort(&handlers.env, &bucket, &input.key, &input.upload_id).await?;
    answer(dto::AbortMultipartUploadOutput::default())
}

pub fn list_parts(handlers: &Handlers, input: dto::ListPartsInput) -> Answer<dto::ListPartsOutput> {
    refuse(&[
        (input.sse_customer_algorithm.is_some(), "SSECustomerAlgorithm"),
        (input.sse_customer_key.is_some(), "SSECustomerKey"),
    ])?;
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    let index = handlers.env.store.keyspace(OBJECTS);
    let upload = ops::upload(&index, &bucket, &input.key, &input.upload_id)?;
    let marker = input.part_number_marker.unwrap_or(0);
    let after = u32::try_from(marker).map_err(|_| {
        Error::InvalidArgument("part-number-marker must not be negative".to_owned())
    })?;
    let limit = limit(input.max_parts)?;
    let (parts, more) = multipart::parts(&index, &bucket, &upload.id, after, limit)?;
    let next = parts.last().map_or(marker, |part| part.number as i32);
    answer(dto::ListPartsOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: upload
            .algorithm
            .map(|algorithm| dto::ChecksumAlgorithm::from(algorithm.name().to_owned())),
        checksum_type: upload.algorithm.map(|_| kind_out(&upload)),
        is_truncated: Some(more),
        key: Some(input.key),
        max_parts: Some(limit as i32),
        next_part_number_marker: Some(next),
        owner: Some(handlers.owner()),
        part_number_marker: Some(marker),
        parts: Some(parts.into_iter().map(part_out).collect()),
        storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
        upload_id: Some(input.upload_id),
        ..Default::default()
    })
}

fn part_out(part: Part) -> dto::Part {
    let sums = sums(part.algorithm, &part.checksum);
    dto::Part {
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        e_tag: Some(etag_out(&part.etag)),
        last_modified: Some(timestamp_out(part.modified_at)),
        part_number: Some(part.number as i32),
        size: Some(part.piece.size as i64),
    }
}

pub fn list_uploads(
    handlers: &Handlers,
    input: dto::ListMultipartUploadsInput,
) -> Answer<dto::ListMultipartUploadsOutput> {
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    let after = input.key_marker.as_ref().filter(|marker| !marker.is_empty()).map(|marker| {
        match input.upload_id_marker.as_ref().filter(|id| !id.is_empty()) {
            Some(id) => format!("{marker}\0{id}"),
            // All uploads of that key are behind the marker.
            None => format!("{marker}\0~"),
        }
    });
    let wanted = Listing {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
        after,
        limit: limit(input.max_uploads)?,
    };
    let index = handlers.env.store.keyspace(OBJECTS);
    let root = key::uploads(bucket.number);
    let listed = list(&index, &root, &wanted, |_, bytes| parse::<Upload>(bytes))?;
    let encode = encoder(input.encoding_type.as_ref());
    let next = listed.next.as_deref().map(|next| next.split_once('\0').unwrap_or((next, "")));
    let uploads = listed.entries.iter().map(|(_, upload)| dto::MultipartUpload {
        checksum_algorithm: upload
            .algorithm
            .map(|algorithm| dto::ChecksumAlgorithm::from(algorithm.name().to_owned())),
        checksum_type: upload.algorithm.map(|_| kind_out(upload)),
        initiated: Some(timestamp_out(upload.initiated_at)),
        key: Some(encode(&upload.key)),
        owner: Some(handlers.owner()),
        storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
        upload_id: Some(upload.id.clone()),
        ..Default::default()
    });
    answer(dto::ListMultipartUploadsOutput {
        uploads: Some(uploads.collect()),
        bucket: Some(input.bucket),
        common_prefixes: prefixes(&listed.prefixes, &encode),
        delimiter: input.delimiter.as_deref().map(&encode),
        is_truncated: Some(next.is_some()),
        key_marker: Some(encode(&input.key_marker.unwrap_or_default())),
        max_uploads: Some(wanted.limit as i32),
        next_key_marker: next.map(|(key, _)| encode(key)),
        next_upload_id_marker: next.map(|(_, id)| id.to_owned()),
        prefix: Some(encode(&wanted.prefix)),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        encoding_type: input.encoding_type,
        ..Default::default()
    })
}

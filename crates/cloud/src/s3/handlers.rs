//! S3's operations: `s3s`'s requests to `ops`, `list` and `multipart`, and back.

mod access;
mod convert;
mod host;
mod object;
mod policy;
mod upload;

use std::sync::Arc;

use s3s::auth::{S3Auth, SecretKey};
use s3s::dto;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::list::{Listing, list};
use super::model::{Bucket, Object, Upload};
use super::ops::{self, parse};
use super::{Error, OBJECTS, Result, key};
use crate::env::Env;
use crate::{iam, page};
use access::Access;
use convert::{encoder, etag_out, timestamp_out};

/// The S3 of this cloud, for a hyper server. `secret` knows the secret of root's access key; those of
/// others are IAM's.
pub fn service(
    env: &Env,
    secret: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Handlers { env: env.clone() });
    let secret: Arc<Secret> = Arc::new(secret);
    let roots = Arc::clone(&secret);
    let is_root = Arc::new(move |key: &str| roots(key).is_some());
    builder.set_auth(Keys { env: env.clone(), root: secret });
    builder.set_access(Access { env: env.clone(), is_root });
    builder.set_host(host::Hosts);
    builder.build()
}

type Secret = dyn Fn(&str) -> Option<String> + Send + Sync;

struct Keys {
    env: Env,
    root: Arc<Secret>,
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let secret = (self.root)(access_key).or_else(|| iam::secret(&self.env, access_key));
        secret.map(SecretKey::from).ok_or_else(|| {
            s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )
        })
    }
}

pub struct Handlers {
    env: Env,
}

type Answer<T> = S3Result<S3Response<T>>;

fn answer<T>(output: T) -> Answer<T> {
    Ok(S3Response::new(output))
}

/// At most so many entries in a page.
const MAX_KEYS: i32 = 1000;

fn limit(wanted: Option<i32>) -> Result<usize> {
    let wanted = wanted.unwrap_or(MAX_KEYS);
    if wanted < 0 {
        return Err(Error::InvalidArgument(
            "Argument maxKeys must be an integer between 0 and 2147483647".to_owned(),
        ));
    }
    Ok(wanted.min(MAX_KEYS) as usize)
}

/// Refuses members that have no effect here.
fn refuse(members: &[(bool, &'static str)]) -> Result<()> {
    match members.iter().find(|(given, _)| *given) {
        Some((_, name)) => Err(Error::NotImplemented(name)),
        None => Ok(()),
    }
}

impl Handlers {
    /// The bucket, when it is the expected owner's.
    fn bucket(&self, name: &str, owner: Option<&String>) -> Result<Arc<Bucket>> {
        let bucket = ops::bucket(&self.env.store.read(), name)?;
        match owner {
            Some(owner) if *owner != bucket.account => Err(Error::AccessDenied),
            _ => Ok(bucket),
        }
    }

    fn owner(&self) -> dto::Owner {
        // Canonical ids have 64 hexadecimal digits.
        let id = crate::id::stable("", &["canonical", &self.env.config.account]);
        let id = id.trim_start_matches('-').repeat(4)[..64].to_owned();
        dto::Owner { display_name: None, id: Some(id) }
    }

    fn listed(&self, object: &Object, key: String, owner: bool) -> dto::Object {
        let algorithm = object.checksum.as_ref().map(|checksum| {
            vec![dto::ChecksumAlgorithm::from(checksum.algorithm.name().to_owned())]
        });
        dto::Object {
            checksum_algorithm: algorithm,
            checksum_type: object.checksum.as_ref().map(convert::checksum_type),
            e_tag: Some(etag_out(&object.etag)),
            key: Some(key),
            last_modified: Some(timestamp_out(object.modified_at)),
            owner: owner.then(|| self.owner()),
            size: Some(object.size as i64),
            storage_class: Some(dto::ObjectStorageClass::from_static(
                dto::ObjectStorageClass::STANDARD,
            )),
            ..Default::default()
        }
    }

    fn list_objects(
        &self,
        bucket: &Bucket,
        wanted: &Listing,
    ) -> Result<super::list::Listed<Object>> {
        let index = self.env.store.keyspace(OBJECTS);
        list(&index, &key::objects(bucket.number), wanted, |_, bytes| parse(bytes))
    }
}

fn prefixes(
    prefixes: &[String],
    encode: impl Fn(&str) -> String,
) -> Option<Vec<dto::CommonPrefix>> {
    let prefix = |prefix: &String| dto::CommonPrefix { prefix: Some(encode(prefix)) };
    (!prefixes.is_empty()).then(|| prefixes.iter().map(prefix).collect())
}

#[async_trait::async_trait]
impl S3 for Handlers {
    async fn create_bucket(
        &self,
        request: S3Request<dto::CreateBucketInput>,
    ) -> Answer<dto::CreateBucketOutput> {
        let input = request.input;
        let acl = input.acl.is_some_and(|acl| acl.as_str() != dto::BucketCannedACL::PRIVATE);
        if acl
            || input.grant_full_control.is_some()
            || input.grant_read.is_some()
            || input.grant_read_acp.is_some()
            || input.grant_write.is_some()
            || input.grant_write_acp.is_some()
        {
            return Err(Error::AccessControlListNotSupported.into());
        }
        let ownership = input.object_ownership.is_some_and(|ownership| {
            ownership.as_str() != dto::ObjectOwnership::BUCKET_OWNER_ENFORCED
        });
        refuse(&[
            (input.object_lock_enabled_for_bucket == Some(true), "ObjectLockEnabledForBucket"),
            (ownership, "ObjectOwnership"),
        ])?;
        let asked = request.region.as_ref().map(|region| region.as_str().to_owned());
        let asked = asked.unwrap_or_else(|| self.env.config.default_region.clone());
        let configuration = input.create_bucket_configuration.unwrap_or_default();
        refuse(&[
            (configuration.bucket.is_some(), "CreateBucketConfiguration.Bucket"),
            (configuration.location.is_some(), "CreateBucketConfiguration.Location"),
        ])?;
        let region = match configuration.location_constraint {
            Some(wanted) if wanted.as_str() == asked || asked == "us-east-1" => {
                wanted.as_str().to_owned()
            }
            None if asked == "us-east-1" => asked,
            wanted => {
                let wanted = wanted.as_ref().map_or("unspecified", |wanted| wanted.as_str());
                return Err(Error::IllegalLocationConstraint(format!(
                    "The {wanted} location constraint is incompatible for the region specific \
                     endpoint this request was sent to."
                ))
                .into());
            }
        };
        let bucket = Bucket {
            name: input.bucket.clone(),
            account: self.env.config.account.clone(),
            region,
            created_at: self.env.clock.now(),
            number: self.env.rng.u64(),
        };
        self.env.store.write(|tx| ops::create(tx, bucket.clone())).await?;
        answer(dto::CreateBucketOutput { location: Some(format!("/{}", input.bucket)) })
    }

    async fn head_bucket(
        &self,
        request: S3Request<dto::HeadBucketInput>,
    ) -> Answer<dto::HeadBucketOutput> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
        answer(dto::HeadBucketOutput {
            access_point_alias: Some(false),
            bucket_region: Some(bucket.region.clone()),
            ..Default::default()
        })
    }

    async fn list_buckets(
        &self,
        request: S3Request<dto::ListBucketsInput>,
    ) -> Answer<dto::ListBucketsOutput> {
        let input = request.input;
        let limit = match input.max_buckets {
            None => usize::MAX,
            Some(limit @ 1..=10_000) => limit as usize,
            Some(_) => {
                return Err(Error::InvalidArgument(
                    "Argument maxBuckets must be an integer between 1 and 10000".to_owned(),
                )
                .into());
            }
        };
        let snapshot = self.env.store.read();
        let prefix = input.prefix.clone().unwrap_or_default();
        let buckets = snapshot.scan::<Bucket>(&prefix).filter(|bucket| {
            input.bucket_region.as_ref().is_none_or(|region| *region == bucket.region)
        });
        let token = input.continuation_token.as_deref();
        let paged = page::page(buckets, |bucket| bucket.name.clone(), limit, token);
        let (buckets, next) = paged.map_err(|_| {
            Error::InvalidArgument("The continuation token provided is incorrect".to_owned())
        })?;
        let out = |bucket: Arc<Bucket>| dto::Bucket {
            bucket_region: Some(bucket.region.clone()),
            creation_date: Some(timestamp_out(bucket.created_at)),
            name: Some(bucket.name.clone()),
        };
        answer(dto::ListBucketsOutput {
            buckets: Some(buckets.into_iter().map(out).collect()),
            continuation_token: next,
            owner: Some(self.owner()),
            prefix: input.prefix,
        })
    }

    async fn delete_bucket(
        &self,
        request: S3Request<dto::DeleteBucketInput>,
    ) -> Answer<dto::DeleteBucketOutput> {
        let input = request.input;
        self.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
        ops::delete_bucket(&self.env, &input.bucket).await?;
        answer(dto::DeleteBucketOutput::default())
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<dto::GetBucketLocationInput>,
    ) -> Answer<dto::GetBucketLocationOutput> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
        // us-east-1 is said by saying nothing.
        let location = (bucket.region != "us-east-1")
            .then(|| dto::BucketLocationConstraint::from(bucket.region.clone()));
        answer(dto::GetBucketLocationOutput { location_constraint: location })
    }

    async fn put_bucket_policy(
        &self,
        request: S3Request<dto::PutBucketPolicyInput>,
    ) -> Answer<dto::PutBucketPolicyOutput> {
        policy::put(self, request.input).await
    }

    async fn get_bucket_policy(
        &self,
        request: S3Request<dto::GetBucketPolicyInput>,
    ) -> Answer<dto::GetBucketPolicyOutput> {
        policy::get(self, request.input)
    }

    async fn delete_bucket_policy(
        &self,
        request: S3Request<dto::DeleteBucketPolicyInput>,
    ) -> Answer<dto::DeleteBucketPolicyOutput> {
        policy::delete(self, request.input).await
    }

    async fn get_bucket_policy_status(
        &self,
        request: S3Request<dto::GetBucketPolicyStatusInput>,
    ) -> Answer<dto::GetBucketPolicyStatusOutput> {
        policy::status(self, request.input)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> Answer<dto::ListObjectsV2Output> {
        let input = request.input;
        refuse(&[(input.optional_object_attributes.is_some(), "OptionalObjectAttributes")])?;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
        let after = match &input.continuation_token {
            Some(token) => Some(page::decode(token).map_err(|_| {
                Error::InvalidArgument("The continuation token provided is incorrect".to_owned())
            })?),
            None => input.start_after.clone(),
        };
        let wanted = Listing {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
            after: after.filter(|after| !after.is_empty()),
            limit: limit(input.max_keys)?,
        };
        let listed = self.list_objects(&bucket, &wanted)?;
        let encode = encoder(input.encoding_type.as_ref());
        let owner = input.fetch_owner.unwrap_or(false);
        let contents: Vec<_> = listed
            .entries
            .iter()
            .map(|(key, object)| self.listed(object, encode(key), owner))
            .collect();
        answer(dto::ListObjectsV2Output {
            common_prefixes: prefixes(&listed.prefixes, &encode),
            key_count: Some((contents.len() + listed.prefixes.len()) as i32),
            contents: (!contents.is_empty()).then_some(contents),
            continuation_token: input.continuation_token,
            delimiter: input.delimiter.as_deref().map(&encode),
            encoding_type: input.encoding_type,
            is_truncated: Some(listed.next.is_some()),
            max_keys: Some(wanted.limit as i32),
            name: Some(input.bucket),
            next_continuation_token: listed.next.as_deref().map(page::encode),
            prefix: Some(encode(&wanted.prefix)),
            start_after: input.start_after.as_deref().map(&encode),
            ..Default::default()
        })
    }

    async fn list_objects(
        &self,
        request: S3Request<dto::ListObjectsInput>,
    ) -> Answer<dto::ListObjectsOutput> {
        let input = request.input;
        refuse(&[(input.optional_object_attributes.is_some(), "OptionalObjectAttributes")])?;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
        let wanted = Listing {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
            after: input.marker.clone().filter(|marker| !marker.is_empty()),
            limit: limit(input.max_keys)?,
        };
        let listed = self.list_objects(&bucket, &wanted)?;
        let encode = encoder(input.encoding_type.as_ref());
        let contents: Vec<_> = listed
            .entries
            .iter()
            .map(|(key, object)| self.listed(object, encode(key), true))
            .collect();
        // Without a delimiter the last key is the marker.
        let next = listed.next.as_deref().filter(|_| wanted.delimiter.is_some());
        answer(dto::ListObjectsOutput {
            common_prefixes: prefixes(&listed.prefixes, &encode),
            contents: (!contents.is_empty()).then_some(contents),
            delimiter: input.delimiter.as_deref().map(&encode),
            encoding_type: input.encoding_type,
            is_truncated: Some(listed.next.is_some()),
            marker: Some(encode(&input.marker.unwrap_or_default())),
            max_keys: Some(wanted.limit as i32),
            name: Some(input.bucket),
            next_marker: next.map(&encode),
            prefix: Some(encode(&wanted.prefix)),
            ..Default::default()
        })
    }

    async fn put_object(
        &self,
        request: S3Request<dto::PutObjectInput>,
    ) -> Answer<dto::PutObjectOutput> {
        object::put(&self.env, self, request).await
    }

    async fn get_object(
        &self,
        request: S3Request<dto::GetObjectInput>,
    ) -> Answer<dto::GetObjectOutput> {
        object::get(self, request.input)
    }

    async fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> Answer<dto::HeadObjectOutput> {
        object::head(self, request.input)
    }

    async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> Answer<dto::DeleteObjectOutput> {
        object::delete(self, request.input).await
    }

    async fn delete_objects(
        &self,
        request: S3Request<dto::DeleteObjectsInput>,
    ) -> Answer<dto::DeleteObjectsOutput> {
        let S3Request { input, mut extensions, .. } = request;
        object::delete_many(self, input, extensions.remove().unwrap_or_default()).await
    }

    async fn copy_object(
        &self,
        request: S3Request<dto::CopyObjectInput>,
    ) -> Answer<dto::CopyObjectOutput> {
        object::copy(self, request.input).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
    ) -> Answer<dto::CreateMultipartUploadOutput> {
        upload::create(self, request.input).await
    }

    async fn upload_part(
        &self,
        request: S3Request<dto::UploadPartInput>,
    ) -> Answer<dto::UploadPartOutput> {
        upload::put_part(self, request).await
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<dto::UploadPartCopyInput>,
    ) -> Answer<dto::UploadPartCopyOutput> {
        upload::copy_part(self, request.input).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> Answer<dto::CompleteMultipartUploadOutput> {
        upload::complete(self, request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<dto::AbortMultipartUploadInput>,
    ) -> Answer<dto::AbortMultipartUploadOutput> {
        upload::abort(self, request.input).await
    }

    async fn list_parts(
        &self,
        request: S3Request<dto::ListPartsInput>,
    ) -> Answer<dto::ListPartsOutput> {
        upload::list_parts(self, request.input)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<dto::ListMultipartUploadsInput>,
    ) -> Answer<dto::ListMultipartUploadsOutput> {
        upload::list_uploads(self, request.input)
    }
}

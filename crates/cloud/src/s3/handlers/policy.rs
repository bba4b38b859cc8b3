//! Bucket policies on the wire.

use s3s::dto;

use super::{Answer, Handlers, answer, refuse};
use crate::Context;
use crate::iam::{Document, Place, trust};
use crate::s3::model::BucketPolicy;
use crate::s3::{Error, Result};

/// In bytes, as AWS limits it.
const MAX_SIZE: usize = 20 << 10;

pub async fn put(
    handlers: &Handlers,
    input: dto::PutBucketPolicyInput,
) -> Answer<dto::PutBucketPolicyOutput> {
    refuse(&[(
        input.confirm_remove_self_bucket_access == Some(true),
        "ConfirmRemoveSelfBucketAccess",
    )])?;
    let bucket = handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    let document = parse(handlers, &bucket.name, &input.policy)?;
    let policy = BucketPolicy { bucket: bucket.name.clone(), document };
    let write = handlers.env.store.write(|tx| {
        super::ops::bucket(tx, &bucket.name)?;
        tx.put(policy.clone());
        Ok::<_, Error>(())
    });
    write.await?;
    answer(dto::PutBucketPolicyOutput::default())
}

/// It may speak of this bucket and its objects only, and of users and roles that exist.
fn parse(handlers: &Handlers, bucket: &str, text: &str) -> Result<Document> {
    let malformed = |message: &str| Error::MalformedPolicy(message.to_owned());
    if text.len() > MAX_SIZE {
        return Err(malformed("Policy exceeds the maximum allowed document size."));
    }
    let document = Document::parse(text, Place::Resource)
        .map_err(|error| Error::MalformedPolicy(error.to_string()))?;
    let own = format!("arn:aws:s3:::{bucket}");
    let objects = format!("{own}/");
    let foreign = resources(text).into_iter().any(|arn| arn != own && !arn.starts_with(&objects));
    if foreign {
        return Err(malformed("Policy has invalid resource"));
    }
    let env = &handlers.env;
    let cx = Context::service(env, &env.config.account, &env.config.default_region, "s3");
    trust::check_principals(&cx.read(), &cx, &document)
        .map_err(|_| malformed("Invalid principal in policy"))?;
    Ok(document)
}

fn resources(text: &str) -> Vec<String> {
    let Ok(policy) = serde_json::from_str::<serde_json::Value>(text) else { return vec![] };
    let many = |value: &serde_json::Value| match value {
        serde_json::Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    let statements = policy.get("Statement").map(many).unwrap_or_default();
    let named = ["Resource", "NotResource"];
    let resources = statements.iter().flat_map(|one| named.map(|name| one.get(name).map(many)));
    let texts = resources.flatten().flatten();
    texts.filter_map(|resource| resource.as_str().map(str::to_owned)).collect()
}

fn found(
    handlers: &Handlers,
    bucket: &str,
    owner: Option<&String>,
) -> Result<std::sync::Arc<BucketPolicy>> {
    handlers.bucket(bucket, owner)?;
    handlers.env.store.read().get::<BucketPolicy>(bucket).ok_or(Error::NoSuchBucketPolicy)
}

pub fn get(
    handlers: &Handlers,
    input: dto::GetBucketPolicyInput,
) -> Answer<dto::GetBucketPolicyOutput> {
    let policy = found(handlers, &input.bucket, input.expected_bucket_owner.as_ref())?;
    answer(dto::GetBucketPolicyOutput { policy: Some(policy.document.text.clone()) })
}

pub async fn delete(
    handlers: &Handlers,
    input: dto::DeleteBucketPolicyInput,
) -> Answer<dto::DeleteBucketPolicyOutput> {
    handlers.bucket(&input.bucket, input.expected_bucket_owner.as_ref())?;
    let write = handlers.env.store.write(|tx| {
        tx.delete::<BucketPolicy>(&input.bucket);
        Ok::<_, Error>(())
    });
    write.await?;
    answer(dto::DeleteBucketPolicyOutput::default())
}

pub fn status(
    handlers: &Handlers,
    input: dto::GetBucketPolicyStatusInput,
) -> Answer<dto::GetBucketPolicyStatusOutput> {
    let policy = found(handlers, &input.bucket, input.expected_bucket_owner.as_ref())?;
    let is_public = Some(policy.document.compiled.is_public());
    answer(dto::GetBucketPolicyStatusOutput {
        policy_status: Some(dto::PolicyStatus { is_public }),
    })
}

//! Who may do what in S3: called by `s3s` once a request's signature is verified, before its body is
//! read. Anonymous requests come this far too; only a bucket's policy can let them on.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Uri};
use policy::Policy;
use s3s::access::{S3Access, S3AccessContext};
use s3s::path::S3Path;
use s3s::{S3Request, S3Result, dto, s3_error};
use wire::query::params;

use crate::Context;
use crate::env::Env;
use crate::iam::{self, Caller, Demand, Event, Refusal, Who, authorize};
use crate::s3::model::BucketPolicy;

/// Where a request came from: put into its extensions by whoever serves.
#[derive(Clone, Copy, Debug)]
pub struct Source(pub IpAddr);

pub struct Access {
    pub env: Env,
    /// Whether an access key is the root user's.
    pub is_root: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

/// Actions that are not called as their operation is. Source: S3 User Guide, "Required permissions for
/// Amazon S3 API operations".
const ACTIONS: &[(&str, &str)] = &[
    ("HeadObject", "GetObject"),
    ("CopyObject", "PutObject"),
    ("CreateMultipartUpload", "PutObject"),
    ("UploadPart", "PutObject"),
    ("UploadPartCopy", "PutObject"),
    ("CompleteMultipartUpload", "PutObject"),
    ("ListParts", "ListMultipartUploadParts"),
    ("ListMultipartUploads", "ListBucketMultipartUploads"),
    ("HeadBucket", "ListBucket"),
    ("ListObjects", "ListBucket"),
    ("ListObjectsV2", "ListBucket"),
    ("ListObjectVersions", "ListBucketVersions"),
    ("ListBuckets", "ListAllMyBuckets"),
    ("DeleteObjects", "DeleteObject"),
];

/// Keys of listings, and the parameters that hold them.
const LIST_KEYS: &[(&str, &str)] =
    &[("s3:prefix", "prefix"), ("s3:delimiter", "delimiter"), ("s3:max-keys", "max-keys")];

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let source_ip = cx.extensions_mut().get::<Source>().map(|source| source.0);
        let caller = self.caller(cx, source_ip)?;
        iam::note_use(&self.env, &caller, "s3", &self.env.config.default_region).await;
        let context = self.context(caller);
        let operation = cx.s3_op().name().to_owned();
        // Which objects it is about stands in its body: asked when that is read, below.
        if operation == "DeleteObjects" {
            cx.extensions_mut().insert(Asker(context));
            return Ok(());
        }
        let mut demands = vec![demand(&context, &operation, cx.s3_path(), cx.uri(), cx.headers())];
        demands.extend(source_of_copy(&context, &operation, cx.headers()));
        ask(&context, &operation, &demands, matches!(cx.s3_path(), S3Path::Object { .. }))
    }

    async fn delete_objects(
        &self,
        request: &mut S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<()> {
        let Some(Asker(context)) = request.extensions.get::<Asker>() else {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        };
        let input = &request.input;
        let demands = input.delete.objects.iter().map(|object| {
            let resource = format!("{}/{}", input.bucket, object.key);
            with_policy(context, "s3:DeleteObject", &input.bucket, &resource)
        });
        ask(context, "DeleteObjects", &demands.collect::<Vec<_>>(), true)
    }
}

/// Who asks, for a request whose body says the rest.
#[derive(Clone)]
struct Asker(Context);

impl Access {
    fn caller(&self, cx: &S3AccessContext<'_>, source_ip: Option<IpAddr>) -> S3Result<Caller> {
        let text = |name: &str| cx.headers().get(name).and_then(|v| v.to_str().ok());
        let user_agent = text("user-agent").map(str::to_owned);
        let Some(credentials) = cx.credentials() else {
            return Ok(Caller { who: Who::Anonymous, source_ip, user_agent, ..Caller::default() });
        };
        let access_key = credentials.access_key.as_str();
        if (self.is_root)(access_key) {
            let access_key = Some(access_key.to_owned());
            return Ok(Caller { access_key, source_ip, user_agent, ..Caller::default() });
        }
        let of_query = || parameter(cx.uri(), "X-Amz-Security-Token");
        let token = text("x-amz-security-token").map(str::to_owned).or_else(of_query);
        match iam::of_key(&self.env, access_key, token.as_deref()) {
            Ok(caller) => Ok(Caller { source_ip, user_agent, ..caller }),
            Err(Refusal::Expired) => {
                Err(s3_error!(ExpiredToken, "The provided token has expired."))
            }
            Err(Refusal::Unknown) => Err(s3_error!(
                InvalidToken,
                "The provided token is malformed or otherwise invalid."
            )),
        }
    }

    fn context(&self, caller: Caller) -> Context {
        let (account, region) = (&self.env.config.account, &self.env.config.default_region);
        let mut context = Context::service(&self.env, account, region, "s3.amazonaws.com");
        context.caller = caller.arn(&context.read(), account);
        context.from = Arc::new(caller);
        context
    }
}

fn ask(cx: &Context, operation: &str, demands: &[Demand], is_data: bool) -> S3Result<()> {
    if cx.from.may_do_all() && is_data {
        return Ok(());
    }
    let event = |verdict| Event {
        is_data,
        resources: demands.iter().map(|demand| demand.resource.clone()).collect(),
        ..Event::new(cx, "s3", operation, verdict)
    };
    match authorize::check(cx, demands) {
        Ok(verdict) => {
            cx.env.trail.record(event(verdict));
            Ok(())
        }
        Err(denied) => {
            let message = match cx.from.who {
                Who::Anonymous => "Access Denied".to_owned(),
                _ => denied.message,
            };
            let mut event = event(denied.verdict);
            event.error = Some(("AccessDenied".to_owned(), message.clone()));
            cx.env.trail.record(event);
            Err(s3_error!(AccessDenied, "{message}"))
        }
    }
}

fn demand(cx: &Context, operation: &str, path: &S3Path, uri: &Uri, headers: &HeaderMap) -> Demand {
    let known = ACTIONS.iter().find(|(name, _)| *name == operation);
    let action = format!("s3:{}", known.map_or(operation, |(_, action)| action));
    let mut demand = match path {
        S3Path::Root => Demand::new(action, "*"),
        S3Path::Bucket { bucket } => with_policy(cx, &action, bucket, bucket),
        S3Path::Object { bucket, key } => {
            with_policy(cx, &action, bucket, &format!("{bucket}/{key}"))
        }
    };
    if operation.starts_with("List") {
        for (key, name) in LIST_KEYS {
            if let Some(value) = parameter(uri, name) {
                demand = demand.with(key, value);
            }
        }
    }
    for (name, value) in headers {
        let known = name.as_str().strip_prefix("x-amz-").is_some_and(|rest| {
            matches!(rest, "acl" | "content-sha256" | "storage-class" | "copy-source")
                || rest.starts_with("server-side-encryption")
        });
        if let (true, Ok(value)) = (known, value.to_str()) {
            demand = demand.with(&format!("s3:{name}"), value);
        }
    }
    demand
}

fn with_policy(cx: &Context, action: &str, bucket: &str, resource: &str) -> Demand {
    let policy = cx.read().get::<BucketPolicy>(bucket);
    Demand {
        policy: policy.map(|found| Policy::new("BucketPolicy", found.document.compiled.clone())),
        ..Demand::new(action, format!("arn:aws:s3:::{resource}"))
    }
}

/// A copy reads what it copies.
fn source_of_copy(cx: &Context, operation: &str, headers: &HeaderMap) -> Option<Demand> {
    if !matches!(operation, "CopyObject" | "UploadPartCopy") {
        return None;
    }
    let source = headers.get("x-amz-copy-source")?.to_str().ok()?;
    let source = source.split("?versionId=").next().unwrap_or(source);
    let source = params::percent_decode(source.as_bytes(), false);
    let source = source.trim_start_matches('/');
    let bucket = source.split('/').next().unwrap_or_default();
    Some(with_policy(cx, "s3:GetObject", bucket, source))
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = params::pairs(uri.query()?.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value)
}

//! Who may do what in S3: called by `s3s` once a request's signature is verified, before its body is
//! read. Anonymous requests come this far too; only a bucket's policy can let them on.

use std::sync::Arc;

use http::{HeaderMap, Uri};
use policy::Policy;
use s3s::access::{S3Access, S3AccessContext};
use s3s::path::S3Path;
use s3s::{S3Request, S3Result, dto, s3_error};
use wire::query::params;

use crate::Context;
use crate::env::Env;
use crate::iam::authorize::{self, Judge};
use crate::iam::{self, Caller, Demand, Denied, Event, Refusal, Source, Verdict, Who};
use crate::s3::model::BucketPolicy;
use crate::s3::{OBJECTS, ops};

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
];

/// Keys of listings, and the parameters that hold them.
const LIST_KEYS: &[(&str, &str)] =
    &[("s3:prefix", "prefix"), ("s3:delimiter", "delimiter"), ("s3:max-keys", "max-keys")];

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        // Put there by whoever serves.
        let source = cx.extensions_mut().remove::<Source>().unwrap_or_default();
        let caller = self.caller(cx, source)?;
        iam::note_use(&self.env, &caller, "s3", &self.env.config.default_region).await;
        let context = self.context(caller);
        let operation = cx.s3_op().name().to_owned();
        // Which objects these are about stands in their bodies: asked when that is read, below.
        if matches!(operation.as_str(), "DeleteObjects" | "PostObject") {
            cx.extensions_mut().insert(Asker(context));
            return Ok(());
        }
        let own = demand(&context, &operation, cx.s3_path(), cx.uri(), cx.headers());
        let mut demands = vec![own.clone()];
        demands.extend(also(&own, cx.headers()));
        demands.extend(source_of_copy(&context, &operation, cx.headers()));
        let missing = demands.iter().filter_map(|demand| hidden(&context, demand));
        let missing: Vec<Demand> = missing.collect();
        demands.extend(missing);
        ask(&context, &operation, &demands, matches!(cx.s3_path(), S3Path::Object { .. }))
    }

    /// Each key on its own: those that may not be deleted are answered as errors.
    async fn delete_objects(
        &self,
        request: &mut S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<()> {
        let Asker(context) = asker(&request.extensions)?;
        let dto::DeleteObjectsInput { bucket, delete, .. } = &request.input;
        let demands: Vec<Demand> = delete
            .objects
            .iter()
            .map(|object| {
                let resource = format!("{bucket}/{}", object.key);
                let version = object.version_id.as_deref();
                let action = format!("s3:{}", of_version("DeleteObject", version));
                about_version(with_policy(context, &action, bucket, &resource), version)
            })
            .collect();
        if context.from.may_do_all() {
            return Ok(());
        }
        let judge = Judge::of(context);
        let judged: Vec<_> = demands.iter().map(|demand| judge.decide(demand)).collect();
        let told = |denied: &Denied| message(context, denied);
        let refusals = judged.iter().map(|one| one.as_ref().err().map(|denied| told(denied)));
        let refusals = Refusals(refusals.collect());
        let (allowed, denied): (Vec<_>, Vec<_>) = judged.into_iter().partition(Result::is_ok);
        // The first that is denied, else the first.
        let deciding = denied.into_iter().chain(allowed).next();
        deciding.into_iter().for_each(|judged| {
            let _ = record(context, "DeleteObjects", &demands, true, judged);
        });
        request.extensions.insert(refusals);
        Ok(())
    }

    async fn post_object(&self, request: &mut S3Request<dto::PostObjectInput>) -> S3Result<()> {
        let Asker(context) = asker(&request.extensions)?;
        let dto::PostObjectInput { bucket, key, .. } = &request.input;
        let demand = with_policy(context, "s3:PutObject", bucket, &format!("{bucket}/{key}"));
        ask(context, "PostObject", &[demand.with("s3:authType", "POST")], true)
    }
}

/// Who asks, for a request whose body says the rest.
#[derive(Clone)]
struct Asker(Context);

fn asker(extensions: &http::Extensions) -> S3Result<&Asker> {
    extensions.get().ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))
}

/// Of the keys of DeleteObjects, in their order: why one may not be deleted.
#[derive(Clone, Default)]
pub struct Refusals(pub Vec<Option<String>>);

impl Access {
    fn caller(&self, cx: &S3AccessContext<'_>, source: Source) -> S3Result<Caller> {
        let text = |name: &str| cx.headers().get(name).and_then(|v| v.to_str().ok());
        let user_agent = text("user-agent").map(str::to_owned);
        let Some(credentials) = cx.credentials() else {
            return Ok(Caller { who: Who::Anonymous, source, user_agent, ..Caller::default() });
        };
        let access_key = credentials.access_key.as_str();
        if (self.is_root)(access_key) {
            let access_key = Some(access_key.to_owned());
            return Ok(Caller { access_key, source, user_agent, ..Caller::default() });
        }
        let of_query = || parameter(cx.uri(), "X-Amz-Security-Token");
        let token = text("x-amz-security-token").map(str::to_owned).or_else(of_query);
        match iam::of_key(&self.env, access_key, token.as_deref()) {
            Ok(caller) => Ok(Caller { source, user_agent, ..caller }),
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
    let judged = authorize::check(cx, demands);
    record(cx, operation, demands, is_data, judged)
}

/// Keeps the verdict for the trail, and answers as it says.
fn record(
    cx: &Context,
    operation: &str,
    demands: &[Demand],
    is_data: bool,
    judged: Result<Verdict, Box<Denied>>,
) -> S3Result<()> {
    let event = |verdict| Event {
        is_data,
        resources: demands.iter().map(|demand| demand.resource.clone()).collect(),
        ..Event::new(cx, "s3", operation, verdict)
    };
    match judged {
        Ok(verdict) => {
            cx.env.trail.record(event(verdict));
            Ok(())
        }
        Err(denied) => {
            let message = message(cx, &denied);
            let mut event = event(denied.verdict);
            event.error = Some(("AccessDenied".to_owned(), message.clone()));
            cx.env.trail.record(event);
            Err(s3_error!(AccessDenied, "{message}"))
        }
    }
}

fn message(cx: &Context, denied: &Denied) -> String {
    match cx.from.who {
        Who::Anonymous => "Access Denied".to_owned(),
        _ => denied.message.clone(),
    }
}

fn demand(cx: &Context, operation: &str, path: &S3Path, uri: &Uri, headers: &HeaderMap) -> Demand {
    let known = ACTIONS.iter().find(|(name, _)| *name == operation);
    let version = parameter(uri, "versionId");
    let action = of_version(known.map_or(operation, |(_, action)| action), version.as_deref());
    let action = format!("s3:{action}");
    let mut demand = match path {
        S3Path::Root => Demand::new(action, "*"),
        S3Path::Bucket { bucket } => with_policy(cx, &action, bucket, bucket),
        S3Path::Object { bucket, key } => {
            with_policy(cx, &action, bucket, &format!("{bucket}/{key}"))
        }
    };
    demand = about_version(demand, version.as_deref());
    if operation.starts_with("List") {
        for (key, name) in LIST_KEYS {
            if let Some(value) = parameter(uri, name) {
                demand = demand.with(key, value);
            }
        }
    }
    if headers.contains_key(http::header::AUTHORIZATION) {
        demand = demand.with("s3:authType", "REST-HEADER");
    } else if uri.query().is_some_and(|query| query.contains("Signature=")) {
        demand = demand.with("s3:authType", "REST-QUERY-STRING");
    }
    for (name, value) in headers {
        let known = name.as_str().strip_prefix("x-amz-").is_some_and(|rest| {
            matches!(
                rest,
                "acl" | "content-sha256" | "storage-class" | "copy-source" | "metadata-directive"
            ) || rest.starts_with("server-side-encryption")
                || rest.starts_with("grant-")
        });
        if let (true, Ok(value)) = (known, value.to_str()) {
            demand = demand.with(&format!("s3:{name}"), value);
        }
    }
    demand
}

/// What reads or deletes a certain version is another action.
fn of_version(action: &str, version: Option<&str>) -> String {
    match (action, version) {
        ("GetObject" | "DeleteObject", Some(_)) => format!("{action}Version"),
        _ => action.to_owned(),
    }
}

fn about_version(demand: Demand, version: Option<&str>) -> Demand {
    match version {
        Some(version) => demand.with("s3:VersionId", version),
        None => demand,
    }
}

fn with_policy(cx: &Context, action: &str, bucket: &str, resource: &str) -> Demand {
    let policy = cx.read().get::<BucketPolicy>(bucket);
    let demand = Demand {
        policy: policy.map(|found| Policy::new("BucketPolicy", found.document.compiled.clone())),
        ..Demand::new(action, format!("arn:aws:s3:::{resource}"))
    };
    let account = cx.account.as_str();
    demand.with("aws:ResourceAccount", account).with("s3:ResourceAccount", account)
}

/// What headers ask for besides.
const ALSO: &[(&str, &str, &str)] = &[
    ("s3:PutObject", "x-amz-acl", "s3:PutObjectAcl"),
    ("s3:PutObject", "x-amz-tagging", "s3:PutObjectTagging"),
    ("s3:CreateBucket", "x-amz-acl", "s3:PutBucketAcl"),
    ("s3:CreateBucket", "x-amz-object-ownership", "s3:PutBucketOwnershipControls"),
];

fn also(own: &Demand, headers: &HeaderMap) -> Vec<Demand> {
    let asked = |(action, header, _): &&(&str, &str, &str)| {
        own.action == *action && headers.contains_key(*header)
    };
    let more = ALSO.iter().filter(asked);
    more.map(|(_, _, action)| Demand { action: (*action).to_owned(), ..own.clone() }).collect()
}

/// A copy reads what it copies.
fn source_of_copy(cx: &Context, operation: &str, headers: &HeaderMap) -> Option<Demand> {
    if !matches!(operation, "CopyObject" | "UploadPartCopy") {
        return None;
    }
    let source = headers.get("x-amz-copy-source")?.to_str().ok()?;
    let (source, version) = match source.split_once("?versionId=") {
        Some((source, version)) => (source, Some(version)),
        None => (source, None),
    };
    let source = params::percent_decode(source.as_bytes(), false);
    let source = source.trim_start_matches('/');
    let bucket = source.split('/').next().unwrap_or_default();
    let action = format!("s3:{}", of_version("GetObject", version));
    Some(about_version(with_policy(cx, &action, bucket, source), version))
}

/// That an object is not there is told only to who may list its bucket.
fn hidden(cx: &Context, demand: &Demand) -> Option<Demand> {
    if cx.from.may_do_all() || !demand.action.starts_with("s3:GetObject") {
        return None;
    }
    let (bucket, key) = demand.resource.strip_prefix("arn:aws:s3:::")?.split_once('/')?;
    let found = ops::bucket(&cx.read(), bucket).ok()?;
    let index = cx.env.store.keyspace(OBJECTS);
    let missing = matches!(ops::get(&index, &found, key), Ok(None));
    missing.then(|| with_policy(cx, "s3:ListBucket", bucket, bucket))
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = params::pairs(uri.query()?.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value)
}

//! S3 as its clients see it: signed HTTP in, HTTP out.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use s3s::service::S3Service;
use wire::sigv4::{Credentials, sha256_hex, sign};

use crate::env::Env;
use crate::testing;

struct Client {
    env: Env,
    service: S3Service,
    /// Whose requests they are; nobody's are not signed.
    credentials: Option<Credentials>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// What stands in each element of this name.
    fn elements(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let after = self.text().split(open.as_str()).skip(1);
        after.filter_map(|rest| Some(rest.split_once(close.as_str())?.0)).collect()
    }
}

impl Client {
    async fn new() -> Client {
        let env = testing::context().env;
        let secret = |key: &str| (key == "test").then(|| "test".to_owned());
        let root =
            Credentials { access_key: "test".into(), secret: "test".into(), session_token: None };
        let client = Client { service: super::service(&env, secret), env, credentials: Some(root) };
        client.ok(Method::PUT, "/bucket", &[], b"").await;
        client
    }

    /// Signatures are of the host's time.
    #[allow(clippy::disallowed_methods)]
    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Answer {
        let uri: Uri = path.parse().unwrap();
        let mut map = HeaderMap::new();
        map.insert("host", HeaderValue::from_static("127.0.0.1:4566"));
        map.insert("content-length", body.len().into());
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let hash = sha256_hex(body);
        if let Some(credentials) = &self.credentials {
            sign(&method, &uri, &mut map, &hash, credentials, "us-east-1", "s3", now as i64);
        }
        let mut request = http::Request::new(s3s::Body::from(body.to_vec()));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, map);
        let (parts, body) = self.service.call(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn ok(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Answer {
        let answer = self.call(method, path, headers, body).await;
        assert!(answer.status.is_success(), "{path}: {} {:?}", answer.status, answer.body);
        answer
    }

    async fn refused(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
        expected: (u16, &str),
    ) {
        let answer = self.call(method, path, headers, body).await;
        let code = answer.elements("Code").first().copied().unwrap_or("").to_owned();
        assert_eq!((answer.status.as_u16(), code.as_str()), expected, "{path}");
    }

    /// The same S3 for somebody else.
    fn of(&self, credentials: Option<Credentials>) -> Client {
        let secret = |key: &str| (key == "test").then(|| "test".to_owned());
        let service = super::service(&self.env, secret);
        Client { env: self.env.clone(), service, credentials }
    }

    fn blobs(&self) -> usize {
        let mut count = 0;
        super::ops::each_blob(&self.env, |_| count += 1).unwrap();
        count
    }
}

#[tokio::test]
async fn objects_come_back_whole_and_in_ranges() {
    let s3 = Client::new().await;
    let headers = [("content-type", "image/png"), ("x-amz-meta-who", "me")];
    let put = s3.ok(Method::PUT, "/bucket/a/b.png", &headers, b"0123456789").await;
    assert_eq!(put.header("etag"), "\"781e5e245d69b566979b86e28d23f2c7\"");
    let got = s3.ok(Method::GET, "/bucket/a/b.png", &[], b"").await;
    assert_eq!((&got.body[..], got.header("content-type")), (&b"0123456789"[..], "image/png"));
    assert_eq!((got.header("x-amz-meta-who"), got.header("content-length")), ("me", "10"));
    for (range, expected, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
    ] {
        let got = s3.ok(Method::GET, "/bucket/a/b.png", &[("range", range)], b"").await;
        assert_eq!(got.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!((got.text(), got.header("content-range")), (expected, content_range));
    }
    let range = [("range", "bytes=10-")];
    s3.refused(Method::GET, "/bucket/a/b.png", &range, b"", (416, "InvalidRange")).await;
    s3.refused(Method::GET, "/bucket/none", &[], b"", (404, "NoSuchKey")).await;
    s3.refused(Method::GET, "/none/none", &[], b"", (404, "NoSuchBucket")).await;
    s3.ok(Method::DELETE, "/bucket/a/b.png", &[], b"").await;
    s3.refused(Method::GET, "/bucket/a/b.png", &[], b"", (404, "NoSuchKey")).await;
}

#[tokio::test]
async fn conditions_are_held() {
    let s3 = Client::new().await;
    let put = s3.ok(Method::PUT, "/bucket/k", &[("if-none-match", "*")], b"1").await;
    let etag = put.header("etag").to_owned();
    let failed = (412, "PreconditionFailed");
    s3.refused(Method::PUT, "/bucket/k", &[("if-none-match", "*")], b"2", failed).await;
    s3.refused(Method::PUT, "/bucket/k", &[("if-match", "\"x\"")], b"2", failed).await;
    s3.refused(Method::GET, "/bucket/k", &[("if-match", "\"x\"")], b"", failed).await;
    let fresh = s3.call(Method::GET, "/bucket/k", &[("if-none-match", &etag)], b"").await;
    assert_eq!(fresh.status, StatusCode::NOT_MODIFIED);
    let since = [("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT")];
    assert_eq!(
        s3.call(Method::GET, "/bucket/k", &since, b"").await.status,
        StatusCode::NOT_MODIFIED
    );
    let before = [("if-unmodified-since", "Wed, 31 Dec 2025 23:59:59 GMT")];
    s3.refused(Method::GET, "/bucket/k", &before, b"", failed).await;
    s3.ok(Method::PUT, "/bucket/k", &[("if-match", &etag)], b"2").await;
    assert_eq!(s3.ok(Method::GET, "/bucket/k", &[], b"").await.text(), "2");
    assert_eq!(s3.blobs(), 1);
}

#[tokio::test]
async fn what_does_not_match_its_checksum_is_not_stored() {
    let s3 = Client::new().await;
    let bad = (400, "BadDigest");
    let crc = [("x-amz-checksum-crc32", "AAAAAA==")];
    s3.refused(Method::PUT, "/bucket/k", &crc, b"123456789", bad).await;
    let md5 = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
    s3.refused(Method::PUT, "/bucket/k", &md5, b"123456789", bad).await;
    s3.refused(Method::GET, "/bucket/k", &[], b"", (404, "NoSuchKey")).await;
    let crc = [("x-amz-checksum-crc32", "y/Q5Jg==")];
    s3.ok(Method::PUT, "/bucket/k", &crc, b"123456789").await;
    let mode = [("x-amz-checksum-mode", "ENABLED")];
    let head = s3.ok(Method::HEAD, "/bucket/k", &mode, b"").await;
    assert_eq!(head.header("x-amz-checksum-crc32"), "y/Q5Jg==");
    assert_eq!(head.header("x-amz-checksum-type"), "FULL_OBJECT");
}

#[tokio::test]
async fn lists_roll_up_and_go_by_pages() {
    let s3 = Client::new().await;
    for key in ["a", "d/1", "d/2", "e%20f"] {
        s3.ok(Method::PUT, &format!("/bucket/{key}"), &[], b"").await;
    }
    let all = s3.ok(Method::GET, "/bucket?list-type=2&delimiter=%2F", &[], b"").await;
    assert_eq!(all.elements("Key"), ["a", "e f"]);
    assert_eq!(all.elements("KeyCount"), ["3"]);
    assert!(all.text().contains("<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>"));
    let first = s3.ok(Method::GET, "/bucket?list-type=2&max-keys=3", &[], b"").await;
    assert_eq!(first.elements("Key"), ["a", "d/1", "d/2"]);
    let token = first.elements("NextContinuationToken")[0];
    let next = format!("/bucket?list-type=2&continuation-token={token}&encoding-type=url");
    let second = s3.ok(Method::GET, &next, &[], b"").await;
    assert_eq!(second.elements("Key"), ["e+f"]);
    assert_eq!(second.elements("IsTruncated"), ["false"]);
    s3.refused(Method::DELETE, "/bucket", &[], b"", (409, "BucketNotEmpty")).await;
}

#[tokio::test]
async fn uploads_in_parts_become_one_object() {
    let s3 = Client::new().await;
    let begun = s3.ok(Method::POST, "/bucket/big?uploads", &[], b"").await;
    let id = begun.elements("UploadId")[0];
    let large = vec![7; 5 << 20];
    let mut etags = Vec::new();
    for (number, bytes) in [(1, &large[..]), (2, b"tail"), (3, b"unused")] {
        let path = format!("/bucket/big?partNumber={number}&uploadId={id}");
        etags.push(s3.ok(Method::PUT, &path, &[], bytes).await.header("etag").to_owned());
    }
    let end = format!("/bucket/big?uploadId={id}");
    let complete = |numbers: &[usize]| {
        let part = |n: &usize| {
            format!("<Part><PartNumber>{n}</PartNumber><ETag>{}</ETag></Part>", etags[n - 1])
        };
        let parts: String = numbers.iter().map(part).collect();
        format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").into_bytes()
    };
    for (numbers, code) in [(&[2, 1][..], "InvalidPartOrder"), (&[2, 3], "EntityTooSmall")] {
        s3.refused(Method::POST, &end, &[], &complete(numbers), (400, code)).await;
    }
    let done = s3.ok(Method::POST, &end, &[], &complete(&[1, 2])).await;
    assert!(done.elements("ETag")[0].contains("-2"), "{}", done.text());
    let range = [("range", "bytes=5242879-5242882")];
    let got = s3.ok(Method::GET, "/bucket/big", &range, b"").await;
    assert_eq!(got.text(), "\u{7}tai");
    assert_eq!(s3.blobs(), 2);
    s3.refused(Method::DELETE, &end, &[], b"", (404, "NoSuchUpload")).await;
}

#[tokio::test]
async fn what_has_no_effect_here_is_refused() {
    let s3 = Client::new().await;
    for (header, value, expected) in [
        ("x-amz-acl", "public-read", (400, "AccessControlListNotSupported")),
        ("x-amz-server-side-encryption", "AES256", (501, "NotImplemented")),
        ("x-amz-storage-class", "GLACIER", (501, "NotImplemented")),
        ("x-amz-tagging", "a=b", (501, "NotImplemented")),
        ("x-amz-expected-bucket-owner", "999999999999", (403, "AccessDenied")),
    ] {
        s3.refused(Method::PUT, "/bucket/k", &[(header, value)], b"", expected).await;
    }
    let location = b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    s3.ok(Method::PUT, "/europe", &[], location).await;
    let head = s3.ok(Method::HEAD, "/europe", &[], b"").await;
    assert_eq!(head.header("x-amz-bucket-region"), "eu-west-1");
    s3.ok(Method::DELETE, "/europe", &[], b"").await;
    s3.refused(Method::GET, "/europe", &[], b"", (404, "NoSuchBucket")).await;
}

/// A user with one inline policy.
async fn user(client: &Client, name: &str, policy: &str) -> Credentials {
    use crate::iam::model::Kind;
    use crate::iam::ops::{attachment, identity, key};
    let (account, region) = ("123456789012", "us-east-1");
    let cx = crate::Context::service(&client.env, account, region, "test.amazonaws.com");
    let (made, secret) = cx
        .write(|tx| {
            let new = identity::New {
                kind: Kind::User,
                name: name.to_owned(),
                path: None,
                tags: Default::default(),
                boundary: None,
                role: None,
            };
            identity::create(tx, &cx, new)?;
            attachment::put(tx, &cx, Kind::User, name, "own", policy)?;
            key::create(tx, &cx, name)
        })
        .await
        .unwrap();
    Credentials { access_key: made.id, secret, session_token: None }
}

fn statement(effect: &str, who: &str, action: &str, resource: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}",{who}"Action":"{action}",
        "Resource":"{resource}"}}]}}"#
    )
}

#[tokio::test]
async fn users_reach_what_their_policies_say() {
    let root = Client::new().await;
    root.ok(Method::PUT, "/bucket/a", &[], b"a").await;
    root.ok(Method::PUT, "/bucket/secret/b", &[], b"b").await;
    let policy = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::bucket/*"},
        {"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::bucket/secret/*"},
        {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket",
         "Condition":{"StringEquals":{"s3:prefix":"open/"}}}]}"#;
    let ann = root.of(Some(user(&root, "ann", policy).await));
    assert_eq!(ann.ok(Method::GET, "/bucket/a", &[], b"").await.text(), "a");
    let denied = (403, "AccessDenied");
    ann.refused(Method::GET, "/bucket/secret/b", &[], b"", denied).await;
    ann.refused(Method::DELETE, "/bucket/a", &[], b"", denied).await;
    ann.refused(Method::GET, "/", &[], b"", denied).await;
    ann.refused(Method::GET, "/bucket?list-type=2", &[], b"", denied).await;
    ann.ok(Method::GET, "/bucket?list-type=2&prefix=open%2F", &[], b"").await;
    // A copy reads its source.
    ann.ok(Method::PUT, "/bucket/c", &[("x-amz-copy-source", "/bucket/a")], b"").await;
    let copy = [("x-amz-copy-source", "bucket/secret%2Fb")];
    ann.refused(Method::PUT, "/bucket/d", &copy, b"", denied).await;
    // Who may not list is not told that there is nothing.
    ann.refused(Method::GET, "/bucket/none", &[], b"", denied).await;
    let copy = [("x-amz-copy-source", "bucket/none")];
    ann.refused(Method::PUT, "/bucket/d", &copy, b"", denied).await;
    let unknown = root.of(Some(Credentials {
        access_key: "AKIAAAAAAAAAAAAAAAAA".into(),
        secret: "x".into(),
        session_token: None,
    }));
    unknown.refused(Method::GET, "/bucket/a", &[], b"", (403, "InvalidAccessKeyId")).await;
}

fn base64_md5(bytes: &[u8]) -> String {
    use base64::Engine;
    use md5::Digest;
    base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(bytes))
}

#[tokio::test]
async fn a_buckets_policy_lets_in_and_keeps_out() {
    let root = Client::new().await;
    root.ok(Method::PUT, "/bucket/public/a", &[], b"a").await;
    let nobody = root.of(None);
    let denied = (403, "AccessDenied");
    nobody.refused(Method::GET, "/bucket/public/a", &[], b"", denied).await;
    let policy = "/bucket?policy";
    root.refused(Method::GET, policy, &[], b"", (404, "NoSuchBucketPolicy")).await;
    let everybody = r#""Principal":"*","#;
    let open = |bucket: &str| {
        let resource = format!("arn:aws:s3:::{bucket}/public/*");
        statement("Allow", everybody, "s3:GetObject", &resource)
    };
    let foreign = open("other");
    root.refused(Method::PUT, policy, &[], foreign.as_bytes(), (400, "MalformedPolicy")).await;
    root.ok(Method::PUT, policy, &[], open("bucket").as_bytes()).await;
    assert_eq!(root.ok(Method::GET, policy, &[], b"").await.text(), open("bucket"));
    assert_eq!(nobody.ok(Method::GET, "/bucket/public/a", &[], b"").await.text(), "a");
    nobody.refused(Method::GET, "/bucket?list-type=2", &[], b"", denied).await;
    nobody.refused(Method::PUT, "/bucket/public/b", &[], b"b", denied).await;
    let all = statement("Allow", "", "s3:*", "*");
    let ann = root.of(Some(user(&root, "ann", &all).await));
    let who = r#""Principal":{"AWS":"arn:aws:iam::123456789012:user/ann"},"#;
    let closed = statement("Deny", who, "s3:GetObject", "arn:aws:s3:::bucket/*");
    ann.ok(Method::GET, "/bucket/public/a", &[], b"").await;
    root.ok(Method::PUT, policy, &[], closed.as_bytes()).await;
    ann.refused(Method::GET, "/bucket/public/a", &[], b"", denied).await;
    // It goes with its bucket.
    root.ok(Method::DELETE, "/bucket/public/a", &[], b"").await;
    root.ok(Method::DELETE, "/bucket", &[], b"").await;
    root.ok(Method::PUT, "/bucket", &[], b"").await;
    root.refused(Method::GET, policy, &[], b"", (404, "NoSuchBucketPolicy")).await;
}

#[tokio::test]
async fn of_many_keys_those_are_deleted_that_may_be() {
    let root = Client::new().await;
    for key in ["open/a", "open/b", "kept"] {
        root.ok(Method::PUT, &format!("/bucket/{key}"), &[], b"1").await;
    }
    let policy = statement("Allow", "", "s3:DeleteObject", "arn:aws:s3:::bucket/open/*");
    let ann = root.of(Some(user(&root, "ann", &policy).await));
    let delete = b"<Delete><Object><Key>open/a</Key></Object><Object><Key>kept</Key></Object>\
        <Object><Key>open/none</Key></Object>\
        <Object><Key>open/b</Key><VersionId>null</VersionId></Object></Delete>";
    let sum = base64_md5(delete);
    let answer = ann.ok(Method::POST, "/bucket?delete", &[("content-md5", &sum)], delete).await;
    let (deleted, errors): (Vec<&str>, Vec<&str>) = answer
        .elements("Deleted")
        .into_iter()
        .chain(answer.elements("Error"))
        .partition(|one| !one.contains("<Code>"));
    assert_eq!(deleted, ["<Key>open/a</Key>", "<Key>open/none</Key>"]);
    let codes = answer.elements("Code");
    assert_eq!((errors.len(), codes), (2, vec!["AccessDenied"; 2]));
    let messages = answer.elements("Message");
    let expected = "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: \
        s3:DeleteObject on resource: arn:aws:s3:::bucket/kept because no identity-based policy \
        allows the s3:DeleteObject action";
    assert_eq!(messages[0], expected);
    assert!(messages[1].contains("s3:DeleteObjectVersion on"), "{}", messages[1]);
    let event = root.env.trail.events().remove(0);
    assert_eq!((event.operation.as_str(), event.verdict.allowed), ("DeleteObjects", false));
    let left = root.ok(Method::GET, "/bucket?list-type=2", &[], b"").await;
    assert_eq!(left.elements("Key"), ["kept", "open/b"]);
    let nobody = root.of(None);
    let answer = nobody.ok(Method::POST, "/bucket?delete", &[("content-md5", &sum)], delete).await;
    assert_eq!(answer.elements("Message"), ["Access Denied"; 4]);
}

/// Source: S3 User Guide, "Required permissions for Amazon S3 API operations".
#[tokio::test]
async fn each_operation_asks_for_the_actions_that_aws_says() {
    let root = Client::new().await;
    root.ok(Method::PUT, "/bucket/a", &[], b"a").await;
    let none = user(&root, "none", &statement("Allow", "", "ec2:*", "*")).await;
    let none = root.of(Some(none));
    let (object, bucket) = ("arn:aws:s3:::bucket/k", "arn:aws:s3:::bucket");
    let copy = ("x-amz-copy-source", "bucket/a");
    let acl = ("x-amz-acl", "private");
    let version = ("x-amz-copy-source", "/bucket/a?versionId=null");
    let form = ("content-type", "multipart/form-data; boundary=x");
    for (method, path, header, expected) in [
        (Method::GET, "/", None, &[("ListAllMyBuckets", "*")][..]),
        (Method::PUT, "/bucket", None, &[("CreateBucket", bucket)]),
        (Method::PUT, "/bucket", Some(acl), &[("CreateBucket", bucket), ("PutBucketAcl", bucket)]),
        (Method::HEAD, "/bucket", None, &[("ListBucket", bucket)]),
        (Method::DELETE, "/bucket", None, &[("DeleteBucket", bucket)]),
        (Method::GET, "/bucket", None, &[("ListBucket", bucket)]),
        (Method::GET, "/bucket?list-type=2", None, &[("ListBucket", bucket)]),
        (Method::GET, "/bucket?location", None, &[("GetBucketLocation", bucket)]),
        (Method::GET, "/bucket?policy", None, &[("GetBucketPolicy", bucket)]),
        (Method::PUT, "/bucket?policy", None, &[("PutBucketPolicy", bucket)]),
        (Method::DELETE, "/bucket?policy", None, &[("DeleteBucketPolicy", bucket)]),
        (Method::GET, "/bucket?policyStatus", None, &[("GetBucketPolicyStatus", bucket)]),
        (Method::GET, "/bucket?uploads", None, &[("ListBucketMultipartUploads", bucket)]),
        (Method::PUT, "/bucket/k", None, &[("PutObject", object)]),
        (Method::PUT, "/bucket/k", Some(acl), &[("PutObject", object), ("PutObjectAcl", object)]),
        (Method::GET, "/bucket/a", None, &[("GetObject", "arn:aws:s3:::bucket/a")]),
        (Method::GET, "/bucket/k", None, &[("GetObject", object), ("ListBucket", bucket)]),
        (Method::HEAD, "/bucket/a", None, &[("GetObject", "arn:aws:s3:::bucket/a")]),
        (
            Method::GET,
            "/bucket/a?versionId=null",
            None,
            &[("GetObjectVersion", "arn:aws:s3:::bucket/a")],
        ),
        (Method::DELETE, "/bucket/k", None, &[("DeleteObject", object)]),
        (Method::DELETE, "/bucket/k?versionId=null", None, &[("DeleteObjectVersion", object)]),
        (
            Method::PUT,
            "/bucket/k",
            Some(copy),
            &[("PutObject", object), ("GetObject", "arn:aws:s3:::bucket/a")],
        ),
        (
            Method::PUT,
            "/bucket/k?partNumber=1&uploadId=u",
            Some(version),
            &[("PutObject", object), ("GetObjectVersion", "arn:aws:s3:::bucket/a")],
        ),
        (Method::POST, "/bucket/k?uploads", None, &[("PutObject", object)]),
        (Method::PUT, "/bucket/k?partNumber=1&uploadId=u", None, &[("PutObject", object)]),
        (Method::POST, "/bucket/k?uploadId=u", None, &[("PutObject", object)]),
        (Method::DELETE, "/bucket/k?uploadId=u", None, &[("AbortMultipartUpload", object)]),
        (Method::GET, "/bucket/k?uploadId=u", None, &[("ListMultipartUploadParts", object)]),
    ] {
        let headers: Vec<_> = header.into_iter().collect();
        let mut statements = Vec::new();
        for (action, resource) in expected {
            let answer = none.call(method.clone(), path, &headers, b"").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
            let event = root.env.trail.events().remove(0);
            let (action, resource) = (format!("s3:{action}"), (*resource).to_owned());
            assert_eq!((&event.verdict.action, &event.verdict.resource), (&action, &resource));
            // With that allowed the next is asked for.
            statements.push(serde_json::json!(
                {"Effect": "Allow", "Action": action, "Resource": resource}));
            set_policy(&root, "none", &statements).await;
        }
        let answer = none.call(method.clone(), path, &headers, b"").await;
        assert_ne!(answer.status, StatusCode::FORBIDDEN, "{method} {path} {:?}", answer.body);
        root.call(Method::PUT, "/bucket", &[], b"").await;
        root.ok(Method::PUT, "/bucket/a", &[], b"a").await;
        root.call(Method::DELETE, "/bucket/k", &[], b"").await;
        set_policy(&root, "none", &[]).await;
    }
    let body = b"--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--x\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nbytes\r\n--x--\r\n";
    let nobody = root.of(None);
    nobody.refused(Method::POST, "/bucket", &[form], body, (403, "AccessDenied")).await;
    let event = root.env.trail.events().remove(0);
    assert_eq!(
        (event.verdict.action.as_str(), event.verdict.resource.as_str()),
        ("s3:PutObject", object)
    );
}

#[tokio::test]
async fn a_session_ends_for_s3_too() {
    use crate::iam::{Session, Who};
    let root = Client::new().await;
    let key = user(&root, "ann", &statement("Allow", "", "s3:ListBucket", "*")).await;
    let of_key = crate::iam::of_key(&root.env, &key.access_key, None).unwrap();
    assert!(matches!(of_key.who, Who::User { .. }));
    let session = Session::begin(&root.env, of_key.who, std::time::Duration::from_secs(900));
    let made = session.credentials(&root.env);
    let ann = |token: String| {
        let (access_key, secret) = (made.access_key.clone(), made.secret.clone());
        root.of(Some(Credentials { access_key, secret, session_token: Some(token) }))
    };
    let whole = ann(made.token.clone());
    whole.ok(Method::GET, "/bucket?list-type=2", &[], b"").await;
    whole.refused(Method::PUT, "/bucket/k", &[], b"", (403, "AccessDenied")).await;
    let cut = ann(made.token[..made.token.len() - 4].to_owned());
    cut.refused(Method::GET, "/bucket", &[], b"", (400, "InvalidToken")).await;
    root.env.clock.advance(made.expires_at);
    whole.refused(Method::GET, "/bucket", &[], b"", (400, "ExpiredToken")).await;
}

/// Of a user's one inline policy; nothing is allowed when there are none.
async fn set_policy(root: &Client, name: &str, statements: &[serde_json::Value]) {
    let none = serde_json::json!({"Effect": "Allow", "Action": "ec2:*", "Resource": "*"});
    let statements = statements.iter().cloned().chain([none]).collect::<Vec<_>>();
    let text = serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let cx = testing::context();
    let cx = crate::Context { env: root.env.clone(), ..cx };
    let kind = crate::iam::model::Kind::User;
    let put = cx.write(|tx| crate::iam::ops::attachment::put(tx, &cx, kind, name, "own", &text));
    put.await.unwrap();
}

//! Signatures against AWS's published examples and botocore's.

use http::{HeaderMap, HeaderName, Method, Uri};
use wire::Protocol;
use wire::sigv4::{self, Body, Credentials, Error, Payload, Verified, sha256_hex};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2026-11-23T06:15:55Z, when botocore's examples were signed.
const NOW: i64 = 1_795_414_555;

struct Signed {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
    secret: &'static str,
    now: i64,
}

fn signed(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Signed {
    let headers = headers.iter().map(|(name, value)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
    });
    Signed {
        method: method.parse().unwrap(),
        uri: uri.parse().unwrap(),
        headers: headers.collect(),
        body: body.as_bytes().to_vec(),
        secret: SECRET,
        now: NOW,
    }
}

impl Signed {
    fn at(self, now: i64) -> Signed {
        Signed { now, ..self }
    }

    fn header(mut self, name: &'static str, value: &str) -> Signed {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    fn verify(&self) -> Result<Verified, Error> {
        self.verify_for(None)
    }

    fn verify_for(&self, service: Option<&str>) -> Result<Verified, Error> {
        let secret = |key: &str| key.starts_with("AKI").then(|| self.secret.to_owned());
        let body = Body::Whole(&self.body);
        sigv4::verify(&self.method, &self.uri, &self.headers, body, service, self.now, secret)
    }
}

fn authorization(scope: &str, signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/{scope}/aws4_request, SignedHeaders={signed}, \
         Signature={signature}"
    )
}

fn boto(service: &str, signed: &str, signature: &str) -> String {
    authorization(&format!("20261123/eu-west-3/{service}"), signed, signature)
}

/// "get-vanilla" of the published test suite.
fn vanilla() -> Signed {
    let authorization = authorization(
        "20150830/us-east-1/service",
        "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    );
    let headers = [
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("authorization", &*authorization),
    ];
    signed("GET", "/", &headers, "").at(1_440_938_160)
}

#[test]
fn published_examples() {
    assert_eq!(vanilla().verify().unwrap().service, "service");
    // "ListUsers" of the signing process in the IAM User Guide.
    let list_users = authorization(
        "20150830/us-east-1/iam",
        "content-type;host;x-amz-date",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    );
    let request = signed(
        "GET",
        "/?Action=ListUsers&Version=2010-05-08",
        &[
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("host", "iam.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", &*list_users),
        ],
        "",
    );
    request.at(1_440_938_160).verify().unwrap();
}

/// The examples of "Signature Calculations for the Authorization Header" and "Using Query Parameters" in
/// the S3 API Reference.
#[test]
fn published_s3_examples() {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const S3_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let at = |request: Signed| Signed { secret: S3_SECRET, now: 1_369_353_600, ..request };
    let authorization = |signed: &str, signature: &str| {
        authorization("20130524/us-east-1/s3", signed, signature)
            .replace(KEY, "AKIAIOSFODNN7EXAMPLE")
    };
    let host = ("host", "examplebucket.s3.amazonaws.com");
    let date = ("x-amz-date", "20130524T000000Z");

    let get = authorization(
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    let headers = [
        host,
        date,
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", EMPTY),
        ("authorization", &*get),
    ];
    at(signed("GET", "/test.txt", &headers, "")).verify().unwrap();

    let put = authorization(
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    let body = "Welcome to Amazon S3.";
    let headers = [
        host,
        date,
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        (
            "x-amz-content-sha256",
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        ),
        ("authorization", &*put),
    ];
    at(signed("PUT", "/test$file.text", &headers, body)).verify().unwrap();

    let list = authorization(
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    );
    let headers = [host, date, ("x-amz-content-sha256", EMPTY), ("authorization", &*list)];
    at(signed("GET", "/?max-keys=2&prefix=J", &headers, "")).verify().unwrap();

    let presigned = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE\
                     %2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&\
                     X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=\
                     aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let request = at(signed("GET", presigned, &[host], ""));
    assert_eq!(request.verify().unwrap().payload, Payload::Unsigned);
    let late = request.at(1_369_353_600 + 86_401);
    assert!(matches!(late.verify(), Err(Error::Expired { .. })));
}

#[test]
fn botocore_s_requests() {
    let host = ("host", "127.0.0.1:4566");
    let date = ("x-amz-date", "20261123T061555Z");

    let run = boto(
        "ec2",
        "content-type;host;x-amz-date",
        "233a4334e702c6f16a1120d5cc4201aa333e9ad097c6f12cc378da8bd9d9fbce",
    );
    let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    let body = "Action=RunInstances&Version=2016-11-15&ImageId=ami-1";
    let request = signed("POST", "/", &[host, date, form, ("authorization", &run)], body);
    let verified = request.verify_for(Some("ec2")).unwrap();
    assert_eq!((&*verified.access_key, &*verified.region), (KEY, "eu-west-3"));
    assert_eq!(verified.payload, Payload::Sha256(sha256_hex(body.as_bytes())));

    let odd = boto(
        "ec2",
        "content-type;host;x-amz-date;x-amz-meta;x-amz-security-token",
        "b354a518ae729624a6dd6854d310c21fcb96f1bd8b91930a426eaf02b8d57a31",
    );
    let headers = [
        host,
        date,
        ("x-amz-meta", "  a   b "),
        ("content-type", "x"),
        ("x-amz-security-token", "tok/en=="),
        ("authorization", &odd),
    ];
    let request = signed("POST", "/a//b/../c%20d/%7e/", &headers, "{}");
    assert_eq!(request.verify().unwrap().session_token.as_deref(), Some("tok/en=="));

    let query = boto(
        "monitoring",
        "host;x-amz-date",
        "ee591f77c24c6da41ce54f903d130434d292ac02c7dbc49cb60078ee0210bb98",
    );
    let headers = [("host", "example.com"), date, ("authorization", &*query)];
    signed("GET", "/?b=2&a=1&a=%20x&A=%2F&c", &headers, "").verify().unwrap();

    let s3 = boto(
        "s3",
        "host;x-amz-content-sha256;x-amz-date",
        "2940975406c84856e18a0f94354caf142cc1396788830874676276375af786b6",
    );
    let hash = ("x-amz-content-sha256", &*sha256_hex(b"hello"));
    let headers = [host, date, hash, ("authorization", &*s3)];
    let path = "/bucket/a%20b//c/../%C3%A9%2B";
    signed("PUT", path, &headers, "hello").verify().unwrap();
    assert_eq!(signed("PUT", path, &headers, "hallo").verify(), Err(Error::Mismatch));

    let presigned = "/?Action=DescribeRegions&Version=2016-11-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&\
                     X-Amz-Credential=AKIDEXAMPLE%2F20261123%2Feu-west-3%2Fec2%2Faws4_request&\
                     X-Amz-Date=20261123T061555Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&\
                     X-Amz-Signature=\
                     d20ac5d6141cf82d9958078d5ea0b4814616c34e207f7ab0ef6e557bfc1b6469";
    signed("GET", presigned, &[host], "").at(NOW + 3600).verify().unwrap();
    let other = presigned.replace("DescribeRegions", "DescribeVpcs");
    assert_eq!(signed("GET", &other, &[host], "").verify(), Err(Error::Mismatch));

    let presigned = "/bucket/a%20b?versionId=x%2Fy&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=\
                     AKIDEXAMPLE%2F20261123%2Feu-west-3%2Fs3%2Faws4_request&\
                     X-Amz-Date=20261123T061555Z&X-Amz-Expires=120&X-Amz-SignedHeaders=host&\
                     X-Amz-Security-Token=to%2Bk&X-Amz-Signature=\
                     943aeb11a8a852e7f4c76debe167cfe58abbd41c4594fc794ba22f46324eaf13";
    let verified = signed("GET", presigned, &[host], "").verify().unwrap();
    assert_eq!(verified.session_token.as_deref(), Some("to+k"));
}

#[test]
fn refusals() {
    let ok = vanilla();
    let now = ok.now;
    assert!(ok.at(now + 900).verify().is_ok());
    assert!(matches!(vanilla().at(now + 901).verify(), Err(Error::Expired { .. })));
    assert!(matches!(vanilla().at(now - 901).verify(), Err(Error::NotYet { .. })));
    assert!(matches!(vanilla().verify_for(Some("ec2")), Err(Error::Scope(_))));
    assert!(matches!(vanilla().header("x-amz-target", "T.Op").verify(), Err(Error::Scope(_))));
    assert_eq!(vanilla().header("host", "elsewhere").verify(), Err(Error::Mismatch));
    let other_body = Signed { body: b"x".to_vec(), ..vanilla() };
    assert_eq!(other_body.verify(), Err(Error::Mismatch));
    let other_secret = Signed { secret: "test", ..vanilla() };
    assert_eq!(other_secret.verify(), Err(Error::Mismatch));
    assert_eq!(signed("GET", "/", &[("host", "h")], "").verify(), Err(Error::Missing));

    let good = authorization("20150830/us-east-1/service", "host;x-amz-date", "00");
    for (authorization, expected) in [
        ("Basic dGVzdDp0ZXN0".to_owned(), "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 ".to_owned(), "IncompleteSignature"),
        (good.replace("/aws4_request", ""), "IncompleteSignature"),
        (good.replace("20150830/", "20150831/"), "SignatureDoesNotMatch"),
        (good.replace("host;", ""), "SignatureDoesNotMatch"),
        (good.replace("AKID", "NOBODY"), "InvalidClientTokenId"),
        (good.replace("=00", "=é"), "IncompleteSignature"),
        (good, "SignatureDoesNotMatch"),
    ] {
        let request = vanilla().header("authorization", &authorization);
        let code = request.verify().unwrap_err().to_wire(Protocol::Query).code;
        assert_eq!(code, expected, "{authorization}");
    }
    assert_eq!(Error::UnknownKey.to_wire(Protocol::Ec2).code, "AuthFailure");
    // Temporary credentials that are over, in the words of each kind of service.
    for (protocol, status, code, message) in [
        (Protocol::Ec2, 400, "RequestExpired", "Request has expired."),
        (
            Protocol::Query,
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        ),
        (
            Protocol::Json11,
            400,
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ),
    ] {
        let error = Error::ExpiredToken.to_wire(protocol);
        assert_eq!((error.status, &*error.code, &*error.message), (status, code, message));
    }
    assert_eq!(Error::UnknownKey.to_wire(Protocol::Json10).code, "UnrecognizedClientException");
    assert_eq!(Error::Mismatch.to_wire(Protocol::Json11).code, "InvalidSignatureException");
    let expired = Error::Expired { signed: now, now: now + 2000 };
    assert_eq!(
        expired.to_wire(Protocol::Json11).message,
        "Signature expired: 20150830T123600Z is now earlier than 20150830T125420Z \
         (20150830T130920Z - 15 min.)"
    );
}

#[test]
fn what_is_signed_verifies() {
    let credentials = Credentials {
        access_key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        session_token: Some("token".to_owned()),
    };
    for (service, uri, body, hash, payload) in [
        ("ec2", "/", "Action=X", sha256_hex(b"Action=X"), Payload::Sha256(sha256_hex(b"Action=X"))),
        ("dynamodb", "/a/../b", "", sha256_hex(b""), Payload::Sha256(sha256_hex(b""))),
        ("s3", "/b/k%20?list-type=2", "x", "UNSIGNED-PAYLOAD".to_owned(), Payload::Unsigned),
        (
            "s3",
            "/b/k",
            "x",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
            Payload::Chunked { signed: true, trailer: true },
        ),
    ] {
        let mut request = signed("POST", uri, &[("host", "h:1"), ("x-amz-target", "T.O")], body);
        let Signed { method, uri, headers, .. } = &mut request;
        sigv4::sign(method, uri, headers, &hash, &credentials, "r", service, NOW);
        let verified = request.verify_for(Some(service)).unwrap();
        assert_eq!(verified.payload, payload);
        assert_eq!(verified.session_token.as_deref(), Some("token"));
        request.headers.insert("x-amz-target", "T.P".parse().unwrap());
        assert_eq!(request.verify(), Err(Error::Mismatch));
    }
}

#[test]
fn a_body_may_be_left_out_only_where_the_operation_says_so() {
    let mut request = signed("PUT", "/snapshots/s/blocks/0", &[("host", "h:1")], "block");
    let credentials =
        Credentials { access_key: KEY.into(), secret: SECRET.into(), session_token: None };
    let Signed { method, uri, headers, .. } = &mut request;
    sigv4::sign(method, uri, headers, "UNSIGNED-PAYLOAD", &credentials, "r", "ebs", NOW);
    let verify = |body| {
        let Signed { method, uri, headers, now, .. } = &request;
        sigv4::verify(method, uri, headers, body, None, *now, |_| Some(SECRET.to_owned()))
    };
    assert_eq!(verify(Body::Whole(b"block")), Err(Error::Mismatch));
    assert_eq!(verify(Body::Optional(b"block")).unwrap().payload, Payload::Unsigned);
    let may = |operation| wire::ebs::SERVICE.route(operation).unwrap().may_be_unsigned;
    assert!(may("PutSnapshotBlock") && !may("StartSnapshot"));
}

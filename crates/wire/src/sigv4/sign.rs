//! Signing requests of our own: tools, the demo, tests.

use http::{HeaderMap, HeaderValue, Method, Uri};

use super::{ALGORITHM, Scope, canonical, hex, mac};
use crate::time;
use hmac::Mac;

#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret: String,
    pub session_token: Option<String>,
}

/// Adds `x-amz-date`, `x-amz-content-sha256`, the session token and `authorization` to a request that
/// already has its `host` and other headers; all of `host`, `content-type` and `x-amz-*` are signed.
/// `payload_hash` is `sha256_hex` of the body, or `UNSIGNED-PAYLOAD` for S3.
///
/// # Panics
/// When a value cannot stand in a header.
pub fn sign(
    method: &Method,
    uri: &Uri,
    headers: &mut HeaderMap,
    payload_hash: &str,
    credentials: &Credentials,
    region: &str,
    service: &str,
    now_seconds: i64,
) {
    let date = time::basic(now_seconds);
    let text = |s: &str| HeaderValue::from_str(s).expect("it can stand in a header");
    headers.insert("x-amz-date", text(&date));
    headers.insert("x-amz-content-sha256", text(payload_hash));
    if let Some(token) = &credentials.session_token {
        headers.insert("x-amz-security-token", text(token));
    }
    let mut signed: Vec<&str> = headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| matches!(*name, "host" | "content-type") || name.starts_with("x-amz-"))
        .collect();
    if !signed.contains(&"host") {
        signed.push("host");
    }
    signed.sort_unstable();
    let scope =
        Scope { day: date[..8].to_owned(), region: region.to_owned(), service: service.to_owned() };
    let request = canonical::request(method, uri, headers, &signed, service, payload_hash)
        .expect("the request has a host");
    let signature = mac(&credentials.secret, &date, &scope, &request).finalize().into_bytes();
    let authorization = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={}",
        credentials.access_key,
        signed.join(";"),
        hex(&signature)
    );
    headers.insert(http::header::AUTHORIZATION, text(&authorization));
}

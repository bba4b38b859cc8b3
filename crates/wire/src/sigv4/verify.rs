//! Verifying signed requests.

use http::{HeaderMap, Method, Uri};

use super::{ALGORITHM, Error, SKEW_SECONDS, Scope, canonical, mac, sha256_hex};
use crate::query::params;
use crate::time;
use hmac::Mac;

/// A presigned request is good for a week at most.
const MAX_EXPIRES_SECONDS: i64 = 7 * 24 * 3600;

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub access_key: String,
    pub region: String,
    /// The signing name, as `elasticloadbalancing`.
    pub service: String,
    /// Came with the request and is covered by the signature; the caller judges it.
    pub session_token: Option<String>,
    pub payload: Payload,
}

/// What the signature says of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Its SHA-256 in hexadecimal: already compared with `Body::Whole`, for the caller to compare as a
    /// `Body::Streamed` goes by.
    Sha256(String),
    /// Nothing (S3, and where the body is optional).
    Unsigned,
    /// It comes in `aws-chunked` parts, signed one by one or not, with trailing headers or not (S3 only).
    Chunked { signed: bool, trailer: bool },
}

#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    Whole(&'a [u8]),
    /// The same, of an operation whose clients may leave it out of the signature.
    Optional(&'a [u8]),
    /// Not at hand yet.
    Streamed,
}

/// Whether the request carries a signature in its headers or its query, right or wrong.
pub fn is_signed(uri: &Uri, headers: &HeaderMap) -> bool {
    headers.contains_key(http::header::AUTHORIZATION)
        || uri.query().is_some_and(|query| query.contains("X-Amz-Signature="))
}

/// `service` is the signing name that the scope must have, where the caller knows it; `secret` finds
/// an access key's secret.
pub fn verify(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body<'_>,
    service: Option<&str>,
    now_seconds: i64,
    secret: impl FnOnce(&str) -> Option<String>,
) -> Result<Verified, Error> {
    let claim = match headers.get(http::header::AUTHORIZATION) {
        Some(value) => Claim::from_header(value.to_str().unwrap_or_default(), headers)?,
        None => Claim::from_query(uri)?,
    };
    claim.check_coverage(headers)?;
    claim.check_time(now_seconds)?;
    if let Some(service) = service.filter(|service| *service != claim.scope.service) {
        let message = format!("Credential should be scoped to correct service: '{service}'.");
        return Err(Error::Scope(message));
    }
    let secret = secret(&claim.access_key).ok_or(Error::UnknownKey)?;
    let s3 = claim.scope.service.starts_with("s3");
    let declared = match headers.get("x-amz-content-sha256") {
        Some(value) => Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        None if claim.presigned && s3 => Some("UNSIGNED-PAYLOAD".to_owned()),
        None => None,
    };
    let payload = payload(declared.as_deref(), body, s3)?;
    let hash = match (&payload, &declared) {
        (Payload::Sha256(hash), _) => hash.as_str(),
        (_, declared) => declared.as_deref().unwrap_or_default(),
    };
    let signed: Vec<&str> = claim.signed_headers.split(';').collect();
    let request = canonical::request(method, uri, headers, &signed, &claim.scope.service, hash);
    let request = request.ok_or(Error::Mismatch)?;
    let signature = unhex(&claim.signature).ok_or(Error::Mismatch)?;
    // Compared in constant time.
    mac(&secret, &claim.date, &claim.scope, &request)
        .verify_slice(&signature)
        .map_err(|_| Error::Mismatch)?;
    Ok(Verified {
        access_key: claim.access_key,
        region: claim.scope.region,
        service: claim.scope.service,
        session_token: claim.session_token,
        payload,
    })
}

/// What a request says of its own signature.
struct Claim {
    access_key: String,
    scope: Scope,
    signed_headers: String,
    signature: String,
    date: String,
    signed_at: i64,
    /// Until when; `None` when signed in headers.
    expires_at: Option<i64>,
    presigned: bool,
    session_token: Option<String>,
}

impl Claim {
    fn from_header(authorization: &str, headers: &HeaderMap) -> Result<Claim, Error> {
        let incomplete = |what: &str| {
            Error::Incomplete(format!("Authorization header requires '{what}'. Authorization=…"))
        };
        let parts = authorization
            .strip_prefix(ALGORITHM)
            .ok_or_else(|| Error::Incomplete(format!("Authorization is not by {ALGORITHM}.")))?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in parts.split(',') {
            match part.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("SignedHeaders", value)) => signed_headers = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                _ => {}
            }
        }
        let header =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Claim::new(
            credential.ok_or_else(|| incomplete("Credential"))?,
            signed_headers.ok_or_else(|| incomplete("SignedHeaders"))?,
            signature.ok_or_else(|| incomplete("Signature"))?,
            header("x-amz-date").ok_or_else(|| incomplete("X-Amz-Date"))?,
            None,
            header("x-amz-security-token"),
        )
    }

    fn from_query(uri: &Uri) -> Result<Claim, Error> {
        let mut pairs: std::collections::BTreeMap<String, String> =
            params::pairs(uri.query().unwrap_or_default().as_bytes()).collect();
        if !pairs.contains_key("X-Amz-Signature") {
            return Err(Error::Missing);
        }
        let mut take = |name: &str| {
            pairs.remove(name).ok_or_else(|| {
                Error::Incomplete(format!("AWS query-string parameters must include '{name}'."))
            })
        };
        if take("X-Amz-Algorithm")? != ALGORITHM {
            return Err(Error::Incomplete(format!("X-Amz-Algorithm only supports {ALGORITHM}.")));
        }
        let (credential, signed) = (take("X-Amz-Credential")?, take("X-Amz-SignedHeaders")?);
        let (signature, date) = (take("X-Amz-Signature")?, take("X-Amz-Date")?);
        let expires = take("X-Amz-Expires")?;
        let expires = expires.parse().ok().filter(|n| (1..=MAX_EXPIRES_SECONDS).contains(n));
        let expires = expires.ok_or_else(|| {
            Error::Incomplete("X-Amz-Expires must be between 1 and 604800 seconds.".into())
        })?;
        let token = pairs.remove("X-Amz-Security-Token");
        Claim::new(&credential, &signed, &signature, date, Some(expires), token)
    }

    fn new(
        credential: &str,
        signed_headers: &str,
        signature: &str,
        date: String,
        expires_seconds: Option<i64>,
        session_token: Option<String>,
    ) -> Result<Claim, Error> {
        // An access key may hold slashes, so the scope is what ends the credential.
        let mut parts = credential.rsplitn(5, '/');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let scope = (part(), part(), part(), part(), part());
        let (Some("aws4_request"), Some(service), Some(region), Some(day), Some(access_key)) =
            scope
        else {
            let message = "Credential must have exactly 5 slash-delimited elements, e.g. \
                           keyid/date/region/service/term.";
            return Err(Error::Incomplete(message.into()));
        };
        let well_formed = date.len() == 16 && date.as_bytes()[8] == b'T' && date.ends_with('Z');
        let signed_at = time::parse(&date).filter(|_| well_formed).ok_or_else(|| {
            Error::Incomplete(
                "Date must be in ISO-8601 'basic format', as 20150830T123600Z.".into(),
            )
        })? / 1000;
        if day != &date[..8] {
            let message =
                format!("Date in Credential scope does not match the request's date: {day}");
            return Err(Error::Scope(message));
        }
        Ok(Claim {
            access_key: access_key.to_owned(),
            scope: Scope {
                day: day.to_owned(),
                region: region.to_owned(),
                service: service.to_owned(),
            },
            signed_headers: signed_headers.to_owned(),
            signature: signature.to_owned(),
            date,
            signed_at,
            expires_at: expires_seconds.map(|seconds| signed_at + seconds),
            presigned: expires_seconds.is_some(),
            session_token,
        })
    }

    /// The host and AWS's own headers must be under the signature, else they could be changed.
    fn check_coverage(&self, headers: &HeaderMap) -> Result<(), Error> {
        let signed: Vec<&str> = self.signed_headers.split(';').collect();
        if !signed.contains(&"host") {
            return Err(Error::Scope("'Host' must be a 'SignedHeader' in the AWS request.".into()));
        }
        let own = headers.keys().map(|name| name.as_str()).find(|name| {
            // The body's hash is in the canonical request even when its header is not.
            name.starts_with("x-amz-") && *name != "x-amz-content-sha256" && !signed.contains(name)
        });
        match own {
            Some(name) => {
                let message = format!("'{name}' must be a 'SignedHeader' in the AWS request.");
                Err(Error::Scope(message))
            }
            None => Ok(()),
        }
    }

    fn check_time(&self, now: i64) -> Result<(), Error> {
        let signed = self.signed_at;
        if signed > now + SKEW_SECONDS {
            return Err(Error::NotYet { signed, now });
        }
        if now > self.expires_at.unwrap_or(signed + SKEW_SECONDS) {
            return Err(Error::Expired { signed, now });
        }
        Ok(())
    }
}

fn payload(declared: Option<&str>, body: Body<'_>, s3: bool) -> Result<Payload, Error> {
    if s3 && let Some(declared) = declared {
        let chunked = declared
            .strip_suffix("-TRAILER")
            .map_or((declared, false), |declared| (declared, true));
        match chunked {
            ("UNSIGNED-PAYLOAD", false) => return Ok(Payload::Unsigned),
            ("STREAMING-UNSIGNED-PAYLOAD", true) => {
                return Ok(Payload::Chunked { signed: false, trailer: true });
            }
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", trailer) => {
                return Ok(Payload::Chunked { signed: true, trailer });
            }
            _ => {}
        }
    }
    let body = match (declared, body) {
        (Some("UNSIGNED-PAYLOAD"), Body::Optional(_)) => return Ok(Payload::Unsigned),
        (_, Body::Optional(body)) => Body::Whole(body),
        (_, body) => body,
    };
    match (declared, body) {
        (_, Body::Optional(_)) => unreachable!("it is whole by now"),
        (None, Body::Whole(body)) => Ok(Payload::Sha256(sha256_hex(body))),
        (Some(declared), Body::Whole(body)) => {
            let hash = sha256_hex(body);
            if hash.eq_ignore_ascii_case(declared) {
                // The signature covers the declared text as it was written.
                return Ok(Payload::Sha256(declared.to_owned()));
            }
            Err(Error::Mismatch)
        }
        (Some(declared), Body::Streamed) if unhex(declared).is_some_and(|h| h.len() == 32) => {
            Ok(Payload::Sha256(declared.to_owned()))
        }
        (_, Body::Streamed) => {
            Err(Error::Incomplete("Missing required header: x-amz-content-sha256".into()))
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| Some((params::hex(pair[0])? << 4) | params::hex(pair[1])?)).collect()
}

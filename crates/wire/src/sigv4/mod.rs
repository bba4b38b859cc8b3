//! AWS Signature Version 4 (AWS4-HMAC-SHA256): verifying requests signed in headers or in the query, and
//! signing our own. Pure: time and secrets are arguments.
//!
//! ```text
//!  canonical request = method, path, query, signed headers, their names, payload hash
//!  string to sign    = algorithm, date, scope, SHA-256(canonical request)
//!  signature         = HMAC(HMAC(HMAC(HMAC(HMAC("AWS4" secret, day), region), service), "aws4_request"), …)
//! ```
//!
//! After "Create a signed AWS API request" (IAM User Guide) and "Authenticating Requests" (S3 API
//! Reference).

mod canonical;
mod sign;
mod verify;

pub use sign::{Credentials, sign};
pub use verify::{Body, Payload, Verified, is_signed, verify};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::{Protocol, time};

pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far a request's time may be from ours.
pub const SKEW_SECONDS: i64 = 15 * 60;

/// Why a request is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is not signed at all.
    Missing,
    /// It cannot be read as a signed request.
    Incomplete(String),
    UnknownKey,
    Mismatch,
    /// Its time is too far from ours, or it is presigned and over. All in seconds since the epoch.
    Expired {
        signed: i64,
        now: i64,
    },
    NotYet {
        signed: i64,
        now: i64,
    },
    /// Well signed, with temporary credentials that are over.
    ExpiredToken,
    /// Well signed, but for something else, or not over all that it must cover.
    Scope(String),
}

impl Error {
    /// The error AWS answers in the protocol.
    pub fn to_wire(&self, protocol: Protocol) -> crate::Error {
        use Protocol::{Ec2, Query, RestJson};
        let (status, code) = match (self, protocol) {
            (Error::Missing, Ec2 | Query) => (403, "MissingAuthenticationToken"),
            (Error::Missing, _) => (400, "MissingAuthenticationTokenException"),
            (Error::Incomplete(_), Ec2 | Query) => (400, "IncompleteSignature"),
            (Error::Incomplete(_), _) => (400, "IncompleteSignatureException"),
            (Error::UnknownKey | Error::Mismatch, Ec2) => (401, "AuthFailure"),
            (Error::UnknownKey, Query) => (403, "InvalidClientTokenId"),
            (Error::UnknownKey, _) => (400, "UnrecognizedClientException"),
            (Error::Expired { .. } | Error::NotYet { .. } | Error::ExpiredToken, Ec2) => {
                (400, "RequestExpired")
            }
            (Error::ExpiredToken, Query) => (403, "ExpiredToken"),
            (Error::ExpiredToken, _) => (400, "ExpiredTokenException"),
            (_, Ec2 | Query) => (403, "SignatureDoesNotMatch"),
            _ => (400, "InvalidSignatureException"),
        };
        let status = if protocol == RestJson { 403 } else { status };
        crate::Error::new(status, code, self.message(protocol))
    }

    fn message(&self, protocol: Protocol) -> String {
        match self {
            Error::Missing => "Request is missing Authentication Token".into(),
            Error::Incomplete(what) | Error::Scope(what) => what.clone(),
            Error::UnknownKey | Error::Mismatch if protocol == Protocol::Ec2 => {
                "AWS was not able to validate the provided access credentials".into()
            }
            Error::UnknownKey => "The security token included in the request is invalid.".into(),
            Error::Mismatch => {
                "The request signature we calculated does not match the signature you \
                                provided. Check your AWS Secret Access Key and signing method. \
                                Consult the service documentation for details."
                    .into()
            }
            Error::Expired { .. } | Error::ExpiredToken if protocol == Protocol::Ec2 => {
                "Request has expired.".into()
            }
            Error::ExpiredToken => "The security token included in the request is expired".into(),
            Error::Expired { signed, now } => format!(
                "Signature expired: {} is now earlier than {} ({} - 15 min.)",
                time::basic(*signed),
                time::basic(now - SKEW_SECONDS),
                time::basic(*now)
            ),
            Error::NotYet { signed, now } => format!(
                "Signature not yet current: {} is still later than {} ({} + 15 min.)",
                time::basic(*signed),
                time::basic(now + SKEW_SECONDS),
                time::basic(*now)
            ),
        }
    }
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    digits.map(|digit| DIGITS[usize::from(digit)] as char).collect()
}

/// `20150830/us-east-1/iam/aws4_request`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    day: String,
    region: String,
    service: String,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.day, self.region, self.service)
    }
}

/// A MAC with the string to sign in it: finish it to sign, compare it to verify.
fn mac(secret: &str, date: &str, scope: &Scope, canonical_request: &str) -> Hmac<Sha256> {
    let step = |key: &[u8], data: &str| hmac(key, data).finalize().into_bytes();
    let key = step(format!("AWS4{secret}").as_bytes(), &scope.day);
    let key = step(&key, &scope.region);
    let key = step(&key, &scope.service);
    let key = step(&key, "aws4_request");
    let hash = sha256_hex(canonical_request.as_bytes());
    hmac(&key, &format!("{ALGORITHM}\n{date}\n{scope}\n{hash}"))
}

fn hmac(key: &[u8], data: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data.as_bytes());
    mac
}

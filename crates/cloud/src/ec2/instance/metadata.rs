//! The instance metadata service (IMDS) without its sockets: a request from an address of a network in,
//! the response out. Whoever serves 169.254.169.254 in a network calls `Service::answer`.
//!
//! ```text
//!  PUT /latest/api/token            ──► token (version 2), for this instance, for this long
//!  GET /VERSION/meta-data/PATH      ──► a value, or the names below PATH, one a line
//!  GET /VERSION/dynamic/PATH
//!  GET /VERSION/user-data
//! ```
//!
//! A token is its end and an HMAC of that and the instance's id: nothing is kept, and no instance can
//! use another's. Source: EC2 User Guide, "Use the Instance Metadata Service".

pub mod content;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use sha2::Sha256;
use store::Snapshot;

use super::model::Instance;
use crate::clock::Timestamp;
use crate::ec2::network_interface::NetworkInterface;
use crate::env::Env;
use crate::{Clock, Context};

const TOKEN_PATH: &str = "/latest/api/token";
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const MAX_TTL_SECONDS: u64 = 21_600;

/// In a token response's extensions: the IP time-to-live to send it with (`HttpPutResponseHopLimit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopLimit(pub u8);

pub struct Service {
    env: Env,
    key: [u8; 32],
}

impl Service {
    /// Tokens made with `key` stay good as long as the key is the same.
    pub fn new(env: Env, key: [u8; 32]) -> Service {
        Service { env, key }
    }

    /// To whoever asks from `source` in the network `vpc_id`.
    pub fn answer(
        &self,
        vpc_id: &str,
        source: Ipv4Addr,
        request: &Request<()>,
    ) -> Response<Vec<u8>> {
        let snapshot = self.env.store.read();
        let Some(instance) = asking(&snapshot, vpc_id, source) else {
            return refusal(StatusCode::NOT_FOUND);
        };
        if !instance.metadata.endpoint_enabled {
            return refusal(StatusCode::FORBIDDEN);
        }
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let path = request.uri().path();
        if path == TOKEN_PATH {
            return match *request.method() {
                Method::PUT => self.token(&instance, request.headers()),
                _ => refusal(StatusCode::METHOD_NOT_ALLOWED),
            };
        }
        if !is_read {
            return refusal(StatusCode::METHOD_NOT_ALLOWED);
        }
        match request.headers().get(TOKEN) {
            Some(token) if !self.is_good(&instance, token) => {
                return refusal(StatusCode::UNAUTHORIZED);
            }
            None if instance.metadata.tokens_required => return refusal(StatusCode::UNAUTHORIZED),
            _ => {}
        }
        let cx =
            Context::service(&self.env, &instance.account, &instance.region, "ec2.amazonaws.com");
        match content::content(&snapshot, &cx, &instance, path) {
            Some(body) => plain(if request.method() == Method::HEAD { vec![] } else { body }),
            None => refusal(StatusCode::NOT_FOUND),
        }
    }

    fn token(&self, instance: &Instance, headers: &HeaderMap) -> Response<Vec<u8>> {
        // A proxy that forwards what it should not adds this.
        if headers.contains_key(FORWARDED_FOR) {
            return refusal(StatusCode::FORBIDDEN);
        }
        let ttl = headers.get(TOKEN_TTL).and_then(|value| value.to_str().ok()?.parse().ok());
        let Some(ttl) = ttl.filter(|ttl| (1..=MAX_TTL_SECONDS).contains(ttl)) else {
            return refusal(StatusCode::BAD_REQUEST);
        };
        let clock = &self.env.clock;
        let end = clock.now().plus(guest_time(clock, Duration::from_secs(ttl)));
        let mut bytes = end.0.to_be_bytes().to_vec();
        bytes.extend(self.mac(instance, end).finalize().into_bytes());
        let mut response = plain(URL_SAFE.encode(bytes).into_bytes());
        response.headers_mut().insert(TOKEN_TTL, HeaderValue::from(ttl));
        response.extensions_mut().insert(HopLimit(instance.metadata.hop_limit));
        response
    }

    fn is_good(&self, instance: &Instance, token: &HeaderValue) -> bool {
        let Ok(bytes) = URL_SAFE.decode(token.as_bytes()) else { return false };
        let Some((end, mac)) = bytes.split_first_chunk() else { return false };
        let end = Timestamp(i64::from_be_bytes(*end));
        self.mac(instance, end).verify_slice(mac).is_ok() && self.env.clock.now() < end
    }

    fn mac(&self, instance: &Instance, end: Timestamp) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any key length will do");
        mac.update(&end.0.to_be_bytes());
        mac.update(instance.id.as_bytes());
        mac
    }
}

/// Whose interface has the address.
fn asking(snapshot: &Snapshot, vpc_id: &str, source: Ipv4Addr) -> Option<Arc<Instance>> {
    let interface = snapshot
        .scan::<NetworkInterface>("")
        .find(|i| i.vpc_id == vpc_id && i.addresses.contains(&source))?;
    let NetworkInterface { account, region, attachment, .. } = &*interface;
    snapshot.get(&format!("{account}/{region}/{}", attachment.as_ref()?.instance_id))
}

/// The cloud's time may be scaled; what a guest counts runs by the host's.
fn guest_time(clock: &Clock, time: Duration) -> Duration {
    let host = clock.to_host(time);
    time.mul_f64(time.as_secs_f64() / host.as_secs_f64())
}

fn plain(body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("EC2ws"));
    response
}

fn refusal(status: StatusCode) -> Response<Vec<u8>> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut response = plain(format!("{} - {reason}\n", status.as_u16()).into_bytes());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;

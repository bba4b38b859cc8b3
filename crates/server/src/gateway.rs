//! The front door: AWS requests come in, go through one list of steps, and are answered.
//!
//! ```text
//!  connection ─ peek ─► tunnel (load balancers' names)
//!       │
//!       ▼
//!  guard ─► admin (/_drover) ─► s3 (its own protocol, by s3s)
//!       │
//!       ▼
//!  read body ─► route ─► verify ─► authorize ─► decode, handle, encode (services::serve)
//! ```

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloud::iam::{self, Caller, Inside, Refusal, Source, Who};
use cloud::{Context, Env, services};
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use wire::Protocol;
use wire::route::{Refused, Routed};
use wire::sigv4::{Body, Verified};

use crate::credentials::RootKey;
use crate::{admin, guard, tunnel};

pub type Content = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
pub type Answer = http::Response<Content>;

/// Of everything but S3: AWS's own limits are below it (DynamoDB batches 16 MiB).
const MAX_BODY: usize = 20 << 20;
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where a connection came in.
#[derive(Clone, PartialEq)]
pub enum Door {
    /// The gateway's own address.
    Host,
    /// The endpoint inside a VPC, and the services there under AWS's names.
    Network(Arc<Inside>),
}

/// Who is at the other end of a connection.
struct Peer {
    address: SocketAddr,
    door: Door,
    secure: bool,
}

impl Peer {
    /// What a call to a service, by its signing name, comes from.
    fn source(&self, env: &Env, service: &str) -> Source {
        let (ip, secure) = (self.address.ip(), self.secure);
        match &self.door {
            Door::Host => Source { ip: Some(ip), secure, endpoint: None },
            Door::Network(inside) => inside.source(env, ip, service, secure),
        }
    }
}

pub struct Gateway {
    pub env: Env,
    pub root: RootKey,
    pub listen: SocketAddr,
    /// Where imported machine images are unpacked.
    pub images: PathBuf,
    s3: s3s::service::S3Service,
    /// By service, then operation.
    table: HashMap<&'static str, HashMap<&'static str, services::Entry>>,
}

impl Gateway {
    pub fn new(env: Env, root: RootKey, listen: SocketAddr, images: PathBuf) -> Gateway {
        let mut table: HashMap<_, HashMap<_, _>> = HashMap::new();
        for entry in services::table() {
            table.entry(entry.service).or_default().insert(entry.operation, entry);
        }
        let key = root.clone();
        let s3 = cloud::s3::service(&env, move |access_key| {
            (access_key == key.access_key_id).then(|| key.secret_access_key.clone())
        });
        Gateway { env, root, listen, images, s3, table }
    }

    /// Accepts connections until dropped; with `tls`, encrypted ones.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        door: Door,
        tls: Option<TlsAcceptor>,
    ) {
        loop {
            let Ok((stream, address)) = listener.accept().await else {
                // Out of descriptors, most likely: let connections end first.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let gateway = Arc::clone(&self);
            let peer = Peer { address, door: door.clone(), secure: tls.is_some() };
            match tls.clone() {
                None => tokio::spawn(gateway.connection(stream, peer)),
                Some(tls) => tokio::spawn(gateway.encrypted(stream, peer, tls)),
            };
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: Peer) {
        let _ = stream.set_nodelay(true);
        if peer.door == Door::Host
            && let Some(name) = tunnel::peek(&stream).await
        {
            return tunnel::carry(&self.env, &name, stream).await;
        }
        self.exchange(stream, peer).await;
    }

    async fn encrypted(self: Arc<Self>, stream: TcpStream, peer: Peer, tls: TlsAcceptor) {
        let _ = stream.set_nodelay(true);
        // Whoever does not trust the certificate, or falls silent, is let go.
        if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
            self.exchange(stream, peer).await;
        }
    }

    async fn exchange(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
    ) {
        let peer = Arc::new(peer);
        let service = service_fn(move |request| {
            let (gateway, peer) = (Arc::clone(&self), Arc::clone(&peer));
            async move { Ok::<_, Infallible>(gateway.answer(request, &peer).await) }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    }

    async fn answer(&self, request: http::Request<Incoming>, peer: &Peer) -> Answer {
        let (listen, in_network) = match peer.door {
            Door::Host => (self.listen, false),
            Door::Network(_) => (crate::networks::ENDPOINT.into(), true),
        };
        if let Err(refusal) = guard::check(request.headers(), listen, in_network) {
            return text(http::StatusCode::FORBIDDEN, refusal.message());
        }
        if request.uri().path().starts_with("/_drover/") {
            if in_network || !peer.address.ip().is_loopback() {
                return text(http::StatusCode::FORBIDDEN, "Only from this host.");
            }
            return admin::answer(self, request).await;
        }
        if is_for_s3(&request) {
            return self.s3(request, peer).await;
        }
        self.aws(request, peer).await
    }

    async fn s3(&self, mut request: http::Request<Incoming>, peer: &Peer) -> Answer {
        request.extensions_mut().insert(peer.source(&self.env, "s3"));
        match self.s3.call(request.map(s3s::Body::from)).await {
            Ok(answer) => answer.map(|body| body.map_err(Into::into).boxed()),
            Err(error) => {
                tracing::warn!("s3: {error:?}");
                text(http::StatusCode::INTERNAL_SERVER_ERROR, "The object store failed.")
            }
        }
    }

    async fn aws(&self, request: http::Request<Incoming>, peer: &Peer) -> Answer {
        let (parts, body) = request.into_parts();
        let request_id = cloud::id::uuid(&self.env.rng);
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => {
                return text(http::StatusCode::PAYLOAD_TOO_LARGE, "The request is too large.");
            }
        };
        let routed = wire::route::route(&parts.method, &parts.uri, &parts.headers, &body);
        let (service, operation, protocol) = match routed {
            Ok(Routed::Operation { service, operation, protocol }) => {
                (service, operation, protocol)
            }
            Ok(Routed::Other { signing_name }) => {
                let service = signing_name.unwrap_or_else(|| "this kind of".to_owned());
                let message =
                    format!("Requests for {service} service are not served by this cloud.");
                let error = wire::Error::new(400, "UnknownOperationException", message);
                return respond(wire::encode_error(None, Protocol::Json11, &error, &request_id));
            }
            Err(refused) => {
                let Refused { service, protocol, error } = refused;
                return respond(wire::encode_error(service, protocol, &error, &request_id));
            }
        };
        let refuse = |error: &wire::Error| {
            respond(wire::encode_error(Some(service), protocol, error, &request_id))
        };
        let payload = match service.route(&operation) {
            Some(route) if route.may_be_unsigned => Body::Optional(&body),
            _ => Body::Whole(&body),
        };
        let verified = wire::sigv4::verify(
            &parts.method,
            &parts.uri,
            &parts.headers,
            payload,
            Some(service.signing_name),
            host_seconds(),
            |access_key| {
                self.root_secret(access_key).or_else(|| iam::secret(&self.env, access_key))
            },
        );
        let caller = match verified {
            Ok(verified) => self.caller(&verified).map(|caller| (verified.region, caller)),
            // Policies of queues may let in whoever comes.
            Err(wire::sigv4::Error::Missing) if service.name == "sqs" => {
                let region = guard::region(&parts.headers);
                let region = region.unwrap_or_else(|| self.env.config.default_region.clone());
                Ok((region, Caller { who: Who::Anonymous, ..Caller::default() }))
            }
            Err(error) => Err(error),
        };
        let (region, caller) = match caller {
            Ok(found) => found,
            Err(error) => return refuse(&error.to_wire(protocol)),
        };
        let text = |name| {
            let value = parts.headers.get(name);
            value.map(|value: &http::HeaderValue| {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            })
        };
        let caller = Caller {
            source: peer.source(&self.env, service.signing_name),
            user_agent: text(http::header::USER_AGENT),
            host: text(http::header::HOST),
            ..caller
        };
        iam::note_use(&self.env, &caller, service.signing_name, &region).await;
        let operations = self.table.get(service.name);
        let Some(entry) = operations.and_then(|table| table.get(operation.as_str())) else {
            return refuse(&wire::route::not_served(protocol, &operation));
        };
        let account = self.env.config.account.clone();
        let context = Context {
            env: self.env.clone(),
            region,
            caller: caller.arn(&self.env.store.read(), &account),
            account,
            from: Arc::new(caller),
            request_id: request_id.clone(),
            now: self.env.clock.now(),
        };
        let request = wire::Request {
            service: service.name,
            operation,
            protocol,
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
        };
        match (entry.call)(context, Arc::new(request)).await {
            Ok(answer) => respond(answer),
            Err(error) => refuse(&error),
        }
    }
}

impl Gateway {
    fn root_secret(&self, access_key: &str) -> Option<String> {
        let is_root = access_key == self.root.access_key_id;
        is_root.then(|| self.root.secret_access_key.clone())
    }

    /// Whose signature it was.
    fn caller(&self, verified: &Verified) -> Result<Caller, wire::sigv4::Error> {
        let Verified { access_key, session_token, .. } = verified;
        if *access_key == self.root.access_key_id {
            return Ok(Caller { access_key: Some(access_key.clone()), ..Caller::default() });
        }
        iam::of_key(&self.env, access_key, session_token.as_deref()).map_err(|error| match error {
            Refusal::Expired => wire::sigv4::Error::ExpiredToken,
            Refusal::Unknown => wire::sigv4::Error::UnknownKey,
        })
    }
}

/// Signed for S3, or sent to S3's name, or to none and nothing that any other service could be asked
/// with.
fn is_for_s3(request: &http::Request<Incoming>) -> bool {
    let (uri, headers) = (request.uri(), request.headers());
    match wire::route::signing_name(uri, headers) {
        Some(name) => name == "s3",
        None => {
            let form = headers
                .get(http::header::CONTENT_TYPE)
                .is_some_and(|ty| ty.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
            let action = uri.query().is_some_and(|query| query.contains("Action="));
            let other = guard::service(headers).is_some_and(|service| service.name != "s3");
            let named = ["x-amz-target", "smithy-protocol"].map(|name| headers.contains_key(name));
            !form && !action && !other && named == [false; 2]
        }
    }
}

/// Signatures are made with the clients' clocks, which know nothing of a scaled cloud.
#[allow(clippy::disallowed_methods)]
fn host_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |elapsed| elapsed.as_secs() as i64)
}

fn respond(response: wire::Response) -> Answer {
    let mut answer = http::Response::new(full(response.body));
    *answer.status_mut() = response.status;
    *answer.headers_mut() = response.headers;
    answer
}

pub fn full(bytes: impl Into<Bytes>) -> Content {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

pub fn text(status: http::StatusCode, text: &str) -> Answer {
    let mut answer = http::Response::new(full(format!("{text}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
    answer
}

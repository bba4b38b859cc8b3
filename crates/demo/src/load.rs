//! The load: many users, each with a session and a picture, each checking on every request that both
//! are still right. Behaves as browsers do: resolves the tier's name again and again, keeps connections
//! alive, tries the next address when one does not answer, and repeats an idempotent request once when
//! a kept-alive connection turns out to be closed (RFC 9110, section 9.2.2). Repeats are counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::aws::Client;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const PICTURE_BYTES: usize = 20_000;

/// What was seen over a stretch of time.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub repeated: u64,
    pub sessions_lost: u64,
    pub pictures_lost: u64,
    /// By reason.
    pub failed: BTreeMap<String, u64>,
    /// Milliseconds since the load began, of each failure.
    pub failed_at: Vec<u64>,
    latencies_us: Vec<u32>,
    /// Requests answered, by instance and by release of the application.
    pub by_instance: BTreeMap<String, u64>,
    pub by_zone: BTreeMap<String, u64>,
    pub by_release: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Tally {
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    pub fn latency(&self) -> Latency {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        let at = |share: f64| {
            let index =
                ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
            sorted.get(index).map_or(0.0, |us| f64::from(*us) / 1000.0)
        };
        Latency { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: at(1.0) }
    }

    pub fn add(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.repeated += other.repeated;
        self.sessions_lost += other.sessions_lost;
        self.pictures_lost += other.pictures_lost;
        self.failed_at.extend(&other.failed_at);
        self.latencies_us.extend(&other.latencies_us);
        for (from, to) in [
            (&other.failed, &mut self.failed),
            (&other.by_instance, &mut self.by_instance),
            (&other.by_zone, &mut self.by_zone),
            (&other.by_release, &mut self.by_release),
        ] {
            for (name, count) in from {
                *to.entry(name.clone()).or_default() += count;
            }
        }
    }
}

struct Shared {
    began: Instant,
    /// Requests a second, of all users together.
    rate: AtomicU32,
    users: usize,
    tally: Mutex<Tally>,
    addresses: Mutex<Vec<SocketAddr>>,
    turn: AtomicUsize,
    host: String,
}

pub struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Users log in and go on until dropped. `name` is the load balancer's DNS name, resolved by
    /// `resolver`, whose endpoint plays the part of the DNS.
    pub async fn start(resolver: Client, name: String, users: usize, rate: u32) -> Result<Load> {
        let addresses = resolve(&resolver, &name).await?;
        let shared = Arc::new(Shared {
            began: Instant::now(),
            rate: AtomicU32::new(rate),
            users,
            tally: Mutex::default(),
            addresses: Mutex::new(addresses),
            turn: AtomicUsize::new(0),
            host: name.clone(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..users {
            tasks.spawn(User::new(Arc::clone(&shared), number).live());
        }
        let dns = Arc::clone(&shared);
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(250)).await;
                if let Ok(addresses) = resolve(&resolver, &name).await
                    && !addresses.is_empty()
                {
                    *dns.addresses.lock().expect("no panics under the lock") = addresses;
                }
            }
        });
        Ok(Load { shared, tasks })
    }

    pub fn set_rate(&self, rate: u32) {
        self.shared.rate.store(rate, Ordering::Relaxed);
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Tally {
        std::mem::take(&mut self.shared.tally.lock().expect("no panics under the lock"))
    }

    pub fn peek<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(&self.shared.tally.lock().expect("no panics under the lock"))
    }

    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn resolve(resolver: &Client, name: &str) -> Result<Vec<SocketAddr>> {
    let answer = resolver.admin("GET", &format!("/_drover/resolve/{name}"), None).await?;
    Ok(serde_json::from_value(answer["addresses"].clone())?)
}

struct User {
    shared: Arc<Shared>,
    number: usize,
    connection: Option<SendRequest<Full<Bytes>>>,
    session: Option<String>,
    /// Contents the stored picture may have: one, or two after a store whose fate is unknown.
    pictures: Vec<Bytes>,
    step: u64,
}

struct Reply {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl User {
    fn new(shared: Arc<Shared>, number: usize) -> User {
        User { shared, number, connection: None, session: None, pictures: Vec::new(), step: 0 }
    }

    fn name(&self) -> String {
        format!("user-{}", self.number)
    }

    async fn live(mut self) {
        // Spread the users over their interval.
        tokio::time::sleep(self.pause().mul_f64(self.number as f64 / self.shared.users as f64))
            .await;
        let mut next = tokio::time::Instant::now();
        loop {
            self.act().await;
            self.step += 1;
            next += self.pause();
            let now = tokio::time::Instant::now();
            // Late users do not catch up: that would be a burst no user makes.
            next = next.max(now);
            tokio::time::sleep_until(next).await;
        }
    }

    fn pause(&self) -> Duration {
        let rate = f64::from(self.shared.rate.load(Ordering::Relaxed).max(1));
        Duration::from_secs_f64(self.shared.users as f64 / rate)
    }

    async fn act(&mut self) {
        if self.session.is_none() {
            return self.login().await;
        }
        match self.step % 8 {
            1 => self.store().await,
            3 | 6 if !self.pictures.is_empty() => self.look().await,
            _ => self.me().await,
        }
    }

    async fn login(&mut self) {
        let path = format!("/login/{}", self.name());
        let Some(reply) = self.ask(Method::POST, &path, Bytes::new()).await else { return };
        let cookie = reply.headers.get("set-cookie").and_then(|value| value.to_str().ok());
        self.session = cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
        if self.session.is_none() {
            self.fail("login without a session");
        }
    }

    async fn me(&mut self) {
        let Some(reply) = self.ask(Method::GET, "/me", Bytes::new()).await else { return };
        let me: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if me["user"] != self.name().as_str() {
            self.tally(|tally| tally.sessions_lost += 1);
        }
        self.tally(|tally| {
            for (name, counts) in [
                ("instance", &mut tally.by_instance),
                ("zone", &mut tally.by_zone),
                ("release", &mut tally.by_release),
            ] {
                *counts.entry(me[name].as_str().unwrap_or("?").to_owned()).or_default() += 1;
            }
        });
    }

    async fn store(&mut self) {
        let picture = picture(self.number, self.step);
        self.pictures.push(picture.clone());
        if self.ask(Method::PUT, "/picture/me", picture.clone()).await.is_some() {
            self.pictures = vec![picture];
        }
    }

    async fn look(&mut self) {
        let Some(reply) = self.ask(Method::GET, "/picture/me", Bytes::new()).await else { return };
        if !self.pictures.contains(&reply.body) {
            self.tally(|tally| tally.pictures_lost += 1);
        }
    }

    /// The answer, if it was a success; counted either way.
    async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Option<Reply> {
        let began = Instant::now();
        let result =
            tokio::time::timeout(REQUEST_TIMEOUT, self.exchange(&method, path, body)).await;
        let took = began.elapsed().as_micros() as u32;
        self.tally(|tally| {
            tally.requests += 1;
            tally.latencies_us.push(took);
        });
        match result {
            Err(_) => {
                self.connection = None;
                self.fail(&format!("no answer in 10 s to {method} {path}"));
            }
            Ok(Err(reason)) => self.fail(&reason),
            Ok(Ok(reply)) if reply.status.is_success() => return Some(reply),
            Ok(Ok(reply)) if reply.status == StatusCode::UNAUTHORIZED => {
                self.session = None;
                self.tally(|tally| tally.sessions_lost += 1);
                self.fail("401: the session is gone");
            }
            Ok(Ok(reply))
                if reply.status == StatusCode::NOT_FOUND && path.starts_with("/picture") =>
            {
                self.tally(|tally| tally.pictures_lost += 1);
                self.fail("404: the picture is gone");
            }
            Ok(Ok(reply)) => {
                let server = reply.headers.get("server").and_then(|value| value.to_str().ok());
                let by = if server.is_some_and(|s| s.starts_with("awselb")) {
                    "balancer"
                } else {
                    "application"
                };
                let status = reply.status.as_u16();
                self.fail(&format!("{status} from the {by} to {method} {path}"));
            }
        }
        None
    }

    async fn exchange(
        &mut self,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<Reply, String> {
        for attempt in 0.. {
            let (mut connection, reused) = match self.connection.take() {
                Some(connection) if connection.is_ready() => (connection, true),
                _ => (self.connect().await?, false),
            };
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", &self.shared.host)
                .header("content-length", body.len());
            if let Some(session) = &self.session {
                request = request.header("cookie", session);
            }
            let request =
                request.body(Full::new(body.clone())).map_err(|error| error.to_string())?;
            match connection.send_request(request).await {
                Ok(answer) => {
                    let (parts, body) = answer.into_parts();
                    let body =
                        body.collect().await.map_err(|_| "the answer broke off".to_owned())?;
                    self.connection = Some(connection);
                    let body = body.to_bytes();
                    return Ok(Reply { status: parts.status, headers: parts.headers, body });
                }
                Err(error) => {
                    // No byte of an answer was seen.
                    let again = reused && (method != Method::POST || error.is_canceled());
                    if !again || attempt > 0 {
                        return Err("connection closed before the answer".into());
                    }
                    self.tally(|tally| tally.repeated += 1);
                }
            }
        }
        unreachable!("every attempt returns or goes on")
    }

    /// To any node that answers.
    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let addresses = self.shared.addresses.lock().expect("no panics under the lock").clone();
        let turn = self.shared.turn.fetch_add(1, Ordering::Relaxed);
        for at in 0..addresses.len() {
            let address = addresses[(turn + at) % addresses.len()];
            let connect = TcpStream::connect(address);
            if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
                let _ = stream.set_nodelay(true);
                if let Ok((sender, connection)) = handshake(TokioIo::new(stream)).await {
                    tokio::spawn(connection);
                    return Ok(sender);
                }
            }
        }
        Err("no balancer node accepts a connection".into())
    }

    fn fail(&self, reason: &str) {
        let at = self.shared.began.elapsed().as_millis() as u64;
        self.tally(|tally| {
            *tally.failed.entry(reason.to_owned()).or_default() += 1;
            tally.failed_at.push(at);
        });
    }

    fn tally(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.shared.tally.lock().expect("no panics under the lock"));
    }
}

/// A picture nobody else has.
fn picture(user: usize, step: u64) -> Bytes {
    let mut state = (user as u64) << 32 | step;
    let mut bytes = Vec::with_capacity(PICTURE_BYTES + 8);
    while bytes.len() < PICTURE_BYTES {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.into()
}

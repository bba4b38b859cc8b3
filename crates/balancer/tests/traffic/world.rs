//! A balancer in this process, origins behind it, and a client that sees every byte.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use balancer::HostNetwork;
use balancer::framing::{Decoder, Length};
use balancer::plane::Plane;
use balancer::snapshot::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct World {
    pub plane: Plane,
    pub snapshot: Snapshot,
    pub address: SocketAddrV4,
}

impl World {
    /// One listener that forwards to one group of those addresses.
    pub async fn start(targets: &[SocketAddrV4]) -> World {
        World::with(targets, |_| {}).await
    }

    pub async fn with(targets: &[SocketAddrV4], change: impl FnOnce(&mut Snapshot)) -> World {
        let address = free_address();
        let mut snapshot = Snapshot {
            version: 1,
            listeners: vec![listener(address)],
            target_groups: [("g".to_string(), group(targets))].into(),
        };
        change(&mut snapshot);
        let mut plane = Plane::start(2, Arc::new(HostNetwork)).unwrap();
        plane.apply(&snapshot).await;
        assert_eq!(plane.report().bind_errors, []);
        World { plane, snapshot, address }
    }

    pub async fn change(&mut self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.snapshot);
        self.snapshot.version += 1;
        self.plane.apply(&self.snapshot).await;
    }

    pub fn group(&mut self) -> &mut TargetGroup {
        self.snapshot.target_groups.get_mut("g").unwrap()
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub async fn get(&self, path: &str) -> Reply {
        self.connect().await.get(path).await
    }

    pub fn counters(&self) -> Counters {
        self.plane.report().counters["g"]
    }

    pub fn listener_counters(&self) -> ListenerCounters {
        self.plane.report().listener_counters["l"]
    }

    pub fn health(&self, target: &str) -> HealthState {
        self.plane.report().health["g"][target].state
    }

    pub fn in_flight(&self) -> u64 {
        self.plane.report().health["g"].values().map(|t| t.in_flight).sum()
    }
}

pub fn listener(address: SocketAddrV4) -> Listener {
    Listener {
        id: "l".into(),
        binds: vec![Bind { network: None, address }],
        rules: vec![Rule { id: "default".into(), conditions: vec![], action: forward("g") }],
        idle_timeout_ms: 60_000,
        client_keep_alive_ms: 3_600_000,
        forwarded_for: ForwardedFor::Append,
        forwarded_for_port: false,
        preserve_host_header: false,
        drop_invalid_header_fields: false,
        desync_mode: DesyncMode::Defensive,
        server_header: true,
        admits: vec![(std::net::Ipv4Addr::UNSPECIFIED, 0)],
    }
}

pub fn forward(group: &str) -> Action {
    Action::Forward { groups: vec![(group.into(), 1)], stickiness_seconds: None }
}

/// Targets are named by their place: `t0`, `t1`, ….
pub fn group(targets: &[SocketAddrV4]) -> TargetGroup {
    let target = |(i, &address): (usize, &SocketAddrV4)| Target {
        id: format!("t{i}"),
        address,
        draining: false,
        eligible: true,
    };
    TargetGroup {
        network: "net".into(),
        source: Ipv4Addr::LOCALHOST,
        algorithm: Algorithm::RoundRobin,
        targets: targets.iter().enumerate().map(target).collect(),
        health_check: None,
        stickiness_seconds: None,
        slow_start_ms: 0,
    }
}

/// Nobody listens there (any more).
pub fn free_address() -> SocketAddrV4 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    v4(listener.local_addr().unwrap())
}

/// Refuses connections for as long as the test process lives: bound, so that nobody else gets it, and
/// never listening.
pub fn refusing_address() -> SocketAddrV4 {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    v4(address)
}

pub fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => unreachable!("bound to IPv4"),
    }
}

/// Waits until it holds; fails after ten seconds.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it holds within 10 s");
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// Of a response.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

pub type Reply = Message;

/// Reads whole messages off a stream.
pub struct Reader {
    pub stream: TcpStream,
    pub buffer: Vec<u8>,
}

impl Reader {
    pub fn new(stream: TcpStream) -> Reader {
        Reader { stream, buffer: Vec::new() }
    }

    /// False at the end, which a reset is too.
    async fn more(&mut self) -> bool {
        matches!(self.read().await, Ok(1..))
    }

    async fn read(&mut self) -> std::io::Result<usize> {
        self.buffer.reserve(64 * 1024);
        self.stream.read_buf(&mut self.buffer).await
    }

    pub async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// `None` when the connection ended before the message.
    pub async fn message(&mut self, to_head: bool) -> Option<Message> {
        let head = self.head().await?;
        let mut message = Message { head, body: Vec::new() };
        let is_response = message.head.starts_with("HTTP/");
        let length = if to_head || (is_response && matches!(message.status(), 100..200 | 204 | 304))
        {
            Length::Empty
        } else if let Some(n) = message.header("content-length") {
            Length::Fixed(n.parse().unwrap())
        } else if message.header("transfer-encoding").is_some() {
            Length::Chunked
        } else if is_response {
            Length::UntilClose
        } else {
            Length::Empty
        };
        let mut decoder = Decoder::from(length);
        while !decoder.is_done() {
            let piece = decoder.next(&self.buffer).unwrap();
            message.body.extend_from_slice(&self.buffer[piece.data]);
            self.buffer.drain(..piece.used);
            if piece.used == 0 && !decoder.is_done() {
                match self.read().await {
                    Ok(1..) => {}
                    Ok(_) if length == Length::UntilClose => return Some(message),
                    _ => return None,
                }
            }
        }
        Some(message)
    }
}

pub struct Client(pub Reader);

impl Client {
    pub async fn connect(address: SocketAddrV4) -> Client {
        Client(Reader::new(TcpStream::connect(address).await.unwrap()))
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    pub async fn reply(&mut self) -> Reply {
        self.try_reply().await.expect("a whole reply")
    }

    pub async fn try_reply(&mut self) -> Option<Reply> {
        let reply = tokio::time::timeout(Duration::from_secs(20), self.0.message(false));
        reply.await.expect("a reply within 20 s")
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.get_with(path, "").await
    }

    pub async fn get_with(&mut self, path: &str, headers: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n")).await;
        self.reply().await
    }

    /// Whether the other side closed, with nothing more said.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read =
            tokio::time::timeout(Duration::from_secs(20), self.0.stream.read_to_end(&mut rest));
        // A reset is an end too.
        let _ = read.await.expect("an end within 20 s");
        self.0.buffer.is_empty() && rest.is_empty()
    }
}

/// A server on loopback that runs a function for every connection; gone when dropped.
pub struct Origin {
    pub address: SocketAddrV4,
    pub connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Origin {
    pub async fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(Reader) -> F + Send + Sync + 'static,
    ) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Origin::on(listener, serve)
    }

    pub fn on<F: Future<Output = ()> + Send + 'static>(
        listener: TcpListener,
        serve: impl Fn(Reader) -> F + Send + Sync + 'static,
    ) -> Origin {
        let address = v4(listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let task = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, SeqCst);
                serving.spawn(serve(Reader::new(stream)));
            }
        });
        Origin { address, connections, task }
    }

    /// Answers every request by a function of it, keeping connections alive.
    pub async fn http(answer: impl Fn(Message) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        let answer = Arc::new(answer);
        Origin::start(move |mut reader| {
            let answer = answer.clone();
            async move {
                while let Some(request) = reader.message(false).await {
                    if reader.stream.write_all(&answer(request)).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Takes connections and says nothing.
    pub async fn silent() -> Origin {
        Origin::start(Origin::silence).await
    }

    pub async fn silence(reader: Reader) {
        std::future::pending::<()>().await;
        drop(reader);
    }

    /// Answers with its name.
    pub async fn named(name: &'static str) -> Origin {
        Origin::http(move |_| ok(name)).await
    }

    /// Answers with the request's head and body as they came.
    pub async fn echo() -> Origin {
        Origin::http(|request| ok([request.head.as_bytes(), &request.body].concat())).await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

//! One request's way to a target and its response's way back: choose, connect, send, wait, relay.
//!
//! ```text
//!  choose ─► connect ─► send + wait ─► relay ─► both connections kept, or not
//!    ▲          │            │
//!    └──────────┴────────────┘  another target: when connecting failed; or for a request that may be
//!                               sent twice, whose kept connection had ended; never once the client
//!                               has seen a byte
//! ```

use std::future::poll_fn;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncWrite, ReadBuf};
use tokio::net::tcp::WriteHalf;

use crate::answer::Answer;
use crate::connection::{After, Client};
use crate::cookie;
use crate::counters::ListenerShard;
use crate::framing::{self, Decoder, Length, MAX_RESPONSE_HEAD, Version};
use crate::pump::{Failure, Pump};
use crate::request::{Forward, GROUP_COOKIE, Plan, TARGET_COOKIE};
use crate::response::{self, Response};
use crate::sys;
use crate::table::Listener;
use crate::target::InFlight;
use crate::timer::now_ms;
use crate::upstream::{self, DialError, Upstream};

const ATTEMPTS: usize = 4;
/// ALB's time to connect to a target. Spent on one target only when there is no other to try.
const CONNECT_MS: u64 = 10_000;
/// A lost SYN is sent again after a second; another target is a better bet.
const CONNECT_FIRST_MS: u64 = 1000;
/// How often a connection that should be answering is looked at.
const PROBE_MS: u64 = 1000;
/// So many retransmissions in a row (1.4 s on a local network) mean that nobody is there.
const RETRANSMITS: u8 = 3;

/// No target answered; the balancer does.
pub struct Failed {
    /// `None`: the client is gone.
    pub answer: Option<Answer>,
    pub body: Body,
}

/// How much of the request's body was read from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    Some,
    All,
}

enum Outcome {
    Response(Response, Vec<u8>),
    Event(Event),
}

/// What ends an exchange before its response is through.
#[derive(Debug)]
enum Event {
    /// The target's connection ended, or its link is dead.
    Lost {
        dead: bool,
    },
    NotHttp,
    Timeout,
    ClientGone,
    BadBody,
}

pub async fn run(
    client: &mut Client,
    listener: &Listener,
    shard: &ListenerShard,
    plan: &Plan,
    forward: &Forward,
    head: Vec<u8>,
) -> Result<After, Failed> {
    let worker = client.worker.clone();
    let group = &forward.group;
    let counters = group.counters.of(worker.index);
    let mut upload = Pump::new(head, Decoder::from(plan.length), plan.length == Length::Chunked);
    upload.take_whole(&mut client.input);
    let mut exchange = Exchange {
        client,
        listener,
        plan,
        forward,
        upload,
        uploading: Uploading::Before,
        client_spoke: false,
        sent_at: None,
        interim: false,
        progress: 0,
        progress_at: 0,
    };
    let began = now_ms();
    let mut tried = Vec::new();
    let mut fresh = forward.ambiguous;
    let mut status = 503;
    for attempt in 0..ATTEMPTS {
        let Some(target) = group.choose(forward.sticky_target, &tried, &worker.random) else {
            break;
        };
        if attempt == 0 {
            counters.requests.add(1);
        }
        let in_flight = InFlight::new(target.clone());
        let twice = forward.idempotent && exchange.upload.is_whole();
        let now = worker.timers.now();
        let kept = if fresh { None } else { worker.pool.take(&target, !twice, now) };
        let reused = kept.is_some();
        let mut upstream = match kept {
            Some(upstream) => upstream,
            None => {
                let left = CONNECT_MS.saturating_sub(now_ms() - began);
                let other = attempt + 1 < ATTEMPTS && group.has_other(&tried, &target);
                let time = if other { left.min(CONNECT_FIRST_MS) } else { left };
                let deadline = &exchange.client.deadline;
                deadline.set(time);
                match upstream::dial(&*worker.network, group, &target, deadline).await {
                    Ok(upstream) => upstream,
                    Err(error) => {
                        counters.connection_errors.add(1);
                        target.avoid();
                        tried.push(target.key);
                        status = match error {
                            DialError::Unreachable => 504,
                            DialError::Failed(error) => {
                                tracing::debug!(target = target.id, %error, "cannot connect");
                                502
                            }
                        };
                        continue;
                    }
                }
            }
        };
        exchange.upload.rewind();
        exchange.uploading = Uploading::Running;
        let event = match exchange.response(&mut upstream).await {
            Outcome::Response(response, out) => {
                let after = exchange.relay(upstream, response, out, shard).await;
                shard.received_bytes.add(exchange.upload.read);
                let out = std::mem::take(&mut exchange.upload.out);
                worker.put_vec(out);
                drop(in_flight);
                return Ok(after);
            }
            Outcome::Event(event) => event,
        };
        upstream.input.consume(upstream.input.bytes().len());
        upstream.input.release(&worker.buffers);
        match event {
            Event::Lost { dead } => {
                status = 502;
                if dead {
                    target.avoid();
                    tried.push(target.key);
                }
                if !(twice && (reused || dead) && !exchange.interim) {
                    break;
                }
                fresh = true;
            }
            Event::NotHttp => {
                status = 502;
                break;
            }
            Event::Timeout => {
                status = 504;
                break;
            }
            Event::BadBody => {
                status = 400;
                break;
            }
            Event::ClientGone => {
                shard.answered(460);
                return Err(Failed { answer: None, body: Body::Some });
            }
        }
    }
    shard.received_bytes.add(exchange.upload.read);
    let body = if exchange.interim {
        // A final answer may follow an interim one, on a connection that is then closed.
        Body::Some
    } else if exchange.upload.is_whole() || exchange.upload.is_finished() {
        Body::All
    } else if exchange.uploading == Uploading::Before {
        Body::None
    } else {
        Body::Some
    };
    Err(Failed { answer: Some(Answer::page(status)), body })
}

struct Exchange<'a> {
    client: &'a mut Client,
    listener: &'a Listener,
    plan: &'a Plan,
    forward: &'a Forward,
    upload: Pump,
    uploading: Uploading,
    /// The client has sent more than this request: its end cannot be seen.
    client_spoke: bool,
    sent_at: Option<Instant>,
    /// The client has seen an interim response.
    interim: bool,
    /// Bytes moved in all, and when that last changed, for the idle timeout.
    progress: u64,
    progress_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Uploading {
    Before,
    Running,
    Done,
    /// The target takes no more; it may have answered all the same.
    Refused,
}

impl Exchange<'_> {
    /// Sends the request and waits for the final response's head.
    async fn response(&mut self, upstream: &mut Upstream) -> Outcome {
        let (mut scanned, mut received) = (0, 0);
        self.arm();
        loop {
            let Exchange { client, .. } = &*self;
            let worker = client.worker.clone();
            let bytes = upstream.input.bytes();
            let head = match framing::head_end(bytes, scanned) {
                Ok(Some(n)) if n <= MAX_RESPONSE_HEAD => Some(n),
                Ok(None) if bytes.len() <= MAX_RESPONSE_HEAD => None,
                _ => return Outcome::Event(Event::NotHttp),
            };
            let Some(n) = head else {
                scanned = bytes.len();
                match poll_fn(|cx| self.poll_bytes(cx, upstream, &mut received)).await {
                    Ok(()) => continue,
                    Err(event) => return Outcome::Event(event),
                }
            };
            let date = worker.date();
            let cx = response::Context {
                to_head: self.plan.to_head,
                client: self.plan.version,
                keep_alive: self.plan.keep_alive,
                upgrade: self.forward.upgrade,
                server_header: self.listener.options.server_header,
                date: &date,
            };
            let mut out = worker.vec();
            let Ok(response) = response::read(&cx, &bytes[..n], &mut out) else {
                return Outcome::Event(Event::NotHttp);
            };
            upstream.input.consume(n);
            scanned = 0;
            if response.status >= 200 || response.status == 101 {
                return Outcome::Response(response, out);
            }
            if self.plan.version == Version::Http11 {
                out.extend_from_slice(b"\r\n");
                self.interim = true;
                self.client.deadline.set(self.listener.options.idle_timeout_ms);
                if self.client.write(&out).await.is_err() {
                    return Outcome::Event(Event::ClientGone);
                }
            }
            worker.put_vec(out);
            self.arm();
        }
    }

    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        received: &mut u64,
    ) -> Poll<Result<(), Event>> {
        let (mut from, mut to) = upstream.stream.split();
        if let Some(event) = self.poll_upload(cx, &mut to) {
            return Poll::Ready(Err(event));
        }
        match upstream.input.poll_read(cx, &mut from, &self.client.worker.buffers) {
            Poll::Ready(Ok(n)) if n > 0 => {
                *received += n as u64;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(_) => return Poll::Ready(Err(Event::Lost { dead: false })),
            Poll::Pending => {}
        }
        self.poll_time(cx, upstream, *received).map(Err)
    }

    /// Goes on with the request's body; then watches for the client to leave.
    fn poll_upload(&mut self, cx: &mut Context<'_>, to: &mut WriteHalf<'_>) -> Option<Event> {
        let Client { stream, input, worker, .. } = &mut *self.client;
        let (mut from, _) = stream.split();
        if self.uploading == Uploading::Running {
            match self.upload.poll(cx, &mut from, input, to, &worker.buffers) {
                Poll::Pending => return None,
                Poll::Ready(Ok(())) => {
                    self.uploading = Uploading::Done;
                    self.sent_at = Some(Instant::now());
                    input.release(&worker.buffers);
                }
                Poll::Ready(Err(Failure::Sink)) => self.uploading = Uploading::Refused,
                Poll::Ready(Err(Failure::Malformed)) => return Some(Event::BadBody),
                Poll::Ready(Err(Failure::Source)) => {
                    return Some(Event::ClientGone);
                }
            }
        }
        if self.uploading == Uploading::Done && !self.client_spoke {
            match from.poll_peek(cx, &mut ReadBuf::new(&mut [0])) {
                Poll::Pending => {}
                Poll::Ready(Ok(0) | Err(_)) => return Some(Event::ClientGone),
                Poll::Ready(Ok(_)) => self.client_spoke = true,
            }
        }
        None
    }

    fn arm(&mut self) {
        let client = &self.client;
        self.progress_at = client.worker.timers.now();
        client.deadline.set(PROBE_MS.min(self.listener.options.idle_timeout_ms));
    }

    /// Ends the wait when nothing has moved for the idle timeout, when the target's link is dead, or when
    /// the target was removed, as ALB closes what is left when a deregistration delay is over.
    fn poll_time(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &Upstream,
        received: u64,
    ) -> Poll<Event> {
        let progress = self.upload.read + self.upload.written + received;
        let now = self.client.worker.timers.now();
        if progress != self.progress {
            self.progress = progress;
            self.progress_at = now;
        }
        while self.client.deadline.poll(cx).is_ready() {
            let gone = upstream.target.gone.load(Relaxed);
            if gone || sys::retransmits(upstream.stream.as_fd()).is_ok_and(|n| n >= RETRANSMITS) {
                return Poll::Ready(Event::Lost { dead: true });
            }
            let idle = self.listener.options.idle_timeout_ms;
            let still = now.saturating_sub(self.progress_at);
            if still >= idle {
                return Poll::Ready(Event::Timeout);
            }
            self.client.deadline.set(PROBE_MS.min(idle - still));
        }
        Poll::Pending
    }

    /// Passes the response on; its head is in `out` but for the empty line.
    async fn relay(
        &mut self,
        mut upstream: Upstream,
        response: Response,
        mut out: Vec<u8>,
        shard: &ListenerShard,
    ) -> After {
        let worker = self.client.worker.clone();
        let group = &self.forward.group;
        upstream.target.hear(worker.timers.now());
        let time = self.sent_at.map_or(0, |sent| sent.elapsed().as_micros() as u64);
        group.counters.of(worker.index).answered(response.status, time);
        if let Some(seconds) = group.stickiness_seconds {
            let token = upstream.target.token();
            cookie::set(&mut out, TARGET_COOKIE, token, worker.unix_seconds(), seconds);
        }
        if let Some(seconds) = self.forward.group_stickiness {
            cookie::set(&mut out, GROUP_COOKIE, group.token, worker.unix_seconds(), seconds);
        }
        out.extend_from_slice(b"\r\n");
        if response.status == 101 {
            return self.tunnel(&mut upstream, out, shard).await;
        }
        let mut download = Pump::new(out, Decoder::from(response.length), response.chunked);
        self.arm();
        let failed = poll_fn(|cx| {
            let (mut from, mut to) = upstream.stream.split();
            if let Some(event) = self.poll_upload(cx, &mut to) {
                return Poll::Ready(Some(event));
            }
            let Client { stream, worker, .. } = &mut *self.client;
            let (_, mut to) = stream.split();
            match download.poll(cx, &mut from, &mut upstream.input, &mut to, &worker.buffers) {
                Poll::Ready(Ok(())) => return Poll::Ready(None),
                Poll::Ready(Err(Failure::Sink)) => return Poll::Ready(Some(Event::ClientGone)),
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Event::Lost { dead: false })),
                Poll::Pending => {}
            }
            let moved = download.read + download.written;
            self.poll_time(cx, &upstream, moved).map(Some)
        })
        .await;
        shard.sent_bytes.add(download.written);
        worker.put_vec(std::mem::take(&mut download.out));
        let sent = self.uploading == Uploading::Done;
        if failed.is_none()
            && sent
            && response.target_keep_alive
            && upstream.input.is_empty()
            && !self.forward.ambiguous
        {
            upstream.input.release(&worker.buffers);
            worker.pool.put(upstream, worker.timers.now());
        } else {
            upstream.input.consume(upstream.input.bytes().len());
            upstream.input.release(&worker.buffers);
        }
        match failed {
            None if response.keep_alive && sent => After::KeepAlive,
            None => After::Linger,
            Some(Event::ClientGone) => After::Close,
            // The client must not take what it has for the whole.
            Some(_) => After::Abort,
        }
    }

    /// After 101: bytes both ways, until both sides are done.
    async fn tunnel(
        &mut self,
        upstream: &mut Upstream,
        head: Vec<u8>,
        shard: &ListenerShard,
    ) -> After {
        let mut up = Pump::new(Vec::new(), Decoder::UntilClose, false);
        let mut down = Pump::new(head, Decoder::UntilClose, false);
        let (mut up_done, mut down_done) = (false, false);
        self.arm();
        poll_fn(|cx| {
            {
                let Client { stream, input, worker, .. } = &mut *self.client;
                let (mut client_read, mut client_write) = stream.split();
                let (mut target_read, mut target_write) = upstream.stream.split();
                let buffers = &worker.buffers;
                if !up_done
                    && let Poll::Ready(end) =
                        up.poll(cx, &mut client_read, input, &mut target_write, buffers)
                {
                    up_done = true;
                    // A shutdown of a TCP socket does not wait.
                    let _ = Pin::new(&mut target_write).poll_shutdown(cx);
                    if end.is_err() {
                        return Poll::Ready(());
                    }
                }
                if !down_done
                    && let Poll::Ready(end) = down.poll(
                        cx,
                        &mut target_read,
                        &mut upstream.input,
                        &mut client_write,
                        buffers,
                    )
                {
                    down_done = true;
                    let _ = Pin::new(&mut client_write).poll_shutdown(cx);
                    if end.is_err() {
                        return Poll::Ready(());
                    }
                }
            }
            if up_done && down_done {
                return Poll::Ready(());
            }
            let moved = up.read + up.written + down.read + down.written;
            self.poll_time(cx, upstream, moved).map(|_| ())
        })
        .await;
        shard.received_bytes.add(up.read);
        shard.sent_bytes.add(down.written);
        upstream.input.consume(upstream.input.bytes().len());
        upstream.input.release(&self.client.worker.buffers);
        After::Close
    }
}

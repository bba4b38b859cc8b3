//! A client's connection: requests one after the other, each answered here or by a target
//! (`exchange`).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddrV4;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::Answer;
use crate::buffer::Input;
use crate::counters::ListenerShard;
use crate::exchange::{self, Body};
use crate::framing::{self, Decoder, Length, MAX_REQUEST_HEAD};
use crate::request::{self, Decision};
use crate::table::Listener;
use crate::timer::Deadline;
use crate::worker::{Slot, Worker};

/// How much of a body nobody wants is read for the connection's sake.
const DRAIN: u64 = 256 * 1024;
const DRAIN_MS: u64 = 5000;
/// How long the other side has to take the last answer in before the connection is cut.
const LINGER_MS: u64 = 1000;

pub struct Client {
    pub worker: Rc<Worker>,
    pub stream: TcpStream,
    pub input: Input,
    pub deadline: Deadline,
    peer: SocketAddrV4,
    local: SocketAddrV4,
}

/// What becomes of the client's connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    KeepAlive,
    /// Nothing more to say, or nobody there.
    Close,
    /// The client may still be sending; let it read the answer first.
    Linger,
    /// The client must see that something went wrong.
    Abort,
}

enum Head {
    Complete(usize),
    Closed,
    /// No request came in time.
    Quiet,
    Refused(Answer),
}

pub async fn serve(
    worker: Rc<Worker>,
    slot: Rc<Slot>,
    stream: TcpStream,
    peer: SocketAddrV4,
    local: SocketAddrV4,
) {
    let Some(listener) = slot.listener() else { return };
    let counters = listener.counters.clone();
    let shard = counters.of(worker.index);
    shard.new_connections.add(1);
    shard.active_connections.add(1);
    let deadline = worker.timers.deadline();
    let mut client = Client { worker, stream, input: Input::default(), deadline, peer, local };
    match client.requests(&slot, shard).await {
        After::Linger => client.linger().await,
        After::Abort => client.abort(),
        After::Close | After::KeepAlive => {}
    }
    client.input.consume(client.input.bytes().len());
    client.input.release(&client.worker.buffers);
    shard.active_connections.subtract(1);
}

impl Client {
    async fn requests(&mut self, slot: &Slot, shard: &ListenerShard) -> After {
        let since = self.worker.timers.now();
        let mut first = true;
        loop {
            let Some(listener) = slot.listener() else { return After::Close };
            let options = &listener.options;
            self.deadline.set(options.idle_timeout_ms);
            self.deadline.set_idle((!first).then_some(slot.number));
            first = false;
            let head = self.read_head(shard).await;
            self.deadline.set_idle(None);
            let n = match head {
                Head::Complete(n) => n,
                Head::Closed | Head::Quiet => return After::Close,
                Head::Refused(answer) => {
                    shard.requests.add(1);
                    return self.refuse(&listener, shard, &answer).await;
                }
            };
            shard.requests.add(1);
            // What was told while the head came counts.
            let (listener, last) = match slot.listener() {
                Some(now) => (now, false),
                None => (listener, true),
            };
            let old = self.worker.timers.now().saturating_sub(since)
                >= listener.options.client_keep_alive_ms;
            match self.request(&listener, shard, n, last || old).await {
                After::KeepAlive => {}
                after => return after,
            }
        }
    }

    async fn request(
        &mut self,
        listener: &Arc<Listener>,
        shard: &ListenerShard,
        head: usize,
        last: bool,
    ) -> After {
        let cx = request::Context {
            listener,
            client: self.peer,
            local: self.local,
            now: self.worker.unix_seconds(),
            random: &self.worker.random,
        };
        let mut out = self.worker.vec();
        let (mut plan, decision) = match request::plan(&cx, &self.input.bytes()[..head], &mut out) {
            Ok(planned) => planned,
            Err(answer) => return self.refuse(listener, shard, &answer).await,
        };
        plan.keep_alive &= !last;
        self.input.consume(head);
        let answer = match decision {
            Decision::Forward(forward) => {
                let failed = match exchange::run(self, listener, shard, &plan, &forward, out).await
                {
                    Ok(after) => return after,
                    Err(failed) => failed,
                };
                let Some(answer) = failed.answer else { return After::Close };
                match failed.body {
                    Body::None => {}
                    Body::All => plan.length = Length::Empty,
                    Body::Some => return self.refuse(listener, shard, &answer).await,
                }
                answer
            }
            Decision::Answer(answer) => answer,
        };
        self.answer(listener, shard, &plan, &answer).await
    }

    /// Answers a request whose body was not touched.
    async fn answer(
        &mut self,
        listener: &Listener,
        shard: &ListenerShard,
        plan: &request::Plan,
        answer: &Answer,
    ) -> After {
        shard.answered(answer.status);
        // A client that waits for 100 sends its body only if it likes to.
        let keep_alive = plan.keep_alive
            && !plan.expects_continue
            && match plan.length {
                Length::Fixed(n) => n <= DRAIN,
                _ => true,
            };
        let mut out = self.worker.vec();
        answer.write(
            &mut out,
            plan.to_head,
            keep_alive,
            listener.options.server_header,
            &self.worker.date(),
        );
        self.deadline.set(listener.options.idle_timeout_ms);
        let written = self.write(&out).await;
        self.worker.put_vec(out);
        match written {
            Ok(n) => shard.sent_bytes.add(n),
            Err(_) => return After::Close,
        }
        if plan.length == Length::Empty {
            return if keep_alive { After::KeepAlive } else { After::Linger };
        }
        if keep_alive && self.drain(plan.length).await {
            return After::KeepAlive;
        }
        After::Linger
    }

    /// Answers what leaves the connection in doubt.
    async fn refuse(
        &mut self,
        listener: &Listener,
        shard: &ListenerShard,
        answer: &Answer,
    ) -> After {
        shard.answered(answer.status);
        let mut out = self.worker.vec();
        let server_header = listener.options.server_header;
        answer.write(&mut out, false, false, server_header, &self.worker.date());
        self.deadline.set(listener.options.idle_timeout_ms);
        match self.write(&out).await {
            Ok(n) => {
                shard.sent_bytes.add(n);
                After::Linger
            }
            Err(_) => After::Close,
        }
    }

    /// Waits for a head. The deadline, once armed, is not moved: a head has to come in its time.
    async fn read_head(&mut self, shard: &ListenerShard) -> Head {
        let mut scanned = 0;
        loop {
            while self.input.bytes().starts_with(b"\r\n") {
                self.input.consume(2);
                scanned = 0;
            }
            let bytes = self.input.bytes();
            match framing::head_end(bytes, scanned) {
                Ok(Some(n)) if n <= MAX_REQUEST_HEAD => return Head::Complete(n),
                // A line end cut in two, before the head.
                _ if bytes == b"\r" => {}
                Ok(Some(_)) | Err(_) => return Head::Refused(request::malformed(bytes)),
                Ok(None) if self.input.is_full() => {
                    return Head::Refused(request::malformed(bytes));
                }
                Ok(None) => scanned = bytes.len(),
            }
            let Client { stream, input, deadline, worker, .. } = self;
            let read = poll_fn(|cx| {
                if input.is_empty() {
                    // Holds no buffer while there is nothing to read.
                    input.release(&worker.buffers);
                    match stream.poll_read_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(e)) => return Poll::Ready(Some(Err(e))),
                        Poll::Pending => return deadline.poll(cx).map(|()| None),
                    }
                }
                match input.poll_read(cx, stream, &worker.buffers) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending => deadline.poll(cx).map(|()| None),
                }
            })
            .await;
            match read {
                Some(Ok(0)) | Some(Err(_)) => return Head::Closed,
                Some(Ok(n)) => shard.received_bytes.add(n as u64),
                None if self.input.is_empty() => return Head::Quiet,
                None => return Head::Refused(Answer::page(408)),
            }
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let Client { stream, deadline, .. } = self;
        let mut sent = 0;
        poll_fn(|cx| {
            while sent < bytes.len() {
                match Pin::new(&mut *stream).poll_write(cx, &bytes[sent..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(n)) => sent += n,
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Pending => {
                        return deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
            Poll::Ready(Ok(sent as u64))
        })
        .await
    }

    /// Reads a body that nobody wants; whether its end was reached.
    async fn drain(&mut self, length: Length) -> bool {
        self.deadline.set(DRAIN_MS);
        let mut decoder = Decoder::from(length);
        let mut left = DRAIN;
        let Client { stream, input, deadline, worker, .. } = self;
        poll_fn(|cx| {
            loop {
                while !decoder.is_done() {
                    match decoder.next(input.bytes()) {
                        Ok(piece) if piece.used == 0 => break,
                        Ok(piece) => input.consume(piece.used),
                        Err(_) => return Poll::Ready(false),
                    }
                }
                if decoder.is_done() {
                    return Poll::Ready(true);
                }
                match input.poll_read(cx, stream, &worker.buffers) {
                    Poll::Ready(Ok(n)) if n > 0 && left > 0 => {
                        left = left.saturating_sub(n as u64);
                    }
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => return deadline.poll(cx).map(|()| false),
                }
            }
        })
        .await
    }

    /// Closes by a reset.
    fn abort(&self) {
        if let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot close by a reset");
        }
    }

    /// Closing with unread bytes would reset the connection and take the answer with it.
    async fn linger(&mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        self.deadline.set(LINGER_MS);
        let Client { stream, input, deadline, worker, .. } = self;
        poll_fn(|cx| {
            loop {
                input.consume(input.bytes().len());
                match input.poll_read(cx, stream, &worker.buffers) {
                    Poll::Ready(Ok(n)) if n > 0 && deadline.poll(cx).is_pending() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return deadline.poll(cx),
                }
            }
        })
        .await;
    }
}

//! Connections to targets: dialed from the node's address in the target's network, kept for reuse by
//! the worker that made them, looked at before each use.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

use crate::Network;
use crate::buffer::Input;
use crate::sys;
use crate::target::{Group, Target};
use crate::timer::Deadline;

/// Idle connections kept per target and worker.
const KEPT: usize = 256;
/// ALB's default idle timeout, which targets are told to outlast.
const KEEP_MS: u64 = 60_000;

pub struct Upstream {
    pub stream: TcpStream,
    pub input: Input,
    pub target: Arc<Target>,
    idle_since_ms: u64,
}

impl Upstream {
    /// Nothing has come since the last response: neither its end nor bytes nobody asked for. Sees
    /// what the last look at the sockets brought; costs no call.
    fn is_quiet(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// The same, asking the kernel.
    fn is_quiet_now(&self) -> bool {
        let peeked = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }
}

#[derive(Default)]
pub struct Pool(RefCell<HashMap<u64, Vec<Upstream>>>);

impl Pool {
    /// The connection used last; `surely` asks more of it, for requests that cannot be sent twice:
    /// the kernel must not know of its end, and the target must have been heard of. For these a new
    /// connection, which fails while another target can still be tried, is worth its price.
    pub fn take(&self, target: &Target, surely: bool, now_ms: u64) -> Option<Upstream> {
        if surely && !target.is_lively(now_ms) {
            return None;
        }
        let mut pool = self.0.borrow_mut();
        let kept = pool.get_mut(&target.key)?;
        while let Some(upstream) = kept.pop() {
            if upstream.is_quiet() && (!surely || upstream.is_quiet_now()) {
                return Some(upstream);
            }
        }
        None
    }

    pub fn put(&self, mut upstream: Upstream, now_ms: u64) {
        if upstream.target.retired.load(Relaxed) {
            return;
        }
        upstream.idle_since_ms = now_ms;
        let mut pool = self.0.borrow_mut();
        let kept = pool.entry(upstream.target.key).or_default();
        if kept.len() < KEPT {
            kept.push(upstream);
        }
    }

    /// Closes what is old, closed by the other side, or leads to a target that is gone.
    pub fn sweep(&self, now_ms: u64) {
        self.0.borrow_mut().retain(|_, kept| {
            kept.retain(|upstream| {
                !upstream.target.retired.load(Relaxed)
                    && now_ms.saturating_sub(upstream.idle_since_ms) < KEEP_MS
                    && upstream.is_quiet()
            });
            !kept.is_empty()
        });
    }
}

#[derive(Debug)]
pub enum DialError {
    /// No answer in time, or no way there.
    Unreachable,
    Failed(io::Error),
}

/// A socket in the group's network that will connect from the node's address.
pub fn socket(network: &dyn Network, group: &Group) -> io::Result<TcpSocket> {
    let socket = Socket::from(network.socket(Some(&group.network))?);
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // Finds peers whose link died while nothing was being sent.
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(2))
            .with_retries(3),
    )?;
    if !group.source.is_unspecified() {
        sys::bind_address_no_port(socket.as_fd())?;
        socket.bind(&SocketAddr::from((group.source, 0)).into())?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// Connects to `target` before `deadline`.
pub async fn dial(
    network: &dyn Network,
    group: &Group,
    target: &Arc<Target>,
    deadline: &Deadline,
) -> Result<Upstream, DialError> {
    let socket = socket(network, group).map_err(DialError::Failed)?;
    let mut connect = pin!(socket.connect(target.address.into()));
    let connected = poll_fn(|cx| match connect.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => deadline.poll(cx).map(|()| None),
    })
    .await;
    match connected {
        Some(Ok(stream)) => Ok(Upstream {
            stream,
            input: Input::default(),
            target: target.clone(),
            idle_since_ms: 0,
        }),
        Some(Err(e)) => match e.kind() {
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut => Err(DialError::Unreachable),
            _ => Err(DialError::Failed(e)),
        },
        None => Err(DialError::Unreachable),
    }
}

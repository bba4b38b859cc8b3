//! The data plane of load balancing: one process per zone, told what to do by snapshots.
//! Knows nothing of AWS.
//!
//! ```text
//!  daemon: keeper ─ client ══ socket ══ serve ─ plane ─┬─ checker (health)
//!                     snapshot ►  ◄ report             └─ worker (per core)
//!                                                           connection ─ request ─ rule
//!                                                           exchange ─ upstream, response, pump
//! ```
//!
//! Invariant: `framing` alone decides where a message ends. Invariant: `request`, `response`, `rule`,
//! `health` and `framing` do no IO. Invariant: `unsafe` is in `sys` only.

mod answer;
mod buffer;
mod checker;
pub mod client;
mod connection;
mod control;
mod cookie;
mod counters;
mod exchange;
pub mod framing;
mod health;
pub mod keeper;
pub mod plane;
mod pump;
mod request;
mod response;
mod rule;
pub mod serve;
pub mod snapshot;
mod sys;
mod table;
mod target;
mod timer;
mod upstream;
mod worker;

use std::io;
use std::os::fd::OwnedFd;

/// Where sockets come from: each lives in a network for good, whichever thread uses it.
pub trait Network: Send + Sync + 'static {
    /// A TCP socket for IPv4, not yet bound; `None` is the host's network. May block for a moment.
    fn socket(&self, network: Option<&str>) -> io::Result<OwnedFd>;
}

/// The host's network in place of every network, for tests and measurements.
pub struct HostNetwork;

impl Network for HostNetwork {
    fn socket(&self, _network: Option<&str>) -> io::Result<OwnedFd> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        Ok(socket.into())
    }
}

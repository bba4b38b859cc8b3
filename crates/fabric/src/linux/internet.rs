//! The internet of an installation: a namespace of its own that joins the networks open to it, and knows
//! each public address as a route to the network that has it. Translation happens in the networks, so
//! that their filters see private addresses of their own and public ones of others.
//!
//! ```text
//!   network                                      internet                          daemon
//!  ┌────────────────────────────────┐          ┌──────────────────────────┐
//!  │ filter │ snat/dnat │ xinternet ├──────────┤ xiNETWORK  198.18.0.7/32 │
//!  └────────────────────────────────┘          │ other tcp, udp ── tproxy ├── sockets ── host
//!                                              │ the rest: refused        │
//!                                              └──────────────────────────┘
//! ```

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::way::{self, Action, Hop, MAIN, Routes, Rule};
use super::{LinuxFabric, Network, join, os, route, translate};
use crate::network::{self, Block, Nat};
use crate::{Fabric, Result};

/// Its name among the pins.
pub const NETWORK: &str = "internet";

/// Where all public addresses are from (RFC 2544: for use within one's own four walls).
pub const PUBLIC: Block = Block { base: Ipv4Addr::new(198, 18, 0, 0), prefix: 15 };

/// What the namespace sends its errors from (RFC 7600's dummy address).
const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Of packets that go to the sockets of `outbound`.
pub const RELAYED: u32 = 1;
const RELAYED_TABLE: u32 = 100;

impl LinuxFabric {
    /// Made when it is not there.
    pub(super) fn internet(&self) -> Result<Arc<Network>> {
        self.ensure_network(NETWORK)?;
        let internet = self.network(NETWORK)?;
        internet.prepare(prepare).map_err(os("preparing the internet"))?;
        Ok(internet)
    }
}

fn prepare(internet: &Network) -> io::Result<()> {
    let rule = Rule {
        priority: RELAYED_TABLE,
        from: Block::ANY,
        device: String::new(),
        mark: RELAYED,
        action: Action::Table(RELAYED_TABLE),
    };
    internet.run(vec![
        route::add_address(route::LOOPBACK, DUMMY, 32, libc::RT_SCOPE_UNIVERSE),
        way::set_route(RELAYED_TABLE, Block::ANY, &Hop::Local),
        way::set_rule(&rule),
    ])?;
    translate::relay(internet)
}

/// Public addresses of a network lead to its link.
pub fn publish(internet: &Network, link: &str, wanted: &network::Network) -> io::Result<()> {
    let mut socket = internet.socket();
    let index = route::link(&mut socket, link)?.ok_or(io::ErrorKind::NotFound)?.index;
    let hop = || Hop::Via { index, gateway: join::OTHER_END };
    if let Some(other) = public(wanted).find(|address| !PUBLIC.contains(*address)) {
        let message = format!("{other} is no address of {PUBLIC}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let routes = public(wanted).map(|address| ((MAIN, Block::from(address)), hop()));
    way::sync_device(&mut socket, index, &routes.collect::<Routes>())
}

fn public(wanted: &network::Network) -> impl Iterator<Item = Ipv4Addr> {
    let ports = wanted.ports.values().flat_map(|port| port.public.values());
    let nats = wanted.nats.values().filter(|nat| nat.public);
    ports.copied().chain(nats.flat_map(Nat::all))
}

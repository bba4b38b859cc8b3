//! The one thing that an installation adds to the network of its host: a veth into the internet
//! namespace and a route to its pool of public addresses. No rule, no forwarding, no other address.
//!
//! ```text
//!   host                                    internet
//!  ┌──────────────────────────────┐        ┌──────────────────────┐
//!  │ POOL via .253  drover0 .254 ├────────┤ .253 xhost           │
//!  └──────────────────────────────┘        └──────────────────────┘
//! ```
//!
//! Both addresses are of the pool's last /30, which is handed out to nobody.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;

use super::netlink::Socket;
use super::way::{self, Hop};
use super::{LinuxFabric, Network, internet, namespace, open_netlink, os, route};
use crate::Result;
use crate::network::Block;

const INNER: &str = "xhost";

/// Tells a link of ours from others.
const ALIAS: &str = "public addresses of a Drover installation";

impl LinuxFabric {
    /// Lets the calling thread's network namespace, the host's, reach the pool of public addresses by a
    /// link of that name. Refused when something else there has a route to any of them. The link goes
    /// with this installation's networks.
    pub fn join_host(&self, pool: Block, name: &str) -> Result<()> {
        let what = || os(&format!("making {pool} reachable from this host by {name}"));
        let internet = self.internet()?;
        let mut host = open_netlink().map_err(what())?;
        join(&internet, &mut host, pool, name).map_err(what())
    }
}

/// What else in the calling thread's namespace routes addresses of the pool.
pub fn conflict(pool: Block, name: &str) -> Result<Option<Block>> {
    let what = || os("reading this host's routes");
    let mut host = open_netlink().map_err(what())?;
    let own = route::link(&mut host, name).map_err(what())?.map(|link| link.index);
    other_route(&mut host, pool, own).map_err(what())
}

fn join(internet: &Network, host: &mut Socket, pool: Block, name: &str) -> io::Result<()> {
    let outer = route::link(host, name)?;
    if let Some(taken) = other_route(host, pool, outer.as_ref().map(|link| link.index))? {
        let message = format!("this host has a route to {taken} already");
        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
    }
    if outer.as_ref().is_some_and(|link| link.alias != ALIAS) {
        let message = format!("this host has a link {name} already");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let inner = route::link(&mut internet.socket(), INNER)?;
    let whole = inner.zip(outer).is_some_and(|(a, b)| a.peer == b.index && b.peer == a.index);
    if !whole {
        let delete = |name| route::delete_link(name).accept(&[libc::ENODEV]);
        host.run(vec![delete(name)])?;
        let netns = File::open("/proc/thread-self/ns/net")?;
        let mac = |end| [2, 0, 0, 0, 1, end];
        let new = route::new_veth(INNER, Some(&mac(1)), name, &mac(2), netns.as_fd());
        internet.run(vec![delete(INNER), new])?;
    }
    let index = |link: Option<route::Link>| Ok(link.ok_or(io::ErrorKind::NotFound)?.index);
    let universe = libc::RT_SCOPE_UNIVERSE;
    let (near, far) = ends(pool);
    let inner: io::Result<u32> = index(route::link(&mut internet.socket(), INNER)?);
    let inner = inner?;
    internet
        .run(vec![route::add_address(inner, far, 30, universe), route::set_link(inner, true)])?;
    let outer: io::Result<u32> = index(route::link(host, name)?);
    let outer = outer?;
    host.run(vec![
        route::set_alias(outer, ALIAS),
        route::add_address(outer, near, 30, universe),
        route::set_link(outer, true),
        way::fixed_route(pool, &Hop::Via { index: outer, gateway: far }),
    ])
}

/// The host's address and the internet's.
fn ends(pool: Block) -> (Ipv4Addr, Ipv4Addr) {
    let end = u32::from(pool.base) + (1 << (32 - u32::from(pool.prefix)));
    (Ipv4Addr::from(end - 2), Ipv4Addr::from(end - 3))
}

/// A default route does not count: ours is more specific.
fn other_route(host: &mut Socket, pool: Block, own: Option<u32>) -> io::Result<Option<Block>> {
    let overlap = |block: Block| block.contains(pool.base) || pool.contains(block.base);
    let other = |(block, device): &(Block, Option<u32>)| {
        block.prefix > 0 && overlap(*block) && (device.is_none() || *device != own)
    };
    Ok(way::destinations(host)?.into_iter().find(other).map(|(block, _)| block))
}

/// Takes the host's link away at once: the namespace that has its other end may live on for a while.
pub fn leave(directory: &Path) -> io::Result<()> {
    let pin = directory.join(internet::NETWORK);
    if !namespace::is_pinned(&pin) {
        return Ok(());
    }
    let mut socket = namespace::inside(File::open(pin)?.as_fd(), open_netlink)?;
    socket.run(vec![route::delete_link(INNER).accept(&[libc::ENODEV])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_addresses_of_the_pool_are_the_link() {
        let pool = Block { base: [198, 18, 32, 0].into(), prefix: 19 };
        let expected = ([198, 18, 63, 254].into(), [198, 18, 63, 253].into());
        assert_eq!(ends(pool), expected);
    }
}

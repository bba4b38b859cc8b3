//! Filters a network's packets as was last wanted, by one table of nftables in its namespace.

mod rules;

use std::io;
use std::os::fd::BorrowedFd;

use super::netlink::Socket;
use super::{namespace, nft};
use crate::network::Network;

/// Of the table. There for debugging: `nsenter --net=RUN_DIR/netns/NETWORK nft list ruleset`.
const TABLE: &str = "drover";

pub struct Filter {
    socket: Socket,
    /// What this process knows to be in force.
    applied: Option<(Network, nft::Table)>,
}

impl Filter {
    pub fn open(netns: BorrowedFd<'_>) -> io::Result<Filter> {
        let socket = namespace::inside(netns, || Socket::open(libc::NETLINK_NETFILTER))?;
        Ok(Filter { socket, applied: None })
    }

    /// All of the difference comes into force at once, or nothing of it. What connections were admitted
    /// the kernel keeps apart from the table, so that they live on when it is made anew.
    pub fn apply(&mut self, wanted: &Network) -> io::Result<()> {
        if self.applied.as_ref().is_some_and(|(network, _)| network == wanted) {
            return Ok(());
        }
        names_fit(wanted)?;
        let table =
            rules::compile(wanted, self.applied.as_ref().map(|(network, table)| (network, table)));
        let batch = match &self.applied {
            Some((_, old)) => nft::change(TABLE, old, &table),
            None => Some(nft::rebuild(TABLE, &table)),
        };
        // Were the batch to fail, nobody would know what is in force.
        self.applied = None;
        if let Some(batch) = batch {
            self.socket.transact(batch)?;
        }
        self.applied = Some((wanted.clone(), table));
        Ok(())
    }
}

/// Devices that begin with `x` lead to other networks and are filtered by what is behind them.
fn names_fit(network: &Network) -> io::Result<()> {
    let unfit = |name: &&String| name.is_empty() || name.len() > 15 || name.starts_with('x');
    match network.ports.keys().find(unfit) {
        Some(name) => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("port name {name}"))),
        None => Ok(()),
    }
}

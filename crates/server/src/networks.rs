//! Glue between parts that do not know each other: the balancer dials and listens in the fabric's
//! networks, networks come with metadata and endpoint served, and the cloud's view of balancers is the
//! keeper of their processes.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::{collections::BTreeSet, net::SocketAddr};

use fabric::linux::LinuxFabric;
use fabric::{Counters, Fabric, Interface, Result};
use tokio::sync::mpsc::UnboundedSender;

use crate::pool::Pool;

pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub const METADATA: SocketAddrV4 = SocketAddrV4::new(ADDRESS, 80);
pub const ENDPOINT: SocketAddrV4 = SocketAddrV4::new(ADDRESS, 4566);

/// A network that has just come up here, with its listeners already open.
pub struct Opened {
    pub name: String,
    pub metadata: TcpListener,
    pub endpoint: TcpListener,
}

/// The fabric, with metadata and endpoint listening in a network before `ensure_network` returns, so
/// that no instance can ask too early.
pub struct ServedFabric {
    inner: Arc<LinuxFabric>,
    pool: Pool,
    served: Mutex<BTreeSet<String>>,
    opened: UnboundedSender<Opened>,
}

impl ServedFabric {
    /// Serves the networks that exist already, as after a restart.
    pub fn new(
        inner: Arc<LinuxFabric>,
        pool: Pool,
        opened: UnboundedSender<Opened>,
    ) -> Result<ServedFabric> {
        let fabric = ServedFabric { inner, pool, served: Mutex::default(), opened };
        for network in fabric.networks()? {
            fabric.ensure_network(&network)?;
        }
        Ok(fabric)
    }

    fn listen(&self, network: &str, address: SocketAddrV4) -> Result<TcpListener> {
        let socket = socket2::Socket::from(self.inner.tcp_socket(network)?);
        let listen = || {
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&SocketAddr::V4(address).into())?;
            socket.listen(1024)
        };
        listen()
            .map_err(|source| fabric::Error::Os { what: format!("listen on {address}"), source })?;
        Ok(socket.into())
    }
}

impl Fabric for ServedFabric {
    fn ensure_network(&self, network: &str) -> Result<()> {
        self.inner.ensure_network(network)?;
        let mut served = self.served.lock().expect("no panics under the lock");
        if served.contains(network) {
            return Ok(());
        }
        self.inner.ensure_address(network, ADDRESS)?;
        let opened = Opened {
            name: network.to_owned(),
            metadata: self.listen(network, METADATA)?,
            endpoint: self.listen(network, ENDPOINT)?,
        };
        // Nobody to receive: the daemon is ending.
        let _ = self.opened.send(opened);
        served.insert(network.to_owned());
        Ok(())
    }

    fn remove_network(&self, network: &str) -> Result<()> {
        self.served.lock().expect("no panics under the lock").remove(network);
        self.inner.remove_network(network)
    }

    fn networks(&self) -> Result<Vec<String>> {
        self.inner.networks()
    }

    fn ensure_address(&self, network: &str, address: Ipv4Addr) -> Result<()> {
        self.inner.ensure_address(network, address)
    }

    fn remove_address(&self, network: &str, address: Ipv4Addr) -> Result<()> {
        self.inner.remove_address(network, address)
    }

    fn addresses(&self, network: &str) -> Result<Vec<Ipv4Addr>> {
        self.inner.addresses(network)
    }

    fn set_link(&self, network: &str, interface: &str, up: bool) -> Result<()> {
        self.inner.set_link(network, interface, up)
    }

    fn attach(&self, network: &str, interface: &Interface, inner: BorrowedFd<'_>) -> Result<()> {
        self.inner.attach(network, interface, inner)
    }

    fn apply(&self, network: &str, wanted: &fabric::network::Network) -> Result<()> {
        self.inner.apply(network, wanted)?;
        self.pool.reach(&self.inner, wanted);
        Ok(())
    }

    fn assign(
        &self,
        interface: &Interface,
        others: &[Ipv4Addr],
        inner: BorrowedFd<'_>,
    ) -> Result<()> {
        self.inner.assign(interface, others, inner)
    }

    fn detach(&self, network: &str, interface: &str) -> Result<()> {
        self.inner.detach(network, interface)
    }

    fn counters(&self, network: &str, interface: &str) -> Option<Counters> {
        self.inner.counters(network, interface)
    }

    fn flows(&self, network: &str) -> Result<Vec<fabric::network::Flow>> {
        self.inner.flows(network)
    }

    fn namespace_path(&self, network: &str) -> Result<PathBuf> {
        self.inner.namespace_path(network)
    }

    fn tcp_socket(&self, network: &str) -> Result<OwnedFd> {
        self.inner.tcp_socket(network)
    }
}

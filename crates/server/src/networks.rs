//! Glue between parts that do not know each other: the balancer dials and listens in the fabric's
//! networks, networks come with metadata, endpoint, services and resolver served, and the cloud's view of
//! balancers is the keeper of their processes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use cloud::dns::ops::RESOLVER;
use cloud::ec2::vpc::services;
use fabric::linux::LinuxFabric;
use fabric::{Counters, Fabric, Interface, Result};
use tokio::sync::mpsc::UnboundedSender;

use crate::pool::Pool;

pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub const METADATA: SocketAddrV4 = SocketAddrV4::new(ADDRESS, 80);
pub const ENDPOINT: SocketAddrV4 = SocketAddrV4::new(ADDRESS, 4566);

pub enum Change {
    Opened(Opened),
    Removed(String),
    /// An endpoint in a network, at an address of its own.
    EndpointOpened(Endpoint),
    EndpointRemoved {
        network: String,
        address: Ipv4Addr,
    },
}

/// Where services answer, by HTTP and by HTTPS.
pub struct Endpoint {
    pub network: String,
    pub address: Ipv4Addr,
    pub plain: TcpListener,
    pub secure: TcpListener,
}

/// A network that has just come up here, with its listeners already open.
pub struct Opened {
    pub name: String,
    pub metadata: TcpListener,
    pub endpoint: TcpListener,
    /// Of the services under their own names.
    pub services: Vec<Endpoint>,
    pub resolvers: Vec<(UdpSocket, TcpListener)>,
}

/// The resolver's address in the network's own range, if it has one.
pub type ResolverOf = dyn Fn(&str) -> Option<Ipv4Addr> + Send + Sync;

/// The fabric, with all that is served in a network listening before `ensure_network` returns, so that
/// no instance can ask too early.
pub struct ServedFabric {
    inner: Arc<LinuxFabric>,
    pool: Pool,
    /// Networks with listeners, and the addresses of their endpoints.
    served: Mutex<BTreeMap<String, BTreeSet<Ipv4Addr>>>,
    changes: UnboundedSender<Change>,
    resolver: OnceLock<Box<ResolverOf>>,
}

impl ServedFabric {
    pub fn new(
        inner: Arc<LinuxFabric>,
        pool: Pool,
        changes: UnboundedSender<Change>,
    ) -> ServedFabric {
        let (served, resolver) = (Mutex::default(), OnceLock::new());
        ServedFabric { inner, pool, served, changes, resolver }
    }

    /// Serves the networks that exist already, as after a restart. Comes before any `ensure_network`.
    pub fn begin(&self, resolver: Box<ResolverOf>) -> Result<()> {
        let _ = self.resolver.set(resolver);
        self.networks()?.iter().try_for_each(|network| self.ensure_network(network))
    }

    fn open(&self, network: &str) -> Result<Opened> {
        self.inner.ensure_address(network, ADDRESS)?;
        let mut opened = Opened {
            name: network.to_owned(),
            metadata: self.listen(network, METADATA)?,
            endpoint: self.listen(network, ENDPOINT)?,
            services: vec![],
            resolvers: vec![],
        };
        for service in services::ALL {
            self.inner.ensure_address(network, service.address)?;
            opened.services.push(self.open_endpoint(network, service.address)?);
        }
        let own = self.resolver.get().and_then(|resolver| resolver(network));
        for address in [RESOLVER].into_iter().chain(own) {
            self.inner.ensure_address(network, address)?;
            let address = SocketAddrV4::new(address, 53);
            opened.resolvers.push((self.bind(network, address)?, self.listen(network, address)?));
        }
        Ok(opened)
    }

    fn open_endpoint(&self, network: &str, address: Ipv4Addr) -> Result<Endpoint> {
        let listen = |port| self.listen(network, SocketAddrV4::new(address, port));
        let (plain, secure) = (listen(80)?, listen(443)?);
        Ok(Endpoint { network: network.to_owned(), address, plain, secure })
    }

    /// Makes a network's endpoints answer where they shall, and nowhere else.
    fn serve_endpoints(&self, network: &str, wanted: &fabric::network::Network) -> Result<()> {
        let mut served = self.served.lock().expect("no panics under the lock");
        let Some(here) = served.get_mut(network) else { return Ok(()) };
        let nodes = wanted.nodes.iter().filter(|(_, node)| node.endpoint);
        let wanted: BTreeSet<Ipv4Addr> = nodes.map(|(address, _)| *address).collect();
        for address in here.difference(&wanted).copied().collect::<Vec<_>>() {
            let network = network.to_owned();
            let _ = self.changes.send(Change::EndpointRemoved { network, address });
            here.remove(&address);
        }
        for address in &wanted {
            if !here.contains(address) {
                let opened = self.open_endpoint(network, *address)?;
                let _ = self.changes.send(Change::EndpointOpened(opened));
                here.insert(*address);
            }
        }
        Ok(())
    }

    fn listen(&self, network: &str, address: SocketAddrV4) -> Result<TcpListener> {
        let socket = socket2::Socket::from(self.inner.tcp_socket(network)?);
        let listen = || {
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::V4(address).into())?;
            socket.listen(1024)
        };
        listen().map_err(|source| os("listen on", address, source))?;
        Ok(socket.into())
    }

    fn bind(&self, network: &str, address: SocketAddrV4) -> Result<UdpSocket> {
        let socket = socket2::Socket::from(self.inner.udp_socket(network)?);
        let bound = socket.bind(&SocketAddr::V4(address).into());
        bound.map_err(|source| os("bind to", address, source))?;
        Ok(socket.into())
    }
}

fn os(what: &str, address: SocketAddrV4, source: std::io::Error) -> fabric::Error {
    fabric::Error::Os { what: format!("{what} {address}"), source }
}

impl Fabric for ServedFabric {
    fn ensure_network(&self, network: &str) -> Result<()> {
        self.inner.ensure_network(network)?;
        let mut served = self.served.lock().expect("no panics under the lock");
        if served.contains_key(network) {
            return Ok(());
        }
        // Nobody to receive: the daemon is ending.
        let _ = self.changes.send(Change::Opened(self.open(network)?));
        served.insert(network.to_owned(), BTreeSet::new());
        Ok(())
    }

    fn remove_network(&self, network: &str) -> Result<()> {
        self.served.lock().expect("no panics under the lock").remove(network);
        let _ = self.changes.send(Change::Removed(network.to_owned()));
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
        self.serve_endpoints(network, wanted)?;
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

//! The fabric on this host's kernel, by system calls and netlink alone; `ip` and `nft` are not needed.
//! See the picture in the crate's documentation.
//!
//! Everything is kept by the kernel, so any number of processes may open the same directory, and
//! nothing has to be learned again after a restart:
//! - a network is a namespace pinned at `RUN_DIR/netns/NETWORK`;
//! - an interface's addresses and MAC stand in the alias of its outer end, so that its route can be
//!   restored when its link comes up again (the kernel drops routes of links that are down);
//! - links between networks have names made of what they join (`join`), routes and rules a mark of ours
//!   (`way`);
//! - an instance's gateway is an address of the network's loopback device with link scope, which tells
//!   it from the addresses that callers ensured.

mod filter;
mod flows;
mod host;
mod inner;
mod internet;
mod join;
mod namespace;
mod netlink;
mod nft;
mod route;
mod routing;
mod sockets;
mod topology;
mod tracked;
mod translate;
mod way;

pub use host::conflict;
pub use internet::PUBLIC;
pub use sockets::{Datagrams, Outbound};

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use filter::Filter;
use flows::Flows;
use netlink::{Message, Socket};
use topology::Topology;

use crate::network::{self, Flow};
use crate::{Counters, Error, Fabric, Interface, Result};

pub struct LinuxFabric {
    directory: PathBuf,
    lock: PathBuf,
    networks: Mutex<HashMap<String, Arc<Network>>>,
    topology: Arc<Topology>,
}

impl LinuxFabric {
    /// Needs the right to make namespaces and mounts (root, or root of a user namespace).
    pub fn open(run_dir: &Path) -> Result<LinuxFabric> {
        let fabric = LinuxFabric {
            directory: run_dir.join("netns"),
            lock: run_dir.join("netns.lock"),
            networks: Mutex::default(),
            topology: Arc::default(),
        };
        std::fs::create_dir_all(run_dir).map_err(os("making the run directory"))?;
        let _lock = fabric.lock()?;
        namespace::prepare(&fabric.directory).map_err(os("preparing the namespace directory"))?;
        Ok(fabric)
    }

    /// A listening TCP socket in the network, not blocking.
    pub fn tcp_listener(&self, network: &str, address: SocketAddrV4) -> Result<TcpListener> {
        let socket = self.tcp_socket(network)?;
        listen(&socket, address).map_err(os(&format!("listening on {address} in {network}")))?;
        Ok(TcpListener::from(socket))
    }

    /// A UDP socket in the network, not blocking, not yet bound.
    pub fn udp_socket(&self, network: &str) -> Result<OwnedFd> {
        self.network(network)?
            .make(namespace::udp_socket)
            .map_err(os(&format!("opening a socket in {network}")))
    }

    fn lock(&self) -> Result<namespace::Lock> {
        namespace::lock(&self.lock).map_err(os("locking the namespace directory"))
    }

    fn pin(&self, network: &str) -> Result<PathBuf> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if network.is_empty() || network.starts_with('.') || !network.chars().all(plain) {
            let error = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(os(&format!("network name {network:?}"))(error));
        }
        Ok(self.directory.join(network))
    }

    fn cache(&self) -> MutexGuard<'_, HashMap<String, Arc<Network>>> {
        self.networks.lock().expect("no panics under the lock")
    }

    /// The open network; opened again when its namespace is another one by now.
    fn network(&self, name: &str) -> Result<Arc<Network>> {
        let pin = self.pin(name)?;
        let identity = match namespace::identity(&pin) {
            Ok(identity) if namespace::is_pinned(&pin) => identity,
            _ => {
                self.cache().remove(name);
                return Err(Error::NoNetwork(name.to_owned()));
            }
        };
        let mut cache = self.cache();
        if let Some(network) = cache.get(name)
            && network.identity == identity
        {
            return Ok(Arc::clone(network));
        }
        let open = Network::open(&pin, identity).map_err(os(&format!("entering {name}")))?;
        let network = Arc::new(open);
        cache.insert(name.to_owned(), Arc::clone(&network));
        Ok(network)
    }
}

/// Tries whether the kernel takes every kind of rule that networks are made of. Leaves nothing behind.
pub fn probe(run_dir: &Path) -> Result<()> {
    let fabric = LinuxFabric::open(run_dir)?;
    let network = network::Network { internet: true, log: true, ..network::Network::default() };
    let tried = fabric.ensure_network("probe").and_then(|()| fabric.apply("probe", &network));
    tear_down(run_dir)?;
    std::fs::remove_dir(run_dir).map_err(os("removing the run directory"))?;
    tried
}

/// Removes every network under `run_dir`, also after its daemon was killed. Nothing there: nothing.
pub fn tear_down(run_dir: &Path) -> Result<()> {
    let lock = run_dir.join("netns.lock");
    if !run_dir.exists() {
        return Ok(());
    }
    let held = namespace::lock(&lock).map_err(os("locking the namespace directory"))?;
    host::leave(&run_dir.join("netns")).map_err(os("leaving the host's network"))?;
    namespace::remove_all(&run_dir.join("netns")).map_err(os("removing networks"))?;
    std::fs::remove_file(&lock).map_err(os("removing the lock"))?;
    drop(held);
    Ok(())
}

impl Fabric for LinuxFabric {
    fn ensure_network(&self, network: &str) -> Result<()> {
        let pin = self.pin(network)?;
        if namespace::is_pinned(&pin) {
            return Ok(());
        }
        let _lock = self.lock()?;
        let loopback_up = || open_netlink()?.run(vec![route::set_link(route::LOOPBACK, true)]);
        namespace::create(&pin, loopback_up).map_err(os(&format!("making network {network}")))
    }

    fn remove_network(&self, network: &str) -> Result<()> {
        let pin = self.pin(network)?;
        self.disconnect(network)?;
        self.cache().remove(network);
        let _lock = self.lock()?;
        namespace::remove(&pin).map_err(os(&format!("removing network {network}")))
    }

    fn networks(&self) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.directory).map_err(os("listing networks"))?;
        let pinned = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            (name != internet::NETWORK && namespace::is_pinned(&entry.path())).then_some(name)
        };
        let mut names: Vec<String> = entries.filter_map(|entry| pinned(entry.ok()?)).collect();
        names.sort();
        Ok(names)
    }

    fn ensure_address(&self, network: &str, address: Ipv4Addr) -> Result<()> {
        let message = route::add_address(route::LOOPBACK, address, 32, libc::RT_SCOPE_UNIVERSE);
        self.network(network)?.run(vec![message]).map_err(os(&format!("adding {address}")))
    }

    fn remove_address(&self, network: &str, address: Ipv4Addr) -> Result<()> {
        let message = route::delete_address(route::LOOPBACK, address, 32);
        self.network(network)?.run(vec![message]).map_err(os(&format!("removing {address}")))
    }

    fn addresses(&self, network: &str) -> Result<Vec<Ipv4Addr>> {
        let network = self.network(network)?;
        let mut socket = network.socket();
        route::addresses(&mut socket, route::LOOPBACK).map_err(os("listing addresses"))
    }

    fn set_link(&self, network: &str, interface: &str, up: bool) -> Result<()> {
        let open = match self.network(network) {
            Err(Error::NoNetwork(_)) => return Ok(()),
            open => open?,
        };
        let set = set_link(&mut open.socket(), interface, up);
        set.map_err(os(&format!("setting link {interface}")))?;
        if up { self.connected(network, interface) } else { Ok(()) }
    }

    fn attach(
        &self,
        network: &str,
        interface: &Interface,
        inner_netns: BorrowedFd<'_>,
    ) -> Result<()> {
        let open = self.network(network)?;
        let what = |step| os(&format!("attaching {}: {step}", interface.name));
        let mut inner_socket = namespace::inside(inner_netns, open_netlink)
            .map_err(what("entering the inner namespace"))?;
        let mut outer = open.socket();
        let link = create_pair(&mut outer, interface, inner_netns).map_err(what("link"))?;
        connect_outer(&mut outer, interface, link.index).map_err(what("outer end"))?;
        drop(outer);
        self.connected(network, &interface.name)?;
        inner::connect(&mut inner_socket, interface, link.peer).map_err(what("inner end"))
    }

    fn apply(&self, network: &str, wanted: &crate::network::Network) -> Result<()> {
        let open = self.network(network)?;
        open.filter(wanted).map_err(os(&format!("filtering the packets of {network}")))?;
        self.connect(network, wanted)
    }

    fn assign(
        &self,
        interface: &Interface,
        others: &[Ipv4Addr],
        inner_netns: BorrowedFd<'_>,
    ) -> Result<()> {
        namespace::inside(inner_netns, || inner::assign(&mut open_netlink()?, interface, others))
            .map_err(os(&format!("assigning addresses to {}", interface.name)))
    }

    fn detach(&self, network: &str, interface: &str) -> Result<()> {
        let network = match self.network(network) {
            Err(Error::NoNetwork(_)) => return Ok(()),
            network => network?,
        };
        let mut socket = network.socket();
        let what = || os(&format!("detaching {interface}"));
        let Some(link) = route::link(&mut socket, interface).map_err(what())? else {
            return Ok(());
        };
        socket.run(vec![route::set_link(link.index, false)]).map_err(what())?;
        drop(socket);
        let delete = move || {
            if let Err(error) = network.run(vec![route::delete_link_at(link.index)]) {
                tracing::warn!("deleting link {}: {error}", link.name);
            }
        };
        std::thread::Builder::new().spawn(delete).map(drop).map_err(what())
    }

    fn flows(&self, network: &str) -> Result<Vec<Flow>> {
        self.network(network)?.flows().map_err(os(&format!("counting what goes through {network}")))
    }

    fn namespace_path(&self, network: &str) -> Result<PathBuf> {
        let pin = self.pin(network)?;
        if namespace::is_pinned(&pin) { Ok(pin) } else { Err(Error::NoNetwork(network.to_owned())) }
    }

    fn tcp_socket(&self, network: &str) -> Result<OwnedFd> {
        self.network(network)?
            .make(namespace::tcp_socket)
            .map_err(os(&format!("opening a socket in {network}")))
    }

    fn counters(&self, network: &str, interface: &str) -> Option<Counters> {
        let network = self.network(network).ok()?;
        let stats = route::link(&mut network.socket(), interface).ok()??.stats;
        // What the outer end sends, the instance receives.
        Some(Counters {
            rx_bytes: stats.tx_bytes,
            tx_bytes: stats.rx_bytes,
            rx_packets: stats.tx_packets,
            tx_packets: stats.rx_packets,
        })
    }
}

fn open_netlink() -> io::Result<Socket> {
    Socket::open(libc::NETLINK_ROUTE)
}

fn os(what: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let what = what.to_owned();
    move |source| Error::Os { what, source }
}

/// Replaces an outer end of that name. Deleting one takes long (it waits for all processors), so it is
/// only done when it is in the way.
fn create_pair(
    socket: &mut Socket,
    interface: &Interface,
    inner_netns: BorrowedFd<'_>,
) -> io::Result<route::Link> {
    let Interface { name, inner, mac, .. } = interface;
    let new = || route::new_veth(name, None, inner, mac, inner_netns);
    match socket.run(vec![new()]) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            let delete = route::delete_link(name).accept(&[libc::ENODEV]);
            socket.run(vec![delete, new()])?;
        }
        made => made?,
    }
    route::link(socket, name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Ready before the inner end is up, so that the instance's first packet finds an answer.
fn connect_outer(socket: &mut Socket, interface: &Interface, index: u32) -> io::Result<()> {
    let gateway = route::add_address(route::LOOPBACK, interface.gateway, 32, libc::RT_SCOPE_LINK);
    let mut batch = vec![
        gateway,
        route::set_alias(index, &Inner::of(interface).alias()),
        route::prompt_arp(index),
    ];
    batch.extend(link_up(index, &Inner::of(interface)));
    socket.run(batch)
}

fn link_up(index: u32, inner: &Inner) -> [Message; 3] {
    [
        route::set_link(index, true),
        route::host_route(index, inner.address, inner.gateway),
        route::neighbour(index, inner.address, &inner.mac),
    ]
}

fn set_link(socket: &mut Socket, name: &str, up: bool) -> io::Result<()> {
    let Some(link) = route::link(socket, name)? else { return Ok(()) };
    let batch = match (up, Inner::parse(&link.alias)) {
        (true, Some(inner)) => link_up(link.index, &inner).into(),
        _ => vec![route::set_link(link.index, up)],
    };
    match socket.run(batch) {
        // Its instance ended in between.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        done => done,
    }
}

/// What the outer end must know of the inner one.
#[derive(Debug, PartialEq)]
struct Inner {
    address: Ipv4Addr,
    gateway: Ipv4Addr,
    mac: [u8; 6],
}

impl Inner {
    fn of(interface: &Interface) -> Inner {
        let Interface { address, gateway, mac, .. } = *interface;
        Inner { address, gateway, mac }
    }

    /// `172.31.0.5 172.31.0.1 02aabbccddee`.
    fn alias(&self) -> String {
        let mac: String = self.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {} {mac}", self.address, self.gateway)
    }

    fn parse(alias: &str) -> Option<Inner> {
        let mut words = alias.split(' ');
        let address = words.next()?.parse().ok()?;
        let gateway = words.next()?.parse().ok()?;
        let digits = words.next()?;
        let mut mac = [0; 6];
        for (i, byte) in mac.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok()?;
        }
        Some(Inner { address, gateway, mac })
    }
}

/// An open network: netlink sockets that live in it, and a thread that does once it is needed.
struct Network {
    identity: (u64, u64),
    netns: File,
    netlink: Mutex<Socket>,
    filter: Mutex<Option<Filter>>,
    netfilter: Mutex<Option<Socket>>,
    flows: Mutex<Option<Flows>>,
    thread: Mutex<Option<mpsc::Sender<Request>>>,
    prepared: Mutex<bool>,
}

/// A way to make a socket, and who waits for it.
type Request = (fn() -> io::Result<OwnedFd>, mpsc::Sender<io::Result<OwnedFd>>);

impl Network {
    fn open(pin: &Path, identity: (u64, u64)) -> io::Result<Network> {
        let netns = File::open(pin)?;
        let netlink = Mutex::new(namespace::inside(netns.as_fd(), open_netlink)?);
        Ok(Network {
            identity,
            netns,
            netlink,
            filter: Mutex::default(),
            netfilter: Mutex::default(),
            thread: Mutex::default(),
            prepared: Mutex::default(),
            flows: Mutex::default(),
        })
    }

    fn socket(&self) -> MutexGuard<'_, Socket> {
        self.netlink.lock().expect("no panics under the lock")
    }

    fn run(&self, batch: Vec<Message>) -> io::Result<()> {
        self.socket().run(batch)
    }

    fn filter(&self, wanted: &crate::network::Network) -> io::Result<()> {
        let mut filter = self.filter.lock().expect("no panics under the lock");
        let filter = match &mut *filter {
            Some(filter) => filter,
            None => filter.insert(Filter::open(self.netns.as_fd())?),
        };
        filter.apply(wanted)
    }

    /// Sends a batch of nftables' messages.
    fn transact(&self, batch: Vec<Message>) -> io::Result<()> {
        self.netfilter(|socket| socket.transact(batch))
    }

    /// With a socket that is kept: closing one has nftables wait for all processors, 10 ms and more.
    fn netfilter<T>(&self, act: impl FnOnce(&mut Socket) -> io::Result<T>) -> io::Result<T> {
        let mut kept = self.netfilter.lock().expect("no panics under the lock");
        let mut socket = match kept.take() {
            Some(socket) => socket,
            None => {
                let open = || Socket::open(libc::NETLINK_NETFILTER);
                namespace::inside(self.netns.as_fd(), open)?
            }
        };
        // After a failure answers may be left in it.
        let done = act(&mut socket)?;
        *kept = Some(socket);
        Ok(done)
    }

    fn flows(&self) -> io::Result<Vec<Flow>> {
        let mut flows = self.flows.lock().expect("no panics under the lock");
        let flows = match &mut *flows {
            Some(flows) => flows,
            None => flows.insert(namespace::inside(self.netns.as_fd(), Flows::open)?),
        };
        flows.take()
    }

    /// Unless it was done by this process.
    fn prepare(&self, act: impl FnOnce(&Network) -> io::Result<()>) -> io::Result<()> {
        let mut prepared = self.prepared.lock().expect("no panics under the lock");
        if !*prepared {
            act(self)?;
            *prepared = true;
        }
        Ok(())
    }

    /// Made by the thread that stays in the namespace; it ends when this network is dropped.
    fn make(&self, socket: fn() -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
        let (reply, answer) = mpsc::channel();
        let mut thread = self.thread.lock().expect("no panics under the lock");
        let requests = match &*thread {
            Some(requests) => requests,
            None => thread.insert(stay(self.netns.try_clone()?)?),
        };
        let sent = requests.send((socket, reply));
        if sent.is_err() {
            *thread = None;
        }
        drop(thread);
        answer.recv().unwrap_or_else(|_| Err(io::Error::other("the network's thread ended")))
    }
}

/// Starts a thread that enters the namespace and makes a socket for each request.
fn stay(netns: File) -> io::Result<mpsc::Sender<Request>> {
    let (requests, inbox) = mpsc::channel::<Request>();
    let serve = move || {
        if let Err(error) = namespace::enter(netns.as_fd()) {
            tracing::warn!("entering a network: {error}");
            return;
        }
        drop(netns);
        for (make, reply) in inbox {
            // Whoever asked may be gone.
            let _ = reply.send(make());
        }
    };
    std::thread::Builder::new().name("network".into()).stack_size(128 * 1024).spawn(serve)?;
    Ok(requests)
}

fn listen(socket: &OwnedFd, address: SocketAddrV4) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    bind(socket, address)?;
    // SAFETY: a plain system call on a descriptor that is open.
    done(unsafe { libc::listen(socket.as_raw_fd(), 4096) })
}

/// Switches an option on.
fn set_option(socket: &OwnedFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let one: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `one` is a c_int that outlives the call, and its size is given.
    done(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const one).cast(), length)
    })
}

fn bind(socket: &OwnedFd, address: SocketAddrV4) -> io::Result<()> {
    let name = socket_name(address);
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: `name` is a sockaddr_in of the given length that outlives the call.
    done(unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), length) })
}

fn socket_name(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_carries_the_inner_end() {
        let inner = Inner {
            address: Ipv4Addr::new(172, 31, 0, 5),
            gateway: Ipv4Addr::new(172, 31, 0, 1),
            mac: [2, 0xab, 0, 0xcd, 0, 0xff],
        };
        assert_eq!(Inner::parse(&inner.alias()), Some(inner));
        assert_eq!(Inner::parse("something else"), None);
        assert_eq!(Inner::parse(""), None);
    }
}

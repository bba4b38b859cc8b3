//! Networks that are joined to others, as data, and probes between their instances.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fabric::network::{Block, Group, Network, Peer, Port, Rule, Subnet, Table, Target, Traffic};
use fabric::{Fabric, Interface};

use crate::world::{Instance, World, enter};

/// How long nothing must come until it counts as dropped; what is refused is so sooner.
pub const SILENCE: Duration = Duration::from_millis(400);
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A network of that space with a group that lets everything through, and subnets /24 from the second
/// one on, `sN` with its table `tN`.
pub fn network(space: &str) -> Network {
    let space = block(space);
    let [a, b, _, _] = space.base.octets();
    let all = || vec![Rule { traffic: Traffic::All, peer: Peer::Blocks([Block::ANY].into()) }];
    let free = Group { ingress: all(), egress: all(), ..Group::default() };
    let subnet = |n: u8| {
        let block = Block { base: [a, b, n, 0].into(), prefix: 24 };
        (format!("s{n}"), Subnet { block, acl: None, table: format!("t{n}") })
    };
    Network {
        blocks: vec![space],
        groups: [("free".to_owned(), free)].into(),
        subnets: (1..=3).map(subnet).collect(),
        tables: (1..=3).map(|n| (format!("t{n}"), Table::default())).collect(),
        ..Network::default()
    }
}

pub fn port(network: &mut Network, address: [u8; 4]) -> &mut Port {
    let port = Port {
        addresses: vec![address.into()],
        groups: ["free".to_owned()].into(),
        check: true,
        public: BTreeMap::new(),
        bandwidth: None,
    };
    network.ports.insert(name(address), port);
    network.ports.get_mut(&name(address)).expect("just put")
}

pub fn publish(port: &mut Port, public: [u8; 4]) {
    port.public.insert(port.addresses[0], public.into());
}

pub fn route(network: &mut Network, subnet: u8, to: &str, target: Target) {
    let table = network.tables.get_mut(&format!("t{subnet}")).unwrap();
    table.routes.insert(block(to), target);
}

pub fn block(text: &str) -> Block {
    let (base, prefix) = text.split_once('/').unwrap();
    Block { base: base.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

pub fn name([_, _, subnet, host]: [u8; 4]) -> String {
    format!("e-{subnet}-{host}")
}

pub fn apply(world: &World, name: &str, network: &Network) {
    for _ in 0..2 {
        world.fabric.apply(name, network).unwrap();
    }
}

pub fn join(world: &World, network: &str, address: [u8; 4]) -> Instance {
    let instance = Instance::new();
    world.fabric.ensure_network(network).unwrap();
    attach(world, network, address, &instance, "eth0");
    instance
}

pub fn attach(world: &World, network: &str, address: [u8; 4], instance: &Instance, inner: &str) {
    let interface = interface(address, inner);
    world.fabric.attach(network, &interface, instance.netns.as_fd()).unwrap();
}

pub fn interface(address: [u8; 4], inner: &str) -> Interface {
    let [a, b, subnet, host] = address;
    Interface {
        name: name(address),
        inner: inner.to_owned(),
        mac: [2, a, b, subnet, 0, host],
        address: address.into(),
        prefix: 24,
        gateway: [a, b, subnet, 1].into(),
        default_route: inner == "eth0",
    }
}

/// Tells everyone who asks at port 80 where they come from.
pub fn greet(instance: &Instance) {
    let listener = instance.listen(80);
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let _ = stream.write_all(from.ip().to_string().as_bytes());
        }
    });
}

/// As whom the one who answers there sees the instance.
pub fn ask(instance: &Instance, to: [u8; 4]) -> io::Result<String> {
    instance.run(move || read(to, PATIENCE))
}

pub fn read(to: [u8; 4], patience: Duration) -> io::Result<String> {
    let to = SocketAddr::V4(SocketAddrV4::new(to.into(), 80));
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Nothing comes for a while.
pub fn dropped(from: &Instance, to: [u8; 4]) {
    let error = from.run(move || read(to, SILENCE)).expect_err("it is dropped");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{to:?}: {error}");
}

/// An answer comes at once, and it is no.
pub fn refused(from: &Instance, to: [u8; 4]) {
    let error = from.run(move || read(to, SILENCE)).expect_err("it is refused");
    assert_ne!(error.kind(), ErrorKind::TimedOut, "{to:?}: dropped");
}

/// Either way.
pub fn unreached(from: &Instance, to: [u8; 4]) {
    from.run(move || read(to, SILENCE)).expect_err("it is not reached");
}

/// Runs on a thread in the instance's namespace.
pub fn inside<T: Send>(instance: &Instance, act: impl FnOnce() -> T + Send) -> T {
    in_namespace(&instance.netns, act)
}

pub fn in_namespace<T: Send>(netns: &File, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            enter(netns).unwrap();
            act()
        };
        scope.spawn(run).join().unwrap()
    })
}

pub fn links(world: &World, network: &str) -> BTreeSet<String> {
    let pin = File::open(world.fabric.namespace_path(network).unwrap()).unwrap();
    in_namespace(&pin, devices)
}

/// The links of the calling thread's namespace.
pub fn devices() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    text.lines().filter_map(name).collect()
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "in time: {what}");
        std::thread::yield_now();
    }
}

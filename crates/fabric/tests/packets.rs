//! The packet filter against the kernel: each kind of rule, with what it lets through and what not.
//! Needs the right to make namespaces; without it every test is reported as ignored.

mod bandwidth;
mod prediction;
mod world;

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use fabric::Fabric;
use fabric::linux::LinuxFabric;
use fabric::network::{
    Acl, Block, Entry, Group, Network, Node, Peer, Port, Rule, Service, Subnet, Traffic,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use world::{Instance, World, add_loopback_address, ip};

const SILENCE: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(5);

fn main() {
    world::run([
        ("a_port_without_rules_reaches_open_addresses_only", without_rules),
        ("rules_admit_their_traffic", rules_admit_their_traffic),
        ("rules_admit_their_peers", rules_admit_their_peers),
        ("egress_is_asked_too", egress_is_asked_too),
        ("nodes_are_members_and_have_rules", nodes_are_members_and_have_rules),
        ("services_answer_their_sources", services_answer_their_sources),
        ("acls_go_by_order_and_ask_answers_too", acls_go_by_order_and_ask_answers_too),
        ("a_forged_source_is_dropped_first", a_forged_source_is_dropped_first),
        ("an_unchecked_port_may_speak_for_others", an_unchecked_port_may_speak_for_others),
        ("changes_are_for_new_connections", changes_are_for_new_connections),
        ("what_passes_and_what_is_dropped_is_counted", flows_are_counted),
        ("links_elsewhere_pass_the_ports_side_only", links_elsewhere),
        ("a_port_carries_its_burst_and_then_its_baseline", bandwidth::bandwidth),
        ("random_networks_do_what_is_predicted", prediction::random_networks),
        ("joined_networks_do_what_is_predicted", prediction::joined_networks),
    ])
}

fn without_rules() {
    let world = World::new("closed");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-6", 6));
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    for address in [metadata, ip(20)] {
        world.fabric.ensure_address("n", address).unwrap();
    }
    let _listeners = [metadata, ip(20)]
        .map(|a| world.fabric.tcp_listener("n", SocketAddrV4::new(a, 80)).unwrap());
    let _b = b.listen(80);
    // Never said anything of: everything passes.
    assert!(tcp(&a, ip(6), 80, true));
    let mut network = network([]);
    network.open.insert(metadata);
    for ports in [vec![], vec![(5, port(5, &[])), (6, port(6, &[]))]] {
        network.ports = ports.into_iter().map(|(host, port)| (name(host), port)).collect();
        world.fabric.apply("n", &network).unwrap();
        assert!(tcp(&a, metadata, 80, true));
        assert!(!tcp(&a, ip(6), 80, false));
        assert!(!tcp(&a, ip(20), 80, false));
        assert!(!tcp(&a, ip(1), 80, false));
    }
    network.ports.insert("x-5".into(), port(5, &[]));
    assert!(world.fabric.apply("n", &network).is_err());
}

fn rules_admit_their_traffic() {
    let world = World::new("traffic");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-6", 6));
    let _listeners = [80, 81, 443].map(|port| b.listen(port));
    let _echoes = [53, 54].map(|port| Echo::start(&b, port));
    type Row = (Traffic, [bool; 3], [bool; 2], bool);
    let rows: [Row; 9] = [
        (Traffic::All, [true, true, true], [true, true], true),
        (Traffic::Tcp(80, 80), [true, false, false], [false, false], false),
        (Traffic::Tcp(80, 81), [true, true, false], [false, false], false),
        (Traffic::Tcp(0, 65535), [true, true, true], [false, false], false),
        (Traffic::Udp(53, 53), [false, false, false], [true, false], false),
        (Traffic::Udp(0, 65535), [false, false, false], [true, true], false),
        (Traffic::Icmp(Some(8), Some(0)), [false, false, false], [false, false], true),
        (Traffic::Icmp(Some(3), None), [false, false, false], [false, false], false),
        (Traffic::Protocol(6), [true, true, true], [false, false], false),
    ];
    for (traffic, by_tcp, by_udp, by_icmp) in rows {
        let admits = rule(traffic.clone(), [Block::ANY]);
        let network = network([(5, port(5, &["free"])), (6, port(6, &["server"]))]).with(
            "server",
            [admits],
            [],
        );
        world.fabric.apply("n", &network).unwrap();
        for (port, expected) in [80, 81, 443].into_iter().zip(by_tcp) {
            assert_eq!(tcp(&a, ip(6), port, expected), expected, "{traffic:?} tcp {port}");
        }
        for (port, expected) in [53, 54].into_iter().zip(by_udp) {
            assert_eq!(udp(&a, ip(6), port, expected), expected, "{traffic:?} udp {port}");
        }
        assert_eq!(ping(&a, ip(6), by_icmp), by_icmp, "{traffic:?} icmp");
    }
}

fn rules_admit_their_peers() {
    let world = World::new("peers");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-6", 6));
    let c = world.instance("n", "e-70", 70);
    let _listener = c.listen(80);
    let block = |host, prefix| Block { base: ip(host), prefix };
    let by = |peer: Peer| Rule { traffic: Traffic::Tcp(80, 80), peer };
    let blocks = |blocks: &[Block]| by(Peer::Blocks(blocks.iter().copied().collect()));
    let group = |name: &str| by(Peer::Group(name.into()));
    // Whether 5 (of groups web and all) and 6 (of group all) get through.
    let rows = [
        (vec![blocks(&[Block::ANY])], true, true),
        (vec![blocks(&[block(5, 32)])], true, false),
        (vec![blocks(&[block(6, 31)])], false, true),
        (vec![blocks(&[block(4, 30), block(64, 26)])], true, true),
        (vec![blocks(&[block(64, 26)])], false, false),
        (vec![blocks(&[])], false, false),
        (vec![group("web")], true, false),
        (vec![group("all")], true, true),
        (vec![group("elsewhere")], false, true),
        (vec![group("nobody")], false, false),
        (vec![blocks(&[block(6, 32)]), group("web")], true, true),
        (vec![], false, false),
    ];
    for (rules, from_a, from_b) in rows {
        let shown = format!("{rules:?}");
        let mut network = network([
            (5, port(5, &["free", "web", "all"])),
            (6, port(6, &["free", "all"])),
            // Several groups admit together.
            (70, port(70, &["nothing", "server"])),
        ])
        .with("nothing", [], [])
        .with("elsewhere", [], [])
        .with("server", rules, []);
        network.groups.get_mut("elsewhere").unwrap().members_elsewhere.insert(ip(6));
        world.fabric.apply("n", &network).unwrap();
        assert_eq!(tcp(&a, ip(70), 80, from_a), from_a, "{shown}");
        assert_eq!(tcp(&b, ip(70), 80, from_b), from_b, "{shown}");
    }
}

fn egress_is_asked_too() {
    let world = World::new("egress");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-6", 6));
    let _listeners = [80, 81].map(|port| b.listen(port));
    let _back = a.listen(80);
    let everything = || rule(Traffic::All, [Block::ANY]);
    let only = |port| rule(Traffic::Tcp(port, port), [Block::from(ip(6))]);
    let network = network([(5, port(5, &["client"])), (6, port(6, &["server"]))])
        .with("client", [everything()], [only(80)])
        .with("server", [everything()], []);
    world.fabric.apply("n", &network).unwrap();
    assert!(tcp(&a, ip(6), 80, true));
    assert!(!tcp(&a, ip(6), 81, false));
    assert!(!ping(&a, ip(6), false));
    // The answers above left b, though nothing may begin there.
    assert!(!tcp(&b, ip(5), 80, false));
}

fn nodes_are_members_and_have_rules() {
    let world = World::new("nodes");
    let a = world.instance("n", "e-5", 5);
    let node = ip(20);
    for address in [node, ip(21)] {
        world.fabric.ensure_address("n", address).unwrap();
    }
    let listen = |port| world.fabric.tcp_listener("n", SocketAddrV4::new(node, port)).unwrap();
    let _nodes = [80, 81].map(listen);
    let _instance = [80, 81].map(|port| a.listen(port));
    let mut network = network([(5, port(5, &["server"]))])
        .with("server", [by_group(80, "balancer")], [rule(Traffic::All, [Block::ANY])])
        .with("balancer", [by_group(80, "server")], [by_group(80, "server")]);
    network.nodes.insert(node, Node { groups: ["balancer".into()].into(), ..Node::default() });
    network.nodes.insert(ip(21), Node::default());
    world.fabric.apply("n", &network).unwrap();
    assert!(tcp(&a, node, 80, true));
    assert!(!tcp(&a, node, 81, false));
    let from = |source, to, port, expected| dial(&world, source, to, port, expected);
    assert!(from(node, ip(5), 80, true));
    assert!(!from(node, ip(5), 81, false));
    // A node of other groups, and the network itself, are not the balancer.
    assert!(!from(ip(21), ip(5), 80, false));
    assert!(!from(ip(1), ip(5), 80, false));
    // One node to another, on the same device: asked as well.
    assert!(!from(ip(21), node, 80, false));
    assert!(from(node, node, 81, true));
}

fn services_answer_their_sources() {
    let world = World::new("services");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-6", 6));
    let storage = Ipv4Addr::new(192, 0, 2, 1);
    world.fabric.ensure_address("n", storage).unwrap();
    let _listeners = [80, 443]
        .map(|port| world.fabric.tcp_listener("n", SocketAddrV4::new(storage, port)).unwrap());
    let https = rule(Traffic::Tcp(443, 443), [Block::from(storage)]);
    let mut network =
        network([(5, port(5, &["client"])), (6, port(6, &["client"]))]).with("client", [], [https]);
    network.services.insert(storage, Service { sources: [Block::from(ip(5))].into() });
    world.fabric.apply("n", &network).unwrap();
    assert!(tcp(&a, storage, 443, true));
    assert!(!tcp(&a, storage, 80, false), "the sender's rules hold");
    assert!(!tcp(&b, storage, 443, false), "its routes do not lead there");
}

fn acls_go_by_order_and_ask_answers_too() {
    let world = World::new("acls");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-70", 70));
    let neighbour = world.instance("n", "e-71", 71);
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    world.fabric.ensure_address("n", metadata).unwrap();
    let _metadata = world.fabric.tcp_listener("n", SocketAddrV4::new(metadata, 80)).unwrap();
    let _listeners = [80, 81].map(|port| b.listen(port));
    let entry = |allow, traffic, block| Entry { allow, traffic, block };
    let tcp_ports = |allow, first, last| entry(allow, Traffic::Tcp(first, last), Block::ANY);
    let all = |allow| entry(allow, Traffic::All, Block::ANY);
    let high = || vec![tcp_ports(true, 1024, 65535)];
    let mut from = 40000..;
    // Ingress and egress of the subnet of 70; whether ports 80 and 81 can be reached.
    let rows = [
        (vec![all(true)], vec![all(true)], true, true),
        (vec![tcp_ports(true, 80, 80)], high(), true, false),
        (vec![tcp_ports(false, 80, 80), all(true)], high(), false, true),
        (vec![all(true), tcp_ports(false, 80, 80)], high(), true, true),
        (vec![entry(false, Traffic::All, Block::from(ip(5))), all(true)], high(), false, false),
        (vec![entry(false, Traffic::All, Block::from(ip(6))), all(true)], high(), true, true),
        (vec![all(true)], vec![tcp_ports(true, 80, 81)], false, false),
        (vec![all(true)], vec![tcp_ports(true, 40000, 41000)], true, true),
        (vec![all(true)], vec![tcp_ports(true, 50000, 65535)], false, false),
        (vec![all(true)], vec![], false, false),
        (vec![], vec![all(true)], false, false),
    ];
    let free = |host| (host, port(host, &["free"]));
    for (ingress, egress, to_80, to_81) in rows {
        let shown = format!("{ingress:?} {egress:?}");
        let mut network = network([free(5), free(70), free(71)]);
        network.acls.insert("b".into(), Acl { ingress, egress });
        network.subnets.get_mut("b").unwrap().acl = Some("b".into());
        network.open.insert(metadata);
        world.fabric.apply("n", &network).unwrap();
        for (port, expected) in [(80, to_80), (81, to_81)] {
            let got = tcp_from(&a, from.next().unwrap(), ip(70), port, expected);
            assert_eq!(got, expected, "{shown}: port {port}");
        }
        assert!(tcp(&neighbour, ip(70), 80, true), "{shown}: within its subnet");
        assert!(tcp(&b, metadata, 80, true), "{shown}: an open address");
    }
}

fn a_forged_source_is_dropped_first() {
    let world = World::new("forged");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-6", 6));
    let victim = world.instance("n", "e-7", 7);
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    world.fabric.ensure_address("n", metadata).unwrap();
    let metadata_receiver = world.inside("n", move || UdpSocket::bind((metadata, 9)).unwrap());
    let free = |host| (host, port(host, &["free"]));
    let mut network = network([free(5), free(6), free(7)]);
    network.open.insert(metadata);
    world.fabric.apply("n", &network).unwrap();
    // So that nothing but the packet filter asks where a packet comes from.
    world.inside("n", || {
        for device in std::fs::read_dir("/proc/sys/net/ipv4/conf").unwrap() {
            std::fs::write(device.unwrap().path().join("rp_filter"), "0").unwrap();
        }
    });
    await_link(&a, &b, ip(6));
    await_link(&a, &victim, ip(7));
    a.run(|| add_loopback_address(ip(7)));
    let receiver = b.run(|| UdpSocket::bind((ip(6), 9)).unwrap());
    for (receiver, address) in [(&receiver, ip(6)), (&metadata_receiver, metadata)] {
        let send = |source: Ipv4Addr, word: &'static [u8]| {
            let socket = a.run(move || UdpSocket::bind((source, 0)).unwrap());
            socket.send_to(word, (address, 9)).unwrap();
        };
        send(ip(7), b"forged");
        send(ip(5), b"honest");
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut word = [0; 16];
        let (n, from) = receiver.recv_from(&mut word).unwrap();
        assert_eq!((&word[..n], from.ip()), (&b"honest"[..], ip(5).into()));
    }
    // Nor does it get what is sent to the address that it took.
    let stolen = a.run(|| UdpSocket::bind((ip(7), 10)).unwrap());
    let owner = victim.run(|| UdpSocket::bind((ip(7), 10)).unwrap());
    let sender = b.run(|| UdpSocket::bind((ip(6), 0)).unwrap());
    sender.send_to(b"secret", (ip(7), 10)).unwrap();
    owner.set_read_timeout(Some(PATIENCE)).unwrap();
    owner.recv_from(&mut [0; 16]).expect("its owner has it");
    stolen.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(stolen.recv_from(&mut [0; 16]).is_err());
}

fn an_unchecked_port_may_speak_for_others() {
    let world = World::new("unchecked");
    let mut network =
        network([(5, Port { check: false, ..port(5, &["free"]) }), (6, port(6, &["free"]))]);
    let receive = |receiver: &UdpSocket| {
        let mut word = [0; 16];
        receiver.recv_from(&mut word).map(|(_, from)| from.ip())
    };
    let foreign = ip(99);
    // The rules may be there before the link, and after it.
    for _ in 0..2 {
        let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-6", 6));
        a.run(move || add_loopback_address(foreign));
        let receiver = b.run(|| UdpSocket::bind((ip(6), 9)).unwrap());
        let sender = a.run(move || UdpSocket::bind((foreign, 0)).unwrap());
        for check in [false, true, false] {
            network.ports.get_mut("e-5").unwrap().check = check;
            world.fabric.apply("n", &network).unwrap();
            await_link(&a, &b, ip(6));
            sender.send_to(b"word", (ip(6), 9)).unwrap();
            receiver.set_read_timeout(Some(if check { SILENCE } else { PATIENCE })).unwrap();
            assert_eq!(receive(&receiver).ok(), (!check).then_some(foreign.into()));
        }
    }
}

fn changes_are_for_new_connections() {
    let world = World::new("changes");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-6", 6));
    let listener = b.listen(80);
    let web = || rule(Traffic::Tcp(80, 80), [Block::ANY]);
    let ports = [(5, port(5, &["free"])), (6, port(6, &["server"]))];
    let open = network(ports.clone()).with("server", [web()], []);
    let closed = network(ports).with("server", [], []);
    for _ in 0..2 {
        world.fabric.apply("n", &open).unwrap();
    }
    let mut client = a.connect(ip(6), 80).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut talk = || {
        client.write_all(b"word").unwrap();
        let mut word = [0; 4];
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        server.read_exact(&mut word).unwrap();
    };
    talk();
    world.fabric.apply("n", &closed).unwrap();
    talk();
    assert!(!tcp(&a, ip(6), 80, false));
    world.fabric.apply("n", &open).unwrap();
    assert!(tcp(&a, ip(6), 80, true));
    // Another process knows nothing of what is in force, and makes all of it anew.
    let again = LinuxFabric::open(&world.run_dir).unwrap();
    again.apply("n", &closed).unwrap();
    talk();
    assert!(!tcp(&a, ip(6), 80, false));
    let mut without = open.clone();
    without.ports.remove("e-6");
    again.apply("n", &open).unwrap();
    assert!(tcp(&a, ip(6), 80, true));
    again.apply("n", &without).unwrap();
    assert!(!tcp(&a, ip(6), 80, false));
}

fn flows_are_counted() {
    let world = World::new("flows");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-6", 6));
    let _listener = b.listen(80);
    let rules = [rule(Traffic::Tcp(80, 80), [Block::ANY])];
    let everything = [rule(Traffic::All, [Block::ANY])];
    let mut network = network([(5, port(5, &["free"])), (6, port(6, &["web"]))]);
    network = network.with("web", rules, everything);
    network.log = true;
    world.fabric.apply("n", &network).unwrap();
    world.fabric.flows("n").unwrap();
    assert!(tcp(&a, ip(6), 80, true));
    assert!(!tcp(&a, ip(6), 81, false));
    let flows = world.fabric.flows("n").unwrap();
    let find = |source, destination, accepted| {
        let found = flows.iter().find(|flow| {
            (flow.source.0, flow.destination, flow.accepted) == (source, destination, accepted)
        });
        found.unwrap_or_else(|| panic!("{source} to {destination:?}: {flows:?}"))
    };
    let there = find(ip(5), (ip(6), 80), true);
    assert!(there.packets >= 2 && there.bytes >= 80, "{there:?}");
    let back = find(ip(6), there.source, true);
    assert_eq!((back.source, back.protocol), ((ip(6), 80), 6));
    let dropped = find(ip(5), (ip(6), 81), false);
    assert_eq!((dropped.packets, dropped.protocol), (1, 6));
    assert!(world.fabric.flows("n").unwrap().iter().all(|flow| !flow.accepted || flow.packets < 5));
}

fn links_elsewhere() {
    let world = World::new("links");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "x-outside", 200));
    let other = world.instance("n", "x-other", 201);
    let _listeners = [80, 81].map(|port| a.listen(port));
    let _outside = [80, 81].map(|port| b.listen(port));
    let _transit = other.listen(80);
    let network = network([(5, port(5, &["server"]))]).with(
        "server",
        [rule(Traffic::Tcp(80, 80), [Block::ANY])],
        [rule(Traffic::Tcp(80, 80), [Block::ANY])],
    );
    world.fabric.apply("n", &network).unwrap();
    assert!(tcp(&b, ip(5), 80, true));
    assert!(!tcp(&b, ip(5), 81, false));
    assert!(tcp(&a, ip(200), 80, true));
    assert!(!tcp(&a, ip(200), 81, false));
    assert!(!tcp(&b, ip(201), 80, false), "from one link to another");
}

/// Three subnets of 64 addresses, without ACLs, and the group `free` that admits everything.
fn network<const N: usize>(ports: [(u8, Port); N]) -> Network {
    let subnet = |(name, host): (&str, u8)| {
        let block = Block { base: ip(host), prefix: 26 };
        (name.to_owned(), Subnet { block, acl: None, table: "main".into() })
    };
    let network = Network {
        blocks: vec![Block { base: ip(0), prefix: 20 }],
        ports: ports.into_iter().map(|(host, port)| (name(host), port)).collect(),
        subnets: [("a", 0), ("b", 64), ("c", 128)].map(subnet).into(),
        ..Network::default()
    };
    let everything = || rule(Traffic::All, [Block::ANY]);
    network.with("free", [everything()], [everything()])
}

trait With {
    fn with(
        self,
        group: &str,
        ingress: impl IntoIterator<Item = Rule>,
        egress: impl IntoIterator<Item = Rule>,
    ) -> Self;
}

impl With for Network {
    fn with(
        mut self,
        group: &str,
        ingress: impl IntoIterator<Item = Rule>,
        egress: impl IntoIterator<Item = Rule>,
    ) -> Network {
        let (ingress, egress) = (ingress.into_iter().collect(), egress.into_iter().collect());
        let group_of_rules = Group { ingress, egress, ..Group::default() };
        self.groups.insert(group.to_owned(), group_of_rules);
        self
    }
}

fn name(host: u8) -> String {
    format!("e-{host}")
}

fn port(host: u8, groups: &[&str]) -> Port {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Port { addresses: vec![ip(host)], groups, check: true, ..Port::default() }
}

fn rule<const N: usize>(traffic: Traffic, blocks: [Block; N]) -> Rule {
    Rule { traffic, peer: Peer::Blocks(blocks.into()) }
}

fn by_group(port: u16, group: &str) -> Rule {
    Rule { traffic: Traffic::Tcp(port, port), peer: Peer::Group(group.to_owned()) }
}

/// How long to wait for what is expected, or for what is not.
fn deadline(expected: bool) -> Duration {
    if expected { PATIENCE } else { SILENCE }
}

fn tcp(from: &Instance, to: Ipv4Addr, port: u16, expected: bool) -> bool {
    let to = SocketAddrV4::new(to, port).into();
    from.run(move || TcpStream::connect_timeout(&to, deadline(expected)).is_ok())
}

/// From a port of the caller's choice.
fn tcp_from(from: &Instance, port: u16, to: Ipv4Addr, to_port: u16, expected: bool) -> bool {
    from.run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bind_and_connect(&socket, (Ipv4Addr::UNSPECIFIED, port), (to, to_port), expected)
    })
}

/// From an address of the network itself.
fn dial(world: &World, from: Ipv4Addr, to: Ipv4Addr, port: u16, expected: bool) -> bool {
    let socket = Socket::from(world.fabric.tcp_socket("n").unwrap());
    bind_and_connect(&socket, (from, 0), (to, port), expected)
}

fn bind_and_connect(
    socket: &Socket,
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    expected: bool,
) -> bool {
    socket.set_reuse_address(true).unwrap();
    // Leaves nothing behind in which the next connection could be taken for this one.
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.bind(&SocketAddrV4::new(from.0, from.1).into()).unwrap();
    let to: SockAddr = SocketAddrV4::new(to.0, to.1).into();
    socket.connect_timeout(&to, deadline(expected)).is_ok()
}

/// Datagrams to a link are lost until the kernel has seen that its other end is up.
fn await_link(from: &Instance, to: &Instance, address: Ipv4Addr) {
    let _listener = to.listen(1);
    assert!(tcp(from, address, 1, true));
}

/// Whether what is sent is answered by an [`Echo`].
fn udp(from: &Instance, to: Ipv4Addr, port: u16, expected: bool) -> bool {
    let socket = from.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    socket.set_read_timeout(Some(deadline(expected))).unwrap();
    socket.send_to(b"word", (to, port)).unwrap();
    socket.recv_from(&mut [0; 16]).is_ok()
}

/// Whether an ICMP echo is answered.
fn ping(from: &Instance, to: Ipv4Addr, expected: bool) -> bool {
    let socket = from.run(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap());
    socket.set_read_timeout(Some(deadline(expected))).unwrap();
    // Each its own id: an answered one is a connection of its own.
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    // Type and code, checksum (the sum of all words is all ones), id, sequence.
    let request: Vec<u8> = [0x0800, !(0x0800 + id), id, 0].map(u16::to_be_bytes).concat();
    socket.send_to(&request, &SocketAddrV4::new(to, 0).into()).unwrap();
    let mut packet = [MaybeUninit::uninit(); 64];
    while let Ok((length, _)) = socket.recv_from(&mut packet) {
        // Behind the IP header: the type of the answer.
        const KIND: usize = 20;
        // SAFETY: that many bytes were written.
        if length > KIND && unsafe { packet[KIND].assume_init() } == 0 {
            return true;
        }
    }
    false
}

/// Answers datagrams until it is dropped.
struct Echo(UdpSocket);

impl Echo {
    fn start(on: &Instance, port: u16) -> Echo {
        let socket = on.run(move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        let server = socket.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut word = [0; 64];
            while let Ok((length, from)) = server.recv_from(&mut word) {
                if length == 0 || server.send_to(&word[..length], from).is_err() {
                    return;
                }
            }
        });
        Echo(socket)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Wakes the thread up.
        let _ = Socket::from(self.0.try_clone().unwrap()).shutdown(std::net::Shutdown::Both);
    }
}

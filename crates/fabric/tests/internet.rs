//! The internet of an installation, against the kernel: public addresses, NATs, the way out and the host's
//! way in, each with what it lets through and what not. Needs the right to make namespaces; without it
//! every test is reported as ignored.

#[allow(unused, reason = "each test uses some of it")]
#[path = "world/joined.rs"]
mod joined;
#[allow(unused, reason = "each test uses some of it")]
mod world;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use fabric::Fabric;
use fabric::linux::{LinuxFabric, tear_down};
use fabric::network::{Acl, Block, Entry, Group, Nat, Network, Peer, Rule, Target, Traffic};
use joined::*;
use socket2::{Domain, Protocol, Socket, Type};
use world::{Instance, World};

fn main() {
    world::run([
        ("public_addresses_are_reached_and_seen", public_addresses_are_reached_and_seen),
        ("public_addresses_move", public_addresses_move),
        ("nats_lead_outwards_only", nats_lead_outwards_only),
        ("a_nat_takes_its_addresses_in_turn", a_nat_takes_its_addresses_in_turn),
        ("private_nats_lead_to_peered_networks", private_nats_lead_to_peered_networks),
        ("the_acl_of_a_nat_is_asked", the_acl_of_a_nat_is_asked),
        ("connections_end_with_their_address", connections_end_with_their_address),
        ("groups_see_public_addresses_of_others", groups_see_public_addresses_of_others),
        ("the_way_out_is_relayed", the_way_out_is_relayed),
        ("datagrams_out_are_relayed", datagrams_out_are_relayed),
        ("the_host_reaches_its_pool", the_host_reaches_its_pool),
        ("a_restart_finds_what_is_there", a_restart_finds_what_is_there),
    ])
}

/// Two networks of equal addresses, and two instances of one of them.
struct Public {
    world: World,
    networks: [Network; 2],
    a: Instance,
    b: Instance,
    other: Instance,
    private: Instance,
}

const A: [u8; 4] = [198, 18, 0, 1];
const B: [u8; 4] = [198, 18, 0, 2];
const OTHER: [u8; 4] = [198, 18, 0, 3];

impl Public {
    fn new(name: &str) -> Public {
        let world = World::new(name);
        let a = join(&world, "n", [10, 0, 1, 5]);
        let b = join(&world, "n", [10, 0, 1, 6]);
        let private = join(&world, "n", [10, 0, 2, 7]);
        let other = join(&world, "m", [10, 0, 1, 5]);
        [&a, &b, &private, &other].into_iter().for_each(greet);
        let mut networks = ["10.0.0.0/16"; 2].map(network);
        for network in &mut networks {
            network.internet = true;
            route(network, 1, "0.0.0.0/0", Target::Internet);
        }
        let [n, m] = &mut networks;
        publish(port(n, [10, 0, 1, 5]), A);
        publish(port(n, [10, 0, 1, 6]), B);
        port(n, [10, 0, 2, 7]);
        publish(port(m, [10, 0, 1, 5]), OTHER);
        let public = Public { world, networks, a, b, other, private };
        public.apply();
        public
    }

    fn apply(&self) {
        for (name, network) in ["n", "m"].iter().zip(&self.networks) {
            apply(&self.world, name, network);
        }
    }
}

fn public_addresses_are_reached_and_seen() {
    let mut public = Public::new("public");
    let Public { a, b, other, private, .. } = &public;
    assert_eq!(ask(a, OTHER).unwrap(), "198.18.0.1");
    assert_eq!(ask(other, A).unwrap(), "198.18.0.3");
    assert_eq!(ask(a, B).unwrap(), "198.18.0.1", "in the same network");
    assert_eq!(ask(a, A).unwrap(), "198.18.0.1", "its own");
    assert_eq!(ask(b, [10, 0, 1, 5]).unwrap(), "10.0.1.6", "inside nothing is translated");
    // Nobody's, and not the world's either.
    refused(a, [198, 18, 0, 9]);
    refused(a, [198, 19, 255, 9]);
    unreached(private, OTHER);
    route(&mut public.networks[0], 2, "0.0.0.0/0", Target::Internet);
    public.apply();
    dropped(&public.private, OTHER);
    // Not joined any more.
    public.networks[0].internet = false;
    public.apply();
    dropped(&public.a, OTHER);
    refused(&public.other, A);
    assert!(!links(&public.world, "n").contains("xinternet"));
    public.networks[0].internet = true;
    public.networks[0].ports.get_mut(&name([10, 0, 1, 5])).unwrap().public =
        [([10, 0, 1, 5].into(), [8, 8, 8, 8].into())].into();
    let world = &public.world;
    assert!(world.fabric.apply("n", &public.networks[0]).is_err(), "no address of the pools");
}

fn public_addresses_move() {
    let Public { world, mut networks, a, b, other, .. } = Public::new("move");
    networks[0].ports.get_mut(&name([10, 0, 1, 5])).unwrap().public.clear();
    apply(&world, "n", &networks[0]);
    refused(&other, A);
    dropped(&a, OTHER);
    // To another instance, and to another network.
    let to = networks[0].ports.get_mut(&name([10, 0, 1, 6])).unwrap();
    to.public = [([10, 0, 1, 6].into(), A.into())].into();
    apply(&world, "n", &networks[0]);
    assert_eq!(ask(&b, OTHER).unwrap(), "198.18.0.1");
    assert_eq!(ask(&other, A).unwrap(), "198.18.0.3");
    networks[0].ports.get_mut(&name([10, 0, 1, 6])).unwrap().public.clear();
    let theirs = networks[1].ports.get_mut(&name([10, 0, 1, 5])).unwrap();
    theirs.public = [([10, 0, 1, 5].into(), A.into())].into();
    let from = networks[0].ports.get_mut(&name([10, 0, 1, 5])).unwrap();
    from.public = [([10, 0, 1, 5].into(), B.into())].into();
    // The new owner may come before the old one lets go.
    apply(&world, "m", &networks[1]);
    apply(&world, "n", &networks[0]);
    assert_eq!(ask(&a, A).unwrap(), "198.18.0.2");
    assert_eq!(ask(&other, B).unwrap(), "198.18.0.1");
}

fn public_nat(addresses: &[[u8; 4]]) -> Nat {
    let addresses = addresses.iter().map(|address| (*address).into()).collect();
    Nat { addresses, public: true, subnet: "s1".into(), ..Nat::default() }
}

fn nats_lead_outwards_only() {
    let mut public = Public::new("nat");
    let nat = [198, 18, 0, 7];
    let n = &mut public.networks[0];
    n.nats.insert("nat-1".into(), public_nat(&[nat]));
    n.nats.insert("nat-2".into(), public_nat(&[[198, 18, 0, 8]]));
    route(n, 2, "0.0.0.0/0", Target::Nat("nat-1".into()));
    public.apply();
    assert_eq!(ask(&public.private, OTHER).unwrap(), "198.18.0.7");
    assert_eq!(ask(&public.private, A).unwrap(), "198.18.0.7", "in the same network");
    assert_eq!(ask(&public.a, OTHER).unwrap(), "198.18.0.1", "others are not translated");
    dropped(&public.other, nat);
    dropped(&public.a, nat);
    // The more specific route is by the other one; a public address of one's own does not matter.
    let n = &mut public.networks[0];
    route(n, 2, "198.18.0.3/32", Target::Nat("nat-2".into()));
    publish(n.ports.get_mut(&name([10, 0, 2, 7])).unwrap(), [198, 18, 0, 9]);
    public.apply();
    assert_eq!(ask(&public.private, OTHER).unwrap(), "198.18.0.8");
    assert_eq!(ask(&public.private, B).unwrap(), "198.18.0.7");
    public.networks[0].nats.remove("nat-1");
    public.apply();
    dropped(&public.private, B);
    assert_eq!(ask(&public.private, OTHER).unwrap(), "198.18.0.8");
}

fn a_nat_takes_its_addresses_in_turn() {
    let mut public = Public::new("turn");
    let all = [[198, 18, 0, 7], [198, 18, 0, 8], [198, 18, 0, 10]];
    let n = &mut public.networks[0];
    n.nats.insert("nat".into(), public_nat(&all));
    route(n, 2, "0.0.0.0/0", Target::Nat("nat".into()));
    public.apply();
    let seen = |public: &Public| -> BTreeSet<String> {
        (0..3).map(|_| ask(&public.private, OTHER).unwrap()).collect()
    };
    let shown = all.map(|address| Ipv4Addr::from(address).to_string());
    assert_eq!(seen(&public), shown.clone().into());
    // One that drains is given to no new connection, and those that have it go on.
    let held: Vec<_> = (0..3).map(|_| hold(&public.private, &public.other, OTHER)).collect();
    let by_last = |held: &Held| held.peer == shown[2];
    assert!(held.iter().any(by_last));
    let nat = public.networks[0].nats.get_mut("nat").unwrap();
    nat.draining = nat.addresses.split_off(2);
    public.apply();
    assert_eq!(seen(&public), shown[..2].iter().cloned().collect());
    assert!(held.iter().all(Held::lives));
    public.networks[0].nats.get_mut("nat").unwrap().draining.clear();
    public.apply();
    for held in &held {
        assert_eq!(held.lives(), !by_last(held), "{}", held.peer);
    }
}

/// `n`, whose second subnet is led to a private NAT in its third one, that is led to `o`.
struct Inner {
    world: World,
    n: Network,
    o: Network,
    sender: Instance,
    far: Instance,
}

const FAR: [u8; 4] = [10, 8, 1, 5];
const INNER: [u8; 4] = [10, 0, 3, 77];

impl Inner {
    fn new(name: &str) -> Inner {
        let world = World::new(name);
        let sender = join(&world, "n", [10, 0, 2, 7]);
        let far = join(&world, "o", FAR);
        [&sender, &far].into_iter().for_each(greet);
        let [mut n, mut o] = ["10.0.0.0/16", "10.8.0.0/16"].map(network);
        port(&mut n, [10, 0, 2, 7]);
        port(&mut o, FAR);
        n.peerings.insert("pcx".into(), "o".into());
        o.peerings.insert("pcx".into(), "n".into());
        let nat = Nat { addresses: vec![INNER.into()], subnet: "s3".into(), ..Nat::default() };
        n.nats.insert("inner".into(), nat);
        route(&mut n, 2, "0.0.0.0/0", Target::Nat("inner".into()));
        route(&mut n, 3, "10.8.0.0/16", Target::Peering("pcx".into()));
        route(&mut o, 1, "10.0.0.0/16", Target::Peering("pcx".into()));
        let inner = Inner { world, n, o, sender, far };
        inner.apply();
        inner
    }

    fn apply(&self) {
        apply(&self.world, "n", &self.n);
        apply(&self.world, "o", &self.o);
    }
}

fn private_nats_lead_to_peered_networks() {
    let mut inner = Inner::new("inner");
    assert_eq!(ask(&inner.sender, FAR).unwrap(), "10.0.3.77");
    unreached(&inner.far, INNER);
    dropped(&inner.far, [10, 0, 2, 7]);
    // Only where the table of its own subnet leads.
    unreached(&inner.sender, [10, 9, 1, 5]);
    inner.n.tables.get_mut("t3").unwrap().routes.clear();
    inner.apply();
    unreached(&inner.sender, FAR);
    route(&mut inner.n, 3, "10.8.1.0/24", Target::Peering("pcx".into()));
    inner.apply();
    assert_eq!(ask(&inner.sender, FAR).unwrap(), "10.0.3.77");
    route(&mut inner.n, 2, "10.8.1.0/24", Target::Peering("pcx".into()));
    inner.apply();
    assert_eq!(ask(&inner.sender, FAR).unwrap(), "10.0.2.7", "by the route that is more specific");
    let table = inner.n.tables.get_mut("t2").unwrap();
    table.routes.remove(&block("10.8.1.0/24"));
    inner.n.nats.clear();
    inner.apply();
    unreached(&inner.sender, FAR);
}

fn the_acl_of_a_nat_is_asked() {
    let mut inner = Inner::new("nat-acl");
    let allow = |traffic, block| Entry { allow: true, traffic, block };
    let any = || vec![allow(Traffic::All, Block::ANY)];
    let (web, high) = (Traffic::Tcp(80, 80), Traffic::Tcp(1024, 65535));
    let near = block("10.0.0.0/16");
    let far = block("10.8.0.0/16");
    // In from the sender and from the one it asks, out to both.
    let ingress = || vec![allow(web.clone(), near), allow(high.clone(), far)];
    let egress = || vec![allow(web.clone(), far), allow(high.clone(), near)];
    let without = |all: Vec<Entry>, at: usize| {
        all.into_iter().enumerate().filter(|(n, _)| *n != at).map(|(_, entry)| entry).collect()
    };
    inner.n.subnets.get_mut("s3").unwrap().acl = Some("acl".into());
    for (ingress, egress, passes) in [
        (any(), any(), true),
        (ingress(), egress(), true),
        (without(ingress(), 0), egress(), false),
        (without(ingress(), 1), egress(), false),
        (ingress(), without(egress(), 0), false),
        (ingress(), without(egress(), 1), false),
    ] {
        let acl = Acl { ingress, egress };
        inner.n.acls = [("acl".to_owned(), acl.clone())].into();
        inner.apply();
        match passes {
            true => assert_eq!(ask(&inner.sender, FAR).unwrap(), "10.0.3.77", "{acl:?}"),
            false => dropped(&inner.sender, FAR),
        }
    }
    // The same of a public one.
    let mut public = Public::new("public-nat-acl");
    let n = &mut public.networks[0];
    n.nats.insert("nat".into(), Nat { subnet: "s3".into(), ..public_nat(&[[198, 18, 0, 7]]) });
    n.subnets.get_mut("s3").unwrap().acl = Some("acl".into());
    route(n, 2, "0.0.0.0/0", Target::Nat("nat".into()));
    for (entries, passes) in [(any(), true), (vec![allow(web.clone(), Block::ANY)], false)] {
        let acl = Acl { ingress: entries, egress: any() };
        public.networks[0].acls = [("acl".to_owned(), acl)].into();
        public.apply();
        match passes {
            true => assert_eq!(ask(&public.private, OTHER).unwrap(), "198.18.0.7"),
            false => dropped(&public.private, OTHER),
        }
    }
}

/// A connection that stays open.
struct Held {
    stream: TcpStream,
    other_end: TcpStream,
    /// As whom the other end sees it.
    peer: String,
}

fn hold(from: &Instance, server: &Instance, to: [u8; 4]) -> Held {
    let listener = server.listen(81);
    let stream = from.connect(to.into(), 81).unwrap();
    let (other_end, peer) = listener.accept().unwrap();
    for end in [&stream, &other_end] {
        end.set_read_timeout(Some(SILENCE)).unwrap();
    }
    Held { stream, other_end, peer: peer.ip().to_string() }
}

impl Held {
    fn lives(&self) -> bool {
        let passes = |mut from: &TcpStream, mut to: &TcpStream| {
            from.write_all(b"x").is_ok() && to.read_exact(&mut [0]).is_ok()
        };
        passes(&self.stream, &self.other_end) && passes(&self.other_end, &self.stream)
    }
}

fn connections_end_with_their_address() {
    let mut public = Public::new("end");
    let held = [
        (hold(&public.a, &public.other, OTHER), false),
        (hold(&public.other, &public.a, A), false),
        (hold(&public.b, &public.other, OTHER), true),
        (hold(&public.other, &public.b, B), true),
        (hold(&public.b, &public.a, [10, 0, 1, 5]), true),
    ];
    assert!(held.iter().all(|(held, _)| held.lives()));
    // Another one in its place is not the same.
    let port = public.networks[0].ports.get_mut(&name([10, 0, 1, 5])).unwrap();
    port.public = [([10, 0, 1, 5].into(), [198, 18, 0, 9].into())].into();
    public.apply();
    for (held, lives) in &held {
        assert_eq!(held.lives(), *lives, "{}", held.peer);
    }
    assert_eq!(ask(&public.a, OTHER).unwrap(), "198.18.0.9");
}

fn groups_see_public_addresses_of_others() {
    let mut public = Public::new("groups");
    for (peer, a_reaches, b_reaches) in [
        (Block::from(Ipv4Addr::from(A)), true, false),
        (Block::from(Ipv4Addr::from(B)), false, true),
        (block("10.0.1.0/24"), false, false),
    ] {
        let peer = Peer::Blocks([peer].into());
        let ingress = vec![Rule { traffic: Traffic::All, peer }];
        let group = Group { ingress, ..Group::default() };
        let m = &mut public.networks[1];
        m.groups.insert("some".into(), group);
        m.ports.get_mut(&name([10, 0, 1, 5])).unwrap().groups = ["some".to_owned()].into();
        public.apply();
        for (from, reaches) in [(&public.a, a_reaches), (&public.b, b_reaches)] {
            if reaches {
                ask(from, OTHER).unwrap();
            } else {
                dropped(from, OTHER);
            }
        }
    }
}

const WORLD: [u8; 4] = [192, 0, 2, 80];

fn the_way_out_is_relayed() {
    let public = Public::new("out");
    let Public { a, private, world, .. } = &public;
    // Nobody relays.
    refused(a, WORLD);
    let outbound = world.fabric.outbound().unwrap();
    outbound.tcp.set_nonblocking(false).unwrap();
    let listener = outbound.tcp.try_clone().unwrap();
    let relay = std::thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        let seen = format!("{} to {}", from.ip(), stream.local_addr().unwrap());
        stream.write_all(seen.as_bytes()).unwrap();
    });
    assert_eq!(ask(a, WORLD).unwrap(), "198.18.0.1 to 192.0.2.80:80");
    relay.join().unwrap();
    unreached(private, WORLD);
    for address in [
        [10, 9, 9, 9],
        [172, 16, 0, 1],
        [172, 31, 255, 1],
        [192, 168, 1, 1],
        [100, 64, 0, 1],
        [169, 254, 1, 1],
        [198, 18, 0, 9],
        [192, 0, 0, 8],
    ] {
        refused(a, address);
    }
    unreached(a, [224, 0, 0, 5]);
    assert!(ping_is_refused(a, WORLD));
    assert_eq!(ask(a, OTHER).unwrap(), "198.18.0.1", "public addresses are not relayed");
    drop(outbound);
    refused(a, WORLD);
}

fn datagrams_out_are_relayed() {
    let public = Public::new("datagrams");
    let socket = public.a.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let outbound = public.world.fabric.outbound().unwrap();
    let world = SocketAddrV4::new(WORLD.into(), 53);
    socket.connect(world).unwrap();
    socket.send(b"question").unwrap();
    let mut buffer = [0; 64];
    let receive = |buffer: &mut [u8]| {
        let mut received = outbound.udp.receive(buffer);
        until("it arrives", || {
            if received.is_err() {
                received = outbound.udp.receive(buffer);
            }
            received.is_ok()
        });
        received.unwrap()
    };
    let (length, from, to) = receive(&mut buffer);
    assert_eq!((&buffer[..length], to), (&b"question"[..], world));
    assert_eq!(*from.ip(), Ipv4Addr::from(A));
    let inside = outbound.udp.stand_in(to, from).unwrap();
    inside.set_nonblocking(false).unwrap();
    inside.set_read_timeout(Some(PATIENCE)).unwrap();
    inside.send(b"answer").unwrap();
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");
    // Later ones go to the session's own socket.
    socket.send(b"again").unwrap();
    let length = inside.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"again");
    let error = outbound.udp.receive(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // Of another destination it is another session.
    socket.connect(SocketAddrV4::new(WORLD.into(), 54)).unwrap();
    socket.send(b"other").unwrap();
    let (length, _, to) = receive(&mut buffer);
    assert_eq!((&buffer[..length], to.port()), (&b"other"[..], 54));
    // What does not get through is told, as the kernel tells it of what it sends itself.
    for (port, errno) in [(true, libc::ECONNREFUSED), (false, libc::ENETUNREACH)] {
        outbound.udp.refuse(from, to, port).unwrap();
        let error = socket.recv(&mut buffer).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno));
    }
}

fn the_host_reaches_its_pool() {
    let mut public = Public::new("host");
    let pool = block("198.18.0.0/19");
    // A namespace of its own stands for the host's.
    let host = Instance::new();
    greet(&host);
    {
        let fabric = &public.world.fabric;
        let on_host = |name: &'static str| inside(&host, || fabric.join_host(pool, name));
        for _ in 0..2 {
            on_host("drover0").unwrap();
        }
        let taken = on_host("drover1").unwrap_err().to_string();
        assert!(taken.contains("198.18.0.0/19"), "{taken}");
    }
    assert_eq!(inside(&host, || read(A, PATIENCE)).unwrap(), "198.18.31.254");
    let devices_of_host = host.run(devices);
    assert_eq!(devices_of_host, ["drover0", "lo"].map(str::to_owned).into());
    // Nobody reaches the host.
    for host_end in [253, 254] {
        dropped(&public.a, [198, 18, 31, host_end]);
    }
    // Nor another installation's, by any way.
    dropped(&public.a, [198, 18, 63, 254]);
    public.networks[0].internet = false;
    public.apply();
    assert!(inside(&host, || read(A, SILENCE)).is_err());
    tear_down(&public.world.run_dir).unwrap();
    assert_eq!(host.run(devices), ["lo".to_owned()].into());
}

fn a_restart_finds_what_is_there() {
    let mut public = Public::new("restart");
    let n = &mut public.networks[0];
    n.peerings.insert("pcx-1".into(), "m".into());
    public.networks[1].peerings.insert("pcx-1".into(), "n".into());
    public.apply();
    let all = |world: &World| ["n", "m", "internet"].map(|name| links(world, name));
    let before = all(&public.world);
    assert_eq!(before[2].len(), 3, "loopback and a link for each: {before:?}");
    assert_eq!(public.world.fabric.networks().unwrap(), ["m", "n"]);

    let again = LinuxFabric::open(&public.world.run_dir).unwrap();
    public.world.fabric = again;
    apply(&public.world, "n", &public.networks[0]);
    assert_eq!(all(&public.world), before, "the other was not heard of yet, and keeps its links");
    assert_eq!(ask(&public.a, OTHER).unwrap(), "198.18.0.1");
    assert_eq!(ask(&public.other, A).unwrap(), "198.18.0.3");
    apply(&public.world, "m", &public.networks[1]);
    assert_eq!(all(&public.world), before);

    // What is no longer wanted goes, though another process made it.
    public.world.fabric = LinuxFabric::open(&public.world.run_dir).unwrap();
    let n = &mut public.networks[0];
    n.peerings.clear();
    n.internet = false;
    n.tables.get_mut("t1").unwrap().routes.clear();
    apply(&public.world, "n", &public.networks[0]);
    let [n, m, internet] = all(&public.world);
    assert!(!n.iter().chain(&m).any(|link| link.starts_with("xp")), "{n:?} {m:?}");
    assert_eq!(internet.len(), 2, "{internet:?}");
    unreached(&public.a, OTHER);
    world_is_empty_after_removal(&public.world);
}

fn world_is_empty_after_removal(world: &World) {
    for name in ["n", "m"] {
        world.fabric.remove_network(name).unwrap();
    }
    assert_eq!(links(world, "internet"), ["lo".to_owned()].into());
}

fn ping_is_refused(from: &Instance, to: [u8; 4]) -> bool {
    from.run(move || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        let one: libc::c_int = 1;
        // SAFETY: `one` is a c_int that outlives the call, and its size is given.
        let set = unsafe {
            let length = size_of::<libc::c_int>() as libc::socklen_t;
            let value = (&raw const one).cast();
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_IP, libc::IP_RECVERR, value, length)
        };
        assert_eq!(set, 0);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(&SocketAddr::V4(SocketAddrV4::new(to.into(), 0)).into()).unwrap();
        // An echo request with its checksum.
        socket.send(&[8, 0, 0xf7, 0xfe, 0, 1, 0, 0]).unwrap();
        let error = (&socket).read(&mut [0; 64]).expect_err("nobody answers");
        matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable)
    })
}

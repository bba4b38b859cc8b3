//! What `reach` predicts against what the kernel does: random networks, each probed with connections
//! between many pairs at once.
//!
//! A seed in the environment (`PREDICTION_SEED`) repeats a run; a failure names the seed of its case.

mod joined;

pub use joined::joined_networks;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use fabric::Fabric;
use fabric::network::{
    Acl, Block, Entry, Group, Network, Node, Peer, Port, Rule, Service, Subnet, Table, Traffic,
};
use fabric::reach::{Flow, Source, Verdict, reach};
use socket2::{Domain, Protocol, Socket, Type};

use crate::world::{Instance, World, ip};

/// Worlds side by side, networks in each, and probes of each network.
const WORLDS: u64 = 3;
const CASES: u64 = 120;
const PROBES: usize = 40;
/// What is to come comes at once, but this machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// After all that is to come has come, for what is not.
const SILENCE: Duration = Duration::from_millis(50);

/// Of three subnets: 0–63, 64–127, 128–191.
const PORTS: [u8; 7] = [5, 6, 7, 70, 71, 130, 131];
const NODES: [Ipv4Addr; 2] = [ip(20), ip(140)];
const OPEN: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVED: [u16; 3] = [80, 443, 8080];
const GROUPS: [&str; 5] = ["g0", "g1", "g2", "g3", "without-entry"];
const ACLS: [&str; 3] = ["acl-0", "acl-1", "acl-2"];

pub fn random_networks() {
    let seed = std::env::var("PREDICTION_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20_261_123);
    std::thread::scope(|scope| {
        for world in 0..WORLDS {
            scope.spawn(move || probe_world(seed + world));
        }
    });
}

fn probe_world(seed: u64) {
    let mut dice = Dice(seed);
    let mut lab = Lab::new(&format!("prediction-{seed}"));
    let (mut reached, mut denied) = (0, 0);
    let mut network = random_network(&mut dice);
    for case in 0..CASES {
        let other = random_network(&mut dice);
        // A small change is compiled otherwise than a large one.
        match dice.below(8) {
            0 => network.ports = other.ports,
            1 => network.ports.extend(other.ports.into_iter().take(2)),
            2 => network.groups.extend(other.groups.into_iter().take(1)),
            3 => network.acls.extend(other.acls.into_iter().take(1)),
            4 => network.subnets = other.subnets,
            5 => network.nodes = other.nodes,
            _ => network = other,
        }
        lab.world.fabric.apply("n", &network).unwrap();
        let networks = BTreeMap::from([("n".to_owned(), network.clone())]);
        let probes: Vec<Probe> = (0..PROBES).map(|_| lab.random_probe(&mut dice)).collect();
        let passes = lab.compare(&format!("seed {seed} case {case}"), &networks, &probes);
        reached += passes;
        denied += PROBES - passes;
    }
    // The networks are such that both are common.
    assert!(reached * 5 > denied && denied * 5 > reached, "{reached} reached, {denied} denied");
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    from: Ipv4Addr,
    to: Ipv4Addr,
    flow: Flow,
}

/// Instances that answer, in a network with addresses of its own that answer, too.
struct Lab {
    world: World,
    instances: BTreeMap<Ipv4Addr, Instance>,
    listeners: Vec<TcpListener>,
    echoes: Vec<UdpSocket>,
    /// By address: for echo requests of ICMP.
    raw: BTreeMap<Ipv4Addr, Socket>,
    /// No two probes are one connection to the kernel.
    used: BTreeSet<(Ipv4Addr, u16)>,
    echo_id: u16,
}

enum Waiting {
    Tcp(Socket),
    Udp(UdpSocket),
    Icmp(u16),
}

impl Lab {
    fn new(name: &str) -> Lab {
        let world = World::new(name);
        let instance = |host| (ip(host), world.instance("n", &format!("e-{host}"), host));
        let instances = PORTS.map(instance).into();
        let mut lab = Lab::of(world, instances);
        for address in NODES.into_iter().chain([OPEN, SERVICE]) {
            lab.world.fabric.ensure_address("n", address).unwrap();
            for port in SERVED {
                let address = SocketAddrV4::new(address, port);
                lab.listeners.push(lab.world.fabric.tcp_listener("n", address).unwrap());
            }
        }
        lab
    }

    fn of(world: World, instances: BTreeMap<Ipv4Addr, Instance>) -> Lab {
        let (mut listeners, mut echoes, mut raw) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (address, instance) in &instances {
            let any = Ipv4Addr::UNSPECIFIED;
            for port in SERVED {
                listeners.push(instance.listen(port));
                echoes.push(instance.run(move || UdpSocket::bind((any, port)).unwrap()));
            }
            let icmp = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
            raw.insert(*address, instance.run(icmp));
        }
        listeners.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        echoes.iter().for_each(|echo| echo.set_nonblocking(true).unwrap());
        raw.values().for_each(|socket| socket.set_nonblocking(true).unwrap());
        Lab { world, instances, listeners, echoes, raw, used: BTreeSet::new(), echo_id: 0 }
    }

    fn random_probe(&mut self, dice: &mut Dice) -> Probe {
        let ports = PORTS.map(ip);
        let from_node = dice.below(6) == 0;
        let from = if from_node { dice.one(&NODES) } else { dice.one(&ports) };
        let to_port = dice.below(3) > 0;
        let own = [NODES[0], NODES[1], OPEN, SERVICE];
        let to = if to_port { dice.one(&ports) } else { dice.one(&own) };
        let served = dice.one(&SERVED);
        let flow = match dice.below(if from_node || !to_port { 1 } else { 4 }) {
            0 | 1 => Flow::Tcp { from: self.unused(from, dice), to: served },
            2 => Flow::Udp { from: self.unused(from, dice), to: served },
            _ => Flow::Icmp(8, 0),
        };
        if from == to { self.random_probe(dice) } else { Probe { from, to, flow } }
    }

    fn unused(&mut self, address: Ipv4Addr, dice: &mut Dice) -> u16 {
        loop {
            let port = 1024 + dice.below(64000) as u16;
            if !SERVED.contains(&port) && self.used.insert((address, port)) {
                return port;
            }
        }
    }

    /// How many of the probes were answered, as predicted.
    fn compare(
        &mut self,
        case: &str,
        networks: &BTreeMap<String, Network>,
        probes: &[Probe],
    ) -> usize {
        let predicted = |probe: &Probe| {
            let knows =
                |(_, n): &(&String, &Network)| n.blocks.iter().any(|b| b.contains(probe.from));
            let (network, _) = networks.iter().find(knows).expect("every sender is in a network");
            let source = Source::Inside { network: network.clone(), address: probe.from };
            let path = reach(networks, &source, probe.to, probe.flow);
            let reaches = matches!(path.verdict, Verdict::Reaches { .. });
            // Open addresses are for those, too, that the network does not know.
            (reaches || probe.to == OPEN, path)
        };
        let expected: Vec<_> = probes.iter().map(predicted).collect();
        let wanted: Vec<bool> = expected.iter().map(|(reaches, _)| *reaches).collect();
        let got = self.probe(probes, &wanted);
        for ((probe, (wanted, path)), got) in probes.iter().zip(&expected).zip(got) {
            assert_eq!(got, *wanted, "{case}: {probe:?}\n{path:#?}\n{networks:#?}");
        }
        wanted.into_iter().filter(|reaches| *reaches).count()
    }

    /// Which of the probes were answered.
    fn probe(&mut self, probes: &[Probe], wanted: &[bool]) -> Vec<bool> {
        let waiting: Vec<Waiting> = probes.iter().map(|probe| self.send(probe)).collect();
        let mut got = vec![false; probes.len()];
        let mut accepted = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        let mut quiet_at = None;
        while quiet_at.is_none_or(|at| Instant::now() < at) && Instant::now() < deadline {
            self.serve(&mut accepted);
            let echoed = self.echo_replies();
            for (waiting, got) in waiting.iter().zip(&mut got) {
                *got |= match waiting {
                    Waiting::Tcp(socket) => socket.peer_addr().is_ok(),
                    Waiting::Udp(socket) => socket.recv(&mut [0; 8]).is_ok(),
                    Waiting::Icmp(id) => echoed.contains(id),
                };
            }
            if quiet_at.is_none() && wanted.iter().zip(&got).all(|(wanted, got)| !wanted || *got) {
                quiet_at = Some(Instant::now() + SILENCE);
            }
            // As often as the clock ticks is often enough to look.
            std::thread::sleep(Duration::from_millis(1));
        }
        got
    }

    fn send(&mut self, probe: &Probe) -> Waiting {
        let Probe { from, to, flow } = *probe;
        match flow {
            Flow::Tcp { from: port, to: to_port } => {
                let made = match self.instances.get(&from) {
                    Some(instance) => {
                        instance.run(|| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap())
                    }
                    None => Socket::from(self.world.fabric.tcp_socket("n").unwrap()),
                };
                made.set_nonblocking(true).unwrap();
                made.set_linger(Some(Duration::ZERO)).unwrap();
                made.bind(&SocketAddrV4::new(from, port).into()).unwrap();
                // Under way, or already refused: that shows when it is asked.
                let _ = made.connect(&SocketAddrV4::new(to, to_port).into());
                Waiting::Tcp(made)
            }
            Flow::Udp { from: port, to: to_port } => {
                let bind = move || UdpSocket::bind((from, port)).unwrap();
                let socket = self.instances[&from].run(bind);
                socket.set_nonblocking(true).unwrap();
                socket.connect((to, to_port)).unwrap();
                socket.send(b"word").unwrap();
                Waiting::Udp(socket)
            }
            Flow::Icmp(..) | Flow::Protocol(_) => {
                self.echo_id += 1;
                let id = self.echo_id;
                // Type and code, checksum (the sum of all words is all ones), id, sequence.
                let words = [0x0800, !(0x0800 + id), id, 0].map(u16::to_be_bytes);
                let to = SocketAddrV4::new(to, 0).into();
                self.raw[&from].send_to(&words.concat(), &to).unwrap();
                Waiting::Icmp(id)
            }
        }
    }

    /// Connections stay open until the end of their case.
    fn serve(&self, accepted: &mut Vec<std::net::TcpStream>) {
        for listener in &self.listeners {
            while let Ok((stream, _)) = listener.accept() {
                accepted.push(stream);
            }
        }
        let mut word = [0; 8];
        for echo in &self.echoes {
            while let Ok((length, from)) = echo.recv_from(&mut word) {
                // Refused when the filter drops it: that is a denial like any other.
                let _ = echo.send_to(&word[..length], from);
            }
        }
    }

    fn echo_replies(&self) -> BTreeSet<u16> {
        const HEADER: usize = 20;
        let mut ids = BTreeSet::new();
        for socket in self.raw.values() {
            let mut packet = [MaybeUninit::uninit(); 64];
            while let Ok((length, _)) = socket.recv_from(&mut packet) {
                // SAFETY: that many bytes were written.
                let byte = |at: usize| unsafe { packet[at].assume_init() };
                if length >= HEADER + 8 && byte(HEADER) == 0 {
                    ids.insert(u16::from_be_bytes([byte(HEADER + 4), byte(HEADER + 5)]));
                }
            }
        }
        ids
    }
}

fn random_network(dice: &mut Dice) -> Network {
    let mut network = Network {
        blocks: vec![Block { base: ip(0), prefix: 20 }],
        open: [OPEN].into(),
        ..Network::default()
    };
    for host in PORTS {
        // Now and then an instance whose rules are not there.
        if dice.below(20) > 0 {
            let groups = random_groups(dice);
            let port = Port { addresses: vec![ip(host)], groups, check: true, ..Port::default() };
            network.ports.insert(format!("e-{host}"), port);
        }
    }
    for address in NODES {
        network.nodes.insert(address, Node { groups: random_groups(dice), ..Node::default() });
    }
    let sources = (0..dice.below(3)).map(|_| random_block(dice)).collect();
    network.services.insert(SERVICE, Service { sources });
    for name in &GROUPS[..GROUPS.len() - 1] {
        let mut rules = |most| (0..dice.below(most)).map(|_| random_rule(dice)).collect();
        let (ingress, egress) = (rules(6), rules(7));
        let elsewhere = dice.below(4) == 0;
        let members_elsewhere = elsewhere.then(|| ip(dice.one(&PORTS))).into_iter().collect();
        network.groups.insert((*name).to_owned(), Group { ingress, egress, members_elsewhere });
    }
    for name in ACLS {
        let mut entries = || {
            let mut entries: Vec<Entry> = (0..dice.below(4)).map(|_| random_entry(dice)).collect();
            if dice.below(2) == 0 {
                entries.push(Entry { allow: true, traffic: Traffic::All, block: Block::ANY });
            }
            entries
        };
        let (ingress, egress) = (entries(), entries());
        network.acls.insert(name.to_owned(), Acl { ingress, egress });
    }
    for (name, host) in [("a", 0), ("b", 64), ("c", 128)] {
        let acl = (dice.below(3) == 0).then(|| dice.one(&ACLS).to_owned());
        let block = Block { base: ip(host), prefix: 26 };
        network.subnets.insert(name.to_owned(), Subnet { block, acl, table: "main".into() });
    }
    network.tables.insert("main".into(), Table::default());
    network
}

fn random_groups(dice: &mut Dice) -> BTreeSet<String> {
    (0..1 + dice.below(3)).map(|_| dice.one(&GROUPS).to_owned()).collect()
}

fn random_rule(dice: &mut Dice) -> Rule {
    let peer = match dice.below(2) {
        0 => Peer::Group(dice.one(&GROUPS).to_owned()),
        _ => Peer::Blocks((0..1 + dice.below(2)).map(|_| random_block(dice)).collect()),
    };
    Rule { traffic: random_traffic(dice), peer }
}

fn random_entry(dice: &mut Dice) -> Entry {
    let traffic = match dice.below(3) {
        // For answers.
        0 => {
            let first = dice.one(&[1024, 20_000, 32_768]);
            dice.one(&[Traffic::Tcp(first, 65_535), Traffic::Udp(first, 65_535)])
        }
        _ => random_traffic(dice),
    };
    Entry { allow: dice.below(3) > 0, traffic, block: random_block(dice) }
}

fn random_traffic(dice: &mut Dice) -> Traffic {
    let (one, other) = (dice.one(&SERVED), dice.one(&SERVED));
    let (first, last) = (one.min(other), one.max(other));
    dice.one(&[
        Traffic::All,
        Traffic::All,
        Traffic::Tcp(first, last),
        Traffic::Tcp(first, last),
        Traffic::Tcp(0, 65_535),
        Traffic::Udp(first, last),
        Traffic::Icmp(None, None),
        Traffic::Icmp(Some(8), Some(0)),
        Traffic::Protocol(17),
    ])
}

fn random_block(dice: &mut Dice) -> Block {
    let address = dice.one(&PORTS.map(ip));
    match dice.below(5) {
        0 => Block::ANY,
        1 => Block::from(address),
        2 => Block::from(dice.one(&[NODES[0], NODES[1], SERVICE])),
        n => {
            let prefix = if n == 3 { 26 } else { 25 + dice.below(7) as u8 };
            let mask = Block { base: address, prefix }.mask();
            Block { base: Ipv4Addr::from(u32::from(address) & mask), prefix }
        }
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

//! Random routes, peerings, public addresses and NATs between three networks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use fabric::network::{
    Acl, Block, Entry, Group, Nat, Network, Peer, Port, Rule, Subnet, Table, Target, Traffic,
};
use fabric::reach::Flow;
use fabric::{Fabric, Interface};

use super::{Dice, Lab, Probe, SERVED};
use crate::world::{Instance, World};

const CASES: usize = 60;
const PROBES: usize = 30;
/// 10.N.0.0/16, with a port in each of two subnets.
const NETWORKS: [&str; 3] = ["n", "m", "o"];
const PEERINGS: [(&str, &str, &str); 2] = [("p", "n", "m"), ("q", "m", "o")];

pub fn joined_networks() {
    let seed = 20_261_123;
    let mut dice = Dice(seed);
    let world = World::new("joined");
    let mut instances = BTreeMap::new();
    for (number, name) in (0..).zip(NETWORKS) {
        world.fabric.ensure_network(name).unwrap();
        for subnet in [1, 2] {
            let instance = Instance::new();
            let interface = interface(number, subnet);
            world.fabric.attach(name, &interface, instance.netns.as_fd()).unwrap();
            instances.insert(interface.address, instance);
        }
    }
    let mut lab = Lab::of(world, instances);
    let mut reached = 0;
    for case in 0..CASES {
        let networks = random_networks(&mut dice);
        for (name, network) in &networks {
            lab.world.fabric.apply(name, network).unwrap();
        }
        let probes: Vec<Probe> = (0..PROBES).map(|_| random_probe(&mut lab, &mut dice)).collect();
        reached += lab.compare(&format!("seed {seed} case {case}"), &networks, &probes);
    }
    let denied = CASES * PROBES - reached;
    assert!(reached * 9 > denied && denied * 9 > reached, "{reached} reached, {denied} denied");
}

fn address(network: u8, subnet: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, network, subnet, 5)
}

fn public(network: u8, subnet: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, network, subnet)
}

/// Of a network's NAT.
fn outwards(network: u8) -> Ipv4Addr {
    public(network, 99)
}

fn interface(network: u8, subnet: u8) -> Interface {
    Interface {
        name: format!("e-{subnet}"),
        inner: "eth0".into(),
        mac: [2, 0, 0, network, subnet, 5],
        address: address(network, subnet),
        prefix: 24,
        gateway: Ipv4Addr::new(10, network, subnet, 1),
        default_route: true,
    }
}

fn random_probe(lab: &mut Lab, dice: &mut Dice) -> Probe {
    let mut end = || (dice.below(3) as u8, 1 + dice.below(2) as u8);
    let ((network, subnet), (of, to)) = (end(), end());
    if (network, subnet) == (of, to) {
        return random_probe(lab, dice);
    }
    let to = match dice.below(7) {
        0..3 => address(of, to),
        3..6 => public(of, to),
        _ => outwards(of),
    };
    let from = address(network, subnet);
    Probe { from, to, flow: Flow::Tcp { from: lab.unused(from, dice), to: dice.one(&SERVED) } }
}

fn random_networks(dice: &mut Dice) -> BTreeMap<String, Network> {
    let numbered = (0..).zip(NETWORKS);
    numbered.map(|(number, name)| (name.to_owned(), random_network(number, name, dice))).collect()
}

/// In the first subnet.
fn nat(address: impl Into<Ipv4Addr>, public: bool) -> Nat {
    let addresses = vec![address.into()];
    Nat { addresses, public, subnet: "s-1".to_owned(), ..Nat::default() }
}

fn random_network(number: u8, name: &str, dice: &mut Dice) -> Network {
    let mostly = |dice: &mut Dice| dice.below(6) > 0;
    let mut network = Network {
        blocks: vec![slash_16(number)],
        internet: mostly(dice),
        groups: [("g".to_owned(), random_group(dice))].into(),
        nats: [
            ("nat".to_owned(), nat(outwards(number), true)),
            ("inner".to_owned(), nat(address(number, 1).to_bits() + 94, false)),
        ]
        .into(),
        ..Network::default()
    };
    for (id, one, other) in PEERINGS {
        let joined = if name == one { other } else { one };
        if [one, other].contains(&name) && mostly(dice) {
            network.peerings.insert(id.to_owned(), joined.to_owned());
        }
    }
    for subnet in [1, 2] {
        let base = Ipv4Addr::new(10, number, subnet, 0);
        let (named, table) = (format!("s-{subnet}"), format!("t-{subnet}"));
        let acl = (dice.below(5) == 0).then(|| "acl".to_owned());
        let block = Block { base, prefix: 24 };
        network.tables.insert(table.clone(), Table { routes: random_routes(dice) });
        network.subnets.insert(named, Subnet { block, acl, table });
        let private = address(number, subnet);
        let published = mostly(dice).then(|| (private, public(number, subnet)));
        let port = Port {
            addresses: vec![private],
            groups: ["g".to_owned()].into(),
            check: true,
            public: published.into_iter().collect(),
            bandwidth: None,
        };
        network.ports.insert(format!("e-{subnet}"), port);
    }
    let entries = |dice: &mut Dice| {
        let denied = Entry { allow: false, traffic: Traffic::All, block: random_block(dice) };
        vec![denied, Entry { allow: true, traffic: Traffic::All, block: Block::ANY }]
    };
    let acl = Acl { ingress: entries(dice), egress: entries(dice) };
    network.acls.insert("acl".to_owned(), acl);
    network
}

fn random_routes(dice: &mut Dice) -> BTreeMap<Block, Target> {
    let mut routes = BTreeMap::new();
    let peering = |dice: &mut Dice| Target::Peering(dice.one(&PEERINGS).0.to_owned());
    for number in 0..3 {
        // Where these lead nowhere, as the network's own, nobody asks them.
        if dice.below(5) > 0 {
            routes.insert(slash_16(number), peering(dice));
        }
        if dice.below(6) == 0 {
            routes.insert(slash_16(number), Target::Nat("inner".to_owned()));
        }
        if dice.below(8) == 0 {
            let host = Block::from(address(number, 1));
            routes.insert(host, dice.one(&[Target::Blackhole, Target::Internet]));
        }
    }
    match dice.below(8) {
        0 => {}
        1 => drop(routes.insert(Block::ANY, Target::Blackhole)),
        2..4 => drop(routes.insert(Block::ANY, Target::Nat("nat".to_owned()))),
        _ => drop(routes.insert(Block::ANY, Target::Internet)),
    }
    routes
}

fn random_group(dice: &mut Dice) -> Group {
    let all = || Rule { traffic: Traffic::All, peer: Peer::Blocks([Block::ANY].into()) };
    let from_some = Rule { traffic: Traffic::All, peer: Peer::Blocks([random_block(dice)].into()) };
    let ingress = vec![if dice.below(3) == 0 { from_some } else { all() }];
    Group { ingress, egress: vec![all()], ..Group::default() }
}

fn random_block(dice: &mut Dice) -> Block {
    let (network, subnet) = (dice.below(3) as u8, 1 + dice.below(2) as u8);
    let inner = Ipv4Addr::from(address(network, 1).to_bits() + 94);
    let one = [address(network, subnet), public(network, subnet), outwards(network), inner];
    let host = Block::from(dice.one(&one));
    dice.one(&[slash_16(network), host])
}

fn slash_16(network: u8) -> Block {
    Block { base: Ipv4Addr::new(10, network, 0, 0), prefix: 16 }
}

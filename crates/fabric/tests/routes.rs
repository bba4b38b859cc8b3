//! The ways of packets inside a network and to its peers, against the kernel: each kind of route, with
//! what it leads to and what not. Needs the right to make namespaces; without it every test is reported as
//! ignored.

#[allow(unused, reason = "each test uses some of it")]
#[path = "world/joined.rs"]
mod joined;
#[allow(unused, reason = "each test uses some of it")]
mod world;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;

use fabric::Fabric;
use fabric::network::{Network, Node, Target};
use joined::*;
use socket2::{Domain, Socket, Type};
use world::{World, add_loopback_address};

fn main() {
    world::run([
        ("routes_lead_by_the_longest_prefix", routes_lead_by_the_longest_prefix),
        ("a_port_that_forwards_uses_its_own_table", a_port_that_forwards_uses_its_own_table),
        ("every_address_of_an_instance_is_reached", every_address_of_an_instance_is_reached),
        ("peerings_need_both_and_lead_no_further", peerings_need_both_and_lead_no_further),
    ])
}

fn routes_lead_by_the_longest_prefix() {
    let world = World::new("routes");
    let (a, c) = (join(&world, "n", [10, 0, 1, 5]), join(&world, "n", [10, 0, 3, 5]));
    let gateway = join(&world, "n", [10, 0, 2, 9]);
    for host in [5, 129] {
        gateway.run(move || add_loopback_address([203, 0, 113, host].into()));
    }
    greet(&gateway);
    let mut n = network("10.0.0.0/16");
    port(&mut n, [10, 0, 1, 5]);
    port(&mut n, [10, 0, 3, 5]);
    port(&mut n, [10, 0, 2, 9]).check = false;
    let to = Target::Port(name([10, 0, 2, 9]));
    route(&mut n, 1, "203.0.113.0/24", to.clone());
    route(&mut n, 1, "203.0.113.128/25", Target::Blackhole);
    apply(&world, "n", &n);
    let forwarded = || assert_eq!(ask(&a, [203, 0, 113, 5]).unwrap(), "10.0.1.5");
    forwarded();
    dropped(&a, [203, 0, 113, 129]);
    unreached(&a, [203, 0, 114, 5]);
    for _ in 0..20 {
        refused(&a, [10, 0, 200, 1]);
    }
    unreached(&c, [203, 0, 113, 5]);

    // Its route comes and goes with its link.
    world.fabric.set_link("n", &name([10, 0, 2, 9]), false).unwrap();
    unreached(&a, [203, 0, 113, 5]);
    world.fabric.set_link("n", &name([10, 0, 2, 9]), true).unwrap();
    forwarded();
    attach(&world, "n", [10, 0, 2, 9], &gateway, "eth0");
    forwarded();

    // A change is in force at once, either way.
    route(&mut n, 1, "203.0.113.128/25", to);
    route(&mut n, 1, "203.0.113.0/24", Target::Blackhole);
    apply(&world, "n", &n);
    assert_eq!(ask(&a, [203, 0, 113, 129]).unwrap(), "10.0.1.5");
    dropped(&a, [203, 0, 113, 5]);
    n.tables.get_mut("t1").unwrap().routes.clear();
    apply(&world, "n", &n);
    unreached(&a, [203, 0, 113, 129]);
    assert_eq!(ask(&a, [10, 0, 2, 9]).unwrap(), "10.0.1.5");
}

/// Not that of its sender's subnet, which would send the packet back to it.
fn a_port_that_forwards_uses_its_own_table() {
    let world = World::new("forward");
    let a = join(&world, "n", [10, 0, 1, 5]);
    let (first, second) = (join(&world, "n", [10, 0, 2, 9]), join(&world, "n", [10, 0, 3, 9]));
    first.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    second.run(|| add_loopback_address([203, 0, 113, 5].into()));
    greet(&second);
    let mut n = network("10.0.0.0/16");
    port(&mut n, [10, 0, 1, 5]);
    port(&mut n, [10, 0, 2, 9]).check = false;
    port(&mut n, [10, 0, 3, 9]).check = false;
    route(&mut n, 1, "0.0.0.0/0", Target::Port(name([10, 0, 2, 9])));
    route(&mut n, 2, "203.0.113.0/24", Target::Port(name([10, 0, 3, 9])));
    apply(&world, "n", &n);
    assert_eq!(ask(&a, [203, 0, 113, 5]).unwrap(), "10.0.1.5");
    n.tables.get_mut("t2").unwrap().routes.clear();
    apply(&world, "n", &n);
    unreached(&a, [203, 0, 113, 5]);
    // Checked again, it speaks for itself only.
    route(&mut n, 2, "203.0.113.0/24", Target::Port(name([10, 0, 3, 9])));
    n.ports.get_mut(&name([10, 0, 2, 9])).unwrap().check = true;
    apply(&world, "n", &n);
    dropped(&a, [203, 0, 113, 5]);
    assert_eq!(ask(&first, [203, 0, 113, 5]).unwrap(), "10.0.2.9");
}

fn every_address_of_an_instance_is_reached() {
    let world = World::new("addresses");
    let (a, b) = (join(&world, "n", [10, 0, 1, 5]), join(&world, "n", [10, 0, 1, 6]));
    greet(&b);
    let assign = |others: &[[u8; 4]]| {
        let others: Vec<Ipv4Addr> = others.iter().copied().map(Ipv4Addr::from).collect();
        let interface = interface([10, 0, 1, 6], "eth0");
        world.fabric.assign(&interface, &others, b.netns.as_fd()).unwrap();
    };
    for _ in 0..2 {
        assign(&[[10, 0, 1, 60], [10, 0, 1, 61]]);
    }
    assign(&[[10, 0, 1, 60]]);
    attach(&world, "n", [10, 0, 2, 6], &b, "eth1");
    let mut n = network("10.0.0.0/16");
    port(&mut n, [10, 0, 1, 5]);
    port(&mut n, [10, 0, 1, 6]);
    port(&mut n, [10, 0, 2, 6]);
    apply(&world, "n", &n);
    refused(&a, [10, 0, 1, 60]);
    let more = [[10, 0, 1, 60], [10, 0, 1, 61]].map(Ipv4Addr::from);
    n.ports.get_mut(&name([10, 0, 1, 6])).unwrap().addresses.extend(more);
    apply(&world, "n", &n);
    unreached(&a, [10, 0, 1, 61]);
    for address in [[10, 0, 1, 6], [10, 0, 1, 60], [10, 0, 2, 6]] {
        assert_eq!(ask(&a, address).unwrap(), "10.0.1.5", "{address:?}");
    }
    // All come back with the link.
    world.fabric.set_link("n", &name([10, 0, 1, 6]), false).unwrap();
    refused(&a, [10, 0, 1, 60]);
    world.fabric.set_link("n", &name([10, 0, 1, 6]), true).unwrap();
    assert_eq!(ask(&a, [10, 0, 1, 60]).unwrap(), "10.0.1.5");

    for _ in 0..2 {
        world.fabric.detach("n", &name([10, 0, 2, 6])).unwrap();
    }
    refused(&a, [10, 0, 2, 6]);
    assert_eq!(ask(&a, [10, 0, 1, 6]).unwrap(), "10.0.1.5");
    until("the link is gone", || !links(&world, "n").contains(&name([10, 0, 2, 6])));
    until("its other end is gone", || !b.run(devices).contains("eth1"));
    attach(&world, "n", [10, 0, 2, 6], &b, "eth1");
    assert_eq!(ask(&a, [10, 0, 2, 6]).unwrap(), "10.0.1.5");
    world.fabric.detach("n", "unknown").unwrap();
    world.fabric.detach("unknown", "e").unwrap();
}

fn peerings_need_both_and_lead_no_further() {
    let world = World::new("peering");
    let (a, b) = (join(&world, "n", [10, 0, 1, 5]), join(&world, "m", [10, 1, 1, 5]));
    let c = join(&world, "o", [10, 2, 1, 5]);
    [&a, &b, &c].into_iter().for_each(greet);
    let mut networks = ["n", "m", "o"].map(|name| (name, Network::default()));
    for (i, (_, network)) in networks.iter_mut().enumerate() {
        *network = joined::network(&format!("10.{i}.0.0/16"));
        port(network, [10, i as u8, 1, 5]);
    }
    let [(_, n), (_, m), (_, o)] = &mut networks;
    route(n, 1, "10.1.0.0/16", Target::Peering("pcx-1".into()));
    route(n, 1, "10.2.0.0/16", Target::Peering("pcx-1".into()));
    route(m, 1, "10.0.0.0/16", Target::Peering("pcx-1".into()));
    route(m, 1, "10.2.0.0/16", Target::Peering("pcx-2".into()));
    route(o, 1, "10.1.0.0/16", Target::Peering("pcx-2".into()));
    route(o, 1, "10.0.0.0/16", Target::Peering("pcx-2".into()));
    n.peerings.insert("pcx-1".into(), "m".into());
    apply(&world, "n", n);
    apply(&world, "m", m);
    dropped(&a, [10, 1, 1, 5]);
    assert!(!links(&world, "n").iter().any(|link| link.starts_with('x')));

    m.peerings.insert("pcx-1".into(), "n".into());
    m.peerings.insert("pcx-2".into(), "o".into());
    o.peerings.insert("pcx-2".into(), "m".into());
    apply(&world, "m", m);
    apply(&world, "o", o);
    assert_eq!(ask(&a, [10, 1, 1, 5]).unwrap(), "10.0.1.5");
    assert_eq!(ask(&b, [10, 0, 1, 5]).unwrap(), "10.1.1.5");
    assert_eq!(ask(&b, [10, 2, 1, 5]).unwrap(), "10.1.1.5");
    unreached(&a, [10, 2, 1, 5]);
    unreached(&c, [10, 0, 1, 5]);

    // The network's own addresses use the table of their subnet.
    let node = SocketAddr::V4(SocketAddrV4::new([10, 0, 1, 200].into(), 0));
    world.fabric.ensure_address("n", [10, 0, 1, 200].into()).unwrap();
    let free = ["free".to_owned()].into();
    n.nodes.insert([10, 0, 1, 200].into(), Node { groups: free, ..Node::default() });
    apply(&world, "n", n);
    let seen = world.inside("n", || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&node.into())?;
        let to = SocketAddr::V4(SocketAddrV4::new([10, 1, 1, 5].into(), 80));
        socket.connect_timeout(&to.into(), PATIENCE)?;
        std::io::read_to_string(TcpStream::from(socket))
    });
    assert_eq!(seen.unwrap(), "10.0.1.200");

    // Gone when one side says so, for both.
    n.peerings.clear();
    apply(&world, "n", n);
    for (from, to) in [(&a, [10, 1, 1, 5]), (&b, [10, 0, 1, 5])] {
        dropped(from, to);
    }
    assert_eq!(ask(&b, [10, 2, 1, 5]).unwrap(), "10.1.1.5");
    n.peerings.insert("pcx-1".into(), "m".into());
    apply(&world, "n", n);
    assert_eq!(ask(&b, [10, 0, 1, 5]).unwrap(), "10.1.1.5");
    // And with a network.
    world.fabric.remove_network("n").unwrap();
    dropped(&b, [10, 0, 1, 5]);
    assert_eq!(links(&world, "m").iter().filter(|link| link.starts_with('x')).count(), 1);
}

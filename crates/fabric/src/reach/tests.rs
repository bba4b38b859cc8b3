//! Three networks, and where their routes, groups and ACLs lead.

use super::*;
use crate::network::{Entry, Group, Nat, Rule, Table};

const WEB: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 5);
const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 5);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 5);
const FARTHER: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 5);
const PUBLIC_WEB: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 5);
const PUBLIC_NAT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const INNER_NAT: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 77);
const SOMEBODY: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);

fn block(text: &str) -> Block {
    let (base, prefix) = text.split_once('/').unwrap();
    Block { base: base.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn network(blocks: &str, ports: &[(&str, Ipv4Addr)]) -> Network {
    let all = || vec![Rule { traffic: Traffic::All, peer: Peer::Blocks([Block::ANY].into()) }];
    let port = |(name, address): &(&str, Ipv4Addr)| {
        let groups = ["all".to_owned()].into();
        let addresses = vec![*address];
        ((*name).to_owned(), Port { addresses, groups, check: true, ..Port::default() })
    };
    let group = Group { ingress: all(), egress: all(), ..Group::default() };
    Network {
        blocks: vec![block(blocks)],
        ports: ports.iter().map(port).collect(),
        groups: [("all".to_owned(), group)].into(),
        internet: true,
        ..Network::default()
    }
}

fn subnet(network: &mut Network, name: &str, of: &str, routes: &[(&str, Target)]) {
    let routes = routes.iter().map(|(to, target)| (block(to), target.clone())).collect();
    let table = format!("{name}-table");
    network.tables.insert(table.clone(), Table { routes });
    network.subnets.insert(name.into(), Subnet { block: block(of), acl: None, table });
}

/// `near` is peered with `far`, and that with `farther`; all are joined to the internet.
fn networks() -> BTreeMap<String, Network> {
    let peering = |id: &str| Target::Peering(id.into());
    let router = Ipv4Addr::new(10, 0, 1, 9);
    let mut near =
        network("10.0.0.0/16", &[("web", WEB), ("database", DATABASE), ("router", router)]);
    near.ports.get_mut("web").unwrap().public.insert(WEB, PUBLIC_WEB);
    near.ports.get_mut("router").unwrap().check = false;
    let nat = |address, public, subnet: &str| Nat {
        addresses: vec![address],
        public,
        subnet: subnet.into(),
        ..Nat::default()
    };
    near.nats.insert("nat".into(), nat(PUBLIC_NAT, true, "public"));
    near.nats.insert("inner".into(), nat(INNER_NAT, false, "inner"));
    subnet(&mut near, "inner", "10.0.3.0/24", &[("10.1.0.0/16", peering("p"))]);
    near.peerings.insert("p".into(), "far".into());
    let routes = [
        ("0.0.0.0/0", Target::Internet),
        ("10.1.0.0/16", peering("p")),
        ("10.2.0.0/16", peering("p")),
    ];
    subnet(&mut near, "public", "10.0.1.0/24", &routes);
    let routes = [
        ("0.0.0.0/0", Target::Nat("nat".into())),
        ("10.1.0.0/16", peering("p")),
        ("192.0.2.0/24", Target::Port("router".into())),
        ("192.0.2.128/25", Target::Blackhole),
    ];
    subnet(&mut near, "private", "10.0.2.0/24", &routes);
    let mut far = network("10.1.0.0/16", &[("far", FAR)]);
    far.peerings = [("p", "near"), ("q", "farther")].map(|(a, b)| (a.into(), b.into())).into();
    let routes = [("10.0.0.0/16", peering("p")), ("10.2.0.0/16", peering("q"))];
    subnet(&mut far, "all", "10.1.0.0/16", &routes);
    let mut farther = network("10.2.0.0/16", &[("farther", FARTHER)]);
    farther.peerings.insert("q".into(), "far".into());
    let routes = [("10.0.0.0/8", peering("q"))];
    subnet(&mut farther, "all", "10.2.0.0/16", &routes);
    [("near", near), ("far", far), ("farther", farther)].map(|(n, m)| (n.into(), m)).into()
}

/// Where it ends, or what denies, on the way back or forth.
fn outcome(networks: &BTreeMap<String, Network>, from: Ipv4Addr, to: Ipv4Addr) -> String {
    let of = networks.iter().find(|(_, n)| n.ports.values().any(|p| p.addresses == [from]));
    let source = match of {
        Some((network, _)) => Source::Inside { network: network.clone(), address: from },
        None => Source::Outside(from),
    };
    let path = reach(networks, &source, to, Flow::Tcp { from: 40_000, to: 80 });
    let last = path.hops.last();
    match path.verdict {
        Verdict::Reaches { end: End::Port(port), .. } => port,
        Verdict::Reaches { end, .. } => format!("{end:?}"),
        Verdict::HandedTo { port, .. } => format!("handed to {port}"),
        Verdict::Denied => {
            let Hop { network, back, step } = last.expect("something denied");
            let way = if *back { "back" } else { "forth" };
            let name = format!("{step:?}");
            let name = name.split([' ', '(']).next().unwrap_or_default().to_owned();
            format!("{way}, {network}: {name}")
        }
    }
}

#[test]
fn routes_lead_where_they_say_and_back() {
    let networks = networks();
    let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
    for (from, to, expected) in [
        (WEB, DATABASE, "database"),
        (WEB, ip("10.0.9.9"), "forth, near: Nobody"),
        (WEB, SOMEBODY, "Outside(9.9.9.9)"),
        (DATABASE, SOMEBODY, "Outside(9.9.9.9)"),
        (WEB, ip("172.16.0.1"), "forth, near: Nobody"),
        (WEB, ip("198.18.77.7"), "forth, near: Nobody"),
        (DATABASE, PUBLIC_WEB, "web"),
        (SOMEBODY, PUBLIC_WEB, "web"),
        (SOMEBODY, PUBLIC_NAT, "forth, : Nobody"),
        (DATABASE, ip("192.0.2.1"), "handed to router"),
        (DATABASE, ip("192.0.2.200"), "forth, near: Route"),
        (DATABASE, FAR, "far"),
        (FAR, WEB, "web"),
        (FAR, SOMEBODY, "forth, far: Route"),
        (FAR, FARTHER, "farther"),
        // Not through a third, whatever the routes say.
        (WEB, FARTHER, "forth, far: Nobody"),
    ] {
        assert_eq!(outcome(&networks, from, to), expected, "{from} to {to}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let near = |change: fn(&mut Network), from, to| {
        let mut networks = networks();
        change(networks.get_mut("near").unwrap());
        outcome(&networks, from, to)
    };
    let got = near(|n| n.internet = false, WEB, SOMEBODY);
    assert_eq!(got, "forth, near: Impassable");
    let got = near(|n| n.ports.get_mut("web").unwrap().public.clear(), WEB, SOMEBODY);
    assert_eq!(got, "forth, near: Impassable");
    let got = near(|n| n.nats.clear(), DATABASE, SOMEBODY);
    assert_eq!(got, "forth, near: Impassable");
    // A peering that only one side knows.
    let got = near(|n| n.peerings.clear(), FAR, WEB);
    assert_eq!(got, "forth, far: Impassable");
    let got = near(
        |n| n.ports.get_mut("router").unwrap().check = true,
        DATABASE,
        Ipv4Addr::new(192, 0, 2, 1),
    );
    assert_eq!(got, "forth, near: Impassable");
    // With a public address, in a subnet whose way out is a NAT.
    let private = |n: &mut Network| {
        n.subnets.get_mut("public").unwrap().table = "private-table".into();
    };
    assert_eq!(near(private, SOMEBODY, PUBLIC_WEB), "back, near: Route");
    assert_eq!(near(private, WEB, SOMEBODY), "Outside(9.9.9.9)");
    // No route for the answer.
    let got = near(|n| n.tables.clear(), FAR, WEB);
    assert_eq!(got, "back, near: Route");
    let got = near(|n| n.groups.get_mut("all").unwrap().egress.clear(), WEB, DATABASE);
    assert_eq!(got, "forth, near: Groups");
    // Answers need no rule, but the ACL's leave.
    let got = near(|n| n.groups.get_mut("all").unwrap().egress.clear(), FAR, WEB);
    assert_eq!(got, "web");
    let acl = |n: &mut Network| {
        let entry = |traffic| vec![Entry { allow: true, traffic, block: Block::ANY }];
        let acl = Acl { ingress: entry(Traffic::All), egress: entry(Traffic::Tcp(80, 80)) };
        n.acls.insert("acl".into(), acl);
        n.subnets.get_mut("public").unwrap().acl = Some("acl".into());
    };
    assert_eq!(near(acl, FAR, WEB), "back, near: Acl");
    assert_eq!(near(acl, WEB, FAR), "far");
}

#[test]
fn the_deciding_rule_is_named() {
    let mut networks = networks();
    let near = networks.get_mut("near").unwrap();
    let rules = |ports: [u16; 3]| {
        let rule =
            |port| Rule { traffic: Traffic::Tcp(port, port), peer: Peer::Group("all".into()) };
        Group { ingress: ports.map(rule).into(), ..Group::default() }
    };
    near.groups.insert("b".into(), rules([22, 80, 80]));
    near.groups.insert("a".into(), rules([22, 23, 24]));
    near.ports.get_mut("database").unwrap().groups = ["a".into(), "b".into()].into();
    let source = Source::Inside { network: "near".into(), address: WEB };
    let path = reach(&networks, &source, DATABASE, Flow::Tcp { from: 40_000, to: 80 });
    let end = End::Port("database".into());
    let admitted = Step::Groups { end, way: Way::Ingress, rule: Some(("b".into(), 1)) };
    assert!(path.hops.iter().any(|hop| hop.step == admitted), "{path:#?}");
}

#[test]
fn a_private_nat_leads_where_its_own_subnet_is_led() {
    let through = |change: fn(&mut Network), to| {
        let mut networks = networks();
        let near = networks.get_mut("near").unwrap();
        let table = near.tables.get_mut("private-table").unwrap();
        table.routes.insert(block("10.1.0.0/16"), Target::Nat("inner".into()));
        change(near);
        outcome(&networks, DATABASE, to)
    };
    assert_eq!(through(|_| {}, FAR), "far");
    let clear: fn(&mut Network) = |n| n.tables.get_mut("inner-table").unwrap().routes.clear();
    assert_eq!(through(clear, FAR), "forth, near: Route");
    let out: fn(&mut Network) = |n| {
        let table = n.tables.get_mut("private-table").unwrap();
        table.routes.insert(Block::ANY, Target::Nat("inner".into()));
    };
    assert_eq!(through(out, SOMEBODY), "forth, near: Route");
    let filter: fn(&mut Network) = |n| {
        n.subnets.get_mut("inner").unwrap().acl = Some("acl".into());
        let entry = |block| Entry { allow: true, traffic: Traffic::All, block };
        let ingress = vec![entry(block("10.0.0.0/16"))];
        n.acls.insert("acl".into(), Acl { ingress, egress: vec![entry(Block::ANY)] });
    };
    assert_eq!(through(filter, FAR), "back, near: Acl");
}

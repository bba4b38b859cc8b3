//! Which way packets take in a network: a plan from what the network shall be and the links that are
//! there, and nothing else. The kernel asks its rules in this order:
//!
//! ```text
//!       0  table local: addresses of the network itself
//!   32766  table main: a /32 for each address of a port; the rest of the network's blocks is refused
//!   35000  came in by a link to another network: refused, so that no network is a way to a third one
//!   36000  came in from a port that forwards for others: the table of the port's subnet
//!   40000  source in a subnet: its table, by longest prefix; what has no route is refused
//! ```
//!
//! The kernel is sparing of answers when it refuses: some are dropped without.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

use super::netlink::{Message, Socket};
use super::way::{self, Action, Hop, MAIN, Routes, Rule};
use super::{Inner, join, route};
use crate::network::{Block, Network, Target};

const FROM_OUTSIDE: u32 = 35_000;
const FORWARDED: u32 = 36_000;
const FROM_SUBNET: u32 = 40_000;

/// Numbers of tables begin above those that the kernel knows.
const FIRST_TABLE: u32 = 1 << 16;
const TABLES: u32 = 1 << 24;

/// Makes routes, rules, and what they need of neighbours and devices.
pub fn apply(socket: &mut Socket, network: &Network) -> io::Result<()> {
    let links = route::links(socket)?;
    let links = links.iter().map(|link| (link.name.as_str(), link)).collect();
    socket.run(neighbours(network, &links))?;
    let gone = way::sync(socket, &routes(network, &links), &rules(network, &links))?;
    let index = |name: &str| links.get(name).map(|link| link.index);
    // A device from which any source may come must not be checked for the way back.
    let unchecked = network.ports.iter().filter(|(_, port)| !port.check);
    let checked = gone.iter().filter(|rule| rule.priority == FORWARDED);
    let checked = checked.filter(|rule| network.ports.get(&rule.device).is_some_and(|p| p.check));
    let mut batch: Vec<Message> =
        checked.filter_map(|rule| Some(route::check_source(index(&rule.device)?, true))).collect();
    let unchecked = unchecked.filter_map(|(name, _)| index(name));
    batch.extend(unchecked.map(|index| route::check_source(index, false)));
    socket.run(batch)
}

/// Whether a port needs more than the route that `attach` gives it.
pub fn concerns(network: &Network, port: &str) -> bool {
    let target = Target::Port(port.to_owned());
    network.ports.get(port).is_some_and(|port| !port.check || port.addresses.len() > 1)
        || network.tables.values().any(|table| table.routes.values().any(|to| *to == target))
}

type Links<'a> = BTreeMap<&'a str, &'a route::Link>;

/// Ports whose link is up, by name.
fn live<'a>(
    network: &'a Network,
    links: &'a Links<'_>,
) -> impl Iterator<Item = (u32, Inner, &'a [Ipv4Addr])> {
    network.ports.iter().filter_map(|(name, port)| {
        let link = links.get(name.as_str()).filter(|link| link.up)?;
        Some((link.index, Inner::parse(&link.alias)?, port.addresses.as_slice()))
    })
}

fn neighbours(network: &Network, links: &Links<'_>) -> Vec<Message> {
    let mut batch = Vec::new();
    for (index, inner, addresses) in live(network, links) {
        let secondary = addresses.iter().filter(|address| **address != inner.address);
        batch.extend(secondary.map(|address| route::neighbour(index, *address, &inner.mac)));
    }
    let hops = nat_hops(network);
    for (name, link) in links.iter().filter(|(name, _)| join::is_join(name)) {
        let to_internet = *name == join::INTERNET;
        let by_link = hops.iter().filter(|(nat, _)| network.nats[**nat].public == to_internet);
        batch.extend(by_link.map(|(_, hop)| route::neighbour(link.index, *hop, &join::MAC)));
    }
    batch
}

fn routes(network: &Network, links: &Links<'_>) -> Routes {
    let mut routes: Routes =
        network.blocks.iter().map(|block| ((MAIN, *block), Hop::Unreachable)).collect();
    for (index, inner, addresses) in live(network, links) {
        // The primary one's came with `attach`.
        for address in addresses.iter().filter(|address| **address != inner.address) {
            let hop = Hop::Device { index, source: inner.gateway };
            routes.insert((MAIN, Block::from(*address)), hop);
        }
    }
    let hops = nat_hops(network);
    let numbers = tables(network);
    for (name, table) in &network.tables {
        let number = numbers[name.as_str()];
        routes.insert((number, Block::ANY), Hop::Unreachable);
        for (block, target) in &table.routes {
            let hop = hop(network, links, &hops, target).unwrap_or(Hop::Blackhole);
            routes.insert((number, *block), hop);
            let Target::Nat(nat) = target else { continue };
            let Some(private) = network.nats.get(nat).filter(|nat| !nat.public) else { continue };
            let decides = |part: &Block| network.route(name, *part) == Some((*block, target));
            for (part, beyond) in network.beyond(private, *block) {
                if decides(&part) {
                    let hop = beyond_nat(network, links, hops[nat.as_str()], beyond);
                    routes.insert((number, part), hop.unwrap_or(Hop::Blackhole));
                }
            }
        }
    }
    routes
}

/// `None` when what it leads to is not there.
fn hop(
    network: &Network,
    links: &Links<'_>,
    nat_hops: &BTreeMap<&str, Ipv4Addr>,
    target: &Target,
) -> Option<Hop> {
    let via = |link: &str, gateway| {
        let link = links.get(link).filter(|link| link.up)?;
        Some(Hop::Via { index: link.index, gateway })
    };
    match target {
        Target::Internet if network.internet => via(join::INTERNET, join::OTHER_END),
        Target::Nat(name) if network.internet && network.nats.get(name)?.public => {
            via(join::INTERNET, *nat_hops.get(name.as_str())?)
        }
        Target::Peering(id) if network.peerings.contains_key(id) => {
            via(&join::peering(id), join::OTHER_END)
        }
        Target::Port(name) => via(name, *network.ports.get(name)?.addresses.first()?),
        _ => None,
    }
}

/// What a private NAT passes on: to peered networks, by a next hop that says whose it is.
fn beyond_nat(
    network: &Network,
    links: &Links<'_>,
    gateway: Ipv4Addr,
    target: &Target,
) -> Option<Hop> {
    let Target::Peering(id) = target else { return None };
    let link = network.peerings.get(id).and_then(|_| links.get(join::peering(id).as_str()))?;
    link.up.then_some(Hop::Via { index: link.index, gateway })
}

fn rules(network: &Network, links: &Links<'_>) -> BTreeSet<Rule> {
    let rule = |priority, from, device: &str, action| Rule {
        priority,
        from,
        device: device.to_owned(),
        mark: 0,
        action,
    };
    let outside = links.keys().filter(|name| join::is_join(name));
    let mut rules: BTreeSet<Rule> =
        outside.map(|name| rule(FROM_OUTSIDE, Block::ANY, name, Action::Unreachable)).collect();
    let numbers = tables(network);
    let action = |table: &str| numbers.get(table).map(|number| Action::Table(*number));
    for (port, table) in forwarding(network) {
        let action = action(table).unwrap_or(Action::Unreachable);
        rules.insert(rule(FORWARDED, Block::ANY, port, action));
    }
    for subnet in network.subnets.values() {
        let action = action(&subnet.table).unwrap_or(Action::Unreachable);
        rules.insert(rule(FROM_SUBNET, subnet.block, "", action));
    }
    rules
}

/// Ports that may send for others, with the table of their subnet.
fn forwarding(network: &Network) -> impl Iterator<Item = (&str, &str)> {
    network.ports.iter().filter(|(_, port)| !port.check).filter_map(|(name, port)| {
        let address = *port.addresses.first()?;
        let (_, subnet) = network.subnet_of(address)?;
        Some((name.as_str(), subnet.table.as_str()))
    })
}

fn tables(network: &Network) -> BTreeMap<&str, u32> {
    let mut tables = numbers(network.tables.keys(), TABLES);
    tables.values_mut().for_each(|number| *number += FIRST_TABLE);
    tables
}

/// The neighbours on the way to the internet that stand for NATs: the next hop tells them apart after
/// the route was chosen.
pub fn nat_hops(network: &Network) -> BTreeMap<&str, Ipv4Addr> {
    const FIRST: Ipv4Addr = Ipv4Addr::new(169, 254, 128, 0);
    let hop = |(name, number)| (name, Ipv4Addr::from(u32::from(FIRST) + number));
    numbers(network.nats.keys(), 1 << 15).into_iter().map(hop).collect()
}

/// A number below `room` for each name, which stays when others come and go (but for rare collisions).
fn numbers<'a>(names: impl Iterator<Item = &'a String>, room: u32) -> BTreeMap<&'a str, u32> {
    let mut taken = BTreeSet::new();
    let number = |name: &'a String| {
        let mut number = (join::hash(name) % u64::from(room)) as u32;
        while !taken.insert(number) {
            number = (number + 1) % room;
        }
        (name.as_str(), number)
    };
    names.map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Nat, Port, Subnet, Table};

    fn block(text: &str) -> Block {
        let (base, prefix) = text.split_once('/').unwrap();
        Block { base: base.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    fn link(name: &str, index: u32) -> route::Link {
        let alias = format!("10.0.1.{index} 10.0.1.1 02000000000{index}");
        let (name, stats) = (name.to_owned(), route::Stats::default());
        route::Link { name, index, up: true, peer: 0, alias, stats }
    }

    fn nat(public: bool) -> Nat {
        let addresses = vec![[198, 18, 0, 1].into()];
        Nat { addresses, public, subnet: "s".to_owned(), ..Nat::default() }
    }

    fn network(routes: &[(&str, Target)]) -> Network {
        let routes = routes.iter().map(|(to, target)| (block(to), target.clone())).collect();
        let subnet = Subnet { block: block("10.0.1.0/24"), acl: None, table: "t".into() };
        let addresses = vec![[10, 0, 1, 5].into(), [10, 0, 1, 9].into()];
        let port = Port { addresses, check: true, ..Port::default() };
        Network {
            blocks: vec![block("10.0.0.0/16")],
            ports: [("e5".to_owned(), port)].into(),
            subnets: [("s".to_owned(), subnet)].into(),
            tables: [("t".to_owned(), Table { routes })].into(),
            nats: [("nat".to_owned(), nat(true)), ("inner".to_owned(), nat(false))].into(),
            peerings: [("pcx".to_owned(), "other".to_owned())].into(),
            internet: true,
            ..Network::default()
        }
    }

    #[test]
    fn a_target_that_is_not_there_is_a_blackhole() {
        let port = link("e5", 5);
        let internet = link(join::INTERNET, 8);
        let peering = link(&join::peering("pcx"), 9);
        let all: [&route::Link; 3] = [&port, &internet, &peering];
        let via = |index, gateway| Hop::Via { index, gateway };
        let nat = nat_hops(&network(&[]))["nat"];
        let cases = [
            (Target::Internet, via(8, join::OTHER_END)),
            (Target::Nat("nat".into()), via(8, nat)),
            (Target::Nat("other".into()), Hop::Blackhole),
            (Target::Peering("pcx".into()), via(9, join::OTHER_END)),
            (Target::Peering("other".into()), Hop::Blackhole),
            (Target::Port("e5".into()), via(5, [10, 0, 1, 5].into())),
            (Target::Port("e6".into()), Hop::Blackhole),
            (Target::Blackhole, Hop::Blackhole),
        ];
        for (target, expected) in cases {
            let network = network(&[("0.0.0.0/0", target.clone())]);
            let table = tables(&network)["t"];
            let links = all.iter().map(|link| (link.name.as_str(), *link)).collect();
            assert_eq!(routes(&network, &links)[&(table, Block::ANY)], expected, "{target:?}");
            let alone = routes(&network, &Links::new());
            assert_eq!(alone[&(table, Block::ANY)], Hop::Blackhole, "{target:?} without links");
            let closed = Network { internet: false, nats: BTreeMap::new(), ..network };
            let closed = &routes(&closed, &links)[&(table, Block::ANY)];
            let to_internet = matches!(target, Target::Internet | Target::Nat(_));
            assert_eq!(*closed == Hop::Blackhole, to_internet || expected == Hop::Blackhole);
        }
    }

    #[test]
    fn what_has_no_route_is_refused() {
        let network = network(&[]);
        let port = link("e5", 5);
        let routes = routes(&network, &[("e5", &port)].into());
        let secondary = Hop::Device { index: 5, source: [10, 0, 1, 1].into() };
        let expected = [
            ((MAIN, block("10.0.0.0/16")), Hop::Unreachable),
            ((MAIN, block("10.0.1.9/32")), secondary),
            ((tables(&network)["t"], Block::ANY), Hop::Unreachable),
        ];
        assert_eq!(routes, expected.into());
    }

    #[test]
    fn rules_stop_what_comes_from_outside_before_subnets_are_asked() {
        let mut network = network(&[]);
        network.ports.get_mut("e5").unwrap().check = false;
        let internet = link(join::INTERNET, 8);
        let rules = rules(&network, &[(join::INTERNET, &internet)].into());
        let table = Action::Table(tables(&network)["t"]);
        let seen: Vec<_> =
            rules.iter().map(|r| (r.priority, r.device.as_str(), r.action.clone())).collect();
        let expected = [
            (FROM_OUTSIDE, join::INTERNET, Action::Unreachable),
            (FORWARDED, "e5", table.clone()),
            (FROM_SUBNET, "", table),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_private_nat_passes_on_what_its_own_table_says() {
        let to = |id: &str| Target::Peering(id.to_owned());
        let mut network = network(&[
            ("10.8.0.0/16", to("pcx")),
            ("10.8.9.0/24", Target::Blackhole),
            ("0.0.0.0/0", Target::Internet),
        ]);
        let by_nat = || Target::Nat("inner".to_owned());
        let routes_to_nat =
            [("10.0.0.0/8", by_nat()), ("10.8.7.0/24", Target::Internet), ("11.0.0.0/8", by_nat())];
        let far = routes_to_nat.into_iter().map(|(to, target)| (block(to), target));
        network.tables.insert("far".to_owned(), Table { routes: far.collect() });
        let links = [link(join::INTERNET, 8), link(&join::peering("pcx"), 9)];
        let links = links.iter().map(|link| (link.name.as_str(), link)).collect();
        let table = tables(&network)["far"];
        let routes = routes(&network, &links);
        let inner = Hop::Via { index: 9, gateway: nat_hops(&network)["inner"] };
        for (to, hop) in [
            ("10.0.0.0/8", Hop::Blackhole),
            ("10.8.0.0/16", inner),
            ("10.8.9.0/24", Hop::Blackhole),
            ("10.8.7.0/24", Hop::Via { index: 8, gateway: join::OTHER_END }),
            ("11.0.0.0/8", Hop::Blackhole),
        ] {
            assert_eq!(routes.get(&(table, block(to))), Some(&hop), "{to}");
        }
    }

    #[test]
    fn numbers_differ_and_stay() {
        let names: Vec<String> = (0..100).map(|n| format!("rtb-{n}")).collect();
        let few = numbers(names.iter(), 128);
        assert_eq!(few.values().collect::<BTreeSet<_>>().len(), names.len());
        let many = numbers(names.iter(), TABLES);
        assert_eq!(numbers(names[50..].iter(), TABLES)["rtb-99"], many["rtb-99"]);
    }
}

//! Predicts from networks as data whether a connection comes about, and what decides. Pure.
//!
//! A packet is followed to where it goes, and then its answer all the way back: groups let answers
//! pass, ACLs and routes ask again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::network::{Acl, Block, Network, Peer, Port, Subnet, Target, Traffic};

/// Who begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The port or node that has the address.
    Inside { network: String, address: Ipv4Addr },
    /// Somebody on the internet.
    Outside(Ipv4Addr),
}

/// What the first packet carries. Ports are those of the sender and of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Tcp {
        from: u16,
        to: u16,
    },
    Udp {
        from: u16,
        to: u16,
    },
    /// Type and code.
    Icmp(u8, u8),
    Protocol(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// When denied, the last one denies.
    pub hops: Vec<Hop>,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of the network, if there is one.
    Reaches {
        network: Option<String>,
        end: End,
    },
    /// To a port that forwards; what it does with it is its own.
    HandedTo {
        network: String,
        port: String,
    },
    Denied,
}

/// Where packets come from and go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Port(String),
    Node(Ipv4Addr),
    Open(Ipv4Addr),
    Service(Ipv4Addr),
    Outside(Ipv4Addr),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    pub network: String,
    /// On the way of the answer.
    pub back: bool,
    pub step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The rules of its groups: the first that admits, by its group and place; `None` denies.
    Groups { end: End, way: Way, rule: Option<(String, usize)> },
    /// The entry of the ACL that matches first, by its place; `None` denies.
    Acl { acl: String, subnet: String, way: Way, entry: Option<usize>, allows: bool },
    /// The route taken; `None` is no route.
    Route { table: Option<String>, route: Option<(Block, Target)> },
    /// The route leads there, but not for this packet.
    Impassable { target: Target, why: Why },
    /// Whether the service is there for the sender.
    Service { address: Ipv4Addr, admits: bool },
    /// It goes on under another address.
    Translated { from: Ipv4Addr, to: Ipv4Addr },
    /// Nobody has this address.
    Nobody(Ipv4Addr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The network is not joined to the internet.
    NotJoined,
    /// The sender has no public address.
    NoPublicAddress,
    /// What the route names does not exist, or not at both ends.
    Gone,
    /// It forwards nothing: its addresses are checked.
    Checked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Ingress,
    Egress,
}

/// Follows the first packet and its answer.
pub fn reach(
    networks: &BTreeMap<String, Network>,
    from: &Source,
    to: Ipv4Addr,
    flow: Flow,
) -> Path {
    let mut walk = Walk { networks, hops: Vec::new(), back: false, nat: None };
    let verdict = walk.there_and_back(from, to, flow).unwrap_or_else(|stop| stop);
    Path { hops: walk.hops, verdict }
}

impl Flow {
    /// What answers it; none to what asks nothing.
    fn answer(self) -> Option<Flow> {
        match self {
            Flow::Tcp { from, to } => Some(Flow::Tcp { from: to, to: from }),
            Flow::Udp { from, to } => Some(Flow::Udp { from: to, to: from }),
            Flow::Icmp(8, 0) => Some(Flow::Icmp(0, 0)),
            Flow::Icmp(..) => None,
            Flow::Protocol(_) => Some(self),
        }
    }

    fn protocol(self) -> u8 {
        match self {
            Flow::Icmp(..) => 1,
            Flow::Tcp { .. } => 6,
            Flow::Udp { .. } => 17,
            Flow::Protocol(number) => number,
        }
    }
}

impl Traffic {
    pub fn matches(&self, flow: Flow) -> bool {
        let wanted = |wanted: Option<u8>, is| wanted.is_none_or(|wanted| wanted == is);
        match (self, flow) {
            (Traffic::All, _) => true,
            (Traffic::Tcp(first, last), Flow::Tcp { to, .. })
            | (Traffic::Udp(first, last), Flow::Udp { to, .. }) => (*first..=*last).contains(&to),
            (Traffic::Icmp(kind, code), Flow::Icmp(k, c)) => wanted(*kind, k) && wanted(*code, c),
            (Traffic::Protocol(number), flow) => *number == flow.protocol(),
            _ => false,
        }
    }
}

#[derive(Clone, Copy)]
struct Packet {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    flow: Flow,
}

/// An end, in its network.
#[derive(Clone)]
struct Place<'a> {
    network: Option<&'a str>,
    end: End,
}

struct Walk<'a> {
    networks: &'a BTreeMap<String, Network>,
    hops: Vec<Hop>,
    back: bool,
    /// Who stands behind the public address of the NAT that was taken.
    nat: Option<(Ipv4Addr, Place<'a>, Ipv4Addr)>,
}

/// Ends a walk before the packet is where it was to go.
type Go<T> = Result<T, Verdict>;

impl<'a> Walk<'a> {
    fn there_and_back(&mut self, from: &Source, to: Ipv4Addr, flow: Flow) -> Go<Verdict> {
        let (start, source) = match from {
            Source::Outside(address) => {
                (Place { network: None, end: End::Outside(*address) }, *address)
            }
            Source::Inside { network, address } => {
                let known = self.networks.get_key_value(network);
                let place = known.and_then(|(name, network)| local(name, network, *address));
                (place.ok_or_else(|| self.deny(network, Step::Nobody(*address)))?, *address)
            }
        };
        let (end, packet) = self.carry(&start, Packet { source, destination: to, flow })?;
        let reached =
            Verdict::Reaches { network: end.network.map(str::to_owned), end: end.end.clone() };
        let Some(flow) = flow.answer() else { return Ok(reached) };
        self.back = true;
        let answer = Packet { source: packet.destination, destination: packet.source, flow };
        self.carry(&end, answer)?;
        Ok(reached)
    }

    /// From where it starts to where it ends, with the packet as it comes in there.
    fn carry(&mut self, start: &Place<'a>, packet: Packet) -> Go<(Place<'a>, Packet)> {
        let Some(name) = start.network else { return self.outside("", packet) };
        let network = &self.networks[name];
        let target = local(name, network, packet.destination);
        let next = match &target {
            Some(place) => Next::Here(place.clone()),
            None => self.route(name, network, packet)?,
        };
        self.depart(name, network, start, &next, packet)?;
        match next {
            Next::Here(place) => self.arrive(name, network, &place, Some(start), packet),
            Next::There(target) => self.leave(name, network, start, &target, packet),
        }
    }

    fn route(&mut self, name: &'a str, network: &'a Network, packet: Packet) -> Go<Next<'a>> {
        if network.blocks.iter().any(|block| block.contains(packet.destination)) {
            return Err(self.deny(name, Step::Nobody(packet.destination)));
        }
        let subnet = network.subnet_of(packet.source);
        let table = subnet.map(|(_, subnet)| subnet.table.clone());
        let routes = table.as_ref().and_then(|table| network.tables.get(table));
        let matching = routes.into_iter().flat_map(|table| &table.routes);
        let route = matching
            .filter(|(block, _)| block.contains(packet.destination))
            .max_by_key(|(block, _)| block.prefix)
            .map(|(block, target)| (*block, target.clone()));
        let target = route.as_ref().map(|(_, target)| target.clone());
        let step = Step::Route { table, route };
        match target {
            None | Some(Target::Blackhole) => Err(self.deny(name, step)),
            Some(target) => {
                self.hop(name, step);
                Ok(Next::There(target))
            }
        }
    }

    /// Out of a port or node. Open addresses are always answered.
    fn depart(
        &mut self,
        name: &str,
        network: &'a Network,
        start: &Place<'a>,
        next: &Next<'a>,
        packet: Packet,
    ) -> Go<()> {
        if let Next::Here(Place { end: End::Open(_), .. }) = next {
            return Ok(());
        }
        let beyond = match next {
            Next::Here(place) => subnet_of(network, &place.end),
            Next::There(Target::Port(port)) => subnet_of(network, &End::Port(port.clone())),
            Next::There(_) => None,
        };
        self.groups(name, network, &start.end, Way::Egress, packet)?;
        self.acl(name, network, subnet_of(network, &start.end), beyond, Way::Egress, packet)
    }

    /// In to a port, node or service, from one of this network or from elsewhere.
    fn arrive(
        &mut self,
        name: &'a str,
        network: &'a Network,
        place: &Place<'a>,
        from: Option<&Place<'a>>,
        packet: Packet,
    ) -> Go<(Place<'a>, Packet)> {
        let from_open = from.is_some_and(|from| matches!(from.end, End::Open(_)));
        if !from_open && !matches!(place.end, End::Open(_)) {
            let beyond = from.and_then(|from| subnet_of(network, &from.end));
            let subnet = subnet_of(network, &place.end);
            self.acl(name, network, subnet, beyond, Way::Ingress, packet)?;
            self.groups(name, network, &place.end, Way::Ingress, packet)?;
        }
        Ok((place.clone(), packet))
    }

    fn leave(
        &mut self,
        name: &'a str,
        network: &'a Network,
        start: &Place<'a>,
        target: &Target,
        packet: Packet,
    ) -> Go<(Place<'a>, Packet)> {
        let impassable = |why| Step::Impassable { target: target.clone(), why };
        match target {
            Target::Internet | Target::Nat(_) if !network.internet => {
                Err(self.deny(name, impassable(Why::NotJoined)))
            }
            Target::Internet => {
                let port = match &start.end {
                    End::Port(port) => network.ports.get(port),
                    _ => None,
                };
                let Some(public) = port.and_then(|port| port.public.get(&packet.source)) else {
                    return Err(self.deny(name, impassable(Why::NoPublicAddress)));
                };
                self.translate(name, packet.source, *public);
                self.outside(name, Packet { source: *public, ..packet })
            }
            Target::Nat(nat) => {
                let Some(nat) = network.nats.get(nat) else {
                    return Err(self.deny(name, impassable(Why::Gone)));
                };
                self.translate(name, packet.source, nat.public);
                self.nat = Some((nat.public, start.clone(), packet.source));
                self.outside(name, Packet { source: nat.public, ..packet })
            }
            Target::Peering(id) => {
                let other = network.peerings.get(id).and_then(|other| {
                    let (other, network) = self.networks.get_key_value(other)?;
                    (network.peerings.get(id)? == name).then_some((other, network))
                });
                let Some((other, network)) = other else {
                    return Err(self.deny(name, impassable(Why::Gone)));
                };
                match local(other, network, packet.destination) {
                    Some(place) if matches!(place.end, End::Port(_) | End::Node(_)) => {
                        self.arrive(other, network, &place, None, packet)
                    }
                    _ => Err(self.deny(other, Step::Nobody(packet.destination))),
                }
            }
            Target::Port(port) => match network.ports.get(port) {
                None => Err(self.deny(name, impassable(Why::Gone))),
                Some(Port { check: true, .. }) => Err(self.deny(name, impassable(Why::Checked))),
                Some(_) => {
                    let place = Place { network: Some(name), end: End::Port(port.clone()) };
                    self.arrive(name, network, &place, Some(start), packet)?;
                    Err(Verdict::HandedTo { network: name.to_owned(), port: port.clone() })
                }
            },
            Target::Blackhole => unreachable!("denied as a route"),
        }
    }

    /// On the internet, where public addresses lead back into networks. `from` is the network left.
    fn outside(&mut self, from: &str, packet: Packet) -> Go<(Place<'a>, Packet)> {
        let destination = packet.destination;
        if let Some((public, place, private)) = self.nat.clone()
            && self.back
            && public == destination
        {
            let name = place.network.expect("a NAT belongs to a network");
            self.translate(name, public, private);
            let packet = Packet { destination: private, ..packet };
            return self.arrive(name, &self.networks[name], &place, None, packet);
        }
        for (name, network) in self.networks.iter().filter(|(_, network)| network.internet) {
            for (port, end) in &network.ports {
                let private = end.public.iter().find(|(_, public)| **public == destination);
                let Some((private, _)) = private else { continue };
                self.translate(name, destination, *private);
                let place = Place { network: Some(name), end: End::Port(port.clone()) };
                let packet = Packet { destination: *private, ..packet };
                return self.arrive(name, network, &place, None, packet);
            }
        }
        if !public(destination) {
            return Err(self.deny(from, Step::Nobody(destination)));
        }
        Ok((Place { network: None, end: End::Outside(destination) }, packet))
    }

    /// What its groups say, or whom a service is for. Answers pass.
    fn groups(
        &mut self,
        name: &str,
        network: &Network,
        end: &End,
        way: Way,
        packet: Packet,
    ) -> Go<()> {
        let groups = match end {
            End::Port(port) => network.ports.get(port).map(|port| &port.groups),
            End::Node(address) => network.nodes.get(address).map(|node| &node.groups),
            _ => None,
        };
        if self.back || packet.source == packet.destination {
            return Ok(());
        }
        if let End::Service(address) = end {
            let sources = &network.services[address].sources;
            let admits = sources.iter().any(|block| block.contains(packet.source));
            let step = Step::Service { address: *address, admits };
            return self.decide(name, step, admits);
        }
        let Some(groups) = groups else { return Ok(()) };
        let rule = admits(network, groups, way, packet);
        let passes = rule.is_some();
        self.decide(name, Step::Groups { end: end.clone(), way, rule }, passes)
    }

    /// What the ACL of a subnet says of a packet that crosses its border.
    fn acl(
        &mut self,
        name: &str,
        network: &Network,
        subnet: Option<(&str, &Subnet)>,
        beyond: Option<(&str, &Subnet)>,
        way: Way,
        packet: Packet,
    ) -> Go<()> {
        let Some((subnet, Subnet { acl: Some(acl), .. })) = subnet else { return Ok(()) };
        if beyond.is_some_and(|(beyond, _)| beyond == subnet) {
            return Ok(());
        }
        let entry = network.acls.get(acl).and_then(|acl| decides(acl, way, packet));
        let allows = entry.is_some_and(|(_, allows)| allows);
        let (acl, subnet) = (acl.clone(), subnet.to_owned());
        let step = Step::Acl { acl, subnet, way, entry: entry.map(|(place, _)| place), allows };
        self.decide(name, step, allows)
    }

    fn decide(&mut self, network: &str, step: Step, passes: bool) -> Go<()> {
        self.hop(network, step);
        if passes { Ok(()) } else { Err(Verdict::Denied) }
    }

    fn deny(&mut self, network: &str, step: Step) -> Verdict {
        self.hop(network, step);
        Verdict::Denied
    }

    fn translate(&mut self, network: &str, from: Ipv4Addr, to: Ipv4Addr) {
        self.hop(network, Step::Translated { from, to });
    }

    fn hop(&mut self, network: &str, step: Step) {
        self.hops.push(Hop { network: network.to_owned(), back: self.back, step });
    }
}

enum Next<'a> {
    Here(Place<'a>),
    There(Target),
}

/// Who in the network has the address.
fn local<'a>(name: &'a str, network: &'a Network, address: Ipv4Addr) -> Option<Place<'a>> {
    let port = || network.ports.iter().find(|(_, port)| port.addresses.contains(&address));
    let end = if network.open.contains(&address) {
        End::Open(address)
    } else if network.nodes.contains_key(&address) {
        End::Node(address)
    } else if network.services.contains_key(&address) {
        End::Service(address)
    } else {
        End::Port(port()?.0.clone())
    };
    Some(Place { network: Some(name), end })
}

fn subnet_of<'a>(network: &'a Network, end: &End) -> Option<(&'a str, &'a Subnet)> {
    match end {
        End::Port(port) => network.subnet_of(*network.ports.get(port)?.addresses.first()?),
        End::Node(address) => network.subnet_of(*address),
        _ => None,
    }
}

fn admits(
    network: &Network,
    groups: &BTreeSet<String>,
    way: Way,
    packet: Packet,
) -> Option<(String, usize)> {
    let peer = match way {
        Way::Ingress => packet.source,
        Way::Egress => packet.destination,
    };
    let members = network.members();
    let from_peer = |wanted: &Peer| match wanted {
        Peer::Blocks(blocks) => blocks.iter().any(|block| block.contains(peer)),
        Peer::Group(group) => members[group.as_str()].contains(&peer),
    };
    groups.iter().find_map(|name| {
        let group = network.groups.get(name)?;
        let rules = match way {
            Way::Ingress => &group.ingress,
            Way::Egress => &group.egress,
        };
        let admits = |rule: &crate::network::Rule| {
            rule.traffic.matches(packet.flow) && from_peer(&rule.peer)
        };
        Some((name.clone(), rules.iter().position(admits)?))
    })
}

/// The first entry that matches, by its place.
fn decides(acl: &Acl, way: Way, packet: Packet) -> Option<(usize, bool)> {
    let (entries, peer) = match way {
        Way::Ingress => (&acl.ingress, packet.source),
        Way::Egress => (&acl.egress, packet.destination),
    };
    let matches = |entry: &crate::network::Entry| {
        entry.traffic.matches(packet.flow) && entry.block.contains(peer)
    };
    let place = entries.iter().position(matches)?;
    Some((place, entries[place].allow))
}

/// What an internet gateway carries: no private, shared, local or reserved addresses (RFC 6890).
fn public(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmarks = a == 198 && (18..20).contains(&b);
    let nowhere = a == 0 || a >= 224 || address.is_loopback();
    !(address.is_private() || address.is_link_local() || shared || benchmarks || nowhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Entry, Group, Nat, Rule, Table};

    const WEB: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 5);
    const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 5);
    const FAR: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 5);
    const FARTHER: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 5);
    const PUBLIC_WEB: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 5);
    const PUBLIC_NAT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
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
        near.nats.insert("nat".into(), Nat { public: PUBLIC_NAT });
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
}

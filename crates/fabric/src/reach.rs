//! Predicts from networks as data whether a connection comes about, and what decides. Pure.
//!
//! A packet is followed to where it goes, and then its answer all the way back: groups let answers
//! pass, ACLs and routes ask again.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::network::{Acl, Block, Nat, Network, Peer, Port, Subnet, Target, Traffic};

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
    /// The route taken; `None` is no route. A blackhole denies, and to answers a NAT: it knows only of
    /// connections that went out by it.
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
    nat: Option<Translation<'a>>,
}

/// Who stands behind the address of the NAT that was taken.
#[derive(Clone)]
struct Translation<'a> {
    address: Ipv4Addr,
    sender: Place<'a>,
    private: Ipv4Addr,
    nat: &'a Nat,
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
        let to = Block::from(packet.destination);
        let route = table.as_ref().and_then(|table| network.route(table, to));
        let route = route.map(|(block, target)| (block, target.clone()));
        let target = route.as_ref().map(|(_, target)| target.clone());
        let step = Step::Route { table, route };
        match target {
            None | Some(Target::Blackhole) => Err(self.deny(name, step)),
            Some(Target::Nat(_)) if self.back => Err(self.deny(name, step)),
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
            Target::Internet if !network.internet => {
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
                let found = network.nats.get(nat);
                let Some((nat, address)) = found.and_then(|n| Some((n, *n.addresses.first()?)))
                else {
                    return Err(self.deny(name, impassable(Why::Gone)));
                };
                if nat.public && !network.internet {
                    return Err(self.deny(name, impassable(Why::NotJoined)));
                }
                let subnet = network.subnets.get_key_value(&nat.subnet);
                let subnet = subnet.map(|(name, subnet)| (name.as_str(), subnet));
                let sender = subnet_of(network, &start.end);
                self.acl(name, network, subnet, sender, Way::Ingress, packet)?;
                self.acl(name, network, subnet, None, Way::Egress, packet)?;
                self.translate(name, packet.source, address);
                let (sender, private) = (start.clone(), packet.source);
                self.nat = Some(Translation { address, sender, private, nat });
                let packet = Packet { source: address, ..packet };
                if nat.public {
                    self.outside(name, packet)
                } else {
                    self.beyond(name, network, nat, packet)
                }
            }
            Target::Peering(id) => self.peer(name, network, id, packet),
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

    /// On from a private NAT, by the table of its subnet.
    fn beyond(
        &mut self,
        name: &'a str,
        network: &'a Network,
        nat: &Nat,
        packet: Packet,
    ) -> Go<(Place<'a>, Packet)> {
        let table = network.subnets.get(&nat.subnet).map(|subnet| subnet.table.clone());
        let to = Block::from(packet.destination);
        let route = table.as_ref().and_then(|table| network.route(table, to));
        let route = route.map(|(block, target)| (block, target.clone()));
        let step = Step::Route { table, route: route.clone() };
        match route {
            Some((_, Target::Peering(id))) => {
                self.hop(name, step);
                self.peer(name, network, &id, packet)
            }
            _ => Err(self.deny(name, step)),
        }
    }

    fn peer(
        &mut self,
        name: &'a str,
        network: &'a Network,
        id: &str,
        packet: Packet,
    ) -> Go<(Place<'a>, Packet)> {
        let other = network.peerings.get(id).and_then(|other| {
            let (other, network) = self.networks.get_key_value(other)?;
            (network.peerings.get(id)? == name).then_some((other, network))
        });
        let Some((other, network)) = other else {
            let target = Target::Peering(id.to_owned());
            return Err(self.deny(name, Step::Impassable { target, why: Why::Gone }));
        };
        if let Some(end) = self.restore(Some(other), packet) {
            return end;
        }
        match local(other, network, packet.destination) {
            Some(place) if matches!(place.end, End::Port(_) | End::Node(_)) => {
                self.arrive(other, network, &place, None, packet)
            }
            _ => Err(self.deny(other, Step::Nobody(packet.destination))),
        }
    }

    /// An answer that comes to the NAT which was taken, of that network if one is given.
    fn restore(&mut self, of: Option<&str>, packet: Packet) -> Option<Go<(Place<'a>, Packet)>> {
        let Translation { address, sender, private, nat } = self.nat.clone()?;
        let name = sender.network.expect("a NAT belongs to a network");
        let is_its = self.back && address == packet.destination;
        if !is_its || nat.public != of.is_none() || of.is_some_and(|of| of != name) {
            return None;
        }
        let network = &self.networks[name];
        self.translate(name, address, private);
        let packet = Packet { destination: private, ..packet };
        let subnet = network.subnets.get_key_value(&nat.subnet);
        let subnet = subnet.map(|(name, subnet)| (name.as_str(), subnet));
        let beyond = subnet_of(network, &sender.end);
        let passes = self
            .acl(name, network, subnet, None, Way::Ingress, packet)
            .and_then(|()| self.acl(name, network, subnet, beyond, Way::Egress, packet));
        Some(passes.and_then(|()| self.arrive(name, network, &sender, None, packet)))
    }

    /// On the internet, where public addresses lead back into networks. `from` is the network left.
    fn outside(&mut self, from: &str, packet: Packet) -> Go<(Place<'a>, Packet)> {
        let destination = packet.destination;
        if let Some(end) = self.restore(None, packet) {
            return end;
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

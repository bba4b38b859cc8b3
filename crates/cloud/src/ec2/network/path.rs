//! Why two can talk, or cannot: the way of a packet and of its answer, told in the names that users
//! know. Reads the same tables that the packet filter is made from.

use std::net::Ipv4Addr;
use std::sync::Arc;

use fabric::network::{Block, Target, Traffic};
use fabric::reach::{End, Flow, Hop, Source, Step, Verdict, Way, Why, reach};
use serde::{Deserialize, Serialize};
use store::Snapshot;

use super::{Kept, compile};
use crate::Context;
use crate::ec2::instance::spec::interface_name;
use crate::ec2::network_interface::model::NetworkInterface;
use crate::ec2::{
    Error, Kind, Result, instance, internet_gateway, network_acl, network_interface, security_group,
};

/// A port that clients use as their own.
const EPHEMERAL: u16 = 49152;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Instance, network interface, or an address.
    pub from: String,
    pub to: String,
    pub protocol: Protocol,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub reachable: bool,
    /// In the order the packet meets them, then its answer. When unreachable, the last one is why.
    pub steps: Vec<Told>,
}

/// A step of the way, with ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub back: bool,
    pub passes: bool,
    pub what: What,
    /// For people.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    Groups {
        interface: String,
        egress: bool,
        groups: Vec<String>,
        rule: Option<GroupRule>,
    },
    Acl {
        acl: String,
        subnet: String,
        egress: bool,
        entry: Option<AclEntry>,
    },
    Route {
        table: Option<String>,
        destination: Option<String>,
        target: Option<String>,
    },
    /// AWS's explanation code.
    Stopped {
        component: String,
        code: String,
    },
    Translated,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRule {
    pub group: String,
    pub id: String,
    pub peer: String,
    pub traffic: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    pub number: i32,
    pub allows: bool,
    pub block: String,
    pub traffic: String,
}

pub fn why(snapshot: &Snapshot, cx: &Context, question: &Question) -> Result<Answer> {
    let networks = compile(snapshot, &cx.env, &Kept::default());
    let guide = Guide { snapshot, cx, interfaces: network_interface::ops::all(snapshot, cx) };
    let from = guide.source(&question.from)?;
    let to = guide.address(&question.to, &from)?;
    let flow = match question.protocol {
        Protocol::Tcp => Flow::Tcp { from: EPHEMERAL, to: question.port },
        Protocol::Udp => Flow::Udp { from: EPHEMERAL, to: question.port },
    };
    let path = reach(&networks, &from, to, flow);
    let reachable = path.verdict != Verdict::Denied;
    let last = path.hops.len().saturating_sub(1);
    let told = |(n, hop): (usize, &Hop)| {
        let passes = reachable || n < last;
        guide.tell(&networks, hop, passes)
    };
    Ok(Answer { reachable, steps: path.hops.iter().enumerate().map(told).collect() })
}

struct Guide<'a> {
    snapshot: &'a Snapshot,
    cx: &'a Context,
    interfaces: Vec<Arc<NetworkInterface>>,
}

type Networks = std::collections::BTreeMap<String, fabric::network::Network>;

impl Guide<'_> {
    fn interface(&self, id: &str) -> Result<Arc<NetworkInterface>> {
        if id.starts_with("i-") {
            let instance = instance::ops::instance(self.snapshot, self.cx, id)?;
            return network_interface::ops::primary_of(self.snapshot, self.cx, &instance);
        }
        network_interface::ops::by_id(self.snapshot, self.cx, id)
    }

    fn source(&self, text: &str) -> Result<Source> {
        let Ok(address) = text.parse::<Ipv4Addr>() else {
            let interface = self.interface(text)?;
            let network = compile::name(&interface.vpc_id).to_owned();
            return Ok(Source::Inside { network, address: interface.primary() });
        };
        let holder = self.interfaces.iter().find(|held| held.addresses.contains(&address));
        Ok(match holder {
            Some(held) => {
                Source::Inside { network: compile::name(&held.vpc_id).to_owned(), address }
            }
            None => Source::Outside(address),
        })
    }

    /// Seen from `from`: from outside, public.
    fn address(&self, text: &str, from: &Source) -> Result<Ipv4Addr> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let interface = self.interface(text)?;
        match from {
            Source::Inside { .. } => Ok(interface.primary()),
            Source::Outside(_) => {
                interface.public.get(&interface.primary()).copied().ok_or_else(|| {
                    Error::value(format!("{text} has no public address to be reached at"))
                })
            }
        }
    }

    fn tell(&self, networks: &Networks, hop: &Hop, passes: bool) -> Told {
        let (what, text) = match &hop.step {
            Step::Groups { end, way, rule } => self.groups(networks, hop, end, *way, rule.as_ref()),
            Step::Acl { acl, subnet, way, entry, .. } => {
                self.acl(networks, hop, acl, subnet, *way, *entry)
            }
            Step::Route { table, route } => {
                self.routed(&hop.network, table.as_deref(), route.as_ref())
            }
            Step::Impassable { target, why } => {
                stopped(&self.target(&hop.network, target), impassable(*why))
            }
            Step::Service { address, admits: true } => {
                (What::Translated, format!("the service at {address} answers within the network"))
            }
            Step::Service { address, admits: false } => stopped(
                &address.to_string(),
                ("NO_ROUTE_TO_DESTINATION", "no route, endpoint or gateway leads to the service"),
            ),
            Step::Translated { from, to } => (What::Translated, format!("{from} goes on as {to}")),
            Step::Nobody(address) => stopped(
                &address.to_string(),
                ("NO_POSSIBLE_DESTINATION", "nobody has this address"),
            ),
        };
        Told { back: hop.back, passes, what, text }
    }

    fn groups(
        &self,
        networks: &Networks,
        hop: &Hop,
        end: &End,
        way: Way,
        rule: Option<&(String, usize)>,
    ) -> (What, String) {
        let interface = self.of_end(&hop.network, end);
        let egress = way == Way::Egress;
        let word = if egress { "egress" } else { "ingress" };
        let network = networks.get(&hop.network);
        let groups = network.and_then(|network| match end {
            End::Port(name) => network.ports.get(name).map(|port| &port.groups),
            End::Node(address) => network.nodes.get(address).map(|node| &node.groups),
            _ => None,
        });
        let groups: Vec<String> = groups.into_iter().flatten().cloned().collect();
        let rule = rule.and_then(|(group, n)| self.group_rule(group, *n, egress));
        let text = match &rule {
            Some(rule) => format!(
                "{word} of {interface}: {} of {} admits {} {} {}",
                rule.id,
                rule.group,
                rule.traffic,
                if egress { "to" } else { "from" },
                rule.peer
            ),
            None => format!("{word} of {interface}: no rule of {} admits it", groups.join(", ")),
        };
        (What::Groups { interface, egress, groups, rule }, text)
    }

    fn group_rule(&self, group: &str, n: usize, egress: bool) -> Option<GroupRule> {
        use security_group::model::{Direction, Peer};
        let found = security_group::ops::group(self.snapshot, self.cx, group).ok()?;
        let direction = if egress { Direction::Egress } else { Direction::Ingress };
        let compiled = |rule: &&security_group::model::Rule| {
            compile::rule(self.snapshot, self.cx, rule).is_some()
        };
        let rule = found.rules_of(direction).filter(compiled).nth(n)?.clone();
        let traffic = compile::traffic(&rule.traffic).map(|traffic| words(&traffic));
        Some(GroupRule {
            group: group.to_owned(),
            id: rule.id,
            peer: match rule.peer {
                Peer::Ipv4(cidr) | Peer::Ipv6(cidr) => cidr,
                Peer::Group(id) | Peer::PrefixList(id) => id,
            },
            traffic: traffic.unwrap_or_default(),
        })
    }

    fn acl(
        &self,
        networks: &Networks,
        hop: &Hop,
        acl: &str,
        subnet: &str,
        way: Way,
        entry: Option<usize>,
    ) -> (What, String) {
        let egress = way == Way::Egress;
        let entries =
            networks.get(&hop.network).and_then(|n| n.acls.get(acl)).map(|acl| match way {
                Way::Egress => &acl.egress,
                Way::Ingress => &acl.ingress,
            });
        let entry = entry.and_then(|place| {
            let entry = entries?.get(place)?;
            let kept = network_acl::ops::acl(self.snapshot, self.cx, acl).ok()?;
            let number = kept.entries_of(egress).nth(place)?.number;
            let (block, traffic) = (entry.block.to_string(), words(&entry.traffic));
            Some(AclEntry { number, allows: entry.allow, block, traffic })
        });
        let word = if egress { "out of" } else { "into" };
        let text = match &entry {
            Some(AclEntry { number, allows, block, traffic }) => format!(
                "{word} {subnet}: rule {number} of {acl} {} {traffic} {} {block}",
                if *allows { "allows" } else { "denies" },
                if egress { "to" } else { "from" },
            ),
            None => format!("{word} {subnet}: no entry of {acl} matches, which denies it"),
        };
        let (acl, subnet) = (acl.to_owned(), subnet.to_owned());
        (What::Acl { acl, subnet, egress, entry }, text)
    }

    fn routed(
        &self,
        network: &str,
        table: Option<&str>,
        route: Option<&(Block, Target)>,
    ) -> (What, String) {
        let of = table.unwrap_or("the network itself");
        let target = route.map(|(_, target)| self.target(network, target));
        let text = match (route, &target) {
            (Some((block, Target::Blackhole)), _) => format!("{of}: {block} is a blackhole"),
            (Some((block, _)), Some(target)) => format!("{of}: {block} leads to {target}"),
            _ => format!("{of}: no route leads there"),
        };
        let what = What::Route {
            table: table.map(str::to_owned),
            destination: route.map(|(block, _)| block.to_string()),
            target,
        };
        (what, text)
    }

    /// The id of what a route leads to.
    fn target(&self, network: &str, target: &Target) -> String {
        match target {
            Target::Internet => {
                let gateway = internet_gateway::ops::of_vpc(self.snapshot, self.cx, network);
                gateway.map_or_else(|| "the internet".to_owned(), |found| found.id.clone())
            }
            Target::Nat(id) | Target::Peering(id) => id.clone(),
            Target::Port(name) => self.of_end(network, &End::Port(name.clone())),
            Target::Blackhole => "blackhole".to_owned(),
        }
    }

    /// The id of the interface at an end.
    fn of_end(&self, network: &str, end: &End) -> String {
        let here = |held: &&Arc<NetworkInterface>| compile::name(&held.vpc_id) == network;
        let mut interfaces = self.interfaces.iter().filter(here);
        let found = match end {
            End::Port(name) => interfaces.find(|held| interface_name(&held.id) == *name),
            End::Node(address) => interfaces.find(|held| held.addresses.contains(address)),
            End::Open(address) | End::Service(address) | End::Outside(address) => {
                return address.to_string();
            }
        };
        found.map_or_else(|| format!("{end:?}"), |held| held.id.clone())
    }
}

fn stopped(component: &str, (code, reason): (&str, &str)) -> (What, String) {
    let what = What::Stopped { component: component.to_owned(), code: code.to_owned() };
    (what, format!("{component}: {reason}"))
}

/// Code and reason.
fn impassable(why: Why) -> (&'static str, &'static str) {
    match why {
        Why::NotJoined => ("MISSING_COMPONENT", "no internet gateway is attached"),
        Why::NoPublicAddress => {
            ("IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS", "the sender has no public address")
        }
        Why::Gone => ("BAD_STATE_ROUTE", "what the route names is not there"),
        Why::Checked => (
            "ENI_SOURCE_DEST_CHECK_RESTRICTION",
            "it checks source and destination, and so forwards nothing",
        ),
    }
}

fn words(traffic: &Traffic) -> String {
    let ports = |name: &str, first: u16, last: u16| match (first, last) {
        (0, u16::MAX) => format!("{name} any port"),
        _ if first == last => format!("{name} port {first}"),
        _ => format!("{name} ports {first}-{last}"),
    };
    match *traffic {
        Traffic::All => "all".to_owned(),
        Traffic::Tcp(first, last) => ports("tcp", first, last),
        Traffic::Udp(first, last) => ports("udp", first, last),
        Traffic::Icmp(..) => "icmp".to_owned(),
        Traffic::Protocol(number) => format!("protocol {number}"),
    }
}

/// An id that a path can begin or end at.
pub fn check_end(snapshot: &Snapshot, cx: &Context, text: &str) -> Result<()> {
    let guide = Guide { snapshot, cx, interfaces: Vec::new() };
    match text.parse::<Ipv4Addr>() {
        Ok(_) => Ok(()),
        Err(_) if Kind::Instance.is_id(text) || Kind::NetworkInterface.is_id(text) => {
            guide.interface(text).map(drop)
        }
        Err(_) => Err(Error::unsupported(format!("A path that begins or ends at {text}"))),
    }
}

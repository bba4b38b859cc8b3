//! What a network shall be, as data: `Fabric::apply` makes it true, `reach` predicts from it.
//!
//! ```text
//!   port ── egress of its groups ── ACL of its subnet ── routes ── ACL of the other ── ingress ── port
//! ```
//!
//! Groups are stateful: what answers an admitted packet passes. ACLs are not, and are looked at only
//! between different subnets. What belongs to no subnet (`open` addresses) is filtered by neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 block whose address has no bits outside its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    pub base: Ipv4Addr,
    pub prefix: u8,
}

impl Block {
    pub const ANY: Block = Block { base: Ipv4Addr::UNSPECIFIED, prefix: 0 };

    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.base)
    }

    /// Whether all of the other is in it.
    pub fn covers(self, other: Block) -> bool {
        self.prefix <= other.prefix && self.contains(other.base)
    }

    pub fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl From<Ipv4Addr> for Block {
    fn from(base: Ipv4Addr) -> Block {
        Block { base, prefix: 32 }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// One network, whole. Its name is given beside it. Names within are the caller's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The address space. A packet to an address of it that nobody has is refused.
    pub blocks: Vec<Block>,
    /// Interfaces of instances, by the name of their outer end.
    pub ports: BTreeMap<String, Port>,
    /// Addresses that the network itself answers at, with groups as an interface has them: balancers,
    /// interface endpoints. By address.
    pub nodes: BTreeMap<Ipv4Addr, Node>,
    /// Addresses that the network itself answers at and that every port reaches, whatever its groups:
    /// metadata, resolver.
    pub open: BTreeSet<Ipv4Addr>,
    /// Addresses of services outside that the network answers for, reached by those whose routes lead
    /// there.
    pub services: BTreeMap<Ipv4Addr, Service>,
    /// What is dropped shows in `Fabric::flows`.
    pub log: bool,
    pub groups: BTreeMap<String, Group>,
    pub subnets: BTreeMap<String, Subnet>,
    pub acls: BTreeMap<String, Acl>,
    pub tables: BTreeMap<String, Table>,
    /// Joined to the internet: public addresses and NATs work only then.
    pub internet: bool,
    pub nats: BTreeMap<String, Nat>,
    /// Networks joined directly, by the id of the peering: the other network's name.
    pub peerings: BTreeMap<String, String>,
}

impl Network {
    pub fn subnet_of(&self, address: Ipv4Addr) -> Option<(&str, &Subnet)> {
        let mut subnets = self.subnets.iter();
        let (name, subnet) = subnets.find(|(_, subnet)| subnet.block.contains(address))?;
        Some((name, subnet))
    }

    /// The route of a table that decides for all of a block.
    pub fn route(&self, table: &str, to: Block) -> Option<(Block, &Target)> {
        let routes = self.tables.get(table).into_iter().flat_map(|table| &table.routes);
        let covering = routes.filter(|(block, _)| block.covers(to));
        covering.max_by_key(|(block, _)| block.prefix).map(|(block, target)| (*block, target))
    }

    /// Where a private NAT passes on what is routed to it by a block, by the parts of the block that the
    /// table of its own subnet tells apart.
    pub fn beyond(&self, nat: &Nat, block: Block) -> BTreeMap<Block, &Target> {
        let Some(Subnet { table, .. }) = self.subnets.get(&nat.subnet) else {
            return BTreeMap::new();
        };
        let whole = self.route(table, block).map(|(_, target)| (block, target));
        let routes = self.tables.get(table).into_iter().flat_map(|table| &table.routes);
        let parts = routes.filter(|(part, _)| block.covers(**part));
        whole.into_iter().chain(parts.map(|(part, target)| (*part, target))).collect()
    }

    /// The addresses of each group that a rule names as its peer.
    pub fn members(&self) -> BTreeMap<&str, BTreeSet<Ipv4Addr>> {
        let mut members: BTreeMap<&str, BTreeSet<Ipv4Addr>> = BTreeMap::new();
        for group in self.groups.values() {
            for rule in group.ingress.iter().chain(&group.egress) {
                if let Peer::Group(peer) = &rule.peer {
                    members.entry(peer).or_default();
                }
            }
        }
        for (group, addresses) in &mut members {
            if let Some(group) = self.groups.get(*group) {
                addresses.extend(&group.members_elsewhere);
            }
        }
        let ports = self.ports.values().map(|port| (&port.groups, port.addresses.as_slice()));
        let nodes =
            self.nodes.iter().map(|(address, node)| (&node.groups, std::slice::from_ref(address)));
        for (groups, addresses) in ports.chain(nodes) {
            for group in groups {
                if let Some(members) = members.get_mut(group.as_str()) {
                    members.extend(addresses);
                }
            }
        }
        members
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// The first is the primary one.
    pub addresses: Vec<Ipv4Addr>,
    pub groups: BTreeSet<String>,
    /// Only packets from and to its own addresses (EC2's source/destination check).
    pub check: bool,
    /// Public addresses, by the private one that each stands for.
    pub public: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// How much it carries, either way.
    pub bandwidth: Option<Bandwidth>,
}

/// In bytes per second. What is sent faster is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    pub baseline: u64,
    /// For as long as what was not used before lasts.
    pub peak: u64,
    /// What that may come to, in bytes, besides a second's worth of the baseline.
    pub burst: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub groups: BTreeSet<String>,
    /// An endpoint: whoever gives the network its services answers here, too.
    pub endpoint: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Private addresses that may reach it.
    pub sources: BTreeSet<Block>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub ingress: Vec<Rule>,
    pub egress: Vec<Rule>,
    /// Members in peered networks, besides those that `ports` and `nodes` show.
    pub members_elsewhere: BTreeSet<Ipv4Addr>,
}

/// Admits what matches both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub traffic: Traffic,
    pub peer: Peer,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Blocks(BTreeSet<Block>),
    /// Members of a group, which may have no entry of its own.
    Group(String),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    All,
    /// First and last port.
    Tcp(u16, u16),
    Udp(u16, u16),
    /// Type and code; `None` is any.
    Icmp(Option<u8>, Option<u8>),
    /// Any other, by its number.
    Protocol(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub block: Block,
    /// `None`: nothing is filtered.
    pub acl: Option<String>,
    /// Name of its table of routes.
    pub table: String,
}

/// First match decides; none: denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    pub ingress: Vec<Entry>,
    pub egress: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub allow: bool,
    pub traffic: Traffic,
    pub block: Block,
}

/// Routes to what is not in the network itself; the longest prefix wins. Within the network everyone
/// reaches everyone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub routes: BTreeMap<Block, Target>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By the public address of the sender; without one, dropped.
    Internet,
    /// By a NAT of that name: outwards only.
    Nat(String),
    /// To the peered network, by the peering's id.
    Peering(String),
    /// Handed to a port, which forwards (its `check` must be off).
    Port(String),
    /// Dropped.
    Blackhole,
}

/// Stands for all who are routed to it, with addresses of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// Connections get them in turn.
    pub addresses: Vec<Ipv4Addr>,
    /// Connections that were begun with these go on; no others get them.
    pub draining: Vec<Ipv4Addr>,
    /// Its addresses are public, and it leads to the internet; otherwise they are of its subnet, and it
    /// leads to where that subnet's table leads to peered networks.
    pub public: bool,
    /// Whose ACL its packets pass, on their way in from senders and on their way out.
    pub subnet: String,
}

impl Nat {
    /// Those that answers may come to.
    pub fn all(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses.iter().chain(&self.draining).copied()
    }
}

/// Packets of one kind that went one way, or were dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub protocol: u8,
    /// Address and port, 0 where the protocol has none, as the ends have them.
    pub source: (Ipv4Addr, u16),
    pub destination: (Ipv4Addr, u16),
    pub packets: u64,
    pub bytes: u64,
    pub accepted: bool,
}

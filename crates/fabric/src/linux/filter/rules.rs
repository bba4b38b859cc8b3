//! From a network as data to the table that filters its packets.
//!
//! ```text
//!  from a port ──► who it is by device and source: forged, unknown ─► dropped
//!                  └► port-…-from: ACL of its subnet ► established? ► open address? ► groups' egress
//!  to a port   ──► port-…-to:      ACL of its subnet ► established? ► groups' ingress
//!
//!            hook      priority 0      priority 10
//!  port → port  forward   port-…-from     port-…-to
//!  port → node  input     port-…-from     node-…-to, service-…, or an open address
//!  node → port  output    node-…-from     port-…-to
//! ```
//!
//! A packet has to be accepted at both priorities. Devices that are no ports lead elsewhere and begin
//! with `x`; on their side nothing is asked here but of what a NAT stands for: the ACL of its subnet,
//! `nat-…-out` and, of answers, `nat-…-back`. What is dropped passes the chain `dropped`, the one
//! place to log it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::linux::nft::{
    At, Chain, Compare, Data, ESTABLISHED_OR_RELATED, FIRST, Field, Holds, Hook, META_IIFNAME,
    META_L4PROTO, META_OIFNAME, Rule, SECOND, Set, Table, Verdict, interface,
};
use crate::linux::{flows, routing};
use crate::network::{Acl, Bandwidth, Block, Group, Network, Peer, Port, Traffic};

const DROPPED: &str = "dropped";
const OPEN: &str = "open";
const NAT_OUT: &str = "nat-out";
const NAT_BACK: &str = "nat-back";
/// Bytes per second that no host gets near; the kernel's sums end soon after.
const FASTEST: u64 = 10_000_000_000;
/// Of bytes: a few of the largest packets that the kernel passes on in one piece.
const MIN_BUNCH: u32 = 256 << 10;
/// Devices that lead to other networks begin like this.
const LINK: &[u8] = b"x";
const LOOPBACK: &[u8] = b"lo\0";

/// Which way a packet goes, seen from what is filtered.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// It sends: egress.
    From,
    /// It is sent to: ingress.
    To,
}

impl Way {
    const BOTH: [Way; 2] = [Way::From, Way::To];

    fn name(self) -> &'static str {
        match self {
            Way::From => "from",
            Way::To => "to",
        }
    }

    fn priority(self) -> i32 {
        match self {
            Way::From => 0,
            Way::To => 10,
        }
    }

    fn device(self) -> u32 {
        match self {
            Way::From => META_IIFNAME,
            Way::To => META_OIFNAME,
        }
    }

    fn other(self) -> Way {
        match self {
            Way::From => Way::To,
            Way::To => Way::From,
        }
    }

    /// The address at this end.
    fn load_address(self, rule: Rule, register: u32) -> Rule {
        match self {
            Way::From => rule.load_source(register),
            Way::To => rule.load_destination(register),
        }
    }
}

/// What was compiled before is taken over where nothing changed, for networks are large and changes
/// small.
pub fn compile(network: &Network, before: Option<(&Network, &Table)>) -> Table {
    let as_before = before.is_some_and(|(before, _)| {
        before.subnets == network.subnets
            && before.acls == network.acls
            && before.groups.keys().eq(network.groups.keys())
    });
    let mut compiler = Compiler { network, before, as_before, table: Table::default() };
    compiler.sets();
    let log = network.log.then(|| Rule::new().log(flows::DROPPED));
    let drop = Rule::new().verdict(&Verdict::Drop);
    compiler.chain(DROPPED.to_owned(), log.into_iter().chain([drop]).collect());
    compiler.hooks();
    for way in Way::BOTH {
        for (name, acl) in &network.acls {
            compiler.acl(name, acl, way);
        }
        for name in network.subnets.keys() {
            compiler.subnet(name, way);
        }
        for (name, group) in &network.groups {
            compiler.group(name, group, way);
        }
    }
    for (name, port) in &network.ports {
        compiler.port(name, port);
    }
    compiler.nodes();
    compiler.nats();
    compiler.services();
    compiler.table
}

struct Compiler<'a> {
    network: &'a Network,
    before: Option<(&'a Network, &'a Table)>,
    /// Subnets, ACLs, and which groups there are.
    as_before: bool,
    table: Table,
}

impl Compiler<'_> {
    fn chain(&mut self, name: String, rules: Vec<Rule>) {
        self.table.chains.insert(name, Chain { hook: None, rules: rules.into() });
    }

    /// Takes over a chain; false when it has to be compiled.
    fn keep(&mut self, name: &str, unchanged: impl FnOnce(&Network) -> bool) -> bool {
        let Some((network, table)) = self.before else { return false };
        let chain = table.chains.get(name).filter(|_| unchanged(network));
        let Some(chain) = chain.cloned() else { return false };
        self.table.chains.insert(name.to_owned(), chain);
        true
    }

    fn put(&mut self, set: &str, key: Vec<u8>, data: Data) {
        let set = self.table.sets.get_mut(set).expect("every set is made first");
        set.elements.insert(key, data);
    }

    fn sets(&mut self) {
        use Field::{Address, Interface};
        let mut set = |name: &str, key, holds| {
            self.table.sets.insert(name.to_owned(), Set::new(key, holds));
        };
        for way in Way::BOTH.map(Way::name) {
            set(&format!("port-{way}"), &[Interface, Address], Holds::Verdicts);
            set(&format!("unchecked-{way}"), &[Interface], Holds::Verdicts);
            set(&format!("node-{way}"), &[Address], Holds::Verdicts);
        }
        set(NAT_OUT, &[Address], Holds::Verdicts);
        set(NAT_BACK, &[Address], Holds::Verdicts);
        set("subnet-of-port", &[Interface], Holds::Values(Address));
        set("subnet-of-node", &[Address], Holds::Values(Address));
        set(OPEN, &[Address], Holds::Nothing);
        for address in &self.network.open {
            self.put(OPEN, address.octets().into(), Data::Nothing);
        }
        for (group, members) in self.network.members() {
            let mut set = Set::new(&[Address], Holds::Nothing);
            let key = |address: &Ipv4Addr| (address.octets().to_vec(), Data::Nothing);
            set.elements = members.iter().map(key).collect();
            self.table.sets.insert(members_of(group), set);
        }
    }

    /// The chains that packets enter, each with what decides for packets that no map knows.
    fn hooks(&mut self) {
        let known = |way: Way| {
            let by_both = way.load_address(Rule::new().load_meta(way.device(), FIRST), SECOND);
            let by_device = Rule::new().load_meta(way.device(), FIRST);
            [
                by_both.lookup_verdict(&format!("port-{}", way.name()), FIRST),
                by_device.lookup_verdict(&format!("unchecked-{}", way.name()), FIRST),
            ]
        };
        let node = |way: Way| {
            let address = way.load_address(Rule::new(), FIRST);
            address.lookup_verdict(&format!("node-{}", way.name()), FIRST)
        };
        let accept = |rule: Rule| rule.verdict(&Verdict::Accept);
        let device = |way: Way, name| device_begins(Rule::new(), way, name);
        let open = |rule: Rule, way: Way| way.load_address(rule, FIRST).lookup(OPEN, FIRST);
        let established = || Rule::new().connection(ESTABLISHED_OR_RELATED);
        let from_link = || device(Way::From, LINK);

        let [by_both, by_device] = known(Way::From);
        // What came by a link goes to a port or a node of this network, never on.
        let transit = drop(device_begins(from_link(), Way::To, LINK));
        let links = [transit, accept(from_link())];
        // First what most packets are.
        // By the address that answers to a NAT come to.
        let by_nat = from_link().answered_address(FIRST).lookup_verdict(NAT_BACK, FIRST);
        let first = [by_both.clone(), by_nat].into_iter();
        let rules = first.chain(links).chain([by_device.clone()]).collect();
        self.hook(At::Forward, Way::From, rules, false);
        let rules = vec![
            accept(device(Way::From, LOOPBACK)),
            drop(open(from_link(), Way::To)),
            accept(from_link()),
            by_both,
            by_device,
            // A device that is no port yet.
            accept(open(Rule::new(), Way::To)),
        ];
        self.hook(At::Input, Way::From, rules, false);
        self.hook(At::Output, Way::From, vec![node(Way::From)], true);

        let [by_both, by_device] = known(Way::To);
        let to_link = || device(Way::To, LINK);
        let by_nat = to_link().load_next_hop(FIRST).lookup_verdict(NAT_OUT, FIRST);
        let rules = vec![by_both.clone(), by_nat, accept(to_link()), by_device.clone()];
        self.hook(At::Forward, Way::To, rules, false);
        let rules = vec![
            accept(open(Rule::new(), Way::To)),
            node(Way::To),
            // The network's own: answers to what it dialled, and what it says to itself.
            accept(established()),
            accept(device(Way::From, LOOPBACK)),
        ];
        self.hook(At::Input, Way::To, rules, false);
        let rules = vec![
            accept(device(Way::To, LOOPBACK)),
            accept(device(Way::To, LINK)),
            by_both,
            by_device,
            accept(open(Rule::new(), Way::From)),
        ];
        self.hook(At::Output, Way::To, rules, false);
    }

    fn hook(&mut self, at: At, way: Way, mut rules: Vec<Rule>, accepts: bool) {
        if !accepts {
            rules.push(drop(Rule::new()));
        }
        let hook = Hook { kind: "filter", at, priority: way.priority(), accepts };
        let name = format!("{at:?}-{}", way.name()).to_lowercase();
        self.table.chains.insert(name, Chain { hook: Some(hook), rules: rules.into() });
    }

    /// Returns when the ACL allows.
    fn acl(&mut self, name: &str, acl: &Acl, way: Way) {
        let chain = acl_chain(name, way);
        if self.keep(&chain, |before| before.acls.get(name) == Some(acl)) {
            return;
        }
        let entries = match way {
            Way::From => &acl.egress,
            Way::To => &acl.ingress,
        };
        let mut rules = Vec::new();
        for entry in entries {
            let rule = peer_in(traffic(Rule::new(), &entry.traffic), way, entry.block);
            rules.push(if entry.allow { rule.verdict(&Verdict::Return) } else { drop(rule) });
        }
        rules.push(drop(Rule::new()));
        self.chain(chain, rules);
    }

    /// Asks the subnet's ACL of packets that cross its border.
    fn subnet(&mut self, name: &str, way: Way) {
        let Some(acl) = self.asks(name, way) else { return };
        let base = self.network.subnets[name].block.base.octets();
        let peer = way.other();
        let within = |rule: Rule, map| {
            let rule = rule.lookup_value(map, FIRST, SECOND);
            rule.compare(SECOND, Compare::Equal, &base).verdict(&Verdict::Return)
        };
        let by_device = Rule::new().load_meta(peer.device(), FIRST);
        let by_address = || peer.load_address(Rule::new(), FIRST);
        let rules = vec![
            by_address().lookup(OPEN, FIRST).verdict(&Verdict::Return),
            within(by_device, "subnet-of-port"),
            within(by_address(), "subnet-of-node"),
            Rule::new().verdict(&Verdict::Goto(acl)),
        ];
        self.chain(subnet_chain(name, way), rules);
    }

    /// The chain of the ACL that a subnet's packets must pass; none when it would let all of them.
    fn asks(&self, subnet: &str, way: Way) -> Option<String> {
        let name = self.network.subnets[subnet].acl.as_ref()?;
        let first = self.network.acls.get(name).and_then(|acl| match way {
            Way::From => acl.egress.first(),
            Way::To => acl.ingress.first(),
        });
        let all = |entry: &crate::network::Entry| {
            entry.allow && entry.traffic == Traffic::All && entry.block == Block::ANY
        };
        let known = self.network.acls.contains_key(name);
        let chain = if known { acl_chain(name, way) } else { DROPPED.to_owned() };
        (!first.is_some_and(all)).then_some(chain)
    }

    /// Accepts what its rules admit; else returns.
    fn group(&mut self, name: &str, group: &Group, way: Way) {
        let chain = group_chain(name, way);
        if self.keep(&chain, |before| before.groups.get(name) == Some(group)) {
            return;
        }
        let rules = match way {
            Way::From => &group.egress,
            Way::To => &group.ingress,
        };
        let mut compiled = Vec::new();
        for rule in rules {
            let matched = || traffic(Rule::new(), &rule.traffic);
            match &rule.peer {
                Peer::Blocks(blocks) => {
                    compiled.extend(blocks.iter().map(|block| peer_in(matched(), way, *block)));
                }
                Peer::Group(group) => {
                    let address = way.other().load_address(matched(), FIRST);
                    compiled.push(address.lookup(&members_of(group), FIRST));
                }
            }
        }
        let accept = |rule: Rule| rule.verdict(&Verdict::Accept);
        self.chain(chain, compiled.into_iter().map(accept).collect());
    }

    fn port(&mut self, name: &str, port: &Port) {
        let subnet = port.addresses.first().and_then(|address| self.network.subnet_of(*address));
        if let Some((_, subnet)) = subnet {
            let base = Data::Value(subnet.block.base.octets().into());
            self.put("subnet-of-port", interface(name), base);
        }
        for way in Way::BOTH {
            let chain = format!("port-{name}-{}", way.name());
            let as_before = self.as_before;
            if !self.keep(&chain, |before| as_before && before.ports.get(name) == Some(port)) {
                let mut rules = limits(port);
                rules.extend(self.border(subnet.map(|(name, _)| name), way));
                rules.extend(self.admit(&port.groups, way));
                self.chain(chain.clone(), rules);
            }
            let known = Data::Verdict(Verdict::Goto(chain));
            let unknown = if port.check {
                for address in &port.addresses {
                    let key = [interface(name), address.octets().into()].concat();
                    self.put(&format!("port-{}", way.name()), key, known.clone());
                }
                Data::Verdict(Verdict::Goto(DROPPED.to_owned()))
            } else {
                known
            };
            self.put(&format!("unchecked-{}", way.name()), interface(name), unknown);
        }
    }

    fn nodes(&mut self) {
        for (address, node) in &self.network.nodes {
            let subnet = self.network.subnet_of(*address);
            if let Some((_, subnet)) = subnet {
                let base = Data::Value(subnet.block.base.octets().into());
                self.put("subnet-of-node", address.octets().into(), base);
            }
            for way in Way::BOTH {
                let chain = format!("node-{address}-{}", way.name());
                let itself = way.other().load_address(Rule::new(), FIRST);
                let itself = itself.compare(FIRST, Compare::Equal, &address.octets());
                let mut rules = vec![itself.verdict(&Verdict::Accept)];
                rules.extend(self.border(subnet.map(|(name, _)| name), way));
                rules.extend(self.admit(&node.groups, way));
                self.chain(chain.clone(), rules);
                let data = Data::Verdict(Verdict::Goto(chain));
                self.put(&format!("node-{}", way.name()), address.octets().into(), data);
            }
        }
    }

    /// Packets of a NAT come into its subnet and go out of it.
    fn nats(&mut self) {
        for (name, hop) in routing::nat_hops(self.network) {
            let nat = &self.network.nats[name];
            let Some(subnet) = self.network.subnets.get(&nat.subnet) else { continue };
            let [out, back] = ["out", "back"].map(|way| format!("nat-{name}-{way}"));
            // To and from the sender: unless that is of the same subnet.
            let sender = |way: Way| {
                let address = way.load_address(Rule::new(), FIRST);
                let masked = address.mask(FIRST, &subnet.block.mask().to_be_bytes());
                masked.compare(FIRST, Compare::Unequal, &subnet.block.base.octets())
            };
            let ask = |way: Way, rule: Rule| {
                self.asks(&nat.subnet, way).map(|acl| rule.verdict(&Verdict::Jump(acl)))
            };
            let of_out = [ask(Way::To, sender(Way::From)), ask(Way::From, Rule::new())];
            let of_back = [ask(Way::To, Rule::new()), ask(Way::From, sender(Way::To))];
            self.chain(out.clone(), of_out.into_iter().flatten().collect());
            self.chain(back.clone(), of_back.into_iter().flatten().collect());
            self.put(NAT_OUT, hop.octets().into(), Data::Verdict(Verdict::Jump(out)));
            for address in nat.all() {
                let back = Data::Verdict(Verdict::Jump(back.clone()));
                self.put(NAT_BACK, address.octets().into(), back);
            }
        }
    }

    fn services(&mut self) {
        for (address, service) in &self.network.services {
            let chain = format!("service-{address}");
            let mut rules = self.border(None, Way::To);
            for block in &service.sources {
                rules.push(peer_in(Rule::new(), Way::To, *block).verdict(&Verdict::Accept));
            }
            rules.push(drop(Rule::new()));
            self.chain(chain.clone(), rules);
            let data = Data::Verdict(Verdict::Goto(chain));
            self.put("node-to", address.octets().into(), data);
        }
    }

    /// The ACL, which answers have to pass, too; then what no group is asked about.
    fn border(&self, subnet: Option<&str>, way: Way) -> Vec<Rule> {
        let mut rules = Vec::new();
        if let Some(subnet) = subnet.filter(|subnet| self.asks(subnet, way).is_some()) {
            rules.push(Rule::new().verdict(&Verdict::Jump(subnet_chain(subnet, way))));
        }
        let established = Rule::new().connection(ESTABLISHED_OR_RELATED);
        rules.push(established.verdict(&Verdict::Accept));
        if way == Way::From {
            let open = Rule::new().load_destination(FIRST).lookup(OPEN, FIRST);
            rules.push(open.verdict(&Verdict::Accept));
        }
        rules
    }

    fn admit(&self, groups: &BTreeSet<String>, way: Way) -> Vec<Rule> {
        let known = groups.iter().filter(|group| self.network.groups.contains_key(*group));
        let jump = |group| Rule::new().verdict(&Verdict::Jump(group_chain(group, way)));
        let mut rules: Vec<Rule> = known.map(|group| jump(group)).collect();
        rules.push(drop(Rule::new()));
        rules
    }
}

/// Before anything else is asked, for answers count as well. Nobody refused what is dropped here, so
/// that no log shows it.
fn limits(port: &Port) -> Vec<Rule> {
    let Some(Bandwidth { baseline, peak, burst }) = port.bandwidth else { return vec![] };
    // At full speed packets come in bunches.
    let bunch = u32::try_from(peak / 50).unwrap_or(u32::MAX).max(MIN_BUNCH);
    let over = |rate, burst| Rule::new().over(rate, burst).verdict(&Verdict::Drop);
    let mut rules = Vec::new();
    if peak < FASTEST {
        rules.push(over(peak, bunch));
    }
    if baseline < peak.min(FASTEST) {
        rules.push(over(baseline, burst.max(MIN_BUNCH)));
    }
    rules
}

fn members_of(group: &str) -> String {
    format!("members-{group}")
}

fn group_chain(group: &str, way: Way) -> String {
    format!("group-{group}-{}", way.name())
}

fn acl_chain(acl: &str, way: Way) -> String {
    format!("acl-{acl}-{}", way.name())
}

fn subnet_chain(subnet: &str, way: Way) -> String {
    format!("subnet-{subnet}-{}", way.name())
}

fn drop(rule: Rule) -> Rule {
    rule.verdict(&Verdict::Goto(DROPPED.to_owned()))
}

fn device_begins(rule: Rule, way: Way, name: &[u8]) -> Rule {
    rule.load_meta(way.device(), FIRST).compare(FIRST, Compare::Equal, name)
}

/// Whether the other end's address is in the block.
fn peer_in(rule: Rule, way: Way, block: Block) -> Rule {
    if block.prefix == 0 {
        return rule;
    }
    let mut rule = way.other().load_address(rule, FIRST);
    if block.prefix < 32 {
        rule = rule.mask(FIRST, &block.mask().to_be_bytes());
    }
    rule.compare(FIRST, Compare::Equal, &block.base.octets())
}

fn traffic(rule: Rule, traffic: &Traffic) -> Rule {
    let protocol = |number: libc::c_int| {
        let rule = rule.clone().load_meta(META_L4PROTO, FIRST);
        rule.compare(FIRST, Compare::Equal, &[number as u8])
    };
    match *traffic {
        Traffic::All => rule,
        Traffic::Tcp(first, last) => ports(protocol(libc::IPPROTO_TCP), first, last),
        Traffic::Udp(first, last) => ports(protocol(libc::IPPROTO_UDP), first, last),
        Traffic::Icmp(kind, code) => {
            let mut rule = protocol(libc::IPPROTO_ICMP);
            for (offset, byte) in [(0, kind), (1, code)] {
                if let Some(byte) = byte {
                    rule = rule.load_transport(offset, 1, FIRST);
                    rule = rule.compare(FIRST, Compare::Equal, &[byte]);
                }
            }
            rule
        }
        Traffic::Protocol(number) => protocol(number.into()),
    }
}

fn ports(rule: Rule, first: u16, last: u16) -> Rule {
    match (first, last) {
        (0, u16::MAX) => rule,
        _ => {
            let rule = rule.load_transport(2, 2, FIRST);
            rule.range(FIRST, &first.to_be_bytes(), &last.to_be_bytes())
        }
    }
}

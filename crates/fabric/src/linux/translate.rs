//! Translation of addresses between a network and the internet, and the hand-over of what goes beyond
//! to the relay: two tables of nftables.
//!
//! A network's `nat`, asked once for each connection:
//!
//! ```text
//!   out by a link      next hop is a NAT's    source becomes the NAT's address, the next of several
//!   out by xinternet   to a host's own end    dropped: hosts are reached from nowhere
//!                      source has a public    source becomes that one
//!                      else                   dropped
//!   answers whose next hop is a NAT's         dropped: who asked did not ask the NAT
//!   in by xinternet    to a public address    destination becomes the private one
//!                      else                   dropped: NATs let nobody in
//!   in by a port       to nobody's address    refused
//! ```

use std::io;
use std::net::Ipv4Addr;

use super::nft::{
    self, At, Chain, Compare, Data, FIRST, Field, Hook, Rule, SECOND, Set, Table, Verdict,
};
use super::{Network, internet, join, routing, sockets};
use crate::network::{self, Block};

const PUBLIC: &str = "public";
const PRIVATE: &str = "private";
/// The address of each NAT that has one alone, by its next hop; and all next hops of NATs.
const NATS: &str = "nats";
const HOPS: &str = "hops";

/// The last /30 of every pool of public addresses, each a /19: of these bits an address of one has these.
const HOST_MASK: [u8; 4] = [0xff, 0xfe, 0x1f, 0xfc];
const HOST_BITS: [u8; 4] = [198, 18, 0x1f, 0xfc];

/// What AWS's internet gateway does not route either: private, of this link, of carriers, reserved.
const NOT_RELAYED: [Block; 9] = [
    block([0, 0, 0, 0], 8),
    block([10, 0, 0, 0], 8),
    block([100, 64, 0, 0], 10),
    block([127, 0, 0, 0], 8),
    block([169, 254, 0, 0], 16),
    block([172, 16, 0, 0], 12),
    block([192, 0, 0, 0], 24),
    block([192, 168, 0, 0], 16),
    block([224, 0, 0, 0], 3),
];

const fn block(base: [u8; 4], prefix: u8) -> Block {
    let [a, b, c, d] = base;
    Block { base: Ipv4Addr::new(a, b, c, d), prefix }
}

/// Makes a network's translations; only the difference, when it is known what they are.
pub fn apply(
    network: &Network,
    wanted: &network::Network,
    before: Option<&network::Network>,
) -> io::Result<()> {
    let table = nat(wanted);
    let batch = match before {
        Some(before) => nft::change("nat", &nat(before), &table),
        None => Some(nft::rebuild("nat", &table)),
    };
    batch.map_or(Ok(()), |batch| network.transact(batch))
}

/// In the internet namespace: public addresses have routes, tcp and udp to the world go to the sockets of
/// the relay, and the rest is refused.
pub fn relay(internet: &Network) -> io::Result<()> {
    let refuse = |rule| refuse(rule, NET_UNREACHABLE);
    let with_route = fib(within(internet::PUBLIC), FIB_DEVICE);
    let with_route = with_route.compare(FIRST, Compare::Unequal, &[0; 4]);
    let mut rules = vec![with_route.verdict(&Verdict::Accept), refuse(within(internet::PUBLIC))];
    rules.extend(NOT_RELAYED.map(|block| refuse(within(block))));
    rules.extend([libc::IPPROTO_TCP, libc::IPPROTO_UDP].map(relayed));
    rules.push(refuse(Rule::new()));
    let hook = Hook { kind: "filter", at: At::Prerouting, priority: -150, accepts: true };
    let chain = Chain { hook: Some(hook), rules: rules.into() };
    let table = Table { chains: [("prerouting".to_owned(), chain)].into(), ..Table::default() };
    internet.transact(nft::rebuild("relay", &table))
}

/// With an ICMP message. When it has no route, the kernel by itself is sparing of them.
fn refuse(rule: Rule, code: u8) -> Rule {
    rule.expression("reject", |e| e.u32(1, 0).put(2, &[code]))
}

/// Goes on only when the destination is in the block, but neither at a port nor here.
fn nobodys(block: Block) -> Rule {
    let no_port = fib(within(block), FIB_DEVICE).compare(FIRST, Compare::Equal, &[0; 4]);
    let local = u32::from(libc::RTN_LOCAL).to_ne_bytes();
    fib(no_port, FIB_KIND).compare(FIRST, Compare::Unequal, &local)
}

/// What the destination's route says.
fn fib(rule: Rule, what: u32) -> Rule {
    rule.expression("fib", |e| e.u32(1, FIRST).u32(2, what).u32(3, FIB_OF_DESTINATION))
}

/// Goes on only when the destination is in the block.
fn within(block: Block) -> Rule {
    let rule = Rule::new().load_destination(FIRST).mask(FIRST, &block.mask().to_be_bytes());
    rule.compare(FIRST, Compare::Equal, &block.base.octets())
}

fn relayed(protocol: libc::c_int) -> Rule {
    let rule = Rule::new().load_meta(nft::META_L4PROTO, FIRST);
    let rule = rule.compare(FIRST, Compare::Equal, &[protocol as u8]);
    let rule = immediate(rule, FIRST, &sockets::RELAY.ip().octets());
    let rule = immediate(rule, SECOND, &sockets::RELAY.port().to_be_bytes());
    // Goes on only when there is a socket.
    let rule = rule.expression("tproxy", |e| e.u32(1, IPV4).u32(2, FIRST).u32(3, SECOND));
    let rule = immediate(rule, FIRST, &internet::RELAYED.to_ne_bytes());
    let rule = rule.expression("meta", |e| e.u32(2, META_MARK).u32(3, FIRST));
    rule.verdict(&Verdict::Accept)
}

const NET_UNREACHABLE: u8 = 0;
const HOST_UNREACHABLE: u8 = 1;
const FIB_DEVICE: u32 = 1;
const FIB_KIND: u32 = 3;
const FIB_OF_DESTINATION: u32 = 2;
const IPV4: u32 = libc::NFPROTO_IPV4 as u32;
const META_MARK: u32 = 3;

fn nat(wanted: &network::Network) -> Table {
    let hook = |at, priority| Some(Hook { kind: "nat", at, priority, accepts: true });
    let out = || device(Rule::new(), nft::META_OIFNAME);
    // To wherever NATs lead.
    let link =
        || Rule::new().load_meta(nft::META_OIFNAME, FIRST).compare(FIRST, Compare::Equal, b"x");
    let to_host = out().load_destination(FIRST).mask(FIRST, &HOST_MASK);
    let to_host = to_host.compare(FIRST, Compare::Equal, &HOST_BITS);
    let mut postrouting = vec![to_host.verdict(&Verdict::Drop)];
    for (name, hop) in routing::nat_hops(wanted) {
        let count = wanted.nats[name].addresses.len() as u32;
        if count > 1 {
            let this = link().load_next_hop(FIRST).compare(FIRST, Compare::Equal, &hop.octets());
            let turn = this.take_turns(count, FIRST);
            postrouting.push(become_value(turn, &addresses_of(name), SOURCE));
        }
    }
    postrouting.extend([
        become_value(link().load_next_hop(FIRST), NATS, SOURCE),
        become_value(out().load_source(FIRST), PUBLIC, SOURCE),
        out().verdict(&Verdict::Drop),
    ]);
    let came = || device(Rule::new(), nft::META_IIFNAME);
    let mut prerouting = vec![
        become_value(came().load_destination(FIRST), PRIVATE, DESTINATION),
        came().verdict(&Verdict::Drop),
    ];
    prerouting.extend(wanted.blocks.iter().map(|block| refuse(nobodys(*block), HOST_UNREACHABLE)));
    let answers = link().answered_address(FIRST).load_next_hop(FIRST);
    let answers = answers.lookup(HOPS, FIRST).verdict(&Verdict::Drop);
    let forward = Some(Hook { kind: "filter", at: At::Forward, priority: 20, accepts: true });
    let chain = |hook, rules: Vec<Rule>| Chain { hook, rules: rules.into() };
    Table {
        sets: sets(wanted),
        chains: [
            ("forward".to_owned(), chain(forward, vec![answers])),
            ("postrouting".to_owned(), chain(hook(At::Postrouting, 100), postrouting)),
            ("prerouting".to_owned(), chain(hook(At::Prerouting, -100), prerouting)),
        ]
        .into(),
    }
}

fn sets(wanted: &network::Network) -> std::collections::BTreeMap<String, Set> {
    let values = nft::Holds::Values(Field::Address);
    let holds = [(PUBLIC, values), (PRIVATE, values), (NATS, values), (HOPS, nft::Holds::Nothing)];
    let mut sets = holds.map(|(name, holds)| (name.to_owned(), Set::new(&[Field::Address], holds)));
    let put = |set: &mut Set, key: Ipv4Addr, value: Ipv4Addr| {
        set.elements.insert(key.octets().into(), Data::Value(value.octets().into()));
    };
    for port in wanted.ports.values() {
        for (private, public) in &port.public {
            put(&mut sets[0].1, *private, *public);
            put(&mut sets[1].1, *public, *private);
        }
    }
    let mut turns = Vec::new();
    for (name, hop) in routing::nat_hops(wanted) {
        let addresses = &wanted.nats[name].addresses;
        if let [one] = addresses.as_slice() {
            put(&mut sets[2].1, hop, *one);
        } else {
            let mut all = Set::new(&[Field::Number], nft::Holds::Values(Field::Address));
            let numbered = (0u32..).zip(addresses);
            let element = |(n, address): (u32, &Ipv4Addr)| {
                (n.to_ne_bytes().into(), Data::Value(address.octets().into()))
            };
            all.elements = numbered.map(element).collect();
            turns.push((addresses_of(name), all));
        }
        sets[3].1.elements.insert(hop.octets().into(), Data::Nothing);
    }
    sets.into_iter().chain(turns).collect()
}

/// Of a NAT that has several.
fn addresses_of(nat: &str) -> String {
    format!("nat-{nat}")
}

const SOURCE: u32 = 0;
const DESTINATION: u32 = 1;

/// The source or destination becomes what the map holds for the address in `FIRST`.
fn become_value(rule: Rule, map: &str, which: u32) -> Rule {
    let rule = rule.lookup_value(map, FIRST, SECOND);
    rule.expression("nat", |e| e.u32(1, which).u32(2, IPV4).u32(3, SECOND))
}

fn device(rule: Rule, key: u32) -> Rule {
    rule.load_meta(key, FIRST).compare(FIRST, Compare::Equal, &nft::interface(join::INTERNET))
}

fn immediate(rule: Rule, register: u32, value: &[u8]) -> Rule {
    rule.expression("immediate", |e| e.u32(1, register).value(2, value))
}

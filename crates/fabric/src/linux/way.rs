//! Tables of routes and the rules that choose among them, as data and as rtnetlink messages. What is
//! made here carries a mark of ours (`PROTOCOL`), so that it can be told from what others made and be
//! compared with what shall be.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

use super::netlink::{Answer, Message, Socket, u32_at};
use super::route::{CREATE, REPLACE};
use crate::network::Block;

pub const MAIN: u32 = libc::RT_TABLE_MAIN as u32;

/// Of routes and rules that `sync` keeps.
pub const PROTOCOL: u8 = 0xd7;

const RTM: usize = 12;
const RTNH_F_ONLINK: u32 = 4;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_PROTOCOL: u16 = 21;
const FR_ACT_TO_TABLE: u8 = 1;
const FR_ACT_UNREACHABLE: u8 = 7;

/// Routes, by table and destination; within a table the longest prefix wins.
pub type Routes = BTreeMap<(u32, Block), Hop>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// On the device itself; who sends without a source of its own does so from `source`.
    Device { index: u32, source: Ipv4Addr },
    /// To a neighbour on the device.
    Via { index: u32, gateway: Ipv4Addr },
    /// To this namespace, whatever the address.
    Local,
    /// Refused with an answer.
    Unreachable,
    /// Dropped.
    Blackhole,
}

impl Hop {
    fn device(&self) -> Option<u32> {
        match *self {
            Hop::Device { index, .. } | Hop::Via { index, .. } => Some(index),
            _ => None,
        }
    }
}

/// Rules are asked by priority, lowest first, until one has a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub priority: u32,
    pub from: Block,
    /// Device that the packet came in by; empty: any, or made here.
    pub device: String,
    /// 0: any.
    pub mark: u32,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Table(u32),
    Unreachable,
}

/// Makes routes and rules of ours what they shall be, and tells which rules went. Ways appear before the
/// rules that lead to them and go after them.
pub fn sync(
    socket: &mut Socket,
    routes: &Routes,
    rules: &BTreeSet<Rule>,
) -> io::Result<BTreeSet<Rule>> {
    let (old_routes, old_rules) = (self::routes(socket)?, self::rules(socket)?);
    let (set, delete) = changes(&old_routes, routes);
    let mut batch: Vec<Message> = set.collect();
    batch.extend(rules.difference(&old_rules).map(set_rule));
    batch.extend(old_rules.difference(rules).map(delete_rule));
    batch.extend(delete);
    socket.run(batch)?;
    Ok(old_rules.difference(rules).cloned().collect())
}

/// Makes the routes of ours that lead to a device what they shall be.
pub fn sync_device(socket: &mut Socket, device: u32, routes: &Routes) -> io::Result<()> {
    let mut old = self::routes(socket)?;
    old.retain(|_, hop| hop.device() == Some(device));
    let (set, delete) = changes(&old, routes);
    let batch = set.chain(delete).collect();
    socket.run(batch)
}

/// What to set, and what to delete afterwards.
fn changes<'a>(
    old: &'a Routes,
    new: &'a Routes,
) -> (impl Iterator<Item = Message> + 'a, impl Iterator<Item = Message> + 'a) {
    let differs = |(way, hop): &(&(u32, Block), &Hop)| old.get(way) != Some(hop);
    let set = new.iter().filter(differs);
    let delete = old.keys().filter(|way| !new.contains_key(way));
    (
        set.map(|(&(table, block), hop)| set_route(table, block, hop)),
        delete.map(|&(table, block)| delete_route(table, block)),
    )
}

/// A route that is not kept by `sync`, in the main table.
pub fn fixed_route(block: Block, hop: &Hop) -> Message {
    route(libc::RTM_NEWROUTE, REPLACE, MAIN, block, hop, libc::RTPROT_STATIC)
}

pub fn set_route(table: u32, block: Block, hop: &Hop) -> Message {
    route(libc::RTM_NEWROUTE, REPLACE, table, block, hop, PROTOCOL)
}

fn route(kind: u16, flags: i32, table: u32, block: Block, hop: &Hop, protocol: u8) -> Message {
    let (scope, kind_of_route, onlink) = match hop {
        Hop::Device { .. } => (libc::RT_SCOPE_LINK, libc::RTN_UNICAST, 0),
        Hop::Via { .. } => (libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST, RTNH_F_ONLINK),
        Hop::Local => (libc::RT_SCOPE_HOST, libc::RTN_LOCAL, 0),
        Hop::Unreachable => (libc::RT_SCOPE_UNIVERSE, libc::RTN_UNREACHABLE, 0),
        Hop::Blackhole => (libc::RT_SCOPE_UNIVERSE, libc::RTN_BLACKHOLE, 0),
    };
    let header = header(block, protocol, scope, kind_of_route, onlink);
    let message = Message::new(kind, flags, &header)
        .attribute(libc::RTA_DST, &block.base.octets())
        .u32(libc::RTA_TABLE, table);
    match *hop {
        Hop::Device { index, source } => {
            message.attribute(libc::RTA_PREFSRC, &source.octets()).u32(libc::RTA_OIF, index)
        }
        Hop::Via { index, gateway } => {
            message.attribute(libc::RTA_GATEWAY, &gateway.octets()).u32(libc::RTA_OIF, index)
        }
        Hop::Local => message.u32(libc::RTA_OIF, super::route::LOOPBACK),
        Hop::Unreachable | Hop::Blackhole => message,
    }
}

fn delete_route(table: u32, block: Block) -> Message {
    let header = header(block, PROTOCOL, libc::RT_SCOPE_NOWHERE, 0, 0);
    Message::new(libc::RTM_DELROUTE, 0, &header)
        .attribute(libc::RTA_DST, &block.base.octets())
        .u32(libc::RTA_TABLE, table)
        // Gone with its device.
        .accept(&[libc::ESRCH])
}

/// `rtmsg`; the table stands in an attribute.
fn header(block: Block, protocol: u8, scope: u8, kind: u8, flags: u32) -> [u8; RTM] {
    let mut header = [0; RTM];
    header[0] = libc::AF_INET as u8;
    header[1] = block.prefix;
    header[5] = protocol;
    header[6] = scope;
    header[7] = kind;
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header
}

fn routes(socket: &mut Socket) -> io::Result<Routes> {
    let answers = dump_routes(socket)?;
    Ok(answers
        .iter()
        .filter(|answer| answer.body.get(5) == Some(&PROTOCOL))
        .filter_map(read_route)
        .collect())
}

fn dump_routes(socket: &mut Socket) -> io::Result<Vec<Answer>> {
    let mut header = [0; RTM];
    header[0] = libc::AF_INET as u8;
    socket.dump(Message::new(libc::RTM_GETROUTE, 0, &header))
}

/// The destinations of every route of the main table, with the index of their device.
pub fn destinations(socket: &mut Socket) -> io::Result<Vec<(Block, Option<u32>)>> {
    let main = |answer: &Answer| {
        let table = answer.attribute(RTM, libc::RTA_TABLE).and_then(|v| u32_at(v, 0))?;
        let device = answer.attribute(RTM, libc::RTA_OIF).and_then(|v| u32_at(v, 0));
        (table == MAIN).then(|| Some((destination(answer)?, device)))?
    };
    Ok(dump_routes(socket)?.iter().filter_map(main).collect())
}

fn destination(answer: &Answer) -> Option<Block> {
    let base = answer.attribute(RTM, libc::RTA_DST).map_or(Some(Ipv4Addr::UNSPECIFIED), address)?;
    Some(Block { base, prefix: *answer.body.get(1)? })
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

fn read_route(answer: &Answer) -> Option<((u32, Block), Hop)> {
    let number = |kind| answer.attribute(RTM, kind).and_then(|value| u32_at(value, 0));
    let hop = match *answer.body.get(7)? {
        libc::RTN_UNREACHABLE => Hop::Unreachable,
        libc::RTN_BLACKHOLE => Hop::Blackhole,
        libc::RTN_LOCAL => Hop::Local,
        _ => {
            let index = number(libc::RTA_OIF)?;
            match answer.attribute(RTM, libc::RTA_GATEWAY) {
                Some(gateway) => Hop::Via { index, gateway: address(gateway)? },
                None => {
                    let source = answer.attribute(RTM, libc::RTA_PREFSRC).and_then(address);
                    Hop::Device { index, source: source.unwrap_or(Ipv4Addr::UNSPECIFIED) }
                }
            }
        }
    };
    Some(((number(libc::RTA_TABLE)?, destination(answer)?), hop))
}

pub fn set_rule(rule: &Rule) -> Message {
    rule_message(libc::RTM_NEWRULE, CREATE, rule).accept(&[libc::EEXIST])
}

pub fn delete_rule(rule: &Rule) -> Message {
    rule_message(libc::RTM_DELRULE, 0, rule).accept(&[libc::ENOENT])
}

/// `fib_rule_hdr` has the layout of `rtmsg`.
fn rule_message(kind: u16, flags: i32, rule: &Rule) -> Message {
    let action = match rule.action {
        Action::Table(_) => FR_ACT_TO_TABLE,
        Action::Unreachable => FR_ACT_UNREACHABLE,
    };
    let mut header = [0; RTM];
    header[0] = libc::AF_INET as u8;
    header[2] = rule.from.prefix;
    header[7] = action;
    let mut message = Message::new(kind, flags, &header)
        .u32(FRA_PRIORITY, rule.priority)
        .attribute(FRA_PROTOCOL, &[PROTOCOL]);
    if rule.from.prefix > 0 {
        message = message.attribute(FRA_SRC, &rule.from.base.octets());
    }
    if !rule.device.is_empty() {
        message = message.string(FRA_IIFNAME, &rule.device);
    }
    if rule.mark != 0 {
        message = message.u32(FRA_FWMARK, rule.mark).u32(FRA_FWMASK, u32::MAX);
    }
    match rule.action {
        Action::Table(table) => message.u32(FRA_TABLE, table),
        Action::Unreachable => message,
    }
}

fn rules(socket: &mut Socket) -> io::Result<BTreeSet<Rule>> {
    let mut header = [0; RTM];
    header[0] = libc::AF_INET as u8;
    let answers = socket.dump(Message::new(libc::RTM_GETRULE, 0, &header))?;
    Ok(answers.iter().filter_map(read_rule).collect())
}

/// Rules of ours only.
fn read_rule(answer: &Answer) -> Option<Rule> {
    let number = |kind| answer.attribute(RTM, kind).and_then(|value| u32_at(value, 0));
    if answer.attribute(RTM, FRA_PROTOCOL)? != [PROTOCOL] {
        return None;
    }
    let base = answer.attribute(RTM, FRA_SRC).map_or(Some(Ipv4Addr::UNSPECIFIED), address)?;
    let device = answer.attribute(RTM, FRA_IIFNAME).unwrap_or_default();
    let action = match *answer.body.get(7)? {
        FR_ACT_TO_TABLE => Action::Table(number(FRA_TABLE)?),
        _ => Action::Unreachable,
    };
    Some(Rule {
        priority: number(FRA_PRIORITY).unwrap_or(0),
        from: Block { base, prefix: *answer.body.get(2)? },
        device: String::from_utf8_lossy(device).trim_end_matches('\0').to_owned(),
        mark: number(FRA_FWMARK).unwrap_or(0),
        action,
    })
}

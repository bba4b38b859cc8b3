//! The inner end of an interface, in the namespace of its instance.

use std::io;
use std::net::Ipv4Addr;

use super::netlink::{Message, Socket};
use super::route;
use super::way::{self, Action, Hop, Rule};
use crate::Interface;
use crate::network::Block;

/// Of interfaces that are not their instance's way to everywhere: tables, and priorities of the rules that
/// choose them.
const OTHER_INTERFACES: u32 = 1000;

pub fn connect(socket: &mut Socket, interface: &Interface, index: u32) -> io::Result<()> {
    let everywhere = Hop::Via { index, gateway: interface.gateway };
    let universe = libc::RT_SCOPE_UNIVERSE;
    let mut batch = vec![
        route::set_link(route::LOOPBACK, true),
        route::prompt_arp(index),
        route::add_address(index, interface.address, interface.prefix, universe),
        route::set_link(index, true),
    ];
    if interface.default_route {
        batch.push(way::fixed_route(Block::ANY, &everywhere));
    } else {
        let rule = from(interface.address, index);
        batch.push(way::set_route(rule.priority, Block::ANY, &everywhere));
        batch.push(way::set_rule(&rule));
    }
    socket.run(batch)
}

/// Addresses besides its own; those that the instance took by itself are left alone.
pub fn assign(socket: &mut Socket, interface: &Interface, others: &[Ipv4Addr]) -> io::Result<()> {
    let index = route::link(socket, &interface.inner)?.ok_or(io::ErrorKind::NotFound)?.index;
    let present = route::assigned(socket, index)?;
    let mut batch: Vec<Message> = Vec::new();
    for address in others.iter().filter(|address| !present.contains(address)) {
        batch.push(route::assign(index, *address));
        if !interface.default_route {
            batch.push(way::set_rule(&from(*address, index)));
        }
    }
    for address in present.iter().filter(|address| !others.contains(address)) {
        batch.push(route::delete_address(index, *address, 32));
        if !interface.default_route {
            batch.push(way::delete_rule(&from(*address, index)));
        }
    }
    socket.run(batch)
}

/// What is sent from the address goes out by the interface.
fn from(address: Ipv4Addr, index: u32) -> Rule {
    let table = OTHER_INTERFACES + index;
    Rule {
        priority: table,
        from: Block::from(address),
        device: String::new(),
        mark: 0,
        action: Action::Table(table),
    }
}

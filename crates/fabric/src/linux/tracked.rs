//! Connections that were translated by what is no more: a public address that was taken away, a NAT that
//! is gone. The kernel would translate them for as long as they live; here they end.

use std::io;
use std::net::Ipv4Addr;

use super::Network;
use super::netlink::{Answer, Message, Socket};
use crate::network;

const GET: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | 1;
const DELETE: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | 2;
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const NESTED: u16 = 1 << 15;

/// `nfgenmsg`
const HEADER: [u8; 4] = [libc::AF_INET as u8, 0, 0, 0];

/// Whether some may have to end now that `wanted` is what translates. Not known what did before: yes.
pub fn may_be_stale(wanted: &network::Network, before: Option<&network::Network>) -> bool {
    !before.is_some_and(|before| translations(before).all(|one| stands(wanted, one)))
}

/// Ends those that translate as `wanted` does not. The kernel goes through the connections of all
/// networks for it, which takes milliseconds however few there are.
pub fn end_stale(network: &Network, wanted: &network::Network) -> io::Result<()> {
    network.netfilter(|socket| end(socket, wanted))
}

fn end(socket: &mut Socket, wanted: &network::Network) -> io::Result<()> {
    let tracked = socket.dump(Message::new(GET, 0, &HEADER))?;
    let stale = tracked.iter().filter(|answer| {
        let mut by = translated(answer).into_iter().flatten().flatten();
        by.any(|one| !stands(wanted, one))
    });
    let end = |answer: &Answer| {
        let tuple = answer.attribute(HEADER.len(), TUPLE_ORIG)?;
        let message = Message::new(DELETE, 0, &HEADER).attribute(TUPLE_ORIG | NESTED, tuple);
        // Ended by itself.
        Some(message.accept(&[libc::ENOENT]))
    };
    let batch = stale.filter_map(end).collect();
    socket.run(batch)
}

/// The private address, if it is known, and the one that stands for it.
type Translation = (Option<Ipv4Addr>, Ipv4Addr);

fn translations(of: &network::Network) -> impl Iterator<Item = Translation> {
    let public = of.ports.values().flat_map(|port| &port.public);
    let public = public.map(|(private, public)| (Some(*private), *public));
    public.chain(of.nats.values().flat_map(network::Nat::all).map(|address| (None, address)))
}

fn stands(wanted: &network::Network, (private, address): Translation) -> bool {
    let by_nat = || wanted.nats.values().any(|nat| nat.all().any(|one| one == address));
    let mut public = wanted.ports.values().flat_map(|port| &port.public);
    by_nat() || public.any(|(one, other)| Some(*one) == private && *other == address)
}

/// At the end that began the connection, and at the other one.
fn translated(answer: &Answer) -> Option<[Option<Translation>; 2]> {
    let (source, destination) = ends(answer, TUPLE_ORIG)?;
    let (answering, answered) = ends(answer, TUPLE_REPLY)?;
    Some([
        (answered != source).then_some((Some(source), answered)),
        (answering != destination).then_some((Some(answering), destination)),
    ])
}

/// Source and destination.
fn ends(answer: &Answer, tuple: u16) -> Option<(Ipv4Addr, Ipv4Addr)> {
    const IP: u16 = 1;
    let tuple = Answer { body: answer.attribute(HEADER.len(), tuple)?.to_vec() };
    let ip = Answer { body: tuple.attribute(0, IP)?.to_vec() };
    let address = |kind| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.attribute(0, kind)?).ok()?));
    Some((address(1)?, address(2)?))
}

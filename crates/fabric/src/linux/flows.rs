//! What went through a network and what was kept from it, counted by the kernel: connection tracking
//! has the packets and bytes of what passed, the filter logs the heads of what it dropped.
//!
//! ```text
//!  conntrack ── dump ─────────────► counters of living flows ──┐
//!            ── destroy events ───► last counters of ended ones ├─► differences since the last look
//!  filter ──── nflog, group 1 ────► one packet each ────────────┘
//! ```

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;

use super::netlink::{Answer, Message, Socket};
use crate::network::Flow;

/// Where the filter logs what it drops.
pub const DROPPED: u16 = 1;

const CT_GET: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | 1;
const CT_DELETE: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | 2;
const CONNTRACK_DESTROY: u32 = 3;
const LOG_PACKET: u16 = (libc::NFNL_SUBSYS_ULOG as u16) << 8;
const LOG_CONFIG: u16 = (libc::NFNL_SUBSYS_ULOG as u16) << 8 | 1;

/// `nfgenmsg`: family, version, resource id in network byte order.
const HEADER: usize = 4;
/// Of a logged packet: an IPv4 header with options, and the ports.
const HEAD: u32 = 64;

/// For tens of thousands of events between two looks.
const BUFFER: i32 = 8 << 20;

type Endpoint = (Ipv4Addr, u16);

/// One direction of a connection.
type Direction = (u8, Endpoint, Endpoint);

/// Looks at a network from inside. Counting begins when it is made.
pub struct Flows {
    control: Socket,
    ended: Socket,
    dropped: Socket,
    /// What was told of living flows already: packets and bytes.
    told: HashMap<Direction, (u64, u64)>,
}

impl Flows {
    /// Called on a thread in the network's namespace.
    pub fn open() -> io::Result<Flows> {
        std::fs::write("/proc/sys/net/netfilter/nf_conntrack_acct", "1")?;
        let ended = Socket::open(libc::NETLINK_NETFILTER)?;
        ended.buffer(BUFFER)?;
        ended.join(CONNTRACK_DESTROY)?;
        let mut dropped = Socket::open(libc::NETLINK_NETFILTER)?;
        dropped.buffer(BUFFER)?;
        dropped.run(vec![bind(), copy_heads()])?;
        let control = Socket::open(libc::NETLINK_NETFILTER)?;
        Ok(Flows { control, ended, dropped, told: HashMap::new() })
    }

    /// Everything since the last call.
    pub fn take(&mut self) -> io::Result<Vec<Flow>> {
        let mut flows = Vec::new();
        let mut living = HashMap::new();
        for answer in self.ended.pending(CT_DELETE)? {
            self.note(&answer, &mut flows, None);
        }
        let dump = Message::new(CT_GET, 0, &[libc::AF_INET as u8, 0, 0, 0]);
        for answer in self.control.dump(dump)? {
            self.note(&answer, &mut flows, Some(&mut living));
        }
        self.told = living;
        for answer in self.dropped.pending(LOG_PACKET)? {
            flows.extend(dropped(&answer));
        }
        Ok(flows)
    }

    /// What is new of a tracked connection, both ways.
    fn note(
        &self,
        answer: &Answer,
        flows: &mut Vec<Flow>,
        mut living: Option<&mut HashMap<Direction, (u64, u64)>>,
    ) {
        let Some(ways) = connection(answer) else { return };
        for (direction, amount) in ways {
            let before = self.told.get(&direction).copied().unwrap_or_default();
            if let Some(living) = &mut living {
                living.insert(direction, amount);
            }
            let (protocol, source, destination) = direction;
            let packets = amount.0.saturating_sub(before.0);
            if packets > 0 {
                flows.push(Flow {
                    protocol,
                    source,
                    destination,
                    packets,
                    bytes: amount.1.saturating_sub(before.1),
                    accepted: true,
                });
            }
        }
    }
}

fn bind() -> Message {
    const CFG_CMD: u16 = 1;
    Message::new(LOG_CONFIG, 0, &group()).attribute(CFG_CMD, &[1])
}

fn copy_heads() -> Message {
    const CFG_MODE: u16 = 2;
    const COPY_PACKET: u8 = 2;
    let mut mode = HEAD.to_be_bytes().to_vec();
    mode.extend([COPY_PACKET, 0]);
    Message::new(LOG_CONFIG, 0, &group()).attribute(CFG_MODE, &mode)
}

fn group() -> [u8; HEADER] {
    let [high, low] = DROPPED.to_be_bytes();
    [libc::AF_UNSPEC as u8, 0, high, low]
}

/// Both directions of a tracked connection, each with its packets and bytes. Addresses are those that
/// the ends have: translated ones are not shown.
fn connection(answer: &Answer) -> Option<[(Direction, (u64, u64)); 2]> {
    const TUPLE_ORIG: u16 = 1;
    const TUPLE_REPLY: u16 = 2;
    const COUNTERS_ORIG: u16 = 9;
    const COUNTERS_REPLY: u16 = 10;
    let nest = |kind| Some(Answer { body: answer.attribute(HEADER, kind)?.to_vec() });
    let (protocol, source, _) = tuple(&nest(TUPLE_ORIG)?)?;
    let (_, destination, _) = tuple(&nest(TUPLE_REPLY)?)?;
    let counters = |kind| nest(kind).as_ref().and_then(amount).unwrap_or_default();
    Some([
        ((protocol, source, destination), counters(COUNTERS_ORIG)),
        ((protocol, destination, source), counters(COUNTERS_REPLY)),
    ])
}

fn tuple(tuple: &Answer) -> Option<Direction> {
    const TUPLE_IP: u16 = 1;
    const TUPLE_PROTO: u16 = 2;
    let ip = Answer { body: tuple.attribute(0, TUPLE_IP)?.to_vec() };
    let proto = Answer { body: tuple.attribute(0, TUPLE_PROTO)?.to_vec() };
    let address = |kind| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.attribute(0, kind)?).ok()?));
    let port = |kind| {
        let bytes = proto.attribute(0, kind).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u16::from_be_bytes)
    };
    let protocol = *proto.attribute(0, 1)?.first()?;
    Some((protocol, (address(1)?, port(2)), (address(2)?, port(3))))
}

fn amount(counters: &Answer) -> Option<(u64, u64)> {
    let number = |kind| Some(u64::from_be_bytes(counters.attribute(0, kind)?.try_into().ok()?));
    Some((number(1)?, number(2)?))
}

/// A dropped packet, from its first bytes.
fn dropped(answer: &Answer) -> Option<Flow> {
    const PAYLOAD: u16 = 9;
    packet(answer.attribute(HEADER, PAYLOAD)?)
}

/// RFC 791, section 3.1; ports are where TCP and UDP have them.
fn packet(bytes: &[u8]) -> Option<Flow> {
    let address = |at| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?));
    let u16_at = |at| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if bytes.first()? >> 4 != 4 {
        return None;
    }
    let header = usize::from(bytes[0] & 15) * 4;
    let protocol = *bytes.get(9)?;
    let has_ports = [libc::IPPROTO_TCP, libc::IPPROTO_UDP].contains(&protocol.into());
    let port = |at| if has_ports { u16_at(header + at).unwrap_or(0) } else { 0 };
    Some(Flow {
        protocol,
        source: (address(12)?, port(0)),
        destination: (address(16)?, port(2)),
        packets: 1,
        bytes: u16_at(2)?.into(),
        accepted: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_packets() {
        let mut bytes = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        bytes.extend([0x9c, 0x40, 0, 80]);
        let flow = packet(&bytes).unwrap();
        assert_eq!(flow.source, (Ipv4Addr::new(10, 0, 0, 1), 40000));
        assert_eq!(flow.destination, (Ipv4Addr::new(10, 0, 0, 2), 80));
        assert_eq!((flow.protocol, flow.bytes, flow.accepted), (6, 60, false));
        assert_eq!(packet(&bytes[..18]), None);
        assert_eq!(packet(&[]), None);
        bytes[9] = 1;
        assert_eq!(packet(&bytes).unwrap().destination.1, 0);
    }
}

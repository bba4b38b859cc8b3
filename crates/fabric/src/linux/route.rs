//! The rtnetlink messages that the fabric needs for links, addresses and neighbours, and for routes of
//! single interfaces. Tables of routes and the rules that choose among them are in `way`.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::netlink::{Answer, Message, Socket, u32_at, u64_at};
use super::way::PROTOCOL;

/// As between instances in EC2: jumbo frames carry bulk data with a sixth of the packets, and every
/// packet passes the router's forward path. Nothing smaller is on the way inside of a network.
pub const MTU: u32 = 9001;

pub const LOOPBACK: u32 = 1;

const IFINFO: usize = 16;
const IFADDR: usize = 8;

const VETH_INFO_PEER: u16 = 1;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_RP_FILTER: u16 = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_PROTO: u16 = 11;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDTA_NAME: u16 = 1;
const NDTA_PARMS: u16 = 6;
const NDTPA_IFINDEX: u16 = 1;
const NDTPA_RETRANS_TIME: u16 = 5;
const NDTPA_PROXY_DELAY: u16 = 13;
const NUD_PERMANENT: u16 = 0x80;
const NLA_F_NESTED: u16 = 1 << 15;

/// `ifinfomsg`.
fn link_header(index: u32, flags: u32, change: u32) -> [u8; IFINFO] {
    let mut header = [0; IFINFO];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

pub const CREATE: i32 = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
pub const REPLACE: i32 = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;

/// A pair of linked interfaces, the peer born in the namespace `peer_netns`. Without a MAC of its own
/// the near end gets some.
pub fn new_veth(
    name: &str,
    mac: Option<&[u8; 6]>,
    peer: &str,
    peer_mac: &[u8; 6],
    peer_netns: BorrowedFd<'_>,
) -> Message {
    // One queue: the kernel's default is one for each possible processor, in memory for each interface.
    let common = |m: Message, name: &str| {
        m.string(libc::IFLA_IFNAME, name)
            .u32(libc::IFLA_MTU, MTU)
            .u32(libc::IFLA_NUM_TX_QUEUES, 1)
            .u32(libc::IFLA_NUM_RX_QUEUES, 1)
    };
    let mut message = common(Message::new(libc::RTM_NEWLINK, CREATE, &link_header(0, 0, 0)), name);
    if let Some(mac) = mac {
        message = message.attribute(libc::IFLA_ADDRESS, mac);
    }
    message.nested(libc::IFLA_LINKINFO | NLA_F_NESTED, &[], |m| {
        m.string(libc::IFLA_INFO_KIND, "veth").nested(
            libc::IFLA_INFO_DATA | NLA_F_NESTED,
            &[],
            |m| {
                m.nested(VETH_INFO_PEER | NLA_F_NESTED, &link_header(0, 0, 0), |m| {
                    common(m, peer)
                        .attribute(libc::IFLA_ADDRESS, peer_mac)
                        .u32(libc::IFLA_NET_NS_FD, peer_netns.as_raw_fd() as u32)
                })
            },
        )
    })
}

pub fn delete_link(name: &str) -> Message {
    Message::new(libc::RTM_DELLINK, 0, &link_header(0, 0, 0)).string(libc::IFLA_IFNAME, name)
}

pub fn delete_link_at(index: u32) -> Message {
    Message::new(libc::RTM_DELLINK, 0, &link_header(index, 0, 0)).accept(&[libc::ENODEV])
}

/// Whether packets whose source is reached by another device are dropped.
pub fn check_source(index: u32, check: bool) -> Message {
    let family = libc::AF_INET as u16;
    Message::new(libc::RTM_NEWLINK, 0, &link_header(index, 0, 0)).nested(
        libc::IFLA_AF_SPEC | NLA_F_NESTED,
        &[],
        |m| {
            m.nested(family | NLA_F_NESTED, &[], |m| {
                m.nested(IFLA_INET_CONF | NLA_F_NESTED, &[], |m| {
                    m.u32(IPV4_DEVCONF_RP_FILTER, check.into())
                })
            })
        },
    )
}

/// Takes a link up or down.
pub fn set_link(index: u32, up: bool) -> Message {
    let bit = libc::IFF_UP as u32;
    let header = link_header(index, if up { bit } else { 0 }, bit);
    Message::new(libc::RTM_NEWLINK, 0, &header)
}

/// Free text that the kernel keeps with the link.
pub fn set_alias(index: u32, alias: &str) -> Message {
    Message::new(libc::RTM_NEWLINK, 0, &link_header(index, 0, 0))
        .attribute(libc::IFLA_IFALIAS, alias.as_bytes())
}

/// What the kernel knows of a link.
pub struct Link {
    pub name: String,
    pub index: u32,
    pub up: bool,
    /// The index of the other end, in the other end's namespace.
    pub peer: u32,
    pub alias: String,
    pub stats: Stats,
}

#[derive(Default)]
pub struct Stats {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

/// `None` when there is no link of that name.
pub fn link(socket: &mut Socket, name: &str) -> io::Result<Option<Link>> {
    let request =
        Message::new(libc::RTM_GETLINK, 0, &link_header(0, 0, 0)).string(libc::IFLA_IFNAME, name);
    match socket.get(request) {
        Ok(answer) => read_link(&answer).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every link, without what it carried.
pub fn links(socket: &mut Socket) -> io::Result<Vec<Link>> {
    let request = Message::new(libc::RTM_GETLINK, 0, &link_header(0, 0, 0))
        .u32(libc::IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    Ok(socket.dump(request)?.iter().filter_map(read_link).collect())
}

fn read_link(answer: &Answer) -> Option<Link> {
    let text = |kind| {
        let bytes = answer.attribute(IFINFO, kind).unwrap_or_default();
        String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
    };
    let peer = answer.attribute(IFINFO, libc::IFLA_LINK).and_then(|v| u32_at(v, 0));
    let stats = answer.attribute(IFINFO, libc::IFLA_STATS64).and_then(|v| {
        Some(Stats {
            rx_packets: u64_at(v, 0)?,
            tx_packets: u64_at(v, 8)?,
            rx_bytes: u64_at(v, 16)?,
            tx_bytes: u64_at(v, 24)?,
        })
    });
    Some(Link {
        name: text(libc::IFLA_IFNAME),
        index: u32_at(&answer.body, 4)?,
        up: u32_at(&answer.body, 8)? & libc::IFF_UP as u32 != 0,
        peer: peer.unwrap_or_default(),
        alias: text(libc::IFLA_IFALIAS),
        stats: stats.unwrap_or_default(),
    })
}

/// An address on a device. `scope` as in `rtm_scope`: universe for what others may see.
pub fn add_address(index: u32, address: Ipv4Addr, prefix: u8, scope: u8) -> Message {
    address_message(libc::RTM_NEWADDR, CREATE, index, address, prefix, scope)
        .accept(&[libc::EEXIST])
}

pub fn delete_address(index: u32, address: Ipv4Addr, prefix: u8) -> Message {
    address_message(libc::RTM_DELADDR, 0, index, address, prefix, 0).accept(&[libc::EADDRNOTAVAIL])
}

fn address_message(
    kind: u16,
    flags: i32,
    index: u32,
    address: Ipv4Addr,
    prefix: u8,
    scope: u8,
) -> Message {
    let mut header = [libc::AF_INET as u8, prefix, 0, scope, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    Message::new(kind, flags, &header)
        .attribute(IFA_LOCAL, &address.octets())
        .attribute(IFA_ADDRESS, &address.octets())
}

/// A further address of a device, with a mark of ours.
pub fn assign(index: u32, address: Ipv4Addr) -> Message {
    add_address(index, address, 32, libc::RT_SCOPE_UNIVERSE).attribute(IFA_PROTO, &[PROTOCOL])
}

/// The addresses of a device that bear the mark.
pub fn assigned(socket: &mut Socket, index: u32) -> io::Result<Vec<Ipv4Addr>> {
    let marked = |answer: &Answer| answer.attribute(IFADDR, IFA_PROTO) == Some(&[PROTOCOL][..]);
    select_addresses(socket, index, marked)
}

/// The addresses of a device that have the widest scope.
pub fn addresses(socket: &mut Socket, index: u32) -> io::Result<Vec<Ipv4Addr>> {
    select_addresses(socket, index, |answer| answer.body.get(3) == Some(&libc::RT_SCOPE_UNIVERSE))
}

fn select_addresses(
    socket: &mut Socket,
    index: u32,
    select: impl Fn(&Answer) -> bool,
) -> io::Result<Vec<Ipv4Addr>> {
    let mut header = [libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    let answers = socket.dump(Message::new(libc::RTM_GETADDR, 0, &header))?;
    let address = |answer: &Answer| {
        let octets: [u8; 4] = answer.attribute(IFADDR, IFA_LOCAL)?.try_into().ok()?;
        let selected = u32_at(&answer.body, 4) == Some(index) && select(answer);
        selected.then(|| Ipv4Addr::from(octets))
    };
    Ok(answers.iter().filter_map(address).collect())
}

/// `address/32` is behind this device; who dials it without a source of its own does so from `source`.
pub fn host_route(index: u32, address: Ipv4Addr, source: Ipv4Addr) -> Message {
    Message::new(libc::RTM_NEWROUTE, REPLACE, &route_header(32, libc::RT_SCOPE_LINK))
        .attribute(libc::RTA_DST, &address.octets())
        .attribute(libc::RTA_PREFSRC, &source.octets())
        .u32(libc::RTA_OIF, index)
}

/// `rtmsg`.
fn route_header(prefix: u8, scope: u8) -> [u8; 12] {
    let mut header = [0; 12];
    header[0] = libc::AF_INET as u8;
    header[1] = prefix;
    header[4] = libc::RT_TABLE_MAIN;
    header[5] = libc::RTPROT_STATIC;
    header[6] = scope;
    header[7] = libc::RTN_UNICAST;
    header
}

/// `address` on this device has this MAC, for good. Permanent entries are not counted against the
/// neighbour table's limit, which all namespaces of a host share.
pub fn neighbour(index: u32, address: Ipv4Addr, mac: &[u8; 6]) -> Message {
    let mut header = [0; 12];
    header[0] = libc::AF_INET as u8;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
    Message::new(libc::RTM_NEWNEIGH, REPLACE, &header)
        .attribute(NDA_DST, &address.octets())
        .attribute(NDA_LLADDR, mac)
}

/// ARP without waits: answers for others at once, asks again after 20 ms (a lost first question
/// otherwise costs a second).
pub fn prompt_arp(index: u32) -> Message {
    Message::new(libc::RTM_SETNEIGHTBL, 0, &[libc::AF_INET as u8, 0, 0, 0])
        .string(NDTA_NAME, "arp_cache")
        .nested(NDTA_PARMS | NLA_F_NESTED, &[], |m| {
            m.u32(NDTPA_IFINDEX, index).u64(NDTPA_RETRANS_TIME, 20).u64(NDTPA_PROXY_DELAY, 0)
        })
}

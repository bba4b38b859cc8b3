//! Sockets of the internet namespace that take what instances send to addresses which are not theirs to
//! have, and answer as if they were those addresses (`IP_TRANSPARENT`, Linux's `tproxy.txt`).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use super::{LinuxFabric, Network, bind, listen, os, set_option, socket_name};
use crate::Result;

/// Where packets for the relay are handed over; on loopback, so that nothing else gets there.
pub const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);

impl LinuxFabric {
    /// Opens the way out of the internet namespace: everything that goes to an address which is neither
    /// public here nor private arrives at these sockets. While nobody holds them it is refused.
    pub fn outbound(&self) -> Result<Outbound> {
        let internet = self.internet()?;
        let open = || -> io::Result<Outbound> {
            let tcp = internet.make(stream)?;
            listen(&tcp, RELAY)?;
            let udp = internet.make(datagram)?;
            set(&udp, libc::IP_RECVORIGDSTADDR)?;
            bind(&udp, RELAY)?;
            let datagrams = Datagrams { socket: udp.into(), network: Arc::clone(&internet) };
            Ok(Outbound { tcp: TcpListener::from(tcp), udp: datagrams })
        };
        open().map_err(os("opening the way out"))
    }
}

/// What instances send to the world. Nothing blocks.
pub struct Outbound {
    /// The local address of an accepted connection is the one that was dialed.
    pub tcp: TcpListener,
    pub udp: Datagrams,
}

pub struct Datagrams {
    socket: UdpSocket,
    network: Arc<Network>,
}

impl Datagrams {
    /// Another handle of the socket that `receive` takes them from, to wait on.
    pub fn socket(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Length, sender, and the address that it was sent to.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddrV4, SocketAddrV4)> {
        receive(self.socket.as_fd(), buffer)
    }

    /// A socket that is `address`, connected to `client`: it gets what `client` sends there from now on.
    pub fn stand_in(&self, address: SocketAddrV4, client: SocketAddrV4) -> io::Result<UdpSocket> {
        let socket = self.network.make(datagram)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
        bind(&socket, address)?;
        let socket = UdpSocket::from(socket);
        socket.connect(client)?;
        Ok(socket)
    }
}

impl Datagrams {
    /// Tells the sender of a datagram that it does not get through: `port`, nobody listens there; else,
    /// there is no way. By an ICMP message (RFC 792) that seems to come from the one it was sent to.
    pub fn refuse(&self, from: SocketAddrV4, to: SocketAddrV4, port: bool) -> io::Result<()> {
        let socket = self.network.make(icmp)?;
        bind(&socket, SocketAddrV4::new(*to.ip(), 0))?;
        let message = unreachable(from, to, port);
        let name = socket_name(SocketAddrV4::new(*from.ip(), 0));
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        // SAFETY: message and name outlive the call, and their sizes are given.
        let sent = unsafe {
            let (name, bytes) = ((&raw const name).cast(), message.as_ptr().cast());
            libc::sendto(socket.as_raw_fd(), bytes, message.len(), libc::MSG_NOSIGNAL, name, length)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Destination unreachable, for a datagram between these two.
fn unreachable(from: SocketAddrV4, to: SocketAddrV4, port: bool) -> Vec<u8> {
    /// RFC 1122. Of codes that say so, one that ends the wait of whoever sent it.
    const NET_UNKNOWN: u8 = 6;
    const PORT: u8 = 3;
    let mut message = vec![3, if port { PORT } else { NET_UNKNOWN }, 0, 0, 0, 0, 0, 0];
    // The header that the datagram had, and the first eight bytes after it: the head of UDP.
    let mut header = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, libc::IPPROTO_UDP as u8, 0, 0];
    header.extend(from.ip().octets());
    header.extend(to.ip().octets());
    let sum = checksum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    message.extend(header);
    for field in [from.port(), to.port(), 8, 0] {
        message.extend(field.to_be_bytes());
    }
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// Of the internet protocols (RFC 1071), over an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn icmp() -> io::Result<OwnedFd> {
    transparent(libc::SOCK_RAW, libc::IPPROTO_ICMP)
}

fn stream() -> io::Result<OwnedFd> {
    transparent(libc::SOCK_STREAM, 0)
}

fn datagram() -> io::Result<OwnedFd> {
    transparent(libc::SOCK_DGRAM, 0)
}

/// A socket in the calling thread's namespace, not blocking, that may have any address.
fn transparent(kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a plain system call; the result is checked before it is owned.
    let fd = unsafe { libc::socket(libc::AF_INET, kind, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` is a fresh descriptor that nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set(&socket, libc::IP_TRANSPARENT)?;
    Ok(socket)
}

fn set(socket: &OwnedFd, option: libc::c_int) -> io::Result<()> {
    set_option(socket, libc::SOL_IP, option)
}

fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddrV4, SocketAddrV4)> {
    let mut from = socket_name(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    // Of u64, so that it is aligned as a cmsghdr.
    let mut control = [0u64; 16];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: every pointer in `message` is to something of the length beside it that outlives the call.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has filled in the message; the macros stay within its control part.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_IP && (*header).cmsg_type == libc::IP_ORIGDSTADDR {
                let to = libc::CMSG_DATA(header).cast::<libc::sockaddr_in>().read_unaligned();
                return Ok((got as usize, address(&from), address(&to)));
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn address(name: &libc::sockaddr_in) -> SocketAddrV4 {
    let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
    SocketAddrV4::new(ip, u16::from_be(name.sin_port))
}

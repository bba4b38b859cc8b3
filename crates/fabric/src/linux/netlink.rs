//! A small netlink encoder and socket: messages with nested attributes, sent in batches. Knows the wire format and nothing of what the messages mean.
//!
//! ```text
//!  ┌────────────── nlmsghdr (16) ──────────────┐┌ family header ┐┌ attribute ┐┌ attribute ┐…
//!  │ length │ type │ flags │ sequence │ port 0 ││ ifinfomsg, …  ││ len │ type │ value, padded to 4 │
//!  └───────────────────────────────────────────┘└───────────────┘└─────────────────────────────────┘
//! ```

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const HEADER: usize = 16;

/// More answers may not fit in the socket's buffer.
const AT_ONCE: usize = 64;

/// One request in the making.
pub struct Message {
    bytes: Vec<u8>,
    /// Errors that mean "is so already" for this request.
    accepted: &'static [i32],
}

impl Message {
    /// `header` is the family's fixed part (`ifinfomsg`, `ifaddrmsg`, `rtmsg`, …).
    pub fn new(kind: u16, flags: i32, header: &[u8]) -> Message {
        let mut bytes = vec![0; HEADER];
        let flags = (flags | libc::NLM_F_REQUEST) as u16;
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(header);
        Message { bytes, accepted: &[] }
    }

    #[cfg(test)]
    pub fn kind(&self) -> u16 {
        u16_at(&self.bytes, 4).expect("a message has a header")
    }

    pub fn accept(mut self, errors: &'static [i32]) -> Message {
        self.accepted = errors;
        self
    }

    /// Attributes that are encoded already.
    pub fn raw(mut self, attributes: &[u8]) -> Message {
        self.bytes.extend_from_slice(attributes);
        self
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        self.push(kind, value);
        self
    }

    /// A string with its terminating zero.
    pub fn string(self, kind: u16, value: &str) -> Message {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    pub fn u32(self, kind: u16, value: u32) -> Message {
        self.attribute(kind, &value.to_ne_bytes())
    }

    pub fn u64(self, kind: u16, value: u64) -> Message {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// An attribute whose value is `header` and what `fill` adds to it.
    pub fn nested(
        mut self,
        kind: u16,
        header: &[u8],
        fill: impl FnOnce(Message) -> Message,
    ) -> Message {
        let start = self.bytes.len();
        self.push(kind, header);
        let mut filled = fill(self);
        let length = (filled.bytes.len() - start) as u16;
        filled.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        filled
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(&mut self, sequence: u32, flags: i32) {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | flags as u16;
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// A netlink socket. It keeps the network namespace of the thread that opened it, so it may be used
/// from any thread afterwards.
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Of a protocol: `NETLINK_ROUTE`, `NETLINK_NETFILTER`.
    pub fn open(protocol: libc::c_int) -> io::Result<Socket> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: a plain system call; the result is checked before it is owned.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a fresh descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
            set_option(&fd, libc::SOL_NETLINK, option, 1)?;
        }
        Ok(Socket { fd, sequence: 0 })
    }

    /// The kernel works them off in order. The first error that its message does not accept is
    /// returned, after every answer was read.
    pub fn run(&mut self, batch: Vec<Message>) -> io::Result<()> {
        let mut batch = batch.into_iter().peekable();
        let mut done = Ok(());
        while batch.peek().is_some() {
            done = done.and(self.run_at_once(batch.by_ref().take(AT_ONCE)));
        }
        done
    }

    /// Sends all in one system call.
    fn run_at_once(&mut self, batch: impl Iterator<Item = Message>) -> io::Result<()> {
        let first = self.sequence.wrapping_add(1);
        let mut out = Vec::new();
        let mut accepted = Vec::new();
        for mut message in batch {
            self.sequence = self.sequence.wrapping_add(1);
            message.finish(self.sequence, libc::NLM_F_ACK);
            out.extend_from_slice(&message.bytes);
            accepted.push(message.accepted);
        }
        self.send(&out)?;
        let mut failure = None;
        let mut waiting = accepted.len();
        while waiting > 0 {
            for answer in self.wait()?.iter() {
                if answer.kind != libc::NLMSG_ERROR as u16 {
                    continue;
                }
                let index = answer.sequence.wrapping_sub(first) as usize;
                let Some(accepted) = accepted.get(index) else { continue };
                waiting -= 1;
                if let Some(error) = answer.error()
                    && !accepted.contains(&error)
                    && failure.is_none()
                {
                    failure = Some(io::Error::from_raw_os_error(error));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Sends a batch of nfnetlink: all of it happens, or nothing. Only what fails, and the end, is
    /// answered; the answers are there when the call that sends returns.
    pub fn transact(&mut self, batch: Vec<Message>) -> io::Result<()> {
        let first = self.sequence.wrapping_add(1);
        // The mark of the end is not acknowledged, but the message before it.
        let last = batch.len().saturating_sub(2);
        let mut out = Vec::new();
        for (i, mut message) in batch.into_iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            message.finish(self.sequence, if i == last { libc::NLM_F_ACK } else { 0 });
            out.extend_from_slice(&message.bytes);
        }
        self.reserve(out.len())?;
        self.send(&out)?;
        let mut done = false;
        while let Some(datagram) = self.receive(libc::MSG_DONTWAIT)? {
            for answer in datagram.iter() {
                let index = answer.sequence.wrapping_sub(first) as usize;
                if let Some(error) = answer.error() {
                    self.drain()?;
                    let error = io::Error::from_raw_os_error(error);
                    let message = format!("message {index} of {}: {error}", last + 2);
                    return Err(io::Error::new(error.kind(), message));
                }
                done |= index == last;
            }
        }
        if done { Ok(()) } else { Err(io::Error::other("the kernel did not acknowledge a batch")) }
    }

    fn drain(&self) -> io::Result<()> {
        while self.receive(libc::MSG_DONTWAIT)?.is_some() {}
        Ok(())
    }

    /// A message must fit in the socket's buffer.
    fn reserve(&self, bytes: usize) -> io::Result<()> {
        const USUAL: usize = 64 * 1024;
        if bytes < USUAL {
            return Ok(());
        }
        let wanted = libc::c_int::try_from(bytes + USUAL).map_err(io::Error::other)?;
        set_option(&self.fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted)
    }

    /// The one answer to a get request.
    pub fn get(&mut self, mut message: Message) -> io::Result<Answer> {
        self.sequence = self.sequence.wrapping_add(1);
        message.finish(self.sequence, 0);
        self.send(&message.bytes)?;
        loop {
            for answer in self.wait()?.iter() {
                if answer.sequence != self.sequence {
                    continue;
                }
                if let Some(error) = answer.error() {
                    return Err(io::Error::from_raw_os_error(error));
                }
                return Ok(Answer { body: answer.body.to_vec() });
            }
        }
    }

    /// Every answer to a dump request.
    pub fn dump(&mut self, mut message: Message) -> io::Result<Vec<Answer>> {
        self.sequence = self.sequence.wrapping_add(1);
        message.finish(self.sequence, libc::NLM_F_DUMP);
        self.send(&message.bytes)?;
        let mut answers = Vec::new();
        loop {
            for answer in self.wait()?.iter() {
                if answer.sequence != self.sequence {
                    continue;
                }
                if answer.kind == libc::NLMSG_DONE as u16 {
                    return Ok(answers);
                }
                if let Some(error) = answer.error() {
                    return Err(io::Error::from_raw_os_error(error));
                }
                answers.push(Answer { body: answer.body.to_vec() });
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length describe `bytes`, which outlives the call.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn wait(&self) -> io::Result<Datagram> {
        self.receive(0)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Hears what the kernel tells a multicast group.
    pub fn join(&self, group: u32) -> io::Result<()> {
        set_option(&self.fd, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group as i32)
    }

    /// Room for so many bytes that nobody has read yet.
    pub fn buffer(&self, bytes: i32) -> io::Result<()> {
        set_option(&self.fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
    }

    /// What was told so far, of one kind. What found no room is lost.
    pub fn pending(&self, kind: u16) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(Some(datagram)) => {
                    let of_kind = datagram.iter().filter(|message| message.kind == kind);
                    answers.extend(of_kind.map(|message| Answer { body: message.body.to_vec() }));
                }
                Ok(None) => return Ok(answers),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// `None`: nothing is there, and `flags` forbid to wait.
    fn receive(&self, flags: libc::c_int) -> io::Result<Option<Datagram>> {
        let mut bytes = vec![0u8; 32 * 1024];
        loop {
            // SAFETY: pointer and length describe `bytes`, which outlives the call.
            let got = unsafe {
                libc::recv(self.fd.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), flags)
            };
            if got >= 0 {
                bytes.truncate(got as usize);
                return Ok(Some(Datagram(bytes)));
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(None),
                _ => return Err(error),
            }
        }
    }
}

fn set_option(
    fd: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: `value` is a c_int that outlives the call, and its size is given.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What one receive brought: a row of messages.
struct Datagram(Vec<u8>);

struct Header<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Datagram {
    fn iter(&self) -> impl Iterator<Item = Header<'_>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let length = u32_at(rest, 0)? as usize;
            let body = rest.get(HEADER..length)?;
            let header = Header { kind: u16_at(rest, 4)?, sequence: u32_at(rest, 8)?, body };
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some(header)
        })
    }
}

impl Header<'_> {
    /// The error number of an error message that is not an acknowledgement.
    fn error(&self) -> Option<i32> {
        if self.kind != libc::NLMSG_ERROR as u16 {
            return None;
        }
        match u32_at(self.body, 0)? as i32 {
            0 => None,
            negative => Some(-negative),
        }
    }
}

/// The body of an answer: family header and attributes.
pub struct Answer {
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of an attribute behind a family header of `header` bytes.
    pub fn attribute(&self, header: usize, kind: u16) -> Option<&[u8]> {
        let mut rest = self.body.get(header..)?;
        loop {
            let length = usize::from(u16_at(rest, 0)?);
            let value = rest.get(4..length)?;
            if u16_at(rest, 2)? & 0x3fff == kind {
                return Some(value);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nests_cover_what_is_in_them() {
        let mut message = Message::new(16, 0, &[7; 4])
            .string(3, "lo")
            .nested(18, &[], |m| m.string(1, "veth").nested(2, &[9; 4], |m| m.u32(4, 1500)));
        message.finish(1, 0);
        let bytes = &message.bytes;
        assert_eq!(u32_at(bytes, 0), Some(bytes.len() as u32));
        let answer = Answer { body: bytes[HEADER..].to_vec() };
        assert_eq!(answer.attribute(4, 3), Some(&b"lo\0"[..]));
        let nest = Answer { body: answer.attribute(4, 18).unwrap().to_vec() };
        assert_eq!(nest.attribute(0, 1), Some(&b"veth\0"[..]));
        let inner = Answer { body: nest.attribute(0, 2).unwrap().to_vec() };
        assert_eq!(u32_at(inner.attribute(4, 4).unwrap(), 0), Some(1500));
        assert_eq!(inner.attribute(4, 5), None);
    }

    #[test]
    fn a_cut_datagram_ends_the_row() {
        let mut message = Message::new(16, 0, &[]);
        message.finish(5, 0);
        let mut bytes = message.bytes.clone();
        bytes.extend_from_slice(&message.bytes[..10]);
        assert_eq!(Datagram(bytes).iter().count(), 1);
    }
}

//! As much of the kernel's FUSE protocol (linux/fuse.h, version 7.31) as a file system takes that is one
//! file: its root. Encodings only.

/// Of the one file.
pub const ROOT: u64 = 1;

/// What one request reads or writes at most.
pub const MOST: usize = 256 << 10;

/// Request and reply headers, and the arguments of the longest request that brings data.
pub const IN_HEADER: usize = 40;
pub const OUT_HEADER: usize = 16;
pub const WRITE_ARGUMENTS: usize = 40;

const FLAGS: u32 = ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES;
const ASYNC_READ: u32 = 1 << 0;
const BIG_WRITES: u32 = 1 << 5;
const ASYNC_DIO: u32 = 1 << 15;
const MAX_PAGES: u32 = 1 << 22;

/// How a file is opened: nothing of it is held in the page cache, and writes go on side by side.
const OPEN_FLAGS: u32 = DIRECT_IO | PARALLEL_DIRECT_WRITES;
const DIRECT_IO: u32 = 1 << 0;
const PARALLEL_DIRECT_WRITES: u32 = 1 << 6;

/// Requests of asynchronous I/O in the air at once.
const BACKGROUND: u16 = 64;

/// What the kernel asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Init {
        minor: u32,
    },
    Attributes,
    StatFs,
    Open,
    Release,
    Read {
        offset: u64,
        bytes: usize,
    },
    Write {
        offset: u64,
        bytes: usize,
    },
    Sync,
    Allocate {
        offset: u64,
        bytes: u64,
        mode: u32,
    },
    Seek {
        offset: u64,
        whence: u32,
    },
    /// To be left without a reply.
    Silent,
    /// Nothing that this file system knows.
    Other,
}

fn u32_at(data: &[u8], at: usize) -> u32 {
    data.get(at..at + 4).map_or(0, |bytes| u32::from_ne_bytes(bytes.try_into().expect("four")))
}

fn u64_at(data: &[u8], at: usize) -> u64 {
    data.get(at..at + 8).map_or(0, |bytes| u64::from_ne_bytes(bytes.try_into().expect("eight")))
}

impl Request {
    /// Of a request's header and arguments, with the number that its reply has. `None`: no request.
    pub fn parse(message: &[u8]) -> Option<(u64, Request)> {
        let arguments = message.get(IN_HEADER..)?;
        let (word, long) = (|at| u32_at(arguments, at), |at| u64_at(arguments, at));
        let request = match u32_at(message, 4) {
            2 | 42 => Request::Silent,
            3 => Request::Attributes,
            14 => Request::Open,
            15 => Request::Read { offset: long(8), bytes: word(16) as usize },
            16 => Request::Write { offset: long(8), bytes: word(16) as usize },
            17 => Request::StatFs,
            18 => Request::Release,
            20 => Request::Sync,
            26 => Request::Init { minor: word(4) },
            43 => Request::Allocate { offset: long(8), bytes: long(16), mode: word(24) },
            46 => Request::Seek { offset: long(8), whence: word(16) },
            _ => Request::Other,
        };
        Some((u64_at(message, 8), request))
    }
}

/// The header of a reply with so many bytes behind it. `error`: an errno, or 0.
pub fn header(number: u64, error: i32, bytes: usize) -> [u8; OUT_HEADER] {
    let mut header = [0; OUT_HEADER];
    header[..4].copy_from_slice(&((OUT_HEADER + bytes) as u32).to_ne_bytes());
    header[4..8].copy_from_slice(&(-error).to_ne_bytes());
    header[8..].copy_from_slice(&number.to_ne_bytes());
    header
}

/// Fields one after the other, as the kernel lays them out.
#[derive(Default)]
pub struct Reply(pub Vec<u8>);

impl Reply {
    fn word(mut self, value: u32) -> Reply {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn long(mut self, value: u64) -> Reply {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn short(mut self, value: u16) -> Reply {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn zeros(mut self, bytes: usize) -> Reply {
        self.0.resize(self.0.len() + bytes, 0);
        self
    }

    pub fn init(minor: u32) -> Reply {
        let pages = (MOST / 4096) as u16;
        let limits = Reply::default().word(7).word(minor.min(31)).word(MOST as u32).word(FLAGS);
        let background = limits.short(BACKGROUND).short(BACKGROUND * 3 / 4).word(MOST as u32);
        background.word(1).short(pages).short(0).zeros(32)
    }

    /// Never to be held by the kernel, as the file may grow.
    pub fn attributes(bytes: u64, blocks: u64) -> Reply {
        let times = Reply::default().zeros(16).long(ROOT).long(bytes).long(blocks).zeros(36);
        times.word(libc::S_IFREG | 0o600).word(1).zeros(12).word(4096).zeros(4)
    }

    pub fn open() -> Reply {
        Reply::default().zeros(8).word(OPEN_FLAGS).zeros(4)
    }

    pub fn written(bytes: usize) -> Reply {
        Reply::default().word(bytes as u32).zeros(4)
    }

    pub fn offset(offset: u64) -> Reply {
        Reply::default().long(offset)
    }

    /// What the kernel takes for the size of a hole is the block's.
    pub fn statfs() -> Reply {
        Reply::default().zeros(40).word(4096).word(255).word(4096).zeros(28)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_kernels() {
        assert_eq!(Reply::init(40).0.len(), 64);
        assert_eq!(Reply::attributes(1, 1).0.len(), 104);
        assert_eq!(Reply::open().0.len(), 16);
        assert_eq!(Reply::statfs().0.len(), 80);
        assert_eq!(Reply::written(1).0.len(), 8);
    }

    #[test]
    fn requests_are_read() {
        let mut message = vec![0; IN_HEADER + WRITE_ARGUMENTS];
        message[4] = 16;
        message[8] = 9;
        message[IN_HEADER + 8] = 1;
        message[IN_HEADER + 17] = 2;
        let request = Request::Write { offset: 1, bytes: 512 };
        assert_eq!(Request::parse(&message), Some((9, request)));
        assert_eq!(Request::parse(&message[..20]), None);
        assert_eq!(Request::parse(&[0; 40]), Some((0, Request::Other)));
        assert_eq!(header(9, libc::EIO, 0)[4..8], (-libc::EIO).to_ne_bytes());
    }
}

//! Calls that the seccomp filter hands to the shim (seccomp_unotify(2)), in a helper each: whose it is
//! and what it says is read once, and then it is left to the kernel or answered.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::sys::check;

const NOTIF_RECV: libc::Ioctl = 0xC050_2100;
const NOTIF_SEND: libc::Ioctl = 0xC018_2101;
const NOTIF_ID_VALID: libc::Ioctl = 0x4008_2102;
const CONTINUE: u32 = 1;
const CAP_SYS_ADMIN: u32 = 21;
const PAGE: u64 = 4096;

/// struct seccomp_notif.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Call {
    id: u64,
    pub pid: u32,
    flags: u32,
    pub number: i32,
    arch: u32,
    instruction: u64,
    pub arguments: [u64; 6],
}

/// struct seccomp_notif_resp.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

pub enum Verdict {
    /// The kernel does what it would do without us.
    Continue,
    Answer(io::Result<()>),
}

impl Call {
    /// The next one. `None`: its caller is gone already.
    pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Option<Call>> {
        let mut call = Call::default();
        // SAFETY: a live descriptor and a zeroed seccomp_notif.
        match check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, &raw mut call) }) {
            Ok(_) => Ok(Some(call)),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::EINTR) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// A caller that is gone gets no answer, which is no error.
    pub fn answer(&self, listener: BorrowedFd<'_>, verdict: &Verdict) {
        let (error, flags) = match verdict {
            Verdict::Continue => (0, CONTINUE),
            Verdict::Answer(Ok(())) => (0, 0),
            Verdict::Answer(Err(error)) => (-error.raw_os_error().unwrap_or(libc::EIO), 0),
        };
        let response = Response { id: self.id, value: 0, error, flags };
        // SAFETY: a live descriptor and a seccomp_notif_resp.
        unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, &raw const response) };
    }

    /// Whether the caller still waits: what was opened by its pid is its own then.
    fn waits(&self, listener: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: a live descriptor and the number.
        check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_ID_VALID, &raw const self.id) })?;
        Ok(())
    }
}

/// The caller, opened while it waits.
pub struct Caller {
    proc: PathBuf,
    memory: File,
    status: String,
}

impl Caller {
    pub fn open(call: &Call, listener: BorrowedFd<'_>) -> io::Result<Caller> {
        let proc = PathBuf::from(format!("/proc/{}", call.pid));
        let memory = File::open(proc.join("mem"))?;
        let status = fs::read_to_string(proc.join("status"))?;
        call.waits(listener)?;
        Ok(Caller { proc, memory, status })
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim()))
    }

    /// Whether it may mount: root of the instance, and not of a namespace that some user there made.
    pub fn is_root_of(&self, init: i32) -> io::Result<bool> {
        let effective = self.field("CapEff:").and_then(|caps| u64::from_str_radix(caps, 16).ok());
        let capable = effective.unwrap_or(0) >> CAP_SYS_ADMIN & 1 == 1;
        let own = fs::metadata(self.proc.join("ns/user"))?;
        let of_init = fs::metadata(format!("/proc/{init}/ns/user"))?;
        Ok(capable && (own.dev(), own.ino()) == (of_init.dev(), of_init.ino()))
    }

    /// Of its process, as the host counts.
    pub fn process(&self) -> Option<i32> {
        self.field("Tgid:")?.parse().ok()
    }

    pub fn root(&self) -> io::Result<File> {
        File::open(self.proc.join("root"))
    }

    pub fn directory(&self) -> io::Result<File> {
        File::open(self.proc.join("cwd"))
    }

    /// A path as it means it: `/proc/self` is not the helper.
    pub fn path(&self, address: u64) -> io::Result<PathBuf> {
        let path = PathBuf::from(std::ffi::OsString::from_vec(self.string(address)?));
        for (name, field) in [("/proc/self", "NStgid:"), ("/proc/thread-self", "NSpid:")] {
            if let (Ok(rest), Some(ids)) = (path.strip_prefix(name), self.field(field)) {
                let own = ids.split_whitespace().last().unwrap_or_default();
                return Ok(Path::new("/proc").join(own).join(rest));
            }
        }
        Ok(path)
    }

    pub fn text(&self, address: u64) -> io::Result<String> {
        String::from_utf8(self.string(address)?).map_err(|_| invalid())
    }

    /// Up to its terminating zero. A null pointer is an empty one.
    fn string(&self, address: u64) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        if address == 0 {
            return Ok(found);
        }
        while found.len() as u64 <= PAGE {
            let at = address + found.len() as u64;
            let mut part = vec![0; (PAGE - at % PAGE) as usize];
            self.memory.read_exact_at(&mut part, at).map_err(|_| fault())?;
            if let Some(end) = part.iter().position(|&byte| byte == 0) {
                found.extend(&part[..end]);
                return Ok(found);
            }
            found.extend(part);
        }
        Err(invalid())
    }

    pub fn bytes<const N: usize>(&self, address: u64) -> io::Result<[u8; N]> {
        let mut data = [0; N];
        self.memory.read_exact_at(&mut data, address).map_err(|_| fault())?;
        Ok(data)
    }

    /// A copy of its descriptor.
    pub fn descriptor(&self, number: u64) -> io::Result<OwnedFd> {
        let process = self.process().ok_or_else(invalid)?;
        super::sys::pidfd_getfd(&super::sys::pidfd_open(process)?, number as i32)
    }
}

pub fn invalid() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

fn fault() -> io::Error {
    io::Error::from_raw_os_error(libc::EFAULT)
}

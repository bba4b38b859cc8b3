//! Processes a shim forks for what may take long or may block: entering the instance's namespaces,
//! mounting. The shim itself never waits for one; it hears of its end by a pidfd.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::sys::{self, Forked};

/// After this long it is killed.
const PATIENCE_S: u32 = 60;

pub struct Helper {
    pid: libc::pid_t,
    pub pidfd: OwnedFd,
}

impl Helper {
    /// `act` runs in a process of its own, which dies with this one.
    pub fn start(act: impl FnOnce() -> io::Result<()>) -> io::Result<Helper> {
        match sys::clone_into(0, None)? {
            Forked::Child => {
                let done = sys::die_with_parent().and_then(|()| {
                    sys::alarm(PATIENCE_S);
                    act()
                });
                sys::exit(match done {
                    Ok(()) => 0,
                    Err(error) => error.raw_os_error().unwrap_or(libc::EIO).clamp(1, 255),
                })
            }
            Forked::Parent((pid, pidfd)) => Ok(Helper { pid, pidfd }),
        }
    }

    /// When its pidfd is readable: what became of it.
    pub fn end(self) -> io::Result<()> {
        match sys::wait(self.pid)? {
            0 => Ok(()),
            status if libc::WIFEXITED(status) => {
                Err(io::Error::from_raw_os_error(libc::WEXITSTATUS(status)))
            }
            _ => Err(io::Error::from_raw_os_error(libc::EINTR)),
        }
    }
}

/// The namespaces of a process, to be entered.
pub struct Namespaces {
    user: File,
    mount: File,
    /// Its root directory, which its mount namespace does not tell.
    root: File,
}

impl Namespaces {
    pub fn of(pid: libc::pid_t) -> io::Result<Namespaces> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let root = File::open(proc.join("root"))?;
        Ok(Namespaces {
            user: File::open(proc.join("ns/user"))?,
            mount: File::open(proc.join("ns/mnt"))?,
            root,
        })
    }

    pub fn user(&self) -> &File {
        &self.user
    }

    /// Becomes root of the user namespace, with nothing of the host's power left.
    pub fn enter_user(&self) -> io::Result<()> {
        sys::setns(self.user.as_fd(), libc::CLONE_NEWUSER)?;
        sys::become_root()
    }

    /// Sees what the process sees. For root of its user namespace.
    pub fn enter_mounts(&self) -> io::Result<()> {
        sys::setns(self.mount.as_fd(), libc::CLONE_NEWNS)?;
        sys::fchdir(self.root.as_fd())?;
        std::os::unix::fs::chroot(Path::new("."))?;
        std::env::set_current_dir("/")
    }
}

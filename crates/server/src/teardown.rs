//! Ends everything a cloud started, without its daemon: balancers, instances, networks, cgroups.

use std::path::Path;

use anyhow::{Context, Result};

use crate::balancers;
use crate::paths::Paths;
use crate::slot::Record;

/// A daemon known from its slot record, held so that its pid cannot come to mean another process.
pub struct Daemon {
    pid: libc::pid_t,
    pidfd: libc::c_int,
}

impl Daemon {
    /// `None` when it is gone.
    pub fn find(record: &Record) -> Option<Daemon> {
        let pid = record.pid as libc::pid_t;
        // SAFETY: pidfd_open takes plain integers.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as libc::c_int;
        if pidfd < 0 {
            return None;
        }
        let daemon = Daemon { pid, pidfd };
        daemon.is_drover_up().then_some(daemon)
    }

    /// Whether the process is a `drover up` (or `demo`), and not one that got the pid later.
    fn is_drover_up(&self) -> bool {
        let Ok(line) = std::fs::read(format!("/proc/{}/cmdline", self.pid)) else { return false };
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        program.ends_with(b"drover")
            && words.next().is_some_and(|word| word == b"up" || word == b"demo")
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: the descriptor is ours and open; a null info is allowed.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd,
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
    }

    pub fn lives(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.pidfd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd, no wait.
        unsafe { libc::poll(&mut poll, 1, 0) == 0 }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and closed once.
        unsafe { libc::close(self.pidfd) };
    }
}

/// Leaves no process, mount, namespace, cgroup or link of the cloud behind. Records and disks stay.
pub fn teardown(paths: &Paths) -> Result<()> {
    balancers::teardown(&paths.run()).context("balancers")?;
    compute::namespace::teardown(&paths.compute()).context("instances")?;
    fabric::linux::tear_down(&paths.run()).context("networks")?;
    remove(&paths.run())
}

/// Removes the data directory.
pub fn purge(paths: &Paths) -> Result<()> {
    remove(&paths.data)
}

fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

//! Notices that the kernel killed processes of an instance because its memory was used up, so that the
//! console can say so, as the kernel of a machine would.
//!
//! ```text
//!  version 1   eventfd, registered in cgroup.event_control   memory.oom_control: oom_kill N
//!  version 2   memory.events is ready for POLLPRI            memory.events:      oom_kill N
//! ```
//!
//! Version 1 tells before the kernel has chosen whom to kill, so the number is looked at for a moment
//! more (`pending`).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use super::cgroup::{Controller, Group};
use super::sys;

/// How long after a warning the number is looked at, and how often.
const PENDING_MS: u64 = 2000;
pub const LOOK_MS: u64 = 20;

pub struct Watch {
    fd: OwnedFd,
    events: libc::c_short,
    /// Where the kernel counts.
    file: PathBuf,
    counted: u64,
    until_ms: Option<u64>,
}

impl Watch {
    /// `None`: this host does not limit memory.
    pub fn of(group: &Group) -> io::Result<Option<Watch>> {
        let Some(file) = group.file(Controller::Memory, "memory.oom_control", "memory.events")
        else {
            return Ok(None);
        };
        let counter = File::open(&file)?;
        let (fd, events) = match group.legacy.get(&Controller::Memory) {
            Some(directory) => {
                let fd = sys::eventfd()?;
                let registration = format!("{} {}", fd.as_raw_fd(), counter.as_raw_fd());
                fs::write(directory.join("cgroup.event_control"), registration)?;
                (fd, libc::POLLIN)
            }
            None => (OwnedFd::from(counter), libc::POLLPRI),
        };
        let mut watch = Watch { fd, events, file, counted: 0, until_ms: None };
        watch.counted = watch.number();
        Ok(Some(watch))
    }

    pub fn pollfd(&self) -> libc::pollfd {
        libc::pollfd { events: self.events, ..sys::pollfd(&self.fd) }
    }

    /// The descriptor is ready.
    pub fn warned(&mut self) {
        if self.events == libc::POLLIN {
            let _ = sys::read(self.fd.as_fd(), &mut [0; 8]);
        } else {
            // Reading the file makes it not ready until it changes again; it is read through its own
            // descriptor for that.
            let mut text = [0; 512];
            let _ = sys::read_at_start(self.fd.as_fd(), &mut text);
        }
        self.until_ms = Some(sys::monotonic_ms() + PENDING_MS);
    }

    /// Whether the number is to be looked at again soon.
    pub fn pending(&self) -> bool {
        self.until_ms.is_some()
    }

    /// How many processes were killed since the last look.
    pub fn killed(&mut self) -> u64 {
        let Some(until) = self.until_ms else { return 0 };
        let number = self.number();
        let killed = number.saturating_sub(self.counted);
        self.counted = number;
        if sys::monotonic_ms() >= until {
            self.until_ms = None;
        }
        killed
    }

    fn number(&self) -> u64 {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }
}

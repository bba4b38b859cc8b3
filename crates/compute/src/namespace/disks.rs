//! The disks that a shim has plugged into its instance: loop devices, their nodes in the guest's /dev,
//! and how fast they may be. All of it goes with the shim.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::block::{self, Loop};
use super::helper::Namespaces;
use super::record::Record;
use super::{cgroup, mount};
use crate::Disk;

/// How long the instance that had a disk before may take to let go of it.
const RELEASE: Duration = Duration::from_secs(5);

/// Whoever uses it.
const FORCE: libc::c_int = libc::MNT_FORCE | libc::MNT_DETACH;

/// A disk and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backed {
    pub disk: Disk,
    pub file: PathBuf,
    /// That is the plain view of it.
    #[serde(default)]
    pub view: bool,
}

pub struct Plugged {
    pub disk: Disk,
    pub device: Loop,
    view: Option<PathBuf>,
}

impl Plugged {
    /// At a boot: waits for who had it before.
    pub fn at_boot(backed: &Backed, record: &Record) -> io::Result<Plugged> {
        let until = Instant::now() + RELEASE;
        loop {
            match Plugged::open(backed, record)? {
                Some(plugged) => return Ok(plugged),
                None if Instant::now() > until => {
                    let name = &backed.disk.name;
                    return Err(io::Error::other(format!("{name} is in use elsewhere")));
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// `Ok(None)`: somebody else has it.
    pub fn open(backed: &Backed, record: &Record) -> io::Result<Option<Plugged>> {
        let Some(device) = Loop::open(&backed.file, false)? else { return Ok(None) };
        let view = backed.view.then(|| backed.file.clone());
        let mut plugged = Plugged { disk: backed.disk.clone(), device, view };
        plugged.limit(&backed.disk, record)?;
        Ok(Some(plugged))
    }

    /// Makes it as fast as this says.
    pub fn limit(&mut self, disk: &Disk, record: &Record) -> io::Result<()> {
        let limits = cgroup::DeviceLimits {
            number: (block::MAJOR, self.device.number),
            iops: disk.iops.filter(|_| !record.unlimited_io),
            bytes_per_second: disk.bytes_per_second.filter(|_| !record.unlimited_io),
        };
        record.group.limit_device(limits)?;
        self.disk = disk.clone();
        Ok(())
    }

    /// Shows it to the guest, whose /dev this is.
    pub fn place(&self, dev: BorrowedFd<'_>, record: &Record) -> io::Result<()> {
        let device = &self.disk.device;
        block::make_node(dev, device, self.device.rdev(), record.first_id)?;
        alias(device).map_or(Ok(()), |alias| block::make_alias(dev, device, &alias))
    }

    /// Takes it from the guest's sight. What has it open has it still.
    pub fn remove(&self, dev: BorrowedFd<'_>) -> io::Result<()> {
        let device = &self.disk.device;
        block::remove_node(dev, device, self.device.rdev())?;
        alias(device).map_or(Ok(()), |alias| block::remove_alias(dev, device, &alias))
    }

    /// Takes it from whoever has it.
    pub fn cut(mut self, record: &Record) -> io::Result<()> {
        let unlimited = Disk { iops: None, bytes_per_second: None, ..self.disk.clone() };
        self.limit(&unlimited, record)?;
        self.device.cut()?;
        // Who still has the device open must not keep the view, and so the volume, from others.
        match self.view.map_or(Ok(()), |view| mount::unmount(&view, FORCE)) {
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Err(error),
            _ => Ok(()),
        }
    }
}

/// `/dev/xvdf` for `/dev/sdf`.
fn alias(device: &str) -> Option<String> {
    Some(format!("/dev/xvd{}", device.strip_prefix("/dev/sd")?))
}

/// What a helper does to take a file system from under its users.
pub fn unmount(init: libc::pid_t, number: u32) -> io::Result<()> {
    let inside = Namespaces::of(init)?;
    let table = fs::read_to_string(format!("/proc/{init}/mountinfo"))?;
    inside.enter_user()?;
    inside.enter_mounts()?;
    for point in mounted(&table, number).iter().rev() {
        // Gone by now, or of no use to somebody whose device is.
        let _ = mount::unmount(point, libc::MNT_DETACH);
    }
    Ok(())
}

/// Where a loop device's file system is mounted, by a table as of proc_pid_mountinfo(5).
fn mounted(table: &str, number: u32) -> Vec<PathBuf> {
    let device = format!("{}:{number}", block::MAJOR);
    let points = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        (*fields.get(2)? == device).then(|| unescaped(fields.get(4)?))?
    });
    points.collect()
}

/// `\040` is a space.
fn unescaped(field: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'\\' && tail.len() >= 3 {
            let digits = std::str::from_utf8(&tail[..3]).ok()?;
            bytes.push(u8::from_str_radix(digits, 8).ok()?);
            rest = &tail[3..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    Some(std::ffi::OsString::from_vec(bytes).into())
}

/// Whether a device may have this path.
pub fn is_device(path: &str) -> bool {
    let Some(name) = path.strip_prefix("/dev/") else { return false };
    ["sd", "xvd", "vd", "hd", "nvme"].iter().any(|kind| name.starts_with(kind))
        && name.len() <= 32
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn device_names() {
        for good in ["/dev/sdf", "/dev/xvdf", "/dev/nvme1n1", "/dev/sda1"] {
            assert!(is_device(good), "{good}");
        }
        for bad in ["/dev/null", "/dev/sd/x", "/dev/../sdf", "sdf", "/dev/sd.", "/dev/loop1", ""] {
            assert!(!is_device(bad), "{bad}");
        }
        assert_eq!(alias("/dev/sdf").as_deref(), Some("/dev/xvdf"));
        assert_eq!(alias("/dev/xvdf"), None);
    }

    #[test]
    fn finds_mounts_of_a_device() {
        let table = "21 1 0:5 / /dev rw - tmpfs tmpfs rw\n\
            30 21 7:12 / /data rw - ext4 /dev/sdf rw\n\
            31 30 7:12 /x /a\\040b rw - ext4 /dev/sdf rw\n\
            32 21 7:1 / /other rw - ext4 /dev/sdg rw\n";
        assert_eq!(mounted(table, 12), [Path::new("/data"), Path::new("/a b")]);
    }
}

//! Block devices and shared extents: the system calls of loop devices and of copy-on-write files.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::sys::{self, check};

const LOOP_CLR_FD: libc::Ioctl = 0x4C01;
const LOOP_SET_STATUS64: libc::Ioctl = 0x4C04;
const LOOP_SET_CAPACITY: libc::Ioctl = 0x4C07;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
const FICLONE: libc::Ioctl = 0x4004_9409;

/// As in linux/loop.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct Configuration {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

impl Info {
    fn new(flags: u32) -> Info {
        Info {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            sizelimit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

/// A file as a block device. The device goes when this is dropped and nobody else has it open, be it
/// by the death of this process. The file's lock is held as long as the device is there, also when
/// others keep it: no file is two devices.
pub struct Loop {
    pub number: u32,
    device: File,
    backing: File,
}

impl Loop {
    /// `Ok(None)`: the file is a device already, or somebody else holds its lock.
    pub fn open(path: &Path, read_only: bool) -> io::Result<Option<Loop>> {
        let backing = File::options().read(true).write(!read_only).open(path)?;
        if !sys::try_lock(backing.as_fd())? {
            return Ok(None);
        }
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        loop {
            // SAFETY: no argument; the result is a number.
            let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
            let number = number as u32;
            let device = open_node(number)?;
            match configure(&device, &backing, read_only) {
                Ok(()) => return Ok(Some(Loop { number, device, backing })),
                // Somebody else was quicker to take this one.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn path(&self) -> PathBuf {
        node(self.number)
    }

    /// As makedev(3) makes it.
    pub fn rdev(&self) -> u64 {
        libc::makedev(MAJOR, self.number)
    }

    /// The file has grown.
    pub fn grown(&self) -> io::Result<()> {
        // Of a view, the kernel knows the size only when it was asked for.
        self.backing.metadata()?;
        // SAFETY: a live descriptor, no argument.
        check(unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_SET_CAPACITY, 0) })?;
        Ok(())
    }

    /// For nobody else to mount as long as the result lives. `Ok(None)`: somebody has it mounted.
    pub fn claim(&self) -> io::Result<Option<File>> {
        match OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(self.path()) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Pulls the plug: who still has it open gets errors, and the file is free for others.
    pub fn cut(self) -> io::Result<()> {
        // Of a view that is dead, nobody can tell.
        let end = self.backing.metadata().map_or(1 << 60, |data| data.len());
        let info = Info { offset: end, ..Info::new(LO_FLAGS_AUTOCLEAR) };
        let device = self.device.as_raw_fd();
        // SAFETY: a live descriptor and a loop_info64; then no argument; then a plain flag.
        unsafe {
            check(libc::ioctl(device, LOOP_SET_STATUS64, &raw const info))?;
            libc::ioctl(device, LOOP_CLR_FD, 0);
            check(libc::flock(self.backing.as_raw_fd(), libc::LOCK_UN))?;
        }
        Ok(())
    }
}

/// Of loop devices.
pub const MAJOR: u32 = 7;

fn node(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

fn open_node(number: u32) -> io::Result<File> {
    let file = File::options().read(true).write(true).open(node(number))?;
    let data = file.metadata()?;
    if data.file_type().is_block_device() && data.rdev() == libc::makedev(MAJOR, number) {
        return Ok(file);
    }
    Err(io::Error::other(format!("{} is no loop device", node(number).display())))
}

fn configure(device: &File, backing: &File, read_only: bool) -> io::Result<()> {
    let flags = LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    // Direct: what is written is not held in memory twice. Not every file system can.
    let attempt = |flags| {
        let configuration = Configuration {
            fd: backing.as_raw_fd() as u32,
            block_size: 512,
            info: Info::new(flags),
            reserved: [0; 8],
        };
        // SAFETY: a live descriptor and a loop_config that outlives the call.
        check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const configuration) })
    };
    match attempt(flags | LO_FLAGS_DIRECT_IO) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => attempt(flags)?,
        other => other?,
    };
    Ok(())
}

/// Makes `target`, which is empty, share all of `source`. `Ok(false)`: this file system cannot.
pub fn share(source: &File, target: &File) -> io::Result<bool> {
    // SAFETY: two live descriptors.
    match check(unsafe { libc::ioctl(target.as_raw_fd(), FICLONE, source.as_raw_fd()) }) {
        Ok(_) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::EXDEV | libc::EINVAL) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Copies what is no hole.
pub fn copy_sparsely(source: &File, target: &File) -> io::Result<()> {
    for (begin, end) in extents(source)? {
        let (mut from, mut to) = (begin as i64, begin as i64);
        while (from as u64) < end {
            let length = (end - from as u64) as usize;
            // SAFETY: live descriptors and valid places for the offsets.
            let copied = unsafe {
                libc::copy_file_range(
                    source.as_raw_fd(),
                    &raw mut from,
                    target.as_raw_fd(),
                    &raw mut to,
                    length,
                    0,
                )
            };
            match copied {
                0 => break,
                n if n < 0 => return Err(io::Error::last_os_error()),
                _ => {}
            }
        }
    }
    target.set_len(source.metadata()?.len())
}

/// Where a file holds data: begin and end of each stretch, in order.
pub fn extents(file: &File) -> io::Result<Vec<(u64, u64)>> {
    let seek = |offset: u64, whence| {
        // SAFETY: a live descriptor.
        let at = unsafe { libc::lseek(file.as_raw_fd(), offset as i64, whence) };
        match at {
            n if n >= 0 => Ok(Some(n as u64)),
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
                error => Err(error),
            },
        }
    };
    let mut found = Vec::new();
    let mut offset = 0;
    while let Some(begin) = seek(offset, libc::SEEK_DATA)? {
        let end = seek(begin, libc::SEEK_HOLE)?.unwrap_or(begin);
        if end <= begin {
            break;
        }
        found.push((begin, end));
        offset = end;
    }
    Ok(found)
}

/// Of a file system, in bytes.
#[derive(Clone, Copy)]
pub struct Space {
    /// What an ordinary user may still write there.
    pub available: u64,
    pub total: u64,
}

impl Space {
    pub fn of(directory: &Path) -> io::Result<Space> {
        let path = sys::c_path(directory)?;
        // SAFETY: statvfs is plain data, filled by the call.
        unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            check(libc::statvfs(path.as_ptr(), &raw mut stat))?;
            let (available, total) = (stat.f_bavail, stat.f_blocks);
            Ok(Space { available: available * stat.f_frsize, total: total * stat.f_frsize })
        }
    }
}

pub fn is_xfs(directory: &Path) -> io::Result<bool> {
    let path = sys::c_path(directory)?;
    // SAFETY: statfs is plain data, filled by the call.
    unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        check(libc::statfs(path.as_ptr(), &raw mut stat))?;
        Ok(stat.f_type == libc::XFS_SUPER_MAGIC)
    }
}

/// Makes renames in a directory last.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A device node in this directory, for a user of an instance.
pub fn make_node(directory: BorrowedFd<'_>, path: &str, rdev: u64, owner: u32) -> io::Result<()> {
    let name = node_name(path)?;
    let directory = directory.as_raw_fd();
    // SAFETY: a live descriptor, a terminated string and plain integers; nothing is followed.
    unsafe {
        check(libc::mknodat(directory, name.as_ptr(), libc::S_IFBLK | 0o600, rdev))?;
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        check(libc::fchownat(directory, name.as_ptr(), owner, owner, flags))?;
        check(libc::fchmodat(directory, name.as_ptr(), 0o660, 0))?;
    }
    Ok(())
}

/// Takes it away, if it is there still and that device's.
pub fn remove_node(directory: BorrowedFd<'_>, path: &str, rdev: u64) -> io::Result<()> {
    let name = node_name(path)?;
    let directory = directory.as_raw_fd();
    // SAFETY: a live descriptor, a terminated string, and a place for the result.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        let found = libc::fstatat(directory, name.as_ptr(), &raw mut stat, flags);
        if found == 0 && stat.st_rdev == rdev {
            check(libc::unlinkat(directory, name.as_ptr(), 0))?;
        }
    }
    Ok(())
}

/// A link beside a node, unless that name is taken.
pub fn make_alias(directory: BorrowedFd<'_>, path: &str, alias: &str) -> io::Result<()> {
    let (to, name) = (node_name(path)?, node_name(alias)?);
    // SAFETY: a live descriptor and terminated strings.
    unsafe { libc::symlinkat(to.as_ptr(), directory.as_raw_fd(), name.as_ptr()) };
    Ok(())
}

pub fn remove_alias(directory: BorrowedFd<'_>, path: &str, alias: &str) -> io::Result<()> {
    let (to, name) = (node_name(path)?, node_name(alias)?);
    let mut target = [0u8; 64];
    let directory = directory.as_raw_fd();
    // SAFETY: a live descriptor, terminated strings and a valid buffer.
    unsafe {
        let buffer = target.as_mut_ptr().cast();
        let n = libc::readlinkat(directory, name.as_ptr(), buffer, target.len());
        if n >= 0 && target[..n as usize] == *to.as_bytes() {
            check(libc::unlinkat(directory, name.as_ptr(), 0))?;
        }
    }
    Ok(())
}

fn node_name(path: &str) -> io::Result<CString> {
    Ok(CString::new(path.strip_prefix("/dev/").unwrap_or(path))?)
}

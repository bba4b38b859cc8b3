//! mount(2) of a disk by a guest: the kernel lets no user namespace mount a file system that wants a
//! block device, so a helper of the shim does it from outside, for disks of this instance and for its
//! root only. Growing what is mounted is the same.
//!
//! ```text
//!  helper: a mount namespace of its own, /dev/sdf in it
//!          fsopen, fsconfig, fsmount with nodev, id map of the instance
//!          becomes root of the instance's user namespace: all power over the host is gone
//!          a mount namespace of that: what was mounted is locked there, nodev stays for good
//!          clone of the mount; enters the caller's mount namespace and root; move_mount
//! ```

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::block;
use super::confine::{BLKBSZSET, BLKFLSBUF, EXT4_IOC_RESIZE_FS, XFS_IOC_FSGROWFSDATA};
use super::helper::Namespaces;
use super::mount;
use super::notify::{Call, Caller, Verdict, invalid};
use super::sys::{self, check};

/// What a helper must know of the instance.
pub struct Instance<'a> {
    pub init: i32,
    /// Device numbers and paths of its disks.
    pub disks: &'a [(u64, String)],
}

/// What a helper does with a call.
pub fn serve(call: &Call, listener: BorrowedFd<'_>, instance: &Instance<'_>) -> io::Result<()> {
    let verdict = judge(call, listener, instance);
    call.answer(listener, &verdict.unwrap_or_else(|error| Verdict::Answer(Err(error))));
    Ok(())
}

fn judge(call: &Call, listener: BorrowedFd<'_>, instance: &Instance<'_>) -> io::Result<Verdict> {
    if instance.disks.is_empty() {
        return Ok(Verdict::Continue);
    }
    let caller = Caller::open(call, listener)?;
    if !caller.is_root_of(instance.init)? {
        return Ok(Verdict::Continue);
    }
    match libc::c_long::from(call.number) {
        libc::SYS_mount => {
            let [source, target, kind, flags, data, _] = call.arguments;
            let flags = plain_flags(flags);
            if flags & libc::MS_REMOUNT != 0 {
                return remount(call, &caller, instance, target, flags);
            }
            let kind = caller.text(kind)?;
            let Some(options) = Options::of(&kind) else { return Ok(Verdict::Continue) };
            let source = caller.path(source)?;
            let Some(device) = disk_at(&caller, &source, instance)? else {
                return Ok(Verdict::Continue);
            };
            let settings = options.parse(&caller.text(data)?, flags)?;
            let request = Request { kind, device, flags, settings, target: caller.path(target)? };
            Ok(Verdict::Answer(request.mount(call, &caller)))
        }
        libc::SYS_ioctl => control(call, &caller, instance),
        _ => Ok(Verdict::Continue),
    }
}

/// Without the magic number that old programs put in.
fn plain_flags(flags: u64) -> libc::c_ulong {
    if flags & 0xffff_0000 == 0xC0ED_0000 { flags & 0xffff } else { flags }
}

/// The disk whose node is there, as the caller sees it.
fn disk_at(
    caller: &Caller,
    path: &Path,
    instance: &Instance<'_>,
) -> io::Result<Option<(u64, String)>> {
    let base = if path.is_absolute() { caller.root()? } else { caller.directory()? };
    let Ok(node) = sys::open_beneath(base.as_fd(), path) else { return Ok(None) };
    let data = File::from(node).metadata()?;
    if !data.file_type().is_block_device() {
        return Ok(None);
    }
    Ok(instance.disks.iter().find(|(rdev, _)| *rdev == data.rdev()).cloned())
}

struct Request {
    kind: String,
    /// Number and path.
    device: (u64, String),
    flags: libc::c_ulong,
    settings: Vec<(String, Option<String>)>,
    target: PathBuf,
}

impl Request {
    fn mount(&self, call: &Call, caller: &Caller) -> io::Result<()> {
        let inside = Namespaces::of(call.pid as i32)?;
        let directory = caller.directory()?;

        // A place of its own, where the device has the name that the guest knows.
        sys::unshare(libc::CLONE_NEWNS)?;
        mount::change(Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)?;
        let stage = Path::new("/dev");
        mount::mount("tmpfs", stage, libc::MS_NOSUID | libc::MS_NOEXEC, "mode=755")?;
        let place = stage.join("mounted");
        fs::create_dir(&place)?;
        let stage_fd = File::open(stage)?;
        block::make_node(stage_fd.as_fd(), &self.device.1, self.device.0, 0)?;
        let tree = self.create()?;
        mount::map_ids(tree.as_fd(), inside.user().as_fd(), false)?;
        mount::attach(tree.as_fd(), &place)?;
        drop(tree);

        inside.enter_user()?;
        sys::unshare(libc::CLONE_NEWNS)?;
        let tree = mount::clone_tree(&place)?;
        inside.enter_mounts()?;
        sys::fchdir(directory.as_fd())?;
        mount::attach(tree.as_fd(), &self.target)
    }

    /// The mount, attached nowhere.
    fn create(&self) -> io::Result<OwnedFd> {
        let source = ("source", Some(self.device.1.as_str()));
        let settings = self.settings.iter().map(|(key, value)| (key.as_str(), value.as_deref()));
        let settings: Vec<_> = std::iter::once(source).chain(settings).collect();
        mount::create(&self.kind, &settings, attributes(self.flags))
    }
}

/// MOUNT_ATTR_* for MS_*. No device node of a guest's making is ever one.
fn attributes(flags: libc::c_ulong) -> libc::c_uint {
    const NODEV: libc::c_uint = 0x4;
    [
        (libc::MS_RDONLY, 0x1),
        (libc::MS_NOSUID, 0x2),
        (libc::MS_NOEXEC, 0x8),
        (libc::MS_NOATIME, 0x10),
        (libc::MS_STRICTATIME, 0x20),
        (libc::MS_NODIRATIME, 0x80),
    ]
    .into_iter()
    .filter(|(flag, _)| flags & flag != 0)
    .fold(NODEV, |all, (_, attribute)| all | attribute)
}

/// The options a file system may be given, by name; others are refused, as some reach beyond the
/// device (other devices, a panic of the host).
struct Options {
    flags: &'static [&'static str],
    values: &'static [&'static str],
    /// Given always.
    always: &'static [(&'static str, Option<&'static str>)],
}

const EXT: Options = Options {
    flags: &[
        "acl",
        "noacl",
        "user_xattr",
        "nouser_xattr",
        "barrier",
        "nobarrier",
        "discard",
        "nodiscard",
        "delalloc",
        "nodelalloc",
        "norecovery",
        "noload",
        "journal_checksum",
        "nojournal_checksum",
        "dioread_lock",
        "dioread_nolock",
        "auto_da_alloc",
        "noauto_da_alloc",
        "init_itable",
        "noinit_itable",
        "grpid",
        "nogrpid",
        "bsdgroups",
        "sysvgroups",
        "minixdf",
        "bsddf",
        "block_validity",
        "noblock_validity",
    ],
    values: &[
        "data",
        "commit",
        "stripe",
        "inode_readahead_blks",
        "max_batch_time",
        "min_batch_time",
        "barrier",
        "auto_da_alloc",
        "init_itable",
    ],
    // Whatever the file system itself says, which may be to panic.
    always: &[("errors", Some("remount-ro"))],
};

const XFS: Options = Options {
    flags: &[
        "attr2",
        "noattr2",
        "discard",
        "nodiscard",
        "inode32",
        "inode64",
        "largeio",
        "nolargeio",
        "noalign",
        "norecovery",
        "swalloc",
        "wsync",
        "noquota",
        "ikeep",
        "noikeep",
    ],
    values: &["allocsize", "logbufs", "logbsize", "sunit", "swidth"],
    // A copy of a volume has its id, and other instances may have the original mounted.
    always: &[("nouuid", None)],
};

const FAT: Options = Options {
    flags: &["quiet", "flush", "discard", "utf8", "showexec", "sys_immutable", "rodir"],
    values: &[
        "uid",
        "gid",
        "umask",
        "dmask",
        "fmask",
        "codepage",
        "iocharset",
        "shortname",
        "time_offset",
        "tz",
        "utf8",
        "check",
    ],
    always: &[("errors", Some("remount-ro"))],
};

impl Options {
    /// `None`: not one that a disk may be mounted as.
    fn of(kind: &str) -> Option<&'static Options> {
        match kind {
            "ext2" | "ext3" | "ext4" => Some(&EXT),
            "xfs" => Some(&XFS),
            "vfat" | "msdos" => Some(&FAT),
            _ => None,
        }
    }

    fn parse(&self, data: &str, flags: libc::c_ulong) -> io::Result<Vec<(String, Option<String>)>> {
        let mut settings = Vec::new();
        for option in data.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (option, None),
            };
            match (key, value) {
                // What is always given is no option.
                ("errors", Some("remount-ro" | "continue")) | ("nouuid", None) => continue,
                (key, None) if self.flags.contains(&key) => {}
                (key, Some(_)) if self.values.contains(&key) => {}
                _ => return Err(invalid()),
            }
            settings.push((key.to_owned(), value.map(str::to_owned)));
        }
        for (flag, name) in [
            (libc::MS_RDONLY, "ro"),
            (libc::MS_SYNCHRONOUS, "sync"),
            (libc::MS_DIRSYNC, "dirsync"),
            (libc::MS_LAZYTIME, "lazytime"),
        ] {
            if flags & flag != 0 {
                settings.push((name.to_owned(), None));
            }
        }
        let always = self.always.iter();
        settings.extend(always.map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))));
        Ok(settings)
    }
}

/// Of a mounted disk: its flags change, as far as they are the mount's own.
fn remount(
    call: &Call,
    caller: &Caller,
    instance: &Instance<'_>,
    target: u64,
    flags: libc::c_ulong,
) -> io::Result<Verdict> {
    let target = caller.path(target)?;
    let base = if target.is_absolute() { caller.root()? } else { caller.directory()? };
    let Ok(place) = sys::open_beneath(base.as_fd(), &target) else {
        return Ok(Verdict::Continue);
    };
    if !is_on_disk(&File::from(place), instance)? {
        return Ok(Verdict::Continue);
    }
    let (inside, directory) = (Namespaces::of(call.pid as i32)?, caller.directory()?);
    inside.enter_user()?;
    inside.enter_mounts()?;
    sys::fchdir(directory.as_fd())?;
    let own = libc::MS_RDONLY
        | libc::MS_NOSUID
        | libc::MS_NOEXEC
        | libc::MS_NOATIME
        | libc::MS_NODIRATIME
        | libc::MS_RELATIME
        | libc::MS_STRICTATIME;
    let flags = flags & own | libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NODEV;
    Ok(Verdict::Answer(mount::change(&target, flags)))
}

fn is_on_disk(file: &File, instance: &Instance<'_>) -> io::Result<bool> {
    let device = file.metadata()?.dev();
    Ok(instance.disks.iter().any(|(rdev, _)| *rdev == device))
}

fn is_disk(file: &File, instance: &Instance<'_>) -> io::Result<bool> {
    let data = file.metadata()?;
    let device = data.file_type().is_block_device().then(|| data.rdev());
    Ok(instance.disks.iter().any(|(rdev, _)| Some(*rdev) == device))
}

/// The ioctls by which a mounted file system takes up all of a disk that has grown, and those that
/// mkfs and fsck need of a disk.
fn control(call: &Call, caller: &Caller, instance: &Instance<'_>) -> io::Result<Verdict> {
    let [number, command, data, ..] = call.arguments;
    let file = File::from(caller.descriptor(number)?);
    let command = command as libc::Ioctl;
    let of_disk = matches!(command, BLKBSZSET | BLKFLSBUF);
    if of_disk && !is_disk(&file, instance)? || !of_disk && !is_on_disk(&file, instance)? {
        return Ok(Verdict::Continue);
    }
    let fd = file.as_raw_fd();
    let result = match command {
        // SAFETY: a live descriptor, no argument.
        BLKFLSBUF => check(unsafe { libc::ioctl(fd, BLKFLSBUF, 0) }),
        BLKBSZSET => {
            let size: [u8; 4] = caller.bytes(data)?;
            // SAFETY: a live descriptor and an int of any alignment.
            check(unsafe { libc::ioctl(fd, BLKBSZSET, size.as_ptr()) })
        }
        EXT4_IOC_RESIZE_FS => {
            let blocks: [u8; 8] = caller.bytes(data)?;
            // SAFETY: a live descriptor and a u64 of any alignment.
            check(unsafe { libc::ioctl(fd, EXT4_IOC_RESIZE_FS, blocks.as_ptr()) })
        }
        XFS_IOC_FSGROWFSDATA => {
            let size: [u8; 16] = caller.bytes(data)?;
            // SAFETY: a live descriptor and a struct xfs_growfs_data of any alignment.
            check(unsafe { libc::ioctl(fd, XFS_IOC_FSGROWFSDATA, size.as_ptr()) })
        }
        _ => return Ok(Verdict::Continue),
    };
    Ok(Verdict::Answer(result.map(drop)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_reach_beyond_the_device_are_refused() {
        let ext = Options::of("ext4").unwrap();
        let settings = ext.parse("discard,data=ordered,errors=continue", libc::MS_RDONLY).unwrap();
        let names: Vec<_> = settings.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(names, ["discard", "data", "ro", "errors"]);
        for bad in ["errors=panic", "journal_dev=0x700", "journal_path=/x", "usrjquota=x", "x"] {
            assert!(ext.parse(bad, 0).is_err(), "{bad}");
        }
        let xfs = Options::of("xfs").unwrap();
        for bad in ["logdev=/dev/loop0", "rtdev=/dev/loop0", "errors=panic", "source=/dev/vda"] {
            assert!(xfs.parse(bad, 0).is_err(), "{bad}");
        }
        assert!(Options::of("btrfs").is_none() && Options::of("tmpfs").is_none());
    }

    #[test]
    fn no_mount_has_devices() {
        assert_eq!(attributes(0), 0x4);
        assert_eq!(attributes(libc::MS_RDONLY | libc::MS_NOATIME), 0x15);
        assert_eq!(plain_flags(0xC0ED_0001), libc::MS_RDONLY);
        assert_eq!(plain_flags(libc::MS_BIND), libc::MS_BIND);
    }
}

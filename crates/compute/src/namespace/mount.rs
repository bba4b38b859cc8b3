//! Mounts by descriptor: clones of trees, shifted to an instance's ids, and the classic calls.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use super::sys::{c_path, check};

#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// A detached clone of the mount at `path`, without what is mounted below it.
pub fn clone_tree(path: &Path) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    let path = c_path(path)?;
    // SAFETY: a terminated string; the result is a new descriptor.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            path.as_ptr(),
            OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint,
        );
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

fn set_attributes(tree: BorrowedFd<'_>, attributes: &MountAttr) -> io::Result<()> {
    // SAFETY: a live descriptor, an empty path, and a mount_attr of the given size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const *attributes,
            size_of::<MountAttr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Shifts a detached tree's owners by the id map of a user namespace. Not every file system can.
pub fn map_ids(
    tree: BorrowedFd<'_>,
    user_namespace: BorrowedFd<'_>,
    read_only: bool,
) -> io::Result<()> {
    let read_only = if read_only { MOUNT_ATTR_RDONLY } else { 0 };
    set_attributes(
        tree,
        &MountAttr {
            attr_set: MOUNT_ATTR_IDMAP | read_only,
            userns_fd: user_namespace.as_raw_fd() as u64,
            ..MountAttr::default()
        },
    )
}

/// What to do instead with a tree that cannot be shifted: its files belong to nobody inside.
pub fn read_only(tree: BorrowedFd<'_>) -> io::Result<()> {
    let attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
    set_attributes(tree, &MountAttr { attr_set, ..MountAttr::default() })
}

/// Puts a detached tree at `target`.
pub fn attach(tree: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
    let target = c_path(target)?;
    // SAFETY: a live descriptor and terminated strings.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// mount(2) of a file system of `kind` at `target`.
pub fn mount(kind: &str, target: &Path, flags: libc::c_ulong, options: &str) -> io::Result<()> {
    let target = c_path(target)?;
    let kind = CString::new(kind)?;
    let options = CString::new(options)?;
    // SAFETY: terminated strings.
    check(unsafe {
        libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
    })?;
    Ok(())
}

/// A bind mount, without what is mounted below the source.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    // SAFETY: terminated strings; binds take neither type nor data.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            std::ptr::null(),
            libc::MS_BIND,
            std::ptr::null(),
        )
    })?;
    Ok(())
}

/// Changes flags or propagation of the mount at `target`.
pub fn change(target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: a terminated string; the other arguments are unused for these flags.
    check(unsafe {
        libc::mount(std::ptr::null(), target.as_ptr(), std::ptr::null(), flags, std::ptr::null())
    })?;
    Ok(())
}

/// Makes `root` the root of this mount namespace and lets go of the old one.
pub fn pivot(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    // SAFETY: terminated strings. pivot_root(".", ".") stacks the old root on top, see pivot_root(2).
    unsafe {
        if libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        check(libc::umount2(c".".as_ptr(), libc::MNT_DETACH))?;
    }
    std::env::set_current_dir("/")
}

/// mount(2) of the file system on a block device.
pub fn mount_device(
    kind: &str,
    device: &Path,
    target: &Path,
    flags: libc::c_ulong,
) -> io::Result<()> {
    let (device, target, kind) = (c_path(device)?, c_path(target)?, CString::new(kind)?);
    // SAFETY: terminated strings, and no data.
    check(unsafe {
        libc::mount(device.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null())
    })?;
    Ok(())
}

pub fn unmount(target: &Path, flags: libc::c_int) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: a terminated string.
    check(unsafe { libc::umount2(target.as_ptr(), flags) })?;
    Ok(())
}

/// A file system of this kind, mounted nowhere yet. `attributes`: MOUNT_ATTR_*.
pub fn create(
    kind: &str,
    settings: &[(&str, Option<&str>)],
    attributes: libc::c_uint,
) -> io::Result<OwnedFd> {
    const CLOEXEC: libc::c_uint = 1;
    const SET_FLAG: libc::c_uint = 0;
    const SET_STRING: libc::c_uint = 1;
    const CREATE: libc::c_uint = 6;
    let none = std::ptr::null::<libc::c_char>();
    let kind = CString::new(kind)?;
    // SAFETY: terminated strings, or null where the command takes none; each result is checked before
    // it becomes an owned descriptor.
    unsafe {
        let context = descriptor(libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOEXEC))?;
        let configure =
            |command: libc::c_uint, key: *const libc::c_char, value: *const libc::c_char| {
                let fd = context.as_raw_fd();
                match libc::syscall(libc::SYS_fsconfig, fd, command, key, value, 0) {
                    result if result < 0 => Err(io::Error::last_os_error()),
                    _ => Ok(()),
                }
            };
        for (key, value) in settings {
            let (key, value) = (CString::new(*key)?, value.map(CString::new).transpose()?);
            match value {
                Some(value) => configure(SET_STRING, key.as_ptr(), value.as_ptr())?,
                None => configure(SET_FLAG, key.as_ptr(), none)?,
            }
        }
        configure(CREATE, none, none)?;
        let fd = context.as_raw_fd();
        descriptor(libc::syscall(libc::SYS_fsmount, fd, CLOEXEC, attributes))
    }
}

/// # Safety
///
/// `result` is a system call's: negative, or a descriptor that nothing else owns.
unsafe fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as the caller says.
    Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

/// An instance's /dev: nodes that are made in there by the host are devices, and nobody else can make
/// any.
pub fn devices(owner: u32) -> io::Result<OwnedFd> {
    let owner = owner.to_string();
    let owned = [("uid", Some(owner.as_str())), ("gid", Some(owner.as_str()))];
    let settings = [("mode", Some("755")), ("size", Some("4m")), owned[0], owned[1]];
    create("tmpfs", &settings, MOUNT_ATTR_NOSUID as libc::c_uint)
}

//! Files as a process with another root would find them: links lead where they lead there, never out.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use super::sys::check_long;

/// Where `path` leads when `root` is taken for `/`, links and all; `None` when nowhere.
pub fn resolve_within(root: BorrowedFd<'_>, path: &str) -> Option<std::path::PathBuf> {
    const RESOLVE_IN_ROOT: u64 = 0x10;
    let how = [(libc::O_PATH | libc::O_CLOEXEC) as u64, 0, RESOLVE_IN_ROOT];
    let path = CString::new(path).ok()?;
    let named =
        |fd: BorrowedFd<'_>| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    // SAFETY: a live descriptor, a terminated string, and an open_how (three u64) of the given size;
    // the result is a new descriptor.
    let found = unsafe {
        let fd = libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            how.as_ptr(),
            size_of_val(&how),
        );
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as RawFd))?
    };
    let (top, found) = (named(root).ok()?, named(found.as_fd()).ok()?);
    Some(Path::new("/").join(found.strip_prefix(top).ok()?))
}

/// Reads a small regular file as a process with this root would find it, wherever its links lead there.
pub fn read_within(root: BorrowedFd<'_>, path: &str) -> io::Result<String> {
    const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
    const RESOLVE_IN_ROOT: u64 = 0x10;
    const MOST: u64 = 64 * 1024;
    let flags = (libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC) as u64;
    let how = [flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS];
    let path = CString::new(path)?;
    // SAFETY: as in `resolve_within`.
    let file = unsafe {
        let fd = check_long(libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            how.as_ptr(),
            size_of_val(&how),
        ))?;
        std::fs::File::from_raw_fd(fd as RawFd)
    };
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, MOST), &mut text)?;
    Ok(text)
}

//! Network namespaces as files: made by a thread that enters a new one, pinned by a bind mount so that
//! they outlive this process, removed by taking the mount away.
//!
//! Invariant: the directory of pins is a private mount of its own, so that no pin shows up in other
//! mount namespaces of the host.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How a network's router behaves, for devices to come too.
///
/// `ip_forward` stands first because setting it resets other switches. `all` is set besides `default`
/// because a new namespace may take the host's values, of which the laxer one would win.
const SWITCHES: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    // The stricter of the two holds: each device's own.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "1"),
    ("ipv4/conf/default/proxy_arp", "1"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/accept_source_route", "0"),
    ("ipv4/conf/default/accept_source_route", "0"),
    ("ipv4/conf/all/route_localnet", "0"),
    // A burst of refused connections must each learn at once that there is no route.
    ("ipv4/icmp_ratelimit", "0"),
    // The kernel tracks a limited number of connections, and keeps those that ended for two minutes.
    ("netfilter/nf_conntrack_tcp_timeout_time_wait", "10"),
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

/// Makes `directory` a private mount, once.
pub fn prepare(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let parent = directory.parent().unwrap_or(Path::new("/"));
    if mount_id(directory)? == mount_id(parent)? {
        mount(Some(directory), directory, libc::MS_BIND)?;
    }
    mount(None, directory, libc::MS_PRIVATE)
}

/// Makes a namespace with the router's switches set, pinned at `pin`. `then` runs inside of it before
/// it can be seen by anyone. A pin that is there already is left as it is.
pub fn create(pin: &Path, then: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    if is_pinned(pin) {
        return Ok(());
    }
    File::create(pin)?;
    on_thread(|| {
        // SAFETY: changes the namespace of this thread only, which ends with this closure.
        check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
        for (switch, value) in SWITCHES {
            match fs::write(Path::new("/proc/sys/net").join(switch), value) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let message = format!("/proc/sys/net/{switch}: {error}");
                    return Err(io::Error::new(error.kind(), message));
                }
                Ok(()) => {}
            }
        }
        then()?;
        mount(Some(Path::new("/proc/thread-self/ns/net")), pin, libc::MS_BIND)
    })
}

/// Takes the pin away; nothing when there is none.
pub fn remove(pin: &Path) -> io::Result<()> {
    unmount_all(pin)?;
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes every pin and the directory itself away; nothing when it is not there.
pub fn remove_all(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        remove(&entry?.path())?;
    }
    unmount_all(directory)?;
    fs::remove_dir(directory)
}

/// Whether a namespace is mounted there.
pub fn is_pinned(pin: &Path) -> bool {
    let Ok(path) = path_string(pin) else { return false };
    // SAFETY: all-zero is a valid statfs.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a terminated string and `stat` a statfs; both outlive the call.
    let done = unsafe { libc::statfs(path.as_ptr(), &raw mut stat) };
    done == 0 && stat.f_type == libc::NSFS_MAGIC
}

/// What tells one namespace from another.
pub fn identity(pin: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(pin)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Runs `act` on a thread of its own inside of the network namespace, so that no other thread is ever
/// in a wrong one.
pub fn inside<T: Send>(
    netns: BorrowedFd<'_>,
    act: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    on_thread(|| {
        enter(netns)?;
        act()
    })
}

/// Moves the calling thread, and no other, into the network namespace.
pub fn enter(netns: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: changes the namespace of this thread only.
    check(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) })
}

/// A TCP socket in the calling thread's namespace, not blocking.
pub fn tcp_socket() -> io::Result<OwnedFd> {
    socket(libc::SOCK_STREAM)
}

/// A UDP socket in the calling thread's namespace, not blocking.
pub fn udp_socket() -> io::Result<OwnedFd> {
    socket(libc::SOCK_DGRAM)
}

fn socket(kind: libc::c_int) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a plain system call; the result is checked before it is owned.
    let fd = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    check(fd)?;
    // SAFETY: `fd` is a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Holds an exclusive lock on the file while it lives.
pub struct Lock {
    _file: File,
}

/// Waits for the lock, among all processes.
pub fn lock(path: &Path) -> io::Result<Lock> {
    let file = File::options().create(true).write(true).truncate(false).open(path)?;
    file.lock()?;
    Ok(Lock { _file: file })
}

fn on_thread<T: Send>(act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, act)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn mount(source: Option<&Path>, target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let source = source.map(path_string).transpose()?;
    let source = source.as_ref().map_or(std::ptr::null(), |s| s.as_ptr());
    let target = path_string(target)?;
    let none = std::ptr::null();
    // SAFETY: the strings are terminated and outlive the call; null is allowed where there is none.
    check(unsafe { libc::mount(source, target.as_ptr(), none, flags, none.cast()) })
}

/// Takes away everything that is mounted on the path.
fn unmount_all(path: &Path) -> io::Result<()> {
    let path = path_string(path)?;
    loop {
        let flags = libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW;
        // SAFETY: `path` is a terminated string that outlives the call.
        match check(unsafe { libc::umount2(path.as_ptr(), flags) }) {
            Ok(()) => {}
            // Not a mount point, or not there.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

fn mount_id(path: &Path) -> io::Result<u64> {
    let directory = File::open(path)?;
    let path = format!("/proc/self/fdinfo/{}", directory.as_fd().as_raw_fd());
    let info = fs::read_to_string(path)?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id.and_then(|id| id.trim().parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn path_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

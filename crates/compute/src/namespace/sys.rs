//! The few system calls the driver needs and no safe wrapper offers. No policy.

mod message;
mod terminal;

pub use message::{receive, send, socketpair};
pub use terminal::{controlling_terminal, set_window_size, terminal, terminal_number};

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Turns a `-1` result into the error it stands for.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// What `fork` and `clone3` return.
pub enum Forked<T> {
    Child,
    Parent(T),
}

/// Forks. Only for single-threaded processes: the child goes on with the whole of Rust's library.
pub fn fork() -> io::Result<Forked<libc::pid_t>> {
    // SAFETY: the callers (launcher, escort, shim, init) have one thread, so the child's copy is consistent.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks into new namespaces (and, if given, a version 2 cgroup), with a pidfd. As `fork`, only for
/// single-threaded processes.
pub fn clone_into(
    namespaces: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Forked<(libc::pid_t, OwnedFd)>> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: namespaces as u64 | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args of the given size; without CLONE_VM the child runs on a
    // copy of this single thread's stack, as after fork.
    let pid = check_long(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>())
    })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: the kernel has just stored a new descriptor there, which nothing else owns.
    Ok(Forked::Parent((pid as libc::pid_t, unsafe { OwnedFd::from_raw_fd(pidfd) })))
}

/// As `fork`, but the child is this process's sibling: its parent is this one's.
pub fn clone_sibling() -> io::Result<Forked<libc::pid_t>> {
    // The exit signal is this process's own.
    let args = CloneArgs { flags: libc::CLONE_PARENT as u64, ..CloneArgs::default() };
    // SAFETY: as in `clone_into`.
    let pid = check_long(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>())
    })?;
    Ok(if pid == 0 { Forked::Child } else { Forked::Parent(pid as libc::pid_t) })
}

/// Enters all the namespaces of the process behind a pidfd; that of its pids is its children's only.
pub fn enter(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    let all = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWCGROUP;
    // SAFETY: a live descriptor; this process has one thread.
    check(unsafe { libc::setns(pidfd.as_raw_fd(), all) })?;
    Ok(())
}

/// Kills the process group that a child leads which was not waited for.
pub fn kill_group(leader: libc::pid_t) {
    // SAFETY: plain integers.
    unsafe { libc::kill(-leader, libc::SIGKILL) };
}

pub fn pidfd_open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: plain integers; the result is a new descriptor.
    unsafe {
        let fd = check_long(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: a live descriptor, and a null siginfo means the default one.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })?;
    Ok(())
}

/// Waits for a child and returns its wait status.
pub fn wait(pid: libc::pid_t) -> io::Result<libc::c_int> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for the result.
        match check(unsafe { libc::waitpid(pid, &raw mut status, 0) }) {
            Ok(_) => return Ok(status),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Closes every descriptor but those in `keep`.
pub fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<u32> = keep.iter().map(|&fd| fd as u32).collect();
    keep.sort_unstable();
    let mut first = 0u32;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if fd > first {
            // SAFETY: the caller owns no descriptor outside `keep` that it uses afterwards.
            unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
        }
        first = fd.saturating_add(1);
    }
}

/// Makes `fd` the descriptor number `target`, inherited by exec.
pub fn dup_to(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: both are plain descriptor numbers.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) })?;
    Ok(())
}

/// Takes the exclusive lock on an open file; it is held until the last copy of the descriptor is
/// closed, by whatever process. `Ok(false)`: another holds it.
pub fn try_lock(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: a live descriptor.
    match check(unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

pub fn poll(fds: &mut [libc::pollfd], timeout_ms: i32) -> io::Result<usize> {
    // SAFETY: a valid slice of pollfd.
    match check(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) }) {
        Ok(n) => Ok(n as usize),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}

pub fn pollfd(fd: &impl AsFd) -> libc::pollfd {
    libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

/// Counts what is told to it.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: plain integers; the descriptor that comes of it is nobody else's.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: as said.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// From the beginning of a file, whatever was read of it before.
pub fn read_at_start(fd: BorrowedFd<'_>, data: &mut [u8]) -> io::Result<usize> {
    // SAFETY: a live descriptor and a valid buffer.
    let n = unsafe { libc::pread(fd.as_raw_fd(), data.as_mut_ptr().cast(), data.len(), 0) };
    if n >= 0 { Ok(n as usize) } else { Err(io::Error::last_os_error()) }
}

/// Reads what there is; `Ok(0)` is the end.
pub fn read(fd: BorrowedFd<'_>, data: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: a live descriptor and a valid buffer.
        let n = unsafe { libc::read(fd.as_raw_fd(), data.as_mut_ptr().cast(), data.len()) };
        if n >= 0 {
            return Ok(n as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Writes all of `data`.
pub fn write_all(fd: BorrowedFd<'_>, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        data = &data[write(fd, data)?..];
    }
    Ok(())
}

/// Writes some of `data`.
pub fn write(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: a live descriptor and a valid buffer.
        let n = unsafe { libc::write(fd.as_raw_fd(), data.as_ptr().cast(), data.len()) };
        if n >= 0 {
            return Ok(n as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Reads one message into two buffers, one after the other.
pub fn read_into(fd: BorrowedFd<'_>, first: &mut [u8], second: &mut [u8]) -> io::Result<usize> {
    let parts = [first, second]
        .map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() });
    // SAFETY: a live descriptor and valid buffers that do not overlap.
    let n = unsafe { libc::readv(fd.as_raw_fd(), parts.as_ptr(), parts.len() as libc::c_int) };
    if n >= 0 { Ok(n as usize) } else { Err(io::Error::last_os_error()) }
}

/// Writes two buffers as one message.
pub fn write_both(fd: BorrowedFd<'_>, first: &[u8], second: &[u8]) -> io::Result<()> {
    let parts = [first, second]
        .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
    // SAFETY: a live descriptor and valid buffers, which are only read.
    let n = unsafe { libc::writev(fd.as_raw_fd(), parts.as_ptr(), parts.len() as libc::c_int) };
    if n >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// fallocate(2) of these bytes, that exist, to zeros or to a hole; `mode` says which.
pub fn make_zeros(file: &std::fs::File, offset: u64, bytes: u64, mode: u32) -> io::Result<()> {
    const HOLE: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
    let mode = mode as i32;
    if mode != HOLE && mode != ZERO {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    // SAFETY: a live descriptor and plain integers.
    check(unsafe { libc::fallocate(file.as_raw_fd(), mode, offset as i64, bytes as i64) })?;
    Ok(())
}

/// lseek(2), to where data or a hole begins.
pub fn seek(file: &std::fs::File, offset: u64, whence: libc::c_int) -> io::Result<u64> {
    // SAFETY: a live descriptor and plain integers.
    let at = unsafe { libc::lseek(file.as_raw_fd(), offset as i64, whence) };
    if at >= 0 { Ok(at as u64) } else { Err(io::Error::last_os_error()) }
}

/// For a process with secrets through which disks are written: its memory is not swapped and not
/// dumped, and the kernel, where it may be told (CAP_SYS_RESOURCE), does not wait for such disks when it
/// finds memory for it.
pub fn guard_memory() -> io::Result<()> {
    const PR_SET_IO_FLUSHER: libc::c_int = 57;
    // SAFETY: plain integers.
    unsafe {
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
        libc::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
        let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
        check(libc::mlockall(flags))?;
    }
    Ok(())
}

pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a live descriptor.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    Ok(())
}

/// Becomes root of this user namespace, with no other groups. Raw calls: the library's wrappers
/// signal threads which after a raw clone do not exist.
pub fn become_root() -> io::Result<()> {
    // SAFETY: plain integers, and a null list of no groups.
    unsafe {
        check_long(libc::syscall(libc::SYS_setresgid, 0, 0, 0))?;
        check_long(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()))?;
        check_long(libc::syscall(libc::SYS_setresuid, 0, 0, 0))?;
    }
    Ok(())
}

/// Becomes this user for good, with the one group.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain integers, and a null list of no groups.
    unsafe {
        check_long(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check_long(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()))?;
        check_long(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}

/// This process dies when its parent does.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })?;
    Ok(())
}

pub fn setsid() {
    // SAFETY: no arguments. Failing means that this process leads a session already.
    unsafe { libc::setsid() };
}

pub fn ignore_signals(signals: &[libc::c_int]) {
    for &signal in signals {
        // SAFETY: SIG_IGN runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

pub fn default_signals(signals: &[libc::c_int]) {
    for &signal in signals {
        // SAFETY: SIG_DFL runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Sets a resource limit, as far as the inherited hard limit goes.
pub fn limit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place for the old limit, and a valid new one.
    unsafe {
        if libc::getrlimit(resource, &raw mut limit) == 0 {
            limit.rlim_max = limit.rlim_max.min(hard);
            limit.rlim_cur = soft.min(limit.rlim_max);
            libc::setrlimit(resource, &raw const limit);
        }
    }
}

pub fn unblock_signals() {
    // SAFETY: sigset_t is plain data, initialised by sigemptyset.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Shows `title` instead of the command line this process was started with, in `ps` and to the guest.
pub fn set_title(title: &str) {
    let name = CString::new(title).unwrap_or_default();
    // SAFETY: the kernel copies at most 16 bytes of a terminated string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // After the name in parentheses, arg_start and arg_end are fields 48 and 49 of proc_pid_stat(5).
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
    let field = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<usize>().ok()).unwrap_or(0);
    let (start, end) = (field(48), field(49));
    if start == 0 || end <= start + 1 {
        return;
    }
    let room = end - start;
    let length = title.len().min(room - 1);
    // SAFETY: [start, end) is this process's own writable argument area, which the kernel reports
    // and nothing reads any more: arguments were parsed before.
    unsafe {
        let area = std::slice::from_raw_parts_mut(start as *mut u8, room);
        area.fill(0);
        area[..length].copy_from_slice(&title.as_bytes()[..length]);
    }
}

pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: a valid buffer with its length.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })?;
    Ok(())
}

/// Takes the loopback device up in this network namespace.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: ifreq is plain data; the socket is closed by its owner.
    unsafe {
        let socket = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let socket = OwnedFd::from_raw_fd(socket);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as _;
        request.ifr_name[1] = b'o' as _;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request))?;
    }
    Ok(())
}

pub fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: plain flags; this process has one thread.
    check(unsafe { libc::unshare(flags) })?;
    Ok(())
}

pub fn chown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: a live descriptor.
    check(unsafe { libc::fchown(fd.as_raw_fd(), uid, gid) })?;
    Ok(())
}

pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Tells ext4 that directories made in this one have nothing to do with each other, so that it spreads
/// them over the disk. Other file systems need not know.
pub fn spread_directories(directory: &std::fs::File) {
    const FS_TOPDIR_FL: libc::c_long = 0x0002_0000;
    let mut flags: libc::c_long = 0;
    // SAFETY: a live descriptor and a valid place for the flags.
    unsafe {
        if libc::ioctl(directory.as_raw_fd(), libc::FS_IOC_GETFLAGS, &raw mut flags) == 0 {
            flags |= FS_TOPDIR_FL;
            libc::ioctl(directory.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags);
        }
    }
}

pub fn set_xattr(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: terminated strings and a valid buffer.
    check(unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    })?;
    Ok(())
}

/// Of an open file.
pub fn set_xattr_of(file: &std::fs::File, name: &CStr, value: &[u8]) -> io::Result<()> {
    let fd = file.as_raw_fd();
    // SAFETY: a live descriptor, a terminated string and a valid buffer.
    check(unsafe { libc::fsetxattr(fd, name.as_ptr(), value.as_ptr().cast(), value.len(), 0) })?;
    Ok(())
}

/// The length of its value. `Ok(None)`: it has no such attribute, or its file system has none at all.
pub fn get_xattr(file: &std::fs::File, name: &CStr, value: &mut [u8]) -> io::Result<Option<usize>> {
    let (fd, buffer) = (file.as_raw_fd(), value.as_mut_ptr().cast());
    // SAFETY: a live descriptor, a terminated string and a valid buffer.
    match unsafe { libc::fgetxattr(fd, name.as_ptr(), buffer, value.len()) } {
        n if n >= 0 => Ok(Some(n as usize)),
        _ => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => {
                Ok(None)
            }
            error => Err(error),
        },
    }
}

/// What overlayfs takes for "not there": a character device of number zero.
pub fn make_whiteout(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: a terminated string and plain integers.
    check(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, 0) })?;
    Ok(())
}

/// Ends this process without running anything more.
pub fn exit(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

pub fn umask(mask: u32) {
    // SAFETY: cannot fail.
    unsafe { libc::umask(mask) };
}

/// The host's time, in microseconds since 1970.
pub fn realtime_us() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_micros() as u64)
}

/// The time on the monotonic clock, in milliseconds.
pub fn monotonic_ms() -> u64 {
    // SAFETY: timespec is plain data, filled by the call.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
    }
}

/// Kills this process when so much time has passed.
pub fn alarm(seconds: u32) {
    // SAFETY: SIG_DFL runs no code; plain integers.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::alarm(seconds);
    }
}

/// Takes this thread into a namespace of this kind.
pub fn setns(namespace: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: a live descriptor. Kinds that many threads cannot enter the kernel refuses.
    check(unsafe { libc::setns(namespace.as_raw_fd(), kind) })?;
    Ok(())
}

pub fn fchdir(directory: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a live descriptor.
    check(unsafe { libc::fchdir(directory.as_raw_fd()) })?;
    Ok(())
}

/// A descriptor of another process.
pub fn pidfd_getfd(process: &OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a live descriptor and plain integers; the result is a new descriptor.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0);
        Ok(OwnedFd::from_raw_fd(check_long(fd)? as RawFd))
    }
}

/// Where a path leads with `root` as the root directory, to be looked at and not read.
pub fn open_beneath(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: open_how is plain data.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: a live descriptor, a terminated string and an open_how of the given size; the result is
    // a new descriptor.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        );
        Ok(OwnedFd::from_raw_fd(check_long(fd)? as RawFd))
    }
}

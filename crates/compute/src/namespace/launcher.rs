//! The launcher: a small single-threaded copy of this program that forks the shims. Forking the daemon
//! itself would copy the page tables of a large heap and a thread's locks.
//!
//! It is started before there is a heap worth copying, with an empty environment: an instance's init is
//! a copy of it, and must hold nothing of the daemon's.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::confine::Filter;
use super::crypt::view;
use super::record::Home;
use super::sys::Forked;
use super::{enter, probe, shim, sys};

/// The hidden subcommand. A program that uses the driver calls `dispatch` before anything else.
const SUBCOMMAND: &str = "namespace-launcher";

/// Becomes a part of the driver (launcher, probe) if this program was started to be one, and then never
/// returns. To be called first in `main`.
pub fn dispatch() {
    let mut arguments = std::env::args_os().skip(1);
    let subcommand = arguments.next();
    match subcommand.as_ref().and_then(|name| name.to_str()) {
        Some(SUBCOMMAND) => launcher_main(),
        Some(probe::SUBCOMMAND) => probe::probe_main(arguments.next()),
        _ => {}
    }
}

fn launcher_main() -> ! {
    sys::setsid();
    sys::ignore_signals(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGCHLD]);
    sys::set_title("drover-launcher");
    let _ = std::env::set_current_dir("/");
    // SAFETY: the daemon started this process with the socket as descriptor 0.
    let socket = unsafe { BorrowedFd::borrow_raw(0) }.try_clone_to_owned();
    let done = socket.and_then(|socket| {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        sys::dup_to(null.as_fd(), 0)?;
        drop(null);
        serve(&socket)
    });
    sys::exit(i32::from(done.is_err()))
}

/// The message of one that shall escort a program into an instance; no directory is called so.
const ESCORT: &[u8] = b"escort";

/// And that of one that shall serve the plain view of an encrypted disk.
const VIEW: &[u8] = b"view";

/// The first message brings the lock of the state directory, every other one a launch (the instance's
/// directory, its lock, the shim's end of its connection to the daemon, perhaps a mounted root) or the end
/// of its connection of an escort or a view.
fn serve(socket: &OwnedFd) -> io::Result<()> {
    let filter = Filter::build()?;
    let mut message = vec![0; 4096];
    let (_, fds) = sys::receive(socket.as_fd(), &mut message)?;
    let Ok([state_lock]) = <[OwnedFd; 1]>::try_from(fds) else { return Ok(()) };
    loop {
        let (n, fds) = sys::receive(socket.as_fd(), &mut message)?;
        if n == 0 {
            return Ok(());
        }
        if &message[..n] == ESCORT {
            let Ok([control]) = <[OwnedFd; 1]>::try_from(fds) else { continue };
            if let Forked::Child = sys::fork()? {
                enter::run(control, &filter);
            }
            continue;
        }
        if &message[..n] == VIEW {
            let Ok([control]) = <[OwnedFd; 1]>::try_from(fds) else { continue };
            if let Forked::Child = sys::fork()? {
                view::run(control);
            }
            continue;
        }
        let mut fds = fds.into_iter();
        let (Some(lock), Some(daemon), root) = (fds.next(), fds.next(), fds.next()) else {
            continue;
        };
        if let Forked::Child = sys::fork()? {
            let home = std::ffi::OsString::from_vec(message[..n].to_vec());
            shim::run(Home(home.into()), lock, daemon, root, state_lock, &filter);
        }
    }
}

/// The daemon's side. A launcher that is gone is replaced at the next launch.
pub struct Launcher {
    state_lock: OwnedFd,
    socket: Mutex<Option<OwnedFd>>,
}

impl Launcher {
    pub fn start(state_lock: OwnedFd) -> io::Result<Launcher> {
        let launcher = Launcher { state_lock, socket: Mutex::new(None) };
        *launcher.socket.lock().expect("not poisoned") = Some(launcher.spawn()?);
        Ok(launcher)
    }

    fn spawn(&self) -> io::Result<OwnedFd> {
        let (ours, theirs) = sys::socketpair()?;
        let mut child = Command::new("/proc/self/exe")
            .arg0("drover-launcher")
            .arg(SUBCOMMAND)
            // Room for the titles that shims and inits show instead.
            .arg("-".repeat(64))
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        sys::send(ours.as_fd(), b"lock", &[self.state_lock.as_fd()])?;
        // Reaped whenever it ends, which may be by somebody's kill.
        std::thread::Builder::new()
            .name("launcher-wait".into())
            .stack_size(64 * 1024)
            .spawn(move || child.wait())?;
        Ok(ours)
    }

    /// Asks for a shim. What becomes of it shows on `daemon`'s other end: it closes without a word when
    /// there is none.
    pub fn launch(
        &self,
        home: &Home,
        lock: OwnedFd,
        daemon: OwnedFd,
        root: Option<OwnedFd>,
    ) -> io::Result<()> {
        let fds = [Some(&lock), Some(&daemon), root.as_ref()];
        let fds: Vec<_> = fds.into_iter().flatten().map(AsFd::as_fd).collect();
        self.order(home.0.as_os_str().as_bytes(), &fds)
    }

    /// Asks for an escort at the other end of `control`'s pair.
    pub fn exec(&self, control: BorrowedFd<'_>) -> io::Result<()> {
        self.order(ESCORT, &[control])
    }

    /// Asks for a view at the other end of `control`'s pair.
    pub fn view(&self, control: BorrowedFd<'_>) -> io::Result<()> {
        self.order(VIEW, &[control])
    }

    fn order(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut socket = self.socket.lock().expect("not poisoned");
        if let Some(socket) = &*socket
            && sys::send(socket.as_fd(), message, fds).is_ok()
        {
            return Ok(());
        }
        let fresh = self.spawn()?;
        sys::send(fresh.as_fd(), message, fds)?;
        *socket = Some(fresh);
        Ok(())
    }
}

/// Connects to a shim; its socket's path may be longer than an address can hold.
pub fn connect(home: &Home) -> io::Result<std::os::unix::net::UnixStream> {
    let path = home.socket();
    let (parent, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name());
    let directory = File::open(parent)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    std::os::unix::net::UnixStream::connect(short.join(name.unwrap_or_default()))
}

/// Connects to where a shim takes calls of programs that are run inside.
pub fn calls(home: &Home) -> io::Result<std::os::unix::net::UnixDatagram> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    let directory = File::open(&home.0)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    socket.connect(short.join(home.calls().file_name().unwrap_or_default()))?;
    Ok(socket)
}

//! The way into an instance that runs, for one program: from a fork of the launcher to `exec`.
//!
//! ```text
//!  launcher ─fork─► escort ─clone3─► usher: joins the cgroups, enters the namespaces
//!                     │                │ clone with the escort as parent, since only a child is in
//!                     │                ▼ the pid namespace
//!                     │◄── report ── program: terminal, root of the instance, confined, exec
//!                     └ outside of all, kills the program when the daemon lets go of `control`
//! ```
//!
//! The program is in the instance's pid namespace and dies with its init; it has no descriptor but its
//! three, and no parent it could see.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::cgroup::Group;
use super::confine::{self, Filter};
use super::record::Home;
use super::sys::{self, Forked};
use super::{init, launcher};
use crate::exec::{Keys, Program, Size};

/// The largest piece of a request in one message.
pub const PIECE: usize = 64 * 1024;
/// Of `/etc/environment`; a guest may have made anything of it.
const MOST_ENVIRONMENT: u64 = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Of the instance as it is named to its owner, for `ps`.
    pub id: String,
    pub home: PathBuf,
    pub group: Group,
    pub work: Work,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Work {
    Run(Program),
    Authorize(Keys),
}

/// To the daemon, one message each.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The program was executed. Brings the terminal's master, if there is one.
    Started,
    /// It was not, for the fault of the request or of the instance's files.
    Refused(String),
    /// It was not, for the host's fault.
    Failed(String),
    /// The wait status.
    Ended(i32),
}

/// From the program to its escort: its pid, its terminal, why it fails.
const PID: u8 = b'p';
const TERMINAL: u8 = b't';
const REFUSED: u8 = b'r';
const FAILED: u8 = b'f';
/// With what its filter hands over.
const LISTENER: u8 = b'l';

/// Runs an escort in this process, which the launcher has just forked. Never returns.
pub fn run(control: OwnedFd, filter: &Filter) -> ! {
    sys::setsid();
    sys::ignore_signals(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE]);
    sys::default_signals(&[libc::SIGCHLD]);
    sys::close_all_but(&[0, 1, 2, control.as_raw_fd()]);
    if let Err(error) = escort(&control, filter) {
        let _ = reply(&control, &Reply::Failed(error.to_string()), None);
    }
    sys::exit(0)
}

fn reply(control: &OwnedFd, reply: &Reply, fd: Option<&OwnedFd>) -> io::Result<()> {
    let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
    sys::send(control.as_fd(), &serde_json::to_vec(reply)?, &fds)
}

/// The first message says how long the request is and brings init's pidfd and the program's standard
/// descriptors; the request follows in pieces.
fn receive(control: &OwnedFd) -> io::Result<(Request, Vec<OwnedFd>)> {
    let mut length = [0; 8];
    let (n, fds) = sys::receive(control.as_fd(), &mut length)?;
    if n != length.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = u64::from_le_bytes(length) as usize;
    let mut text = Vec::new();
    let mut piece = vec![0; PIECE];
    while text.len() < length {
        let (n, _) = sys::receive(control.as_fd(), &mut piece)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.extend(&piece[..n]);
    }
    Ok((serde_json::from_slice(&text)?, fds))
}

fn escort(control: &OwnedFd, filter: &Filter) -> io::Result<()> {
    let (request, fds) = receive(control)?;
    sys::set_title(&format!("drover-exec {}", request.id));
    let mut fds = fds.into_iter();
    let init = fds.next().ok_or(io::ErrorKind::InvalidInput)?;
    let standard: Vec<OwnedFd> = fds.collect();
    let (report, theirs) = sys::socketpair()?;
    let group = &request.group;
    let mut tasks = Vec::new();
    for directory in group.legacy_directories() {
        tasks.push(OpenOptions::new().write(true).open(directory.join("tasks"))?);
    }
    let usher = match clone_into_group(group)? {
        Forked::Child => {
            drop(report);
            usher(&request, &init, standard, &theirs, tasks, filter)
        }
        Forked::Parent((usher, _)) => usher,
    };
    drop((theirs, standard, init, tasks));
    // It ends at once, whatever comes of it.
    sys::wait(usher)?;
    watch(control, &report, &request.home)
}

/// Forks into the version 2 group, or into a leaf of it where init has made it an inner node.
fn clone_into_group(group: &Group) -> io::Result<Forked<(libc::pid_t, OwnedFd)>> {
    let Some(directory) = &group.unified else { return sys::clone_into(0, None) };
    let top = File::open(directory)?;
    match sys::clone_into(0, Some(top.as_fd())) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            let leaf = directory.join("exec");
            match fs::create_dir(&leaf) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            sys::clone_into(0, Some(File::open(leaf)?.as_fd()))
        }
        result => result,
    }
}

/// Tells the daemon what becomes of the program, and kills it when the daemon lets go.
fn watch(control: &OwnedFd, report: &OwnedFd, home: &Path) -> io::Result<()> {
    let mut message = [0; 4096];
    let (mut pid, mut terminal, mut failure) = (0, None, None);
    loop {
        // The end is that the program was executed, or is dead.
        let (n, mut fds) = sys::receive(report.as_fd(), &mut message)?;
        let text = || String::from_utf8_lossy(&message[1..n]).into_owned();
        match message[..n].first() {
            Some(&PID) => pid = text().parse().map_err(io::Error::other)?,
            Some(&TERMINAL) => terminal = fds.pop(),
            Some(&LISTENER) => {
                let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                let shim = launcher::calls(&Home(home.to_owned()))?;
                sys::send(shim.as_fd(), &[LISTENER], &fds)?;
            }
            Some(&REFUSED) => failure = Some(Reply::Refused(text())),
            Some(&FAILED) => failure = Some(Reply::Failed(text())),
            _ => break,
        }
    }
    if pid == 0 {
        let unknown = || Reply::Failed("the instance was not entered".into());
        return reply(control, &failure.unwrap_or_else(unknown), None);
    }
    let program = sys::pidfd_open(pid)?;
    if let Some(failure) = failure {
        sys::wait(pid)?;
        return reply(control, &failure, None);
    }
    let mut heard = reply(control, &Reply::Started, terminal.as_ref()).is_ok();
    drop(terminal);
    loop {
        let none = libc::pollfd { fd: -1, events: 0, revents: 0 };
        let mut fds = [sys::pollfd(&program), if heard { sys::pollfd(control) } else { none }];
        if !heard {
            // Its session's leader is not reaped yet, so the group is still its own.
            sys::kill_group(pid);
        }
        sys::poll(&mut fds, -1)?;
        if fds[0].revents != 0 {
            break;
        }
        // The daemon says nothing more: that it can be read means that it is closed.
        heard &= fds[1].revents == 0;
    }
    if !heard {
        sys::kill_group(pid);
    }
    let status = sys::wait(pid)?;
    let _ = reply(control, &Reply::Ended(status), None);
    Ok(())
}

/// Why there is no program.
enum Failure {
    Refused(String),
    Failed(String),
}

trait Step<T> {
    fn or_failed(self, what: &str) -> Result<T, Failure>;
    fn or_refused(self, what: impl std::fmt::Display) -> Result<T, Failure>;
}

impl<T> Step<T> for io::Result<T> {
    fn or_failed(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::Failed(format!("{what}: {error}")))
    }
    fn or_refused(self, what: impl std::fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::Refused(format!("{what}: {error}")))
    }
}

fn tell(report: &OwnedFd, failure: &Failure) {
    let (kind, why) = match failure {
        Failure::Refused(why) => (REFUSED, why),
        Failure::Failed(why) => (FAILED, why),
    };
    let why = &why.as_bytes()[..why.len().min(2048)];
    let _ = sys::send(report.as_fd(), &[&[kind], why].concat(), &[]);
}

fn usher(
    request: &Request,
    init: &OwnedFd,
    standard: Vec<OwnedFd>,
    report: &OwnedFd,
    tasks: Vec<File>,
    filter: &Filter,
) -> ! {
    let entered = tasks.into_iter().try_for_each(|mut file| file.write_all(b"0"));
    let entered = entered.or_failed("join cgroup").and_then(|()| {
        sys::enter(init.as_fd()).or_failed("enter")?;
        sys::clone_sibling().or_failed("clone")
    });
    match entered {
        Ok(Forked::Child) => {
            let Err(failure) = become_program(&request.work, standard, report, filter);
            tell(report, &failure);
            sys::exit(127)
        }
        Ok(Forked::Parent(pid)) => {
            let _ = sys::send(report.as_fd(), &[&[PID], pid.to_string().as_bytes()].concat(), &[]);
            sys::exit(0)
        }
        Err(failure) => {
            tell(report, &failure);
            sys::exit(0)
        }
    }
}

fn become_program(
    work: &Work,
    standard: Vec<OwnedFd>,
    report: &OwnedFd,
    filter: &Filter,
) -> Result<std::convert::Infallible, Failure> {
    sys::become_root().or_failed("become root")?;
    sys::die_with_parent().or_failed("tie to the escort")?;
    sys::setsid();
    sys::umask(0o022);
    init::usual_limits();
    let terminal = match work {
        Work::Run(Program { terminal: Some(size), .. }) => Some(*size),
        _ => None,
    };
    match terminal {
        Some(size) => take_terminal(size, report)?,
        None => {
            for (fd, target) in standard.iter().zip(0..3) {
                sys::dup_to(fd.as_fd(), target).or_failed("standard streams")?;
            }
        }
    }
    drop(standard);
    sys::close_all_but(&[0, 1, 2, report.as_raw_fd()]);
    confine::drop_capabilities().or_failed("capabilities")?;
    let listener = filter.install().or_failed("seccomp")?;
    sys::send(report.as_fd(), &[LISTENER], &[listener.as_fd()]).or_failed("seccomp")?;
    drop(listener);
    sys::default_signals(&(1..32).collect::<Vec<_>>());
    match work {
        Work::Authorize(keys) => {
            authorize(keys)?;
            sys::exit(0)
        }
        Work::Run(program) => execute(program),
    }
}

/// A terminal of the instance's own, so that it has a name in there.
fn take_terminal(size: Size, report: &OwnedFd) -> Result<(), Failure> {
    let (master, slave) = sys::controlling_terminal().or_refused("/dev/ptmx")?;
    sys::set_window_size(master.as_fd(), size.rows, size.columns).or_failed("terminal")?;
    for fd in 0..3 {
        sys::dup_to(slave.as_fd(), fd).or_failed("terminal")?;
    }
    sys::send(report.as_fd(), &[TERMINAL], &[master.as_fd()]).or_failed("terminal")
}

fn execute(program: &Program) -> Result<std::convert::Infallible, Failure> {
    if let Some(script) = &program.script {
        let path = Path::new(&script.path);
        write_script(path, &script.content).or_refused(&script.path)?;
    }
    let mut env = init::usual_environment();
    env.extend(environment_file());
    env.extend(program.env.clone());
    if program.terminal.is_some() {
        env.entry("TERM".into()).or_insert_with(|| "xterm".into());
    }
    let [name, arguments @ ..] = &program.arguments[..] else {
        return Err(Failure::Refused("no program is named".into()));
    };
    let directory = program.directories.iter().find(|directory| Path::new(directory).is_dir());
    if directory.is_none()
        && let Some(missing) = program.directories.first()
    {
        return Err(Failure::Refused(format!("{missing}: no such directory")));
    }
    let directory = directory.map_or("/", |directory| directory);
    std::env::set_current_dir(directory).or_refused(directory)?;
    let error = Command::new(name).args(arguments).env_clear().envs(env).exec();
    Err(Failure::Refused(format!("{name}: {error}")))
}

fn write_script(path: &Path, content: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(path)?;
    file.write_all(content.as_bytes())
}

/// What logins have: see pam_env(8).
fn environment_file() -> BTreeMap<String, String> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags).open("/etc/environment");
    let mut text = String::new();
    if let Ok(file) = file
        && file.metadata().is_ok_and(|known| known.is_file())
        && file.take(MOST_ENVIRONMENT).read_to_string(&mut text).is_ok()
    {
        return parse_environment(&text);
    }
    BTreeMap::new()
}

fn parse_environment(text: &str) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        if !key.is_empty() && !value.contains('\0') && !key.contains('\0') {
            env.insert(key.to_owned(), value.to_owned());
        }
    }
    env
}

/// Edits the account's file as that account, so that no link of its owner's leads anywhere it may not
/// write itself.
fn authorize(keys: &Keys) -> Result<(), Failure> {
    let passwd = fs::read_to_string("/etc/passwd").or_refused("/etc/passwd")?;
    let account = passwd.lines().filter_map(init::account).find(|account| account.0 == keys.user);
    let Some((_, uid, gid, home)) = account else {
        return Err(Failure::Refused(format!("no user {} in /etc/passwd", keys.user)));
    };
    sys::become_user(uid, gid).or_refused(&keys.user)?;
    sys::umask(0o077);
    let directory = PathBuf::from(home).join(".ssh");
    let path = directory.join("authorized_keys");
    let old = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path) {
        Ok(mut file) => {
            let known = file.metadata().or_refused(path.display())?;
            if !known.is_file() || known.size() > 1 << 20 {
                return Err(Failure::Refused(format!("{}: no plain file", path.display())));
            }
            let mut old = String::new();
            file.read_to_string(&mut old).or_refused(path.display())?;
            old
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).or_refused(path.display()),
    };
    let new = keys.apply(&old);
    if new == old {
        return Ok(());
    }
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).or_refused(directory.display());
        }
        _ => {}
    }
    let fresh = directory.join(".authorized_keys.new");
    let _ = fs::remove_file(&fresh);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(new.as_bytes())?;
        fs::rename(&fresh, &path)
    };
    write().or_refused(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_environment_file() {
        let env = parse_environment("# no\nA=1\n export B=\"x y\"\nC='z'\nnothing\n=v\n");
        let expected = [("A", "1"), ("B", "x y"), ("C", "z")];
        assert_eq!(env, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
}

//! Drover's own init, pid 1 of an instance: names the machine, runs user data at the first boot,
//! reaps, and shuts down when asked. For images of which no init of their own is run.
//!
//! ```text
//!  SIGTERM, SIGPWR, SIGUSR1, SIGRTMIN+3, +4   power off
//!  SIGUSR2, SIGINT, SIGRTMIN+5                reboot
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::record::Record;
use super::{child, sys, trust};
use crate::{Resolver, Spec};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LOG: &str = "/var/log/cloud-init-output.log";
/// How long processes have to end when the guest itself asked; a stop from outside has its own grace.
const GRACE_MS: u64 = 30_000;

/// Never returns.
pub fn run(record: &Record, channel: OwnedFd) -> ! {
    sys::set_title("/sbin/init");
    usual_limits();
    let signals = Signals::take();
    let mut spec = record.spec.clone();
    if let Some(pem) = &record.trusted {
        match trust::install(Path::new("/"), pem) {
            Ok(variables) => {
                let variables = variables.iter().map(|(key, value)| (*key, *value));
                let own = variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
                // What the specification says stands.
                spec.env = own.chain(std::mem::take(&mut spec.env)).collect();
            }
            Err(error) => say(&format!("trusted certificates: {error}")),
        }
    }
    let spec = &spec;
    if let Err(error) = identify(spec) {
        say(&format!("identity: {error}"));
    }
    let _ = sys::send(channel.as_fd(), &[child::UP], &[]);
    let user_data = first_boot(spec).unwrap_or_else(|error| {
        say(&format!("first boot: {error}"));
        None
    });
    let mut init = Init { signals, user_data, ending: None };
    init.run()
}

/// What a machine has by default, whatever the daemon was started with.
pub fn usual_limits() {
    sys::limit(libc::RLIMIT_NOFILE, 1024, 524_288);
    sys::limit(libc::RLIMIT_CORE, 0, libc::RLIM_INFINITY);
}

/// What root's programs have.
pub fn usual_environment() -> BTreeMap<String, String> {
    let usual = [
        ("PATH", PATH),
        ("HOME", "/root"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("SHELL", "/bin/sh"),
    ];
    usual.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// A line on the console.
fn say(message: &str) {
    let _ = writeln!(io::stdout(), "drover: {message}");
}

/// Descriptor with the blocked signals this init acts on.
struct Signals(OwnedFd);

impl Signals {
    fn take() -> Signals {
        sys::default_signals(&(1..32).collect::<Vec<_>>());
        let rt = libc::SIGRTMIN();
        // SAFETY: sigset_t is plain data, initialised by sigemptyset; the descriptor is new.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in [
                libc::SIGCHLD,
                libc::SIGTERM,
                libc::SIGINT,
                libc::SIGHUP,
                libc::SIGPIPE,
                libc::SIGPWR,
                libc::SIGUSR1,
                libc::SIGUSR2,
                rt + 3,
                rt + 4,
                rt + 5,
            ] {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            Signals(OwnedFd::from_raw_fd(fd))
        }
    }

    /// The next signal, and whether it came from outside this pid namespace.
    fn next(&self) -> Option<(libc::c_int, bool)> {
        let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>()];
        let n = sys::read(self.0.as_fd(), &mut buffer).ok()?;
        (n == buffer.len()).then(|| {
            // SAFETY: the kernel filled exactly one signalfd_siginfo, which is plain data.
            let info: libc::signalfd_siginfo =
                unsafe { std::ptr::read_unaligned(buffer.as_ptr().cast()) };
            (info.ssi_signo as libc::c_int, info.ssi_pid == 0)
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    PowerOff,
    Reboot,
}

struct Init {
    signals: Signals,
    user_data: Option<UserData>,
    /// Shutting down, to what end, and when patience is over.
    ending: Option<(End, u64)>,
}

impl Init {
    fn run(&mut self) -> ! {
        loop {
            let mut fds = vec![sys::pollfd(&self.signals.0)];
            fds.extend(self.user_data.as_ref().and_then(|u| u.output.as_ref()).map(sys::pollfd));
            let timeout = match self.ending {
                Some((_, until)) => until.saturating_sub(sys::monotonic_ms()).min(60_000) as i32,
                None => -1,
            };
            let _ = sys::poll(&mut fds, timeout);
            if fds.len() > 1
                && fds[1].revents != 0
                && let Some(user_data) = &mut self.user_data
            {
                user_data.pump();
            }
            while let Some((signal, from_outside)) = self.signals.next() {
                self.on_signal(signal, from_outside);
            }
            let children = self.reap();
            if let Some((end, until)) = self.ending {
                if !children {
                    finish(end);
                }
                if sys::monotonic_ms() >= until {
                    kill_all(libc::SIGKILL);
                }
            }
        }
    }

    fn on_signal(&mut self, signal: libc::c_int, from_outside: bool) {
        let rt = libc::SIGRTMIN();
        let end = match signal {
            libc::SIGTERM | libc::SIGPWR | libc::SIGUSR1 => End::PowerOff,
            libc::SIGUSR2 | libc::SIGINT => End::Reboot,
            n if n == rt + 3 || n == rt + 4 => End::PowerOff,
            n if n == rt + 5 => End::Reboot,
            _ => return,
        };
        if self.ending.is_none() {
            say(if end == End::Reboot { "rebooting" } else { "powering off" });
            kill_all(libc::SIGTERM);
            kill_all(libc::SIGCONT);
        }
        let until = if from_outside { u64::MAX } else { sys::monotonic_ms() + GRACE_MS };
        self.ending = Some((end, until));
    }

    /// Reaps who died; whether anyone is left.
    fn reap(&mut self) -> bool {
        loop {
            let mut status = 0;
            // SAFETY: a valid place for the status.
            match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
                0 => return true,
                pid if pid < 0 => return false,
                pid => {
                    if let Some(user_data) = &mut self.user_data
                        && user_data.pid == pid
                    {
                        user_data.ended(status);
                    }
                }
            }
        }
    }
}

fn kill_all(signal: libc::c_int) {
    // SAFETY: plain integers; -1 means everyone in this pid namespace but init.
    unsafe { libc::kill(-1, signal) };
}

fn finish(end: End) -> ! {
    let how = match end {
        End::PowerOff => libc::RB_POWER_OFF,
        End::Reboot => libc::RB_AUTOBOOT,
    };
    // SAFETY: in a pid namespace of its own this ends the namespace, not the host.
    unsafe { libc::reboot(how) };
    sys::exit(0)
}

/// Writes what the machine is called and where its cloud is.
fn identify(spec: &Spec) -> io::Result<()> {
    fs::create_dir_all("/etc/profile.d")?;
    replace("/etc/hostname", &format!("{}\n", spec.hostname), 0o644)?;
    let addresses: Vec<Ipv4Addr> = spec.nics.iter().map(|nic| nic.address).collect();
    replace("/etc/hosts", &hosts(&spec.hostname, &addresses), 0o644)?;
    replace("/etc/resolv.conf", &resolv_conf(&spec.resolver), 0o644)?;
    let old = fs::read_to_string("/etc/environment").unwrap_or_default();
    replace("/etc/environment", &environment(&old, &spec.env), 0o644)?;
    replace("/etc/profile.d/drover.sh", &profile(&spec.env), 0o644)
}

/// Replaces the file itself, not what a link of that name may point at.
fn replace(path: &str, content: &str, mode: u32) -> io::Result<()> {
    let fresh = format!("{path}.drover-new");
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(content.as_bytes())?;
    fs::rename(fresh, path)
}

fn hosts(hostname: &str, addresses: &[Ipv4Addr]) -> String {
    let short = hostname.split('.').next().unwrap_or(hostname);
    let names = if short == hostname { hostname.to_owned() } else { format!("{hostname} {short}") };
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    match addresses.first() {
        Some(address) => text += &format!("{address} {names}\n"),
        None => text += &format!("127.0.1.1 {names}\n"),
    }
    text
}

/// The network's own resolver answers at once or not at all, so there is no use in waiting long.
fn resolv_conf(resolver: &Resolver) -> String {
    if resolver.servers.is_empty() {
        return String::new();
    }
    let mut text: String =
        resolver.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !resolver.search.is_empty() {
        text += &format!("search {}\n", resolver.search.join(" "));
    }
    text + "options timeout:1 attempts:2\n"
}

/// The image's own /etc/environment with these set.
fn environment(old: &str, env: &BTreeMap<String, String>) -> String {
    let ours = |line: &str| line.split_once('=').is_some_and(|(key, _)| env.contains_key(key));
    let mut text: String =
        old.lines().filter(|line| !ours(line)).map(|line| format!("{line}\n")).collect();
    for (key, value) in env {
        text += &format!("{key}={value}\n");
    }
    text
}

fn profile(env: &BTreeMap<String, String>) -> String {
    env.iter()
        .map(|(key, value)| format!("export {key}='{}'\n", value.replace('\'', "'\\''")))
        .collect()
}

/// What runs once in the life of a root file system under this id, as cloud-init keeps it.
fn first_boot(spec: &Spec) -> io::Result<Option<UserData>> {
    let home = PathBuf::from("/var/lib/cloud/instances").join(&spec.id);
    fs::create_dir_all(home.join("sem"))?;
    let current = Path::new("/var/lib/cloud/instance");
    let _ = fs::remove_file(current);
    symlink(&home, current)?;
    let mark = home.join("sem/config_scripts_user.once");
    // Marked before it runs: what fails half-way is not run again either.
    match OpenOptions::new().write(true).create_new(true).open(mark) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        result => result?,
    };
    authorize(&spec.ssh_keys)?;
    let Some(data) = &spec.user_data else {
        File::create(home.join("boot-finished"))?;
        return Ok(None);
    };
    let save = |path: &Path, mode: u32| {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
        file.and_then(|mut file| file.write_all(data))
    };
    save(&home.join("user-data.txt"), 0o600)?;
    if !data.starts_with(b"#!") {
        say("user data does not begin with #! and is not run");
        return Ok(None);
    }
    let script = home.join("scripts/part-001");
    fs::create_dir_all(home.join("scripts"))?;
    save(&script, 0o700)?;
    UserData::start(&script, &home, &spec.env).map(Some)
}

/// Lets these keys log in as root and, where the image has one, as ec2-user.
fn authorize(keys: &[String]) -> io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    for (user, uid, gid, home) in passwd.lines().filter_map(account) {
        if user != "root" && user != "ec2-user" {
            continue;
        }
        let directory = Path::new(home).join(".ssh");
        fs::create_dir_all(&directory)?;
        let path = directory.join("authorized_keys");
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        for key in keys.iter().map(|key| key.trim()) {
            if !text.lines().any(|line| line == key) {
                text += &format!("{key}\n");
            }
        }
        fs::write(&path, text)?;
        sys::set_mode(&directory, 0o700)?;
        sys::set_mode(&path, 0o600)?;
        for path in [Path::new(home), &directory, &path] {
            chown(path, Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

/// Name, uid, gid and home of a line of passwd(5).
pub fn account(line: &str) -> Option<(&str, u32, u32, &str)> {
    let fields: Vec<&str> = line.split(':').collect();
    let [user, _, uid, gid, _, home, ..] = fields[..] else { return None };
    Some((user, uid.parse().ok()?, gid.parse().ok()?, home))
}

/// The running script of the first boot. What it leaves in the background lives on and may go on
/// writing.
struct UserData {
    pid: libc::pid_t,
    output: Option<OwnedFd>,
    log: File,
    home: PathBuf,
}

impl UserData {
    fn start(script: &Path, home: &Path, env: &BTreeMap<String, String>) -> io::Result<UserData> {
        fs::create_dir_all("/var/log")?;
        let mut log = OpenOptions::new().append(true).create(true).mode(0o640).open(LOG)?;
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(script);
        command
            .env_clear()
            .envs(usual_environment())
            .envs(env)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        // SAFETY: plain system calls, safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                sys::setsid();
                // Init blocks what it waits for, and a mask is inherited.
                sys::unblock_signals();
                Ok(())
            });
        }
        let child = command.spawn().inspect_err(|error| {
            let _ = writeln!(log, "user data: {error}");
        })?;
        // The command holds copies of the pipe's writing end.
        drop(command);
        let output = OwnedFd::from(reader);
        sys::set_nonblocking(output.as_fd())?;
        Ok(UserData {
            pid: child.id() as libc::pid_t,
            output: Some(output),
            log,
            home: home.to_owned(),
        })
    }

    /// Copies what there is to the console and the log.
    fn pump(&mut self) {
        let Some(output) = &self.output else { return };
        let mut buffer = [0; 16 * 1024];
        let mut reader = File::from(match output.try_clone() {
            Ok(fd) => fd,
            Err(_) => return,
        });
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    let _ = self.log.write_all(&buffer[..n]);
                    // SAFETY: descriptor 1 is the console and stays open.
                    let console = unsafe { std::os::fd::BorrowedFd::borrow_raw(1) };
                    let _ = sys::write_all(console, &buffer[..n]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        self.output = None;
    }

    fn ended(&mut self, status: libc::c_int) {
        self.pump();
        if libc::WIFEXITED(status) {
            say(&format!("user data ended with exit status {}", libc::WEXITSTATUS(status)));
        } else {
            say(&format!("user data was ended by signal {}", libc::WTERMSIG(status)));
        }
        let _ = File::create(self.home.join("boot-finished"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_machine() {
        let text = hosts("ip-10-0-0-5.ec2.internal", &[Ipv4Addr::new(10, 0, 0, 5)]);
        assert!(text.ends_with("10.0.0.5 ip-10-0-0-5.ec2.internal ip-10-0-0-5\n"), "{text}");
        assert!(hosts("box", &[]).ends_with("127.0.1.1 box\n"));
    }

    #[test]
    fn names_the_resolver() {
        let resolver = Resolver {
            servers: vec![Ipv4Addr::new(10, 0, 0, 2)],
            search: vec!["ec2.internal".to_owned(), "example.com".to_owned()],
        };
        let expected = "nameserver 10.0.0.2\nsearch ec2.internal example.com\n\
                        options timeout:1 attempts:2\n";
        assert_eq!(resolv_conf(&resolver), expected);
        assert_eq!(resolv_conf(&Resolver::default()), "");
    }

    #[test]
    fn keeps_the_image_s_environment() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(environment("PATH=/bin\nA=0\n", &env), "PATH=/bin\nA=1\n");
        let odd = BTreeMap::from([("B".to_owned(), "it's".to_owned())]);
        assert_eq!(profile(&odd), "export B='it'\\''s'\n");
    }

    #[test]
    fn reads_accounts() {
        assert_eq!(
            account("ec2-user:x:1000:1000::/home/ec2-user:/bin/bash"),
            Some(("ec2-user", 1000, 1000, "/home/ec2-user"))
        );
        assert_eq!(account("broken"), None);
    }
}

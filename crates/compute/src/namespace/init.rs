//! Drover's own init, pid 1 of an instance: names the machine, leaves user data to an agent
//! (`first_boot`), reaps, and shuts down when asked. For images of which no init of their own is run.
//!
//! ```text
//!  SIGTERM, SIGPWR, SIGUSR1, SIGRTMIN+3, +4   power off
//!  SIGUSR2, SIGINT, SIGRTMIN+5                reboot
//! ```

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::record::Record;
use super::{child, first_boot, sys, trust};
use crate::{Resolver, Spec};

pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long processes have to end when the guest itself asked; a stop from outside has its own grace.
const GRACE_MS: u64 = 30_000;

/// Never returns.
pub fn run(record: &Record, channel: OwnedFd) -> ! {
    sys::set_title("/sbin/init");
    usual_limits();
    let signals = Signals::take();
    let (spec, notes) = settle(record, true);
    for note in notes {
        say(&note);
    }
    let spec = &spec;
    let _ = sys::send(channel.as_fd(), &[child::UP], &[]);
    if let Err(error) = first_boot::start(spec, false) {
        say(&format!("first boot: {error}"));
    }
    let mut init = Init { signals, ending: None };
    init.run()
}

/// What the cloud's side of a machine is, whatever its init: whom it trusts, its name and its resolver.
/// Gives the specification with what that adds to the environment, and what went wrong.
pub fn settle(record: &Record, names: bool) -> (Spec, Vec<String>) {
    let mut spec = record.spec.clone();
    let mut notes = Vec::new();
    if let Some(pem) = &record.trusted {
        match trust::install(Path::new("/"), pem) {
            Ok(variables) => {
                let variables = variables.iter().map(|(key, value)| (*key, *value));
                let own = variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
                // What the specification says stands.
                spec.env = own.chain(std::mem::take(&mut spec.env)).collect();
            }
            Err(error) => notes.push(format!("trusted certificates: {error}")),
        }
    }
    if let Err(error) = identify(&spec, names) {
        notes.push(format!("identity: {error}"));
    }
    (spec, notes)
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
pub fn say(message: &str) {
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
    /// Shutting down, to what end, and when patience is over.
    ending: Option<(End, u64)>,
}

impl Init {
    fn run(&mut self) -> ! {
        loop {
            let mut fds = [sys::pollfd(&self.signals.0)];
            let timeout = match self.ending {
                Some((_, until)) => until.saturating_sub(sys::monotonic_ms()).min(60_000) as i32,
                None => -1,
            };
            let _ = sys::poll(&mut fds, timeout);
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
    fn reap(&self) -> bool {
        loop {
            // SAFETY: nobody wants the status.
            match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
                0 => return true,
                pid if pid < 0 => return false,
                _ => {}
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

/// Writes where the cloud is, and what the machine is called unless that is for the guest to say.
fn identify(spec: &Spec, names: bool) -> io::Result<()> {
    fs::create_dir_all("/etc/profile.d")?;
    if names && first_boot::is_first(spec) {
        replace("/etc/hostname", &format!("{}\n", spec.hostname), 0o644)?;
        write_hosts(&spec.hostname, spec)?;
    } else if names {
        // The guest may have called itself something else since.
        let name = fs::read_to_string("/etc/hostname").unwrap_or_default();
        let _ = sys::set_hostname(name.trim());
    } else if first_boot::is_first(spec) {
        write_hosts(&spec.hostname, spec)?;
    }
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

pub fn write_hosts(hostname: &str, spec: &Spec) -> io::Result<()> {
    let addresses: Vec<Ipv4Addr> = spec.nics.iter().map(|nic| nic.address).collect();
    replace("/etc/hosts", &hosts(hostname, &addresses), 0o644)
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

/// Name, uid, gid and home of a line of passwd(5).
pub fn account(line: &str) -> Option<(&str, u32, u32, &str)> {
    let fields: Vec<&str> = line.split(':').collect();
    let [user, _, uid, gid, _, home, ..] = fields[..] else { return None };
    Some((user, uid.parse().ok()?, gid.parse().ok()?, home))
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

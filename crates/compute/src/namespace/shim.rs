//! The shim: one small process per instance, parent of its pid 1. It outlives daemon and launcher,
//! keeps the console, and writes down how the boot ended.
//!
//! One daemon at a time talks to it, in lines of JSON (`ToShim`, `ToDaemon`), first over the socket the
//! launch brought along, later by connecting to `socket` in the instance's directory. A shim holds the
//! lock of that directory as long as it lives: that is how everybody else knows that it does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::confine::Filter;
use super::disks::Plugged;
use super::errands::{Errand, Refusal, Request};
use super::helper::Helper;
use super::launch::{self, Launched};
use super::record::{self, ExitRecord, Home, Record, ShimRecord};
use super::{child, console, mount, oom, roots, sys};
use crate::{BootTimes, Disk, Exit};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToDaemon {
    /// Init's process exists; the interfaces can be attached to its network namespace.
    Started {
        pid: i32,
        wants_network: bool,
        up: bool,
        /// Those that are plugged in.
        #[serde(default)]
        disks: Vec<Disk>,
    },
    Up,
    Answer {
        number: u64,
        answer: Result<(), Refusal>,
    },
    Exited(Exit),
    /// Nothing was started.
    Refused(String),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToShim {
    /// The interfaces are there; or why they are not.
    Network(Result<(), String>),
    Stop {
        grace_ms: u64,
    },
    Kill,
    /// Typed on the console.
    Type(Vec<u8>),
    /// To be answered under this number, once init runs.
    Ask {
        number: u64,
        request: Request,
    },
}

/// Runs a shim in this process, which the launcher has just forked. Never returns.
pub fn run(
    home: Home,
    lock: OwnedFd,
    daemon: OwnedFd,
    root: Option<OwnedFd>,
    state_lock: OwnedFd,
    filter: &Filter,
) -> ! {
    sys::setsid();
    sys::ignore_signals(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE]);
    sys::default_signals(&[libc::SIGCHLD]);
    let fds = [&lock, &daemon, &state_lock].map(|fd| fd.as_raw_fd());
    let root_fd: Vec<_> = root.iter().map(AsRawFd::as_raw_fd).collect();
    sys::close_all_but(&[&[0, 1, 2], &fds[..], &root_fd[..]].concat());
    let mut daemon = UnixStream::from(daemon);
    let result = Shim::start(&home, root, state_lock, filter);
    match result {
        Ok(mut shim) => {
            shim.daemon = Some(daemon);
            shim.serve();
        }
        Err(error) => {
            let _ = tell(&mut daemon, &ToDaemon::Refused(error.to_string()));
        }
    }
    // Held up to here.
    drop(lock);
    sys::exit(0)
}

/// Whether a process catches or has blocked (as for signalfd) this signal, see proc_pid_status(5).
fn hears(pid: libc::pid_t, signal: libc::c_int) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| {
        let set = line.strip_prefix("SigCgt:").or_else(|| line.strip_prefix("SigBlk:"));
        set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
            .is_some_and(|set| set & (1 << (signal - 1)) != 0)
    })
}

fn tell(daemon: &mut UnixStream, message: &ToDaemon) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    daemon.write_all(&line)
}

/// How often an init that does not hear yet is looked at.
const HEARING_MS: u64 = 50;

/// Most helpers at once, as far as the guest asks for them.
const MOST_HELPERS: usize = 32;

pub struct Shim {
    home: Home,
    pub record: Record,
    listener: UnixListener,
    daemon: Option<UnixStream>,
    /// What the daemon has sent of a line so far.
    line: Vec<u8>,
    pub pid: libc::pid_t,
    pidfd: OwnedFd,
    /// To and from init.
    channel: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    /// Its other end, kept open: a guest that closes its console for a moment must not end it.
    _slave: OwnedFd,
    console: console::Writer,
    /// `None`: this host cannot tell.
    memory: Option<oom::Watch>,
    started_ms: u64,
    wants_network: bool,
    up: bool,
    times: BootTimes,
    /// The image's init, from when it is executed.
    image_init: Option<String>,
    failed: bool,
    asked: bool,
    /// To shut down, to be sent as soon as init hears it.
    unheard: Option<libc::c_int>,
    /// When a stop's grace is over.
    deadline_ms: Option<u64>,
    pub disks: Vec<Plugged>,
    /// The guest's /dev.
    pub dev: OwnedFd,
    /// A directory of its root, when that has a size of its own.
    pub root: Option<File>,
    pub helpers: Vec<(Helper, Errand)>,
    /// Where the guest's calls come from: a filter for init and all of its, one for each program that
    /// was run inside.
    pub calls: Vec<Rc<OwnedFd>>,
    /// Where the latter are sent.
    call_socket: UnixDatagram,
    /// Asked before init ran.
    early: Vec<(u64, Request)>,
}

impl Shim {
    fn start(
        home: &Home,
        root: Option<OwnedFd>,
        state_lock: OwnedFd,
        filter: &Filter,
    ) -> io::Result<Shim> {
        std::env::set_current_dir(&home.0)?;
        let record: Record = record::read(&home.record())
            .ok_or_else(|| io::Error::other("record cannot be read"))?;
        sys::set_title(&format!("drover-shim {}", record.spec.id));
        let begun = [("asked", record.asked_us), ("shim", sys::realtime_us())];
        let times = BootTimes {
            boot: record.spec.boot,
            init: "drover".to_owned(),
            marks: begun.map(|(what, at)| (what.to_owned(), at)).into(),
        };
        let shim = ShimRecord { boot: record.spec.boot, pid: std::process::id() as i32 };
        record::write(&home.shim(), &shim)?;
        // By a relative name: the full path may be longer than a socket's address can be.
        let _ = fs::remove_file("socket");
        let listener = UnixListener::bind("socket")?;
        let _ = fs::remove_file("calls");
        let call_socket = UnixDatagram::bind("calls")?;
        // A daemon that now takes the state directory over finds this shim.
        drop(state_lock);

        let mut console = console::Writer::open(&home.0)?;
        record.group.make(record.limits)?;
        let started_ms = sys::monotonic_ms();
        let plug = |backed| Plugged::at_boot(backed, &record);
        let disks: io::Result<Vec<Plugged>> = record.disks.iter().map(plug).collect();
        let launched = disks.and_then(|disks| {
            let dev = mount::devices(record.first_id)?;
            disks.iter().try_for_each(|disk| disk.place(dev.as_fd(), &record))?;
            let root = match (root, &record.root_file) {
                (None, Some(file)) => Some(roots::mounted(file)?),
                (root, _) => root,
            };
            let directory = root.as_ref().map(roots::opened).transpose()?;
            Ok((launch::launch(&record, root, &dev, filter)?, disks, dev, directory))
        });
        match launched {
            Ok((Launched { pid, pidfd, channel, terminal, slave }, disks, dev, root)) => Ok(Shim {
                home: home.clone(),
                wants_network: true,
                memory: oom::Watch::of(&record.group).unwrap_or_default(),
                started_ms,
                record,
                listener,
                daemon: None,
                line: Vec::new(),
                pid,
                pidfd,
                channel: Some(channel),
                terminal: Some(terminal),
                _slave: slave,
                console,
                up: false,
                times,
                image_init: None,
                failed: false,
                asked: false,
                unheard: None,
                deadline_ms: None,
                disks,
                dev,
                root,
                helpers: Vec::new(),
                calls: Vec::new(),
                call_socket,
                early: Vec::new(),
            }),
            Err(error) => {
                let _ = console.write(format!("drover: {error}\n").as_bytes());
                let _ = record.group.remove();
                Err(error)
            }
        }
    }

    /// Until init is gone.
    fn serve(&mut self) {
        self.greet();
        loop {
            let none = libc::pollfd { fd: -1, events: 0, revents: 0 };
            let optional = |fd: Option<libc::pollfd>| fd.unwrap_or(none);
            let mut fds = vec![
                sys::pollfd(&self.pidfd),
                optional(self.terminal.as_ref().map(sys::pollfd)),
                optional(self.channel.as_ref().map(sys::pollfd)),
                sys::pollfd(&self.listener),
                optional(self.daemon.as_ref().map(sys::pollfd)),
                sys::pollfd(&self.call_socket),
            ];
            // More than so many at once wait.
            let calls = if self.helpers.len() < MOST_HELPERS { self.calls.clone() } else { vec![] };
            fds.extend(calls.iter().map(|listener| sys::pollfd(&**listener)));
            fds.extend(self.helpers.iter().map(|(helper, _)| sys::pollfd(&helper.pidfd)));
            // The last one, taken off again below.
            fds.push(optional(self.memory.as_ref().map(oom::Watch::pollfd)));
            let patience = if self.unheard.is_some() { HEARING_MS } else { 60_000 };
            let mut timeout = self
                .deadline_ms
                .map_or(-1, |at| at.saturating_sub(sys::monotonic_ms()).min(patience) as i32);
            if self.memory.as_ref().is_some_and(oom::Watch::pending) {
                timeout = oom::LOOK_MS as i32;
            }
            if sys::poll(&mut fds, timeout).is_err() {
                break;
            }
            let mut ready: Vec<bool> = fds.iter().map(|fd| fd.revents != 0).collect();
            let warned = ready.pop() == Some(true);
            self.watch_memory(warned);
            if ready[1] {
                self.read_terminal();
            }
            if ready[2] {
                self.read_channel();
            }
            if ready[0] {
                break;
            }
            // From behind, as those that have ended are taken out.
            let first = 6 + calls.len();
            for n in (first..ready.len()).rev().filter(|&n| ready[n]) {
                let (helper, errand) = self.helpers.remove(n - first);
                self.returned(helper.end(), errand);
            }
            for (n, listener) in calls.iter().enumerate() {
                let events = fds[6 + n].revents;
                if events & libc::POLLIN != 0 {
                    self.take_call(listener);
                } else if events != 0 {
                    self.calls.retain(|known| !Rc::ptr_eq(known, listener));
                }
            }
            if ready[5]
                && let Ok((_, fds)) = sys::receive(self.call_socket.as_fd(), &mut [0; 16])
            {
                self.calls.extend(fds.into_iter().map(Rc::new));
            }
            if ready[3]
                && let Ok((stream, _)) = self.listener.accept()
            {
                self.daemon = Some(stream);
                self.line.clear();
                self.greet();
            }
            if ready[4] && !ready[3] {
                self.read_daemon();
            }
            self.ask();
            if self.deadline_ms.is_some_and(|at| sys::monotonic_ms() >= at) {
                self.deadline_ms = None;
                self.signal(libc::SIGKILL);
            }
        }
        self.bury();
    }

    /// Tells a daemon that has just connected where things stand.
    fn greet(&mut self) {
        let (pid, wants_network, up) = (self.pid, self.wants_network, self.up);
        let disks = self.disks.iter().map(|plugged| plugged.disk.clone()).collect();
        self.tell(&ToDaemon::Started { pid, wants_network, up, disks });
    }

    pub fn tell(&mut self, message: &ToDaemon) {
        if let Some(daemon) = &mut self.daemon
            && tell(daemon, message).is_err()
        {
            self.daemon = None;
        }
    }

    /// As the kernel of a machine would say it.
    fn watch_memory(&mut self, warned: bool) {
        let Some(memory) = &mut self.memory else { return };
        if warned {
            memory.warned();
        }
        let killed = memory.killed();
        if killed == 0 {
            return;
        }
        let (since, limit) =
            (sys::monotonic_ms() - self.started_ms, self.record.limits.memory_bytes >> 10);
        let what = if killed == 1 { "a process" } else { "processes" };
        let line = format!(
            "[{:5}.{:03}000] Out of memory: Killed {what} of this instance, {killed} in all \
             (total memory: {limit}kB)\r\n",
            since / 1000,
            since % 1000
        );
        let _ = self.console.write(line.as_bytes());
    }

    fn signal(&self, signal: libc::c_int) {
        let _ = sys::pidfd_signal(self.pidfd.as_fd(), signal);
    }

    fn read_terminal(&mut self) {
        let mut buffer = [0; 4096];
        let Some(terminal) = &self.terminal else { return };
        match sys::read(terminal.as_fd(), &mut buffer) {
            Ok(n) if n > 0 => {
                // A full disk must not stop the instance: its output is lost then.
                let _ = self.console.write(&buffer[..n]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => self.terminal = None,
        }
    }

    fn read_channel(&mut self) {
        let mut buffer = [0; 1024];
        let Some(channel) = &self.channel else { return };
        match sys::receive(channel.as_fd(), &mut buffer) {
            Ok((n, _)) if n > 0 && buffer[0] == child::UP => self.is_up(),
            Ok((n, fds)) if n > 0 && buffer[0] == child::LISTENER => {
                self.calls.extend(fds.into_iter().map(Rc::new));
            }
            Ok((n, _)) if n > 0 && buffer[0] == child::FAILED => {
                self.image_init = None;
                self.fail(&String::from_utf8_lossy(&buffer[1..n]));
            }
            Ok((n, _)) if n > 0 && buffer[0] == child::WANTS_GROUP => {
                match self.record.group.delegate(self.record.first_id) {
                    Ok(()) => drop(sys::send(channel.as_fd(), &[child::GROUP], &[])),
                    Err(error) => {
                        self.fail(&error.to_string());
                        self.signal(libc::SIGKILL);
                    }
                }
            }
            Ok((n, _)) if n > 0 && buffer[0] == child::ROOTED => self.mark("root"),
            Ok((n, _)) if n > 0 && buffer[0] == child::EXEC => {
                let init = String::from_utf8_lossy(&buffer[1..n]).into_owned();
                self.times.init.clone_from(&init);
                self.image_init = Some(init);
            }
            Ok((n, _)) if n > 0 => {}
            _ => {
                self.channel = None;
                if self.image_init.is_some() && !self.up {
                    self.is_up();
                }
            }
        }
    }

    fn mark(&mut self, what: &str) {
        self.times.marks.push((what.to_owned(), sys::realtime_us()));
    }

    fn is_up(&mut self) {
        self.up = true;
        self.mark("init");
        self.tell(&ToDaemon::Up);
        // Only for who wants to know.
        let _ = record::write(&self.home.times(), &self.times);
        for (number, request) in std::mem::take(&mut self.early) {
            self.answer_to(number, request);
        }
    }

    /// Sends the wish to shut down once init has a handler: what comes before that, pid 1 never hears.
    fn ask(&mut self) {
        if let Some(signal) = self.unheard
            && hears(self.pid, signal)
        {
            self.unheard = None;
            self.signal(signal);
        }
    }

    fn fail(&mut self, why: &str) {
        self.failed = true;
        let _ = self.console.write(format!("drover: boot failed: {why}\n").as_bytes());
    }

    fn read_daemon(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        let mut buffer = [0; 1024];
        match daemon.read(&mut buffer) {
            Ok(n) if n > 0 => self.line.extend(&buffer[..n]),
            _ => {
                self.daemon = None;
                return;
            }
        }
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            if let Ok(message) = serde_json::from_slice(&line) {
                self.act(message);
            }
        }
    }

    fn act(&mut self, message: ToShim) {
        match message {
            ToShim::Network(Ok(())) if self.wants_network => {
                self.wants_network = false;
                self.mark("network");
                if let Some(channel) = &self.channel {
                    let _ = sys::send(channel.as_fd(), &[child::NETWORK], &[]);
                }
            }
            ToShim::Network(Err(why)) if self.wants_network => {
                self.fail(&format!("network: {why}"));
                self.signal(libc::SIGKILL);
            }
            ToShim::Network(_) => {}
            ToShim::Stop { grace_ms } => {
                self.asked = true;
                let deadline = sys::monotonic_ms().saturating_add(grace_ms);
                self.deadline_ms = Some(self.deadline_ms.map_or(deadline, |at| at.min(deadline)));
                match &self.image_init {
                    // Before init runs, nobody is there to be asked.
                    _ if !self.up => self.signal(libc::SIGKILL),
                    // systemd's wish to power off, see systemd(1); SIGTERM makes it begin anew.
                    Some(init) if init.ends_with("systemd") => {
                        self.unheard = Some(libc::SIGRTMIN() + 4);
                    }
                    // What others take for a failing power supply, if for anything.
                    Some(_) => self.unheard = Some(libc::SIGPWR),
                    None => self.signal(libc::SIGTERM),
                }
            }
            ToShim::Kill => {
                self.asked = true;
                self.signal(libc::SIGKILL);
            }
            ToShim::Type(keys) => {
                // What a guest does not read is lost, as on a serial line.
                if let Some(terminal) = &self.terminal {
                    let _ = sys::write(terminal.as_fd(), &keys);
                }
            }
            ToShim::Ask { number, request } if self.up => self.answer_to(number, request),
            ToShim::Ask { number, request } => self.early.push((number, request)),
        }
    }

    /// Init is dead, and with it every process of its pid namespace.
    fn bury(&mut self) {
        let status = sys::wait(self.pid).unwrap_or(0);
        while self.terminal.is_some() {
            let mut fds = [self.terminal.as_ref().map(sys::pollfd).expect("just checked")];
            match sys::poll(&mut fds, 0) {
                Ok(1) => self.read_terminal(),
                _ => self.terminal = None,
            }
        }
        while self.channel.is_some() && !self.failed && !self.up {
            self.read_channel();
        }
        let exit = self.verdict(status);
        let _ = self.record.group.remove();
        let boot = self.record.spec.boot;
        if let Err(error) = record::write(&self.home.exit(), &ExitRecord { boot, exit }) {
            let _ = self.console.write(format!("drover: exit not kept: {error}\n").as_bytes());
        }
        self.tell(&ToDaemon::Exited(exit));
    }

    fn verdict(&self, status: libc::c_int) -> Exit {
        match status {
            _ if self.asked => Exit::Asked,
            _ if self.failed => Exit::Failed,
            // How the kernel tells reboot(2) in a pid namespace apart, see pid_namespaces(7).
            s if libc::WIFSIGNALED(s) && libc::WTERMSIG(s) == libc::SIGHUP => Exit::Rebooted,
            s if libc::WIFSIGNALED(s) && libc::WTERMSIG(s) == libc::SIGINT => Exit::PoweredOff,
            s if libc::WIFSIGNALED(s) => Exit::Lost,
            _ if !self.up => Exit::Failed,
            _ => Exit::PoweredOff,
        }
    }
}

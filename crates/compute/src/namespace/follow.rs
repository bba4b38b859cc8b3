//! What the daemon knows of one instance, and the task that listens to its shim.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::cgroup::Group;
use super::errands::{Refusal, Request};
use super::record::{self, ExitRecord, Home};
use super::shim::{ToDaemon, ToShim};
use super::{launcher, plug, sys};
use crate::{Disk, Error, Exit, Nic, Phase};

/// How long a shim may take to do what it is asked.
const ANSWER: Duration = Duration::from_secs(90);

/// What every follower needs of the world.
pub struct Shared {
    pub fabric: Arc<dyn fabric::Fabric>,
    pub changes: watch::Sender<u64>,
}

pub struct Slot {
    pub home: Home,
    /// Held by `ensure` and `destroy` from beginning to end.
    pub op: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    /// `None` until a first boot has begun, and again when destroyed.
    pub now: Option<(u64, Phase)>,
    /// Of init, while it runs.
    pub pid: Option<i32>,
    pub group: Option<Group>,
    pub range: Option<u32>,
    pub to_shim: Option<mpsc::UnboundedSender<ToShim>>,
    pub follower: Option<AbortHandle>,
    pub destroyed: bool,
    /// Those that are plugged into what runs.
    pub disks: Vec<Disk>,
    /// What the shim was asked and has not answered, by number.
    asked: HashMap<u64, oneshot::Sender<Result<(), Refusal>>>,
    next_number: u64,
}

impl Slot {
    pub fn new(home: Home) -> Slot {
        Slot { home, op: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    pub fn runs(&self) -> bool {
        matches!(self.state().now, Some((_, Phase::Booting | Phase::Up)))
    }

    /// Waits until the boot that runs has ended, at most this long; whether it has.
    pub async fn ended(&self, shared: &Shared, within: Duration) -> bool {
        let mut changes = shared.changes.subscribe();
        let ended = async {
            while self.runs() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(within, ended).await.is_ok()
    }

    /// Asks the shim. `Ok` too when nothing runs, or no longer does.
    pub async fn ask(&self, request: Request) -> crate::Result<()> {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.state();
            let Some(to_shim) = state.to_shim.clone() else { return Ok(()) };
            state.next_number += 1;
            let number = state.next_number;
            state.asked.insert(number, answer);
            let _ = to_shim.send(ToShim::Ask { number, request });
        }
        match tokio::time::timeout(ANSWER, answered).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(Refusal { busy: true, why }))) => Err(Error::Busy(why)),
            Ok(Ok(Err(Refusal { why, .. }))) => Err(Error::Host(why)),
            // The boot has ended.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(Error::Host("the shim does not answer".into())),
        }
    }

    fn set_phase(&self, shared: &Shared, boot: u64, phase: Phase) {
        {
            let mut state = self.state();
            // A later boot may have begun by now.
            if state.now.is_none_or(|(current, _)| current != boot) {
                return;
            }
            state.now = Some((boot, phase));
            if matches!(phase, Phase::Exited(_)) {
                state.pid = None;
                state.to_shim = None;
                state.disks.clear();
                state.asked.clear();
            }
        }
        shared.changes.send_modify(|n| *n += 1);
    }
}

/// A connection to a shim whose greeting was read.
pub struct Greeted {
    pub stream: BufReader<UnixStream>,
    pub pid: i32,
    pub wants_network: bool,
    pub up: bool,
    pub disks: Vec<Disk>,
}

/// Listens to the shim of this boot until it is gone.
pub fn start(
    runtime: &tokio::runtime::Handle,
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    boot: u64,
    nics: Vec<Nic>,
    greeted: Greeted,
) {
    let (to_shim, commands) = mpsc::unbounded_channel();
    {
        let mut state = slot.state();
        state.pid = Some(greeted.pid);
        state.disks = greeted.disks.clone();
        state.to_shim = Some(to_shim);
        state.now = Some((boot, if greeted.up { Phase::Up } else { Phase::Booting }));
    }
    shared.changes.send_modify(|n| *n += 1);
    let follower = Follower { shared, slot: slot.clone(), boot, nics, commands };
    let task = runtime.spawn(follower.run(greeted));
    slot.state().follower = Some(task.abort_handle());
}

struct Follower {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    boot: u64,
    nics: Vec<Nic>,
    commands: mpsc::UnboundedReceiver<ToShim>,
}

impl Follower {
    async fn run(mut self, greeted: Greeted) {
        let mut stream = greeted.stream;
        if greeted.wants_network && self.attach(&mut stream, greeted.pid).await.is_err() {
            tracing::debug!(id = %self.slot.home.0.display(), "shim gone before its network");
        }
        loop {
            if self.listen(&mut stream).await {
                return;
            }
            match self.gone_or_again().await {
                Ok(Some(again)) => stream = again,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(id = %self.slot.home.0.display(), %error, "shim lost");
                    return;
                }
            }
        }
    }

    /// Attaches the interfaces and tells the shim.
    async fn attach(&self, stream: &mut BufReader<UnixStream>, pid: i32) -> io::Result<()> {
        let result = self.attach_all(pid);
        send(stream, &ToShim::Network(result)).await
    }

    fn attach_all(&self, pid: i32) -> Result<(), String> {
        if self.nics.is_empty() {
            return Ok(());
        }
        // The shim has not reaped its child, so the pid is still that child's.
        let namespace = plug::namespace(pid).map_err(|error| error.to_string())?;
        let plug = |nic: &Nic| plug::plug(&*self.shared.fabric, nic, &namespace, false);
        self.nics.iter().try_for_each(plug).map_err(|error| error.to_string())
    }

    /// Until the connection ends; whether the boot has, too.
    async fn listen(&mut self, stream: &mut BufReader<UnixStream>) -> bool {
        let mut line = Vec::new();
        let mut open = true;
        loop {
            tokio::select! {
                read = stream.read_until(b'\n', &mut line) => {
                    if !matches!(read, Ok(n) if n > 0) {
                        return false;
                    }
                    if !line.ends_with(b"\n") {
                        continue;
                    }
                    match serde_json::from_slice(&line) {
                        Ok(ToDaemon::Up) => {
                            self.slot.set_phase(&self.shared, self.boot, Phase::Up);
                        }
                        Ok(ToDaemon::Exited(exit)) => {
                            let phase = Phase::Exited(exit);
                            self.slot.set_phase(&self.shared, self.boot, phase);
                            return true;
                        }
                        Ok(ToDaemon::Answer { number, answer }) => {
                            let asker = self.slot.state().asked.remove(&number);
                            // Who does not wait any more asks again.
                            let _ = asker.map(|asker| asker.send(answer));
                        }
                        _ => {}
                    }
                    line.clear();
                }
                command = self.commands.recv(), if open => match command {
                    Some(command) => { let _ = send(stream, &command).await; }
                    None => open = false,
                }
            }
        }
    }

    /// The connection ended without a verdict: the shim is dead, or it only dropped the connection.
    async fn gone_or_again(&self) -> io::Result<Option<BufReader<UnixStream>>> {
        let until = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let (slot, boot) = (self.slot.clone(), self.boot);
            let closed = tokio::task::spawn_blocking(move || close(&slot, boot)).await;
            if let Some(exit) = closed.map_err(io::Error::other)?? {
                self.slot.set_phase(&self.shared, self.boot, Phase::Exited(exit));
                return Ok(None);
            }
            if let Ok(again) = launcher::connect(&self.slot.home) {
                let greeted = greet(again).await?;
                if let Some(greeted) = greeted {
                    if greeted.up {
                        self.slot.set_phase(&self.shared, self.boot, Phase::Up);
                    }
                    return Ok(Some(greeted.stream));
                }
            }
            if tokio::time::Instant::now() > until {
                return Err(io::Error::other("it holds its lock but does not answer"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn send(stream: &mut BufReader<UnixStream>, message: &ToShim) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.get_mut().write_all(&line).await
}

/// Reads what a shim says first. `None`: it said nothing and is gone; an error: it refused.
pub async fn greet(stream: StdStream) -> io::Result<Option<Greeted>> {
    stream.set_nonblocking(true)?;
    let mut stream = BufReader::new(UnixStream::from_std(stream)?);
    let mut line = Vec::new();
    match stream.read_until(b'\n', &mut line).await {
        Ok(n) if n > 0 => {}
        _ => return Ok(None),
    }
    match serde_json::from_slice(&line)? {
        ToDaemon::Started { pid, wants_network, up, disks } => {
            Ok(Some(Greeted { stream, pid, wants_network, up, disks }))
        }
        ToDaemon::Refused(why) => Err(io::Error::other(why)),
        other => Err(io::Error::other(format!("unexpected greeting {other:?}"))),
    }
}

/// If the shim is dead: ends what may be left of this boot and says how it ended. `None`: it lives.
pub fn close(slot: &Slot, boot: u64) -> io::Result<Option<Exit>> {
    let lock = match std::fs::File::open(slot.home.lock()) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Exit::Lost)),
        Err(error) => return Err(error),
    };
    if !sys::try_lock(lock.as_fd())? {
        return Ok(None);
    }
    let exit = record::read::<ExitRecord>(&slot.home.exit()).filter(|exit| exit.boot == boot);
    let exit = exit.map_or(Exit::Lost, |exit| exit.exit);
    let group = slot.state().group.clone();
    if let Some(group) = group {
        group.kill()?;
        group.remove()?;
    }
    record::write(&slot.home.exit(), &ExitRecord { boot, exit })?;
    Ok(Some(exit))
}

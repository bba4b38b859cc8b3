//! A driver without compute: instances are entries in a book that go through their phases in virtual
//! time. For the simulator (time moves by hand, faults are injected) and for hosts without privileges
//! (real time, short boots). The book is the "host": it outlives the controllers of a crashed daemon.

mod shelf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::watch;

use shelf::Shelf;

use crate::driver::{
    BoxFuture, Disk, Driver, Error, Exit, Nic, Observed, Phase, Result, Spec, Usage,
};
use crate::exec::{self, ConsoleFollower, End, Keys, Program, Running};

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub boot: Duration,
    /// From `stop` to the end, unless the grace period is shorter.
    pub stop: Duration,
}

/// Where a fault may strike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Point<'a> {
    Ensure(&'a Spec),
    Stop(&'a str),
    Attach(&'a str),
    Detach(&'a str),
    /// The instance.
    PlugDisk(&'a str),
    UnplugDisk(&'a str),
    Destroy(&'a str),
    /// The volume, snapshot or root that is made, changed or deleted.
    Store(&'a str),
}

/// What goes wrong there. One that makes no sense at its point does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ensure` is refused for lack of room; nothing begins.
    NoCapacity,
    /// What was asked for (but `stop`) fails; nothing is done.
    Fails,
    /// One of them fails, but was done all the same: the answer is lost.
    AnswerLost,
    /// What is stored is being made still, and nothing is done yet.
    Busy,
    /// The boot begins and ends as `Exited(Failed)`.
    BootFails,
    /// The boot or the stop takes this much longer.
    Slow(Duration),
}

type Now = Box<dyn Fn() -> Duration + Send + Sync>;
type Faults = Box<dyn Fn(Point<'_>) -> Option<Fault> + Send + Sync>;

pub struct Fake {
    now: Now,
    timing: Timing,
    faults: Faults,
    machines: Mutex<BTreeMap<String, Machine>>,
    /// Locked after `machines`.
    shelf: Mutex<Shelf>,
    changes: watch::Sender<u64>,
    player: Mutex<Option<Arc<Player>>>,
    keys: Mutex<Option<BTreeMap<(String, String), String>>>,
}

/// Plays what programs would do, for tests.
type Player = dyn Fn(&str, &Program) -> exec::Result<Played> + Send + Sync;

/// What a program that is only played says, and how it ends.
pub struct Played {
    pub output: Vec<u8>,
    pub errors: Vec<u8>,
    pub end: BoxFuture<'static, exec::Result<End>>,
}

impl Played {
    /// It has ended already.
    pub fn ended(output: &str, errors: &str, code: i32) -> Played {
        let end = Box::pin(std::future::ready(Ok(End::Exited(code))));
        Played { output: output.into(), errors: errors.into(), end }
    }
}

struct Machine {
    spec: Spec,
    phase: Phase,
    /// What it turns into by itself, and when.
    next: Option<(Duration, Phase)>,
    console: Vec<u8>,
    busy: Busy,
}

/// Processor time: `used` up to `since`, then `cores` per second.
#[derive(Clone, Copy, Default)]
struct Busy {
    used: Duration,
    since: Duration,
    cores: f64,
    /// What it may use at most, where it was said.
    most: Option<f64>,
}

impl Busy {
    fn until(&self, now: Duration) -> Duration {
        let cores = self.most.map_or(self.cores, |most| self.cores.min(most));
        self.used + now.saturating_sub(self.since).mul_f64(cores)
    }
}

impl Fake {
    /// `now` is any clock that never goes back; call `tick` whenever it moved.
    pub fn new(timing: Timing, now: impl Fn() -> Duration + Send + Sync + 'static) -> Fake {
        Fake::with_faults(timing, now, |_| None)
    }

    /// `faults` is asked before each act, from within the driver's lock: it must not call the driver.
    pub fn with_faults(
        timing: Timing,
        now: impl Fn() -> Duration + Send + Sync + 'static,
        faults: impl Fn(Point<'_>) -> Option<Fault> + Send + Sync + 'static,
    ) -> Fake {
        Fake {
            now: Box::new(now),
            timing,
            faults: Box::new(faults),
            machines: Mutex::default(),
            shelf: Mutex::default(),
            changes: watch::channel(0).0,
            player: Mutex::default(),
            keys: Mutex::default(),
        }
    }

    /// For tests: programs are played by this. Without it they are refused, as nothing runs.
    pub fn play(
        &self,
        player: impl Fn(&str, &Program) -> exec::Result<Played> + Send + Sync + 'static,
    ) {
        *self.player.lock().expect("no panics under the lock") = Some(Arc::new(player));
    }

    /// For tests: from now on instances have files of keys.
    pub fn keep_keys(&self) {
        *self.keys.lock().expect("no panics under the lock") = Some(BTreeMap::new());
    }

    /// The keys of a user of an instance; none where none are kept.
    pub fn keys(&self, id: &str, user: &str) -> String {
        let files = self.keys.lock().expect("no panics under the lock");
        let file = files.as_ref().and_then(|all| all.get(&(id.to_owned(), user.to_owned())));
        file.cloned().unwrap_or_default()
    }

    fn up(&self, id: &str) -> exec::Result<()> {
        let up = self.book().get(id).is_some_and(|machine| machine.phase == Phase::Up);
        if up { Ok(()) } else { Err(exec::Error::NotRunning(id.to_owned())) }
    }

    /// In the host's time, with a task that moves the phases. Needs a tokio runtime.
    pub fn in_real_time(timing: Timing) -> Arc<Fake> {
        let started = tokio::time::Instant::now();
        let fake = Arc::new(Fake::new(timing, move || started.elapsed()));
        tokio::spawn(keep_ticking(Arc::downgrade(&fake)));
        fake
    }

    /// Lets everything happen whose time has come. Whether anything did.
    pub fn tick(&self) -> bool {
        let now = (self.now)();
        let mut changed = false;
        for machine in self.book().values_mut() {
            if let Some((at, phase)) = machine.next
                && at <= now
            {
                machine.enter(phase, at);
                changed = true;
            }
        }
        if changed {
            self.changed();
        }
        changed
    }

    /// When the next thing happens by itself, on the driver's clock.
    pub fn next_due(&self) -> Option<Duration> {
        self.book().values().filter_map(|machine| machine.next.map(|(at, _)| at)).min()
    }

    /// What happens to a running instance from within or from outside: `Lost` is a host's failure,
    /// `PoweredOff` and `Rebooted` are the guest's own doing. Not running: nothing. Whether it ran.
    pub fn end(&self, id: &str, exit: Exit) -> bool {
        let now = (self.now)();
        let mut book = self.book();
        let Some(machine) = book.get_mut(id) else { return false };
        if matches!(machine.phase, Phase::Exited(_)) {
            return false;
        }
        machine.enter(Phase::Exited(exit), now);
        drop(book);
        self.changed();
        true
    }

    /// From now on the instance uses this many cores, while it is up.
    pub fn set_load(&self, id: &str, cores: f64) {
        let now = (self.now)();
        if let Some(machine) = self.book().get_mut(id) {
            machine.busy =
                Busy { used: machine.busy.until(now), since: now, cores, ..machine.busy };
        }
    }

    /// The specification of the present boot.
    pub fn spec(&self, id: &str) -> Option<Spec> {
        self.book().get(id).map(|machine| machine.spec.clone())
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<String, Machine>> {
        self.machines.lock().expect("no panics under the lock")
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    fn begin(&self, spec: &Spec) -> Result<()> {
        let now = (self.now)();
        let mut book = self.book();
        if book.get(&spec.id).is_some_and(|machine| machine.spec.boot >= spec.boot) {
            return Ok(());
        }
        for disk in &spec.disks {
            self.can_have(&book, &spec.id, disk)?;
        }
        let fault = (self.faults)(Point::Ensure(spec));
        let (mut took, mut end, mut answer) = (self.timing.boot, Phase::Up, Ok(()));
        match fault {
            Some(Fault::NoCapacity) => return Err(Error::Capacity("injected fault".into())),
            Some(Fault::Fails) => return Err(Error::Host("injected fault".into())),
            Some(Fault::AnswerLost) => answer = Err(Error::Host("injected lost answer".into())),
            Some(Fault::BootFails) => end = Phase::Exited(Exit::Failed),
            Some(Fault::Slow(by)) => took += by,
            Some(Fault::Busy) | None => {}
        }
        let mut console = book.remove(&spec.id).map(|old| old.console).unwrap_or_default();
        let line = format!("{}: simulated boot {}, nothing runs here\n", spec.id, spec.boot);
        console.extend_from_slice(line.as_bytes());
        let machine = Machine {
            spec: spec.clone(),
            phase: Phase::Booting,
            next: Some((now + took, end)),
            console,
            busy: Busy { since: now, ..Busy::default() },
        };
        book.insert(spec.id.clone(), machine);
        drop(book);
        self.changed();
        answer
    }

    fn change(
        &self,
        point: Point<'_>,
        id: &str,
        change: impl FnOnce(&mut Spec) -> Result<()>,
    ) -> Result<()> {
        let mut book = self.book();
        let Some(machine) = book.get_mut(id) else { return Ok(()) };
        if matches!(machine.phase, Phase::Exited(_)) {
            return Ok(());
        }
        self.act(point, || change(&mut machine.spec))
    }

    /// Does it, unless or although it fails.
    fn act<T>(&self, point: Point<'_>, act: impl FnOnce() -> Result<T>) -> Result<T> {
        match (self.faults)(point) {
            Some(Fault::Fails) => Err(Error::Host("injected fault".into())),
            Some(Fault::Busy) => Err(Error::Busy("injected".into())),
            Some(Fault::AnswerLost) => {
                act()?;
                Err(Error::Host("injected lost answer".into()))
            }
            _ => act(),
        }
    }

    fn remove(&self, id: &str) -> Result<()> {
        let mut book = self.book();
        if !book.contains_key(id) {
            return Ok(());
        }
        let answer = self.act(Point::Destroy(id), || {
            book.remove(id);
            Ok(())
        });
        drop(book);
        self.changed();
        answer
    }
}

impl Machine {
    fn enter(&mut self, phase: Phase, at: Duration) {
        self.phase = phase;
        self.next = None;
        if let Phase::Exited(_) = phase {
            self.busy = Busy { used: self.busy.until(at), since: at, cores: 0.0, most: None };
        }
    }
}

async fn keep_ticking(fake: Weak<Fake>) {
    loop {
        let Some(alive) = fake.upgrade() else { return };
        alive.tick();
        let mut changes = alive.changes.subscribe();
        let wait = alive.next_due().map(|at| at.saturating_sub((alive.now)()));
        drop(alive);
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = timer => {}
        }
    }
}

impl Driver for Fake {
    fn ensure<'a>(&'a self, spec: &'a Spec) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.begin(spec) })
    }

    fn stop(&self, id: &str, grace: Duration) -> Result<()> {
        let now = (self.now)();
        let mut book = self.book();
        let Some(machine) = book.get_mut(id) else { return Ok(()) };
        let asked = Phase::Exited(Exit::Asked);
        let stopping = matches!(machine.next, Some((_, phase)) if phase == asked);
        if stopping || matches!(machine.phase, Phase::Exited(_)) {
            return Ok(());
        }
        let mut took = self.timing.stop;
        if let Some(Fault::Slow(by)) = (self.faults)(Point::Stop(id)) {
            took += by;
        }
        machine.next = Some((now + took.min(grace), asked));
        drop(book);
        self.changed();
        Ok(())
    }

    fn kill(&self, id: &str) -> Result<()> {
        self.end(id, Exit::Asked);
        Ok(())
    }

    fn crash(&self, id: &str) -> Result<()> {
        self.end(id, Exit::Lost);
        Ok(())
    }

    fn set_cpu(&self, id: &str, cores: f64) -> Result<()> {
        let now = (self.now)();
        if let Some(machine) = self.book().get_mut(id)
            && machine.phase == Phase::Up
        {
            let busy = machine.busy;
            machine.busy = Busy { used: busy.until(now), since: now, most: Some(cores), ..busy };
        }
        Ok(())
    }

    fn attach<'a>(&'a self, id: &'a str, nic: &'a Nic) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.change(Point::Attach(id), id, |spec| {
                spec.nics.retain(|known| known.interface != nic.interface);
                spec.nics.push(nic.clone());
                Ok(())
            })
        })
    }

    fn detach<'a>(&'a self, id: &'a str, nic: &'a Nic) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.change(Point::Detach(id), id, |spec| {
                spec.nics.retain(|known| known.interface != nic.interface);
                Ok(())
            })
        })
    }

    fn plug_disk<'a>(&'a self, id: &'a str, disk: &'a Disk) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.can_have(&self.book(), id, disk)?;
            self.change(Point::PlugDisk(id), id, |spec| {
                spec.disks.retain(|known| known.name != disk.name);
                spec.disks.push(disk.clone());
                Ok(())
            })
        })
    }

    fn unplug_disk<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        force: bool,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if !force && self.shelf().is_mounted(name) {
                return Err(Error::Busy(format!("{name} is mounted in {id}")));
            }
            self.change(Point::UnplugDisk(id), id, |spec| {
                spec.disks.retain(|known| known.name != name);
                Ok(())
            })
        })
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.remove(id) })
    }

    fn list(&self) -> Vec<Observed> {
        let book = self.book();
        let observed =
            |m: &Machine| Observed { id: m.spec.id.clone(), boot: m.spec.boot, phase: m.phase };
        book.values().map(observed).collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn usage(&self, id: &str) -> Option<Usage> {
        let now = (self.now)();
        let book = self.book();
        Some(Usage { cpu: book.get(id)?.busy.until(now), ..Usage::default() })
    }

    fn console(&self, id: &str) -> Vec<u8> {
        self.book().get(id).map(|machine| machine.console.clone()).unwrap_or_default()
    }

    fn follow_console(&self, id: &str) -> Option<ConsoleFollower> {
        let console = self.book().get(id)?.console.clone();
        Some(Box::new({
            let mut once = Some(console);
            move || once.take().unwrap_or_default()
        }))
    }

    fn type_on_console(&self, id: &str, _: &[u8]) -> exec::Result<()> {
        self.up(id)?;
        Err(exec::Error::Simulated(id.to_owned()))
    }

    fn exec<'a>(
        &'a self,
        id: &'a str,
        program: &'a Program,
    ) -> BoxFuture<'a, exec::Result<Running>> {
        Box::pin(async move {
            self.up(id)?;
            let play = self.player.lock().expect("no panics under the lock").clone();
            let play = play.ok_or_else(|| exec::Error::Simulated(id.to_owned()))?;
            let Played { output, errors, end } = play(id, program)?;
            Ok(Running {
                input: Box::new(tokio::io::sink()),
                output: Box::new(std::io::Cursor::new(output)),
                errors: Box::new(std::io::Cursor::new(errors)),
                resize: None,
                end,
            })
        })
    }

    fn authorize<'a>(&'a self, id: &'a str, keys: &'a Keys) -> BoxFuture<'a, exec::Result<()>> {
        Box::pin(async move {
            self.up(id)?;
            let mut files = self.keys.lock().expect("no panics under the lock");
            let Some(files) = files.as_mut() else {
                return Err(exec::Error::Simulated(id.to_owned()));
            };
            let file = files.entry((id.to_owned(), keys.user.clone())).or_default();
            *file = keys.apply(file);
            Ok(())
        })
    }

    fn connect<'a>(&'a self, id: &'a str, _: u16) -> BoxFuture<'a, exec::Result<TcpStream>> {
        Box::pin(async move {
            self.up(id)?;
            Err(exec::Error::Simulated(id.to_owned()))
        })
    }
}

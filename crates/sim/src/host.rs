//! What outlives the daemon: the machines of the host and the balancers, each a fake behind which the
//! simulator watches and interrupts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use balancer::snapshot::{Report, Snapshot, Target};
use cloud::ec2::instance::{Instance, InstanceState};
use cloud::fake_balancers::FakeBalancers;
use cloud::{Clock, Timestamp, env};
use compute::driver::BoxFuture;
use compute::exec::{self, ConsoleFollower, Keys, Program, Running};
use compute::fake::{Fake, Timing};
use compute::{Disk, Driver, Nic, Observed, Phase, Spec, Usage};
use store::Store;
use tokio::sync::watch;

use crate::faults::Faults;
use crate::world::key;

mod storage;

const TIMING: Timing = Timing { boot: Duration::from_secs(2), stop: Duration::from_secs(1) };

/// The machines.
pub struct Host {
    pub book: Fake,
    faults: Arc<Faults>,
    store: Store,
    /// Network and address of every machine that was ever begun.
    addresses: Mutex<BTreeMap<String, Vec<(String, Ipv4Addr)>>>,
    complaint: Mutex<Option<String>>,
}

impl Host {
    pub fn new(
        faults: Arc<Faults>,
        store: Store,
        now: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Host {
        let judge = Arc::clone(&faults);
        let book = Fake::with_faults(TIMING, now, move |point| judge.driver(point));
        Host { book, faults, store, addresses: Mutex::default(), complaint: Mutex::default() }
    }

    pub fn machines(&self) -> BTreeMap<String, Observed> {
        self.book.list().into_iter().map(|seen| (seen.id.clone(), seen)).collect()
    }

    pub fn is_up(&self, id: &str) -> bool {
        self.book.list().iter().any(|seen| seen.id == id && seen.phase == Phase::Up)
    }

    /// What a call did that must never be done.
    pub fn complaint(&self) -> Option<String> {
        self.complaint.lock().expect("no panics under the lock").clone()
    }

    /// A boot begins only for a record that says so, and with an address that nothing else has.
    fn judge(&self, spec: &Spec) -> Result<(), String> {
        let record = self.store.read().get::<Instance>(&key(&spec.id));
        match record {
            None => return Err(format!("{} is booted without a record", spec.id)),
            Some(record) if record.state() == InstanceState::Terminated => {
                return Err(format!("{} is terminated, but booted", spec.id));
            }
            Some(record) if record.desired.boot < spec.boot => {
                return Err(format!("boot {} of {} was not asked for", spec.boot, spec.id));
            }
            Some(_) => {}
        }
        let own: Vec<(String, Ipv4Addr)> =
            spec.nics.iter().map(|nic| (nic.network.clone(), nic.address)).collect();
        let mut addresses = self.addresses.lock().expect("no panics under the lock");
        let runs = |seen: &Observed| !matches!(seen.phase, Phase::Exited(_));
        for other in self.book.list().iter().filter(|seen| seen.id != spec.id && runs(seen)) {
            let theirs = addresses.get(&other.id).into_iter().flatten();
            if let Some((_, address)) = theirs.into_iter().find(|pair| own.contains(pair)) {
                return Err(format!("{} and {} both run with {address}", spec.id, other.id));
            }
        }
        addresses.insert(spec.id.clone(), own);
        Ok(())
    }
}

impl Driver for Host {
    fn ensure<'a>(&'a self, spec: &'a Spec) -> BoxFuture<'a, compute::driver::Result<()>> {
        Box::pin(async move {
            self.faults.interruption().await;
            if let Err(complaint) = self.judge(spec) {
                *self.complaint.lock().expect("no panics under the lock") = Some(complaint);
            }
            let answer = self.book.ensure(spec).await;
            self.faults.interruption().await;
            answer
        })
    }

    fn stop(&self, id: &str, grace: Duration) -> compute::driver::Result<()> {
        self.book.stop(id, grace)
    }

    fn kill(&self, id: &str) -> compute::driver::Result<()> {
        self.book.kill(id)
    }

    fn set_cpu(&self, id: &str, cores: f64) -> compute::driver::Result<()> {
        self.book.set_cpu(id, cores)
    }

    fn crash(&self, id: &str) -> compute::driver::Result<()> {
        self.book.crash(id)
    }

    fn attach<'a>(
        &'a self,
        id: &'a str,
        nic: &'a Nic,
    ) -> BoxFuture<'a, compute::driver::Result<()>> {
        Box::pin(async move {
            self.faults.interruption().await;
            self.book.attach(id, nic).await
        })
    }

    fn detach<'a>(
        &'a self,
        id: &'a str,
        nic: &'a Nic,
    ) -> BoxFuture<'a, compute::driver::Result<()>> {
        Box::pin(async move {
            self.faults.interruption().await;
            self.book.detach(id, nic).await
        })
    }

    fn plug_disk<'a>(
        &'a self,
        id: &'a str,
        disk: &'a Disk,
    ) -> BoxFuture<'a, compute::driver::Result<()>> {
        Box::pin(async move {
            self.faults.interruption().await;
            self.book.plug_disk(id, disk).await
        })
    }

    fn unplug_disk<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        force: bool,
    ) -> BoxFuture<'a, compute::driver::Result<()>> {
        Box::pin(async move {
            self.faults.interruption().await;
            self.book.unplug_disk(id, name, force).await
        })
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, compute::driver::Result<()>> {
        Box::pin(async move {
            self.faults.interruption().await;
            let answer = self.book.destroy(id).await;
            self.faults.interruption().await;
            answer
        })
    }

    fn list(&self) -> Vec<Observed> {
        self.book.list()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.book.changes()
    }

    fn usage(&self, id: &str) -> Option<Usage> {
        self.book.usage(id)
    }

    fn console(&self, id: &str) -> Vec<u8> {
        self.book.console(id)
    }

    fn follow_console(&self, id: &str) -> Option<ConsoleFollower> {
        self.book.follow_console(id)
    }

    fn type_on_console(&self, id: &str, keys: &[u8]) -> exec::Result<()> {
        self.book.type_on_console(id, keys)
    }

    fn exec<'a>(
        &'a self,
        id: &'a str,
        program: &'a Program,
    ) -> BoxFuture<'a, exec::Result<Running>> {
        Box::pin(async move {
            self.faults.interruption().await;
            self.book.exec(id, program).await
        })
    }

    fn authorize<'a>(&'a self, id: &'a str, keys: &'a Keys) -> BoxFuture<'a, exec::Result<()>> {
        Box::pin(async move {
            self.faults.interruption().await;
            self.book.authorize(id, keys).await
        })
    }

    fn connect<'a>(&'a self, id: &'a str, port: u16) -> BoxFuture<'a, exec::Result<TcpStream>> {
        self.book.connect(id, port)
    }
}

/// How long requests are in flight to a target that drains.
const IN_FLIGHT: Duration = Duration::from_secs(2);

/// The balancers: a target answers while its machine is up and it is not sick.
pub struct Balancers {
    pub fake: FakeBalancers,
    clock: Clock,
    sick: Arc<Mutex<BTreeSet<String>>>,
    /// Since when each target drains, by zone, target group and target.
    draining: Mutex<BTreeMap<[String; 3], Timestamp>>,
    changes: watch::Sender<u64>,
}

impl Balancers {
    pub fn new(host: Arc<Host>, clock: Clock) -> Balancers {
        let sick: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let known = Arc::clone(&sick);
        let up = move |target: &Target| {
            let id = target.id.split(':').next().unwrap_or_default();
            host.is_up(id) && !known.lock().expect("no panics under the lock").contains(id)
        };
        let (fake, draining) = (FakeBalancers::new(up), Mutex::default());
        Balancers { fake, clock, sick, draining, changes: watch::channel(0).0 }
    }

    pub fn set_sick(&self, id: &str, is: bool) {
        let mut sick = self.sick.lock().expect("no panics under the lock");
        if is {
            sick.insert(id.to_owned())
        } else {
            sick.remove(id)
        };
        drop(sick);
        self.changed();
    }

    pub fn cure(&self) {
        self.sick.lock().expect("no panics under the lock").clear();
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }
}

impl env::Balancers for Balancers {
    fn apply(&self, zone: &str, snapshot: Snapshot) {
        self.fake.apply(zone, snapshot);
        self.changed();
    }

    fn report(&self, zone: &str) -> Option<Arc<Report>> {
        let mut report = Arc::unwrap_or_clone(self.fake.report(zone)?);
        let mut draining = self.draining.lock().expect("no panics under the lock");
        for (arn, group) in self.fake.snapshot(zone)?.target_groups {
            for target in group.targets {
                let key = [zone.to_owned(), arn.clone(), target.id];
                if !target.draining {
                    draining.remove(&key);
                    continue;
                }
                let targets = report.health.get_mut(&arn);
                let Some(health) = targets.and_then(|all| all.get_mut(&key[2])) else { continue };
                let now = self.clock.now();
                let since = *draining.entry(key).or_insert(now);
                health.in_flight = u64::from(now.since(since) < IN_FLIGHT);
            }
        }
        Some(Arc::new(report))
    }

    fn kill(&self, zone: &str) {
        self.fake.kill(zone);
        self.changed();
    }

    fn zones(&self) -> Vec<String> {
        self.fake.zones()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

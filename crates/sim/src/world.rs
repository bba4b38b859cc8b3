//! One cloud and its time: runs the controllers and one client as tasks, each poll of which is a step
//! that the seed chooses, and kills the daemon between any two of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use cloud::autoscaling::model::{Activity, Group, Member, Policy};
use cloud::cloudwatch::Metrics;
use cloud::cloudwatch::alarm::Alarm;
use cloud::ec2::image::Image;
use cloud::ec2::instance::{Instance, InstanceState};
use cloud::ec2::launch_template::{self, ops::NewVersion};
use cloud::ec2::snapshot::Snapshot as Frozen;
use cloud::ec2::volume::Volume;
use cloud::ec2::vpc::Cidr;
use cloud::ec2::vpc::model::Address;
use cloud::elbv2::{Node, Target};
use cloud::env::{Config, Parts, Rng};
use cloud::iam::Trail;
use cloud::seal::Seal;
use cloud::tag::Tags;
use cloud::{Clock, Context, Env, Timestamp, controller};
use compute::{Exit, Storage as _};
use store::{Record, Snapshot, Store};
use tokio::sync::watch;

use crate::History;
use crate::checkers::{self, Checker, Sight};
use crate::faults::Faults;
use crate::host::{Balancers, Host};
use crate::promises::Promises;
use crate::workload::{self, Answer, Request};

pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "us-east-1";
pub const ZONES: usize = 3;

/// 2026-01-01T00:00:00Z
const START: Timestamp = Timestamp(1_767_225_600_000);

/// Of the turbulent phase.
const STEPS: u64 = 700;

/// How long everything may take to settle: back-offs, drains, 15 minutes of a low alarm, and again.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

/// How long it must stay so.
const REST: Duration = Duration::from_secs(180);

/// More polls than this without time passing is a loop without end.
const MAX_POLLS: usize = 3000;

/// vCPUs of the workload's instance type.
const CORES: f64 = 2.0;

pub fn key(id: &str) -> String {
    format!("{ACCOUNT}/{REGION}/{id}")
}

pub fn zone_name(n: usize) -> String {
    format!("{REGION}{}", ["a", "b", "c"][n])
}

pub struct World {
    dice: Rng,
    faults: Arc<Faults>,
    clock: Clock,
    store: Store,
    changes: watch::Receiver<u64>,
    host: Arc<Host>,
    network: Arc<fabric::fake::Fake>,
    balancers: Arc<Balancers>,
    /// Of the daemon that lives now.
    env: Env,
    controllers: Vec<Task<()>>,
    client: Option<Client>,
    requests: usize,
    /// Cores of work that each group has to do, and requests per second of each target group.
    work: BTreeMap<String, f64>,
    traffic: BTreeMap<String, f64>,
    checkers: Vec<Box<dyn Checker>>,
    promises: Promises,
    known: BTreeMap<String, InstanceState>,
    polls: usize,
    history: History,
}

struct Task<T> {
    name: &'static str,
    future: Pin<Box<dyn Future<Output = T>>>,
    awake: Arc<Awake>,
}

struct Awake(AtomicBool);

impl Wake for Awake {
    fn wake(self: Arc<Awake>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<T> Task<T> {
    fn new(name: &'static str, future: impl Future<Output = T> + 'static) -> Task<T> {
        Task { name, future: Box::pin(future), awake: Arc::new(Awake(AtomicBool::new(true))) }
    }

    fn is_awake(&self) -> bool {
        self.awake.0.load(Ordering::Relaxed)
    }

    fn poll(&mut self) -> Poll<T> {
        self.awake.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.awake));
        self.future.as_mut().poll(&mut std::task::Context::from_waker(&waker))
    }
}

/// Somebody waiting for an answer; asks again after a crash, with the same token.
struct Client {
    request: Request,
    task: Task<Result<Answer, String>>,
    again: bool,
}

impl World {
    pub fn new(seed: u64) -> World {
        // Streams of their own, so that the cloud's use of randomness does not shift the plot.
        let stream = |n: u64| Rng::seeded(Rng::seeded(seed * 4 + n).u64());
        let faults = Faults::new(stream(1));
        let clock = Clock::simulated(START);
        let pause = Arc::clone(&faults);
        let store = Store::simulated(move || pause.interrupts());
        let time = clock.clone();
        let now = move || time.now().since(START);
        let host = Arc::new(Host::new(Arc::clone(&faults), store.clone(), now));
        let judge = Arc::clone(&faults);
        let network = Arc::new(fabric::fake::Fake::with_faults(move |call, _| judge.fabric(call)));
        let balancers = Arc::new(Balancers::new(Arc::clone(&host), clock.clone()));
        let env = Env::new(Parts {
            config: Config {
                account: ACCOUNT.to_owned(),
                default_region: REGION.to_owned(),
                zones: ZONES,
                loopback_octet: 77,
                public_pool: Cidr::new([198, 18, 0, 0].into(), 19),
                spot_seed: 1,
                gateway_port: 4566,
                capacity: vec![],
                fake_compute: true,
            },
            clock: clock.clone(),
            rng: stream(2),
            store: store.clone(),
            driver: host.clone(),
            storage: host.clone(),
            fabric: network.clone(),
            balancers: balancers.clone(),
            metrics: Metrics::default(),
            trail: Trail::default(),
            seal: Seal::new([7; 32]),
            sqs: cloud::sqs::Lines::default(),
            network_gate: Arc::default(),
        });
        let mut world = World {
            dice: stream(3),
            faults,
            clock,
            changes: store.changes(),
            store,
            host,
            network,
            balancers,
            env,
            controllers: vec![],
            client: None,
            requests: 0,
            work: BTreeMap::new(),
            traffic: BTreeMap::new(),
            checkers: checkers::all(),
            promises: Promises::default(),
            known: BTreeMap::new(),
            polls: 0,
            history: vec![],
        };
        world.start_daemon();
        world
    }

    pub fn into_history(self) -> History {
        self.history
    }

    pub fn play(&mut self) -> Result<(), String> {
        self.prepare()?;
        for _ in 0..STEPS {
            self.step()?;
        }
        self.calm_down()?;
        self.settle()?;
        self.tell_end();
        Ok(())
    }

    fn context(&self) -> Context {
        Context {
            env: self.env.clone(),
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            caller: format!("arn:aws:iam::{ACCOUNT}:root"),
            from: Arc::default(),
            request_id: "00000000-0000-4000-8000-000000000000".to_owned(),
            now: self.clock.now(),
        }
    }

    /// What a daemon knows of itself ends with it: metrics, and all that controllers remember.
    fn start_daemon(&mut self) {
        let parts: &Parts = &self.env;
        self.env = Env::new(Parts {
            metrics: Metrics::default(),
            trail: Trail::default(),
            ..parts.clone()
        });
        self.controllers = controller::all()
            .into_iter()
            .map(|one| Task::new(one.name(), controller::run_one(one, self.env.clone())))
            .collect();
    }

    fn prepare(&mut self) -> Result<(), String> {
        let cx = self.context();
        let template = async move {
            let new = NewVersion { launch: workload::launch(), ..NewVersion::default() };
            let made = cx.write(|tx| {
                launch_template::ops::create(tx, &cx, workload::TEMPLATE, &new, &Tags::new())
            });
            made.await.map(drop).map_err(|error| error.to_string())
        };
        let mut task = Task::new("template", template);
        while task.poll()?.is_pending() {}
        for request in workload::prelude(&self.dice) {
            self.ask(request);
            self.finish_request()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        match self.dice.below(100) {
            0..2 => self.crash(),
            2..5 => self.mishap(),
            5..14 if self.client.is_none() => {
                let request = workload::draw(&self.dice, &self.store.read(), self.requests);
                self.ask(request);
            }
            14..24 => self.pass(),
            _ if !self.poll_any() => self.pass(),
            _ => {}
        }
        self.check()
    }

    fn ask(&mut self, request: Request) {
        self.tell(format!("user: {request:?}"));
        self.requests += 1;
        self.promises.requested(&request);
        self.client = Some(self.client(request, false));
    }

    fn client(&self, request: Request, again: bool) -> Client {
        let task = Task::new("user", workload::perform(self.context(), request.clone()));
        Client { request, task, again }
    }

    /// Lets one task that can go on do so. Whether there was one.
    fn poll_any(&mut self) -> bool {
        let awake: Vec<usize> =
            (0..self.controllers.len()).filter(|n| self.controllers[*n].is_awake()).collect();
        let user = self.client.as_ref().is_some_and(|client| client.task.is_awake());
        let count = awake.len() + usize::from(user);
        if count == 0 {
            return false;
        }
        self.polls += 1;
        match awake.get(self.dice.below(count as u64) as usize) {
            Some(n) => {
                let task = &mut self.controllers[*n];
                let name = task.name;
                let _ = task.poll();
                self.tell(format!("polled {name}"));
            }
            None => self.poll_client(),
        }
        true
    }

    fn poll_client(&mut self) {
        let Some(mut client) = self.client.take() else { return };
        let Poll::Ready(answer) = client.task.poll() else {
            self.client = Some(client);
            return;
        };
        self.tell(format!("answer: {answer:?}"));
        match answer {
            Ok(answer) => self.promises.answered(&client.request, &answer),
            Err(_) if client.again => self.promises.unsure(&client.request),
            Err(_) => {}
        }
    }

    fn finish_request(&mut self) -> Result<(), String> {
        while self.client.is_some() {
            self.poll_any();
            self.check()?;
        }
        Ok(())
    }

    fn crash(&mut self) {
        self.tell("the daemon dies and starts again".to_owned());
        self.controllers.clear();
        let open = self.client.take();
        self.start_daemon();
        self.client = open.map(|client| self.client(client.request, true));
    }

    /// What happens without anybody calling.
    fn mishap(&mut self) {
        let machines: Vec<String> = self.host.machines().into_keys().collect();
        let pick = |from: &[String]| {
            (!from.is_empty()).then(|| from[self.dice.below(from.len() as u64) as usize].clone())
        };
        let snapshot = self.store.read();
        let kind = self.dice.below(8);
        let text = match kind {
            0..4 => {
                let Some(id) = pick(&machines) else { return };
                let exit =
                    [Exit::Lost, Exit::PoweredOff, Exit::Rebooted, Exit::Lost][kind as usize];
                self.host.book.end(&id, exit);
                format!("{id} ends: {exit:?}")
            }
            4 | 5 => {
                let Some(id) = pick(&machines) else { return };
                self.balancers.set_sick(&id, kind == 4);
                format!("{id} answers: {}", kind == 5)
            }
            6 => {
                let names: Vec<String> =
                    snapshot.scan::<Group>("").map(|g| g.name.clone()).collect();
                let Some(name) = pick(&names) else { return };
                let cores = self.dice.below(8) as f64;
                self.work.insert(name.clone(), cores);
                format!("group {name} has work for {cores} cores")
            }
            _ => {
                let groups = snapshot.scan::<cloud::elbv2::TargetGroup>("");
                let arns: Vec<String> = groups.map(|group| group.arn.clone()).collect();
                let Some(arn) = pick(&arns) else { return };
                let rate = self.dice.below(40) as f64;
                self.traffic.insert(arn.clone(), rate);
                format!("{arn} gets {rate} requests per second")
            }
        };
        self.tell(text);
    }

    /// Time passes, as a rule until something is due.
    fn pass(&mut self) {
        let host = self.host.book.next_due().map(|at| START.plus(at));
        let due = [self.clock.next_due(), host].into_iter().flatten().min();
        let now = self.clock.now();
        let mut to = due.unwrap_or(now.plus(Duration::from_secs(1))).max(now);
        if self.dice.below(4) == 0 {
            to = now.plus(to.since(now).mul_f64(self.dice.below(100) as f64 / 100.0));
        }
        self.polls = 0;
        self.serve(to.since(now));
        self.clock.advance(to);
        self.host.book.tick();
    }

    /// The tier's work in this time, shared out evenly.
    fn serve(&self, time: Duration) {
        if self.work.is_empty() && self.traffic.is_empty() {
            return;
        }
        let snapshot = self.store.read();
        for (name, cores) in &self.work {
            let members = snapshot.scan::<Member>("").filter(|member| member.group == *name);
            let up: Vec<_> =
                members.filter(|member| self.host.is_up(&member.instance_id)).collect();
            for member in &up {
                self.host.book.set_load(&member.instance_id, (cores / up.len() as f64).min(CORES));
            }
        }
        for (arn, rate) in &self.traffic {
            let requests = (rate * time.as_secs_f64()) as u64;
            self.balancers.fake.add_requests(&zone_name(0), arn, requests);
        }
    }

    /// The end of all mishaps; one failed zone may stay so.
    fn calm_down(&mut self) -> Result<(), String> {
        self.faults.end();
        self.finish_request()?;
        let failed = checkers::failed(&self.store.read());
        let spared = usize::from(self.dice.below(3) == 0);
        for zone in failed.into_iter().skip(spared) {
            self.ask(Request::HealZone(zone));
            self.finish_request()?;
        }
        self.balancers.cure();
        self.tell("from now on nothing goes wrong".to_owned());
        Ok(())
    }

    /// Until every checker is content, and stays so.
    fn settle(&mut self) -> Result<(), String> {
        let deadline = self.clock.now().plus(PATIENCE);
        let mut content_since = None;
        loop {
            while self.poll_any() {
                self.check()?;
                if self.polls > MAX_POLLS {
                    return Err("the controllers find no rest".to_owned());
                }
            }
            let now = self.clock.now();
            match self.settled() {
                Ok(()) => {
                    let since = *content_since.get_or_insert(now);
                    if now.since(since) >= REST {
                        return Ok(());
                    }
                }
                Err(why) if now > deadline => return Err(format!("does not settle: {why}")),
                Err(_) => content_since = None,
            }
            self.pass();
            self.check()?;
        }
    }

    fn sight<'a>(&'a self, snapshot: &'a Snapshot) -> Sight<'a> {
        let machines = self.host.machines();
        let spec = |id: &String| Some((id.clone(), self.host.book.spec(id)?));
        Sight {
            snapshot,
            specs: machines.keys().filter_map(spec).collect(),
            stored: self.host.book.stored().expect("a simulated host's disks can be read"),
            machines,
            failed: checkers::failed(snapshot),
            network: &self.network,
            balancers: &self.balancers,
        }
    }

    fn settled(&self) -> Result<(), String> {
        let snapshot = self.store.read();
        let sight = self.sight(&snapshot);
        let own: &dyn Checker = &self.promises;
        let mut all = self.checkers.iter().map(|checker| &**checker).chain([own]);
        all.try_for_each(|checker| {
            checker.settled(&sight).map_err(|why| format!("{}: {why}", checker.name()))
        })
    }

    fn check(&mut self) -> Result<(), String> {
        if let Some(complaint) = self.host.complaint() {
            return Err(format!("host: {complaint}"));
        }
        if !self.changes.has_changed().is_ok_and(|changed| changed) {
            return Ok(());
        }
        self.changes.mark_unchanged();
        let snapshot = self.store.read();
        self.tell_states(&snapshot);
        let mut all = std::mem::take(&mut self.checkers);
        let mut promises = std::mem::take(&mut self.promises);
        let sight = self.sight(&snapshot);
        let own: &mut dyn Checker = &mut promises;
        let looked =
            all.iter_mut().map(|checker| &mut **checker).chain([own]).try_for_each(|checker| {
                checker.look(&sight).map_err(|why| format!("{}: {why}", checker.name()))
            });
        (self.checkers, self.promises) = (all, promises);
        looked
    }

    fn tell(&mut self, what: String) {
        let seconds = self.clock.now().since(START).as_secs_f64();
        self.history.push(format!("{seconds:>9.3} {what}"));
    }

    fn tell_states(&mut self, snapshot: &Snapshot) {
        for instance in snapshot.scan::<Instance>("") {
            let state = instance.state();
            if self.known.insert(instance.id.clone(), state) != Some(state) {
                self.tell(format!("  {} in {}: {}", instance.id, instance.zone, state.name()));
            }
        }
    }

    /// Everything there is at the end.
    fn tell_end(&mut self) {
        let snapshot = self.store.read();
        self.tell_records::<Instance>(&snapshot);
        self.tell_records::<Volume>(&snapshot);
        self.tell_records::<Frozen>(&snapshot);
        self.tell_records::<Image>(&snapshot);
        self.tell_records::<Address>(&snapshot);
        self.tell_records::<Group>(&snapshot);
        self.tell_records::<Member>(&snapshot);
        self.tell_records::<Activity>(&snapshot);
        self.tell_records::<Policy>(&snapshot);
        self.tell_records::<Alarm>(&snapshot);
        self.tell_records::<Node>(&snapshot);
        self.tell_records::<Target>(&snapshot);
    }

    fn tell_records<R: Record>(&mut self, snapshot: &Snapshot) {
        for record in snapshot.scan::<R>("") {
            let text = serde_json::to_string(&*record).expect("records are JSON");
            self.tell(format!("{}: {text}", R::TABLE));
        }
    }
}

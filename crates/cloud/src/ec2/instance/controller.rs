//! Makes instances be what their records ask for: observes the driver and the zones, plans, acts, and
//! writes what it saw. The only one that writes `observed`, and the only caller of the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compute::Layer;
use compute::driver::BoxFuture;
use futures_util::StreamExt;

use super::model::Instance;
use super::ops;
use super::plan::{self, Action, View};
use super::spec;
use super::state::{Event, Failure};
use crate::controller::{Controller, Error};
use crate::ec2::network;
use crate::ec2::network_interface::{self, NetworkInterface};
use crate::ec2::snapshot::controller::frozen;
use crate::ec2::snapshot::{Snapshot, Stage};
use crate::ec2::volume::{self, Progress, Volume};
use crate::env::Env;
use crate::{Context, zone};

/// How long a guest may take to shut down, in the host's time: it is the guest that needs it.
const GRACE: Duration = Duration::from_secs(30);

/// How long a zone's or a host's trouble is let be before another round, in the cloud's time.
const RETRY: Duration = Duration::from_secs(1);

/// Driver calls in the air at once.
const CONCURRENCY: usize = 16;

/// A host error may pass; after this many for one boot the launch has failed.
const MAX_ATTEMPTS: u32 = 3;

/// What it remembers only saves work or repeats: lost in a crash, it is learnt again.
#[derive(Default)]
pub struct Instances {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// The boot of an instance that was asked to shut down already: asking again would begin its
    /// grace period anew.
    asked: BTreeMap<String, u64>,
    /// Boots that the host failed to begin, and how often.
    attempts: BTreeMap<(String, u64), u32>,
}

/// What one action came to.
enum Outcome {
    Event(Arc<Instance>, Event),
    Destroyed {
        instance: Arc<Instance>,
        console: Vec<u8>,
        /// What it leaves of a root volume that stays.
        wrote: Option<Layer>,
    },
    Forget(Arc<Instance>),
    /// What runs has the interface as the record says, or has it no more.
    Settled(Arc<NetworkInterface>),
    DiskSettled(Arc<Volume>),
    /// The guest uses it still.
    DiskBusy(Arc<Volume>),
    RootTaken(Arc<Volume>, Option<Layer>),
    /// Nothing to write; `Some` says what failed and shall be tried again.
    Done(Option<String>),
}

impl Controller for Instances {
    fn name(&self) -> &'static str {
        "ec2-instances"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(self.round(env))
    }
}

impl Instances {
    async fn round(&self, env: &Env) -> Result<Option<Duration>, Error> {
        let now = env.clock.now();
        // The driver first: what it runs was asked for by a record that is in the later snapshot.
        let seen: BTreeMap<_, _> =
            env.driver.list().into_iter().map(|seen| (seen.id.clone(), seen)).collect();
        let snapshot = env.store.read();
        let failed_zones = zone::failures(&snapshot).iter().map(|f| f.zone.clone()).collect();
        let unsettled =
            snapshot.scan("").filter(|i: &Arc<NetworkInterface>| i.is_unsettled()).collect();
        let unsettled_volumes =
            snapshot.scan("").filter(|v: &Arc<Volume>| v.is_unsettled()).collect();
        let held = snapshot.scan("").filter_map(|s: Arc<Snapshot>| match &s.stage {
            Stage::Waits(instance) => Some(instance.clone()),
            _ => None,
        });
        let held = held.collect();
        let records = snapshot.scan("").collect();
        let view = View { records, seen, failed_zones, unsettled, unsettled_volumes, held };
        let plan = plan::plan(&view, now);
        self.forget_old(&view);
        // An interface's rules are there before its link is.
        let links = |action: &Action| matches!(action, Action::Launch(_) | Action::Plug(_));
        if plan.actions.iter().any(links) {
            network::sync(env)?;
        }

        let snapshot = &snapshot;
        let outcomes: Vec<Outcome> = futures_util::stream::iter(plan.actions)
            .map(|action| self.act(env, snapshot, action))
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;

        let mut wake = plan.wake_at.map(|at| at.since(now));
        for outcome in &outcomes {
            if let Outcome::Done(Some(failure)) = outcome {
                tracing::warn!(controller = self.name(), "{failure}");
                wake = Some(wake.map_or(RETRY, |wake| wake.min(RETRY)));
            }
            if let Outcome::DiskBusy(_) = outcome {
                wake = Some(wake.map_or(RETRY, |wake| wake.min(RETRY)));
            }
        }
        write(env, outcomes).await?;
        Ok(wake)
    }

    /// What is no more needs no memory.
    fn forget_old(&self, view: &View) {
        let mut memory = self.memory();
        memory.asked.retain(|id, boot| view.seen.get(id).is_some_and(|seen| seen.boot == *boot));
        let ids: BTreeSet<&str> = view.records.iter().map(|r| r.id.as_str()).collect();
        memory.attempts.retain(|(id, _), _| ids.contains(id.as_str()));
    }

    async fn act(&self, env: &Env, snapshot: &store::Snapshot, action: Action) -> Outcome {
        match action {
            Action::Launch(instance) => self.launch(env, snapshot, instance).await,
            Action::Stop { id, boot } => {
                if self.memory().asked.get(&id) == Some(&boot) {
                    return Outcome::Done(None);
                }
                let answer = env.driver.stop(&id, GRACE);
                if answer.is_ok() {
                    self.memory().asked.insert(id.clone(), boot);
                }
                Outcome::done("stop", &id, answer)
            }
            Action::Cut(instance) => {
                let unplug = |id: &String| {
                    let interface = spec::interface_name(id);
                    env.fabric.set_link(&instance.vpc_id, &interface, false)
                };
                let unplugged = instance.interface_ids().try_for_each(unplug);
                let killed = env.driver.kill(&instance.id);
                match Outcome::done("kill", &instance.id, killed) {
                    Outcome::Done(None) => Outcome::done("unplug", &instance.id, unplugged),
                    failed => failed,
                }
            }
            Action::Kill { id } => Outcome::done("kill", &id, env.driver.kill(&id)),
            Action::Destroy { id, record } => {
                let console = env.driver.console(&id);
                let wrote = match &record {
                    Some(instance) => match save_root(env, snapshot, instance).await {
                        Ok(wrote) => wrote,
                        Err(error) => return Outcome::Done(Some(format!("root of {id}: {error}"))),
                    },
                    None => None,
                };
                match (env.driver.destroy(&id).await, record) {
                    (Ok(()), Some(instance)) => Outcome::Destroyed { instance, console, wrote },
                    (answer, _) => Outcome::done("destroy", &id, answer),
                }
            }
            Action::PlugDisk(volume) => plug(env, snapshot, volume).await,
            Action::UnplugDisk(volume) => unplug(env, volume).await,
            Action::SettleDisk(volume) => Outcome::DiskSettled(volume),
            Action::TakeRoot(volume) => take_root(env, volume).await,
            // Its host may have forgotten it in a crash, after its root was saved.
            Action::Record(instance, Event::Gone) => {
                match save_root(env, snapshot, &instance).await {
                    Ok(wrote) => Outcome::Destroyed { instance, console: vec![], wrote },
                    Err(error) => Outcome::Done(Some(format!("root of {}: {error}", instance.id))),
                }
            }
            Action::Plug(interface) => self.tell(env, snapshot, interface, true).await,
            Action::Unplug(interface) => self.tell(env, snapshot, interface, false).await,
            Action::Settle(interface) => Outcome::Settled(interface),
            Action::Record(instance, event) => Outcome::Event(instance, event),
            Action::Forget(instance) => Outcome::Forget(instance),
        }
    }

    /// Gives an interface to what runs, or takes it away.
    async fn tell(
        &self,
        env: &Env,
        snapshot: &store::Snapshot,
        interface: Arc<NetworkInterface>,
        present: bool,
    ) -> Outcome {
        let Some(attachment) = &interface.attachment else { return Outcome::Done(None) };
        let id = &attachment.instance_id;
        let answer = match spec::nic(snapshot, &of_interface(env, &interface), &interface) {
            Err(error) => Err(error.to_string()),
            Ok(nic) if present => {
                env.driver.attach(id, &nic).await.map_err(|error| error.to_string())
            }
            Ok(nic) => env.driver.detach(id, &nic).await.map_err(|error| error.to_string()),
        };
        match answer {
            Ok(()) => Outcome::Settled(interface),
            Err(error) => Outcome::Done(Some(format!("{} of {id}: {error}", interface.id))),
        }
    }

    async fn launch(
        &self,
        env: &Env,
        snapshot: &store::Snapshot,
        instance: Arc<Instance>,
    ) -> Outcome {
        let boot = instance.desired.boot;
        let cx = context(env, &instance);
        for volume in volume::ops::of_instance(snapshot, &cx, &instance) {
            match volume.stage {
                volume::Stage::Ready => {}
                // Its controller makes it, and the record of that wakes this one.
                volume::Stage::Creating => return Outcome::Done(None),
                volume::Stage::Deleting | volume::Stage::Failed => {
                    let event = Event::LaunchFailed { boot, failure: Failure::Volume };
                    return Outcome::Event(instance, event);
                }
            }
        }
        let spec = match spec::of(snapshot, &cx, &instance) {
            Ok(spec) => spec,
            Err(error) => {
                tracing::warn!(instance = instance.id, "cannot be launched: {error}");
                let event = Event::LaunchFailed { boot, failure: Failure::Internal };
                return Outcome::Event(instance, event);
            }
        };
        let error = match env.driver.ensure(&spec).await {
            Ok(()) => {
                self.memory().attempts.remove(&(instance.id.clone(), boot));
                return Outcome::Done(None);
            }
            Err(error) => error,
        };
        let failure = match error {
            compute::Error::Capacity(_) => Failure::Capacity,
            compute::Error::Spec(_) => Failure::Internal,
            compute::Error::Host(_) | compute::Error::Busy(_) => {
                let mut memory = self.memory();
                let attempts = memory.attempts.entry((instance.id.clone(), boot)).or_insert(0);
                *attempts += 1;
                if *attempts < MAX_ATTEMPTS {
                    return Outcome::Done(Some(format!("launch {}: {error}", instance.id)));
                }
                Failure::Internal
            }
        };
        tracing::warn!(instance = instance.id, "launch failed: {error}");
        Outcome::Event(instance, Event::LaunchFailed { boot, failure })
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("no panics under the lock")
    }
}

impl Outcome {
    fn done<E: std::fmt::Display>(what: &str, id: &str, answer: Result<(), E>) -> Outcome {
        Outcome::Done(answer.err().map(|error| format!("{what} {id}: {error}")))
    }
}

/// What an instance that ends has written to its root volume, if that stays.
async fn save_root(
    env: &Env,
    snapshot: &store::Snapshot,
    instance: &Instance,
) -> Result<Option<Layer>, compute::Error> {
    let cx = context(env, instance);
    let root = volume::ops::root_of(snapshot, &cx, instance);
    match root.filter(|volume| !volume.goes_with_instance()) {
        Some(root) => frozen(env, &root, &root.next_frozen()).await,
        None => Ok(None),
    }
}

/// Saves the root of an instance that does not run, and lets its host forget it.
async fn take_root(env: &Env, volume: Arc<Volume>) -> Outcome {
    let Some(attachment) = &volume.attachment else { return Outcome::Done(None) };
    let id = attachment.instance_id.clone();
    let wrote = match frozen(env, &volume, &volume.next_frozen()).await {
        Ok(wrote) => wrote,
        Err(error) => return Outcome::Done(Some(format!("root of {id}: {error}"))),
    };
    match env.driver.destroy(&id).await {
        Ok(()) => Outcome::RootTaken(volume, wrote),
        answer => Outcome::done("destroy", &id, answer),
    }
}

async fn plug(env: &Env, snapshot: &store::Snapshot, volume: Arc<Volume>) -> Outcome {
    let Some(attachment) = &volume.attachment else { return Outcome::Done(None) };
    let id = &attachment.instance_id;
    let cx = of_volume(env, &volume);
    let Some(instance) = snapshot.get::<Instance>(&cx.key(id)) else { return Outcome::Done(None) };
    let Some(disk) = spec::disk(&volume, &instance.instance_type) else {
        return Outcome::Done(None);
    };
    match env.driver.plug_disk(id, &disk).await {
        Ok(()) => Outcome::DiskSettled(volume),
        Err(error) => Outcome::Done(Some(format!("{} for {id}: {error}", volume.id))),
    }
}

async fn unplug(env: &Env, volume: Arc<Volume>) -> Outcome {
    let Some(attachment) = &volume.attachment else { return Outcome::Done(None) };
    let id = &attachment.instance_id;
    let force = matches!(attachment.progress, Progress::Detaching { force: true, .. });
    match env.driver.unplug_disk(id, &volume.id, force).await {
        Ok(()) => Outcome::DiskSettled(volume),
        Err(compute::Error::Busy(_)) => Outcome::DiskBusy(volume),
        Err(error) => Outcome::Done(Some(format!("{} of {id}: {error}", volume.id))),
    }
}

fn of_volume(env: &Env, volume: &Volume) -> Context {
    Context::service(env, &volume.account, &volume.region, "ec2.amazonaws.com")
}

fn of_interface(env: &Env, interface: &NetworkInterface) -> Context {
    Context::service(env, &interface.account, &interface.region, "ec2.amazonaws.com")
}

fn context(env: &Env, instance: &Instance) -> Context {
    Context::service(env, &instance.account, &instance.region, "ec2.amazonaws.com")
}

/// All that was seen, in one transaction; none if nothing was.
async fn write(env: &Env, outcomes: Vec<Outcome>) -> Result<(), Error> {
    let mut news: Vec<(Context, Outcome)> = Vec::new();
    for outcome in outcomes {
        let cx = match &outcome {
            Outcome::Event(instance, _)
            | Outcome::Destroyed { instance, .. }
            | Outcome::Forget(instance) => context(env, instance),
            Outcome::Settled(interface) => of_interface(env, interface),
            Outcome::DiskSettled(volume)
            | Outcome::DiskBusy(volume)
            | Outcome::RootTaken(volume, _) => of_volume(env, volume),
            Outcome::Done(_) => continue,
        };
        news.push((cx, outcome));
    }
    if news.is_empty() {
        return Ok(());
    }
    env.store
        .write(|tx| {
            for (cx, outcome) in &news {
                match outcome {
                    Outcome::Event(instance, event) => {
                        ops::observe(tx, cx, &instance.id, *event);
                    }
                    Outcome::Destroyed { instance, console, wrote } => {
                        if !console.is_empty() {
                            ops::keep_console(tx, cx, &instance.id, console);
                        }
                        ops::gone(tx, cx, &instance.id, wrote.clone());
                    }
                    Outcome::Forget(instance) => ops::forget(tx, cx, &instance.id),
                    Outcome::Settled(interface) => {
                        network_interface::ops::settle(tx, cx, interface);
                    }
                    Outcome::DiskSettled(volume) => volume::ops::settle(tx, cx, volume),
                    Outcome::DiskBusy(volume) => volume::ops::busy(tx, cx, volume),
                    Outcome::RootTaken(volume, wrote) => {
                        volume::ops::root_taken(tx, cx, volume, wrote.clone());
                    }
                    Outcome::Done(_) => {}
                }
            }
            Ok::<_, store::Error>(())
        })
        .await?;
    Ok(())
}

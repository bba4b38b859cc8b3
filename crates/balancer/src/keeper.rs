//! The daemon's view of all zones' balancers: starts a process when one is needed, finds those again
//! that an earlier daemon started, and puts a new one with the same snapshot in place of one that
//! died by itself.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::snapshot::{Report, Snapshot, TargetHealth};

const START_TIME: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(200);

/// The command that runs the balancer of a zone at a socket.
pub type Spawn = dyn Fn(&str, &Path) -> Command + Send + Sync;

/// Cheap to clone. Dropping it leaves the balancers running.
#[derive(Clone)]
pub struct Keeper(Arc<Shared>);

struct Shared {
    /// Holds the sockets, `ZONE.sock`.
    directory: PathBuf,
    spawn: Box<Spawn>,
    runtime: Handle,
    zones: Mutex<HashMap<String, Arc<Zone>>>,
    changes: watch::Sender<u64>,
}

struct Zone {
    name: String,
    state: Mutex<State>,
    /// The state's upper half was changed.
    told: Notify,
}

#[derive(Default)]
struct State {
    /// What it is to serve; `None` before the first `apply` since this daemon began.
    wanted: Option<Arc<Snapshot>>,
    /// Counts applies, for the session to see that it has something to send.
    applied: u64,
    killed: bool,

    client: Option<Arc<Client>>,
    report: Option<Arc<Report>>,
}

impl Keeper {
    /// Returns once balancers that still run are found. Within a tokio runtime.
    pub async fn start(
        directory: &Path,
        spawn: impl Fn(&str, &Path) -> Command + Send + Sync + 'static,
    ) -> io::Result<Keeper> {
        std::fs::create_dir_all(directory)?;
        let keeper = Keeper(Arc::new(Shared {
            directory: directory.to_path_buf(),
            spawn: Box::new(spawn),
            runtime: Handle::current(),
            zones: Mutex::default(),
            changes: watch::channel(0).0,
        }));
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let zone = path.file_stem().and_then(|stem| stem.to_str());
            let Some(zone) = zone.filter(|_| path.extension().is_some_and(|e| e == "sock")) else {
                continue;
            };
            match Client::connect(&path).await {
                Ok(client) => {
                    client.request_report();
                    keeper.zone(zone, Some(client));
                }
                Err(error) => tracing::debug!(zone, %error, "no balancer behind the socket"),
            }
        }
        Ok(keeper)
    }

    /// Makes the zone's balancer serve `snapshot`, starting the process if there is none. Returns at
    /// once; `report` tells when it is in force.
    pub fn apply(&self, zone: &str, snapshot: Snapshot) {
        let zone = self.zone(zone, None);
        let mut state = zone.state();
        state.wanted = Some(Arc::new(snapshot));
        state.applied += 1;
        state.killed = false;
        zone.told.notify_one();
    }

    /// The newest report, `None` when the zone has no live balancer.
    pub fn report(&self, zone: &str) -> Option<Arc<Report>> {
        self.0.zones().get(zone)?.state().report.clone()
    }

    /// Kills the zone's balancer; it stays down until the next `apply`.
    pub fn kill(&self, zone: &str) {
        let Some(zone) = self.0.zones().get(zone).cloned() else { return };
        let mut state = zone.state();
        state.killed = true;
        state.wanted = None;
        state.report = None;
        if let Some(client) = state.client.take()
            && let Err(error) = client.kill()
        {
            tracing::warn!(zone = zone.name, %error, "cannot kill the balancer");
        }
        drop(state);
        zone.told.notify_one();
        self.0.changed();
    }

    /// Zones with a live balancer.
    pub fn zones(&self) -> Vec<String> {
        let zones = self.0.zones();
        let alive = zones.values().filter(|zone| zone.state().client.is_some());
        let mut names: Vec<String> = alive.map(|zone| zone.name.clone()).collect();
        names.sort();
        names
    }

    /// Counts up whenever a report changed in more than its counters, or a balancer came or went.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn zone(&self, name: &str, adopted: Option<Client>) -> Arc<Zone> {
        let mut zones = self.0.zones();
        if let Some(zone) = zones.get(name) {
            return zone.clone();
        }
        let zone =
            Arc::new(Zone { name: name.to_string(), state: Mutex::default(), told: Notify::new() });
        let adopted = adopted.map(Arc::new);
        zone.state().client = adopted.clone();
        zones.insert(name.to_string(), zone.clone());
        self.0.runtime.spawn(keep(self.0.clone(), zone.clone(), adopted));
        zone
    }
}

impl Shared {
    fn zones(&self) -> MutexGuard<'_, HashMap<String, Arc<Zone>>> {
        self.zones.lock().expect("no panics under the lock")
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }
}

impl Zone {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panics under the lock")
    }

    /// Takes a balancer as its own, unless it was to be killed while it started.
    fn take(&self, client: &Arc<Client>) -> bool {
        let mut state = self.state();
        if !state.killed {
            state.client = Some(client.clone());
        }
        !state.killed
    }
}

/// Sees to it that the zone has a balancer for as long as it is wanted.
async fn keep(shared: Arc<Shared>, zone: Arc<Zone>, adopted: Option<Arc<Client>>) {
    let mut client = adopted;
    loop {
        if let Some(client) = client.take() {
            session(&shared, &zone, &client).await;
            let mut state = zone.state();
            state.client = None;
            state.report = None;
            drop(state);
            shared.changed();
        }
        while zone.state().wanted.is_none() {
            zone.told.notified().await;
        }
        match find_or_start(&shared, &zone.name).await {
            Ok(found) => {
                let found = Arc::new(found);
                if zone.take(&found) {
                    client = Some(found);
                } else {
                    end(&zone, &found).await;
                }
            }
            Err(error) => {
                tracing::error!(zone = zone.name, %error, "cannot start the balancer");
                sleep(RETRY).await;
            }
        }
    }
}

/// Tells the balancer what is wanted and takes in its reports, until it ends.
async fn session(shared: &Shared, zone: &Zone, client: &Client) {
    let mut reports = client.watch();
    let mut sent = 0;
    loop {
        {
            let state = zone.state();
            if state.applied != sent
                && let Some(wanted) = &state.wanted
            {
                sent = state.applied;
                client.apply((**wanted).clone());
            }
        }
        tokio::select! {
            () = zone.told.notified() => {}
            changed = reports.changed() => {
                if changed.is_err() {
                    break;
                }
                let report = reports.borrow_and_update().clone();
                let mut state = zone.state();
                if state.killed {
                    continue;
                }
                let news = is_news(&state, report.as_deref());
                state.report = report;
                drop(state);
                if news {
                    shared.changed();
                }
            }
        }
    }
    if !zone.state().killed {
        tracing::warn!(zone = zone.name, "the balancer went away");
    }
    end(zone, client).await;
}

/// Kills the process, if it still lives: its sockets must be closed before the next one opens them.
async fn end(zone: &Zone, client: &Client) {
    let killed = client.kill();
    if let Err(error) = async {
        killed?;
        client.ended().await
    }
    .await
    {
        tracing::warn!(zone = zone.name, %error, "cannot end the balancer");
    }
}

/// Whether the report tells more than counters.
fn is_news(state: &State, now: Option<&Report>) -> bool {
    let (Some(before), Some(now)) = (state.report.as_deref(), now) else {
        return state.report.is_some() != now.is_some();
    };
    let draining = |group: &str, target: &str| {
        let group = state.wanted.as_ref().and_then(|s| s.target_groups.get(group));
        group.is_some_and(|g| g.targets.iter().any(|t| t.id == target && t.draining))
    };
    let same_targets = |group: &str, before: &Targets, now: &Targets| {
        before.len() == now.len()
            && before.iter().zip(now).all(|((a, before), (b, now))| {
                // A target that drains is done when nothing is in flight.
                let emptied = (before.in_flight == 0) != (now.in_flight == 0);
                a == b && before.state == now.state && !(emptied && draining(group, a))
            })
    };
    before.version != now.version
        || before.bind_errors != now.bind_errors
        || before.health.len() != now.health.len()
        || !before
            .health
            .iter()
            .zip(&now.health)
            .all(|((g, before), (h, now))| g == h && same_targets(g, before, now))
}

type Targets = BTreeMap<String, TargetHealth>;

async fn find_or_start(shared: &Shared, zone: &str) -> io::Result<Client> {
    let socket = shared.directory.join(format!("{zone}.sock"));
    if let Ok(client) = Client::connect(&socket).await {
        return Ok(client);
    }
    let mut command = (shared.spawn)(zone, &socket);
    // Out of the daemon's process group: what its terminal says is not for the balancer.
    let mut child = command.stdin(Stdio::null()).process_group(0).spawn()?;
    let began = Instant::now();
    loop {
        match Client::connect(&socket).await {
            Ok(client) => {
                // Waits for it, so that its end leaves no zombie.
                std::thread::Builder::new().name(format!("balancer-{zone}")).spawn(move || {
                    let _ = child.wait();
                })?;
                return Ok(client);
            }
            Err(error) => {
                if let Some(status) = child.try_wait()? {
                    return Err(io::Error::other(format!("the balancer ended: {status}")));
                }
                if began.elapsed() > START_TIME {
                    child.kill()?;
                    child.wait()?;
                    return Err(error);
                }
            }
        }
        // Opening its socket is all that it does; nothing tells of it.
        sleep(Duration::from_millis(5)).await;
    }
}

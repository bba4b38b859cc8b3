//! Taking a state directory over, whatever its last owner was doing when it died, and giving it up.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::cgroup::{Controller, Layout};
use super::crypt::views;
use super::driver::{Inner, NamespaceDriver, host_error, kill_shim};
use super::follow::{self, Shared, Slot};
use super::launcher::{self, Launcher};
use super::pool::{self, Pool};
use super::record::{self, ExitRecord, Home, Record, ShimRecord};
use super::roots;
use super::shim::ToShim;
use super::trash::Trash;
use super::usage::Devices;
use super::{Config, IDS_PER_INSTANCE, headroom, sys};
use crate::{Error, Exit, Result};

/// How long another daemon, or the launcher of one that was killed, may hold the directory.
const HANDOVER: Duration = Duration::from_secs(5);

/// How long a shim may take to do as it is told before it is killed.
const LISTENING: Duration = Duration::from_secs(2);

/// What `teardown` cannot find out otherwise.
#[derive(Serialize, Deserialize)]
struct Kept {
    cgroup: String,
}

impl NamespaceDriver {
    /// Opens the state directory and takes up what runs there. From within a tokio runtime.
    pub async fn open(config: Config, fabric: Arc<dyn fabric::Fabric>) -> Result<NamespaceDriver> {
        // SAFETY: no arguments.
        if unsafe { libc::geteuid() } != 0 {
            let why = "instances need root for now: run it with sudo, or with --driver fake";
            return Err(Error::Host(why.into()));
        }
        // Every instance takes a descriptor; the usual 1024 are soon used up.
        sys::limit(libc::RLIMIT_NOFILE, libc::RLIM_INFINITY, libc::RLIM_INFINITY);
        let directory = config.state_dir.clone();
        fs::create_dir_all(directory.join("instances")).map_err(host_error)?;
        sys::set_mode(&directory, 0o700).map_err(host_error)?;
        // In one block group, ext4 searches longer for every new file the more were lately deleted.
        let instances = fs::File::open(directory.join("instances")).map_err(host_error)?;
        sys::spread_directories(&instances);
        let lock = take(&directory).await?;
        let layout = Layout::detect().map_err(host_error)?;
        for controller in [Controller::Cpu, Controller::Memory, Controller::Pids] {
            if !layout.has(controller) {
                let name = controller.name();
                return Err(Error::Host(format!(
                    "no {name} control group controller: limits could not be held (drover doctor)"
                )));
            }
        }
        record::write(&directory.join("driver.json"), &Kept { cgroup: config.cgroup.clone() })
            .map_err(host_error)?;
        layout.make_parent(&config.cgroup).map_err(host_error)?;

        let inner = Arc::new(Inner {
            launcher: Launcher::start(lock).map_err(host_error)?,
            trash: Trash::open(directory.join("trash")).map_err(host_error)?,
            pool: Pool::new(&directory),
            jobs: Default::default(),
            stock: Mutex::default(),
            devices: Devices::default(),
            layers_lock: Mutex::default(),
            shared: Arc::new(Shared { fabric, changes: watch::Sender::new(0) }),
            slots: Mutex::new(HashMap::new()),
            ranges: Mutex::new(BTreeSet::new()),
            host: Mutex::new(None),
            memory_bytes: host_memory_bytes().map_err(host_error)?,
            runtime: tokio::runtime::Handle::current(),
            layout,
            config,
        });
        inner.adopt().await?;
        headroom::watch(&directory, Arc::downgrade(&inner)).map_err(host_error)?;
        let warm = inner.clone();
        // Not needed until the first launch of the host's image, which then reports what failed.
        tokio::task::spawn_blocking(move || {
            let _ = warm.host_layer();
            if let Some(bytes) = warm.config.usual_root_bytes {
                warm.ready_roots(bytes);
            }
        });
        Ok(NamespaceDriver { inner })
    }
}

/// Takes the lock of the state directory.
async fn take(directory: &Path) -> Result<OwnedFd> {
    let file = fs::File::options().create(true).append(true).open(directory.join("lock"));
    let lock = OwnedFd::from(file.map_err(host_error)?);
    let until = Instant::now() + HANDOVER;
    while !sys::try_lock(lock.as_fd()).map_err(host_error)? {
        if Instant::now() > until {
            let directory = directory.display();
            return Err(Error::Host(format!("{directory} is in use by another drover")));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(lock)
}

impl Inner {
    async fn adopt(self: &Arc<Self>) -> Result<()> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(self.config.state_dir.join("instances")).map_err(host_error)? {
            let entry = entry.map_err(host_error)?;
            let id = entry.file_name().to_string_lossy().into_owned();
            if self.adopt_one(&id).await? {
                found.insert(id);
            } else {
                self.trash.discard(&entry.path()).map_err(host_error)?;
            }
        }
        for id in self.layout.children(&self.config.cgroup) {
            if !found.contains(&id) {
                let group = self.layout.group(&self.config.cgroup, &id);
                group.kill().and_then(|()| group.remove()).map_err(host_error)?;
            }
        }
        self.adopt_disks(&found)
    }

    /// Whether there is such an instance: `false` means that what is there is of no use.
    async fn adopt_one(self: &Arc<Self>, id: &str) -> Result<bool> {
        let home = self.home(id);
        let Some(record) = record::read::<Record>(&home.record()) else { return Ok(false) };
        if record.spec.id != id {
            return Ok(false);
        }
        let slot = Arc::new(Slot::new(home.clone()));
        let range = record.first_id.checked_sub(self.config.first_id).map(|n| n / IDS_PER_INSTANCE);
        {
            let mut state = slot.state();
            state.group = Some(record.group.clone());
            state.range = range;
        }
        self.ranges.lock().expect("not poisoned").extend(range);
        let adopted = self.adopt_boot(&slot, &record).await.map_err(host_error)?;
        if adopted {
            self.slots().insert(id.to_owned(), slot);
        } else if let Some(range) = range {
            self.ranges.lock().expect("not poisoned").remove(&range);
        }
        Ok(adopted)
    }

    async fn adopt_boot(self: &Arc<Self>, slot: &Arc<Slot>, record: &Record) -> io::Result<bool> {
        let boot = record.spec.boot;
        let until = Instant::now() + HANDOVER;
        let begun = |shim: ShimRecord| shim.boot == boot;
        if record::read(&slot.home.shim()).is_some_and(begun) {
            loop {
                if let Some(exit) = follow::close(slot, boot)? {
                    self.adopt_exited(slot, boot, exit);
                    return Ok(true);
                }
                if let Ok(stream) = launcher::connect(&slot.home) {
                    let greeting = follow::greet(stream);
                    match tokio::time::timeout(HANDOVER, greeting).await {
                        Ok(Ok(Some(greeted))) => {
                            let nics = record.spec.nics.clone();
                            let (slot, shared) = (slot.clone(), self.shared.clone());
                            follow::start(&self.runtime, shared, slot, boot, nics, greeted);
                            return Ok(true);
                        }
                        Ok(_) => {}
                        // It is there and does not speak: better lost than two of them.
                        Err(_) => kill_shim(&slot.home)?,
                    }
                }
                if Instant::now() > until + HANDOVER {
                    return Err(io::Error::other("a shim neither answers nor dies"));
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        // This boot never began; the caller will ask for it again. The one before it counts.
        record.group.remove()?;
        let Some(exit) = record::read::<ExitRecord>(&slot.home.exit()) else { return Ok(false) };
        self.adopt_exited(slot, exit.boot, exit.exit);
        Ok(true)
    }
}

fn host_memory_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    Ok(kib.ok_or_else(|| io::Error::other("no MemTotal in /proc/meminfo"))? << 10)
}

/// Ends everything of a state directory without a daemon: processes and control groups. Disks and
/// records stay, and a later `open` finds the instances exited as asked. Blocking.
pub fn teardown(state_dir: &Path) -> Result<()> {
    if !state_dir.join("lock").exists() {
        return Ok(());
    }
    let lock = fs::File::open(state_dir.join("lock")).map_err(host_error)?;
    wait_for_lock(&lock, "the daemon")?;
    let homes: Vec<Home> = fs::read_dir(state_dir.join("instances"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| Home(entry.path()))
        .collect();
    // Some at a time, as each takes a descriptor or two.
    for homes in homes.chunks(128) {
        end_all(homes)?;
    }
    let kept: Option<Kept> = record::read(&state_dir.join("driver.json"));
    if let Some(Kept { cgroup }) = kept {
        let layout = Layout::detect().map_err(host_error)?;
        for id in layout.children(&cgroup) {
            let group = layout.group(&cgroup, &id);
            group.kill().and_then(|()| group.remove()).map_err(host_error)?;
        }
        layout.remove_parent(&cgroup).map_err(host_error)?;
    }
    roots::release(state_dir)
        .and_then(|()| views::release(state_dir))
        .and_then(|()| pool::release(state_dir))
        .map_err(host_error)?;
    match fs::remove_dir_all(state_dir.join("trash")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(host_error(error)),
        _ => Ok(()),
    }
}

/// Asks shims to end their instances; one that does not listen is killed, and init with it.
fn end_all(homes: &[Home]) -> Result<()> {
    let ask = |home: &Home| {
        let mut stream = launcher::connect(home)?;
        let mut line = serde_json::to_vec(&ToShim::Kill)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        Ok::<_, io::Error>(stream)
    };
    // Kept open: a shim that cannot write its greeting would not read on.
    let _streams: Vec<_> = homes.iter().filter_map(|home| ask(home).ok()).collect();
    let locks: Vec<_> =
        homes.iter().filter_map(|home| Some((home, fs::File::open(home.lock()).ok()?))).collect();
    let until = Instant::now() + LISTENING;
    for (home, lock) in &locks {
        while !sys::try_lock(lock.as_fd()).map_err(host_error)? {
            if Instant::now() > until {
                kill_shim(home).map_err(host_error)?;
                wait_for_lock(lock, &home.0.display().to_string())?;
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // A shim that had to be killed could not write it down.
        let Some(ShimRecord { boot, .. }) = record::read(&home.shim()) else { continue };
        let kept = record::read(&home.exit()).is_some_and(|exit: ExitRecord| exit.boot == boot);
        if !kept {
            let exit = ExitRecord { boot, exit: Exit::Asked };
            record::write(&home.exit(), &exit).map_err(host_error)?;
        }
    }
    Ok(())
}

fn wait_for_lock(lock: &fs::File, who: &str) -> Result<()> {
    let until = Instant::now() + HANDOVER;
    while !sys::try_lock(lock.as_fd()).map_err(host_error)? {
        if Instant::now() > until {
            return Err(Error::Host(format!("{who} is still there")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

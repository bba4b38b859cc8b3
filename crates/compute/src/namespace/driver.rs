//! `NamespaceDriver`: ensure, stop, kill, destroy, list.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::cgroup::{Layout, Limits};
use super::crypt::views::Opened;
use super::first_boot;
use super::follow::{self, Shared, Slot};
use super::host::{self, HostLayer};
use super::launcher::Launcher;
use super::pool::Pool;
use super::record::{self, Home, Record, RootLayers, ShimRecord};
use super::roots::{Prepared, Stock};
use super::shim::ToShim;
use super::trash::Trash;
use super::usage::Devices;
use super::volumes::Jobs;
use super::{Config, IDS_PER_INSTANCE, check, console, plug, sys, usage};
use crate::driver::BoxFuture;
use crate::exec::{self, ConsoleFollower, Keys, Program, Running};
use crate::{
    BootTimes, Disk, DiskSource, Driver, Error, Exit, Layer, Nic, Observed, Phase, Result, Spec,
    Usage,
};

/// How long a killed instance may take to be gone. Killing is the kernel's work; this is for a host
/// that is very busy.
const DYING: Duration = Duration::from_secs(20);

/// See the module.
pub struct NamespaceDriver {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub config: Config,
    pub layout: Layout,
    pub launcher: Launcher,
    pub trash: Trash,
    pub pool: Pool,
    pub jobs: Jobs,
    pub stock: Mutex<Stock>,
    pub devices: Devices,
    /// Held while a layer is mounted.
    pub layers_lock: Mutex<()>,
    pub shared: Arc<Shared>,
    pub slots: Mutex<HashMap<String, Arc<Slot>>>,
    pub ranges: Mutex<BTreeSet<u32>>,
    /// Made when first needed, which a thread sees to at once.
    pub host: Mutex<Option<HostLayer>>,
    pub memory_bytes: u64,
    pub runtime: tokio::runtime::Handle,
}

impl Drop for NamespaceDriver {
    /// Lets go of every shim; the instances run on.
    fn drop(&mut self) {
        self.inner.clear_stock();
        for slot in self.inner.slots().values() {
            if let Some(follower) = slot.state().follower.take() {
                follower.abort();
            }
        }
    }
}

impl Driver for NamespaceDriver {
    fn ensure<'a>(&'a self, spec: &'a Spec) -> BoxFuture<'a, Result<()>> {
        let (inner, spec) = (self.inner.clone(), spec.clone());
        // A task of its own: a caller that stops waiting must not leave a shim that nobody follows.
        let task = self.inner.runtime.spawn(async move { inner.ensure(&spec).await });
        Box::pin(async move { task.await.map_err(|error| Error::Host(error.to_string()))? })
    }

    fn stop(&self, id: &str, grace: Duration) -> Result<()> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.inner.command(id, ToShim::Stop { grace_ms });
        Ok(())
    }

    fn kill(&self, id: &str) -> Result<()> {
        self.inner.command(id, ToShim::Kill);
        Ok(())
    }

    fn crash(&self, id: &str) -> Result<()> {
        match self.inner.slot(id) {
            Some(_) => kill_shim(&self.inner.home(id)).map_err(host_error),
            None => Ok(()),
        }
    }

    fn attach<'a>(&'a self, id: &'a str, nic: &'a Nic) -> BoxFuture<'a, Result<()>> {
        let (fabric, nic) = (self.inner.shared.fabric.clone(), nic.clone());
        Box::pin(self.inner.in_network_of(id, move |namespace| {
            let present = fabric.counters(&nic.network, &nic.interface).is_some();
            plug::plug(&*fabric, &nic, namespace, present)
        }))
    }

    fn detach<'a>(&'a self, id: &'a str, nic: &'a Nic) -> BoxFuture<'a, Result<()>> {
        let (fabric, nic) = (self.inner.shared.fabric.clone(), nic.clone());
        Box::pin(self.inner.in_network_of(id, move |_| fabric.detach(&nic.network, &nic.interface)))
    }

    fn plug_disk<'a>(&'a self, id: &'a str, disk: &'a Disk) -> BoxFuture<'a, Result<()>> {
        let (inner, id, disk) = (self.inner.clone(), id.to_owned(), disk.clone());
        let task = self.inner.runtime.spawn(async move { inner.plug_disk(&id, disk).await });
        Box::pin(async move { task.await.map_err(|error| Error::Host(error.to_string()))? })
    }

    fn unplug_disk<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        force: bool,
    ) -> BoxFuture<'a, Result<()>> {
        let (inner, id, name) = (self.inner.clone(), id.to_owned(), name.to_owned());
        let task =
            self.inner.runtime.spawn(async move { inner.unplug_disk(&id, &name, force).await });
        Box::pin(async move { task.await.map_err(|error| Error::Host(error.to_string()))? })
    }

    fn set_cpu(&self, id: &str, cores: f64) -> Result<()> {
        let Some(slot) = self.inner.slot(id) else { return Ok(()) };
        let group = {
            let state = slot.state();
            state.pid.and(state.group.clone())
        };
        group.map_or(Ok(()), |group| group.set_cpu(cores)).map_err(host_error)
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let (inner, id) = (self.inner.clone(), id.to_owned());
        let task = self.inner.runtime.spawn(async move { inner.destroy(&id).await });
        Box::pin(async move { task.await.map_err(|error| Error::Host(error.to_string()))? })
    }

    fn list(&self) -> Vec<Observed> {
        let slots = self.inner.slots();
        let observed = slots.iter().filter_map(|(id, slot)| {
            let (boot, phase) = slot.state().now?;
            Some(Observed { id: id.clone(), boot, phase })
        });
        observed.collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.shared.changes.subscribe()
    }

    fn usage(&self, id: &str) -> Option<Usage> {
        let slot = self.inner.slot(id)?;
        let (group, pid, volumes) = {
            let state = slot.state();
            let volumes: Vec<String> = state
                .disks
                .iter()
                .filter_map(|disk| match &disk.source {
                    DiskSource::Volume(name) => Some(format!("volumes/{name}")),
                    DiskSource::InstanceStore { .. } => None,
                })
                .collect();
            (state.group.clone()?, state.pid?, volumes)
        };
        let mut usage = usage::of_network(pid).unwrap_or_default();
        let disks = volumes.into_iter().chain([format!("roots/{id}")]);
        self.inner.devices.add(&self.inner.config.state_dir, disks, &mut usage);
        Some(Usage {
            cpu: group.cpu()?,
            memory_bytes: group.memory_bytes().unwrap_or_default(),
            ..usage
        })
    }

    fn boot_times(&self, id: &str) -> Option<BootTimes> {
        let slot = self.inner.slot(id)?;
        let mut times: BootTimes = record::read(&slot.home.times())?;
        let (now, pid) = {
            let state = slot.state();
            (state.now, state.pid)
        };
        if let (Some((boot, Phase::Up)), Some(pid)) = (now, pid)
            && boot == times.boot
        {
            times.marks.extend(first_boot::marks(pid));
        }
        Some(times)
    }

    fn console(&self, id: &str) -> Vec<u8> {
        self.inner.slot(id).map(|slot| console::read(&slot.home.0)).unwrap_or_default()
    }

    fn follow_console(&self, id: &str) -> Option<ConsoleFollower> {
        let mut follower = console::Follower::new(&self.inner.slot(id)?.home.0);
        Some(Box::new(move || follower.read()))
    }

    fn type_on_console(&self, id: &str, keys: &[u8]) -> exec::Result<()> {
        let running = self.inner.slot(id).is_some_and(|slot| slot.runs());
        if !running {
            return Err(exec::Error::NotRunning(id.to_owned()));
        }
        self.inner.command(id, ToShim::Type(keys.to_vec()));
        Ok(())
    }

    fn exec<'a>(
        &'a self,
        id: &'a str,
        program: &'a Program,
    ) -> BoxFuture<'a, exec::Result<Running>> {
        Box::pin(self.inner.exec(id, program))
    }

    fn authorize<'a>(&'a self, id: &'a str, keys: &'a Keys) -> BoxFuture<'a, exec::Result<()>> {
        Box::pin(self.inner.authorize(id, keys))
    }

    fn connect<'a>(&'a self, id: &'a str, port: u16) -> BoxFuture<'a, exec::Result<TcpStream>> {
        Box::pin(self.inner.connect(id, port))
    }
}

impl Inner {
    pub fn slots(&self) -> MutexGuard<'_, HashMap<String, Arc<Slot>>> {
        self.slots.lock().expect("not poisoned")
    }

    pub fn slot(&self, id: &str) -> Option<Arc<Slot>> {
        self.slots().get(id).cloned()
    }

    pub fn home(&self, id: &str) -> Home {
        Home(self.config.state_dir.join("instances").join(id))
    }

    fn command(&self, id: &str, command: ToShim) {
        if let Some(slot) = self.slot(id)
            && let Some(to_shim) = &slot.state().to_shim
        {
            // A follower that is gone has seen the end already.
            let _ = to_shim.send(command);
        }
    }

    async fn ensure(self: &Arc<Self>, spec: &Spec) -> Result<()> {
        check::check(spec, self.memory_bytes)?;
        loop {
            let slot = {
                let mut slots = self.slots();
                let fresh = || Arc::new(Slot::new(self.home(&spec.id)));
                slots.entry(spec.id.clone()).or_insert_with(fresh).clone()
            };
            let _op = slot.op.lock().await;
            let now = {
                let state = slot.state();
                if state.destroyed {
                    continue;
                }
                state.now
            };
            match now {
                Some((boot, _)) if spec.boot <= boot => return Ok(()),
                Some((_, Phase::Booting | Phase::Up)) => self.end(&slot, &spec.id).await?,
                _ => {}
            }
            let result = self.boot(&slot, spec).await;
            if result.is_err() && slot.state().now.is_none() {
                self.forget(&slot, &spec.id)?;
            }
            return result;
        }
    }

    async fn boot(self: &Arc<Self>, slot: &Arc<Slot>, spec: &Spec) -> Result<()> {
        // Once more if the launcher was killed before it had forked the shim.
        for attempt in 0..2 {
            let old = fs::read(slot.home.record()).ok();
            let (inner, its, spec_) = (self.clone(), slot.clone(), spec.clone());
            let begun = tokio::task::spawn_blocking(move || inner.begin(&its, &spec_)).await;
            // Views are held until the shim has them open.
            let (stream, views) = begun.map_err(|error| Error::Host(error.to_string()))??;
            let greeted = follow::greet(stream).await;
            drop(views);
            match greeted {
                Ok(Some(greeted)) => {
                    follow::start(
                        &self.runtime,
                        self.shared.clone(),
                        slot.clone(),
                        spec.boot,
                        spec.nics.clone(),
                        greeted,
                    );
                    return Ok(());
                }
                Ok(None) => {
                    let shim: Option<ShimRecord> = record::read(&slot.home.shim());
                    if attempt > 0 || shim.is_some_and(|shim| shim.boot == spec.boot) {
                        self.undo(slot, old)?;
                        return Err(Error::Host("the shim died before it had begun".into()));
                    }
                }
                Err(error) => {
                    self.undo(slot, old)?;
                    return Err(Error::Host(error.to_string()));
                }
            }
        }
        unreachable!("the second attempt returns")
    }

    /// Puts the record of the boot before this one back.
    fn undo(&self, slot: &Slot, old: Option<Vec<u8>>) -> Result<()> {
        let Some(old) = old else { return Ok(()) };
        let fresh = slot.home.record().with_extension("new");
        fs::write(&fresh, old)
            .and_then(|()| fs::rename(&fresh, slot.home.record()))
            .map_err(host_error)
    }

    /// Writes the record, makes the directories and asks the launcher. Blocking.
    fn begin(
        self: &Arc<Self>,
        slot: &Slot,
        spec: &Spec,
    ) -> Result<(std::os::unix::net::UnixStream, Vec<Opened>)> {
        let asked_us = sys::realtime_us();
        let range = self.range(slot)?;
        let root = self.layers(&spec.layers)?;
        let group = self.layout.group(&self.config.cgroup, &spec.id);
        let limits = Limits {
            vcpus: spec.vcpus,
            memory_bytes: spec.memory_mib << 20,
            pids: self.config.pids,
        };
        let first_id = self.config.first_id + range * IDS_PER_INSTANCE;
        slot.state().group = Some(group.clone());
        let trusted = self.config.trusted.clone();
        // One from before roots had sizes stays what it is.
        let sized = spec.root_bytes.filter(|_| !slot.home.root().exists());
        let prepared = sized.map(|bytes| self.prepare_root(&spec.id, bytes, spec.root_encrypted));
        let prepared = prepared.transpose()?;
        let of_disks = spec.disks.iter().map(|disk| self.backed(&spec.id, disk, false));
        let (disks, mut views): (Vec<_>, Vec<_>) =
            of_disks.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let record = Record {
            root_file: prepared.as_ref().map(|root| root.opened.path().to_owned()),
            spec: spec.clone(),
            first_id,
            group,
            limits,
            root,
            asked_us,
            trusted,
            disks,
            unlimited_io: self.config.unlimited_io,
        };
        let mount = prepared.map(|Prepared { opened, mount }| {
            views.push(opened);
            mount
        });
        Ok((self.begin_on_disk(slot, &record, mount).map_err(host_error)?, views))
    }

    fn begin_on_disk(
        &self,
        slot: &Slot,
        record: &Record,
        sized: Option<Option<OwnedFd>>,
    ) -> io::Result<std::os::unix::net::UnixStream> {
        let home = &slot.home;
        fs::create_dir_all(&home.0)?;
        record::write(&home.record(), record)?;
        if sized.is_none() {
            for name in record::WRITABLE {
                fs::create_dir_all(home.root().join(name))?;
            }
        }
        let lock = fs::File::options().create(true).append(true).open(home.lock())?;
        let lock = OwnedFd::from(lock);
        // The shim of the boot before may be on its last instructions.
        let until = Instant::now() + DYING;
        while !sys::try_lock(lock.as_fd())? {
            if Instant::now() > until {
                return Err(io::Error::other("an earlier shim does not end"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        self.launcher.launch(home, lock, theirs.into(), sized.flatten())?;
        Ok(ours)
    }

    /// The instance's id range, given once for its life.
    fn range(&self, slot: &Slot) -> Result<u32> {
        let mut state = slot.state();
        if let Some(range) = state.range {
            return Ok(range);
        }
        let mut taken = self.ranges.lock().expect("not poisoned");
        let free = (0..self.config.instances).find(|range| !taken.contains(range));
        let free = free.ok_or_else(|| {
            Error::Capacity(format!("all {} id ranges are in use", self.config.instances))
        })?;
        taken.insert(free);
        state.range = Some(free);
        Ok(free)
    }

    fn layers(&self, layers: &[Layer]) -> Result<RootLayers> {
        let mut result = RootLayers::default();
        for (n, layer) in layers.iter().enumerate() {
            match layer {
                Layer::Host if n > 0 => {
                    return Err(Error::Spec("the host layer must be the lowest".into()));
                }
                Layer::Host => {
                    let host = self.host_layer()?;
                    result.root.push(host.root);
                    result.usr = vec![PathBuf::from("/usr"), host.usr_mask];
                }
                Layer::Image(file) => {
                    let place = self.frozen(file)?;
                    let [root, _, usr, _] = record::WRITABLE.map(|name| place.join(name));
                    result.root.push(root);
                    if !result.usr.is_empty() {
                        result.usr.push(usr);
                    }
                }
                Layer::Dir(path) if !path.is_dir() => {
                    return Err(Error::Spec(format!("no layer at {}", path.display())));
                }
                Layer::Dir(path) => {
                    result.root.push(path.clone());
                    let usr = path.join("usr");
                    if !result.usr.is_empty() && usr.is_dir() && !usr.is_symlink() {
                        result.usr.push(usr);
                    }
                }
            }
        }
        Ok(result)
    }

    pub fn host_layer(&self) -> Result<HostLayer> {
        let mut made = self.host.lock().expect("not poisoned");
        if let Some(layer) = &*made {
            return Ok(layer.clone());
        }
        host::supported().map_err(Error::Spec)?;
        let used: Vec<PathBuf> = self
            .slots()
            .values()
            .filter_map(|slot| record::read::<Record>(&slot.home.record()))
            .flat_map(|record| record.root.root)
            .collect();
        let in_use = |path: &Path| used.iter().any(|layer| layer.starts_with(path));
        let directory = self.config.state_dir.join("host");
        let trusted = self.config.trusted.as_deref();
        let layer = host::make(&directory, trusted, in_use).map_err(host_error)?;
        Ok(made.insert(layer).clone())
    }

    /// Kills the boot that runs and waits for its end.
    async fn end(&self, slot: &Arc<Slot>, id: &str) -> Result<()> {
        self.command(id, ToShim::Kill);
        if slot.ended(&self.shared, DYING / 2).await {
            return Ok(());
        }
        // The shim does not listen (stopped, for one). Without it init dies.
        kill_shim(&slot.home).map_err(host_error)?;
        if slot.ended(&self.shared, DYING / 2).await {
            return Ok(());
        }
        Err(Error::Host(format!("{id} does not die")))
    }

    async fn destroy(self: &Arc<Self>, id: &str) -> Result<()> {
        let Some(slot) = self.slot(id) else { return Ok(()) };
        let _op = slot.op.lock().await;
        if slot.state().destroyed {
            return Ok(());
        }
        if slot.runs() {
            self.end(&slot, id).await?;
        }
        let (inner, its, id) = (self.clone(), slot.clone(), id.to_owned());
        tokio::task::spawn_blocking(move || inner.forget(&its, &id))
            .await
            .map_err(|error| Error::Host(error.to_string()))?
    }

    /// With the network namespace of what runs; nothing when nothing does.
    async fn in_network_of(
        &self,
        id: &str,
        act: impl FnOnce(&fs::File) -> fabric::Result<()> + Send + 'static,
    ) -> Result<()> {
        let Some(slot) = self.slot(id) else { return Ok(()) };
        let _op = slot.op.lock().await;
        let Some(pid) = slot.state().pid else { return Ok(()) };
        let namespace = plug::namespace(pid).map_err(host_error)?;
        // Its own still, and not another's that got the number of one that is gone.
        if slot.state().pid != Some(pid) {
            return Ok(());
        }
        let done = tokio::task::spawn_blocking(move || act(&namespace)).await;
        done.map_err(|error| Error::Host(error.to_string()))?
            .map_err(|error| Error::Host(error.to_string()))
    }

    /// Removes what is left of an instance that does not run.
    fn forget(&self, slot: &Arc<Slot>, id: &str) -> Result<()> {
        let group = slot.state().group.clone();
        if let Some(group) = group {
            group.remove().map_err(host_error)?;
        }
        self.trash.discard(&slot.home.0).map_err(host_error)?;
        self.discard_disks(id)?;
        let range = {
            let mut state = slot.state();
            state.now = None;
            state.destroyed = true;
            state.range.take()
        };
        if let Some(range) = range {
            self.ranges.lock().expect("not poisoned").remove(&range);
        }
        self.slots().remove(id);
        self.shared.changes.send_modify(|n| *n += 1);
        Ok(())
    }

    /// Takes up an instance found on disk that runs no more.
    pub fn adopt_exited(&self, slot: &Slot, boot: u64, exit: Exit) {
        slot.state().now = Some((boot, Phase::Exited(exit)));
    }
}

/// Kills a shim, and so its init, by the pid it wrote down; only while it holds its lock, so that the
/// pid is still its own.
pub(super) fn kill_shim(home: &Home) -> io::Result<()> {
    let Some(shim) = record::read::<ShimRecord>(&home.shim()) else { return Ok(()) };
    let Ok(pidfd) = sys::pidfd_open(shim.pid) else { return Ok(()) };
    if sys::try_lock(fs::File::open(home.lock())?.as_fd())? {
        return Ok(());
    }
    sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL)
}

pub(super) fn host_error(error: io::Error) -> Error {
    Error::Host(error.to_string())
}

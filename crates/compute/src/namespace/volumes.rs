//! Volumes and snapshots: files of the pool (`pool.rs`).
//!
//! What gets a name is whole and on disk by then: it is put together in `new/`, synced, and renamed.
//! Who changes or deletes a volume's file holds its lock, unless it is a device (`block.rs`): then the
//! device holds it.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::crypt::sealed::{self, Plain};
use super::crypt::views;
use super::driver::Inner;
use super::pool::{Pool, failed};
use super::{NamespaceDriver, block, roots, sys};
use crate::driver::BoxFuture;
use crate::storage::{Keys, Kind, Storage, Stored};
use crate::{Error, Layer, Result};

/// How long who asks for something encrypted waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is being encrypted, by the name that it shall have.
pub type Jobs = Mutex<HashMap<String, Job>>;

pub struct Job {
    cancelled: Arc<AtomicBool>,
    /// `None`: somebody waits for it.
    task: Option<JoinHandle<Result<()>>>,
}

impl Storage for NamespaceDriver {
    fn can_encrypt(&self) -> Result<()> {
        self.inner.keys()?;
        views::check().map_err(failed("encryption"))
    }

    fn create_volume<'a>(
        &'a self,
        volume: &'a str,
        bytes: u64,
        from_snapshot: Option<&'a str>,
        encrypted: bool,
    ) -> BoxFuture<'a, Result<()>> {
        let (name, from) = (volume.to_owned(), from_snapshot.map(str::to_owned));
        let make = move |inner: &Inner, cancelled: &AtomicBool| {
            if !inner.pool.path("volumes", &name)?.exists() {
                inner.pool.check_room()?;
            }
            let new = New { bytes: Some(bytes), from: inner.source(from)?, encrypted };
            inner.make("volumes", &name, &new, cancelled)
        };
        self.lasting(volume, encrypted && from_snapshot.is_some(), make)
    }

    fn is_impaired(&self, name: &str) -> bool {
        ["volumes", "roots", "frozen"].iter().any(|kind| self.inner.is_dead(kind, name))
    }

    fn grow_volume<'a>(&'a self, volume: &'a str, bytes: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let name = volume.to_owned();
            self.blocking(move |inner| grow(&inner.pool, &name, bytes)).await?;
            self.inner.tell_grown(volume).await
        })
    }

    fn delete_volume<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, Result<()>> {
        let volume = volume.to_owned();
        self.blocking(move |inner| {
            if !inner.pool.exists() {
                return Ok(());
            }
            inner.cancel(&volume)?;
            let path = inner.pool.path("volumes", &volume)?;
            let Some(file) = opened(&path, false)? else { return Ok(()) };
            if !sys::try_lock(file.as_fd()).map_err(failed(&volume))? {
                return Err(Error::Busy(format!("{volume} is plugged in")));
            }
            views::forget(&inner.config.state_dir, &path).map_err(failed(&volume))?;
            remove(&path)
        })
    }

    fn create_snapshot<'a>(
        &'a self,
        snapshot: &'a str,
        volume: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        let (snapshot, volume) = (snapshot.to_owned(), volume.to_owned());
        self.blocking(move |inner| {
            let from = opened(&inner.pool.path("volumes", &volume)?, false)?;
            let from = from.ok_or_else(|| Error::Spec(format!("no volume {volume}")))?;
            // Held until it is copied, where that takes its time.
            if !inner.pool.shares()? && !sys::try_lock(from.as_fd()).map_err(failed(&volume))? {
                return Err(Error::Host(format!(
                    "{volume} is plugged in, and can only be copied where blocks are shared: \
                     install xfsprogs before the first volume is made"
                )));
            }
            let new = New { bytes: None, from: Some(from), encrypted: false };
            inner.make("snapshots", &snapshot, &new, &AtomicBool::new(false))
        })
    }

    fn begin_snapshot<'a>(
        &'a self,
        snapshot: &'a str,
        bytes: u64,
        parent: Option<&'a str>,
        encrypted: bool,
    ) -> BoxFuture<'a, Result<()>> {
        let (name, from) = (snapshot.to_owned(), parent.map(str::to_owned));
        let make = move |inner: &Inner, cancelled: &AtomicBool| {
            if inner.pool.path("snapshots", &name)?.exists() {
                return Ok(());
            }
            let new = New { bytes: Some(bytes), from: inner.source(from)?, encrypted };
            inner.make("begun", &name, &new, cancelled)
        };
        self.lasting(snapshot, encrypted && parent.is_some(), make)
    }

    fn complete_snapshot<'a>(&'a self, snapshot: &'a str) -> BoxFuture<'a, Result<()>> {
        let snapshot = snapshot.to_owned();
        self.blocking(move |inner| {
            let (begun, complete) =
                (inner.pool.path("begun", &snapshot)?, inner.pool.path("snapshots", &snapshot)?);
            let Some(file) = opened(&begun, true)? else {
                let there = complete.exists();
                return if there { Ok(()) } else { Err(none(&snapshot)) };
            };
            let result = file.sync_all().and_then(|()| rename(&begun, &complete));
            result.map_err(failed(&snapshot))
        })
    }

    fn delete_snapshot<'a>(&'a self, snapshot: &'a str) -> BoxFuture<'a, Result<()>> {
        let snapshot = snapshot.to_owned();
        self.blocking(move |inner| {
            if !inner.pool.exists() {
                return Ok(());
            }
            inner.cancel(&snapshot)?;
            let state_dir = &inner.config.state_dir;
            roots::unmount_layer(state_dir, &snapshot).map_err(failed(&snapshot))?;
            for kind in PLACES.map(|(_, place)| place) {
                let path = inner.pool.path(kind, &snapshot)?;
                views::forget(state_dir, &path).map_err(failed(&snapshot))?;
                remove(&path)?;
            }
            Ok(())
        })
    }

    fn read(&self, snapshot: &str, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        let plain = self.inner.plain(self.inner.snapshot(snapshot)?.0).map_err(failed(snapshot))?;
        let length = plain.len().map_err(failed(snapshot))?;
        let left = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut data = vec![0; bytes.min(left)];
        plain.read_at(offset, &mut data).map_err(failed(snapshot))?;
        Ok(data)
    }

    fn write(&self, snapshot: &str, offset: u64, data: &[u8]) -> Result<()> {
        let (file, kind) = self.inner.snapshot(snapshot)?;
        if kind != Kind::Begun {
            return Err(Error::Spec(format!("{snapshot} is complete")));
        }
        let plain = self.inner.plain(file).map_err(failed(snapshot))?;
        let length = plain.len().map_err(failed(snapshot))?;
        if offset.saturating_add(data.len() as u64) > length {
            return Err(Error::Spec(format!("{snapshot} ends at {length}")));
        }
        plain.write_at(offset, data).map_err(failed(snapshot))
    }

    fn blocks(&self, snapshot: &str, size: u64) -> Result<Vec<u64>> {
        let file = self.inner.complete_snapshot(snapshot)?;
        let found = self.inner.plain(file).and_then(|plain| blocks(&plain, size));
        Ok(found.map_err(failed(snapshot))?.into_iter().collect())
    }

    fn changed_blocks(&self, first: &str, second: &str, size: u64) -> Result<Vec<u64>> {
        let of = |name: &str| {
            let file = self.inner.complete_snapshot(name)?;
            self.inner.plain(file).map_err(failed(name))
        };
        changed(&[of(first)?, of(second)?], size).map_err(failed(second))
    }

    fn stored(&self) -> Result<Vec<Stored>> {
        if !self.inner.pool.exists() {
            return Ok(Vec::new());
        }
        let directory = self.inner.pool.directory()?;
        let kinds = [(Kind::Volume, "volumes")].into_iter().chain(PLACES);
        let mut found = Vec::new();
        for (kind, place) in kinds {
            for entry in fs::read_dir(directory.join(place)).map_err(failed(place))? {
                let entry = entry.map_err(failed(place))?;
                // Deleted meanwhile.
                let Ok(file) = File::open(entry.path()) else { continue };
                let data = file.metadata().map_err(failed(place))?;
                found.push(Stored {
                    kind,
                    name: entry.file_name().to_string_lossy().into_owned(),
                    bytes: data.len(),
                    used_bytes: data.blocks() * 512,
                    encrypted: sealed::is_encrypted(&file).map_err(failed(place))?,
                });
            }
        }
        Ok(found)
    }

    fn freeze_root<'a>(
        &'a self,
        instance: &'a str,
        snapshot: &'a str,
    ) -> BoxFuture<'a, Result<Layer>> {
        let (inner, instance) = (self.inner.clone(), instance.to_owned());
        let snapshot = snapshot.to_owned();
        let task =
            self.inner.runtime.spawn(async move { inner.freeze_root(&instance, &snapshot).await });
        Box::pin(async move { task.await.map_err(|error| Error::Host(error.to_string()))? })
    }

    fn encrypt_root<'a>(
        &'a self,
        root: &'a str,
        copy: &'a str,
    ) -> BoxFuture<'a, Result<Option<Layer>>> {
        let (from, name) = (root.to_owned(), copy.to_owned());
        Box::pin(async move {
            let is = self.blocking(move |inner| {
                let file = opened(&inner.pool.path("frozen", &from)?, false)?;
                let file = file.ok_or_else(|| none(&from))?;
                Ok((sealed::is_encrypted(&file).map_err(failed(&from))?, file))
            });
            let (is_encrypted, file) = is.await?;
            if is_encrypted {
                return Ok(None);
            }
            let made = name.clone();
            let make = move |inner: &Inner, cancelled: &AtomicBool| {
                let new = New { bytes: None, from: Some(file), encrypted: true };
                inner.make("frozen", &made, &new, cancelled)
            };
            self.lasting(copy, true, make).await?;
            Ok(Some(Layer::Image(self.inner.pool.path("frozen", &name)?)))
        })
    }
}

/// Where what is called a snapshot may be.
const PLACES: [(Kind, &str); 3] =
    [(Kind::Snapshot, "snapshots"), (Kind::Begun, "begun"), (Kind::Root, "frozen")];

impl NamespaceDriver {
    fn blocking<'a, T: Send + 'static>(
        &self,
        act: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'a, Result<T>> {
        let inner: Arc<Inner> = self.inner.clone();
        // Begun at once and done to the end, whether or not the caller waits.
        let task = self.inner.runtime.spawn_blocking(move || act(&inner));
        Box::pin(async move { task.await.map_err(|error| Error::Host(error.to_string()))? })
    }
}

impl NamespaceDriver {
    /// For what goes on without its caller, who does not wait for long when it may take `long`.
    fn lasting<'a>(
        &self,
        name: &str,
        long: bool,
        act: impl FnOnce(&Inner, &AtomicBool) -> Result<()> + Send + 'static,
    ) -> BoxFuture<'a, Result<()>> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        let task = self.inner.runtime.spawn(async move { inner.lasting(&name, long, act).await });
        Box::pin(async move { task.await.map_err(|error| Error::Host(error.to_string()))? })
    }
}

/// What a file shall be made of.
struct New {
    /// As many as it is made of.
    bytes: Option<u64>,
    from: Option<File>,
    encrypted: bool,
}

impl Inner {
    fn jobs(&self) -> std::sync::MutexGuard<'_, HashMap<String, Job>> {
        self.jobs.lock().expect("not poisoned")
    }

    async fn lasting(
        self: &Arc<Self>,
        name: &str,
        long: bool,
        act: impl FnOnce(&Inner, &AtomicBool) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let busy = || Err(Error::Busy(format!("{name} is being made")));
        let mut task = {
            let mut jobs = self.jobs();
            match jobs.get_mut(name).map(|job| job.task.take()) {
                Some(None) => return busy(),
                Some(Some(task)) => task,
                None => {
                    let cancelled = Arc::new(AtomicBool::new(false));
                    let (inner, its) = (self.clone(), cancelled.clone());
                    jobs.insert(name.to_owned(), Job { cancelled, task: None });
                    self.runtime.spawn_blocking(move || act(&inner, &its))
                }
            }
        };
        let patience = if long { PATIENCE } else { Duration::MAX };
        match tokio::time::timeout(patience, &mut task).await {
            Ok(done) => {
                self.jobs().remove(name);
                done.map_err(|error| Error::Host(error.to_string()))?
            }
            Err(_) => {
                if let Some(job) = self.jobs().get_mut(name) {
                    job.task = Some(task);
                }
                busy()
            }
        }
    }

    /// What is being made under this name shall not be. `Busy` until it is given up.
    fn cancel(&self, name: &str) -> Result<()> {
        let mut jobs = self.jobs();
        let Some(job) = jobs.get(name) else { return Ok(()) };
        if job.task.as_ref().is_some_and(JoinHandle::is_finished) {
            jobs.remove(name);
            return Ok(());
        }
        job.cancelled.store(true, Ordering::Relaxed);
        Err(Error::Busy(format!("{name} is being made")))
    }

    pub fn keys(&self) -> Result<&dyn Keys> {
        let keys = self.config.keys.as_deref();
        keys.ok_or_else(|| Error::Spec("nothing is encrypted here: there are no keys".into()))
    }

    pub fn plain(&self, file: File) -> io::Result<Plain> {
        Plain::new(file, self.config.keys.as_deref())
    }

    /// Makes a file of this name, unless it is there: zeros, or a copy with zeros behind it.
    fn make(&self, kind: &str, name: &str, new: &New, cancelled: &AtomicBool) -> Result<()> {
        let path = self.pool.path(kind, name)?;
        if path.exists() {
            return Ok(());
        }
        let length = new.from.as_ref().map(File::metadata).transpose().map_err(failed(name))?;
        let length = length.map_or(0, |data| data.len());
        let bytes = new.bytes.unwrap_or(length);
        if length > bytes {
            return Err(Error::Spec(format!("{length} bytes do not fit into {bytes}")));
        }
        let from = new.from.as_ref();
        let seals = match from {
            // It has a key of its own.
            Some(from) if sealed::is_encrypted(from).map_err(failed(name))? => false,
            _ => new.encrypted,
        };
        if seals && !bytes.is_multiple_of(sealed::UNIT) {
            return Err(Error::Spec(format!("{bytes} bytes are no whole sectors")));
        }
        let fresh = self.pool.fresh()?;
        let made = match (seals, from) {
            (false, from) => copy(from, &fresh, bytes),
            (true, from) => encrypted(from, &fresh, bytes, self.keys()?, cancelled),
        };
        let result = made.and_then(|()| rename(&fresh, &path));
        if result.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        result.map_err(failed(name))
    }

    fn snapshot(&self, name: &str) -> Result<(File, Kind)> {
        if self.pool.exists() {
            for (kind, place) in PLACES {
                let path = self.pool.path(place, name)?;
                if let Some(file) = opened(&path, kind == Kind::Begun)? {
                    return Ok((file, kind));
                }
            }
        }
        Err(none(name))
    }

    fn source(&self, snapshot: Option<String>) -> Result<Option<File>> {
        snapshot.map(|name| self.complete_snapshot(&name)).transpose()
    }

    fn complete_snapshot(&self, name: &str) -> Result<File> {
        match self.snapshot(name)? {
            (file, Kind::Snapshot | Kind::Root) => Ok(file),
            _ => Err(Error::Spec(format!("{name} is not complete"))),
        }
    }
}

fn none(snapshot: &str) -> Error {
    Error::Spec(format!("no snapshot {snapshot}"))
}

/// `None` when there is no such file.
fn opened(path: &Path, write: bool) -> Result<Option<File>> {
    match File::options().read(true).write(write).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&path.display().to_string())(error)),
    }
}

/// A new file that holds ciphertext of what is not, on disk when this returns.
fn encrypted(
    from: Option<&File>,
    path: &Path,
    bytes: u64,
    keys: &dyn Keys,
    cancelled: &AtomicBool,
) -> io::Result<()> {
    let file = match from {
        Some(from) => sealed::encrypted_copy(from, path, keys, cancelled)?,
        None => {
            let file = new_file(path)?;
            sealed::encrypt(&file, keys)?;
            file
        }
    };
    file.set_len(bytes)?;
    file.sync_all()
}

/// A new file, on disk when this returns.
pub fn copy(from: Option<&File>, path: &Path, bytes: u64) -> io::Result<()> {
    match from {
        Some(from) => copy_unsynced(from, path, bytes)?,
        None => new_file(path)?.set_len(bytes)?,
    }
    File::open(path)?.sync_all()
}

pub fn copy_unsynced(from: &File, path: &Path, bytes: u64) -> io::Result<()> {
    let file = new_file(path)?;
    sealed::inherit(from, &file)?;
    if !block::share(from, &file)? {
        block::copy_sparsely(from, &file)?;
    }
    file.set_len(bytes)
}

pub fn new_file(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    sys::set_mode(path, 0o600)?;
    Ok(file)
}

pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    block::sync_directory(to.parent().unwrap_or(Path::new("/")))
}

fn remove(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.and_then(|()| block::sync_directory(parent)),
    }
    .map_err(failed(&path.display().to_string()))
}

fn grow(pool: &Pool, volume: &str, bytes: u64) -> Result<()> {
    let file = opened(&pool.path("volumes", volume)?, true)?;
    let file = file.ok_or_else(|| Error::Spec(format!("no volume {volume}")))?;
    let grow = || {
        if file.metadata()?.len() < bytes {
            file.set_len(bytes)?;
            file.sync_all()?;
        }
        Ok(())
    };
    grow().map_err(failed(volume))
}

fn blocks(file: &Plain, size: u64) -> io::Result<BTreeSet<u64>> {
    let extents = file.extents()?;
    Ok(extents.into_iter().flat_map(|(begin, end)| begin / size..end.div_ceil(size)).collect())
}

/// Reads what either has data in. Blocks that both share are read twice from the page cache at most.
fn changed(files: &[Plain; 2], size: u64) -> io::Result<Vec<u64>> {
    let [first, second] = files;
    let length = usize::try_from(size).map_err(io::Error::other)?;
    let (mut a, mut b) = (vec![0; length], vec![0; length]);
    let mut found = Vec::new();
    for n in blocks(first, size)?.union(&blocks(second, size)?) {
        read_padded(first, n * size, &mut a)?;
        read_padded(second, n * size, &mut b)?;
        if a != b {
            found.push(*n);
        }
    }
    Ok(found)
}

/// With zeros behind the end.
fn read_padded(file: &Plain, offset: u64, data: &mut [u8]) -> io::Result<()> {
    let there = file.len()?.saturating_sub(offset).min(data.len() as u64) as usize;
    file.read_at(offset, &mut data[..there])?;
    data[there..].fill(0);
    Ok(())
}

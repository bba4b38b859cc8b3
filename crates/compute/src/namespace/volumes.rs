//! Volumes and snapshots: files of the pool (`pool.rs`).
//!
//! What gets a name is whole and on disk by then: it is put together in `new/`, synced, and renamed.
//! Who changes or deletes a volume's file holds its lock, unless it is a device (`block.rs`): then the
//! device holds it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use super::driver::Inner;
use super::pool::{Pool, failed};
use super::{NamespaceDriver, block, roots, sys};
use crate::driver::BoxFuture;
use crate::storage::{Kind, Storage, Stored};
use crate::{Error, Layer, Result};

impl Storage for NamespaceDriver {
    fn create_volume<'a>(
        &'a self,
        volume: &'a str,
        bytes: u64,
        from_snapshot: Option<&'a str>,
    ) -> BoxFuture<'a, Result<()>> {
        let (volume, from) = (volume.to_owned(), from_snapshot.map(str::to_owned));
        self.blocking(move |inner| {
            if !inner.pool.path("volumes", &volume)?.exists() {
                inner.pool.check_room()?;
            }
            make(&inner.pool, "volumes", &volume, Some(bytes), inner.source(from)?)
        })
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
            let path = inner.pool.path("volumes", &volume)?;
            let Some(file) = opened(&path, false)? else { return Ok(()) };
            if !sys::try_lock(file.as_fd()).map_err(failed(&volume))? {
                return Err(Error::Busy(format!("{volume} is plugged in")));
            }
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
            make(&inner.pool, "snapshots", &snapshot, None, Some(from))
        })
    }

    fn begin_snapshot<'a>(
        &'a self,
        snapshot: &'a str,
        bytes: u64,
        parent: Option<&'a str>,
    ) -> BoxFuture<'a, Result<()>> {
        let (snapshot, parent) = (snapshot.to_owned(), parent.map(str::to_owned));
        self.blocking(move |inner| {
            if inner.pool.path("snapshots", &snapshot)?.exists() {
                return Ok(());
            }
            make(&inner.pool, "begun", &snapshot, Some(bytes), inner.source(parent)?)
        })
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
            roots::unmount_layer(&inner.config.state_dir, &snapshot).map_err(failed(&snapshot))?;
            for kind in PLACES.map(|(_, place)| place) {
                remove(&inner.pool.path(kind, &snapshot)?)?;
            }
            Ok(())
        })
    }

    fn read(&self, snapshot: &str, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        let (file, _) = self.inner.snapshot(snapshot)?;
        let length = file.metadata().map_err(failed(snapshot))?.len();
        let left = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut data = vec![0; bytes.min(left)];
        file.read_exact_at(&mut data, offset).map_err(failed(snapshot))?;
        Ok(data)
    }

    fn write(&self, snapshot: &str, offset: u64, data: &[u8]) -> Result<()> {
        let (file, kind) = self.inner.snapshot(snapshot)?;
        if kind != Kind::Begun {
            return Err(Error::Spec(format!("{snapshot} is complete")));
        }
        let length = file.metadata().map_err(failed(snapshot))?.len();
        if offset.saturating_add(data.len() as u64) > length {
            return Err(Error::Spec(format!("{snapshot} ends at {length}")));
        }
        file.write_all_at(data, offset).map_err(failed(snapshot))
    }

    fn blocks(&self, snapshot: &str, size: u64) -> Result<Vec<u64>> {
        let file = self.inner.complete_snapshot(snapshot)?;
        Ok(blocks(&file, size).map_err(failed(snapshot))?.into_iter().collect())
    }

    fn changed_blocks(&self, first: &str, second: &str, size: u64) -> Result<Vec<u64>> {
        let files = [self.inner.complete_snapshot(first)?, self.inner.complete_snapshot(second)?];
        changed(&files, size).map_err(failed(second))
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
                let Ok(data) = entry.metadata() else { continue };
                found.push(Stored {
                    kind,
                    name: entry.file_name().to_string_lossy().into_owned(),
                    bytes: data.len(),
                    used_bytes: data.blocks() * 512,
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

impl Inner {
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

/// Makes a file of this name, unless it is there: zeros, or a copy with zeros behind it.
fn make(pool: &Pool, kind: &str, name: &str, bytes: Option<u64>, from: Option<File>) -> Result<()> {
    let path = pool.path(kind, name)?;
    if path.exists() {
        return Ok(());
    }
    let length = from.as_ref().map(|file| file.metadata()).transpose().map_err(failed(name))?;
    let length = length.map_or(0, |data| data.len());
    let bytes = bytes.unwrap_or(length);
    if length > bytes {
        return Err(Error::Spec(format!("{length} bytes do not fit into {bytes}")));
    }
    let fresh = pool.fresh()?;
    let result = copy(from.as_ref(), &fresh, bytes).and_then(|()| rename(&fresh, &path));
    if result.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    result.map_err(failed(name))
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
    if !block::share(from, &file)? {
        block::copy_sparsely(from, &file)?;
    }
    file.set_len(bytes)
}

fn new_file(path: &Path) -> io::Result<File> {
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

fn blocks(file: &File, size: u64) -> io::Result<BTreeSet<u64>> {
    let extents = block::extents(file)?;
    Ok(extents.into_iter().flat_map(|(begin, end)| begin / size..end.div_ceil(size)).collect())
}

/// Reads what either has data in. Blocks that both share are read twice from the page cache at most.
fn changed(files: &[File; 2], size: u64) -> io::Result<Vec<u64>> {
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
fn read_padded(file: &File, offset: u64, data: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < data.len() {
        match file.read_at(&mut data[done..], offset + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    data[done..].fill(0);
    Ok(())
}

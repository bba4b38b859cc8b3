//! The fake's disks: bytes in memory, in chunks that copies share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};

use super::{Fake, Machine, Point};
use crate::driver::{BoxFuture, Disk, DiskSource, Error, Layer, Phase, Result};
use crate::storage::{Kind, Storage, Stored};

const CHUNK: u64 = 1 << 16;

#[derive(Default)]
pub(super) struct Shelf {
    volumes: BTreeMap<String, Bytes>,
    /// Names of those that would be ciphertext.
    encrypted: BTreeSet<String>,
    /// Why nothing can be encrypted.
    cannot_encrypt: Option<String>,
    /// Names of those that nobody decrypts any more.
    impaired: BTreeSet<String>,
    snapshots: BTreeMap<String, (Kind, Bytes)>,
    /// Names of disks that guests use.
    mounted: BTreeSet<String>,
}

/// Sparse: what is not there is zeros.
#[derive(Clone, Default)]
struct Bytes {
    size: u64,
    chunks: BTreeMap<u64, Arc<[u8]>>,
}

impl Bytes {
    fn new(size: u64) -> Bytes {
        Bytes { size, ..Bytes::default() }
    }

    fn read(&self, offset: u64, bytes: usize) -> Vec<u8> {
        let end = offset.saturating_add(bytes as u64).min(self.size);
        let at = |n: u64| self.chunks.get(&(n / CHUNK)).map_or(0, |c| c[(n % CHUNK) as usize]);
        (offset..end).map(at).collect()
    }

    fn write(&mut self, offset: u64, mut data: &[u8]) {
        let mut at = offset;
        while !data.is_empty() {
            let (n, begin) = (at / CHUNK, (at % CHUNK) as usize);
            let length = data.len().min(CHUNK as usize - begin);
            let mut chunk = self.chunks.get(&n).map_or(vec![0; CHUNK as usize], |c| c.to_vec());
            chunk[begin..begin + length].copy_from_slice(&data[..length]);
            if chunk.iter().all(|&byte| byte == 0) {
                self.chunks.remove(&n);
            } else {
                self.chunks.insert(n, chunk.into());
            }
            (data, at) = (&data[length..], at + length as u64);
        }
    }

    fn used(&self) -> u64 {
        self.chunks.len() as u64 * CHUNK
    }

    /// Which blocks of this size these chunks are in.
    fn blocks<'a>(&self, chunks: impl Iterator<Item = &'a u64>, block: u64) -> Vec<u64> {
        let last = |n: &u64| ((n + 1) * CHUNK).min(self.size).saturating_sub(1) / block;
        let blocks: BTreeSet<u64> = chunks.flat_map(|n| n * CHUNK / block..=last(n)).collect();
        blocks.into_iter().collect()
    }
}

impl Shelf {
    pub(super) fn is_mounted(&self, disk: &str) -> bool {
        self.mounted.contains(disk)
    }

    fn complete(&self, snapshot: &str) -> Result<&Bytes> {
        match self.snapshots.get(snapshot) {
            Some((Kind::Snapshot, bytes)) => Ok(bytes),
            Some(_) => Err(Error::Spec(format!("{snapshot} is no complete snapshot"))),
            None => Err(Error::Spec(format!("no snapshot {snapshot}"))),
        }
    }

    fn seal(&mut self, name: &str, from: Option<&str>, encrypted: bool) {
        if encrypted || from.is_some_and(|from| self.encrypted.contains(from)) {
            self.encrypted.insert(name.to_owned());
        }
    }

    fn copy(&self, snapshot: Option<&str>, bytes: u64) -> Result<Bytes> {
        let Some(snapshot) = snapshot else { return Ok(Bytes::new(bytes)) };
        let source = self.complete(snapshot)?;
        if source.size > bytes {
            return Err(Error::Spec(format!("{snapshot} has {} bytes", source.size)));
        }
        Ok(Bytes { size: bytes, ..source.clone() })
    }
}

impl Fake {
    /// What a guest writes to its disk.
    pub fn write_volume(&self, volume: &str, offset: u64, data: &[u8]) {
        if let Some(bytes) = self.shelf().volumes.get_mut(volume) {
            bytes.write(offset, data);
        }
    }

    pub fn read_volume(&self, volume: &str, offset: u64, bytes: usize) -> Option<Vec<u8>> {
        Some(self.shelf().volumes.get(volume)?.read(offset, bytes))
    }

    /// From now on the guest that has this disk uses it, or no longer does.
    pub fn set_mounted(&self, disk: &str, is: bool) {
        let mut shelf = self.shelf();
        if is {
            shelf.mounted.insert(disk.to_owned())
        } else {
            shelf.mounted.remove(disk)
        };
    }

    /// From now on nothing can be encrypted here.
    pub fn forbid_encryption(&self, why: &str) {
        self.shelf().cannot_encrypt = Some(why.to_owned());
    }

    /// From now on, or no longer, what decrypts this volume or root is dead.
    pub fn set_impaired(&self, name: &str, is: bool) {
        let mut shelf = self.shelf();
        if is {
            shelf.impaired.insert(name.to_owned())
        } else {
            shelf.impaired.remove(name)
        };
    }

    pub(super) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("no panics under the lock")
    }

    /// Whether a boot of this instance can have the disk.
    pub(super) fn can_have(
        &self,
        book: &BTreeMap<String, Machine>,
        id: &str,
        disk: &Disk,
    ) -> Result<()> {
        let DiskSource::Volume(volume) = &disk.source else { return Ok(()) };
        if !self.shelf().volumes.contains_key(volume) {
            return Err(Error::Spec(format!("no volume {volume}")));
        }
        match owner(book, volume) {
            Some(other) if other != id => Err(Error::Busy(format!("{volume} is in {other}"))),
            _ => Ok(()),
        }
    }

    /// Makes what has this name, unless it is there.
    fn make(&self, name: &str, make: impl FnOnce(&mut Shelf) -> Result<()>) -> Result<()> {
        let mut shelf = self.shelf();
        if shelf.volumes.contains_key(name) || shelf.snapshots.contains_key(name) {
            return Ok(());
        }
        self.act(Point::Store(name), || make(&mut shelf))
    }
}

/// The running instance that has the volume.
fn owner<'a>(book: &'a BTreeMap<String, Machine>, volume: &str) -> Option<&'a str> {
    let has = |disk: &Disk| matches!(&disk.source, DiskSource::Volume(name) if name == volume);
    let runs = |machine: &&Machine| !matches!(machine.phase, Phase::Exited(_));
    let mut running = book.values().filter(runs);
    running.find(|m| m.spec.disks.iter().any(has)).map(|machine| machine.spec.id.as_str())
}

impl Storage for Fake {
    fn can_encrypt(&self) -> Result<()> {
        self.shelf().cannot_encrypt.clone().map_or(Ok(()), |why| Err(Error::Host(why)))
    }

    fn is_impaired(&self, name: &str) -> bool {
        self.shelf().impaired.contains(name)
    }

    fn create_volume<'a>(
        &'a self,
        volume: &'a str,
        bytes: u64,
        from_snapshot: Option<&'a str>,
        encrypted: bool,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.make(volume, |shelf| {
                let bytes = shelf.copy(from_snapshot, bytes)?;
                shelf.seal(volume, from_snapshot, encrypted);
                shelf.volumes.insert(volume.to_owned(), bytes);
                Ok(())
            })
        })
    }

    fn grow_volume<'a>(&'a self, volume: &'a str, bytes: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut shelf = self.shelf();
            let Some(known) = shelf.volumes.get_mut(volume) else {
                return Err(Error::Spec(format!("no volume {volume}")));
            };
            self.act(Point::Store(volume), || {
                known.size = known.size.max(bytes);
                Ok(())
            })
        })
    }

    fn delete_volume<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let Some(instance) = owner(&self.book(), volume) {
                return Err(Error::Busy(format!("{volume} is in {instance}")));
            }
            let mut shelf = self.shelf();
            if !shelf.volumes.contains_key(volume) {
                return Ok(());
            }
            self.act(Point::Store(volume), || {
                shelf.volumes.remove(volume);
                shelf.encrypted.remove(volume);
                Ok(())
            })
        })
    }

    fn create_snapshot<'a>(
        &'a self,
        snapshot: &'a str,
        volume: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.make(snapshot, |shelf| {
                let none = || Error::Spec(format!("no volume {volume}"));
                let bytes = shelf.volumes.get(volume).cloned().ok_or_else(none)?;
                shelf.seal(snapshot, Some(volume), false);
                shelf.snapshots.insert(snapshot.to_owned(), (Kind::Snapshot, bytes));
                Ok(())
            })
        })
    }

    fn begin_snapshot<'a>(
        &'a self,
        snapshot: &'a str,
        bytes: u64,
        parent: Option<&'a str>,
        encrypted: bool,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.make(snapshot, |shelf| {
                let bytes = shelf.copy(parent, bytes)?;
                shelf.seal(snapshot, parent, encrypted);
                shelf.snapshots.insert(snapshot.to_owned(), (Kind::Begun, bytes));
                Ok(())
            })
        })
    }

    fn complete_snapshot<'a>(&'a self, snapshot: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut shelf = self.shelf();
            let Some((kind, _)) = shelf.snapshots.get_mut(snapshot) else {
                return Err(Error::Spec(format!("no snapshot {snapshot}")));
            };
            if *kind != Kind::Begun {
                return Ok(());
            }
            self.act(Point::Store(snapshot), || {
                *kind = Kind::Snapshot;
                Ok(())
            })
        })
    }

    fn delete_snapshot<'a>(&'a self, snapshot: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut shelf = self.shelf();
            if !shelf.snapshots.contains_key(snapshot) {
                return Ok(());
            }
            self.act(Point::Store(snapshot), || {
                shelf.snapshots.remove(snapshot);
                shelf.encrypted.remove(snapshot);
                Ok(())
            })
        })
    }

    fn read(&self, snapshot: &str, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        match self.shelf().snapshots.get(snapshot) {
            Some((Kind::Begun | Kind::Snapshot, data)) => Ok(data.read(offset, bytes)),
            _ => Err(Error::Spec(format!("no snapshot {snapshot}"))),
        }
    }

    fn write(&self, snapshot: &str, offset: u64, data: &[u8]) -> Result<()> {
        match self.shelf().snapshots.get_mut(snapshot) {
            Some((Kind::Begun, bytes)) => {
                if offset.saturating_add(data.len() as u64) > bytes.size {
                    return Err(Error::Spec(format!("{snapshot} ends at {}", bytes.size)));
                }
                bytes.write(offset, data);
                Ok(())
            }
            Some(_) => Err(Error::Spec(format!("{snapshot} is complete"))),
            None => Err(Error::Spec(format!("no snapshot {snapshot}"))),
        }
    }

    fn blocks(&self, snapshot: &str, block: u64) -> Result<Vec<u64>> {
        let shelf = self.shelf();
        let bytes = shelf.complete(snapshot)?;
        Ok(bytes.blocks(bytes.chunks.keys(), block))
    }

    fn changed_blocks(&self, first: &str, second: &str, block: u64) -> Result<Vec<u64>> {
        let shelf = self.shelf();
        let (first, second) = (shelf.complete(first)?, shelf.complete(second)?);
        let all: BTreeSet<u64> = first.chunks.keys().chain(second.chunks.keys()).copied().collect();
        let differs = |n: &&u64| first.chunks.get(n) != second.chunks.get(n);
        let longer = if first.size > second.size { first } else { second };
        let blocks = longer.blocks(all.iter().filter(differs), block);
        // A chunk may be larger than a block.
        let length = usize::try_from(block).unwrap_or(usize::MAX);
        let padded = |bytes: &Bytes, n: u64| {
            let mut data = bytes.read(n * block, length);
            data.resize(length, 0);
            data
        };
        Ok(blocks.into_iter().filter(|&n| padded(first, n) != padded(second, n)).collect())
    }

    fn stored(&self) -> Result<Vec<Stored>> {
        let shelf = self.shelf();
        let stored = |kind, name: &String, bytes: &Bytes| Stored {
            kind,
            name: name.clone(),
            bytes: bytes.size,
            used_bytes: bytes.used(),
            encrypted: shelf.encrypted.contains(name),
        };
        let volumes = shelf.volumes.iter().map(|(name, bytes)| stored(Kind::Volume, name, bytes));
        let snapshots = shelf.snapshots.iter();
        let snapshots = snapshots.map(|(name, (kind, bytes))| stored(*kind, name, bytes));
        Ok(volumes.chain(snapshots).collect())
    }

    fn freeze_root<'a>(
        &'a self,
        instance: &'a str,
        snapshot: &'a str,
    ) -> BoxFuture<'a, Result<Layer>> {
        Box::pin(async move {
            let layer = Layer::Dir(PathBuf::from("/simulated").join(snapshot));
            if self.shelf().snapshots.contains_key(snapshot) {
                return Ok(layer);
            }
            let none = || Error::Spec(format!("no instance {instance}"));
            let encrypted = self.book().get(instance).ok_or_else(none)?.spec.root_encrypted;
            self.make(snapshot, |shelf| {
                let root = (Kind::Root, Bytes::default());
                shelf.seal(snapshot, None, encrypted);
                shelf.snapshots.insert(snapshot.to_owned(), root);
                Ok(())
            })?;
            Ok(layer)
        })
    }

    fn encrypt_root<'a>(
        &'a self,
        root: &'a str,
        copy: &'a str,
    ) -> BoxFuture<'a, Result<Option<Layer>>> {
        Box::pin(async move {
            {
                let shelf = self.shelf();
                if !matches!(shelf.snapshots.get(root), Some((Kind::Root, _))) {
                    return Err(Error::Spec(format!("no root {root}")));
                }
                if shelf.encrypted.contains(root) {
                    return Ok(None);
                }
            }
            self.make(copy, |shelf| {
                shelf.snapshots.insert(copy.to_owned(), (Kind::Root, Bytes::default()));
                shelf.seal(copy, None, true);
                Ok(())
            })?;
            Ok(Some(Layer::Dir(PathBuf::from("/simulated").join(copy))))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fake::{Fault, Timing};

    fn fake(faults: impl Fn(Point<'_>) -> Option<Fault> + Send + Sync + 'static) -> Fake {
        let timing = Timing { boot: Duration::ZERO, stop: Duration::ZERO };
        Fake::with_faults(timing, || Duration::ZERO, faults)
    }

    const BLOCK: u64 = 512 << 10;

    #[tokio::test]
    async fn copies_are_apart() {
        let fake = fake(|_| None);
        for _ in 0..2 {
            fake.create_volume("vol-1", 8 << 20, None, false).await.unwrap();
        }
        fake.write_volume("vol-1", BLOCK - 1, b"ab");
        fake.create_snapshot("snap-1", "vol-1").await.unwrap();
        fake.write_volume("vol-1", 5 * BLOCK, b"later");
        fake.create_snapshot("snap-1", "vol-1").await.unwrap();
        assert_eq!(fake.blocks("snap-1", BLOCK).unwrap(), [0, 1]);
        assert_eq!(fake.read("snap-1", BLOCK - 2, 4).unwrap(), b"\0ab\0");
        assert_eq!(fake.read("snap-1", (8 << 20) - 2, 4).unwrap(), b"\0\0");
        fake.grow_volume("vol-1", 9 << 20).await.unwrap();
        fake.create_snapshot("snap-2", "vol-1").await.unwrap();
        assert_eq!(fake.changed_blocks("snap-1", "snap-2", BLOCK).unwrap(), [5]);
        fake.create_volume("vol-2", 16 << 20, Some("snap-1"), false).await.unwrap();
        assert_eq!(fake.read_volume("vol-2", BLOCK - 1, 2).unwrap(), b"ab");
        assert!(fake.create_volume("vol-3", 1 << 20, Some("snap-1"), false).await.is_err());
        assert!(fake.create_volume("vol-3", 1 << 20, Some("snap-0"), false).await.is_err());
        for _ in 0..2 {
            fake.delete_snapshot("snap-1").await.unwrap();
            fake.delete_volume("vol-1").await.unwrap();
        }
        assert_eq!(fake.read_volume("vol-2", BLOCK - 1, 2).unwrap(), b"ab");
        let mut left: Vec<_> = fake.stored().unwrap().into_iter().map(|s| s.name).collect();
        left.sort();
        assert_eq!(left, ["snap-2", "vol-2"]);
    }

    #[tokio::test]
    async fn a_snapshot_is_filled_until_complete() {
        let fake = fake(|_| None);
        fake.begin_snapshot("snap-1", 1 << 20, None, false).await.unwrap();
        fake.write("snap-1", BLOCK, b"x").unwrap();
        assert!(fake.write("snap-1", (1 << 20) - 1, b"xy").is_err());
        assert!(fake.create_volume("vol-1", 1 << 20, Some("snap-1"), false).await.is_err());
        for _ in 0..2 {
            fake.complete_snapshot("snap-1").await.unwrap();
        }
        assert!(fake.write("snap-1", 0, b"x").is_err());
        fake.begin_snapshot("snap-2", 2 << 20, Some("snap-1"), false).await.unwrap();
        fake.write("snap-2", 3 * BLOCK, b"y").unwrap();
        fake.complete_snapshot("snap-2").await.unwrap();
        assert_eq!(fake.changed_blocks("snap-1", "snap-2", BLOCK).unwrap(), [3]);
    }

    #[tokio::test]
    async fn faults_strike_before_and_after() {
        let lost = fake(|_| Some(Fault::AnswerLost));
        assert!(lost.create_volume("vol-1", 1, None, false).await.is_err());
        assert!(lost.create_volume("vol-1", 1, None, false).await.is_ok());
        let fails = fake(|_| Some(Fault::Fails));
        assert!(fails.create_volume("vol-1", 1, None, false).await.is_err());
        assert_eq!(fails.stored().unwrap(), []);
    }
}

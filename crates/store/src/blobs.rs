//! Bytes of any length in files of their own, whole or not there at all. In an ephemeral store they
//! are in memory.
//!
//! A blob is written under `NAME.part`, fsynced and renamed; what refers to it is written after that.
//! After a crash there may be blobs that nothing refers to: `sweep` removes them.

use std::collections::HashMap;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::Result;

const PART: &str = "part";

#[derive(Clone)]
pub struct Blobs(Arc<Place>);

enum Place {
    Memory(Mutex<HashMap<String, Arc<[u8]>>>),
    Disk { dir: PathBuf, cleared: AtomicU64 },
}

impl Blobs {
    pub(crate) fn ephemeral() -> Blobs {
        Blobs(Arc::new(Place::Memory(Mutex::default())))
    }

    pub(crate) fn open(dir: PathBuf) -> Result<Blobs> {
        std::fs::create_dir_all(&dir)?;
        let trash = dir.with_extension("trash");
        if trash.exists() {
            std::fs::remove_dir_all(trash)?;
        }
        Ok(Blobs(Arc::new(Place::Disk { dir, cleared: AtomicU64::new(0) })))
    }

    /// Begins the blob `name`: letters, digits, `-` and `_`, never used before.
    pub async fn create(&self, name: &str) -> Result<Writer> {
        let fit = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        assert!(!name.is_empty() && name.bytes().all(fit), "{name:?} is no blob's name");
        let sink = match &*self.0 {
            Place::Memory(_) => Sink::Memory(Vec::new()),
            Place::Disk { dir, .. } => {
                let path = dir.join(name).with_extension(PART);
                Sink::Disk { file: File::create_new(&path).await?, path }
            }
        };
        Ok(Writer { blobs: self.clone(), name: name.to_owned(), sink, committed: false })
    }

    /// From byte `start`, `length` bytes or as many as there are. `None`: no such blob.
    pub async fn read(&self, name: &str, start: u64, length: u64) -> Result<Option<Reader>> {
        match &*self.0 {
            Place::Memory(blobs) => {
                let blobs = blobs.lock().expect("no panics under the lock");
                let Some(bytes) = blobs.get(name).cloned() else { return Ok(None) };
                let start = start.min(bytes.len() as u64);
                let end = start.saturating_add(length).min(bytes.len() as u64);
                Ok(Some(Reader(Source::Memory { bytes, next: start as usize, end: end as usize })))
            }
            Place::Disk { dir, .. } => {
                let mut file = match File::open(dir.join(name)).await {
                    Ok(file) => file,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error.into()),
                };
                file.set_max_buf_size(Reader::CHUNK);
                if start > 0 {
                    file.seek(SeekFrom::Start(start)).await?;
                }
                Ok(Some(Reader(Source::Disk { file, left: length })))
            }
        }
    }

    /// Nothing happens when there is none. Open readers read on.
    pub async fn delete(&self, name: &str) -> Result<()> {
        match &*self.0 {
            Place::Memory(blobs) => {
                blobs.lock().expect("no panics under the lock").remove(name);
                Ok(())
            }
            Place::Disk { dir, .. } => match tokio::fs::remove_file(dir.join(name)).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
        }
    }

    /// Removes every blob that `keep` does not want, and what was never finished; how many. Only for
    /// when nobody writes blobs. Blocks.
    pub fn sweep(&self, mut keep: impl FnMut(&str) -> bool) -> Result<usize> {
        let mut removed = 0;
        match &*self.0 {
            Place::Memory(blobs) => {
                let mut blobs = blobs.lock().expect("no panics under the lock");
                let before = blobs.len();
                blobs.retain(|name, _| keep(name));
                removed = before - blobs.len();
            }
            Place::Disk { dir, .. } => {
                for entry in std::fs::read_dir(dir)? {
                    let entry = entry?;
                    if !entry.file_name().to_str().is_some_and(&mut keep) {
                        std::fs::remove_file(entry.path())?;
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
    }

    /// Removes all: at once out of the way, the files themselves by and by.
    pub(crate) fn clear(&self) -> Result<()> {
        match &*self.0 {
            Place::Memory(blobs) => blobs.lock().expect("no panics under the lock").clear(),
            Place::Disk { dir, cleared } => {
                let trash = dir.with_extension("trash");
                std::fs::create_dir_all(&trash)?;
                let away = trash.join(cleared.fetch_add(1, Ordering::Relaxed).to_string());
                std::fs::rename(dir, &away)?;
                std::fs::create_dir(dir)?;
                std::thread::spawn(move || std::fs::remove_dir_all(away));
            }
        }
        Ok(())
    }
}

/// A blob in the making; gone unless committed.
pub struct Writer {
    blobs: Blobs,
    name: String,
    sink: Sink,
    committed: bool,
}

enum Sink {
    Memory(Vec<u8>),
    Disk { file: File, path: PathBuf },
}

impl Writer {
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.sink {
            Sink::Memory(all) => all.extend_from_slice(bytes),
            Sink::Disk { file, .. } => file.write_all(bytes).await?,
        }
        Ok(())
    }

    /// Durable under its name when this returns.
    pub async fn commit(mut self) -> Result<()> {
        match &mut self.sink {
            Sink::Memory(bytes) => {
                if let Place::Memory(blobs) = &*self.blobs.0 {
                    let mut blobs = blobs.lock().expect("no panics under the lock");
                    blobs.insert(self.name.clone(), std::mem::take(bytes).into());
                }
            }
            Sink::Disk { file, path } => {
                file.flush().await?;
                file.sync_all().await?;
                tokio::fs::rename(&path, path.with_extension("")).await?;
                let dir = path.parent().unwrap_or(Path::new("."));
                File::open(dir).await?.sync_all().await?;
            }
        }
        self.committed = true;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Sink::Disk { path, .. } = &self.sink
            && !self.committed
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A part of a blob, piece by piece.
pub struct Reader(Source);

enum Source {
    Memory { bytes: Arc<[u8]>, next: usize, end: usize },
    Disk { file: File, left: u64 },
}

impl Reader {
    const CHUNK: usize = 256 << 10;

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        match &mut self.0 {
            Source::Memory { bytes, next, end } => {
                if next == end {
                    return Ok(None);
                }
                let to = (*next + Reader::CHUNK).min(*end);
                let piece = bytes[*next..to].to_vec();
                *next = to;
                Ok(Some(piece))
            }
            Source::Disk { file, left } => {
                let want = (*left).min(Reader::CHUNK as u64);
                let mut piece = Vec::with_capacity(want as usize);
                file.take(want).read_buf(&mut piece).await?;
                *left -= piece.len() as u64;
                Ok(if piece.is_empty() { None } else { Some(piece) })
            }
        }
    }
}

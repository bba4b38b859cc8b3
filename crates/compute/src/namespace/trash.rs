//! Deleting in the background: a directory is renamed into the trash, which is atomic and quick, and
//! emptied by a thread. What a crash leaves there is found at the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};

pub struct Trash {
    directory: PathBuf,
    next: AtomicU64,
    wake: SyncSender<()>,
}

impl Trash {
    pub fn open(directory: PathBuf) -> io::Result<Trash> {
        fs::create_dir_all(&directory)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let place = directory.clone();
        std::thread::Builder::new().name("trash".into()).spawn(move || {
            while woken.recv().is_ok() {
                empty(&place);
            }
        })?;
        let trash = Trash { directory, next: AtomicU64::new(0), wake };
        trash.wake();
        Ok(trash)
    }

    fn wake(&self) {
        // Full means that the thread is about to look anyway.
        let _ = self.wake.try_send(());
    }

    /// Gone from its place when this returns. Unknown: nothing.
    pub fn discard(&self, path: &Path) -> io::Result<()> {
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let target = self.directory.join(format!("{}-{n}", std::process::id()));
            if target.exists() {
                continue;
            }
            match fs::rename(path, target) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => break,
            }
        }
        self.wake();
        Ok(())
    }
}

fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let result = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = result {
            tracing::warn!(path = %path.display(), %error, "cannot delete");
        }
    }
}

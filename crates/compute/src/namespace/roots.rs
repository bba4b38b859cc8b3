//! Roots of a given size: a file system in a file of the pool for each instance, so that a full one is
//! full for its instance and for nobody else, and so that its copy is a copy of one file.
//!
//! ```text
//!  blank/BYTES ──share──► roots/ID ──mounted by the shim, upper of the overlay──► guest
//!                            │ held still, shared
//!                            ▼
//!                         frozen/NAME ──mounted read-only at STATE/layers/NAME──► lower of others
//! ```
//!
//! A mount waits for the disk two or three times; so a few empty roots are kept mounted, attached
//! nowhere, for the next launches. They go with this process.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::block::Loop;
use super::crypt::sealed;
use super::crypt::views::{self, Opened};
use super::driver::Inner;
use super::errands::Request;
use super::pool::{self, failed};
use super::record::WRITABLE;
use super::{mount, sys, volumes};
use crate::{Error, Layer, Result};

/// How many are kept ready.
const READY: usize = 3;
/// Smaller, there is no room for a journal.
const SMALLEST: u64 = 64 << 20;
/// How long the device of the boot before may stay.
const RELEASE: Duration = Duration::from_secs(10);

const FIFREEZE: libc::Ioctl = 0xC004_5877;
const FITHAW: libc::Ioctl = 0xC004_5878;

/// Empty roots of one size, mounted.
#[derive(Default)]
pub struct Stock {
    bytes: u64,
    ready: Vec<(PathBuf, OwnedFd)>,
    filling: bool,
}

/// What the root of a boot is.
pub struct Prepared {
    /// Held until it is mounted.
    pub opened: Opened,
    /// Mounted already.
    pub mount: Option<OwnedFd>,
}

pub fn check(bytes: u64) -> Result<()> {
    match bytes {
        SMALLEST.. => Ok(()),
        _ => Err(Error::Spec(format!("a root of {bytes} bytes; it takes {SMALLEST}"))),
    }
}

impl Inner {
    /// The root of an instance, made when it has none, grown when it is to be larger. Blocking.
    pub fn prepare_root(
        self: &Arc<Self>,
        id: &str,
        bytes: u64,
        encrypted: bool,
    ) -> Result<Prepared> {
        let file = self.pool.path("roots", id)?;
        let fail = failed("root");
        if !file.exists() {
            self.pool.check_room()?;
        }
        if encrypted && !file.exists() {
            let (blank, fresh) = (self.blank(bytes)?, self.pool.fresh()?);
            let make = |keys| {
                let never = AtomicBool::new(false);
                sealed::encrypted_copy(&File::open(&blank)?, &fresh, keys, &never)?;
                fs::rename(&fresh, &file)
            };
            make(self.keys()?).map_err(&fail)?;
        }
        if let Ok(data) = file.metadata() {
            let opened = self.open_view(&file, false).map_err(&fail)?;
            if data.len() < bytes {
                grow(&file, opened.path(), bytes).map_err(fail)?;
            }
            return Ok(Prepared { opened, mount: None });
        }
        let stocked = {
            let mut stock = self.stock.lock().expect("not poisoned");
            if stock.bytes != bytes {
                for (path, _) in stock.ready.drain(..) {
                    let _ = fs::remove_file(path);
                }
                stock.bytes = bytes;
            }
            stock.ready.pop()
        };
        self.restock();
        let (fresh, mount) = match stocked {
            Some((fresh, mount)) => (fresh, Some(mount)),
            None => (self.blank_copy(bytes)?, None),
        };
        // Not synced: what an instance has not synced may be lost with the host, its root included.
        fs::rename(&fresh, &file).map_err(fail)?;
        Ok(Prepared { opened: Opened::Plain(file), mount })
    }

    /// Before the first launch.
    pub fn ready_roots(self: &Arc<Self>, bytes: u64) {
        self.stock.lock().expect("not poisoned").bytes = bytes;
        self.restock();
    }

    /// Fills the stock in the background, for roots of the size that was asked for last.
    pub fn restock(self: &Arc<Self>) {
        {
            let mut stock = self.stock.lock().expect("not poisoned");
            if std::mem::replace(&mut stock.filling, true) {
                return;
            }
        }
        let inner = self.clone();
        let fill = move || {
            loop {
                let bytes = {
                    let mut stock = inner.stock.lock().expect("not poisoned");
                    if stock.ready.len() >= READY || stock.bytes == 0 {
                        stock.filling = false;
                        return;
                    }
                    stock.bytes
                };
                let made = inner.blank_copy(bytes).and_then(|path| {
                    let mount = mounted(&path).map_err(failed("root"))?;
                    Ok((path, mount))
                });
                let mut stock = inner.stock.lock().expect("not poisoned");
                match made {
                    Ok((path, mount)) if stock.bytes == bytes => stock.ready.push((path, mount)),
                    Ok((path, _)) => drop(fs::remove_file(path)),
                    // The launch that needs one says so.
                    Err(_) => {
                        stock.filling = false;
                        return;
                    }
                }
            }
        };
        if std::thread::Builder::new().name("roots".into()).spawn(fill).is_err() {
            self.stock.lock().expect("not poisoned").filling = false;
        }
    }

    /// Lets go of the stock, for good.
    pub fn clear_stock(&self) {
        let mut stock = self.stock.lock().expect("not poisoned");
        stock.bytes = 0;
        stock.ready.clear();
    }

    /// An empty root, to be copied.
    fn blank(&self, bytes: u64) -> Result<PathBuf> {
        let blank = self.pool.path("blank", &bytes.to_string())?;
        if !blank.exists() {
            let fresh = self.pool.fresh()?;
            let made = format(&fresh, bytes).and_then(|()| fs::rename(&fresh, &blank));
            made.map_err(failed("root"))?;
        }
        Ok(blank)
    }

    /// A file with an empty root, which has no name yet.
    fn blank_copy(&self, bytes: u64) -> Result<PathBuf> {
        let (blank, fresh, fail) = (self.blank(bytes)?, self.pool.fresh()?, failed("root"));
        let source = File::open(blank).map_err(&fail)?;
        volumes::copy_unsynced(&source, &fresh, bytes).map_err(&fail)?;
        Ok(fresh)
    }

    /// Where the layer of a frozen root is. Mounts it when it is not. Blocking.
    pub fn frozen(&self, file: &Path) -> Result<PathBuf> {
        let name = file.file_name().unwrap_or_default();
        let place = self.config.state_dir.join("layers").join(name);
        let _one = self.layers_lock.lock().expect("not poisoned");
        self.pool.directory()?;
        let mount = || {
            fs::create_dir_all(&place)?;
            if pool::is_mount_point(&place)? {
                if !self.is_dead("frozen", &name.to_string_lossy()) {
                    return Ok(());
                }
                // Who has it has errors; the next ones need not.
                mount::unmount(&place, libc::MNT_DETACH)?;
            }
            let opened = self.open_view(file, true)?;
            let device = wait_for(opened.path(), true)?;
            let flags = libc::MS_RDONLY | libc::MS_NOATIME | libc::MS_NODEV;
            mount::mount_device("ext4", &device.path(), &place, flags)
        };
        if !file.exists() {
            return Err(Error::Spec(format!("no layer at {}", file.display())));
        }
        mount().map_err(failed(&format!("layer {}", file.display())))?;
        Ok(place)
    }

    pub async fn freeze_root(self: &Arc<Self>, id: &str, name: &str) -> Result<Layer> {
        let (inner, its) = (self.clone(), name.to_owned());
        let paths = move || Ok::<_, Error>((inner.pool.path("frozen", &its)?, inner.pool.fresh()?));
        let paths = tokio::task::spawn_blocking(paths).await;
        let (frozen, fresh) = paths.map_err(|error| Error::Host(error.to_string()))??;
        if !frozen.exists() {
            let none = || Error::Spec(format!("no instance {id} with a root of its own"));
            let slot = self.slot(id).ok_or_else(none)?;
            let _op = slot.op.lock().await;
            let root = self.pool.path("roots", id)?;
            if !root.exists() {
                return Err(none());
            }
            let asked = Request::Freeze { root: root.clone(), copy: fresh.clone() };
            slot.ask(asked).await?;
            let inner = self.clone();
            let act = move || {
                // Nothing runs, or no longer does.
                if !fresh.exists() {
                    let device = wait_for(&root, false).map_err(failed("root"))?;
                    let copied = copy(&root, &fresh);
                    drop(device);
                    copied.and_then(|()| inner.settle(&fresh)).map_err(failed("root"))?;
                }
                volumes::rename(&fresh, &frozen).map_err(failed("root"))?;
                Ok::<_, Error>(frozen)
            };
            let done = tokio::task::spawn_blocking(act).await;
            return Ok(Layer::Image(done.map_err(|error| Error::Host(error.to_string()))??));
        }
        Ok(Layer::Image(frozen))
    }

    /// Of roots and layers of instances that are no more.
    pub fn adopt_roots(&self, instances: &BTreeSet<String>) -> Result<()> {
        let roots = self.pool.directory()?.join("roots");
        for entry in fs::read_dir(roots).map_err(failed("roots"))? {
            let entry = entry.map_err(failed("roots"))?;
            if !instances.contains(&*entry.file_name().to_string_lossy()) {
                let forget = || {
                    views::forget(&self.config.state_dir, &entry.path())?;
                    fs::remove_file(entry.path())
                };
                forget().map_err(failed("roots"))?;
            }
        }
        Ok(())
    }

    /// Replays the journal of a root whose host died, as nobody can who mounts it read-only.
    fn settle(&self, file: &Path) -> io::Result<()> {
        const INCOMPATIBLE: u64 = 1024 + 0x60;
        const RECOVER: u32 = 4;
        let mut flags = [0; 4];
        self.plain(File::open(file)?)?.read_at(INCOMPATIBLE, &mut flags)?;
        if u32::from_le_bytes(flags) & RECOVER != 0 {
            let opened = self.open_view(file, false)?;
            drop(mounted(opened.path())?);
            drop(wait_for(opened.path(), false)?);
            File::open(file)?.sync_all()?;
        }
        Ok(())
    }
}

fn format(path: &Path, bytes: u64) -> io::Result<()> {
    let source = path.with_extension("directories");
    let _ = fs::remove_dir_all(&source);
    fs::create_dir(&source)?;
    for name in WRITABLE {
        fs::create_dir(source.join(name))?;
    }
    File::create(path)?.set_len(bytes)?;
    let from = source.to_string_lossy();
    let journal = if bytes >= 4 << 30 { "size=32" } else { "size=8" };
    let arguments =
        ["-q", "-F", "-m", "0", "-b", "4096", "-J", journal, "-O", "^resize_inode", "-d", &from];
    let made = pool::run("mkfs.ext4", &arguments, path);
    fs::remove_dir_all(&source)?;
    made.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::other("mkfs.ext4 is not installed; roots need it (drover doctor)")
        }
        _ => error,
    })
}

/// Offline, before the shim mounts it. `view`: its content in plain.
fn grow(file: &Path, view: &Path, bytes: u64) -> io::Result<()> {
    let device = wait_for(view, false)?;
    drop(device);
    File::options().write(true).open(file)?.set_len(bytes)?;
    pool::run("e2fsck", &["-fp"], view).or_else(|_| pool::run("e2fsck", &["-fy"], view))?;
    pool::run("resize2fs", &[], view)
}

fn wait_for(file: &Path, read_only: bool) -> io::Result<Loop> {
    let until = Instant::now() + RELEASE;
    loop {
        match Loop::open(file, read_only)? {
            Some(device) => return Ok(device),
            None if Instant::now() > until => {
                return Err(io::Error::other(format!("{} is in use elsewhere", file.display())));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// The root in a file, mounted and attached nowhere.
pub fn mounted(file: &Path) -> io::Result<OwnedFd> {
    let device = wait_for(file, false)?;
    let path = device.path();
    let source = path.to_string_lossy();
    // Its inode tables are zeros already. What is deleted goes back to the pool.
    let settings = [
        ("source", Some(&*source)),
        ("errors", Some("remount-ro")),
        ("noinit_itable", None),
        ("discard", None),
    ];
    mount::create("ext4", &settings, 0)
}

/// A directory of a mount, by which it can be held still.
pub fn opened(mount: &OwnedFd) -> io::Result<File> {
    // SAFETY: a live descriptor and a terminated string; the result is a new descriptor.
    unsafe {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let fd = sys::check(libc::openat(mount.as_raw_fd(), c".".as_ptr(), flags))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd).into())
    }
}

/// Copies a root that is mounted: everything in it is on its disk, and nothing changes meanwhile.
pub fn copy_still(directory: &File, root: &Path, to: &Path) -> io::Result<()> {
    let control = |what| {
        // SAFETY: a live descriptor; the argument is not read.
        sys::check(unsafe { libc::ioctl(directory.as_fd().as_raw_fd(), what, 0) })
    };
    control(FIFREEZE)?;
    let copied = copy(root, to);
    control(FITHAW)?;
    copied
}

/// Ends a freeze that whoever began it could not.
pub fn thaw(directory: &File) {
    // SAFETY: a live descriptor; the argument is not read.
    unsafe { libc::ioctl(directory.as_raw_fd(), FITHAW, 0) };
}

fn copy(root: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(root)?;
    let bytes = source.metadata()?.len();
    volumes::copy_unsynced(&source, to, bytes)?;
    File::open(to)?.sync_all()
}

/// Takes a layer from where it is mounted; instances that have it keep it.
pub fn unmount_layer(state_dir: &Path, name: &str) -> io::Result<()> {
    let place = state_dir.join("layers").join(name);
    if !place.exists() {
        return Ok(());
    }
    if pool::is_mount_point(&place)? {
        mount::unmount(&place, libc::MNT_DETACH)?;
    }
    fs::remove_dir(place)
}

/// All of them.
pub fn release(state_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(state_dir.join("layers")).into_iter().flatten() {
        unmount_layer(state_dir, &entry?.file_name().to_string_lossy())?;
    }
    Ok(())
}

//! Where disks are kept: one sparse file per state directory with a file system of its own, so that
//! their copies share blocks, and so that all of them together can fill up this pool and no more.
//! Made when first needed, found again by whoever opens the state directory next.
//!
//! ```text
//! STATE/pool.img            XFS, or ext4 where no mkfs.xfs is (no sharing then: copies are sparse)
//! STATE/pool/               mounted there
//!   volumes/NAME            bytes of a volume
//!   snapshots/NAME          of a complete snapshot
//!   begun/NAME              of one that is being filled
//!   frozen/NAME             a root that images are made of
//!   roots/ID                the root of an instance
//!   stores/ID/NAME.SINCE    an instance store, and the boot at which it was empty
//!   blank/BYTES             an empty root of this size, to be copied
//!   new/                    what is not yet what it shall be: of no use after a crash
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::block::{self, Loop};
use super::{headroom, mount, sys};
use crate::{Error, Result};

/// Smaller, XFS cannot be.
const SMALLEST: u64 = 512 << 20;
/// Of what the state directory's file system has left when the pool is made.
const SHARE_PERCENT: u64 = 80;
/// How long devices that were just let go may keep the pool busy.
const RELEASE: Duration = Duration::from_secs(10);
/// How long they are waited for when it shall go.
const LETTING_GO: Duration = Duration::from_secs(3);

const DIRECTORIES: [&str; 8] =
    ["volumes", "snapshots", "begun", "frozen", "roots", "stores", "blank", "new"];

pub struct Pool {
    state_dir: PathBuf,
    /// Held while it is made; whether it is there.
    made: Mutex<bool>,
    next: AtomicU64,
}

impl Pool {
    pub fn new(state_dir: &Path) -> Pool {
        Pool { state_dir: state_dir.to_owned(), made: Mutex::new(false), next: AtomicU64::new(0) }
    }

    /// Whether there ever was a need for it.
    pub fn exists(&self) -> bool {
        image(&self.state_dir).exists()
    }

    /// Where it is mounted. Makes it when it is not. Blocking.
    pub fn directory(&self) -> Result<PathBuf> {
        let mut made = self.made.lock().expect("not poisoned");
        let directory = mount_point(&self.state_dir);
        if !*made {
            self.make(&directory).map_err(failed("the pool of disks"))?;
            *made = true;
        }
        Ok(directory)
    }

    pub fn path(&self, kind: &str, name: &str) -> Result<PathBuf> {
        if !plain(name) {
            return Err(Error::Spec(format!("{name:?} cannot be the name of a disk")));
        }
        Ok(self.directory()?.join(kind).join(name))
    }

    /// Whether copies share blocks.
    pub fn shares(&self) -> Result<bool> {
        block::is_xfs(&self.directory()?).map_err(failed("the pool of disks"))
    }

    /// `Capacity` when new disks would only take what those need that are there.
    pub fn check_room(&self) -> Result<()> {
        let space = block::Space::of(&self.directory()?).map_err(failed("the pool of disks"))?;
        if headroom::is_enough(space) {
            return Ok(());
        }
        Err(Error::Capacity(format!(
            "the pool of disks is full: {} MiB of {} are left",
            space.available >> 20,
            space.total >> 20
        )))
    }

    /// A place for a file that gets its name when it is ready.
    pub fn fresh(&self) -> Result<PathBuf> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(self.directory()?.join("new").join(n.to_string()))
    }

    fn make(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        if !is_mounted(&self.state_dir)? {
            let image = image(&self.state_dir);
            if !image.exists() {
                format(&image)?;
            }
            attach(&image, directory).map_err(|error| broken(&image, &error))?;
        }
        for name in DIRECTORIES {
            fs::create_dir_all(directory.join(name))?;
        }
        for entry in fs::read_dir(directory.join("new"))? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        Ok(())
    }
}

fn broken(image: &Path, error: &io::Error) -> io::Error {
    let image = image.display();
    io::Error::other(format!(
        "{image} cannot be mounted: {error}. `xfs_repair {image}` may mend it (fsck.ext4 where it is \
         ext4); `drover down --purge` gives up this cloud, its disks and its records"
    ))
}

/// A name that is one part of a path and nothing else.
pub fn plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

pub fn failed(what: &str) -> impl Fn(io::Error) -> Error {
    move |error| match error.raw_os_error() {
        Some(libc::ENOSPC) => Error::Capacity(format!("{what}: {error}")),
        _ => Error::Host(format!("{what}: {error}")),
    }
}

fn image(state_dir: &Path) -> PathBuf {
    state_dir.join("pool.img")
}

pub fn mount_point(state_dir: &Path) -> PathBuf {
    state_dir.join("pool")
}

fn is_mounted(state_dir: &Path) -> io::Result<bool> {
    is_mount_point(&mount_point(state_dir))
}

/// Whether something is mounted at this directory.
pub fn is_mount_point(directory: &Path) -> io::Result<bool> {
    let outside = directory.parent().unwrap_or(Path::new("/"));
    Ok(fs::metadata(directory)?.dev() != fs::metadata(outside)?.dev())
}

fn format(image: &Path) -> io::Result<()> {
    let fresh = image.with_extension("new");
    let directory = image.parent().unwrap_or(Path::new("/"));
    let bytes = (block::Space::of(directory)?.available / 100 * SHARE_PERCENT) & !0xfffff;
    if bytes < SMALLEST {
        return Err(io::Error::from_raw_os_error(libc::ENOSPC));
    }
    let file = File::create(&fresh)?;
    sys::set_mode(&fresh, 0o600)?;
    file.set_len(bytes)?;
    // The smallest log there may be, as all of it is written at once.
    let xfs = ["-q", "-K", "-s", "size=512", "-m", "reflink=1", "-l", "size=64m"];
    let ext4 = ["-q", "-F", "-m", "0"];
    let made = run("mkfs.xfs", &xfs, &fresh).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => run("mkfs.ext4", &ext4, &fresh),
        _ => Err(error),
    });
    made.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::other("neither mkfs.xfs nor mkfs.ext4 is installed (drover doctor)")
        }
        _ => error,
    })?;
    file.sync_all()?;
    fs::rename(&fresh, image)?;
    block::sync_directory(directory)
}

/// Runs a program on a file. `NotFound`: there is no such program.
pub fn run(program: &str, arguments: &[&str], file: &Path) -> io::Result<()> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut command = Command::new(program);
    command.args(arguments).arg(file).env("PATH", path).stdin(Stdio::null());
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}", said.trim())))
}

fn attach(image: &Path, directory: &Path) -> io::Result<()> {
    let until = Instant::now() + RELEASE;
    // The device of a mount that is just going still has the file.
    let device = loop {
        match Loop::open(image, false)? {
            Some(device) => break device,
            None if Instant::now() > until => return Err(io::Error::other("in use elsewhere")),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mount = |kind| mount::mount_device(kind, &device.path(), directory, libc::MS_NOATIME);
    mount("xfs").or_else(|error| match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENODEV) => mount("ext4"),
        _ => Err(error),
    })
}

/// Unmounts the pool of a state directory, when nothing uses it any more.
pub fn release(state_dir: &Path) -> io::Result<()> {
    let directory = mount_point(state_dir);
    if !directory.exists() {
        return Ok(());
    }
    let until = Instant::now() + LETTING_GO;
    while is_mounted(state_dir)? {
        match mount::unmount(&directory, 0) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                if Instant::now() > until {
                    // It goes with whoever has it, which may be this process.
                    mount::unmount(&directory, libc::MNT_DETACH)?;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            other => other?,
        }
    }
    Ok(())
}

//! The daemon's side of plain views: starting them, finding those of an earlier daemon, and clearing away
//! what dead ones left.
//!
//! ```text
//! STATE/views/KIND.NAME/
//!   lock     held by the view's process as long as it lives, with its pid inside
//!   plain    where the view is mounted: one file
//! ```
//!
//! The process also holds the lock of its ciphertext: no file has two views, nor is one a device besides.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{sealed, view};
use crate::namespace::driver::Inner;
use crate::namespace::{mount, sys};

/// How long who had the file before may take to let go of it.
const RELEASE: Duration = Duration::from_secs(10);
/// How long a view may take until it can be opened.
const READY_MS: i32 = 10_000;
/// How long views may take to end by themselves when everything shall: what guests wrote is on its way.
const ENDING: Duration = Duration::from_secs(30);

/// A view that its holder needs for now. Dropped, the view ends with the last who has it open.
pub struct View {
    pub path: PathBuf,
    control: OwnedFd,
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = sys::send(self.control.as_fd(), view::LET_GO, &[]);
    }
}

/// What there is to be read of a file of the pool: itself, or its view.
pub enum Opened {
    Plain(PathBuf),
    /// That somebody else holds.
    Living(PathBuf),
    View(View),
}

impl Opened {
    pub fn path(&self) -> &Path {
        match self {
            Opened::Plain(path) | Opened::Living(path) => path,
            Opened::View(view) => &view.path,
        }
    }

    pub fn is_view(&self) -> bool {
        !matches!(self, Opened::Plain(_))
    }
}

/// Why encrypted disks cannot be had here.
pub fn check() -> io::Result<()> {
    // To open it loads the module where it is one.
    device()?;
    let known = fs::read_to_string("/proc/filesystems")?;
    match known.lines().any(|line| line == "nodev\tfuse") {
        true => Ok(()),
        false => Err(io::Error::other("the kernel has no FUSE loaded")),
    }
}

fn device() -> io::Result<File> {
    let device = File::options().read(true).write(true).open("/dev/fuse");
    device.map_err(|error| io::Error::new(error.kind(), format!("/dev/fuse: {error}")))
}

impl Inner {
    /// Makes an encrypted file readable; one that is not is so already. Waits for who had it before.
    pub fn open_view(&self, file: &Path, read_only: bool) -> io::Result<Opened> {
        let of = File::open(file)?;
        let Some(key) = sealed::key(&of, self.config.keys.as_deref())? else {
            return Ok(Opened::Plain(file.to_owned()));
        };
        let ciphertext = opened(file, read_only)?;
        let until = Instant::now() + RELEASE;
        while !sys::try_lock(ciphertext.as_fd())? {
            if Instant::now() > until {
                return Err(io::Error::other(format!("{} is in use elsewhere", file.display())));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let directory = place(&self.config.state_dir, file);
        clear(&directory)?;
        fs::create_dir_all(&directory)?;
        let lock = File::create(directory.join("lock"))?;
        sys::try_lock(lock.as_fd())?;
        let path = directory.join("plain");
        File::create(&path)?;
        let begun = self.begin_view(&directory, read_only, &ciphertext, &lock, &key);
        // What waits for these locks shall not wait for this process.
        drop((ciphertext, lock));
        match begun {
            Ok(control) => Ok(Opened::View(View { path, control })),
            Err(error) => {
                clear(&directory)?;
                Err(error)
            }
        }
    }

    fn begin_view(
        &self,
        directory: &Path,
        read_only: bool,
        ciphertext: &File,
        lock: &File,
        key: &crate::storage::DataKey,
    ) -> io::Result<OwnedFd> {
        let kernel = device()?;
        let options = format!(
            "fd={},rootmode=100600,user_id=0,group_id=0,max_read={}",
            kernel.as_raw_fd(),
            super::fuse::MOST
        );
        let read_only = if read_only { libc::MS_RDONLY } else { 0 };
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOATIME | read_only;
        mount::mount("fuse", &directory.join("plain"), flags, &options)?;
        let (ours, theirs) = sys::socketpair()?;
        self.launcher.view(theirs.as_fd())?;
        drop(theirs);
        let order = view::order(key, directory.as_os_str().as_bytes());
        sys::send(ours.as_fd(), &order, &[kernel.as_fd(), ciphertext.as_fd(), lock.as_fd()])?;
        drop(kernel);
        let mut said = [0; 256];
        if sys::poll(&mut [sys::pollfd(&ours)], READY_MS)? == 0 {
            return Err(io::Error::other("the view of an encrypted disk does not come up"));
        }
        let (n, _) = sys::receive(ours.as_fd(), &mut said)?;
        match &said[..n] {
            view::READY => Ok(ours),
            why => Err(io::Error::other(format!(
                "the view of an encrypted disk ended: {}",
                String::from_utf8_lossy(why)
            ))),
        }
    }

    /// Whether a view died that somebody still has.
    pub fn is_dead(&self, kind: &str, name: &str) -> bool {
        let directory = self.config.state_dir.join("views").join(format!("{kind}.{name}"));
        matches!(is_alive(&directory), Ok(false)) && is_broken(&directory)
    }
}

/// Past the page cache where that is possible: what is in there is in the guest's already.
fn opened(file: &Path, read_only: bool) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(!read_only);
    match options.clone().custom_flags(libc::O_DIRECT).open(file) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => options.open(file),
        other => other,
    }
}

fn place(state_dir: &Path, file: &Path) -> PathBuf {
    let part = |path: Option<&Path>| {
        path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
    };
    state_dir.join("views").join(format!("{}.{}", part(file.parent()), part(Some(file))))
}

/// Whether the process of a view lives. `NotFound`: there is none.
fn is_alive(directory: &Path) -> io::Result<bool> {
    Ok(!sys::try_lock(File::open(directory.join("lock"))?.as_fd())?)
}

/// Whether there is a mount that nobody serves.
fn is_broken(directory: &Path) -> bool {
    let seen = fs::metadata(directory.join("plain"));
    seen.is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
}

/// Of a view that has no process.
fn clear(directory: &Path) -> io::Result<()> {
    let gone =
        |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL));
    match mount::unmount(&directory.join("plain"), libc::MNT_DETACH) {
        Err(error) if !gone(&error) => return Err(error),
        _ => {}
    }
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What a dead view of this file left, if it is one.
pub fn forget(state_dir: &Path, file: &Path) -> io::Result<()> {
    let directory = place(state_dir, file);
    match is_alive(&directory) {
        Ok(true) => Ok(()),
        _ => clear(&directory),
    }
}

/// The view of this file, if it has one.
pub fn living(state_dir: &Path, file: &Path) -> Option<PathBuf> {
    let directory = place(state_dir, file);
    matches!(is_alive(&directory), Ok(true)).then(|| directory.join("plain"))
}

fn all(state_dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(state_dir.join("views")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Removes what a host left that went down. Dead views that are mounted stay: somebody may have them,
/// and shall be seen to.
pub fn sweep(state_dir: &Path) -> io::Result<()> {
    for directory in all(state_dir) {
        if !matches!(is_alive(&directory), Ok(true)) && !is_broken(&directory) {
            clear(&directory)?;
        }
    }
    Ok(())
}

/// Ends all of them. Whoever had them is gone.
pub fn release(state_dir: &Path) -> io::Result<()> {
    let until = Instant::now() + ENDING;
    for directory in all(state_dir) {
        while matches!(is_alive(&directory), Ok(true)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        kill(&directory)?;
        clear(&directory)?;
    }
    Ok(())
}

/// By the pid in its lock, which is its own as long as it holds that.
fn kill(directory: &Path) -> io::Result<()> {
    let pid = fs::read_to_string(directory.join("lock")).unwrap_or_default();
    let Ok(pidfd) = pid.trim().parse().map_err(io::Error::other).and_then(sys::pidfd_open) else {
        return Ok(());
    };
    if matches!(is_alive(directory), Ok(true)) {
        sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL)?;
        let _ = sys::poll(&mut [sys::pollfd(&pidfd)], ENDING.as_millis() as i32);
    }
    Ok(())
}

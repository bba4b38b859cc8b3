//! From the clone to init: what pid 1 does to make its own world, with the means its shim hands it.
//! Ends by becoming init: Drover's (`init.rs`) or the image's (`image_init.rs`).
//!
//! ```text
//!  child                                   shim
//!    join cgroups                            id maps
//!    wait ◄───────────── Trees + descriptors ┤ id-mapped clones of layers, root/, console
//!    root of the namespace, overlays, /dev,  ├ tells the daemon, which attaches the interfaces
//!    /proc, /sys, pivot, hostname            │
//!    wait ◄──────────────────────── Network  ┤
//!    capabilities, seccomp                   │
//!    init ─────────────────────────── Up ───►│
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::confine::{self, Filter};
use super::image_init::ImageInit;
use super::record::{Record, WRITABLE};
use super::{image_init, init, mount, sys};
use crate::Spec;

/// From the shim, one message each.
pub const TREES: u8 = b't';
pub const NETWORK: u8 = b'n';
/// From the child: with what its filter hands over (`notify.rs`).
pub const LISTENER: u8 = b'l';
/// The root is in place.
pub const ROOTED: u8 = b'r';
pub const GROUP: u8 = b'g';
/// To the shim: this instance's root is to have its cgroup.
pub const WANTS_GROUP: u8 = b'w';
/// Now the image's init is executed; its path follows.
pub const EXEC: u8 = b'x';
/// From init: it runs; or why not, as text.
pub const UP: u8 = b'u';
pub const FAILED: u8 = b'f';

/// Where the new root is put together. Every host has it.
const STAGE: &str = "/tmp";

/// A step that failed, in words for the console.
pub struct Failure(pub String);

trait Step<T> {
    fn step(self, what: impl std::fmt::Display) -> Result<T, Failure>;
}

impl<T> Step<T> for io::Result<T> {
    fn step(self, what: impl std::fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

/// Never returns: becomes init, or reports why not.
pub fn run(
    record: &Record,
    channel: OwnedFd,
    console: OwnedFd,
    tasks: Vec<File>,
    filter: &Filter,
) -> ! {
    match enter(record, &channel, &console, tasks, filter) {
        Ok(Some(image)) => image_init::run(record, channel, &image),
        Ok(None) => init::run(record, channel),
        Err(Failure(why)) => {
            let message = [&[FAILED], why.as_bytes()].concat();
            let _ = sys::send(channel.as_fd(), &message, &[]);
            sys::exit(1)
        }
    }
}

fn enter(
    record: &Record,
    channel: &OwnedFd,
    console: &OwnedFd,
    tasks: Vec<File>,
    filter: &Filter,
) -> Result<Option<ImageInit>, Failure> {
    for mut file in tasks {
        file.write_all(b"0").step("join cgroup")?;
    }
    sys::unshare(libc::CLONE_NEWCGROUP).step("cgroup namespace")?;
    for fd in 0..3 {
        sys::dup_to(console.as_fd(), fd).step("console")?;
    }
    sys::close_all_but(&[0, 1, 2, channel.as_raw_fd()]);

    let trees = wait_for(channel, TREES)?;
    sys::become_root().step("become root")?;
    // From here a dead shim takes init with it; before, `wait_for` saw the end of the channel.
    sys::die_with_parent().step("tie to the shim")?;
    sys::setsid();
    sys::umask(0);
    let root = build_root(record, trees)?;
    let image = image_init::choose(&root, record).map_err(Failure)?;
    furnish(&root, &record.spec, image.as_ref())?;
    mount::pivot(&root).step("pivot_root")?;
    mask();
    sys::umask(0o022);
    sys::set_hostname(&record.spec.hostname).step("hostname")?;
    sys::loopback_up().step("loopback")?;
    sys::send(channel.as_fd(), &[ROOTED], &[]).step("shim")?;
    wait_for(channel, NETWORK)?;
    if image.is_some() {
        sys::send(channel.as_fd(), &[WANTS_GROUP], &[]).step("shim")?;
        wait_for(channel, GROUP)?;
    }
    confine::drop_capabilities().step("capabilities")?;
    let listener = filter.install().step("seccomp")?;
    sys::send(channel.as_fd(), &[LISTENER], &[listener.as_fd()]).step("seccomp")?;
    Ok(image)
}

/// The next message must be of this kind. The shim's death ends this process too.
fn wait_for(channel: &OwnedFd, kind: u8) -> Result<Vec<OwnedFd>, Failure> {
    let mut message = [0; 16];
    match sys::receive(channel.as_fd(), &mut message) {
        Ok((n, fds)) if n > 0 && message[0] == kind => Ok(fds),
        Ok((0, _)) => sys::exit(1),
        Ok(_) => Err(Failure("unexpected message from the shim".into())),
        Err(error) => Err(Failure(format!("shim: {error}"))),
    }
}

/// Mounts the overlay(s) and returns where. The trees are: root layers, /usr layers, the writable
/// directories, the console, /dev.
fn build_root(record: &Record, mut trees: Vec<OwnedFd>) -> Result<PathBuf, Failure> {
    let layers = &record.root;
    let count = layers.root.len() + layers.usr.len() + 2;
    if trees.len() != count + 1 {
        return Err(Failure("unexpected number of trees from the shim".into()));
    }
    let devices = trees.split_off(count);
    let stage = Path::new(STAGE);
    mount::change(Path::new("/"), libc::MS_REC | libc::MS_PRIVATE).step("private mounts")?;
    mount::mount("tmpfs", stage, 0, "mode=700").step("staging area")?;
    let place = |n: usize| stage.join(n.to_string());
    for (n, tree) in trees.iter().enumerate() {
        if n + 1 < trees.len() {
            fs::create_dir(place(n)).step("staging area")?;
        } else {
            File::create(place(n)).step("staging area")?;
        }
        mount::attach(tree.as_fd(), &place(n)).step("attach layer")?;
    }
    drop(trees);

    let root = stage.join("root");
    fs::create_dir(&root).step("staging area")?;
    let writable = place(layers.root.len() + layers.usr.len());
    let [upper, work, usr, usr_work] = WRITABLE.map(|name| writable.join(name));
    let lower: Vec<PathBuf> = (0..layers.root.len()).map(place).collect();
    overlay(&root, &lower, &upper, &work).step("overlay /")?;
    if !layers.usr.is_empty() {
        let lower: Vec<PathBuf> =
            (layers.root.len()..layers.root.len() + layers.usr.len()).map(place).collect();
        overlay(&root.join("usr"), &lower, &usr, &usr_work).step("overlay /usr")?;
    }
    let console = place(layers.root.len() + layers.usr.len() + 1);
    let dev = root.join("dev");
    fs::create_dir_all(&dev).step("/dev")?;
    mount::attach(devices[0].as_fd(), &dev).step("/dev")?;
    File::create(dev.join("console")).step("/dev/console")?;
    mount::bind(&console, &dev.join("console")).step("/dev/console")?;
    Ok(root)
}

/// `lower`: lowest first.
fn overlay(target: &Path, lower: &[PathBuf], upper: &Path, work: &Path) -> io::Result<()> {
    let lower: Vec<String> = lower.iter().rev().map(|path| path.display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr",
        lower.join(":"),
        upper.display(),
        work.display()
    );
    mount::mount("overlay", target, 0, &options)
}

/// The file systems that are not on disk. An init of the image's mounts /tmp as the image wants it, and
/// finds its cgroup writable.
fn furnish(root: &Path, spec: &Spec, image: Option<&ImageInit>) -> Result<(), Failure> {
    let dev = root.join("dev");
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let node = dev.join(name);
        File::create(&node).step("/dev")?;
        mount::bind(&Path::new("/dev").join(name), &node).step(format!("/dev/{name}"))?;
    }
    fs::create_dir(dev.join("net")).step("/dev/net")?;
    for name in ["net/tun", "fuse"] {
        let (host, node) = (Path::new("/dev").join(name), dev.join(name));
        if host.exists() {
            File::create(&node).step("/dev")?;
            mount::bind(&host, &node).step(format!("/dev/{name}"))?;
        }
    }
    for (target, link) in [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ] {
        symlink(target, dev.join(link)).step("/dev")?;
    }
    let (nosuid, nodev, noexec) = (libc::MS_NOSUID, libc::MS_NODEV, libc::MS_NOEXEC);
    let all = nosuid | nodev | noexec;
    for (kind, place, flags, options) in [
        ("devpts", "dev/pts", nosuid | noexec, "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("tmpfs", "dev/shm", nosuid | nodev, "mode=1777"),
        ("mqueue", "dev/mqueue", all, ""),
        ("proc", "proc", all, ""),
        ("sysfs", "sys", all | libc::MS_RDONLY, ""),
        ("tmpfs", "run", nosuid | nodev, "mode=755"),
        ("tmpfs", "run/lock", all, "mode=1777,size=5m"),
        ("tmpfs", "tmp", nosuid | nodev, "mode=1777"),
    ] {
        match place {
            "sys" if image.is_some() => {
                image_init::mount_sys(root, spec).step("/sys")?;
                continue;
            }
            "tmp" if image.is_some() => continue,
            _ => {}
        }
        let target = root.join(place);
        fs::create_dir_all(&target).step(format!("/{place}"))?;
        mount::mount(kind, &target, flags, options).step(format!("/{place}"))?;
    }
    let group = root.join("sys/fs/cgroup");
    match image {
        Some(_) => mount::mount("cgroup2", &group, all, "")
            .step("/sys/fs/cgroup, without which an image's own init cannot run"),
        // Not every host has the version 2 hierarchy.
        None => {
            let _ = mount::mount("cgroup2", &group, all | libc::MS_RDONLY, "");
            Ok(())
        }
    }
}

/// Covers what tells of the host. What is not there needs no cover.
fn mask() {
    for file in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"] {
        if Path::new(file).exists() {
            let _ = mount::bind(Path::new("/dev/null"), Path::new(file));
        }
    }
    for directory in ["/proc/acpi", "/proc/scsi", "/sys/firmware"] {
        if Path::new(directory).exists() {
            let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            let _ = mount::mount("tmpfs", Path::new(directory), flags, "size=0,mode=555");
        }
    }
}

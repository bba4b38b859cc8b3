//! What a shim does to have a pid 1: the clone into namespaces, and what the child is handed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::confine::Filter;
use super::record::Record;
use super::sys::Forked;
use super::{IDS_PER_INSTANCE, child, mount, sys};

/// Pid 1, the channel to it, and the two ends of its console.
pub struct Launched {
    pub pid: libc::pid_t,
    pub pidfd: OwnedFd,
    pub channel: OwnedFd,
    pub terminal: OwnedFd,
    pub slave: OwnedFd,
}

/// Starts pid 1 and hands it what its root is made of.
pub fn launch(
    record: &Record,
    root: Option<OwnedFd>,
    dev: &OwnedFd,
    filter: &Filter,
) -> io::Result<Launched> {
    let (master, slave) = sys::terminal()?;
    sys::set_nonblocking(master.as_fd())?;
    sys::chown(slave.as_fd(), record.first_id, record.first_id)?;
    let mut tasks = Vec::new();
    for directory in record.group.legacy_directories() {
        tasks.push(OpenOptions::new().write(true).open(directory.join("tasks"))?);
    }
    let unified = record.group.unified.as_ref().map(File::open).transpose()?;
    let (ours, theirs) = sys::socketpair()?;
    let namespaces = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC;
    let cloned = sys::clone_into(namespaces, unified.as_ref().map(|fd| fd.as_fd()))?;
    let (pid, pidfd) = match cloned {
        Forked::Child => {
            drop(ours);
            child::run(record, theirs, slave, tasks, filter)
        }
        Forked::Parent(parts) => parts,
    };
    drop(theirs);
    let equipped = equip(record, root, dev, pid, &ours, &master);
    if let Err(error) = equipped {
        sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL)?;
        sys::wait(pid)?;
        return Err(error);
    }
    Ok(Launched { pid, pidfd, channel: ours, terminal: master, slave })
}

fn equip(
    record: &Record,
    root: Option<OwnedFd>,
    dev: &OwnedFd,
    pid: libc::pid_t,
    channel: &OwnedFd,
    master: &OwnedFd,
) -> io::Result<()> {
    let proc = Path::new("/proc").join(pid.to_string());
    let map = format!("0 {} {}", record.first_id, IDS_PER_INSTANCE);
    fs::write(proc.join("uid_map"), &map)?;
    fs::write(proc.join("gid_map"), &map)?;
    let user_namespace = File::open(proc.join("ns/user"))?;
    let shifted = |path: &Path, read_only: bool| {
        let tree = mount::clone_tree(path)?;
        mount::map_ids(tree.as_fd(), user_namespace.as_fd(), read_only)?;
        Ok(tree)
    };
    let named = |path: &Path, error: io::Error| {
        io::Error::other(format!("{}: cannot be given other owners: {error}", path.display()))
    };
    let mut trees = Vec::new();
    for path in &record.root.root {
        trees.push(shifted(path, true).map_err(|error| named(path, error))?);
    }
    for path in &record.root.usr {
        let tree = shifted(path, true).or_else(|error: io::Error| {
            if path != Path::new("/usr") {
                return Err(named(path, error));
            }
            // The host's /usr may be on a file system that cannot (overlay, NFS). Read-only it
            // serves as it is, with its files owned by nobody.
            let tree = mount::clone_tree(path)?;
            mount::read_only(tree.as_fd())?;
            Ok(tree)
        });
        trees.push(tree?);
    }
    let place = Path::new("root");
    let root = match root {
        Some(tree) => mount::map_ids(tree.as_fd(), user_namespace.as_fd(), false).map(|()| tree),
        None => shifted(place, false),
    };
    trees.push(root.map_err(|error| named(place, error))?);
    let number = sys::terminal_number(master.as_fd())?;
    trees.push(mount::clone_tree(&Path::new("/dev/pts").join(number.to_string()))?);
    let fds: Vec<_> = trees.iter().map(AsFd::as_fd).chain([dev.as_fd()]).collect();
    sys::send(channel.as_fd(), &[child::TREES], &fds)
}

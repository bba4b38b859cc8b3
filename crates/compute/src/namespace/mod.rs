//! Instances as processes of this Linux host, each in namespaces and a control group of its own, with
//! the raw system calls and no container runtime. Needs root.
//!
//! ```text
//!  daemon (NamespaceDriver) ──launch──► launcher ──fork──► shim ──clone3──► pid 1 (child, init)
//!     ▲    ▲                            (small, one thread)  │ one per instance, outlives both
//!     │    └─────────────── lines of JSON, one connection ───┘
//!     └ record.json, shim.json, exit.json, console in the state directory (record.rs)
//! ```
//!
//! A program that uses this calls `dispatch` first in its `main`. Pid 1 is the
//! image's systemd where it has one (`image_init.rs`), Drover's own init (`init.rs`) otherwise. Disk space
//! is not limited: the writable layer shares the file system of the state directory.

mod adopt;
mod attachments;
mod block;
mod cgroup;
mod check;
mod child;
mod confine;
mod console;
mod crypt;
mod disks;
mod driver;
mod enter;
mod errands;
mod exec;
mod first_boot;
mod follow;
mod guest_mount;
mod headroom;
mod helper;
mod host;
mod image_init;
mod init;
mod launch;
mod launcher;
mod mount;
mod notify;
mod oom;
mod plug;
mod pool;
mod probe;
mod record;
mod roots;
mod shim;
pub(crate) mod sys;
mod trash;
mod trust;
mod usage;
mod volumes;
pub(crate) mod within;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

pub use adopt::teardown;
pub use driver::NamespaceDriver;
pub use launcher::dispatch;
pub use probe::{Check, probe};

/// How many user and group ids an instance has.
pub const IDS_PER_INSTANCE: u32 = 65536;

#[derive(Clone, Debug)]
pub struct Config {
    /// Everything the driver keeps. Made with mode 0700. Its file system must be able to id-map
    /// mounts (ext4, xfs, btrfs, tmpfs since Linux 6.3).
    pub state_dir: PathBuf,
    /// The control group all instances' groups are in, in every hierarchy. One per cloud.
    pub cgroup: String,
    /// Host ids `first_id .. first_id + instances * 65536` belong to instances.
    pub first_id: u32,
    pub instances: u32,
    /// Most processes and threads of one instance.
    pub pids: u64,
    /// Roots of this size are made ready before the first one is asked for.
    pub usual_root_bytes: Option<u64>,
    /// Disks are as fast as they go, whatever limits they have.
    pub unlimited_io: bool,
    /// Of encrypted disks. `None`: there can be none.
    pub keys: Option<Arc<dyn crate::storage::Keys>>,
    /// A certificate authority (PEM) that every instance trusts besides its image's own.
    pub trusted: Option<String>,
}

impl Config {
    /// A control group and an id range that another cloud on this host is unlikely to have, made from
    /// the directory's name.
    pub fn new(state_dir: impl Into<PathBuf>) -> Config {
        let state_dir = std::path::absolute(state_dir.into()).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        state_dir.hash(&mut hasher);
        let hash = hasher.finish();
        // Eight slots of 2048 instances above 2^30, clear of people and of other container managers.
        let instances = 2048;
        let slot = (hash % 8) as u32;
        Config {
            cgroup: format!("drover-{:08x}", hash as u32),
            first_id: (1 << 30) + slot * instances * IDS_PER_INSTANCE,
            instances,
            pids: 8192,
            usual_root_bytes: None,
            unlimited_io: false,
            keys: None,
            trusted: None,
            state_dir,
        }
    }
}

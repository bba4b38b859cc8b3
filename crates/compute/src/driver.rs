//! The seam between the control plane and whatever runs instances.
//!
//! Level-triggered: `ensure` says what should be, `list` says what is; every call may run twice, in
//! any order, also after a crash of the caller. A driver keeps nothing the caller must remember: after
//! a restart it finds its instances again by itself (state directory, pidfds) and lists them.
//!
//! ```text
//!            ensure(spec)                 init ready             init gone
//!  absent ───────────────► Booting ───────────────► Up ───────────────► Exited(how)
//!     ▲                                              │  stop / kill         │ ensure(spec with a
//!     └───────────────────── destroy ◄───────────────┴──────────────────────┘ higher boot number)
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exec::{self, ConsoleFollower, Keys, Program, Running};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no room left for this instance (memory, ids, disk). The caller may try another host.
    #[error("no capacity: {0}")]
    Capacity(String),
    /// The specification can never work here (missing layer, unusable image).
    #[error("bad specification: {0}")]
    Spec(String),
    /// Somebody uses it; it can be done when they no longer do.
    #[error("in use: {0}")]
    Busy(String),
    /// The host failed; trying again may help.
    #[error("host: {0}")]
    Host(String),
}

/// One boot of one instance. Two specs with the same `id` and `boot` are the same boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Unique among all instances of the driver; also the name of its directories and cgroup.
    pub id: String,
    /// Which boot this is. A higher number than the one running means: boot again with the kept root.
    pub boot: u64,
    /// Read-only layers of the root file system, lowest first. The writable layer belongs to the
    /// instance and lives until `destroy`.
    pub layers: Vec<Layer>,
    /// Virtual CPUs, as a bandwidth limit.
    pub vcpus: u32,
    pub memory_mib: u64,
    pub nics: Vec<Nic>,
    pub hostname: String,
    /// Environment of init, services, user data and logins.
    pub env: BTreeMap<String, String>,
    /// Run once, at the first boot of this `id` on this root, as root, with output to the console and
    /// /var/log/cloud-init-output.log. Raw bytes: `#!` scripts, gzip already unpacked by the caller.
    pub user_data: Option<Vec<u8>>,
    /// `authorized_keys` lines of root and the image's default user.
    pub ssh_keys: Vec<String>,
    #[serde(default)]
    pub resolver: Resolver,
    /// The writable layer is full at this many. `None`: when the host's disk is.
    #[serde(default)]
    pub root_bytes: Option<u64>,
    /// What is written to the root is ciphertext on the host. Of one that is there already, it says
    /// nothing.
    #[serde(default)]
    pub root_encrypted: bool,
    #[serde(default)]
    pub disks: Vec<Disk>,
    #[serde(default)]
    pub init: Init,
}

/// A block device of an instance besides its root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Unique in the instance: a volume's id, or `ephemeral0`.
    pub name: String,
    /// Its path inside: `/dev/` and a plain name. One that is asked for as `/dev/sdf` is there as
    /// `/dev/xvdf` too, as on instances whose kernel calls it so.
    pub device: String,
    pub source: DiskSource,
    /// Most operations and bytes per second, reads and writes each. `None`: as fast as it goes.
    #[serde(default)]
    pub iops: Option<u64>,
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskSource {
    /// Of `Storage`, by its name there. At most one instance that runs has it.
    Volume(String),
    /// Belongs to the instance. Empty at boot number `since` and kept by later boots that say the same:
    /// a reboot repeats the number, a start after a stop says its own.
    InstanceStore { bytes: u64, since: u64 },
}

/// What runs as pid 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// The image's, if its /sbin/init is systemd; Drover's otherwise. Of the host's own layer, Drover's.
    #[default]
    Auto,
    Drover,
    /// The image's /sbin/init, whatever it is.
    Image,
}

/// Whom an instance asks for names. No servers: nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    pub servers: Vec<Ipv4Addr>,
    /// Domains that names without a dot are tried in.
    pub search: Vec<String>,
}

/// A read-only layer of a root file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Layer {
    /// This host's own system, filtered: the skeleton for `/` and the host's `/usr`.
    Host,
    /// A directory with a root file system (or a part of one), unpacked.
    Dir(PathBuf),
    /// A frozen root, as `Storage` gave it.
    Image(PathBuf),
}

/// A network interface: a veth whose inner end is the instance's, the outer end in `network`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// The fabric network, as given to `fabric::Fabric::ensure_network`.
    pub network: String,
    /// Unique in the network and at most 15 bytes: the outer end's name.
    pub interface: String,
    /// Its number in the instance: `eth0` for 0, which is the way to everywhere.
    #[serde(default)]
    pub device: u32,
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
    /// Where it answers besides.
    #[serde(default)]
    pub secondary: Vec<Ipv4Addr>,
    /// Prefix length of the subnet, and its router's address.
    pub prefix: u8,
    pub gateway: Ipv4Addr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Asked for, init not yet running.
    Booting,
    /// Init runs and the network is up.
    Up,
    Exited(Exit),
}

/// Why an instance runs no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// `stop` or `kill` was asked for, and done.
    Asked,
    /// Init ended by itself or the guest powered off.
    PoweredOff,
    /// The guest asked for a reboot.
    Rebooted,
    /// Init was killed from outside, or its shim is gone: the host's fault, as it were.
    Lost,
    /// The boot itself failed; the console says why.
    Failed,
}

/// What the driver sees of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    pub id: String,
    /// The boot this is about.
    pub boot: u64,
    pub phase: Phase,
}

/// When a boot got how far, by the host's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootTimes {
    pub boot: u64,
    /// What pid 1 is: `drover`, or the path of the image's own init.
    pub init: String,
    /// What was reached, and when: microseconds since the Unix epoch. In no order.
    pub marks: Vec<(String, u64)>,
}

/// Cumulative since the boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu: Duration,
    pub memory_bytes: u64,
    pub network_in_bytes: u64,
    pub network_out_bytes: u64,
    pub network_in_packets: u64,
    pub network_out_packets: u64,
    /// Of its root and its volumes, with what earlier boots had of them; not of instance stores.
    pub volume_read_bytes: u64,
    pub volume_write_bytes: u64,
    pub volume_reads: u64,
    pub volume_writes: u64,
}

pub trait Driver: Send + Sync {
    /// Boots `spec` if this boot was not begun yet. Returns when the boot has begun (its record is
    /// kept, the process exists) or could not. The same or an older boot again is no error and no act.
    fn ensure<'a>(&'a self, spec: &'a Spec) -> BoxFuture<'a, Result<()>>;

    /// Asks init to shut down, kills everything when `grace` is over. Returns at once.
    /// The end shows in `list` as `Exited(Asked)`. Unknown or exited: nothing.
    fn stop(&self, id: &str, grace: Duration) -> Result<()>;

    /// The power cord: every process of the instance dies now. Returns at once.
    fn kill(&self, id: &str) -> Result<()>;

    /// What holds the instance fails, as a host does: all of it dies now, and since nobody asked it shows
    /// as `Exited(Lost)`. Returns at once. Unknown or exited: nothing.
    fn crash(&self, id: &str) -> Result<()>;

    /// Gives what runs this interface, or makes the one of that name what `nic` says. Not running:
    /// nothing; its next boot has what its spec says.
    fn attach<'a>(&'a self, id: &'a str, nic: &'a Nic) -> BoxFuture<'a, Result<()>>;

    /// Takes the interface from what runs. Unknown or not running: nothing.
    fn detach<'a>(&'a self, id: &'a str, nic: &'a Nic) -> BoxFuture<'a, Result<()>>;

    /// Gives what runs this disk, or makes the one of that name as fast as `disk` says. Not running:
    /// nothing; its next boot has what its spec says.
    fn plug_disk<'a>(&'a self, id: &'a str, disk: &'a Disk) -> BoxFuture<'a, Result<()>>;

    /// Takes the disk of this name from what runs. `Busy` while the guest uses it (mounted, say), unless
    /// by force: then the guest's reads and writes fail from now on. Unknown or not running: nothing,
    /// but an instance store of that name loses its data.
    fn unplug_disk<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        force: bool,
    ) -> BoxFuture<'a, Result<()>>;

    /// How many processors' worth of time what runs may use from now on. Not running: nothing; its
    /// next boot may use what its spec says.
    fn set_cpu(&self, id: &str, cores: f64) -> Result<()>;

    /// Kills what runs and removes every trace, writable layer included. Returns when the id is gone
    /// from `list`; files may be deleted in the background, also after a crash.
    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Everything that was ensured and not destroyed, in no order. From memory.
    fn list(&self) -> Vec<Observed>;

    /// Counts up whenever `list` changed.
    fn changes(&self) -> tokio::sync::watch::Receiver<u64>;

    /// `None` when unknown. From the cgroup and the interfaces; reads a few files.
    fn usage(&self, id: &str) -> Option<Usage>;

    /// Of the newest boot that came up. `None`: unknown, or nothing is measured here.
    fn boot_times(&self, _id: &str) -> Option<BootTimes> {
        None
    }

    /// The last 64 KiB of console output, all boots, newest last. Empty when unknown.
    fn console(&self, id: &str) -> Vec<u8>;

    /// `None` when unknown.
    fn follow_console(&self, id: &str) -> Option<ConsoleFollower>;

    /// What nobody reads inside is lost.
    fn type_on_console(&self, id: &str, keys: &[u8]) -> exec::Result<()>;

    /// Runs a program beside init. Returns when it was executed.
    fn exec<'a>(
        &'a self,
        id: &'a str,
        program: &'a Program,
    ) -> BoxFuture<'a, exec::Result<Running>>;

    /// Changes who may log in as a user. May run twice.
    fn authorize<'a>(&'a self, id: &'a str, keys: &'a Keys) -> BoxFuture<'a, exec::Result<()>>;

    /// Connects to a port of the instance from within its own network: no filter is in between.
    fn connect<'a>(&'a self, id: &'a str, port: u16) -> BoxFuture<'a, exec::Result<TcpStream>>;
}

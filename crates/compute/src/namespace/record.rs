//! What is on disk about an instance, and where.
//!
//! ```text
//! STATE/                      mode 0700: writable layers hold files of root that guests made
//!   lock                      held by the daemon and by its launcher
//!   driver.json               what `teardown` must know
//!   host/FINGERPRINT/         what the host layer is made of
//!   trash/                    to be deleted
//!   instances/ID/
//!     record.json             written before anything else exists
//!     lock                    held by the shim as long as it lives
//!     shim.json               which boot the shim is for, and its pid
//!     socket                  where the shim listens
//!     calls                   where it takes calls of programs that are run inside
//!     exit.json               how the boot ended
//!     boot.json               when the boot got how far
//!     console, console.old    its output
//!     root/{upper,work,usr,usr-work}    of one whose root has no size of its own
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cgroup::{Group, Limits};
use super::disks::Backed;
use crate::{Exit, Spec};

/// The directory of one instance.
#[derive(Clone, Debug)]
pub struct Home(pub PathBuf);

impl Home {
    pub fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
    pub fn shim(&self) -> PathBuf {
        self.0.join("shim.json")
    }
    pub fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
    pub fn calls(&self) -> PathBuf {
        self.0.join("calls")
    }
    pub fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }
    pub fn times(&self) -> PathBuf {
        self.0.join("boot.json")
    }
    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

/// The part of a root file system that `root/` holds for the instance.
pub const WRITABLE: [&str; 4] = ["upper", "work", "usr", "usr-work"];

/// Everything a shim must know for one boot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub spec: Spec,
    /// The instance's ids 0..65536 are `first_id..` outside.
    pub first_id: u32,
    pub group: Group,
    pub limits: Limits,
    /// What the root is made of, as directories of this host.
    pub root: RootLayers,
    /// When the driver was asked for this boot, as in `BootTimes`.
    #[serde(default)]
    pub asked_us: u64,
    /// A certificate authority to trust, PEM.
    #[serde(default)]
    pub trusted: Option<String>,
    /// Of the specification, and what they are made of.
    #[serde(default)]
    pub disks: Vec<Backed>,
    #[serde(default)]
    pub unlimited_io: bool,
    /// The file of a root that has a size of its own.
    #[serde(default)]
    pub root_file: Option<PathBuf>,
}

/// Lower directories, lowest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RootLayers {
    pub root: Vec<PathBuf>,
    /// Of an overlay of its own at /usr, as the host's /usr is a directory and no layer. Empty: none.
    pub usr: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ShimRecord {
    pub boot: u64,
    pub pid: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    pub boot: u64,
    pub exit: Exit,
}

/// Writes a file so that a reader, also after a crash of this process, sees all of it or the old one.
pub fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, serde_json::to_vec(value)?)?;
    fs::rename(&fresh, path)
}

/// `None` when there is no such file or it says nothing that can be understood.
pub fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

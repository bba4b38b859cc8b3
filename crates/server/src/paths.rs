//! Where a cloud keeps what on this host.
//!
//! ```text
//! DATA/                    --data-dir; a temporary directory when --ephemeral
//!   store/  blobs/         records, and the bytes of S3 objects
//!   compute/               instances: state, writable layers, the host image's skeleton
//!   images/                imported machine images
//!   credentials.json       generated root key (0600), when the gateway is bound beyond loopback
//!   secret.key             encrypts secrets at rest (0600)
//!   ca.key  ca.pem         the installation's certificate authority: its key (0600), its certificate
//!   run/                   sockets, pinned network namespaces, logs: gone with `drover down`
//! RUNTIME/slots/N          which clouds exist on this host, see `slot`
//! ```

use std::path::{Path, PathBuf};

/// The directories of one cloud.
#[derive(Clone, Debug)]
pub struct Paths {
    pub data: PathBuf,
}

impl Paths {
    pub fn new(data: impl Into<PathBuf>) -> Paths {
        Paths { data: data.into() }
    }

    /// `/var/lib/drover` for root, the user's data directory else.
    pub fn default_data() -> PathBuf {
        if is_root() {
            return "/var/lib/drover".into();
        }
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into()));
        std::env::var_os("XDG_DATA_HOME")
            .map_or_else(|| home().join(".local/share"), PathBuf::from)
            .join("drover")
    }

    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    pub fn compute(&self) -> PathBuf {
        self.data.join("compute")
    }

    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    pub fn credentials(&self) -> PathBuf {
        self.data.join("credentials.json")
    }

    pub fn secret_key(&self) -> PathBuf {
        self.data.join("secret.key")
    }

    pub fn ca_key(&self) -> PathBuf {
        self.data.join("ca.key")
    }

    pub fn ca_certificate(&self) -> PathBuf {
        self.data.join("ca.pem")
    }

    pub fn run(&self) -> PathBuf {
        self.data.join("run")
    }
}

/// Host-wide and gone with a reboot.
pub fn runtime() -> PathBuf {
    if is_root() {
        return "/run/drover".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) => Path::new(&dir).join("drover"),
        None => std::env::temp_dir().join(format!("drover-{}", user_id())),
    }
}

pub fn is_root() -> bool {
    user_id() == 0
}

fn user_id() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

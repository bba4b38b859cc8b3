//! The root key. On a loopback bind it is the well-known `test`/`test`; a wider bind gets a generated
//! one, kept with mode 0600 in the data directory.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use cloud::env::Rng;
use serde::{Deserialize, Serialize};

use crate::paths::Paths;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RootKey {
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl RootKey {
    pub fn well_known() -> RootKey {
        RootKey { access_key_id: "test".into(), secret_access_key: "test".into() }
    }
}

/// The key of a cloud bound to `listen`, generated when it needs one and has none.
pub fn open(paths: &Paths, listen: SocketAddr, rng: &Rng) -> Result<RootKey> {
    if listen.ip().is_loopback() {
        return Ok(RootKey::well_known());
    }
    let path = paths.credentials();
    if !path.exists() {
        let key = RootKey {
            access_key_id: format!("AKIA{}", random(rng, 16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
            secret_access_key: random(
                rng,
                40,
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
            ),
        };
        write_private(&path, &serde_json::to_vec_pretty(&key)?)?;
    }
    read(paths, listen)
}

pub fn read(paths: &Paths, listen: SocketAddr) -> Result<RootKey> {
    if listen.ip().is_loopback() {
        return Ok(RootKey::well_known());
    }
    let path = paths.credentials();
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
}

/// The key that encrypts secrets at rest: of the data directory, made at its first start.
pub fn secret_key(path: &Path, rng: &Rng) -> Result<[u8; 32]> {
    if !path.exists() {
        let mut key = [0; 32];
        rng.fill(&mut key);
        write_private(path, &key)?;
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    bytes.try_into().ok().with_context(|| format!("{} is damaged", path.display()))
}

/// Whole or not at all, readable by its owner only.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(|| format!("cannot write {}", temporary.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path).with_context(|| format!("cannot write {}", path.display()))
}

fn random(rng: &Rng, length: usize, alphabet: &[u8]) -> String {
    (0..length).map(|_| char::from(alphabet[rng.below(alphabet.len() as u64) as usize])).collect()
}

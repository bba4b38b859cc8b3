//! Several clouds may live on one host. Each claims a slot, and with it what must not be shared:
//! a /16 of loopback addresses, a /19 of public ones, a range of user ids, a cgroup name. A slot outlives its daemon and is
//! given back by `drover down`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cloud::ec2::vpc::Cidr;
use serde::{Deserialize, Serialize};

use crate::paths;

/// 16 clouds of 1984 instances with 65536 user ids each fill the upper half of the id space.
const SLOTS: u32 = 16;
pub const INSTANCES_PER_SLOT: u32 = 1984;
const FIRST_USER_ID: u32 = 1 << 31;
const PUBLIC_RANGE: Cidr = Cidr::new(Ipv4Addr::new(198, 18, 0, 0), 15);
const POOL_PREFIX: u32 = 19;

/// What other commands need to find a cloud. Written by the daemon when it is up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub data_dir: PathBuf,
    pub ephemeral: bool,
    /// Of the last daemon.
    pub pid: u32,
    pub listen: std::net::SocketAddr,
}

#[derive(Debug)]
pub struct Slot {
    pub number: u32,
    path: PathBuf,
}

impl Slot {
    /// The slot of the cloud at `data_dir`: the one it has, else a free one.
    pub fn claim(record: &Record) -> Result<Slot> {
        let dir = paths::runtime().join("slots");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let _lock = lock(&dir)?;
        let held = all()?;
        let number = held
            .iter()
            .find(|(_, other)| other.data_dir == record.data_dir)
            .or_else(|| held.iter().find(|(_, other)| !other.data_dir.exists()))
            .map(|(slot, _)| slot.number)
            .or_else(|| (0..SLOTS).find(|n| held.iter().all(|(slot, _)| slot.number != *n)));
        let Some(number) = number else {
            bail!(
                "{SLOTS} clouds exist on this host already; `drover down --all` ends those not needed"
            )
        };
        let slot = Slot { number, path: dir.join(number.to_string()) };
        slot.update(record)?;
        Ok(slot)
    }

    pub fn update(&self, record: &Record) -> Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        std::fs::rename(&temporary, &self.path)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    pub fn release(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Second octet of this cloud's loopback addresses.
    pub fn loopback_octet(&self) -> u8 {
        64 + self.number as u8
    }

    /// Where this cloud's public addresses come from: its /19 of 198.18.0.0/15, which RFC 2544 sets apart
    /// for measurements and nobody routes.
    pub fn public_pool(&self) -> Cidr {
        Cidr::new(PUBLIC_RANGE.nth(self.number << (32 - POOL_PREFIX)), POOL_PREFIX as u8)
    }

    pub fn first_user_id(&self) -> u32 {
        FIRST_USER_ID + self.number * INSTANCES_PER_SLOT * 65536
    }

    pub fn cgroup(&self) -> String {
        format!("drover-{}", self.number)
    }
}

/// Every cloud of this host, by slot number.
pub fn all() -> Result<Vec<(Slot, Record)>> {
    let dir = paths::runtime().join("slots");
    let mut slots = Vec::new();
    for number in 0..SLOTS {
        let path = dir.join(number.to_string());
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let record = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged; remove it", path.display()))?;
        slots.push((Slot { number, path }, record));
    }
    Ok(slots)
}

fn lock(dir: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(dir.join("lock"))?;
    // SAFETY: the descriptor is open for as long as `file` lives.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot lock the slots");
    }
    Ok(file)
}

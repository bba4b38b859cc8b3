//! The pool of public addresses of a cloud, and this host's way to it: the only thing that a cloud adds to
//! the network of its host (`fabric::linux::LinuxFabric::join_host`).

use std::sync::Mutex;

use fabric::linux::LinuxFabric;
use fabric::network::{Block, Network};

use crate::slot::Slot;

pub struct Pool {
    pub block: Block,
    /// Of this host's link to it.
    pub link: String,
    joined: Mutex<Joined>,
}

#[derive(PartialEq)]
enum Joined {
    NotYet,
    Done,
    /// Why, as it was last said.
    Refused(String),
}

impl Pool {
    pub fn of(slot: &Slot) -> Pool {
        let cidr = slot.public_pool();
        Pool {
            block: Block { base: cidr.base, prefix: cidr.prefix },
            link: format!("drover{}", slot.number),
            joined: Mutex::new(Joined::NotYet),
        }
    }

    /// Joins this host when the first public address of a network is there to be reached. Networks work
    /// among themselves without, so a refusal is told, not returned; `drover doctor` shows it, too.
    pub fn reach(&self, fabric: &LinuxFabric, network: &Network) {
        let public = network.ports.values().any(|port| !port.public.is_empty());
        let mut joined = self.joined.lock().expect("no panics under the lock");
        if *joined == Joined::Done || !network.internet || !public {
            return;
        }
        let now = match fabric.join_host(self.block, &self.link) {
            Ok(()) => Joined::Done,
            Err(error) => Joined::Refused(error.to_string()),
        };
        if let Joined::Refused(reason) = &now
            && *joined != now
        {
            tracing::warn!("public addresses are not reachable from this host: {reason}");
        }
        *joined = now;
    }

    pub fn is_joined(&self) -> bool {
        std::path::Path::new("/sys/class/net").join(&self.link).exists()
    }
}

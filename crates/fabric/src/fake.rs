//! A fabric that only keeps books: networks, addresses and links are recorded, nothing is real.
//! For the simulator and for hosts without privileges. Lives on when the daemon that uses it "crashes".

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Mutex;

use crate::{Counters, Error, Fabric, Interface, Result};

/// A call about to be made, for the fault closure to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    EnsureNetwork,
    RemoveNetwork,
    EnsureAddress,
    RemoveAddress,
    SetLink,
    Attach,
    Apply,
    Detach,
}

type Faults = Box<dyn Fn(Call, &str) -> bool + Send + Sync>;

pub struct Fake {
    networks: Mutex<BTreeMap<String, Network>>,
    faults: Faults,
}

#[derive(Default)]
struct Network {
    addresses: BTreeSet<Ipv4Addr>,
    /// Whether the link is up. A link whose state was set without `attach` counts as attached, because
    /// the fake driver attaches nothing.
    links: BTreeMap<String, bool>,
    applied: Option<crate::network::Network>,
}

impl Default for Fake {
    fn default() -> Fake {
        Fake::new()
    }
}

impl Fake {
    pub fn new() -> Fake {
        Fake::with_faults(|_, _| false)
    }

    /// `faults` is asked before each call, with the network's name; the call fails, without effect,
    /// when it says so.
    pub fn with_faults(faults: impl Fn(Call, &str) -> bool + Send + Sync + 'static) -> Fake {
        Fake { networks: Mutex::default(), faults: Box::new(faults) }
    }

    /// Whether the interface's link is up; `None` when it was never attached nor set.
    pub fn link(&self, network: &str, interface: &str) -> Option<bool> {
        self.books().get(network)?.links.get(interface).copied()
    }

    /// What the network was last told to be; `None` when it is unknown or was never told.
    pub fn applied(&self, network: &str) -> Option<crate::network::Network> {
        self.books().get(network)?.applied.clone()
    }

    fn books(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Network>> {
        self.networks.lock().expect("no panics under the lock")
    }

    fn judge(&self, call: Call, network: &str) -> Result<()> {
        if (self.faults)(call, network) {
            let source = std::io::Error::other("injected fault");
            return Err(Error::Os { what: format!("{call:?} {network}"), source });
        }
        Ok(())
    }

    fn with<T>(&self, network: &str, act: impl FnOnce(&mut Network) -> T) -> Result<T> {
        let mut books = self.books();
        books.get_mut(network).map(act).ok_or_else(|| Error::NoNetwork(network.to_owned()))
    }
}

impl Fabric for Fake {
    fn ensure_network(&self, network: &str) -> Result<()> {
        self.judge(Call::EnsureNetwork, network)?;
        self.books().entry(network.to_owned()).or_default();
        Ok(())
    }

    fn remove_network(&self, network: &str) -> Result<()> {
        self.judge(Call::RemoveNetwork, network)?;
        self.books().remove(network);
        Ok(())
    }

    fn networks(&self) -> Result<Vec<String>> {
        Ok(self.books().keys().cloned().collect())
    }

    fn ensure_address(&self, network: &str, address: Ipv4Addr) -> Result<()> {
        self.judge(Call::EnsureAddress, network)?;
        self.with(network, |n| n.addresses.insert(address)).map(drop)
    }

    fn remove_address(&self, network: &str, address: Ipv4Addr) -> Result<()> {
        self.judge(Call::RemoveAddress, network)?;
        self.with(network, |n| n.addresses.remove(&address)).map(drop)
    }

    fn addresses(&self, network: &str) -> Result<Vec<Ipv4Addr>> {
        self.with(network, |n| n.addresses.iter().copied().collect())
    }

    fn set_link(&self, network: &str, interface: &str, up: bool) -> Result<()> {
        self.judge(Call::SetLink, network)?;
        if let Some(network) = self.books().get_mut(network) {
            network.links.insert(interface.to_owned(), up);
        }
        Ok(())
    }

    fn attach(&self, network: &str, interface: &Interface, _: BorrowedFd<'_>) -> Result<()> {
        self.judge(Call::Attach, network)?;
        self.with(network, |n| n.links.insert(interface.name.clone(), true)).map(drop)
    }

    fn apply(&self, network: &str, wanted: &crate::network::Network) -> Result<()> {
        self.judge(Call::Apply, network)?;
        self.with(network, |n| n.applied = Some(wanted.clone()))
    }

    fn assign(&self, _: &Interface, _: &[Ipv4Addr], _: BorrowedFd<'_>) -> Result<()> {
        Ok(())
    }

    fn detach(&self, network: &str, interface: &str) -> Result<()> {
        self.judge(Call::Detach, network)?;
        if let Some(network) = self.books().get_mut(network) {
            network.links.remove(interface);
        }
        Ok(())
    }

    fn flows(&self, network: &str) -> Result<Vec<crate::network::Flow>> {
        self.with(network, |_| Vec::new())
    }

    fn namespace_path(&self, network: &str) -> Result<PathBuf> {
        Err(simulated(network))
    }

    fn tcp_socket(&self, network: &str) -> Result<OwnedFd> {
        Err(simulated(network))
    }

    fn counters(&self, network: &str, interface: &str) -> Option<Counters> {
        self.link(network, interface).map(|_| Counters::default())
    }
}

fn simulated(network: &str) -> Error {
    let source = std::io::Error::from(std::io::ErrorKind::Unsupported);
    Error::Os { what: format!("network {network} is simulated"), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_may_run_twice() {
        let fabric = Fake::new();
        let address = Ipv4Addr::new(10, 0, 0, 4);
        assert!(matches!(fabric.ensure_address("n", address), Err(Error::NoNetwork(_))));
        for _ in 0..2 {
            fabric.ensure_network("n").unwrap();
            fabric.ensure_address("n", address).unwrap();
            fabric.set_link("n", "e0", false).unwrap();
        }
        assert_eq!(fabric.addresses("n").unwrap(), [address]);
        assert_eq!(fabric.link("n", "e0"), Some(false));
        for _ in 0..2 {
            fabric.remove_address("n", address).unwrap();
        }
        for _ in 0..2 {
            fabric.remove_network("n").unwrap();
            fabric.set_link("n", "e0", true).unwrap();
        }
        assert!(fabric.networks().unwrap().is_empty());
    }

    #[test]
    fn a_fault_has_no_effect() {
        let fabric = Fake::with_faults(|call, _| call == Call::EnsureNetwork);
        assert!(fabric.ensure_network("n").is_err());
        assert!(fabric.networks().unwrap().is_empty());
    }
}

//! Joins networks to each other and to the internet, and gives each its ways: what `apply` does besides
//! filtering. What was wanted of each network is remembered, since a link needs the word of both ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{LinuxFabric, Network, internet, join, os, route, routing, tracked, translate};
use crate::{Error, Result, network};

#[derive(Default)]
pub struct Topology {
    /// Held while links are made and removed.
    joining: Mutex<()>,
    known: Mutex<BTreeMap<String, Known>>,
    /// Networks whose stale connections a thread is about to end.
    ending: Mutex<BTreeSet<String>>,
}

struct Known {
    wanted: Arc<network::Network>,
    /// Everything was made so.
    settled: bool,
}

impl Topology {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().expect("no panics under the lock")
    }

    fn ending(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.ending.lock().expect("no panics under the lock")
    }

    fn wanted(&self, network: &str) -> Option<Arc<network::Network>> {
        self.known().get(network).map(|known| Arc::clone(&known.wanted))
    }

    /// Networks that say they are joined to this one.
    fn peers(&self, network: &str) -> Vec<String> {
        let known = self.known();
        let names = known
            .iter()
            .filter(|(_, known)| known.wanted.peerings.values().any(|other| other == network));
        names.map(|(name, _)| name.clone()).collect()
    }
}

impl LinuxFabric {
    /// Makes links, translations and routes of a network what is wanted.
    pub(super) fn connect(&self, name: &str, wanted: &network::Network) -> Result<()> {
        let network = self.network(name)?;
        let _joining = self.topology.joining.lock().expect("no panics under the lock");
        let before = {
            let mut known = self.topology.known();
            let before = known.get(name).filter(|known| known.settled);
            let before = before.map(|known| Arc::clone(&known.wanted));
            if before.as_deref() == Some(wanted) {
                return Ok(());
            }
            let wanted = Arc::new(wanted.clone());
            known.insert(name.to_owned(), Known { wanted, settled: false });
            before
        };
        let what = |step: &str| os(&format!("joining {name}: {step}"));
        if wanted.internet {
            let joined = before.as_ref().is_some_and(|before| before.internet);
            self.join_internet(name, &network, wanted, joined)?;
        }
        translate::apply(&network, wanted, before.as_deref()).map_err(what("translating"))?;
        if tracked::may_be_stale(wanted, before.as_deref()) {
            self.end_stale(name, &network).map_err(what("ending connections"))?;
        }
        if !wanted.internet {
            join::delete((&network, join::INTERNET)).map_err(what("leaving the internet"))?;
        }
        let changed = self.join_peers(name, &network, wanted)?;
        self.route(name, &network).map_err(what("routing"))?;
        if changed {
            self.route_peers(name)?;
        }
        if let Some(known) = self.topology.known().get_mut(name) {
            known.settled = true;
        }
        Ok(())
    }

    /// Takes a network's links away, which would otherwise live as long as someone holds its namespace.
    pub(super) fn disconnect(&self, name: &str) -> Result<()> {
        let network = match self.network(name) {
            Err(Error::NoNetwork(_)) => return Ok(()),
            network => network?,
        };
        let _joining = self.topology.joining.lock().expect("no panics under the lock");
        let what = |step: &str| os(&format!("removing {name}: {step}"));
        let links = route::links(&mut network.socket()).map_err(what("listing links"))?;
        for link in links.iter().filter(|link| join::is_join(&link.name)) {
            join::delete((&network, &link.name)).map_err(what(&link.name))?;
        }
        self.topology.known().remove(name);
        self.route_peers(name)
    }

    /// Restores what a port lost while its link was down, or could not have before it had one.
    pub(super) fn connected(&self, name: &str, port: &str) -> Result<()> {
        let wanted = self.topology.wanted(name);
        if !wanted.is_some_and(|wanted| routing::concerns(&wanted, port)) {
            return Ok(());
        }
        let network = self.network(name)?;
        self.route(name, &network).map_err(os(&format!("routing to {port}")))
    }

    /// What is wanted is looked up under the socket's lock: the last to route knows the latest.
    fn route(&self, name: &str, network: &Network) -> io::Result<()> {
        let mut socket = network.socket();
        let wanted = self.topology.wanted(name);
        wanted.map_or(Ok(()), |wanted| routing::apply(&mut socket, &wanted))
    }

    fn route_peers(&self, name: &str) -> Result<()> {
        for peer in self.topology.peers(name) {
            match self.network(&peer) {
                Err(Error::NoNetwork(_)) => {}
                network => {
                    self.route(&peer, &*network?).map_err(os(&format!("routing in {peer}")))?;
                }
            }
        }
        Ok(())
    }

    /// Ends connections that are translated by what is no more, within moments: nobody waits for it.
    /// Failed, it is made up for when the network is applied next.
    fn end_stale(&self, name: &str, network: &Arc<Network>) -> io::Result<()> {
        if !self.topology.ending().insert(name.to_owned()) {
            return Ok(());
        }
        let (topology, its) = (Arc::clone(&self.topology), name.to_owned());
        let network = Arc::clone(network);
        let end = move || {
            let name = its;
            topology.ending().remove(&name);
            // What is wanted by now; the next change begins another look.
            let Some(wanted) = topology.wanted(&name) else { return };
            if let Err(error) = tracked::end_stale(&network, &wanted) {
                tracing::warn!("ending connections in {name}: {error}");
                if let Some(known) = topology.known().get_mut(&name) {
                    known.settled = false;
                }
            }
        };
        let begun = std::thread::Builder::new().name("connections".into()).spawn(end);
        begun.map(drop).inspect_err(|_| {
            self.topology.ending().remove(name);
        })
    }

    fn join_internet(
        &self,
        name: &str,
        network: &Network,
        wanted: &network::Network,
        joined: bool,
    ) -> Result<()> {
        let internet = self.internet()?;
        let outside = join::to_network(name);
        let link = match joined {
            true => Ok(true),
            false => join::ensure((network, join::INTERNET), (&internet, &outside), true),
        };
        let published = link.and_then(|_| internet::publish(&internet, &outside, wanted));
        published.map_err(os(&format!("joining {name} to the internet")))
    }

    /// Whether any link came or went. A network that was not heard of yet keeps the links it has.
    fn join_peers(&self, name: &str, network: &Network, wanted: &network::Network) -> Result<bool> {
        let what = |link: &str| os(&format!("peering {name} by {link}"));
        let links = route::links(&mut network.socket()).map_err(what("any link"))?;
        let mut present: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        present.retain(|link| join::is_peering(link));
        let mut changed = false;
        for (id, other) in &wanted.peerings {
            let link = join::peering(id);
            let theirs = self.topology.wanted(other);
            let agreed = theirs.as_ref().map(|theirs| theirs.peerings.get(id).map(String::as_str));
            if agreed == Some(Some(name))
                && other != name
                && let Ok(peer) = self.network(other)
            {
                changed |=
                    join::ensure((network, &link), (&peer, &link), false).map_err(what(id))?;
            }
            if agreed != Some(None) {
                present.retain(|name| *name != link);
            }
        }
        for link in present {
            join::delete((network, link)).map_err(what(link))?;
            changed = true;
        }
        Ok(changed)
    }
}

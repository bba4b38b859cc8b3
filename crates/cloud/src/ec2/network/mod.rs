//! What the records say about networks, as the fabric takes it. The only place that knows both: the
//! services write records, `compile` makes `fabric::network::Network`s of them, `sync` has them applied.

mod compile;
pub mod controller;
pub mod exit;
pub mod path;
mod routing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use fabric::network::Network;
use store::Reads;

pub use compile::{Kept, METADATA, compile, name};

use crate::controller::Error;
use crate::env::Env;

/// What the records said, and which of them.
pub struct Compiled {
    networks: BTreeMap<String, Network>,
    homes: BTreeSet<compile::Home>,
    reads: Reads,
}

/// Makes every network be what the records say now, and have the addresses that it answers at itself.
/// Cheap when nothing changed: what was compiled is kept, and the fabric knows what it applied last.
///
/// A network that nobody is in any more stays as long as its VPC does: making it anew takes longer than
/// all else of a launch. (A daemon that starts again lets go of those.)
///
/// The gate keeps an older state from being applied after a newer one. For the same reason what is
/// there is looked at before the records are.
pub fn sync(env: &Env) -> Result<(), Error> {
    let mut gate = env.network_gate.lock().expect("no panics under the lock");
    let mut present: BTreeMap<String, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for name in env.fabric.networks()? {
        let addresses = env.fabric.addresses(&name)?.into_iter().collect();
        present.insert(name, addresses);
    }
    let records = env.store.read();
    let compiled = match gate.take() {
        Some(compiled) if compiled.reads.hold_in(&records) => compiled,
        before => {
            let kept = before.map(|before| Kept {
                names: before.networks.into_keys().collect(),
                homes: before.homes,
            });
            let mut kept = kept.unwrap_or_default();
            let (networks, reads) = records.trace(|records| {
                kept.homes.extend(compile::inhabited(records));
                compile(records, env, &kept)
            });
            Compiled { networks, homes: kept.homes, reads }
        }
    };
    let networks = &gate.insert(compiled).networks;
    for (name, network) in networks {
        if !present.contains_key(name) {
            env.fabric.ensure_network(name)?;
        }
        let here = present.get(name).cloned().unwrap_or_default();
        let wanted = own_addresses(network);
        for address in wanted.difference(&here) {
            env.fabric.ensure_address(name, *address)?;
        }
        env.fabric.apply(name, network)?;
        for address in here.difference(&wanted) {
            env.fabric.remove_address(name, *address)?;
        }
    }
    for name in present.keys().filter(|name| !networks.contains_key(*name)) {
        env.fabric.remove_network(name)?;
    }
    Ok(())
}

fn own_addresses(network: &Network) -> BTreeSet<Ipv4Addr> {
    let open = network.open.iter();
    open.chain(network.services.keys()).chain(network.nodes.keys()).copied().collect()
}

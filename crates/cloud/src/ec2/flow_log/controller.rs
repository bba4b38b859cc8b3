//! Writes what flow logs are owed: collects flows from the networks, and at the end of an interval puts
//! one object for each log into its bucket. What was not delivered when the daemon ends is lost, as
//! AWS's logs are best effort too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use compute::driver::BoxFuture;
use fabric::network::Flow;
use store::{Record as _, Snapshot};

use super::line::{Interface, Record, head};
use super::model::FlowLog;
use super::ops;
use crate::controller::{Controller, Error};
use crate::ec2::{network, network_interface, vpc};
use crate::env::Env;
use crate::{Context, Timestamp, s3};

/// Between two collections, in the host's time: the kernel keeps ended flows no longer than its buffer
/// lasts.
const COLLECT: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct FlowLogs {
    pending: Mutex<BTreeMap<String, Pending>>,
}

/// What a log has not delivered yet, by the log's key.
struct Pending {
    since: Timestamp,
    flows: BTreeMap<Key, Amount>,
}

/// Flows are summed up over an interval.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    interface: String,
    ingress: bool,
    accepted: bool,
    protocol: u8,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
}

struct Amount {
    packets: u64,
    bytes: u64,
    start: Timestamp,
    end: Timestamp,
}

impl Controller for FlowLogs {
    fn name(&self) -> &'static str {
        "ec2-flow-logs"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(self.round(env))
    }
}

impl FlowLogs {
    async fn round(&self, env: &Env) -> Result<Option<Duration>, Error> {
        let snapshot = env.store.read();
        let logs: Vec<Arc<FlowLog>> = snapshot.scan("").collect();
        if logs.is_empty() {
            self.pending().clear();
            return Ok(None);
        }
        let now = env.clock.now();
        let interfaces = interfaces(&snapshot, env, &logs);
        let networks: BTreeSet<&str> =
            interfaces.values().map(|seen| network::name(&seen.interface.vpc_id)).collect();
        for name in networks {
            for flow in env.fabric.flows(name)? {
                self.note(&logs, &interfaces, name, &flow, now);
            }
        }
        for (log, pending) in self.due(&logs, now) {
            let failure = deliver(env, &snapshot, &log, &pending, &interfaces).await.err();
            env.store
                .write(|tx| {
                    ops::delivered(tx, &log, failure.clone());
                    Ok::<_, store::Error>(())
                })
                .await?;
        }
        Ok(Some(env.clock.to_cloud(COLLECT)))
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Pending>> {
        self.pending.lock().expect("no panics under the lock")
    }

    /// Adds a flow to every log that wants it: to its source's as egress, to its destination's as
    /// ingress.
    fn note(
        &self,
        logs: &[Arc<FlowLog>],
        interfaces: &BTreeMap<(String, Ipv4Addr), Seen>,
        network: &str,
        flow: &Flow,
        now: Timestamp,
    ) {
        let unlogged = |address: Ipv4Addr| address.is_link_local();
        if unlogged(flow.source.0) || unlogged(flow.destination.0) {
            return;
        }
        for (address, ingress) in [(flow.source.0, false), (flow.destination.0, true)] {
            let Some(seen) = interfaces.get(&(network.to_owned(), address)) else { continue };
            for log in logs.iter().filter(|log| seen.logs.contains(&log.key())) {
                if !log.traffic.wants(flow.accepted) {
                    continue;
                }
                let mut all = self.pending();
                let pending = all
                    .entry(log.key())
                    .or_insert_with(|| Pending { since: now, flows: BTreeMap::new() });
                let key = Key {
                    interface: seen.interface.id.clone(),
                    ingress,
                    accepted: flow.accepted,
                    protocol: flow.protocol,
                    source: flow.source,
                    destination: flow.destination,
                };
                let amount = pending.flows.entry(key).or_insert(Amount {
                    packets: 0,
                    bytes: 0,
                    start: now,
                    end: now,
                });
                amount.packets += flow.packets;
                amount.bytes += flow.bytes;
                amount.end = now;
            }
        }
    }

    /// Takes what has waited for its interval; forgets what belongs to logs that are gone.
    fn due(&self, logs: &[Arc<FlowLog>], now: Timestamp) -> Vec<(Arc<FlowLog>, Pending)> {
        let mut all = self.pending();
        all.retain(|key, _| logs.iter().any(|log| log.key() == *key));
        let over = |log: &FlowLog, pending: &Pending| {
            now.since(pending.since) >= Duration::from_secs(log.interval_seconds.into())
        };
        let mut due = Vec::new();
        for log in logs {
            if all.get(&log.key()).is_some_and(|pending| over(log, pending))
                && let Some(pending) = all.remove(&log.key())
            {
                due.push((log.clone(), pending));
            }
        }
        due
    }
}

/// An interface, and the logs that want its traffic.
struct Seen {
    interface: Interface,
    logs: BTreeSet<String>,
}

/// By network and address.
fn interfaces(
    snapshot: &Snapshot,
    env: &Env,
    logs: &[Arc<FlowLog>],
) -> BTreeMap<(String, Ipv4Addr), Seen> {
    let mut seen = BTreeMap::new();
    let regions: BTreeSet<(&str, &str)> =
        logs.iter().map(|log| (log.account.as_str(), log.region.as_str())).collect();
    for (account, region) in regions {
        let cx = Context::service(env, account, region, "vpc-flow-logs.amazonaws.com");
        for eni in network_interface::ops::all(snapshot, &cx) {
            let wants = |log: &&Arc<FlowLog>| {
                (log.account.as_str(), log.region.as_str()) == (account, region)
                    && [&eni.id, &eni.subnet_id, &eni.vpc_id].contains(&&log.resource_id)
            };
            let wanting: BTreeSet<String> =
                logs.iter().filter(wants).map(|log| log.key()).collect();
            if wanting.is_empty() {
                continue;
            }
            let Ok(subnet) = vpc::ops::subnet(snapshot, &cx, &eni.subnet_id) else { continue };
            let instance_id = eni.attachment.as_ref().map(|attachment| &attachment.instance_id);
            for address in &eni.addresses {
                let interface = Interface {
                    id: eni.id.clone(),
                    address: eni.primary(),
                    vpc_id: eni.vpc_id.clone(),
                    subnet_id: eni.subnet_id.clone(),
                    zone_id: subnet.zone_id.clone(),
                    instance_id: instance_id.cloned(),
                };
                let at = (network::name(&eni.vpc_id).to_owned(), *address);
                seen.insert(at, Seen { interface, logs: wanting.clone() });
            }
        }
    }
    seen
}

/// One object, named as AWS names it: `AWSLogs/ACCOUNT/vpcflowlogs/REGION/YYYY/MM/DD/….log.gz`.
async fn deliver(
    env: &Env,
    snapshot: &Snapshot,
    log: &FlowLog,
    pending: &Pending,
    interfaces: &BTreeMap<(String, Ipv4Addr), Seen>,
) -> Result<(), String> {
    let by_id: BTreeMap<&str, &Interface> =
        interfaces.values().map(|seen| (seen.interface.id.as_str(), &seen.interface)).collect();
    let mut text = head(&log.fields) + "\n";
    for (key, amount) in &pending.flows {
        let Some(interface) = by_id.get(key.interface.as_str()) else { continue };
        let record = Record {
            account: &log.account,
            region: &log.region,
            interface,
            ingress: key.ingress,
            source: key.source,
            destination: key.destination,
            protocol: key.protocol,
            packets: amount.packets,
            bytes: amount.bytes,
            start: amount.start,
            end: amount.end,
            accepted: key.accepted,
        };
        text += &record.line(&log.fields);
        text.push('\n');
    }
    let (bucket, folder) = log.place();
    let FlowLog { account, region, id, .. } = log;
    let at = pending.since.iso8601();
    let day = at[..10].replace('-', "/");
    let minute: String = at[..16].chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let unique = &crate::id::hex16(&env.rng)[..8];
    let key = format!(
        "{folder}AWSLogs/{account}/vpcflowlogs/{region}/{day}/\
         {account}_vpcflowlogs_{region}_{id}_{minute}Z_{unique}.log.gz"
    );
    let bucket = s3::bucket(snapshot, bucket).map_err(|error| error.to_string())?;
    let object = Bytes::from(gzip(text.as_bytes()));
    s3::deposit(env, &bucket, &key, object).await.map_err(|error| error.to_string())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).and_then(|()| out.finish()).expect("a vector takes all bytes")
}

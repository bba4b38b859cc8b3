//! The meter: sees in the records what costs something, and keeps from when to when. The records say
//! when things began, so that nothing is lost while no daemon ran; what ended is noted when it is seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compute::driver::BoxFuture;
use store::Snapshot;

use super::model::{Closed, Open, Span, Usage};
use crate::clock::Timestamp;
use crate::controller::{Controller, Error};
use crate::ec2::capacity_reservation::{CapacityReservation, usage};
use crate::ec2::elastic_ip::PublicAddress;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::nat_gateway::NatGateway;
use crate::ec2::nat_gateway::model::State;
use crate::ec2::tag::model::Tagged;
use crate::ec2::volume::model::{Stage, Volume};
use crate::ec2::vpc_endpoint::VpcEndpoint;
use crate::elbv2::LoadBalancer;
use crate::env::Env;
use crate::tag::Tags;

/// Cost Explorer looks back twelve months, and at this one.
const KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

/// How often it looks, of the cloud's time: nothing waits for it, and launches shall not.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Meter {
    /// When it looked last.
    last: Mutex<Option<Timestamp>>,
}

impl Controller for Meter {
    fn name(&self) -> &'static str {
        "cost-meter"
    }

    fn reconcile<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(async move {
            let now = env.clock.now();
            if let Some(left) = self.left(now) {
                return Ok(Some(left));
            }
            round(env, now).await?;
            Ok(None)
        })
    }
}

impl Meter {
    /// Until it may look again; from then on when it may.
    fn left(&self, now: Timestamp) -> Option<Duration> {
        let mut last = self.last.lock().expect("no panics under the lock");
        let next = last.map(|last| last.plus(INTERVAL)).filter(|next| *next > now);
        if next.is_none() {
            *last = Some(now);
        }
        next.map(|next| next.since(now))
    }
}

/// What costs something now, by the span's key.
fn metered(snapshot: &Snapshot, now: Timestamp) -> BTreeMap<String, Span> {
    let mut spans = BTreeMap::new();
    let mut put = |account: &str, region: &str, resource: &str, usage, from, tags| {
        let span = Span {
            account: account.to_owned(),
            region: region.to_owned(),
            resource: resource.to_owned(),
            usage,
            tags,
            from,
            to: None,
        };
        spans.insert(span.key(), span);
    };
    let tags = |account: &str, region: &str, id: &str| tags_of(snapshot, account, region, id);
    for i in snapshot.scan::<Instance>("") {
        let Instance { account, region, id, .. } = &*i;
        if i.state() == InstanceState::Running {
            let usage = of_instance(&i);
            let from = i.observed.up_since.unwrap_or(i.launch_time);
            put(account, region, id, usage, from, tags(account, region, id));
        }
    }
    for reservation in snapshot.scan::<CapacityReservation>("") {
        let CapacityReservation { account, region, id, instance_type, zone, .. } = &*reservation;
        let unused = usage::available(snapshot, &reservation);
        if unused > 0 {
            let (instance_type, zone) = (instance_type.clone(), zone.clone());
            let usage = Usage::Reservation { instance_type, zone, unused };
            put(account, region, id, usage, now, tags(account, region, id));
        }
    }
    for volume in snapshot.scan::<Volume>("") {
        let Volume { account, region, id, created, zone, performance, .. } = &*volume;
        if volume.stage == Stage::Ready {
            let usage = Usage::Volume {
                volume_type: performance.kind.name().to_owned(),
                zone: zone.clone(),
                size_gib: volume.size_gib,
                iops: performance.iops.unwrap_or(0),
                throughput: performance.throughput.unwrap_or(0),
            };
            put(account, region, id, usage, *created, tags(account, region, id));
        }
    }
    for address in snapshot.scan::<PublicAddress>("") {
        let PublicAddress { account, region, address, allocation_id, .. } = &*address;
        let id = allocation_id.clone().unwrap_or_else(|| address.to_string());
        put(account, region, &id, Usage::Address, now, tags(account, region, &id));
    }
    for balancer in snapshot.scan::<LoadBalancer>("") {
        let LoadBalancer { account, region, arn, created_at, tags, .. } = &*balancer;
        put(account, region, arn, Usage::ApplicationBalancer, *created_at, tags.clone());
    }
    for gateway in snapshot.scan::<NatGateway>("") {
        let NatGateway { account, region, id, created_at, state, .. } = &*gateway;
        if *state == State::Available {
            put(account, region, id, Usage::NatGateway, *created_at, tags(account, region, id));
        }
    }
    for endpoint in snapshot.scan::<VpcEndpoint>("") {
        let VpcEndpoint { account, region, id, created_at, interface, .. } = &*endpoint;
        if let Some(interface) = interface {
            let usage = Usage::Endpoint { zones: interface.interfaces.len() as u32 };
            put(account, region, id, usage, *created_at, tags(account, region, id));
        }
    }
    spans
}

async fn round(env: &Env, now: Timestamp) -> Result<(), Error> {
    let snapshot = env.store.read();
    let mut metered = metered(&snapshot, now);
    let (mut opened, mut closed, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    for open in snapshot.scan::<Open>("") {
        let span = &open.0;
        let key = span.key();
        match metered.remove(&key) {
            Some(seen) if seen.usage == span.usage && seen.tags == span.tags => {}
            Some(seen) if seen.usage == span.usage => {
                opened.push(Open(Span { from: span.from, ..seen }));
            }
            // Another type or size from now on.
            Some(seen) => {
                closed.push(Closed(Span { to: Some(now), ..span.clone() }));
                opened.push(Open(Span { from: now, ..seen }));
            }
            None => {
                let to = Some(end(&snapshot, span, now));
                closed.push(Closed(Span { to, ..span.clone() }));
                dropped.push(key);
            }
        }
    }
    opened.extend(metered.into_values().map(Open));
    closed.extend(missed(&snapshot, &closed));
    if opened.is_empty() && closed.is_empty() {
        return Ok(());
    }
    let old: Vec<String> = snapshot
        .scan::<Closed>("")
        .filter(|closed| closed.0.to.is_some_and(|to| to.plus(KEPT) < now))
        .map(|closed: Arc<Closed>| store::Record::key(&*closed))
        .collect();
    env.store
        .write(|tx| {
            for key in &dropped {
                tx.delete::<Open>(key);
            }
            for key in &old {
                tx.delete::<Closed>(key);
            }
            opened.iter().for_each(|open| tx.put(open.clone()));
            closed.iter().for_each(|closed| tx.put(closed.clone()));
            Ok::<_, store::Error>(())
        })
        .await?;
    Ok(())
}

/// Instances that ran between two looks: their records say so for an hour.
fn missed(snapshot: &Snapshot, closing: &[Closed]) -> Vec<Closed> {
    let over = |i: &Arc<Instance>| {
        let span = Span {
            account: i.account.clone(),
            region: i.region.clone(),
            resource: i.id.clone(),
            usage: of_instance(i),
            tags: tags_of(snapshot, &i.account, &i.region, &i.id),
            from: i.observed.up_since?,
            to: Some(i.observed.terminated_at?),
        };
        let same = |closed: &Closed| closed.0.resource == span.resource;
        let prefix = format!("{}/", span.key());
        let known = snapshot.get::<Open>(&span.key()).is_some()
            || snapshot.scan::<Closed>(&prefix).next().is_some()
            || closing.iter().any(same);
        (!known).then_some(Closed(span))
    };
    snapshot.scan::<Instance>("").filter_map(|i| over(&i)).collect()
}

fn of_instance(i: &Instance) -> Usage {
    Usage::Instance {
        instance_type: i.instance_type.clone(),
        zone: i.zone.clone(),
        spot: i.spot_request_id.is_some(),
    }
}

fn tags_of(snapshot: &Snapshot, account: &str, region: &str, id: &str) -> Tags {
    let found = snapshot.get::<Tagged>(&format!("{account}/{region}/{id}"));
    found.map(|tagged| tagged.tags.clone()).unwrap_or_default()
}

/// When it ended, as far as a record says.
fn end(snapshot: &Snapshot, span: &Span, now: Timestamp) -> Timestamp {
    let Span { account, region, resource, .. } = span;
    let key = format!("{account}/{region}/{resource}");
    let end = match &span.usage {
        Usage::Reservation { .. } => {
            snapshot.get::<CapacityReservation>(&key).and_then(|reservation| reservation.ended_at)
        }
        _ => snapshot.get::<Instance>(&key).and_then(|i| i.observed.terminated_at),
    };
    end.unwrap_or(now).clamp(span.from, now)
}

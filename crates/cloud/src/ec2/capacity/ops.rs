//! Setting pools, and drawing from them.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::Pool;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::{Error, Kind, Result, catalog};
use crate::{Context, zone};

/// A pool and what is in use of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub pool: Arc<Pool>,
    pub used: u32,
}

impl Usage {
    pub fn free(&self) -> u32 {
        self.pool.limit.saturating_sub(self.used)
    }
}

/// Refuses a zone or a type that there is not.
pub fn check(pool: &Pool, zones_of_each_region: usize) -> Result<()> {
    let Pool { zone, instance_type, .. } = pool;
    let zones = zone::zones(zone::region_of(zone), zones_of_each_region);
    if !zones.iter().any(|known| known.name == *zone) {
        return Err(Error::not_found(Kind::Zone, zone));
    }
    if catalog::instance_type(instance_type).is_none() {
        return Err(Error::not_found(Kind::InstanceType, instance_type));
    }
    Ok(())
}

/// Those of a zone and type that are said; how many were there.
pub fn clear(tx: &mut Tx, zone: Option<&str>, instance_type: Option<&str>) -> usize {
    let asked = |pool: &Arc<Pool>| {
        zone.is_none_or(|zone| pool.zone == zone)
            && instance_type.is_none_or(|instance_type| pool.instance_type == instance_type)
    };
    let pools: Vec<Arc<Pool>> = tx.scan("").filter(asked).collect();
    for pool in &pools {
        tx.delete::<Pool>(&Pool::key_of(&pool.zone, &pool.instance_type));
    }
    pools.len()
}

/// All pools, by zone and type.
pub fn usages(snapshot: &Snapshot) -> Vec<Usage> {
    let pools = snapshot.scan::<Pool>("");
    pools.map(|pool| Usage { used: used(snapshot, &pool), pool }).collect()
}

/// How many more instances the zone has room for; `None`: as many as the host can run.
pub fn room(snapshot: &Snapshot, zone: &str, instance_type: &str) -> Option<u32> {
    let pool = snapshot.get::<Pool>(&Pool::key_of(zone, instance_type))?;
    Some(pool.limit.saturating_sub(used(snapshot, &pool)))
}

fn used(snapshot: &Snapshot, pool: &Pool) -> u32 {
    holders(snapshot, pool).count() as u32
}

fn holders(snapshot: &Snapshot, pool: &Pool) -> impl Iterator<Item = Arc<Instance>> {
    snapshot.scan("").filter(|instance: &Arc<Instance>| {
        instance.zone == pool.zone
            && instance.instance_type == pool.instance_type
            && holds_capacity(instance)
    })
}

/// Whether a Spot Instance may have its capacity still, or again when it was stopped. Where a pool was
/// made smaller than what is used of it, the newest Spot Instances have to go; those on demand never do.
pub fn has_spot(snapshot: &Snapshot, instance: &Instance) -> bool {
    let key = Pool::key_of(&instance.zone, &instance.instance_type);
    let Some(pool) = snapshot.get::<Pool>(&key) else { return true };
    let used = used(snapshot, &pool);
    if !holds_capacity(instance) {
        return used < pool.limit;
    }
    let newer = holders(snapshot, &pool).filter(|other| {
        other.spot_request_id.is_some()
            && (other.launch_time, &other.id) > (instance.launch_time, &instance.id)
    });
    newer.count() as u32 >= used.saturating_sub(pool.limit)
}

/// Stopped instances have given theirs back.
pub fn holds_capacity(instance: &Instance) -> bool {
    !matches!(instance.state(), InstanceState::Stopped | InstanceState::Terminated)
}

/// Whether a zone could take `count` instances of the type now.
pub fn has_room(snapshot: &Snapshot, zone: &str, instance_type: &str, count: u32) -> bool {
    !zone::is_failed(snapshot, zone)
        && room(snapshot, zone, instance_type).is_none_or(|room| room >= count)
}

/// As many of `most` as the zone has room for, at least `least`. The instances that are then written
/// in the same transaction hold them.
pub fn take(
    snapshot: &Snapshot,
    cx: &Context,
    zone: &str,
    instance_type: &str,
    least: u32,
    most: u32,
) -> Result<u32> {
    let room = room(snapshot, zone, instance_type).unwrap_or(u32::MAX);
    if room < least || zone::is_failed(snapshot, zone) {
        return Err(exhausted(snapshot, cx, zone, instance_type, least));
    }
    Ok(room.min(most))
}

/// With the zones that could take what this one cannot.
pub fn exhausted(
    snapshot: &Snapshot,
    cx: &Context,
    zone: &str,
    instance_type: &str,
    count: u32,
) -> Error {
    let zones = zone::zones(&cx.region, cx.env.config.zones).into_iter().map(|zone| zone.name);
    let others = zones
        .filter(|other| other != zone && has_room(snapshot, other, instance_type, count.max(1)))
        .collect();
    Error::InsufficientInstanceCapacity {
        instance_type: instance_type.to_owned(),
        zone: zone.to_owned(),
        others,
    }
}

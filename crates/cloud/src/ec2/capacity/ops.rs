//! Setting pools, and drawing from them.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::Pool;
use crate::ec2::capacity_reservation::{Specification, usage as reserved};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::{Error, Kind, Result, catalog};
use crate::{Context, zone};

/// A pool and what is in use of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub pool: Arc<Pool>,
    /// By instances.
    pub used: u32,
    /// By capacity reservations, for instances that they have not.
    pub reserved: u32,
}

impl Usage {
    fn of(snapshot: &Snapshot, pool: Arc<Pool>) -> Usage {
        let used = holders(snapshot, &pool).count() as u32;
        let reserved = reserved::held(snapshot, &pool.zone, &pool.instance_type);
        Usage { pool, used, reserved }
    }

    fn taken(&self) -> u32 {
        self.used + self.reserved
    }

    pub fn free(&self) -> u32 {
        self.pool.limit.saturating_sub(self.taken())
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
    snapshot.scan::<Pool>("").map(|pool| Usage::of(snapshot, pool)).collect()
}

/// How many more instances the zone has room for outside of reservations; `None`: as many as the host
/// can run.
pub fn room(snapshot: &Snapshot, zone: &str, instance_type: &str) -> Option<u32> {
    let pool = snapshot.get::<Pool>(&Pool::key_of(zone, instance_type))?;
    Some(Usage::of(snapshot, pool).free())
}

/// Which part of its pool is free; `None`: there is no pool.
pub fn share(snapshot: &Snapshot, zone: &str, instance_type: &str) -> Option<f64> {
    let pool = snapshot.get::<Pool>(&Pool::key_of(zone, instance_type))?;
    let limit = f64::from(pool.limit.max(1));
    Some(f64::from(Usage::of(snapshot, pool).free()) / limit)
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
    let usage = Usage::of(snapshot, pool);
    if !holds_capacity(instance) {
        return usage.free() > 0;
    }
    let newer = holders(snapshot, &usage.pool).filter(|other| {
        other.spot_request_id.is_some()
            && (other.launch_time, &other.id) > (instance.launch_time, &instance.id)
    });
    newer.count() as u32 >= usage.taken().saturating_sub(usage.pool.limit)
}

/// Stopped instances have given theirs back.
pub fn holds_capacity(instance: &Instance) -> bool {
    !matches!(instance.state(), InstanceState::Stopped | InstanceState::Terminated)
}

/// Whether a zone could take `count` instances of the type now.
fn has_room(snapshot: &Snapshot, zone: &str, instance_type: &str, count: u32) -> bool {
    !zone::is_failed(snapshot, zone)
        && room(snapshot, zone, instance_type).is_none_or(|room| room >= count)
}

/// As many of `most` as the zone has room for, in the reservations that they want and outside, at least
/// `least`. The instances that are then written in the same transaction hold them.
pub fn take(
    snapshot: &Snapshot,
    cx: &Context,
    zone: &str,
    instance_type: &str,
    wanted: &Specification,
    least: u32,
    most: u32,
) -> Result<u32> {
    let reserved = reserved::open_to(snapshot, cx, zone, instance_type, wanted);
    let reserved: u32 = reserved.iter().map(|(_, available)| available).sum();
    let outside = match wanted.insists() {
        true => 0,
        false => room(snapshot, zone, instance_type).unwrap_or(u32::MAX),
    };
    let room = reserved.saturating_add(outside);
    if zone::is_failed(snapshot, zone) || (room < least && !wanted.insists()) {
        return Err(exhausted(snapshot, cx, zone, instance_type, least));
    }
    if room < least {
        return Err(Error::ReservationCapacityExceeded);
    }
    Ok(room.min(most))
}

/// With the zones that could take what this one cannot.
fn exhausted(
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

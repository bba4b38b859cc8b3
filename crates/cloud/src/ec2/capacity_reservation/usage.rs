//! Who is in a reservation, and who gets in.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{CapacityReservation, Specification};
use crate::Context;
use crate::ec2::capacity;
use crate::ec2::instance::model::Instance;
use crate::ec2::resource;

/// Instances that run in it.
fn instances(snapshot: &Snapshot, reservation: &CapacityReservation) -> Vec<Arc<Instance>> {
    let prefix = format!("{}/{}/", reservation.account, reservation.region);
    snapshot.scan::<Instance>(&prefix).filter(|i| of(i) == Some(&reservation.id)).collect()
}

/// The reservation that an instance runs in.
pub fn of(instance: &Instance) -> Option<&String> {
    let id = instance.capacity_reservation_id.as_ref();
    id.filter(|_| capacity::ops::holds_capacity(instance))
}

pub fn used(snapshot: &Snapshot, reservation: &CapacityReservation) -> u32 {
    instances(snapshot, reservation).len() as u32
}

/// `AvailableInstanceCount`
pub fn available(snapshot: &Snapshot, reservation: &CapacityReservation) -> u32 {
    match reservation.is_active() {
        true => reservation.count.saturating_sub(used(snapshot, reservation)),
        false => 0,
    }
}

/// What all accounts have reserved of a zone and type, and do not use.
pub fn held(snapshot: &Snapshot, zone: &str, instance_type: &str) -> u32 {
    let all = snapshot.scan::<CapacityReservation>("");
    let there = all.filter(|r| r.is_active() && r.zone == zone && r.instance_type == instance_type);
    there.map(|reservation| available(snapshot, &reservation)).sum()
}

/// Those with something left for instances that want this.
pub fn open_to(
    snapshot: &Snapshot,
    cx: &Context,
    zone: &str,
    instance_type: &str,
    wanted: &Specification,
) -> Vec<(Arc<CapacityReservation>, u32)> {
    let all = resource::all::<CapacityReservation>(snapshot, cx).into_iter();
    all.filter(|reservation| reservation.takes(zone, instance_type, wanted))
        .map(|reservation| (reservation.clone(), available(snapshot, &reservation)))
        .filter(|(_, available)| *available > 0)
        .collect()
}

/// Puts an instance that is about to start into a reservation, if there is one for it.
pub fn enter(snapshot: &Snapshot, cx: &Context, instance: &mut Instance) {
    let wanted = instance.wanted_reservation();
    let open = open_to(snapshot, cx, &instance.zone, &instance.instance_type, &wanted);
    instance.capacity_reservation_id = open.first().map(|(reservation, _)| reservation.id.clone());
}

/// Instances that run outside of any reservation and would go into this one if they started now.
pub fn strays(
    snapshot: &Snapshot,
    cx: &Context,
    reservation: &CapacityReservation,
) -> Vec<Arc<Instance>> {
    let would = |i: &Arc<Instance>| {
        capacity::ops::holds_capacity(i)
            && i.capacity_reservation_id.is_none()
            && reservation.takes(&i.zone, &i.instance_type, &i.wanted_reservation())
    };
    snapshot.scan::<Instance>(&cx.prefix()).filter(would).collect()
}

/// Lets all of them run on without it.
pub fn leave(tx: &mut Tx, reservation: &CapacityReservation) {
    for instance in instances(tx, reservation) {
        tx.put(Instance { capacity_reservation_id: None, ..Instance::clone(&instance) });
    }
}

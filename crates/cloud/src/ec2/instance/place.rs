//! Where instances fit: what a zone has for them of its capacity, of what is reserved, and of their
//! placement group. Reads only.

use store::Snapshot;

use super::launch::Launch;
use super::model::Instance;
use crate::Context;
use crate::ec2::capacity_reservation::{CapacityReservation, Specification};
use crate::ec2::placement_group::{PlacementGroup, membership};
use crate::ec2::{Error, Result, capacity, resource};

/// What instances need of the zone they go to.
pub struct Needs {
    instance_type: String,
    pub group: Option<membership::Place>,
    reservation: Specification,
}

impl Needs {
    pub fn of_launch(
        snapshot: &Snapshot,
        cx: &Context,
        launch: &Launch,
        instance_type: &str,
    ) -> Result<Needs> {
        let (named, market) = (launch.placement_group.as_ref(), launch.market.as_ref());
        let group =
            membership::place(snapshot, cx, named, launch.partition, instance_type, market)?;
        let wanted = launch.capacity_reservation.clone().unwrap_or_default();
        check(snapshot, cx, &wanted, market.is_some())?;
        let reservation = if market.is_some() { Specification::NONE } else { wanted };
        Ok(Needs { instance_type: instance_type.to_owned(), group, reservation })
    }

    /// Of one that is stopped, and starts.
    pub fn of_instance(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Needs {
        let group = instance.placement_group.as_ref().and_then(|member| {
            let group = resource::get::<PlacementGroup>(snapshot, cx, &member.group_id)?;
            Some(membership::Place { group, partition: member.partition })
        });
        Needs {
            instance_type: instance.instance_type.clone(),
            group,
            reservation: instance.wanted_reservation(),
        }
    }

    /// As many of `most` as there is room for in a zone, `least` at least. Those that are then written
    /// in the same transaction hold it.
    pub fn take(
        &self,
        snapshot: &Snapshot,
        cx: &Context,
        zone: &str,
        least: u32,
        most: u32,
    ) -> Result<u32> {
        let most = match &self.group {
            Some(place) => membership::room(snapshot, cx, &place.group, zone, least, most)?,
            None => most,
        };
        let Needs { instance_type, reservation, .. } = self;
        capacity::ops::take(snapshot, cx, zone, instance_type, reservation, least, most)
    }
}

/// Whether an instance can want this of reservations.
pub fn check(
    snapshot: &Snapshot,
    cx: &Context,
    wanted: &Specification,
    is_spot: bool,
) -> Result<()> {
    if is_spot && wanted.insists() {
        return Err(Error::combination("A Spot Instance cannot run in a capacity reservation."));
    }
    if let Some(id) = &wanted.target {
        resource::find::<CapacityReservation>(snapshot, cx, id)?;
    }
    Ok(())
}

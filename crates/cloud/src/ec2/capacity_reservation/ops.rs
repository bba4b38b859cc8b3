//! Making, changing and ending capacity reservations.

use std::sync::Arc;
use std::time::Duration;

use store::{Snapshot, Tx};

use super::model::{CapacityReservation, Specification, State};
use super::usage;
use crate::clock::Timestamp;
use crate::ec2::instance::model::Instance;
use crate::ec2::listing::{self, Listing};
use crate::ec2::resource::{self, Resource};
use crate::ec2::{Error, Kind, Result, capacity, catalog, client_token, tag};
use crate::tag::Tags;
use crate::{Context, id, zone};

/// InstanceCount: "Valid range: 1 - 1000"
const MAX_COUNT: i32 = 1000;
/// How long one that ended can be described.
const REMEMBERED: Duration = Duration::from_secs(3600);

impl Resource for CapacityReservation {
    const KIND: Kind = Kind::CapacityReservation;

    fn id(&self) -> &str {
        &self.id
    }
}

#[derive(Clone, Debug)]
pub struct Create {
    pub zone: String,
    pub instance_type: String,
    pub count: i32,
    pub targeted: bool,
    pub end: Option<Timestamp>,
    pub tags: Tags,
    pub client_token: Option<String>,
}

/// With the same token again: the reservation that was made.
pub fn create(tx: &mut Tx, cx: &Context, request: &Create) -> Result<Arc<CapacityReservation>> {
    let Create { zone, instance_type, count, targeted, end, tags, .. } = request;
    let said = (zone, instance_type, count, targeted, end, tags);
    let client_token = client_token::of(request.client_token.as_deref(), &said)?;
    let all = resource::all::<CapacityReservation>(tx, cx).into_iter();
    if let Some(made) = client_token::made(&client_token, all, |r| &r.client_token)? {
        return Ok(made);
    }
    tag::ops::check(tags)?;
    if !zone::zones(&cx.region, cx.env.config.zones).iter().any(|known| known.name == *zone) {
        return Err(Error::value(format!("Invalid availability zone: [{zone}]")));
    }
    if catalog::instance_type(instance_type).is_none() {
        return Err(Error::value(format!("Invalid value '{instance_type}' for InstanceType.")));
    }
    check_end(cx, *end)?;
    let reservation = CapacityReservation {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "cr"),
        zone: zone.clone(),
        instance_type: instance_type.clone(),
        count: check_count(*count)?,
        targeted: *targeted,
        end: *end,
        created_at: cx.now,
        state: State::Active,
        ended_at: None,
        client_token,
    };
    tag::ops::set(tx, cx, &reservation.id, tags)?;
    hold(tx, cx, 0, &reservation)?;
    Ok(Arc::new(reservation))
}

fn check_count(count: i32) -> Result<u32> {
    let found = u32::try_from(count).ok().filter(|_| (1..=MAX_COUNT).contains(&count));
    found.ok_or_else(|| {
        Error::value(format!(
            "Value ({count}) for parameter instanceCount is invalid. It must be between 1 and \
             {MAX_COUNT}."
        ))
    })
}

fn check_end(cx: &Context, end: Option<Timestamp>) -> Result<()> {
    if end.is_some_and(|end| end <= cx.now) {
        return Err(Error::value("The end date must be in the future."));
    }
    Ok(())
}

/// Writes a reservation that held `before` more than it used, if the zone has what it holds now. An open
/// one begins with the instances that match it and run already.
fn hold(tx: &mut Tx, cx: &Context, before: u32, reservation: &CapacityReservation) -> Result<()> {
    let CapacityReservation { zone, instance_type, .. } = reservation;
    let mut free = reservation.count - usage::used(tx, reservation);
    let mut strays = usage::strays(tx, cx, reservation);
    strays.truncate(free as usize);
    free -= strays.len() as u32;
    let more = free.saturating_sub(before);
    if more > 0 {
        capacity::ops::take(tx, cx, zone, instance_type, &Specification::NONE, more, more)?;
    }
    for instance in strays {
        let capacity_reservation_id = Some(reservation.id.clone());
        tx.put(Instance { capacity_reservation_id, ..Instance::clone(&instance) });
    }
    tx.put(reservation.clone());
    Ok(())
}

/// `None`: as it was.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub count: Option<i32>,
    pub targeted: Option<bool>,
    /// `Some(None)`: without an end.
    pub end: Option<Option<Timestamp>>,
}

pub fn modify(tx: &mut Tx, cx: &Context, id: &str, change: &Change) -> Result<()> {
    let known = active(tx, cx, id)?;
    let mut next = CapacityReservation::clone(&known);
    let used = usage::used(tx, &known);
    if let Some(count) = change.count {
        next.count = check_count(count)?;
        if next.count < used {
            return Err(Error::value(format!(
                "Value ({count}) for parameter instanceCount is invalid. {used} instances run in the \
                 capacity reservation '{id}'."
            )));
        }
    }
    if let Some(targeted) = change.targeted {
        if targeted != known.targeted && used > 0 {
            return Err(Error::IncorrectState(format!(
                "The instance eligibility of the capacity reservation '{id}' can be modified only while \
                 no instance runs in it."
            )));
        }
        next.targeted = targeted;
    }
    if let Some(end) = change.end {
        check_end(cx, end)?;
        next.end = end;
    }
    hold(tx, cx, usage::available(tx, &known), &next)
}

pub fn cancel(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let known = active(tx, cx, id)?;
    end(tx, &known, State::Cancelled, cx.now);
    Ok(())
}

fn active(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<CapacityReservation>> {
    let found = resource::find::<CapacityReservation>(snapshot, cx, id)?;
    if found.is_active() {
        return Ok(found);
    }
    Err(Error::IncorrectState(format!(
        "The capacity reservation '{id}' is in the state '{}', in which it cannot be modified or \
         cancelled.",
        found.state.name()
    )))
}

fn end(tx: &mut Tx, reservation: &CapacityReservation, state: State, at: Timestamp) {
    usage::leave(tx, reservation);
    tx.put(CapacityReservation { state, ended_at: Some(at), ..reservation.clone() });
}

/// When `step` has something to do.
pub fn due(reservation: &CapacityReservation) -> Option<Timestamp> {
    match reservation.ended_at {
        Some(ended) => Some(ended.plus(REMEMBERED)),
        None => reservation.end,
    }
}

/// Ends a reservation whose time is over, and forgets one that ended long ago.
pub fn step(tx: &mut Tx, cx: &Context, id: &str) {
    let Some(found) = resource::get::<CapacityReservation>(tx, cx, id) else { return };
    let Some(due) = due(&found).filter(|due| *due <= cx.now) else { return };
    match found.is_active() {
        true => end(tx, &found, State::Expired, due),
        false => resource::delete::<CapacityReservation>(tx, cx, id),
    }
}

const FILTERS: &[&str] = &[
    "availability-zone",
    "end-date",
    "end-date-type",
    "instance-match-criteria",
    "instance-platform",
    "instance-type",
    "outpost-arn",
    "owner-id",
    "placement-group-arn",
    "start-date",
    "state",
    "tenancy",
];

type Found = (Vec<Arc<CapacityReservation>>, Option<String>);

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    let mut all = resource::all::<CapacityReservation>(snapshot, cx);
    listing::only(&mut all, ids, |r| &r.id, Kind::CapacityReservation)?;
    listing.check(FILTERS, true)?;
    listing.check_max_results(1..=1000)?;
    all.retain(|r| {
        let tags = || tag::ops::tags_of(snapshot, cx, &r.id);
        listing.keeps(tags, |name| match name {
            "availability-zone" => vec![r.zone.clone()],
            "end-date" => r.end.iter().map(|end| end.iso8601()).collect(),
            "end-date-type" => vec![end_type(r).to_owned()],
            "instance-match-criteria" => vec![r.criteria().to_owned()],
            "instance-platform" => vec![PLATFORM.to_owned()],
            "instance-type" => vec![r.instance_type.clone()],
            "owner-id" => vec![r.account.clone()],
            "start-date" => vec![r.created_at.iso8601()],
            "state" => vec![r.state.name().to_owned()],
            "tenancy" => vec!["default".to_owned()],
            _ => vec![],
        })
    });
    listing.page(all, |r| r.id.clone())
}

/// `InstancePlatform`
pub const PLATFORM: &str = "Linux/UNIX";

/// `EndDateType`
pub fn end_type(reservation: &CapacityReservation) -> &'static str {
    if reservation.end.is_some() { "limited" } else { "unlimited" }
}

//! Changing one attribute of an instance.

use store::Tx;

use super::launch::Metadata;
use super::model::{Instance, ShutdownBehavior};
use super::state::InstanceState;
use super::user_data;
use super::{ops, place, resolve};
use crate::Context;
use crate::ec2::capacity_reservation::Specification;
use crate::ec2::network_interface::{self, attribute::Change as Of};
use crate::ec2::placement_group::{Named, Strategy, membership};
use crate::ec2::{Error, Result, credits, resource, spot, volume};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    InstanceType(String),
    UserData(Vec<u8>),
    DisableApiTermination(bool),
    DisableApiStop(bool),
    ShutdownBehavior(ShutdownBehavior),
    /// Ids.
    Groups(Vec<String>),
    SourceDestCheck(bool),
    /// Whether volumes go with the instance, by their devices' names.
    DeleteOnTermination(Vec<(String, bool)>),
}

pub fn modify(tx: &mut Tx, cx: &Context, id: &str, change: &Change) -> Result<()> {
    let mut next = alive(tx, cx, id)?;
    match change.clone() {
        Change::InstanceType(name) => {
            stopped(&next, "instanceType")?;
            resolve::check_type(&name, &next.architecture)?;
            let group = next.placement_group.as_ref();
            let group = group.and_then(|member| resource::get(tx, cx, &member.group_id));
            if let Some(group) = group {
                membership::check_type(&group, &name)?;
            }
            let family = |name: &str| credits::facts::of(name).map(|facts| facts.family);
            let moved = family(&name) != family(&next.instance_type);
            next.instance_type = name;
            if moved {
                credits::ops::open(tx, cx, &next, None);
            }
            network_interface::ops::retype(tx, cx, &next);
        }
        Change::UserData(bytes) => {
            stopped(&next, "userData")?;
            user_data::check(&bytes)?;
            next.user_data = bytes;
        }
        Change::DisableApiTermination(on) => next.disable_api_termination = on,
        Change::DisableApiStop(on) => next.disable_api_stop = on,
        Change::ShutdownBehavior(behavior) => {
            if behavior == ShutdownBehavior::Stop {
                resolve::check_stoppable(&next)?;
            }
            next.shutdown_behavior = behavior;
        }
        Change::Groups(ids) => return interface(tx, cx, &next, Of::Groups(ids)),
        Change::DeleteOnTermination(devices) => {
            if next.state() == InstanceState::ShuttingDown {
                return Err(Error::IncorrectInstanceState(format!(
                    "The instance '{id}' is shutting down."
                )));
            }
            return devices.iter().try_for_each(|(name, on)| {
                volume::ops::set_delete_on_termination(tx, cx, &next, name, *on)
            });
        }
        Change::SourceDestCheck(on) => return interface(tx, cx, &next, Of::SourceDestCheck(on)),
    }
    tx.put(next);
    Ok(())
}

/// Some attributes of an instance are those of its interface, which must be the only one.
fn interface(tx: &mut Tx, cx: &Context, instance: &Instance, change: Of) -> Result<()> {
    if !instance.secondary_interfaces.is_empty() {
        return Err(Error::InvalidInstanceId(format!(
            "There are multiple interfaces attached to instance '{}'. Please specify an interface ID \
             for the operation instead.",
            instance.id
        )));
    }
    network_interface::attribute::modify(tx, cx, &instance.interface_id, &change)
}

/// The instance as it is then.
pub fn modify_metadata(tx: &mut Tx, cx: &Context, id: &str, asked: &Metadata) -> Result<Instance> {
    let mut next = alive(tx, cx, id)?;
    next.metadata = resolve::metadata_options(Some(&next.metadata), asked)?;
    tx.put(next.clone());
    Ok(next)
}

/// What it wants of capacity reservations when it starts again.
pub fn modify_reservation(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    wanted: &Specification,
) -> Result<()> {
    let mut next = stopped_instance(tx, cx, id)?;
    place::check(tx, cx, wanted, next.spot_request_id.is_some())?;
    next.capacity_reservation = wanted.clone();
    tx.put(next);
    Ok(())
}

/// Moves it into a placement group, into another partition of its own where none is named, or out of it.
pub fn place(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    group: Option<&Named>,
    partition: Option<i32>,
    out_of_it: bool,
) -> Result<()> {
    let mut next = stopped_instance(tx, cx, id)?;
    let present = next.placement_group.take().filter(|_| !out_of_it);
    let present = present.map(|member| Named { id: Some(member.group_id), name: None });
    let named = group.or(present.as_ref());
    let market = spot::ops::market_of(tx, cx, &next);
    let wanted = membership::place(tx, cx, named, partition, &next.instance_type, market.as_ref())?;
    // It counts no more for the group that it leaves.
    tx.put(next.clone());
    if let Some(wanted) = wanted {
        if wanted.group.strategy == Strategy::Cluster {
            membership::room(tx, cx, &wanted.group, &next.zone, 0, 0)?;
        }
        next.placement_group = Some(membership::join(tx, cx, &wanted, &next.zone));
        tx.put(next);
    }
    Ok(())
}

/// One whose placement can be changed.
pub fn stopped_instance(tx: &Tx, cx: &Context, id: &str) -> Result<Instance> {
    let instance = alive(tx, cx, id)?;
    match instance.state() {
        InstanceState::Stopped => Ok(instance),
        _ => Err(Error::IncorrectInstanceState(format!(
            "The instance '{id}' is not in the 'stopped' state. Stop it, and try again."
        ))),
    }
}

/// Switches detailed monitoring.
pub fn monitor(tx: &mut Tx, cx: &Context, ids: &[String], on: bool) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for instance in ops::named(tx, cx, ids)? {
        let mut next = alive(tx, cx, &instance.id)?;
        changed.push(next.id.clone());
        if next.monitoring != on {
            next.monitoring = on;
            tx.put(next);
        }
    }
    Ok(changed)
}

fn alive(tx: &Tx, cx: &Context, id: &str) -> Result<Instance> {
    let instance = ops::instance(tx, cx, id)?;
    if !instance.is_alive() {
        return Err(Error::IncorrectInstanceState(format!("The instance '{id}' is terminated.")));
    }
    Ok(Instance::clone(&instance))
}

fn stopped(instance: &Instance, attribute: &str) -> Result<()> {
    if instance.state() == InstanceState::Stopped {
        return Ok(());
    }
    Err(Error::IncorrectInstanceState(format!(
        "The instance '{}' is not in the 'stopped' state, in which alone {attribute} can be modified.",
        instance.id
    )))
}

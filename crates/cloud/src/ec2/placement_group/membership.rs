//! What a group allows its instances: where, how many, and in which partition. Reads only.

use std::sync::Arc;

use store::Snapshot;

use super::model::{Member, Named, PlacementGroup, Strategy};
use super::ops;
use crate::Context;
use crate::ec2::instance::model::Instance;
use crate::ec2::spot::model::{Behavior, Market};
use crate::ec2::{Error, Result, capacity, catalog};

/// "a maximum of seven running instances per Availability Zone per group"
const SPREAD: u32 = 7;

/// A place in a group that was asked for, and can be had by the type somewhere.
#[derive(Clone, Debug)]
pub struct Place {
    pub group: Arc<PlacementGroup>,
    /// `None`: any.
    pub partition: Option<u32>,
}

pub fn place(
    snapshot: &Snapshot,
    cx: &Context,
    named: Option<&Named>,
    partition: Option<i32>,
    instance_type: &str,
    market: Option<&Market>,
) -> Result<Option<Place>> {
    let Some(named) = named else {
        return match partition {
            None => Ok(None),
            Some(_) => Err(Error::combination(
                "PartitionNumber can be specified only with a placement group whose strategy is \
                 'partition'.",
            )),
        };
    };
    let group = ops::named(snapshot, cx, named)?;
    if market.is_some_and(|market| market.behavior != Behavior::Terminate) {
        return Err(Error::combination(
            "A Spot Instance that is stopped or hibernated when it is interrupted cannot be launched in \
             a placement group.",
        ));
    }
    check_type(&group, instance_type)?;
    let partition = partition.map(|asked| check_partition(&group, asked)).transpose()?;
    Ok(Some(Place { group, partition }))
}

/// Whether the type can be in such a group.
pub fn check_type(group: &PlacementGroup, instance_type: &str) -> Result<()> {
    let strategy = group.strategy.name();
    let known = catalog::instance_type(instance_type);
    if known.is_none_or(|size| size.placement_strategies.contains(&strategy)) {
        return Ok(());
    }
    let strategy = strategy[..1].to_ascii_uppercase() + &strategy[1..];
    Err(Error::combination(format!(
        "{strategy} placement groups are not supported by the '{instance_type}' instance type. Specify \
         a supported instance type or change the placement group strategy, and try again."
    )))
}

fn check_partition(group: &PlacementGroup, asked: i32) -> Result<u32> {
    let Some(count) = group.partitions else {
        return Err(Error::combination(format!(
            "PartitionNumber can be specified only with a placement group whose strategy is \
             'partition', and the strategy of '{}' is '{}'.",
            group.name,
            group.strategy.name()
        )));
    };
    let found = u32::try_from(asked).ok().filter(|number| (1..=count).contains(number));
    found.ok_or_else(|| {
        Error::value(format!(
            "Value ({asked}) for parameter partitionNumber is invalid. The placement group '{}' has the \
             partitions 1 to {count}.",
            group.name
        ))
    })
}

/// All but terminated ones.
pub fn members(snapshot: &Snapshot, cx: &Context, group: &PlacementGroup) -> Vec<Arc<Instance>> {
    let is_in = |i: &Arc<Instance>| {
        i.placement_group.as_ref().is_some_and(|member| member.group_id == group.id) && i.is_alive()
    };
    snapshot.scan::<Instance>(&cx.prefix()).filter(is_in).collect()
}

/// How many of up to `most` the group takes in a zone besides those that it has, `least` at least.
pub fn room(
    snapshot: &Snapshot,
    cx: &Context,
    group: &PlacementGroup,
    zone: &str,
    least: u32,
    most: u32,
) -> Result<u32> {
    match group.strategy {
        Strategy::Partition => Ok(most),
        Strategy::Cluster => {
            match members(snapshot, cx, group).iter().find(|member| member.zone != zone) {
                None => Ok(most),
                Some(other) => Err(Error::PlacementGroupInUseElsewhere {
                    group: group.name.clone(),
                    zone: other.zone.clone(),
                }),
            }
        }
        Strategy::Spread => {
            let members = members(snapshot, cx, group);
            let running =
                members.iter().filter(|i| i.zone == zone && capacity::ops::holds_capacity(i));
            let room = SPREAD.saturating_sub(running.count() as u32);
            if room < least {
                return Err(Error::SpreadLimitExceeded {
                    group: group.name.clone(),
                    zone: zone.to_owned(),
                });
            }
            Ok(most.min(room))
        }
    }
}

/// What an instance that is now placed in a zone keeps of its group: of partitions the one that has
/// the fewest there, where none was asked for.
pub fn join(snapshot: &Snapshot, cx: &Context, place: &Place, zone: &str) -> Member {
    let Place { group, partition } = place;
    let fewest = |count: u32| {
        let members = members(snapshot, cx, group);
        let size = |number: &u32| {
            let of = |i: &&Arc<Instance>| {
                i.placement_group.as_ref().is_some_and(|member| member.partition == Some(*number))
            };
            let in_zone = members.iter().filter(of).filter(|i| i.zone == zone).count();
            (in_zone, members.iter().filter(of).count())
        };
        (1..=count).min_by_key(size)
    };
    Member {
        group_id: group.id.clone(),
        group_name: group.name.clone(),
        partition: partition.or_else(|| group.partitions.and_then(fewest)),
    }
}

//! Making, finding and deleting placement groups.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::membership;
use super::model::{Named, PlacementGroup, Strategy};
use crate::ec2::listing::{self, Listing};
use crate::ec2::resource::{self, Resource};
use crate::ec2::{Error, Kind, Result, tag};
use crate::tag::Tags;
use crate::{Context, id};

/// "You can create a maximum of 500 placement groups per account in each Region."
const MAX_GROUPS: usize = 500;
const MAX_NAME: usize = 255;
/// "a maximum of seven partitions per Availability Zone"
const MAX_PARTITIONS: i32 = 7;
const DEFAULT_PARTITIONS: i32 = 2;

impl Resource for PlacementGroup {
    const KIND: Kind = Kind::PlacementGroup;

    fn id(&self) -> &str {
        &self.id
    }
}

#[derive(Clone, Debug)]
pub struct Create {
    pub name: String,
    pub strategy: Strategy,
    pub partitions: Option<i32>,
    pub tags: Tags,
}

pub fn create(tx: &mut Tx, cx: &Context, request: &Create) -> Result<Arc<PlacementGroup>> {
    let Create { name, strategy, partitions, tags } = request;
    if name.is_empty() || name.len() > MAX_NAME || !name.is_ascii() {
        return Err(Error::value(format!(
            "Value ({name}) for parameter groupName is invalid. It must have 1 to {MAX_NAME} ASCII \
             characters."
        )));
    }
    let partitions = match (strategy, partitions) {
        (Strategy::Partition, asked) => Some(partition_count(asked.unwrap_or(DEFAULT_PARTITIONS))?),
        (_, None) => None,
        (_, Some(_)) => {
            return Err(Error::combination(
                "PartitionCount is valid only when the strategy is 'partition'.",
            ));
        }
    };
    tag::ops::check(tags)?;
    let all = resource::all::<PlacementGroup>(tx, cx);
    if all.iter().any(|group| group.name == *name) {
        return Err(Error::PlacementGroupDuplicate(name.clone()));
    }
    if all.len() >= MAX_GROUPS {
        return Err(Error::LimitExceeded(
            "PlacementGroupLimitExceeded",
            "The maximum number of placement groups has been reached.",
        ));
    }
    let group = PlacementGroup {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "pg"),
        name: name.clone(),
        strategy: *strategy,
        partitions,
    };
    tag::ops::set(tx, cx, &group.id, tags)?;
    tx.put(group.clone());
    Ok(Arc::new(group))
}

fn partition_count(asked: i32) -> Result<u32> {
    let found = u32::try_from(asked).ok().filter(|_| (1..=MAX_PARTITIONS).contains(&asked));
    found.ok_or_else(|| {
        Error::value(format!(
            "Value ({asked}) for parameter partitionCount is invalid. It must be between 1 and \
             {MAX_PARTITIONS}."
        ))
    })
}

pub fn by_name(snapshot: &Snapshot, cx: &Context, name: &str) -> Result<Arc<PlacementGroup>> {
    let all = resource::all::<PlacementGroup>(snapshot, cx);
    let found = all.into_iter().find(|group| group.name == name);
    found.ok_or_else(|| Error::not_found(Kind::PlacementGroup, name))
}

pub fn named(snapshot: &Snapshot, cx: &Context, named: &Named) -> Result<Arc<PlacementGroup>> {
    match (&named.id, &named.name) {
        (Some(_), Some(_)) => {
            Err(Error::combination("You can specify GroupId or GroupName, but not both."))
        }
        (Some(id), None) => resource::find(snapshot, cx, id),
        (None, Some(name)) => by_name(snapshot, cx, name),
        (None, None) => Err(Error::MissingParameter("GroupName")),
    }
}

/// One that no instance is in but terminated ones.
pub fn delete(tx: &mut Tx, cx: &Context, name: &str) -> Result<()> {
    let group = by_name(tx, cx, name)?;
    if !membership::members(tx, cx, &group).is_empty() {
        return Err(Error::PlacementGroupInUse(name.to_owned()));
    }
    resource::delete::<PlacementGroup>(tx, cx, &group.id);
    Ok(())
}

const FILTERS: &[&str] = &["group-arn", "group-name", "spread-level", "state", "strategy"];

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    names: &[String],
    listing: &Listing,
) -> Result<Vec<Arc<PlacementGroup>>> {
    let mut all = resource::all::<PlacementGroup>(snapshot, cx);
    listing::only(&mut all, ids, |group| &group.id, Kind::PlacementGroup)?;
    listing::named(&mut all, names, |group| &group.name, Kind::PlacementGroup)?;
    listing.check(FILTERS, true)?;
    all.retain(|group| {
        let tags = || tag::ops::tags_of(snapshot, cx, &group.id);
        listing.keeps(tags, |name| match name {
            "group-arn" => vec![group.arn()],
            "group-name" => vec![group.name.clone()],
            "spread-level" => spread_level(group).into_iter().map(str::to_owned).collect(),
            "state" => vec!["available".to_owned()],
            "strategy" => vec![group.strategy.name().to_owned()],
            _ => vec![],
        })
    });
    Ok(all)
}

/// `SpreadLevel`, of spread groups.
pub fn spread_level(group: &PlacementGroup) -> Option<&'static str> {
    (group.strategy == Strategy::Spread).then_some("rack")
}

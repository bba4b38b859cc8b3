//! Placement groups on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::model::{PlacementGroup, Strategy};
use super::ops::{self, Create};
use crate::Context;
use crate::ec2::handlers::{listing, refuse, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreatePlacementGroup, _, _, _>(create),
        serve::<w::DeletePlacementGroup, _, _, _>(delete),
        serve::<w::DescribePlacementGroups, _, _, _>(describe),
    ]
}

async fn create(
    cx: Context,
    input: w::CreatePlacementGroupRequest,
) -> Result<w::CreatePlacementGroupResult> {
    let w::CreatePlacementGroupRequest {
        dry_run: dry,
        group_name,
        linked_group_id,
        operator,
        parent_group_id,
        partition_count,
        spread_level,
        strategy,
        tag_specifications,
    } = input;
    refuse(linked_group_id.is_some(), "LinkedGroupId")?;
    refuse(parent_group_id.is_some(), "ParentGroupId")?;
    refuse(operator.is_some(), "Operator")?;
    let asked = strategy.ok_or(Error::MissingParameter("Strategy"))?;
    let strategy = Strategy::ALL.into_iter().find(|known| known.name() == asked);
    let strategy =
        strategy.ok_or_else(|| Error::unsupported(format_args!("The strategy '{asked}'")))?;
    if spread_level.is_some() && strategy != Strategy::Spread {
        return Err(Error::combination("SpreadLevel is valid only when the strategy is 'spread'."));
    }
    let hosts = spread_level.is_some_and(|level| level != "rack");
    refuse(hosts, "The spread level 'host', which Outposts alone have,")?;
    let request = Create {
        name: group_name.ok_or(Error::MissingParameter("GroupName"))?,
        strategy,
        partitions: partition_count,
        tags: tags_of_type(tag_specifications, "placement-group")?,
    };
    let group = cx
        .write(|tx| {
            let group = ops::create(tx, &cx, &request)?;
            dry_run(dry)?;
            Ok::<_, Error>(group)
        })
        .await?;
    let placement_group = Some(out(&cx.read(), &cx, &group));
    Ok(w::CreatePlacementGroupResult { placement_group })
}

async fn delete(
    cx: Context,
    input: w::DeletePlacementGroupRequest,
) -> Result<w::DeletePlacementGroupOutput> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.group_name)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeletePlacementGroupOutput::default())
}

async fn describe(
    cx: Context,
    input: w::DescribePlacementGroupsRequest,
) -> Result<w::DescribePlacementGroupsResult> {
    let snapshot = cx.read();
    let ids = input.group_ids.unwrap_or_default();
    let names = input.group_names.unwrap_or_default();
    let listing = listing(input.filters, None, None);
    let found = ops::describe(&snapshot, &cx, &ids, &names, &listing)?;
    dry_run(input.dry_run)?;
    let groups = found.iter().map(|group| out(&snapshot, &cx, group)).collect();
    Ok(w::DescribePlacementGroupsResult { placement_groups: Some(groups) })
}

fn out(snapshot: &Snapshot, cx: &Context, group: &PlacementGroup) -> w::PlacementGroup {
    w::PlacementGroup {
        group_arn: Some(group.arn()),
        group_id: Some(group.id.clone()),
        group_name: Some(group.name.clone()),
        partition_count: group.partitions.map(|count| count as i32),
        spread_level: ops::spread_level(group).map(str::to_owned),
        state: Some("available".to_owned()),
        strategy: Some(group.strategy.name().to_owned()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &group.id)),
        ..Default::default()
    }
}

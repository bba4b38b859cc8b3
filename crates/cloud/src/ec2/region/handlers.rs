//! Regions, zones and the account on the wire.

use wire::ec2 as w;

use super::ops::{self, Description};
use crate::Context;
use crate::ec2::Result;
use crate::ec2::handlers::listing;
use crate::ec2::listing::dry_run;
use crate::region::Region;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::DescribeAccountAttributes, _, _, _>(describe_account_attributes),
        serve::<w::DescribeAvailabilityZones, _, _, _>(describe_availability_zones),
        serve::<w::DescribeRegions, _, _, _>(describe_regions),
    ]
}

/// Every region is enabled, so to ask for all changes nothing.
async fn describe_regions(
    _: Context,
    input: w::DescribeRegionsRequest,
) -> Result<w::DescribeRegionsResult> {
    let names = input.region_names.unwrap_or_default();
    let found = ops::describe_regions(&names, &listing(input.filters, None, None))?;
    dry_run(input.dry_run)?;
    let region = |region: &Region| w::Region {
        endpoint: Some(region.endpoint()),
        opt_in_status: Some(region.opt_in_status().to_owned()),
        region_name: Some(region.name.to_owned()),
        ..Default::default()
    };
    Ok(w::DescribeRegionsResult { regions: Some(found.into_iter().map(region).collect()) })
}

/// Every zone is one of the account's, so to ask for all changes nothing.
async fn describe_availability_zones(
    cx: Context,
    input: w::DescribeAvailabilityZonesRequest,
) -> Result<w::DescribeAvailabilityZonesResult> {
    let names = input.zone_names.unwrap_or_default();
    let ids = input.zone_ids.unwrap_or_default();
    let listing = listing(input.filters, None, None);
    let found = ops::describe_zones(&cx.read(), &cx, &names, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let zones = found.into_iter().map(zone_out).collect();
    Ok(w::DescribeAvailabilityZonesResult { availability_zones: Some(zones) })
}

fn zone_out(zone: Description) -> w::AvailabilityZone {
    let message = |text| w::AvailabilityZoneMessage { message: Some(text) };
    w::AvailabilityZone {
        group_name: Some(zone.group()),
        messages: Some(zone.message().into_iter().map(message).collect()),
        network_border_group: Some(zone.region.clone()),
        opt_in_status: Some("opt-in-not-required".to_owned()),
        state: Some(zone.state().to_owned()),
        zone_id: Some(zone.zone.id),
        zone_name: Some(zone.zone.name),
        zone_type: Some("availability-zone".to_owned()),
        region_name: Some(zone.region),
        ..Default::default()
    }
}

async fn describe_account_attributes(
    cx: Context,
    input: w::DescribeAccountAttributesRequest,
) -> Result<w::DescribeAccountAttributesResult> {
    dry_run(input.dry_run)?;
    let wanted = input.attribute_names.unwrap_or_default();
    let attributes = ops::account_attributes(&cx.read(), &cx)
        .into_iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name))
        .map(|(name, value)| w::AccountAttribute {
            attribute_name: Some(name.to_owned()),
            attribute_values: Some(vec![w::AccountAttributeValue { attribute_value: Some(value) }]),
        })
        .collect();
    Ok(w::DescribeAccountAttributesResult { account_attributes: Some(attributes) })
}

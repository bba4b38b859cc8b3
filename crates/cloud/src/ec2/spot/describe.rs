//! Which Spot requests a Describe call is about: ids, filters, pages.

use std::sync::Arc;

use store::Snapshot;

use super::model::{SpotRequest, State};
use super::{market, ops};
use crate::Context;
use crate::clock::Timestamp;
use crate::ec2::listing::Listing;
use crate::ec2::{Error, Result, instance, tag};

const FILTERS: &[&str] = &[
    "availability-zone-group",
    "create-time",
    "fault-code",
    "fault-message",
    "instance-id",
    "launch-group",
    "launch.block-device-mapping.delete-on-termination",
    "launch.block-device-mapping.device-name",
    "launch.block-device-mapping.snapshot-id",
    "launch.block-device-mapping.volume-size",
    "launch.block-device-mapping.volume-type",
    "launch.group-id",
    "launch.group-name",
    "launch.image-id",
    "launch.instance-type",
    "launch.kernel-id",
    "launch.key-name",
    "launch.monitoring-enabled",
    "launch.ramdisk-id",
    "launched-availability-zone",
    "launched-availability-zone-id",
    "network-interface.addresses.primary",
    "network-interface.delete-on-termination",
    "network-interface.description",
    "network-interface.device-index",
    "network-interface.group-id",
    "network-interface.network-interface-id",
    "network-interface.private-ip-address",
    "network-interface.subnet-id",
    "product-description",
    "spot-instance-request-id",
    "spot-price",
    "state",
    "status-code",
    "status-message",
    "type",
    "valid-from",
    "valid-until",
];

fn value(cx: &Context, r: &SpotRequest, name: &str) -> Vec<String> {
    let launch = &r.launch;
    let time = |at: Option<Timestamp>| at.map(Timestamp::iso8601).into_iter().collect();
    let devices = |of: fn(&instance::launch::BlockDevice) -> Option<String>| {
        launch.block_devices.iter().filter_map(of).collect()
    };
    let interfaces = |of: fn(&instance::launch::Interface) -> Option<String>| {
        launch.interfaces.iter().filter_map(of).collect()
    };
    match name {
        "create-time" => vec![r.created_at.iso8601()],
        "fault-code" if r.state == State::Failed => vec![r.status.code.clone()],
        "fault-message" if r.state == State::Failed => vec![r.status.message.clone()],
        "instance-id" => r.instance_id.iter().cloned().collect(),
        "launch.block-device-mapping.delete-on-termination" => {
            devices(|d| Some(d.delete_on_termination.unwrap_or(true).to_string()))
        }
        "launch.block-device-mapping.device-name" => devices(|d| Some(d.device_name.clone())),
        "launch.block-device-mapping.snapshot-id" => devices(|d| d.snapshot_id.clone()),
        "launch.block-device-mapping.volume-size" => {
            devices(|d| d.volume_size_gib.map(|size| size.to_string()))
        }
        "launch.block-device-mapping.volume-type" => devices(|d| d.volume_type.clone()),
        "launch.group-id" => launch.security_group_ids.clone(),
        "launch.group-name" => launch.security_group_names.clone(),
        "launch.image-id" => launch.image_id.iter().cloned().collect(),
        "launch.instance-type" => vec![r.instance_type.clone()],
        "launch.key-name" => launch.key_name.iter().cloned().collect(),
        "launch.monitoring-enabled" => vec![launch.monitoring.unwrap_or(false).to_string()],
        "launched-availability-zone" => r.zone.iter().cloned().collect(),
        "launched-availability-zone-id" => {
            let id = r.zone.as_ref().and_then(|zone| instance::describe::zone_id(cx, zone));
            id.into_iter().collect()
        }
        "network-interface.delete-on-termination" => {
            interfaces(|i| i.delete_on_termination.map(|on| on.to_string()))
        }
        "network-interface.description" => interfaces(|i| i.description.clone()),
        "network-interface.device-index" => interfaces(|i| Some(i.device_index.to_string())),
        "network-interface.group-id" => {
            launch.interfaces.iter().flat_map(|i| i.groups.clone()).collect()
        }
        "network-interface.network-interface-id" => interfaces(|i| i.network_interface_id.clone()),
        "network-interface.private-ip-address" => {
            interfaces(|i| i.private_ip.map(|ip| ip.to_string()))
        }
        "network-interface.subnet-id" => interfaces(|i| i.subnet_id.clone()),
        "product-description" => vec![market::PRODUCT.to_owned()],
        "spot-instance-request-id" => vec![r.id.clone()],
        "spot-price" => vec![market::text(ops::max_price(&r.market, &r.instance_type))],
        "state" => vec![r.state.name().to_owned()],
        "status-code" => vec![r.status.code.clone()],
        "status-message" => vec![r.status.message.clone()],
        "type" => vec![r.kind().to_owned()],
        "valid-from" => time(r.valid_from),
        "valid-until" => time(r.market.valid_until),
        _ => vec![],
    }
}

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Arc<SpotRequest>>, Option<String>)> {
    if !ids.is_empty() && listing.max_results.is_some() {
        return Err(Error::combination(
            "The parameter spotInstanceRequestIdSet cannot be used with the parameter maxResults",
        ));
    }
    listing.check_max_results(5..=1000)?;
    listing.check(FILTERS, true)?;
    let mut all = ops::named(snapshot, cx, ids)?;
    all.retain(|r| {
        let tags = || tag::ops::tags_of(snapshot, cx, &r.id);
        listing.keeps(tags, |name| value(cx, r, name))
    });
    listing.page(all, |r| r.id.clone())
}

//! Which instances a Describe call is about: ids, filters, pages.

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::Snapshot;

use super::model::Instance;
use super::ops;
use super::spec::{private_dns_name, public_host};
use super::state::{InstanceState, Status};
use crate::ec2::capacity_reservation::{Preference, Specification, usage};
use crate::ec2::image::model::ROOT_DEVICE;
use crate::ec2::listing::Listing;
use crate::ec2::network_interface::{self, NetworkInterface, describe as interface};
use crate::ec2::{Error, Result, catalog, instance_profile, tag, volume};
use crate::{Context, zone};

type Found = (Vec<Arc<Instance>>, Option<String>);

/// In order of their launch.
pub fn instances(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    check_page(ids, listing, "instancesSet")?;
    listing.check(INSTANCE_FILTERS, true)?;
    let mut all = chosen(snapshot, cx, ids)?;
    all.retain(|i| {
        let tags = || tag::ops::tags_of(snapshot, cx, &i.id);
        listing.keeps(tags, |name| instance_value(snapshot, cx, i, name))
    });
    in_launch_order(listing, all)
}

/// Only running ones, unless `include_all`.
pub fn statuses(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    include_all: bool,
    listing: &Listing,
) -> Result<Found> {
    check_page(ids, listing, "instancesSet")?;
    listing.check(STATUS_FILTERS, false)?;
    let mut all = chosen(snapshot, cx, ids)?;
    all.retain(|i| include_all || i.state() == InstanceState::Running);
    all.retain(|i| listing.keeps(Default::default, |name| status_value(snapshot, cx, i, name)));
    in_launch_order(listing, all)
}

fn check_page(ids: &[String], listing: &Listing, set: &str) -> Result<()> {
    if !ids.is_empty() && listing.max_results.is_some() {
        return Err(Error::combination(format!(
            "The parameter {set} cannot be used with the parameter maxResults"
        )));
    }
    listing.check_max_results(5..=1000)
}

fn chosen(snapshot: &Snapshot, cx: &Context, ids: &[String]) -> Result<Vec<Arc<Instance>>> {
    if ids.is_empty() {
        return Ok(ops::instances(snapshot, cx));
    }
    ops::named(snapshot, cx, ids)
}

fn in_launch_order(listing: &Listing, mut all: Vec<Arc<Instance>>) -> Result<Found> {
    let key = |i: &Arc<Instance>| {
        format!("{:015}/{}/{:05}/{}", i.created_at.0, i.reservation_id, i.launch_index, i.id)
    };
    all.sort_by_cached_key(key);
    listing.page(all, key)
}

pub fn zone_id(cx: &Context, zone: &str) -> Option<String> {
    let zones = zone::zones(&cx.region, cx.env.config.zones);
    zones.into_iter().find(|known| known.name == zone).map(|known| known.id)
}

const INSTANCE_FILTERS: &[&str] = &[
    "affinity",
    "architecture",
    "availability-zone",
    "availability-zone-id",
    "block-device-mapping.attach-time",
    "block-device-mapping.delete-on-termination",
    "block-device-mapping.device-name",
    "block-device-mapping.status",
    "block-device-mapping.volume-id",
    "capacity-reservation-id",
    "capacity-reservation-specification.capacity-reservation-preference",
    "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id",
    "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-resource-group-arn",
    "client-token",
    "dns-name",
    "ebs-optimized",
    "ena-support",
    "enclave-options.enabled",
    "group-id",
    "group-name",
    "hibernation-options.configured",
    "host-id",
    "hypervisor",
    "iam-instance-profile.arn",
    "iam-instance-profile.id",
    "image-id",
    "instance-id",
    "instance-lifecycle",
    "instance-state-code",
    "instance-state-name",
    "instance-type",
    "instance.group-id",
    "instance.group-name",
    "ip-address",
    "ipv6-address",
    "kernel-id",
    "key-name",
    "launch-index",
    "launch-time",
    "maintenance-options.auto-recovery",
    "metadata-options.http-endpoint",
    "metadata-options.http-protocol-ipv4",
    "metadata-options.http-protocol-ipv6",
    "metadata-options.http-put-response-hop-limit",
    "metadata-options.http-tokens",
    "metadata-options.instance-metadata-tags",
    "monitoring-state",
    "network-interface.addresses.association.public-ip",
    "network-interface.addresses.primary",
    "network-interface.addresses.private-ip-address",
    "network-interface.attachment.attach-time",
    "network-interface.attachment.attachment-id",
    "network-interface.attachment.delete-on-termination",
    "network-interface.attachment.device-index",
    "network-interface.attachment.instance-id",
    "network-interface.attachment.instance-owner-id",
    "network-interface.attachment.status",
    "network-interface.availability-zone",
    "network-interface.description",
    "network-interface.group-id",
    "network-interface.group-name",
    "network-interface.mac-address",
    "network-interface.network-interface-id",
    "network-interface.owner-id",
    "network-interface.private-dns-name",
    "network-interface.private-ip-address",
    "network-interface.requester-managed",
    "network-interface.source-dest-check",
    "network-interface.status",
    "network-interface.subnet-id",
    "network-interface.vpc-id",
    "owner-id",
    "placement-group-name",
    "placement-partition-number",
    "platform",
    "platform-details",
    "private-dns-name",
    "private-dns-name-options.hostname-type",
    "private-ip-address",
    "product-code",
    "ramdisk-id",
    "reason",
    "requester-id",
    "reservation-id",
    "root-device-name",
    "root-device-type",
    "source-dest-check",
    "spot-instance-request-id",
    "state-reason-code",
    "state-reason-message",
    "subnet-id",
    "tenancy",
    "usage-operation",
    "virtualization-type",
    "vpc-id",
];

fn instance_value(snapshot: &Snapshot, cx: &Context, i: &Instance, name: &str) -> Vec<String> {
    let switch = |on: bool| if on { "enabled" } else { "disabled" }.to_owned();
    let one = match name {
        "architecture" => i.architecture.clone(),
        "availability-zone" => i.zone.clone(),
        "availability-zone-id" => return zone_id(cx, &i.zone).into_iter().collect(),
        "capacity-reservation-id" => return usage::of(i).into_iter().cloned().collect(),
        "capacity-reservation-specification.capacity-reservation-preference" => {
            let preference = reservation_preference(i).preference;
            return preference.iter().map(|preference| preference.name().to_owned()).collect();
        }
        "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id" => {
            return i.capacity_reservation.target.iter().cloned().collect();
        }
        "placement-group-name" => {
            return i.placement_group.iter().map(|member| member.group_name.clone()).collect();
        }
        "placement-partition-number" => {
            let partition = i.placement_group.as_ref().and_then(|member| member.partition);
            return partition.iter().map(u32::to_string).collect();
        }
        "client-token" => i.client_token.clone().unwrap_or_default(),
        "ebs-optimized" | "enclave-options.enabled" | "hibernation-options.configured" => {
            "false".to_owned()
        }
        "ena-support" => has_ena(&i.instance_type).to_string(),
        "hypervisor" => "xen".to_owned(),
        "iam-instance-profile.arn" | "iam-instance-profile.id" => {
            let found = instance_profile::ops::of(snapshot, cx, i);
            let value = found.map(|found| match name.ends_with("arn") {
                true => found.profile.arn.clone(),
                false => found.profile.id.clone(),
            });
            return value.into_iter().collect();
        }
        "image-id" => i.image_id.clone(),
        "instance-id" => i.id.clone(),
        "instance-state-code" => i.state().code().to_string(),
        "instance-state-name" => i.state().name().to_owned(),
        "instance-type" => i.instance_type.clone(),
        "instance-lifecycle" => {
            return i.spot_request_id.iter().map(|_| "spot".to_owned()).collect();
        }
        "spot-instance-request-id" => return i.spot_request_id.iter().cloned().collect(),
        "key-name" => return i.key_name.iter().cloned().collect(),
        "launch-index" => i.launch_index.to_string(),
        "launch-time" => launch_time(i),
        "maintenance-options.auto-recovery" => "default".to_owned(),
        "metadata-options.http-endpoint" | "metadata-options.http-protocol-ipv4" => {
            switch(i.metadata.endpoint_enabled)
        }
        "metadata-options.http-protocol-ipv6" => switch(false),
        "metadata-options.http-put-response-hop-limit" => i.metadata.hop_limit.to_string(),
        "metadata-options.http-tokens" => i.metadata.tokens().to_owned(),
        "metadata-options.instance-metadata-tags" => switch(i.metadata.tags_enabled),
        "monitoring-state" => switch(i.monitoring),
        "owner-id" => i.account.clone(),
        "platform-details" => "Linux/UNIX".to_owned(),
        "private-dns-name-options.hostname-type" => "ip-name".to_owned(),
        "reason" => i.transition_reason.clone(),
        "requester-id" => return i.requester.iter().cloned().collect(),
        "reservation-id" => i.reservation_id.clone(),
        "root-device-name" => ROOT_DEVICE.to_owned(),
        "root-device-type" => i.root_device.name().to_owned(),
        "state-reason-code" => return i.reason.iter().map(|r| r.code.clone()).collect(),
        "state-reason-message" => return i.reason.iter().map(|r| r.message.clone()).collect(),
        "tenancy" => "default".to_owned(),
        "usage-operation" => "RunInstances".to_owned(),
        "virtualization-type" => "hvm".to_owned(),
        _ if !i.is_alive() => return vec![],
        "private-dns-name" => private_dns_name(&i.region, i.private_ip),
        "private-ip-address" => i.private_ip.to_string(),
        "subnet-id" => i.subnet_id.clone(),
        "vpc-id" => i.vpc_id.clone(),
        "dns-name" => {
            let public = public_ip(snapshot, cx, i);
            return public.map(|ip| public_host(snapshot, cx, &i.vpc_id, ip)).into_iter().collect();
        }
        "ip-address" => {
            return public_ip(snapshot, cx, i).iter().map(ToString::to_string).collect();
        }
        "group-id"
        | "group-name"
        | "instance.group-id"
        | "instance.group-name"
        | "source-dest-check" => {
            let name = name.trim_start_matches("instance.");
            let primary = interfaces(snapshot, cx, i).into_iter().next();
            return primary.map_or(vec![], |of| interface::values(snapshot, cx, &of, name));
        }
        other => {
            if let Some(rest) = other.strip_prefix("network-interface.") {
                let all = interfaces(snapshot, cx, i);
                return all
                    .iter()
                    .flat_map(|of| interface::values(snapshot, cx, of, rest))
                    .collect();
            }
            if let Some(rest) = other.strip_prefix("block-device-mapping.") {
                let volumes = volume::ops::of_instance(snapshot, cx, i);
                let name = format!("attachment.{rest}");
                return volumes
                    .iter()
                    .flat_map(|of| volume::describe::values(snapshot, cx, of, &name))
                    .collect();
            }
            return vec![];
        }
    };
    vec![one]
}

/// What it wants of capacity reservations: `open` where nothing was said.
pub fn reservation_preference(i: &Instance) -> Specification {
    let mut wanted = i.capacity_reservation.clone();
    if !wanted.insists() {
        wanted.preference.get_or_insert(Preference::Open);
    }
    wanted
}

/// Of its primary interface's primary address.
pub fn public_ip(snapshot: &Snapshot, cx: &Context, i: &Instance) -> Option<Ipv4Addr> {
    interfaces(snapshot, cx, i).first()?.public.get(&i.private_ip).copied()
}

fn interfaces(snapshot: &Snapshot, cx: &Context, i: &Instance) -> Vec<Arc<NetworkInterface>> {
    network_interface::ops::of_instance(snapshot, cx, i)
}

/// `2026-01-02T03:04:05.000Z`
fn launch_time(i: &Instance) -> String {
    filter_time(i.launch_time)
}

pub fn filter_time(at: crate::Timestamp) -> String {
    format!("{}T{}.{:03}Z", at.date(), at.time_of_day(), at.0.rem_euclid(1000))
}

pub fn has_ena(instance_type: &str) -> bool {
    catalog::instance_type(instance_type).is_some_and(|t| t.network.ena != "unsupported")
}

const STATUS_FILTERS: &[&str] = &[
    "availability-zone",
    "availability-zone-id",
    "event.code",
    "event.description",
    "event.instance-event-id",
    "event.not-after",
    "event.not-before",
    "event.not-before-deadline",
    "instance-state-code",
    "instance-state-name",
    "instance-status.reachability",
    "instance-status.status",
    "system-status.reachability",
    "system-status.status",
];

fn status_value(snapshot: &Snapshot, cx: &Context, i: &Instance, name: &str) -> Vec<String> {
    match name {
        "instance-status.status" | "system-status.status" => vec![i.status().name().to_owned()],
        "instance-status.reachability" | "system-status.reachability" => {
            reachability(i.status()).into_iter().map(str::to_owned).collect()
        }
        name if name.starts_with("event.") => vec![],
        name => instance_value(snapshot, cx, i, name),
    }
}

/// The status checks' one detail; none when they do not apply.
pub fn reachability(status: Status) -> Option<&'static str> {
    match status {
        Status::Ok => Some("passed"),
        Status::Initializing => Some("initializing"),
        Status::Impaired => Some("failed"),
        Status::InsufficientData => Some("insufficient-data"),
        Status::NotApplicable => None,
    }
}

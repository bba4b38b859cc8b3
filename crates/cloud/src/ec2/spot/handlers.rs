//! Spot requests on the wire.

use std::sync::Arc;

use wire::ec2 as w;

use super::describe;
use super::market::{self, Line, PRODUCT, text};
use super::model::{Market, SpotRequest, State};
use super::ops::{self, Asked};
use super::score;
use crate::ec2::catalog::handlers::requirements;
use crate::ec2::catalog::select;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::instance::describe::zone_id;
use crate::ec2::instance::handlers::launch::{
    self as run, interruption_behavior, refuse_some, refuse_true, spot_type,
};
use crate::ec2::instance::launch::{BlockDevice, Interface, Launch};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, client_token, security_group, tag};
use crate::services::{Entry, serve};
use crate::{Context, Timestamp};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::RequestSpotInstances, _, _, _>(request_spot_instances),
        serve::<w::DescribeSpotInstanceRequests, _, _, _>(describe_spot_instance_requests),
        serve::<w::CancelSpotInstanceRequests, _, _, _>(cancel_spot_instance_requests),
        serve::<w::DescribeSpotPriceHistory, _, _, _>(describe_spot_price_history),
        serve::<w::GetSpotPlacementScores, _, _, _>(get_spot_placement_scores),
    ]
}

async fn request_spot_instances(
    cx: Context,
    input: w::RequestSpotInstancesRequest,
) -> Result<w::RequestSpotInstancesResult> {
    let w::RequestSpotInstancesRequest {
        availability_zone_group,
        block_duration_minutes,
        client_token,
        dry_run: dry,
        instance_count,
        instance_interruption_behavior,
        launch_group,
        launch_specification,
        spot_price,
        tag_specifications,
        r#type,
        valid_from,
        valid_until,
    } = input;
    refuse_some(&availability_zone_group, "AvailabilityZoneGroup")?;
    refuse_some(&block_duration_minutes, "BlockDurationMinutes")?;
    refuse_some(&launch_group, "LaunchGroup")?;
    let specification =
        launch_specification.ok_or(Error::MissingParameter("LaunchSpecification"))?;
    let market = Market {
        max_price: spot_price.filter(|price| !price.is_empty()),
        persistent: spot_type(r#type)?,
        behavior: interruption_behavior(instance_interruption_behavior)?,
        valid_until: valid_until.map(|at| Timestamp(at.0)),
        ..Market::default()
    };
    let count = instance_count.unwrap_or(1);
    let mut asked = Asked {
        count: u32::try_from(count).map_err(|_| {
            Error::value(format!("Value ({count}) for parameter instanceCount is invalid."))
        })?,
        launch: launch(specification)?,
        market,
        valid_from: valid_from.map(|at| Timestamp(at.0)),
        tags: tags_of_type(tag_specifications, "spot-instances-request")?,
        client_token: None,
    };
    asked.client_token = client_token::of(client_token.as_deref(), &asked)?;
    let made = cx
        .write(|tx| {
            let made = ops::request(tx, &cx, &asked)?;
            dry_run(dry)?;
            Ok::<_, Error>(made)
        })
        .await?;
    let snapshot = cx.read();
    let made = made.iter().map(|request| out(&snapshot, &cx, request)).collect();
    Ok(w::RequestSpotInstancesResult { spot_instance_requests: Some(made) })
}

/// As RunInstances would have it, so that both are judged by the same code.
fn launch(specification: w::RequestSpotLaunchSpecification) -> Result<Launch> {
    let w::RequestSpotLaunchSpecification {
        addressing_type,
        block_device_mappings,
        ebs_optimized,
        iam_instance_profile,
        image_id,
        instance_type,
        kernel_id,
        key_name,
        monitoring,
        network_interfaces,
        placement,
        ramdisk_id,
        security_group_ids,
        security_groups,
        subnet_id,
        user_data,
    } = specification;
    refuse_some(&addressing_type, "AddressingType")?;
    run::launch(w::RunInstancesRequest {
        block_device_mappings,
        ebs_optimized,
        iam_instance_profile,
        image_id,
        instance_type,
        kernel_id,
        key_name,
        monitoring,
        network_interfaces,
        placement: placement.map(|placement| w::Placement {
            availability_zone: placement.availability_zone,
            availability_zone_id: placement.availability_zone_id,
            group_name: placement.group_name,
            tenancy: placement.tenancy,
            ..Default::default()
        }),
        ramdisk_id,
        security_group_ids,
        security_groups,
        subnet_id,
        user_data,
        ..Default::default()
    })
}

async fn describe_spot_instance_requests(
    cx: Context,
    input: w::DescribeSpotInstanceRequestsRequest,
) -> Result<w::DescribeSpotInstanceRequestsResult> {
    let snapshot = cx.read();
    let ids = input.spot_instance_request_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::describe(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let found = found.iter().map(|request: &Arc<SpotRequest>| out(&snapshot, &cx, request));
    Ok(w::DescribeSpotInstanceRequestsResult {
        spot_instance_requests: Some(found.collect()),
        next_token,
    })
}

async fn cancel_spot_instance_requests(
    cx: Context,
    input: w::CancelSpotInstanceRequestsRequest,
) -> Result<w::CancelSpotInstanceRequestsResult> {
    let cancelled = cx
        .write(|tx| {
            let cancelled = ops::cancel(tx, &cx, &input.spot_instance_request_ids)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(cancelled)
        })
        .await?;
    let line = |request: SpotRequest| w::CancelledSpotInstanceRequest {
        spot_instance_request_id: Some(request.id),
        state: Some(request.state.name().to_owned()),
    };
    let lines = cancelled.into_iter().map(line).collect();
    Ok(w::CancelSpotInstanceRequestsResult { cancelled_spot_instance_requests: Some(lines) })
}

async fn describe_spot_price_history(
    cx: Context,
    input: w::DescribeSpotPriceHistoryRequest,
) -> Result<w::DescribeSpotPriceHistoryResult> {
    let mut zone = input.availability_zone;
    if let Some(id) = input.availability_zone_id {
        let zones = crate::zone::zones(&cx.region, cx.env.config.zones);
        let found = zones.into_iter().find(|known| known.id == id);
        let named =
            found.ok_or_else(|| Error::value(format!("Invalid availability zone ID: [{id}]")))?;
        if zone.replace(named.name).is_some() {
            return Err(Error::combination(
                "You cannot specify both AvailabilityZone and AvailabilityZoneId.",
            ));
        }
    }
    let asked = market::Asked {
        types: input.instance_types.unwrap_or_default(),
        products: input.product_descriptions.unwrap_or_default(),
        zone,
        from: input.start_time.map(|at| Timestamp(at.0)),
        to: input.end_time.map(|at| Timestamp(at.0)),
        listing: listing(input.filters, input.max_results, input.next_token),
    };
    let (lines, next_token) = market::history(&cx.read(), &cx, &asked)?;
    dry_run(input.dry_run)?;
    let line = |line: Line| w::SpotPrice {
        availability_zone_id: zone_id(&cx, &line.zone),
        availability_zone: Some(line.zone),
        instance_type: Some(line.instance_type.to_owned()),
        product_description: Some(PRODUCT.to_owned()),
        spot_price: Some(text(line.price)),
        timestamp: Some(wire::Timestamp(line.at.0)),
    };
    Ok(w::DescribeSpotPriceHistoryResult {
        spot_price_history: Some(lines.into_iter().map(line).collect()),
        // AWS says an empty one at the end.
        next_token: Some(next_token.unwrap_or_default()),
    })
}

async fn get_spot_placement_scores(
    cx: Context,
    input: w::GetSpotPlacementScoresRequest,
) -> Result<w::GetSpotPlacementScoresResult> {
    let w::GetSpotPlacementScoresRequest {
        dry_run: dry,
        include_local_zones,
        instance_requirements_with_metadata,
        instance_types,
        max_results,
        next_token,
        region_names,
        single_availability_zone,
        target_capacity,
        target_capacity_unit_type,
    } = input;
    refuse_true(include_local_zones, "IncludeLocalZones")?;
    let names = instance_types.unwrap_or_default();
    let types = match (names.is_empty(), instance_requirements_with_metadata) {
        (false, None) => score::named(&names)?,
        (true, Some(asked)) => {
            let requirements = asked
                .instance_requirements
                .ok_or(Error::MissingParameter("InstanceRequirements"))?;
            let mut wanted = requirements::requirements(requirements)?;
            wanted.architectures = asked.architecture_types.unwrap_or_default();
            wanted.virtualization_types = asked.virtualization_types.unwrap_or_default();
            select::select(&wanted)
        }
        _ => {
            return Err(Error::combination(
                "Exactly one of InstanceTypes and InstanceRequirementsWithMetadata must be specified.",
            ));
        }
    };
    let unit = match target_capacity_unit_type.as_deref() {
        None | Some("units") => score::Unit::Instances,
        Some("vcpu") => score::Unit::Vcpus,
        Some("memory-mib") => score::Unit::MemoryMib,
        Some(other) => {
            return Err(Error::value(format!(
                "Invalid value '{other}' for TargetCapacityUnitType."
            )));
        }
    };
    let asked = score::Asked {
        types,
        target: u32::try_from(target_capacity).ok().filter(|target| *target > 0).ok_or_else(
            || {
                Error::value(format!(
                    "Value ({target_capacity}) for parameter TargetCapacity is invalid."
                ))
            },
        )?,
        unit,
        regions: region_names.unwrap_or_default(),
        by_zone: single_availability_zone == Some(true),
    };
    let listing = listing(None, max_results, next_token);
    listing.check_max_results(10..=1000)?;
    let scores = score::scores(&cx.read(), &cx, &asked)?;
    dry_run(dry)?;
    let scores = scores.into_iter().map(|score| w::SpotPlacementScore {
        availability_zone_id: score.zone_id,
        region: Some(score.region),
        score: Some(score.score),
    });
    // There are ten at most: one page.
    Ok(w::GetSpotPlacementScoresResult {
        next_token: None,
        spot_placement_scores: Some(scores.collect()),
    })
}

fn out(snapshot: &store::Snapshot, cx: &Context, r: &SpotRequest) -> w::SpotInstanceRequest {
    let time = |at: Timestamp| wire::Timestamp(at.0);
    w::SpotInstanceRequest {
        create_time: Some(time(r.created_at)),
        fault: (r.state == State::Failed).then(|| w::SpotInstanceStateFault {
            code: Some(r.status.code.clone()),
            message: Some(r.status.message.clone()),
        }),
        instance_id: r.instance_id.clone(),
        instance_interruption_behavior: Some(r.market.behavior.name().to_owned()),
        launch_specification: Some(w::LaunchSpecification {
            instance_type: Some(r.instance_type.clone()),
            placement: placement(r.launch.zone.clone().or_else(|| r.zone.clone()), &r.launch),
            ..specification(snapshot, cx, &r.launch)
        }),
        launched_availability_zone: r.zone.clone(),
        launched_availability_zone_id: r.zone.as_ref().and_then(|zone| zone_id(cx, zone)),
        product_description: Some(PRODUCT.to_owned()),
        spot_instance_request_id: Some(r.id.clone()),
        spot_price: Some(text(ops::max_price(&r.market, &r.instance_type))),
        state: Some(r.state.name().to_owned()),
        status: Some(w::SpotInstanceStatus {
            code: Some(r.status.code.clone()),
            message: Some(r.status.message.clone()),
            update_time: Some(time(r.status.at)),
        }),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &r.id)),
        r#type: Some(r.kind().to_owned()),
        valid_from: r.valid_from.map(time),
        valid_until: r.market.valid_until.map(time),
        ..Default::default()
    }
}

/// Where it is to be: in a zone, in a placement group.
pub fn placement(zone: Option<String>, launch: &Launch) -> Option<w::SpotPlacement> {
    let group_name = launch.placement_group.as_ref().and_then(|group| group.name.clone());
    let placed = zone.is_some() || group_name.is_some();
    placed.then(|| w::SpotPlacement { availability_zone: zone, group_name, ..Default::default() })
}

/// All of it but the type and the place, which others choose.
pub fn specification(
    snapshot: &store::Snapshot,
    cx: &Context,
    launch: &Launch,
) -> w::LaunchSpecification {
    let by_id = launch.security_group_ids.iter().map(|id| w::GroupIdentifier {
        group_id: Some(id.clone()),
        group_name: crate::ec2::instance::resolve::group_name(snapshot, cx, id),
    });
    let by_name = launch.security_group_names.iter().map(|name| w::GroupIdentifier {
        group_id: security_group::ops::by_name(snapshot, cx, name).ok().map(|g| g.id.clone()),
        group_name: Some(name.clone()),
    });
    let groups: Vec<w::GroupIdentifier> = by_id.chain(by_name).collect();
    w::LaunchSpecification {
        block_device_mappings: some(launch.block_devices.iter().map(device)),
        iam_instance_profile: launch.iam_instance_profile.as_ref().map(|profile| {
            w::IamInstanceProfileSpecification {
                arn: profile.arn.clone(),
                name: profile.name.clone(),
            }
        }),
        image_id: launch.image_id.clone(),
        key_name: launch.key_name.clone(),
        monitoring: Some(w::RunInstancesMonitoringEnabled {
            enabled: launch.monitoring.unwrap_or(false),
            ..Default::default()
        }),
        network_interfaces: some(launch.interfaces.iter().map(interface)),
        security_groups: some(groups.into_iter()),
        subnet_id: launch.subnet_id.clone(),
        user_data: launch.user_data.clone(),
        ..Default::default()
    }
}

/// Absent when there is none.
fn some<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

fn device(device: &BlockDevice) -> w::BlockDeviceMapping {
    w::BlockDeviceMapping {
        device_name: Some(device.device_name.clone()),
        ebs: device.says_ebs().then(|| w::EbsBlockDevice {
            delete_on_termination: device.delete_on_termination,
            encrypted: device.encrypted,
            iops: device.iops,
            kms_key_id: device.kms_key_id.clone(),
            snapshot_id: device.snapshot_id.clone(),
            throughput: device.throughput,
            volume_size: device.volume_size_gib,
            volume_type: device.volume_type.clone(),
            ..Default::default()
        }),
        no_device: device.no_device.then(String::new),
        virtual_name: device.virtual_name.clone(),
    }
}

fn interface(interface: &Interface) -> w::InstanceNetworkInterfaceSpecification {
    w::InstanceNetworkInterfaceSpecification {
        associate_public_ip_address: interface.associate_public_ip_address,
        delete_on_termination: interface.delete_on_termination,
        description: interface.description.clone(),
        device_index: Some(interface.device_index),
        groups: some(interface.groups.iter().cloned()),
        network_interface_id: interface.network_interface_id.clone(),
        private_ip_address: interface.private_ip.map(|address| address.to_string()),
        subnet_id: interface.subnet_id.clone(),
        ..Default::default()
    }
}

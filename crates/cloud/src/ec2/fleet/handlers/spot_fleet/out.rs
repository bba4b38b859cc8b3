//! Spot Fleets as answers have them.

use store::Snapshot;
use wire::ec2 as w;

use super::super::super::model::{Config, Fleet, Override};
use super::super::super::{describe, ops};
use super::camel;
use crate::Context;
use crate::ec2::handlers::tags_out;
use crate::ec2::instance::launch::Launch;
use crate::ec2::spot::handlers as spot;
use crate::ec2::tag;

pub fn request(snapshot: &Snapshot, cx: &Context, fleet: &Fleet) -> w::SpotFleetRequestConfig {
    w::SpotFleetRequestConfig {
        activity_status: Some(describe::activity(fleet).to_owned()),
        create_time: Some(wire::Timestamp(fleet.created_at.0)),
        spot_fleet_request_config: Some(config(snapshot, cx, fleet)),
        spot_fleet_request_id: Some(fleet.id.clone()),
        spot_fleet_request_state: Some(fleet.state_name().to_owned()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &fleet.id)),
    }
}

fn config(snapshot: &Snapshot, cx: &Context, fleet: &Fleet) -> w::SpotFleetRequestConfigData {
    let wanted = &fleet.wanted;
    let time = |at: crate::Timestamp| wire::Timestamp(at.0);
    let units = ops::fulfilled(fleet);
    let of_spot = wanted.spot_fleet.as_ref();
    let (mut specifications, mut templates) = (Vec::new(), Vec::new());
    for config in &wanted.configs {
        match (&config.specification, config.overrides.first()) {
            (Some(launch), Some(over)) => {
                specifications.push(specification(snapshot, cx, launch, over));
            }
            _ => templates.push(template(config)),
        }
    }
    let pools = (wanted.spot.strategy == super::Strategy::LowestPrice).then_some(wanted.spot.pools);
    let policy = if wanted.terminate_excess { "default" } else { "noTermination" };
    w::SpotFleetRequestConfigData {
        allocation_strategy: Some(camel(wanted.spot.strategy)),
        excess_capacity_termination_policy: Some(policy.to_owned()),
        fulfilled_capacity: Some(units.total()),
        iam_fleet_role: of_spot.map(|fleet| fleet.role.clone()).unwrap_or_default(),
        instance_interruption_behavior: Some(wanted.behavior.name().to_owned()),
        instance_pools_to_use_count: pools.map(|pools| pools as i32),
        launch_specifications: some(specifications),
        launch_template_configs: some(templates),
        on_demand_allocation_strategy: Some(camel(wanted.on_demand.strategy)),
        on_demand_fulfilled_capacity: Some(units.on_demand),
        on_demand_target_capacity: Some(wanted.target.on_demand as i32),
        replace_unhealthy_instances: Some(wanted.replace_unhealthy),
        spot_price: of_spot.and_then(|fleet| fleet.max_price.clone()),
        target_capacity: wanted.target.total as i32,
        terminate_instances_with_expiration: Some(wanted.terminate_at_end),
        r#type: Some(wanted.kind.name().to_owned()),
        valid_from: wanted.valid_from.map(time),
        valid_until: wanted.valid_until.map(time),
        ..Default::default()
    }
}

/// Absent when there is none.
fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

fn template(config: &Config) -> w::LaunchTemplateConfig {
    w::LaunchTemplateConfig {
        launch_template_specification: Some(super::super::out::template(&config.template)),
        overrides: Some(config.overrides.iter().map(over).collect()),
    }
}

fn over(over: &Override) -> w::LaunchTemplateOverrides {
    w::LaunchTemplateOverrides {
        availability_zone: over.zone.clone(),
        instance_type: over.instance_type.clone(),
        priority: over.priority,
        spot_price: over.max_price.clone(),
        subnet_id: over.subnet_id.clone(),
        weighted_capacity: over.weight,
        ..Default::default()
    }
}

fn specification(
    snapshot: &Snapshot,
    cx: &Context,
    launch: &Launch,
    over: &Override,
) -> w::SpotFleetLaunchSpecification {
    let said = spot::specification(snapshot, cx, launch);
    let tags = launch.tags.iter().map(|(kind, tags)| w::SpotFleetTagSpecification {
        resource_type: Some(kind.clone()),
        tags: tags_out(tags.clone()),
    });
    w::SpotFleetLaunchSpecification {
        block_device_mappings: said.block_device_mappings,
        iam_instance_profile: said.iam_instance_profile,
        image_id: said.image_id,
        instance_type: over.instance_type.clone(),
        key_name: said.key_name,
        monitoring: launch
            .monitoring
            .map(|enabled| w::SpotFleetMonitoring { enabled: Some(enabled) }),
        network_interfaces: said.network_interfaces,
        placement: spot::placement(over.zone.clone(), launch),
        security_groups: said.security_groups,
        spot_price: over.max_price.clone(),
        subnet_id: over.subnet_id.clone(),
        tag_specifications: some(tags.collect()),
        user_data: said.user_data,
        weighted_capacity: over.weight,
        ..Default::default()
    }
}

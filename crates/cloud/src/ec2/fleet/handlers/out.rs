//! Fleets as answers have them.

use store::Snapshot;
use wire::ec2 as w;

use super::super::model::{
    Config, Event, Failure, Fleet, Kind, Lifecycle, Member, Options, Override, Place,
};
use super::super::{describe, ops};
use crate::Context;
use crate::ec2::catalog::handlers::requirements;
use crate::ec2::handlers::tags_out;
use crate::ec2::instance::describe::zone_id;
use crate::ec2::instance::launch::Template;
use crate::ec2::instance::model::Instance;
use crate::ec2::tag;

/// Only fleets of type instant answer with what they launched.
pub fn created(cx: &Context, fleet: &Fleet) -> w::CreateFleetResult {
    let instant = fleet.wanted.kind == Kind::Instant;
    let error = |failure: &Failure| w::CreateFleetError {
        error_code: Some(failure.code.clone()),
        error_message: Some(failure.message.clone()),
        launch_template_and_overrides: Some(place(fleet, failure.place, None)),
        lifecycle: Some(failure.lifecycle.name().to_owned()),
    };
    let instances = groups(fleet).into_iter().map(|members| w::CreateFleetInstance {
        availability_zone: Some(members[0].zone.clone()),
        availability_zone_id: zone_id(cx, &members[0].zone),
        instance_ids: Some(ids(&members)),
        instance_type: Some(members[0].instance_type.clone()),
        launch_template_and_overrides: Some(place(fleet, members[0].place, Some(members[0]))),
        lifecycle: Some(members[0].lifecycle.name().to_owned()),
        platform: None,
        subnet_id: Some(members[0].subnet_id.clone()),
    });
    w::CreateFleetResult {
        errors: Some(fleet.errors.iter().filter(|_| instant).map(error).collect()),
        fleet_id: Some(fleet.id.clone()),
        instances: Some(instances.filter(|_| instant).collect()),
    }
}

/// Members of one pool together.
fn groups(fleet: &Fleet) -> Vec<Vec<&Member>> {
    let mut groups: Vec<Vec<&Member>> = Vec::new();
    for member in &fleet.members {
        let same = |group: &&mut Vec<&Member>| {
            let first = group[0];
            (first.place, first.lifecycle) == (member.place, member.lifecycle)
                && (&first.instance_type, &first.subnet_id)
                    == (&member.instance_type, &member.subnet_id)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(member),
            None => groups.push(vec![member]),
        }
    }
    groups
}

fn ids(members: &[&Member]) -> Vec<String> {
    members.iter().map(|member| member.instance_id.clone()).collect()
}

/// With what became of it, where something did.
fn place(
    fleet: &Fleet,
    place: Place,
    member: Option<&Member>,
) -> w::LaunchTemplateAndOverridesResponse {
    let config = &fleet.wanted.configs[place.config];
    let mut overrides =
        place.over.and_then(|over| config.overrides.get(over)).map(over).unwrap_or_default();
    if let Some(member) = member {
        overrides.instance_type.get_or_insert_with(|| member.instance_type.clone());
        overrides.subnet_id = Some(member.subnet_id.clone());
        overrides.availability_zone = Some(member.zone.clone());
    }
    w::LaunchTemplateAndOverridesResponse {
        launch_template_specification: Some(template(&config.template)),
        overrides: Some(overrides),
    }
}

pub fn template(template: &Template) -> w::FleetLaunchTemplateSpecification {
    w::FleetLaunchTemplateSpecification {
        launch_template_id: template.id.clone(),
        launch_template_name: template.name.clone(),
        version: template.version.clone(),
    }
}

fn over(over: &Override) -> w::FleetLaunchTemplateOverrides {
    w::FleetLaunchTemplateOverrides {
        availability_zone: over.zone.clone(),
        image_id: over.image_id.clone(),
        instance_requirements: over.requirements.as_ref().map(requirements::out),
        instance_type: over.instance_type.clone(),
        max_price: over.max_price.clone(),
        placement: over
            .placement_group
            .clone()
            .map(|group| w::PlacementResponse { group_name: group.name }),
        priority: over.priority,
        subnet_id: over.subnet_id.clone(),
        weighted_capacity: over.weight,
        ..Default::default()
    }
}

pub fn fleet(snapshot: &Snapshot, cx: &Context, fleet: &Fleet) -> w::FleetData {
    let wanted = &fleet.wanted;
    let time = |at: crate::Timestamp| wire::Timestamp(at.0);
    let units = ops::fulfilled(fleet);
    let instant = wanted.kind == Kind::Instant;
    let error = |failure: &Failure| w::DescribeFleetError {
        error_code: Some(failure.code.clone()),
        error_message: Some(failure.message.clone()),
        launch_template_and_overrides: Some(place(fleet, failure.place, None)),
        lifecycle: Some(failure.lifecycle.name().to_owned()),
    };
    let instances = groups(fleet).into_iter().map(|members| w::DescribeFleetsInstances {
        instance_ids: Some(ids(&members)),
        instance_type: Some(members[0].instance_type.clone()),
        launch_template_and_overrides: Some(place(fleet, members[0].place, Some(members[0]))),
        lifecycle: Some(members[0].lifecycle.name().to_owned()),
        platform: None,
    });
    w::FleetData {
        activity_status: Some(describe::activity(fleet).to_owned()),
        client_token: None,
        create_time: Some(time(fleet.created_at)),
        errors: instant.then(|| fleet.errors.iter().map(error).collect()),
        excess_capacity_termination_policy: Some(
            describe::excess_policy(wanted.terminate_excess).to_owned(),
        ),
        fleet_id: Some(fleet.id.clone()),
        fleet_state: Some(fleet.state_name().to_owned()),
        fulfilled_capacity: Some(units.total()),
        fulfilled_on_demand_capacity: Some(units.on_demand),
        instances: instant.then(|| instances.collect()),
        launch_template_configs: Some(wanted.configs.iter().map(config).collect()),
        on_demand_options: Some(w::OnDemandOptions {
            allocation_strategy: Some(wanted.on_demand.strategy.name().to_owned()),
            single_availability_zone: single(instant, wanted.on_demand.single_zone),
            single_instance_type: single(instant, wanted.on_demand.single_type),
            ..Default::default()
        }),
        replace_unhealthy_instances: Some(wanted.replace_unhealthy),
        spot_options: Some(spot(&wanted.spot, instant, wanted.behavior.name())),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &fleet.id)),
        target_capacity_specification: Some(w::TargetCapacitySpecification {
            default_target_capacity_type: Some(wanted.target.default.name().to_owned()),
            on_demand_target_capacity: Some(wanted.target.on_demand as i32),
            spot_target_capacity: Some(wanted.target.spot as i32),
            target_capacity_unit_type: None,
            total_target_capacity: Some(wanted.target.total as i32),
        }),
        terminate_instances_with_expiration: Some(wanted.terminate_at_end),
        r#type: Some(wanted.kind.name().to_owned()),
        valid_from: wanted.valid_from.map(time),
        valid_until: wanted.valid_until.map(time),
        ..Default::default()
    }
}

fn single(instant: bool, said: bool) -> Option<bool> {
    instant.then_some(said)
}

fn spot(options: &Options, instant: bool, behavior: &str) -> w::SpotOptions {
    w::SpotOptions {
        allocation_strategy: Some(options.strategy.name().to_owned()),
        instance_interruption_behavior: Some(behavior.to_owned()),
        instance_pools_to_use_count: Some(options.pools as i32),
        single_availability_zone: single(instant, options.single_zone),
        single_instance_type: single(instant, options.single_type),
        ..Default::default()
    }
}

fn config(config: &Config) -> w::FleetLaunchTemplateConfig {
    w::FleetLaunchTemplateConfig {
        launch_template_specification: Some(template(&config.template)),
        overrides: Some(config.overrides.iter().map(over).collect()),
    }
}

pub fn active(snapshot: &Snapshot, cx: &Context, member: &Member) -> w::ActiveInstance {
    let found = snapshot.get::<Instance>(&cx.key(&member.instance_id));
    let request = found.and_then(|instance| instance.spot_request_id.clone());
    w::ActiveInstance {
        instance_health: Some(ops::health(snapshot, cx, member).to_owned()),
        instance_id: Some(member.instance_id.clone()),
        instance_type: Some(member.instance_type.clone()),
        spot_instance_request_id: request.filter(|_| member.lifecycle == Lifecycle::Spot),
    }
}

pub fn event(event: &Event) -> w::HistoryRecordEntry {
    w::HistoryRecordEntry {
        event_information: Some(w::EventInformation {
            event_description: Some(event.description.clone()).filter(|text| !text.is_empty()),
            event_sub_type: Some(event.sub_type.clone()),
            instance_id: event.instance_id.clone(),
        }),
        event_type: Some(event.kind.clone()),
        timestamp: Some(wire::Timestamp(event.at.0)),
    }
}

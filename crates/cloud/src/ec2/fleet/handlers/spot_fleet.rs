//! Spot Fleets on the wire: other words for the same fleets.

mod out;

use std::collections::BTreeMap;

use wire::ec2 as w;

use super::super::change::{self, Changes, Undeletable};
use super::super::model::{
    Config, Kind, Lifecycle, Member, Override, SpotFleet, Strategy, Target, Wanted,
};
use super::super::ops;
use super::super::role;
use crate::ec2::handlers::{listing, one_of, refuse, tags_by_type, tags_in};
use crate::ec2::instance::handlers::launch::{self as run, interruption_behavior, refuse_some};
use crate::ec2::instance::launch::{Launch, Template};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Kind as Named, Result, client_token};
use crate::services::{Entry, serve};
use crate::{Context, Timestamp};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::RequestSpotFleet, _, _, _>(request),
        serve::<w::DescribeSpotFleetRequests, _, _, _>(describe_requests),
        serve::<w::DescribeSpotFleetInstances, _, _, _>(describe_instances),
        serve::<w::DescribeSpotFleetRequestHistory, _, _, _>(describe_history),
        serve::<w::ModifySpotFleetRequest, _, _, _>(modify),
        serve::<w::CancelSpotFleetRequests, _, _, _>(cancel),
    ]
}

/// `capacityOptimized` as fleets have it: `capacity-optimized`.
fn dashed(camel: &str) -> String {
    let dash = |c: char| match c.is_ascii_uppercase() {
        true => format!("-{}", c.to_ascii_lowercase()),
        false => c.to_string(),
    };
    camel.chars().map(dash).collect()
}

/// And back.
fn camel(strategy: Strategy) -> String {
    let mut words = strategy.name().split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| text + &word[..1].to_ascii_uppercase() + &word[1..])
}

/// What is wrong with the members of a configuration has one code of its own.
fn of_config(error: Error) -> Error {
    match error {
        Error::InvalidParameterValue(_)
        | Error::InvalidParameterCombination(_)
        | Error::MissingParameter(_) => Error::InvalidSpotFleetRequestConfig(error.to_string()),
        other => other,
    }
}

async fn request(
    cx: Context,
    input: w::RequestSpotFleetRequest,
) -> Result<w::RequestSpotFleetResponse> {
    let mut config = input.spot_fleet_request_config;
    let client_token = config.client_token.take();
    let tags = tags_by_type(config.tag_specifications.take())?;
    let wanted = wanted(config).map_err(of_config)?;
    let token = client_token::of(client_token.as_deref(), &(&wanted, &tags))?;
    let fleet = cx
        .write(|tx| {
            let asked = wanted.spot_fleet.as_ref().map_or("", |fleet| &fleet.role);
            role::check(tx, &cx, asked)?;
            let fleet = ops::create(tx, &cx, &wanted, &tags, &token).map_err(of_config)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(fleet)
        })
        .await?;
    Ok(w::RequestSpotFleetResponse { spot_fleet_request_id: Some(fleet.id) })
}

fn wanted(config: w::SpotFleetRequestConfigData) -> Result<Wanted> {
    let w::SpotFleetRequestConfigData {
        allocation_strategy,
        client_token: _,
        context,
        excess_capacity_termination_policy,
        fulfilled_capacity,
        iam_fleet_role,
        instance_interruption_behavior,
        instance_pools_to_use_count,
        launch_specifications,
        launch_template_configs,
        load_balancers_config,
        on_demand_allocation_strategy,
        on_demand_fulfilled_capacity,
        on_demand_max_total_price,
        on_demand_target_capacity,
        replace_unhealthy_instances,
        spot_maintenance_strategies,
        spot_max_total_price,
        spot_price,
        tag_specifications: _,
        target_capacity,
        target_capacity_unit_type,
        terminate_instances_with_expiration,
        r#type,
        valid_from,
        valid_until,
    } = config;
    refuse_some(&context, "Context")?;
    refuse_some(&load_balancers_config, "LoadBalancersConfig")?;
    refuse_some(&spot_maintenance_strategies, "SpotMaintenanceStrategies")?;
    refuse_unit(target_capacity_unit_type)?;
    if fulfilled_capacity.is_some() || on_demand_fulfilled_capacity.is_some() {
        return Err(Error::value("FulfilledCapacity and OnDemandFulfilledCapacity cannot be set."));
    }
    let kind = match r#type.as_deref() {
        Some("request") => Kind::Request,
        None | Some("maintain") => Kind::Maintain,
        Some(_) => {
            return Err(Error::value("The type of a Spot Fleet is either request or maintain."));
        }
    };
    let spot = w::SpotOptionsRequest {
        allocation_strategy: allocation_strategy.as_deref().map(dashed),
        instance_pools_to_use_count,
        max_total_price: spot_max_total_price,
        ..Default::default()
    };
    let on_demand = w::OnDemandOptionsRequest {
        allocation_strategy: on_demand_allocation_strategy.as_deref().map(dashed),
        max_total_price: on_demand_max_total_price,
        ..Default::default()
    };
    let specifications = launch_specifications.unwrap_or_default();
    let templates = launch_template_configs.unwrap_or_default();
    if specifications.is_empty() == templates.is_empty() {
        return Err(Error::combination(
            "Exactly one of LaunchSpecifications and LaunchTemplateConfigs must be specified.",
        ));
    }
    let specifications = specifications.into_iter().map(specification);
    let templates = templates.into_iter().map(template);
    Ok(Wanted {
        kind,
        configs: specifications.chain(templates).collect::<Result<_>>()?,
        target: target(target_capacity, on_demand_target_capacity.unwrap_or(0))?,
        spot: super::spot(Some(spot), false)?,
        on_demand: super::on_demand(Some(on_demand), false)?,
        behavior: interruption_behavior(instance_interruption_behavior)?,
        terminate_excess: excess(excess_capacity_termination_policy)?.unwrap_or(true),
        replace_unhealthy: replace_unhealthy_instances == Some(true),
        terminate_at_end: terminate_instances_with_expiration == Some(true),
        valid_from: valid_from.map(|at| Timestamp(at.0)),
        valid_until: valid_until.map(|at| Timestamp(at.0)),
        spot_fleet: Some(SpotFleet {
            role: iam_fleet_role,
            max_price: spot_price.filter(|price| !price.is_empty()),
        }),
    })
}

fn refuse_unit(unit: Option<String>) -> Result<()> {
    let other = unit.is_some_and(|unit| unit != "units");
    refuse(other, "TargetCapacityUnitType other than 'units'")
}

fn excess(policy: Option<String>) -> Result<Option<bool>> {
    let Some(policy) = policy else { return Ok(None) };
    one_of("ExcessCapacityTerminationPolicy", &policy, &["noTermination", "default"])?;
    Ok(Some(policy == "default"))
}

/// All but what is on demand is Spot.
fn target(total: i32, on_demand: i32) -> Result<Target> {
    let number = |name: &str, n: i32| {
        u32::try_from(n)
            .map_err(|_| Error::value(format!("Value ({n}) for parameter {name} is invalid.")))
    };
    let total = number("TargetCapacity", total)?;
    let on_demand = number("OnDemandTargetCapacity", on_demand)?;
    Ok(Target { total, on_demand, spot: 0, default: Lifecycle::Spot })
}

fn template(asked: w::LaunchTemplateConfig) -> Result<Config> {
    let named = asked
        .launch_template_specification
        .ok_or(Error::MissingParameter("LaunchTemplateSpecification"))?;
    let overrides = asked.overrides.unwrap_or_default();
    Ok(Config {
        template: Template {
            id: named.launch_template_id,
            name: named.launch_template_name,
            version: named.version,
        },
        specification: None,
        overrides: overrides.into_iter().map(over).collect::<Result<_>>()?,
    })
}

fn over(asked: w::LaunchTemplateOverrides) -> Result<Override> {
    let w::LaunchTemplateOverrides {
        availability_zone,
        availability_zone_id,
        instance_requirements,
        instance_type,
        priority,
        spot_price,
        subnet_id,
        weighted_capacity,
    } = asked;
    refuse_some(&availability_zone_id, "Overrides.AvailabilityZoneId")?;
    refuse_some(&instance_requirements, "Overrides.InstanceRequirements")?;
    placed_once(&availability_zone, &subnet_id)?;
    Ok(Override {
        instance_type,
        requirements: None,
        image_id: None,
        subnet_id,
        zone: availability_zone,
        placement_group: None,
        max_price: spot_price,
        priority,
        weight: weighted_capacity,
    })
}

fn placed_once(zone: &Option<String>, subnet: &Option<String>) -> Result<()> {
    match zone.is_some() && subnet.is_some() {
        true => Err(Error::combination("AvailabilityZone and SubnetId cannot both be specified.")),
        false => Ok(()),
    }
}

/// As RunInstances would have it, so that both are judged by the same code; what a fleet chooses by is
/// its override.
fn specification(asked: w::SpotFleetLaunchSpecification) -> Result<Config> {
    let w::SpotFleetLaunchSpecification {
        addressing_type,
        block_device_mappings,
        ebs_optimized,
        iam_instance_profile,
        image_id,
        instance_requirements,
        instance_type,
        kernel_id,
        key_name,
        monitoring,
        network_interfaces,
        placement,
        ramdisk_id,
        security_groups,
        spot_price,
        subnet_id,
        tag_specifications,
        user_data,
        weighted_capacity,
    } = asked;
    refuse_some(&addressing_type, "AddressingType")?;
    refuse_some(&instance_requirements, "LaunchSpecifications.InstanceRequirements")?;
    let w::SpotPlacement { availability_zone, availability_zone_id, group_name, tenancy } =
        placement.unwrap_or_default();
    refuse_some(&availability_zone_id, "Placement.AvailabilityZoneId")?;
    placed_once(&availability_zone, &subnet_id)?;
    if image_id.is_none() {
        return Err(Error::MissingParameter("LaunchSpecifications.ImageId"));
    }
    let (by_id, by_name): (Vec<_>, Vec<_>) =
        security_groups.unwrap_or_default().into_iter().partition(|group| group.group_id.is_some());
    let placement = w::Placement { group_name, tenancy, ..Default::default() };
    let monitoring = monitoring.map(|asked| w::RunInstancesMonitoringEnabled {
        enabled: asked.enabled == Some(true),
        ..Default::default()
    });
    let launch = run::launch(w::RunInstancesRequest {
        block_device_mappings,
        ebs_optimized,
        iam_instance_profile,
        image_id,
        kernel_id,
        key_name,
        monitoring,
        network_interfaces,
        placement: (placement != w::Placement::default()).then_some(placement),
        ramdisk_id,
        security_group_ids: Some(by_id.into_iter().filter_map(|group| group.group_id).collect()),
        security_groups: Some(by_name.into_iter().filter_map(|group| group.group_name).collect()),
        user_data,
        ..Default::default()
    })?;
    let over = Override {
        instance_type,
        subnet_id,
        zone: availability_zone,
        max_price: spot_price,
        weight: weighted_capacity,
        ..Override::default()
    };
    let launch = Launch { tags: tags(tag_specifications)?, ..launch };
    Ok(Config { template: Template::default(), specification: Some(launch), overrides: vec![over] })
}

/// "Currently, the only resource type that is supported is instance."
fn tags(
    asked: Option<Vec<w::SpotFleetTagSpecification>>,
) -> Result<BTreeMap<String, crate::tag::Tags>> {
    let mut by_type = BTreeMap::new();
    for spec in asked.unwrap_or_default() {
        let kind = spec.resource_type.ok_or(Error::MissingParameter("ResourceType"))?;
        one_of("ResourceType", &kind, &["instance"])?;
        let tags = tags_in(spec.tags)?;
        crate::ec2::tag::ops::check(&tags)?;
        by_type.insert(kind, tags);
    }
    Ok(by_type)
}

async fn describe_requests(
    cx: Context,
    input: w::DescribeSpotFleetRequestsRequest,
) -> Result<w::DescribeSpotFleetRequestsResponse> {
    let snapshot = cx.read();
    let ids = input.spot_fleet_request_ids.unwrap_or_default();
    let listing = listing(None, input.max_results, input.next_token);
    listing.check_max_results(1..=1000)?;
    let all = ops::named(&snapshot, &cx, Named::SpotFleet, &ids)?;
    let (found, next_token) = listing.page(all, |fleet| fleet.id.clone())?;
    dry_run(input.dry_run)?;
    let configs = found.iter().map(|fleet| out::request(&snapshot, &cx, fleet)).collect();
    Ok(w::DescribeSpotFleetRequestsResponse {
        next_token,
        spot_fleet_request_configs: Some(configs),
    })
}

async fn describe_instances(
    cx: Context,
    input: w::DescribeSpotFleetInstancesRequest,
) -> Result<w::DescribeSpotFleetInstancesResponse> {
    let snapshot = cx.read();
    let fleet = ops::find(&snapshot, &cx, Named::SpotFleet, &input.spot_fleet_request_id)?;
    let listing = listing(None, input.max_results, input.next_token);
    listing.check_max_results(1..=1000)?;
    let mut members: Vec<Member> = fleet.active().cloned().collect();
    members.sort_by(|a, b| a.instance_id.cmp(&b.instance_id));
    let (members, next_token) = listing.page(members, |member| member.instance_id.clone())?;
    dry_run(input.dry_run)?;
    let active = members.iter().map(|member| super::out::active(&snapshot, &cx, member));
    Ok(w::DescribeSpotFleetInstancesResponse {
        active_instances: Some(active.collect()),
        next_token,
        spot_fleet_request_id: Some(fleet.id.clone()),
    })
}

async fn describe_history(
    cx: Context,
    input: w::DescribeSpotFleetRequestHistoryRequest,
) -> Result<w::DescribeSpotFleetRequestHistoryResponse> {
    let snapshot = cx.read();
    let fleet = ops::find(&snapshot, &cx, Named::SpotFleet, &input.spot_fleet_request_id)?;
    let kind = input.event_type.as_deref();
    let allowed = ["instanceChange", "fleetRequestChange", "error", "information"];
    kind.map_or(Ok(()), |kind| one_of("EventType", kind, &allowed))?;
    let from = Timestamp(input.start_time.0);
    let listing = listing(None, input.max_results, input.next_token);
    listing.check_max_results(1..=1000)?;
    let mut events = ops::events(&snapshot, &cx, &fleet.id);
    events.retain(|event| event.at >= from && kind.is_none_or(|kind| event.kind == kind));
    let (events, next_token) = listing.page(events, |event| store::Record::key(&**event))?;
    dry_run(input.dry_run)?;
    let record = |event: w::HistoryRecordEntry| w::HistoryRecord {
        event_information: event.event_information,
        event_type: event.event_type,
        timestamp: event.timestamp,
    };
    let records = events.iter().map(|event| record(super::out::event(event)));
    Ok(w::DescribeSpotFleetRequestHistoryResponse {
        history_records: Some(records.collect()),
        last_evaluated_time: Some(wire::Timestamp(cx.now.0)),
        next_token,
        spot_fleet_request_id: Some(fleet.id.clone()),
        start_time: Some(input.start_time),
    })
}

async fn modify(
    cx: Context,
    input: w::ModifySpotFleetRequestRequest,
) -> Result<w::ModifySpotFleetRequestResponse> {
    let w::ModifySpotFleetRequestRequest {
        context,
        excess_capacity_termination_policy,
        launch_template_configs,
        on_demand_target_capacity,
        spot_fleet_request_id: id,
        target_capacity,
    } = input;
    refuse_some(&context, "Context")?;
    let configs = launch_template_configs.unwrap_or_default();
    let configs: Vec<Config> = configs.into_iter().map(template).collect::<Result<_>>()?;
    let terminate_excess = excess(excess_capacity_termination_policy)?;
    cx.write(|tx| {
        let known = ops::find(tx, &cx, Named::SpotFleet, &id)?.wanted.target;
        let total = target_capacity.unwrap_or(known.total as i32);
        let on_demand = on_demand_target_capacity.unwrap_or(known.on_demand as i32);
        let changes = Changes {
            target: Some(target(total, on_demand)?),
            terminate_excess,
            configs: configs.clone(),
        };
        change::modify(tx, &cx, Named::SpotFleet, &id, &changes)
    })
    .await?;
    Ok(w::ModifySpotFleetRequestResponse { r#return: Some(true) })
}

async fn cancel(
    cx: Context,
    input: w::CancelSpotFleetRequestsRequest,
) -> Result<w::CancelSpotFleetRequestsResponse> {
    let answers = cx
        .write(|tx| {
            let ids = &input.spot_fleet_request_ids;
            let answers =
                change::delete_all(tx, &cx, Named::SpotFleet, ids, input.terminate_instances);
            dry_run(input.dry_run)?;
            Ok::<_, Error>(answers)
        })
        .await?;
    let (mut successes, mut failures) = (Vec::new(), Vec::new());
    for (id, answer) in answers {
        match answer {
            Ok((before, now)) => successes.push(w::CancelSpotFleetRequestsSuccessItem {
                current_spot_fleet_request_state: Some(now.name(true).to_owned()),
                previous_spot_fleet_request_state: Some(before.name(true).to_owned()),
                spot_fleet_request_id: Some(id),
            }),
            Err((why, message)) => {
                let code = match why {
                    Undeletable::Malformed => "fleetRequestIdMalformed",
                    Undeletable::Unknown => "fleetRequestIdDoesNotExist",
                    Undeletable::State => "fleetRequestNotInCancellableState",
                    Undeletable::Unexpected => "unexpectedError",
                };
                failures.push(w::CancelSpotFleetRequestsErrorItem {
                    error: Some(w::CancelSpotFleetRequestsError {
                        code: Some(code.to_owned()),
                        message: Some(message),
                    }),
                    spot_fleet_request_id: Some(id),
                });
            }
        }
    }
    Ok(w::CancelSpotFleetRequestsResponse {
        successful_fleet_requests: Some(successes),
        unsuccessful_fleet_requests: Some(failures),
    })
}

//! Fleets on the wire.

mod out;
mod spot_fleet;

use wire::ec2 as w;

use super::change::{self, Changes, Undeletable};
use super::describe;
use super::model::{Config, Kind, Lifecycle, Member, Options, Override, Strategy, Target, Wanted};
use super::ops;
use crate::ec2::catalog::handlers::requirements;
use crate::ec2::handlers::{listing, one_of, refuse, tags_by_type};
use crate::ec2::instance::handlers::launch::{
    self as run, interruption_behavior, refuse_list, refuse_some,
};
use crate::ec2::instance::launch::{Launch, Template};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Kind as Named, Result, client_token};
use crate::services::{Entry, serve};
use crate::{Context, Timestamp};

pub fn operations() -> Vec<Entry> {
    let mut entries = spot_fleet::operations();
    entries.extend([
        serve::<w::CreateFleet, _, _, _>(create_fleet),
        serve::<w::DescribeFleets, _, _, _>(describe_fleets),
        serve::<w::DescribeFleetInstances, _, _, _>(describe_fleet_instances),
        serve::<w::DescribeFleetHistory, _, _, _>(describe_fleet_history),
        serve::<w::ModifyFleet, _, _, _>(modify_fleet),
        serve::<w::DeleteFleets, _, _, _>(delete_fleets),
    ]);
    entries
}

async fn create_fleet(cx: Context, input: w::CreateFleetRequest) -> Result<w::CreateFleetResult> {
    let w::CreateFleetRequest {
        client_token,
        context,
        dry_run: dry,
        excess_capacity_termination_policy,
        launch_template_configs,
        on_demand_options,
        replace_unhealthy_instances,
        reserved_capacity_options,
        spot_options,
        tag_specifications,
        target_capacity_specification,
        terminate_instances_with_expiration,
        r#type,
        valid_from,
        valid_until,
    } = input;
    refuse_some(&context, "Context")?;
    refuse_some(&reserved_capacity_options, "ReservedCapacityOptions")?;
    let kind = match r#type.as_deref() {
        Some("instant") => Kind::Instant,
        Some("request") => Kind::Request,
        None | Some("maintain") => Kind::Maintain,
        Some(other) => {
            return one_of("Type", other, &["instant", "maintain", "request"])
                .and(Err(Error::value("Type")));
        }
    };
    let instant = kind == Kind::Instant;
    let behavior = spot_options.as_ref().and_then(|o| o.instance_interruption_behavior.clone());
    let behavior = interruption_behavior(behavior)?;
    let wanted = Wanted {
        kind,
        configs: launch_template_configs.into_iter().map(config).collect::<Result<_>>()?,
        target: target(target_capacity_specification)?,
        spot: spot(spot_options, instant)?,
        on_demand: on_demand(on_demand_options, instant)?,
        behavior,
        terminate_excess: excess(excess_capacity_termination_policy)?.unwrap_or(true),
        replace_unhealthy: replace_unhealthy_instances == Some(true),
        terminate_at_end: terminate_instances_with_expiration == Some(true),
        valid_from: valid_from.map(|at| Timestamp(at.0)),
        valid_until: valid_until.map(|at| Timestamp(at.0)),
        spot_fleet: None,
    };
    let tags = tags_by_type(tag_specifications)?;
    let token = client_token::of(client_token.as_deref(), &(&wanted, &tags))?;
    let fleet = cx
        .write(|tx| {
            let fleet = ops::create(tx, &cx, &wanted, &tags, &token)?;
            dry_run(dry)?;
            Ok::<_, Error>(fleet)
        })
        .await?;
    Ok(out::created(&cx, &fleet))
}

fn excess(policy: Option<String>) -> Result<Option<bool>> {
    let Some(policy) = policy else { return Ok(None) };
    one_of("ExcessCapacityTerminationPolicy", &policy, &["no-termination", "termination"])?;
    Ok(Some(policy == "termination"))
}

fn target(asked: w::TargetCapacitySpecificationRequest) -> Result<Target> {
    let w::TargetCapacitySpecificationRequest {
        default_target_capacity_type,
        on_demand_target_capacity,
        spot_target_capacity,
        target_capacity_unit_type,
        total_target_capacity,
    } = asked;
    refuse(
        target_capacity_unit_type.is_some_and(|unit| unit != "units"),
        "TargetCapacityUnitType other than 'units'",
    )?;
    let default = match default_target_capacity_type.as_deref() {
        Some("spot") => Lifecycle::Spot,
        None | Some("on-demand") => Lifecycle::OnDemand,
        Some("capacity-block") => {
            return Err(Error::unsupported("DefaultTargetCapacityType 'capacity-block'"));
        }
        Some(other) => {
            return Err(Error::value(format!(
                "Value ({other}) for parameter DefaultTargetCapacityType is invalid. Valid values: \
                 on-demand, spot."
            )));
        }
    };
    let number = |name: &str, n: i32| {
        u32::try_from(n)
            .map_err(|_| Error::value(format!("Value ({n}) for parameter {name} is invalid.")))
    };
    Ok(Target {
        total: number("TotalTargetCapacity", total_target_capacity)?,
        on_demand: number("OnDemandTargetCapacity", on_demand_target_capacity.unwrap_or(0))?,
        spot: number("SpotTargetCapacity", spot_target_capacity.unwrap_or(0))?,
        default,
    })
}

fn strategy(text: Option<&str>, allowed: &[Strategy]) -> Result<Strategy> {
    let Some(text) = text else { return Ok(Strategy::LowestPrice) };
    let found = allowed.iter().find(|strategy| strategy.name() == text);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = allowed.iter().map(|strategy| strategy.name()).collect();
        Error::value(format!(
            "Value ({text}) for parameter AllocationStrategy is invalid. Valid values: {}.",
            names.join(", ")
        ))
    })
}

fn singles(one_type: Option<bool>, one_zone: Option<bool>, instant: bool) -> Result<(bool, bool)> {
    let (one_type, one_zone) = (one_type == Some(true), one_zone == Some(true));
    if (one_type || one_zone) && !instant {
        return Err(Error::combination(
            "SingleInstanceType and SingleAvailabilityZone are supported for fleets of type instant \
             only.",
        ));
    }
    Ok((one_type, one_zone))
}

fn spot(options: Option<w::SpotOptionsRequest>, instant: bool) -> Result<Options> {
    let w::SpotOptionsRequest {
        allocation_strategy,
        instance_interruption_behavior: _,
        instance_pools_to_use_count,
        maintenance_strategies,
        max_total_price,
        min_target_capacity,
        single_availability_zone,
        single_instance_type,
    } = options.unwrap_or_default();
    refuse_some(&maintenance_strategies, "MaintenanceStrategies")?;
    refuse_some(&max_total_price, "MaxTotalPrice")?;
    refuse_some(&min_target_capacity, "MinTargetCapacity")?;
    let strategy = strategy(
        allocation_strategy.as_deref(),
        &[
            Strategy::LowestPrice,
            Strategy::Diversified,
            Strategy::CapacityOptimized,
            Strategy::CapacityOptimizedPrioritized,
            Strategy::PriceCapacityOptimized,
        ],
    )?;
    let pools = instance_pools_to_use_count.unwrap_or(1);
    if pools < 1 {
        return Err(Error::value("InstancePoolsToUseCount must be at least 1."));
    }
    if instance_pools_to_use_count.is_some() && strategy != Strategy::LowestPrice {
        return Err(Error::combination(
            "InstancePoolsToUseCount is supported for the allocation strategy lowest-price only.",
        ));
    }
    let (single_type, single_zone) =
        singles(single_instance_type, single_availability_zone, instant)?;
    Ok(Options { strategy, pools: pools as u32, single_type, single_zone })
}

fn on_demand(options: Option<w::OnDemandOptionsRequest>, instant: bool) -> Result<Options> {
    let w::OnDemandOptionsRequest {
        allocation_strategy,
        capacity_reservation_options,
        max_total_price,
        min_target_capacity,
        single_availability_zone,
        single_instance_type,
    } = options.unwrap_or_default();
    refuse_some(&capacity_reservation_options, "CapacityReservationOptions")?;
    refuse_some(&max_total_price, "MaxTotalPrice")?;
    refuse_some(&min_target_capacity, "MinTargetCapacity")?;
    let strategy =
        strategy(allocation_strategy.as_deref(), &[Strategy::LowestPrice, Strategy::Prioritized])?;
    let (single_type, single_zone) =
        singles(single_instance_type, single_availability_zone, instant)?;
    Ok(Options { strategy, pools: 1, single_type, single_zone })
}

fn config(asked: w::FleetLaunchTemplateConfigRequest) -> Result<Config> {
    let specification = asked
        .launch_template_specification
        .ok_or(Error::MissingParameter("LaunchTemplateSpecification"))?;
    let w::FleetLaunchTemplateSpecificationRequest {
        launch_template_id,
        launch_template_name,
        launch_template_specification_user_data,
        version,
    } = specification;
    refuse_some(&launch_template_specification_user_data, "LaunchTemplateSpecificationUserData")?;
    let overrides = asked.overrides.unwrap_or_default();
    Ok(Config {
        template: Template { id: launch_template_id, name: launch_template_name, version },
        specification: None,
        overrides: overrides.into_iter().map(over).collect::<Result<_>>()?,
    })
}

fn over(asked: w::FleetLaunchTemplateOverridesRequest) -> Result<Override> {
    let w::FleetLaunchTemplateOverridesRequest {
        availability_zone,
        availability_zone_id,
        block_device_mappings,
        iam_instance_profile,
        image_id,
        instance_requirements,
        instance_type,
        key_name,
        max_price,
        metadata_options,
        placement,
        priority,
        subnet_id,
        weighted_capacity,
    } = asked;
    refuse_some(&availability_zone_id, "Overrides.AvailabilityZoneId")?;
    refuse_list(&block_device_mappings, "Overrides.BlockDeviceMappings")?;
    refuse_some(&iam_instance_profile, "Overrides.IamInstanceProfile")?;
    if instance_type.is_some() && instance_requirements.is_some() {
        return Err(Error::combination(
            "An override cannot specify both InstanceType and InstanceRequirements.",
        ));
    }
    refuse_some(&key_name, "Overrides.KeyName")?;
    refuse_some(&metadata_options, "Overrides.MetadataOptions")?;
    let mut placed = Launch::default();
    if let Some(placement) = placement {
        run::place(&mut placed, placement)?;
    }
    refuse_some(&placed.zone.or(placed.zone_id), "Overrides.Placement.AvailabilityZone")?;
    refuse_some(&placed.partition, "Overrides.Placement.PartitionNumber")?;
    if availability_zone.is_some() && subnet_id.is_some() {
        return Err(Error::combination(
            "An override cannot specify both AvailabilityZone and SubnetId.",
        ));
    }
    Ok(Override {
        instance_type,
        requirements: instance_requirements.map(requirements::requirements).transpose()?,
        image_id,
        subnet_id,
        zone: availability_zone,
        placement_group: placed.placement_group,
        max_price,
        priority,
        weight: weighted_capacity,
    })
}

async fn describe_fleets(
    cx: Context,
    input: w::DescribeFleetsRequest,
) -> Result<w::DescribeFleetsResult> {
    let snapshot = cx.read();
    let ids = input.fleet_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::describe(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let fleets = found.iter().map(|fleet| out::fleet(&snapshot, &cx, fleet)).collect();
    Ok(w::DescribeFleetsResult { fleets: Some(fleets), next_token })
}

/// Those calls that AWS does not have for fleets of type instant.
fn not_instant(fleet: &super::model::Fleet, call: &str) -> Result<()> {
    match fleet.wanted.kind {
        Kind::Instant => Err(Error::UnsupportedOperation(format!(
            "{call} does not support fleets of type instant."
        ))),
        Kind::Request | Kind::Maintain => Ok(()),
    }
}

async fn describe_fleet_instances(
    cx: Context,
    input: w::DescribeFleetInstancesRequest,
) -> Result<w::DescribeFleetInstancesResult> {
    let snapshot = cx.read();
    let fleet = ops::fleet(&snapshot, &cx, &input.fleet_id)?;
    not_instant(&fleet, "DescribeFleetInstances")?;
    let listing = listing(input.filters, input.max_results, input.next_token);
    listing.check(&["instance-type"], false)?;
    listing.check_max_results(1..=1000)?;
    let mut members: Vec<Member> = fleet.active().cloned().collect();
    members
        .retain(|member| listing.keeps(Default::default, |_| vec![member.instance_type.clone()]));
    members.sort_by(|a, b| a.instance_id.cmp(&b.instance_id));
    let (members, next_token) = listing.page(members, |member| member.instance_id.clone())?;
    dry_run(input.dry_run)?;
    let members = members.iter().map(|member| out::active(&snapshot, &cx, member)).collect();
    Ok(w::DescribeFleetInstancesResult {
        active_instances: Some(members),
        fleet_id: Some(fleet.id.clone()),
        next_token,
    })
}

async fn describe_fleet_history(
    cx: Context,
    input: w::DescribeFleetHistoryRequest,
) -> Result<w::DescribeFleetHistoryResult> {
    let snapshot = cx.read();
    let fleet = ops::fleet(&snapshot, &cx, &input.fleet_id)?;
    not_instant(&fleet, "DescribeFleetHistory")?;
    let kind = match input.event_type.as_deref() {
        None => None,
        Some("instance-change") => Some("instanceChange"),
        Some("fleet-change") => Some("fleetRequestChange"),
        Some("service-error") => Some("error"),
        Some(other) => {
            let allowed = ["instance-change", "fleet-change", "service-error"];
            return one_of("EventType", other, &allowed).and(Err(Error::value("EventType")));
        }
    };
    let from = Timestamp(input.start_time.0);
    let listing = listing(None, input.max_results, input.next_token);
    listing.check_max_results(1..=1000)?;
    let mut events = ops::events(&snapshot, &cx, &fleet.id);
    events.retain(|event| event.at >= from && kind.is_none_or(|kind| event.kind == kind));
    let (events, next_token) = listing.page(events, |event| store::Record::key(&**event))?;
    dry_run(input.dry_run)?;
    Ok(w::DescribeFleetHistoryResult {
        fleet_id: Some(fleet.id.clone()),
        history_records: Some(events.iter().map(|event| out::event(event)).collect()),
        last_evaluated_time: Some(wire::Timestamp(cx.now.0)),
        next_token,
        start_time: Some(input.start_time),
    })
}

async fn modify_fleet(cx: Context, input: w::ModifyFleetRequest) -> Result<w::ModifyFleetResult> {
    let w::ModifyFleetRequest {
        context,
        dry_run: dry,
        excess_capacity_termination_policy,
        fleet_id,
        launch_template_configs,
        target_capacity_specification,
    } = input;
    refuse_some(&context, "Context")?;
    let configs = launch_template_configs.unwrap_or_default();
    let changes = Changes {
        target: target_capacity_specification.map(target).transpose()?,
        terminate_excess: excess(excess_capacity_termination_policy)?,
        configs: configs.into_iter().map(config).collect::<Result<_>>()?,
    };
    cx.write(|tx| {
        change::modify(tx, &cx, Named::Fleet, &fleet_id, &changes)?;
        dry_run(dry)
    })
    .await?;
    Ok(w::ModifyFleetResult { r#return: Some(true) })
}

async fn delete_fleets(
    cx: Context,
    input: w::DeleteFleetsRequest,
) -> Result<w::DeleteFleetsResult> {
    let answers = cx
        .write(|tx| {
            let answers = change::delete_all(
                tx,
                &cx,
                Named::Fleet,
                &input.fleet_ids,
                input.terminate_instances,
            );
            dry_run(input.dry_run)?;
            Ok::<_, Error>(answers)
        })
        .await?;
    let (mut successes, mut failures) = (Vec::new(), Vec::new());
    for (id, answer) in answers {
        match answer {
            Ok((before, now)) => successes.push(w::DeleteFleetSuccessItem {
                current_fleet_state: Some(now.name(false).to_owned()),
                fleet_id: Some(id),
                previous_fleet_state: Some(before.name(false).to_owned()),
            }),
            Err((why, message)) => {
                let code = match why {
                    Undeletable::Malformed => "fleetIdMalformed",
                    Undeletable::Unknown => "fleetIdDoesNotExist",
                    Undeletable::State => "fleetNotInDeletableState",
                    Undeletable::Unexpected => "unexpectedError",
                };
                failures.push(w::DeleteFleetErrorItem {
                    error: Some(w::DeleteFleetError {
                        code: Some(code.to_owned()),
                        message: Some(message),
                    }),
                    fleet_id: Some(id),
                });
            }
        }
    }
    Ok(w::DeleteFleetsResult {
        successful_fleet_deletions: Some(successes),
        unsuccessful_fleet_deletions: Some(failures),
    })
}

//! Auto Scaling on the wire: requests to operations and records to answers. What this cloud has not
//! is refused here by the name of its member.

mod describe;

use std::collections::BTreeMap;

use wire::autoscaling as w;

use super::model::{self, Preference, Reservations};
use super::ops::{self, Settings};
use super::policies::{self, TargetTracking};
use super::tags::{self, Line};
use super::{Error, Result};
use crate::Context;
use crate::ec2::instance::launch::Template;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::AttachLoadBalancerTargetGroups, _, _, _>(attach_target_groups),
        serve::<w::CreateAutoScalingGroup, _, _, _>(create_group),
        serve::<w::CreateOrUpdateTags, _, _, _>(create_or_update_tags),
        serve::<w::DeleteAutoScalingGroup, _, _, _>(delete_group),
        serve::<w::DeletePolicy, _, _, _>(delete_policy),
        serve::<w::DeleteTags, _, _, _>(delete_tags),
        serve::<w::DescribeAccountLimits, _, _, _>(describe::account_limits),
        serve::<w::DescribeAdjustmentTypes, _, _, _>(describe::adjustment_types),
        serve::<w::DescribeAutoScalingGroups, _, _, _>(describe::groups),
        serve::<w::DescribeAutoScalingInstances, _, _, _>(describe::instances),
        serve::<w::DescribeLoadBalancerTargetGroups, _, _, _>(describe::target_groups),
        serve::<w::DescribePolicies, _, _, _>(describe::policies),
        serve::<w::DescribeScalingActivities, _, _, _>(describe::activities),
        serve::<w::DescribeScalingProcessTypes, _, _, _>(describe::process_types),
        serve::<w::DescribeTags, _, _, _>(describe::tags),
        serve::<w::DescribeTerminationPolicyTypes, _, _, _>(describe::termination_policies),
        serve::<w::DetachLoadBalancerTargetGroups, _, _, _>(detach_target_groups),
        serve::<w::PutScalingPolicy, _, _, _>(put_policy),
        serve::<w::ResumeProcesses, _, _, _>(resume_processes),
        serve::<w::SetDesiredCapacity, _, _, _>(set_desired_capacity),
        serve::<w::SetInstanceHealth, _, _, _>(set_instance_health),
        serve::<w::SetInstanceProtection, _, _, _>(set_instance_protection),
        serve::<w::SuspendProcesses, _, _, _>(suspend_processes),
        serve::<w::TerminateInstanceInAutoScalingGroup, _, _, _>(terminate_instance),
        serve::<w::UpdateAutoScalingGroup, _, _, _>(update_group),
    ]
}

async fn create_group(
    cx: Context,
    input: w::CreateAutoScalingGroupType,
) -> Result<w::CreateAutoScalingGroupOutput> {
    refuse("LaunchConfigurationName", &input.launch_configuration_name)?;
    refuse("MixedInstancesPolicy", &input.mixed_instances_policy)?;
    refuse("InstanceId", &input.instance_id)?;
    refuse("ServiceLinkedRoleARN", &input.service_linked_role_arn)?;
    refuse("Context", &input.context)?;
    refuse("InstanceLifecyclePolicy", &input.instance_lifecycle_policy)?;
    refuse("Operator", &input.operator)?;
    refuse_some("AvailabilityZoneIds", &input.availability_zone_ids)?;
    refuse_some("LoadBalancerNames", &input.load_balancer_names)?;
    refuse_some("LifecycleHookSpecificationList", &input.lifecycle_hook_specification_list)?;
    only_default("CapacityRebalance", &input.capacity_rebalance, &false)?;
    only_default("DesiredCapacityType", &input.desired_capacity_type, "units")?;
    only_default("DeletionProtection", &input.deletion_protection, "none")?;
    only_usual_zones(
        input.availability_zone_distribution.as_ref(),
        input.availability_zone_impairment_policy.as_ref(),
    )?;
    no_maintenance_policy(input.instance_maintenance_policy.as_ref())?;
    let mut target_groups = input.target_group_arns.unwrap_or_default();
    for source in input.traffic_sources.unwrap_or_default() {
        match source.r#type.as_deref() {
            None | Some("elbv2") => target_groups.push(source.identifier),
            Some(other) => {
                return Err(Error::unsupported(format_args!("The traffic source type {other}")));
            }
        }
    }
    let name = input.auto_scaling_group_name;
    let tags = group_tags(&name, input.tags.unwrap_or_default())?;
    let settings = Settings {
        min: Some(input.min_size),
        max: Some(input.max_size),
        desired: input.desired_capacity,
        default_cooldown: input.default_cooldown,
        zones: input.availability_zones,
        subnets: input.vpc_zone_identifier,
        placement_group: input.placement_group,
        reservations: input.capacity_reservation_specification.map(reservations).transpose()?,
        template: input.launch_template.map(template),
        health_check_type: input.health_check_type,
        grace: input.health_check_grace_period,
        new_instances_protected: input.new_instances_protected_from_scale_in,
        termination_policies: input.termination_policies,
        max_instance_lifetime: input.max_instance_lifetime,
        default_warmup: input.default_instance_warmup,
    };
    cx.write(|tx| ops::create(tx, &cx, &name, &settings, target_groups.clone(), tags.clone()))
        .await?;
    Ok(w::CreateAutoScalingGroupOutput::default())
}

async fn update_group(
    cx: Context,
    input: w::UpdateAutoScalingGroupType,
) -> Result<w::UpdateAutoScalingGroupOutput> {
    refuse("LaunchConfigurationName", &input.launch_configuration_name)?;
    refuse("MixedInstancesPolicy", &input.mixed_instances_policy)?;
    refuse("ServiceLinkedRoleARN", &input.service_linked_role_arn)?;
    refuse("Context", &input.context)?;
    refuse("InstanceLifecyclePolicy", &input.instance_lifecycle_policy)?;
    refuse_some("AvailabilityZoneIds", &input.availability_zone_ids)?;
    only_default("CapacityRebalance", &input.capacity_rebalance, &false)?;
    only_default("DesiredCapacityType", &input.desired_capacity_type, "units")?;
    only_default("DeletionProtection", &input.deletion_protection, "none")?;
    only_usual_zones(
        input.availability_zone_distribution.as_ref(),
        input.availability_zone_impairment_policy.as_ref(),
    )?;
    no_maintenance_policy(input.instance_maintenance_policy.as_ref())?;
    let settings = Settings {
        min: input.min_size,
        max: input.max_size,
        desired: input.desired_capacity,
        default_cooldown: input.default_cooldown,
        zones: input.availability_zones,
        subnets: input.vpc_zone_identifier,
        placement_group: input.placement_group,
        reservations: input.capacity_reservation_specification.map(reservations).transpose()?,
        template: input.launch_template.map(template),
        health_check_type: input.health_check_type,
        grace: input.health_check_grace_period,
        new_instances_protected: input.new_instances_protected_from_scale_in,
        termination_policies: input.termination_policies,
        max_instance_lifetime: input.max_instance_lifetime,
        default_warmup: input.default_instance_warmup,
    };
    cx.write(|tx| ops::update(tx, &cx, &input.auto_scaling_group_name, &settings)).await?;
    Ok(w::UpdateAutoScalingGroupOutput::default())
}

fn refuse<T>(member: &str, value: &Option<T>) -> Result<()> {
    if value.is_some() { Err(Error::unsupported(member)) } else { Ok(()) }
}

fn refuse_some<T>(member: &str, values: &Option<Vec<T>>) -> Result<()> {
    if values.as_ref().is_some_and(|v| !v.is_empty()) {
        return Err(Error::unsupported(member));
    }
    Ok(())
}

/// For members of which only AWS's default is real here.
fn only_default<T, D>(member: &str, value: &Option<T>, default: &D) -> Result<()>
where
    T: std::borrow::Borrow<D> + std::fmt::Display,
    D: PartialEq + ?Sized,
{
    match value {
        Some(value) if value.borrow() != default => {
            Err(Error::unsupported(format_args!("{member} {value}")))
        }
        _ => Ok(()),
    }
}

fn only_usual_zones(
    distribution: Option<&w::AvailabilityZoneDistribution>,
    impairment: Option<&w::AvailabilityZoneImpairmentPolicy>,
) -> Result<()> {
    if let Some(distribution) = distribution {
        let strategy = &distribution.capacity_distribution_strategy;
        only_default("CapacityDistributionStrategy", strategy, "balanced-best-effort")?;
    }
    if let Some(impairment) = impairment {
        only_default("ZonalShiftEnabled", &impairment.zonal_shift_enabled, &false)?;
        let behavior = &impairment.impaired_zone_health_check_behavior;
        only_default("ImpairedZoneHealthCheckBehavior", behavior, "ReplaceUnhealthy")?;
    }
    Ok(())
}

/// `None`: as the launch template says.
fn reservations(asked: w::CapacityReservationSpecification) -> Result<Option<Reservations>> {
    let target = asked.capacity_reservation_target.unwrap_or_default();
    let groups = &target.capacity_reservation_resource_group_arns;
    refuse_some("CapacityReservationResourceGroupArns", groups)?;
    let targets = target.capacity_reservation_ids.unwrap_or_default();
    let word = asked.capacity_reservation_preference.unwrap_or_else(|| "default".to_owned());
    let preference = Preference::ALL.into_iter().find(|known| known.name() == word);
    if preference.is_none() && word != "default" {
        return Err(Error::validation(format!("Invalid CapacityReservationPreference {word}.")));
    }
    if !targets.is_empty() && matches!(preference, None | Some(Preference::None)) {
        return Err(Error::validation(
            "CapacityReservationTarget can be given only with the CapacityReservationPreference \
             capacity-reservations-only or capacity-reservations-first.",
        ));
    }
    Ok(preference.map(|preference| Reservations { preference, targets }))
}

/// -1 stands for none.
fn no_maintenance_policy(policy: Option<&w::InstanceMaintenancePolicy>) -> Result<()> {
    let Some(policy) = policy else { return Ok(()) };
    let none = |n: Option<i32>| n.is_none_or(|n| n == -1);
    if none(policy.min_healthy_percentage) && none(policy.max_healthy_percentage) {
        return Ok(());
    }
    Err(Error::unsupported("InstanceMaintenancePolicy"))
}

fn template(specification: w::LaunchTemplateSpecification) -> Template {
    Template {
        id: specification.launch_template_id,
        name: specification.launch_template_name,
        version: specification.version,
    }
}

async fn delete_group(
    cx: Context,
    input: w::DeleteAutoScalingGroupType,
) -> Result<w::DeleteAutoScalingGroupOutput> {
    let force = input.force_delete.unwrap_or(false);
    cx.write(|tx| ops::delete(tx, &cx, &input.auto_scaling_group_name, force)).await?;
    Ok(w::DeleteAutoScalingGroupOutput::default())
}

async fn set_desired_capacity(
    cx: Context,
    input: w::SetDesiredCapacityType,
) -> Result<w::SetDesiredCapacityOutput> {
    let honor = input.honor_cooldown.unwrap_or(false);
    let (name, desired) = (&input.auto_scaling_group_name, input.desired_capacity);
    cx.write(|tx| ops::set_desired_capacity(tx, &cx, name, desired, honor)).await?;
    Ok(w::SetDesiredCapacityOutput::default())
}

async fn attach_target_groups(
    cx: Context,
    input: w::AttachLoadBalancerTargetGroupsType,
) -> Result<w::AttachLoadBalancerTargetGroupsResultType> {
    let (name, arns) = (&input.auto_scaling_group_name, &input.target_group_arns);
    cx.write(|tx| ops::attach_target_groups(tx, &cx, name, arns)).await?;
    Ok(w::AttachLoadBalancerTargetGroupsResultType::default())
}

async fn detach_target_groups(
    cx: Context,
    input: w::DetachLoadBalancerTargetGroupsType,
) -> Result<w::DetachLoadBalancerTargetGroupsResultType> {
    let (name, arns) = (&input.auto_scaling_group_name, &input.target_group_arns);
    cx.write(|tx| ops::detach_target_groups(tx, &cx, name, arns)).await?;
    Ok(w::DetachLoadBalancerTargetGroupsResultType::default())
}

async fn terminate_instance(
    cx: Context,
    input: w::TerminateInstanceInAutoScalingGroupType,
) -> Result<w::ActivityType> {
    refuse("InstanceIds", &input.instance_ids)?;
    refuse("AutoScalingGroupName", &input.auto_scaling_group_name)?;
    let id = input.instance_id.ok_or_else(|| Error::validation("InstanceId must be given."))?;
    let decrement = input.should_decrement_desired_capacity;
    let activity = cx.write(|tx| ops::terminate_instance(tx, &cx, &id, decrement)).await?;
    Ok(w::ActivityType { activity: Some(describe::activity_shape(&activity)), activities: None })
}

async fn set_instance_health(
    cx: Context,
    input: w::SetInstanceHealthQuery,
) -> Result<w::SetInstanceHealthOutput> {
    let respect = input.should_respect_grace_period.unwrap_or(true);
    let (id, status) = (&input.instance_id, &input.health_status);
    cx.write(|tx| ops::set_instance_health(tx, &cx, id, status, respect)).await?;
    Ok(w::SetInstanceHealthOutput::default())
}

async fn set_instance_protection(
    cx: Context,
    input: w::SetInstanceProtectionQuery,
) -> Result<w::SetInstanceProtectionAnswer> {
    let (name, ids) = (&input.auto_scaling_group_name, &input.instance_ids);
    let protected = input.protected_from_scale_in;
    cx.write(|tx| ops::set_instance_protection(tx, &cx, name, ids, protected)).await?;
    Ok(w::SetInstanceProtectionAnswer::default())
}

async fn suspend_processes(
    cx: Context,
    input: w::ScalingProcessQuery,
) -> Result<w::SuspendProcessesOutput> {
    let names = input.scaling_processes.unwrap_or_default();
    let group = &input.auto_scaling_group_name;
    cx.write(|tx| ops::suspend_processes(tx, &cx, group, &names)).await?;
    Ok(w::SuspendProcessesOutput::default())
}

async fn resume_processes(
    cx: Context,
    input: w::ScalingProcessQuery,
) -> Result<w::ResumeProcessesOutput> {
    let names = input.scaling_processes.unwrap_or_default();
    let group = &input.auto_scaling_group_name;
    cx.write(|tx| ops::resume_processes(tx, &cx, group, &names)).await?;
    Ok(w::ResumeProcessesOutput::default())
}

async fn put_policy(cx: Context, input: w::PutScalingPolicyType) -> Result<w::PolicyARNType> {
    match input.policy_type.as_deref() {
        Some("TargetTrackingScaling") => {}
        None | Some("SimpleScaling") => {
            return Err(Error::unsupported("The policy type SimpleScaling"));
        }
        Some(other) => return Err(Error::unsupported(format_args!("The policy type {other}"))),
    }
    let unfit = |member: &str, given: bool| match given {
        true => Err(Error::validation(format!(
            "{member} must not be given for the policy type TargetTrackingScaling."
        ))),
        false => Ok(()),
    };
    unfit("AdjustmentType", input.adjustment_type.is_some())?;
    unfit("MinAdjustmentStep", input.min_adjustment_step.is_some())?;
    unfit("MinAdjustmentMagnitude", input.min_adjustment_magnitude.is_some())?;
    unfit("ScalingAdjustment", input.scaling_adjustment.is_some())?;
    unfit("Cooldown", input.cooldown.is_some())?;
    unfit("MetricAggregationType", input.metric_aggregation_type.is_some())?;
    unfit("StepAdjustments", input.step_adjustments.is_some_and(|steps| !steps.is_empty()))?;
    unfit("PredictiveScalingConfiguration", input.predictive_scaling_configuration.is_some())?;
    let tracking = input.target_tracking_configuration.ok_or_else(|| {
        Error::validation(
            "TargetTrackingConfiguration must be given for the policy type TargetTrackingScaling.",
        )
    })?;
    refuse("CustomizedMetricSpecification", &tracking.customized_metric_specification)?;
    let metric = tracking
        .predefined_metric_specification
        .ok_or_else(|| Error::validation("PredefinedMetricSpecification must be given."))?;
    let wanted = TargetTracking {
        group: input.auto_scaling_group_name,
        name: input.policy_name,
        enabled: input.enabled.unwrap_or(true),
        warmup_seconds: input.estimated_instance_warmup,
        metric: metric.predefined_metric_type,
        resource_label: metric.resource_label,
        target: tracking.target_value,
        disable_scale_in: tracking.disable_scale_in.unwrap_or(false),
    };
    let policy = cx.write(|tx| policies::put(tx, &cx, &wanted)).await?;
    Ok(w::PolicyARNType {
        policy_arn: Some(policy.arn()),
        alarms: Some(describe::alarm_shapes(&policy)),
    })
}

async fn delete_policy(cx: Context, input: w::DeletePolicyType) -> Result<w::DeletePolicyOutput> {
    let group = input.auto_scaling_group_name.as_deref();
    cx.write(|tx| policies::delete(tx, &cx, group, &input.policy_name)).await?;
    Ok(w::DeletePolicyOutput::default())
}

async fn create_or_update_tags(
    cx: Context,
    input: w::CreateOrUpdateTagsType,
) -> Result<w::CreateOrUpdateTagsOutput> {
    let lines: Vec<Line> =
        input.tags.into_iter().map(|tag| line(tag, None)).collect::<Result<_>>()?;
    cx.write(|tx| tags::create_or_update(tx, &cx, &lines)).await?;
    Ok(w::CreateOrUpdateTagsOutput::default())
}

async fn delete_tags(cx: Context, input: w::DeleteTagsType) -> Result<w::DeleteTagsOutput> {
    let mut wanted = Vec::new();
    for tag in input.tags {
        let value = tag.value.clone();
        let line = line(tag, None)?;
        wanted.push((line.group, line.key, value));
    }
    cx.write(|tx| tags::delete(tx, &cx, &wanted)).await?;
    Ok(w::DeleteTagsOutput::default())
}

/// `group` is the one a request is about, where it is about one.
fn line(tag: w::Tag, group: Option<&str>) -> Result<Line> {
    if tag.resource_type.as_deref().is_some_and(|kind| kind != "auto-scaling-group") {
        return Err(Error::validation("The only supported ResourceType is auto-scaling-group."));
    }
    let named = tag.resource_id.or_else(|| group.map(str::to_owned));
    let Some(named) = named.filter(|named| group.is_none_or(|group| group == named)) else {
        return Err(Error::validation("ResourceId must be the name of an Auto Scaling group."));
    };
    Ok(Line {
        group: named,
        key: tag.key,
        value: tag.value.unwrap_or_default(),
        propagate_at_launch: tag.propagate_at_launch.unwrap_or(false),
    })
}

fn group_tags(group: &str, tags: Vec<w::Tag>) -> Result<BTreeMap<String, model::Tag>> {
    let mut all = BTreeMap::new();
    for tag in tags {
        let line = line(tag, Some(group))?;
        let tag = model::Tag { value: line.value, propagate_at_launch: line.propagate_at_launch };
        all.insert(line.key, tag);
    }
    Ok(all)
}

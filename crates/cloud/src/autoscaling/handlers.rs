//! Auto Scaling on the wire: requests to operations and records to answers. What this cloud has not
//! is refused here by the name of its member.

use std::collections::BTreeMap;

use wire::autoscaling as w;

use super::describe::{self, Page};
use super::model::{self, Group, Member, PolicyMetric, TerminationPolicy};
use super::ops::{self, Settings};
use super::policies::{self, TargetTracking};
use super::tags::{self, Line};
use super::{Error, Result};
use crate::Context;
use crate::clock::Timestamp;
use crate::ec2::instance::launch::Template;
use crate::filter::Filter;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::AttachLoadBalancerTargetGroups, _, _, _>(attach_target_groups),
        serve::<w::CreateAutoScalingGroup, _, _, _>(create_group),
        serve::<w::CreateOrUpdateTags, _, _, _>(create_or_update_tags),
        serve::<w::DeleteAutoScalingGroup, _, _, _>(delete_group),
        serve::<w::DeletePolicy, _, _, _>(delete_policy),
        serve::<w::DeleteTags, _, _, _>(delete_tags),
        serve::<w::DescribeAccountLimits, _, _, _>(describe_account_limits),
        serve::<w::DescribeAdjustmentTypes, _, _, _>(describe_adjustment_types),
        serve::<w::DescribeAutoScalingGroups, _, _, _>(describe_groups),
        serve::<w::DescribeAutoScalingInstances, _, _, _>(describe_instances),
        serve::<w::DescribeLoadBalancerTargetGroups, _, _, _>(describe_target_groups),
        serve::<w::DescribePolicies, _, _, _>(describe_policies),
        serve::<w::DescribeScalingActivities, _, _, _>(describe_activities),
        serve::<w::DescribeScalingProcessTypes, _, _, _>(describe_process_types),
        serve::<w::DescribeTags, _, _, _>(describe_tags),
        serve::<w::DescribeTerminationPolicyTypes, _, _, _>(describe_termination_policies),
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
    refuse("PlacementGroup", &input.placement_group)?;
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
    only_usual_capacity(input.capacity_reservation_specification.as_ref())?;
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
    refuse("PlacementGroup", &input.placement_group.filter(|name| !name.is_empty()))?;
    refuse_some("AvailabilityZoneIds", &input.availability_zone_ids)?;
    only_default("CapacityRebalance", &input.capacity_rebalance, &false)?;
    only_default("DesiredCapacityType", &input.desired_capacity_type, "units")?;
    only_default("DeletionProtection", &input.deletion_protection, "none")?;
    only_usual_zones(
        input.availability_zone_distribution.as_ref(),
        input.availability_zone_impairment_policy.as_ref(),
    )?;
    only_usual_capacity(input.capacity_reservation_specification.as_ref())?;
    no_maintenance_policy(input.instance_maintenance_policy.as_ref())?;
    let settings = Settings {
        min: input.min_size,
        max: input.max_size,
        desired: input.desired_capacity,
        default_cooldown: input.default_cooldown,
        zones: input.availability_zones,
        subnets: input.vpc_zone_identifier,
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

fn only_usual_capacity(specification: Option<&w::CapacityReservationSpecification>) -> Result<()> {
    let Some(specification) = specification else { return Ok(()) };
    refuse("CapacityReservationTarget", &specification.capacity_reservation_target)?;
    let preference = &specification.capacity_reservation_preference;
    only_default("CapacityReservationPreference", preference, "default")
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
    Ok(w::ActivityType { activity: Some(activity_shape(&activity)), activities: None })
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
    Ok(w::PolicyARNType { policy_arn: Some(policy.arn()), alarms: Some(alarm_shapes(&policy)) })
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

async fn describe_groups(
    cx: Context,
    input: w::AutoScalingGroupNamesType,
) -> Result<w::AutoScalingGroupsType> {
    let names = input.auto_scaling_group_names.unwrap_or_default();
    let filters = filters(input.filters);
    let page = Page { size: input.max_records, token: input.next_token, default: 50, maximum: 100 };
    let (groups, next_token) = describe::groups(&cx.read(), &cx, &names, &filters, &page)?;
    let with_instances = input.include_instances.unwrap_or(true);
    let auto_scaling_groups = groups
        .iter()
        .map(|(group, members)| {
            let instances = members.iter().filter(|_| with_instances);
            group_shape(group, instances.map(|member| instance_shape(member)).collect())
        })
        .collect();
    Ok(w::AutoScalingGroupsType { auto_scaling_groups, next_token })
}

fn filters(filters: Option<Vec<w::Filter>>) -> Vec<Filter> {
    let filters = filters.unwrap_or_default().into_iter();
    filters
        .map(|filter| Filter {
            name: filter.name.unwrap_or_default(),
            values: filter.values.unwrap_or_default(),
        })
        .collect()
}

fn group_shape(group: &Group, instances: Vec<w::Instance>) -> w::AutoScalingGroup {
    let template = &group.launch_template;
    let subnets: Vec<&str> =
        group.places.iter().filter(|_| group.by_subnet).map(|p| p.subnet_id.as_str()).collect();
    let traffic = |arn: &String| w::TrafficSourceIdentifier {
        identifier: arn.clone(),
        r#type: Some("elbv2".to_owned()),
    };
    w::AutoScalingGroup {
        auto_scaling_group_arn: Some(group.arn()),
        auto_scaling_group_name: group.name.clone(),
        availability_zones: group.places.iter().map(|place| place.zone.clone()).collect(),
        capacity_rebalance: Some(false),
        created_time: time(group.created),
        default_cooldown: group.default_cooldown_seconds,
        default_instance_warmup: group.default_warmup_seconds,
        desired_capacity: group.desired,
        enabled_metrics: Some(vec![]),
        health_check_grace_period: Some(group.grace_seconds),
        health_check_type: if group.elb_health { "ELB" } else { "EC2" }.to_owned(),
        instances: Some(instances),
        launch_template: Some(w::LaunchTemplateSpecification {
            launch_template_id: Some(template.id.clone()),
            launch_template_name: Some(template.name.clone()),
            version: template.version.clone(),
        }),
        load_balancer_names: Some(vec![]),
        max_instance_lifetime: group.max_instance_lifetime_seconds,
        max_size: group.max,
        min_size: group.min,
        new_instances_protected_from_scale_in: Some(group.new_instances_protected),
        status: group.deleting.map(|_| "Delete in progress".to_owned()),
        suspended_processes: Some(
            group
                .suspended
                .iter()
                .map(|(process, reason)| w::SuspendedProcess {
                    process_name: Some(process.name().to_owned()),
                    suspension_reason: Some(reason.clone()),
                })
                .collect(),
        ),
        tags: Some(tags::of_group(group).iter().map(tag_shape).collect()),
        target_group_arns: Some(group.target_groups.clone()),
        termination_policies: Some(
            group.termination_policies.iter().map(|p| p.name().to_owned()).collect(),
        ),
        traffic_sources: Some(group.target_groups.iter().map(traffic).collect()),
        vpc_zone_identifier: Some(subnets.join(",")),
        ..w::AutoScalingGroup::default()
    }
}

fn tag_shape(line: &Line) -> w::TagDescription {
    w::TagDescription {
        key: Some(line.key.clone()),
        propagate_at_launch: Some(line.propagate_at_launch),
        resource_id: Some(line.group.clone()),
        resource_type: Some("auto-scaling-group".to_owned()),
        value: Some(line.value.clone()),
    }
}

fn member_template(member: &Member) -> Option<w::LaunchTemplateSpecification> {
    Some(w::LaunchTemplateSpecification {
        launch_template_id: Some(member.template.id.clone()),
        launch_template_name: Some(member.template.name.clone()),
        version: Some(member.template_version.to_string()),
    })
}

fn health(member: &Member) -> &'static str {
    if member.unhealthy.is_some() { "Unhealthy" } else { "Healthy" }
}

fn instance_shape(member: &Member) -> w::Instance {
    w::Instance {
        availability_zone: member.zone.clone(),
        health_status: health(member).to_owned(),
        image_id: Some(member.image_id.clone()),
        instance_id: member.instance_id.clone(),
        instance_type: Some(member.instance_type.clone()),
        launch_template: member_template(member),
        lifecycle_state: member.lifecycle.name().to_owned(),
        protected_from_scale_in: member.protected,
        ..w::Instance::default()
    }
}

async fn describe_instances(
    cx: Context,
    input: w::DescribeAutoScalingInstancesType,
) -> Result<w::AutoScalingInstancesType> {
    let ids = input.instance_ids.unwrap_or_default();
    let page = Page { size: input.max_records, token: input.next_token, default: 50, maximum: 50 };
    let (members, next_token) = describe::instances(&cx.read(), &cx, &ids, &page)?;
    let shape = |member: &Member| w::AutoScalingInstanceDetails {
        auto_scaling_group_name: member.group.clone(),
        availability_zone: member.zone.clone(),
        // This call, and only this one, spells them in capitals.
        health_status: health(member).to_uppercase(),
        image_id: Some(member.image_id.clone()),
        instance_id: member.instance_id.clone(),
        instance_type: Some(member.instance_type.clone()),
        launch_template: member_template(member),
        lifecycle_state: member.lifecycle.name().to_owned(),
        protected_from_scale_in: member.protected,
        ..w::AutoScalingInstanceDetails::default()
    };
    let auto_scaling_instances = Some(members.iter().map(|member| shape(member)).collect());
    Ok(w::AutoScalingInstancesType { auto_scaling_instances, next_token })
}

async fn describe_activities(
    cx: Context,
    input: w::DescribeScalingActivitiesType,
) -> Result<w::ActivitiesType> {
    refuse_some("Filters", &input.filters)?;
    let ids = input.activity_ids.unwrap_or_default();
    let deleted = input.include_deleted_groups.unwrap_or(false);
    let group = input.auto_scaling_group_name.as_deref();
    let page =
        Page { size: input.max_records, token: input.next_token, default: 100, maximum: 100 };
    let found = describe::activities(&cx.read(), &cx, group, &ids, deleted, &page)?;
    let (activities, next_token) = found;
    let activities = activities.iter().map(|activity| activity_shape(activity)).collect();
    Ok(w::ActivitiesType { activities, next_token })
}

fn activity_shape(activity: &model::Activity) -> w::Activity {
    w::Activity {
        activity_id: activity.id.clone(),
        auto_scaling_group_arn: Some(activity.group_arn()),
        auto_scaling_group_name: activity.group.clone(),
        auto_scaling_group_state: None,
        cause: activity.cause.chars().take(1023).collect(),
        description: Some(activity.description.clone()),
        details: Some(activity.details.clone()),
        end_time: activity.end.map(time),
        progress: Some(activity.progress),
        start_time: time(activity.start),
        status_code: activity.status.name().to_owned(),
        status_message: activity.status_message.clone(),
    }
}

async fn describe_target_groups(
    cx: Context,
    input: w::DescribeLoadBalancerTargetGroupsRequest,
) -> Result<w::DescribeLoadBalancerTargetGroupsResponse> {
    let page =
        Page { size: input.max_records, token: input.next_token, default: 100, maximum: 100 };
    let name = &input.auto_scaling_group_name;
    let (states, next_token) = describe::target_groups(&cx.read(), &cx, name, &page)?;
    let shape = |(arn, state): (String, &str)| w::LoadBalancerTargetGroupState {
        load_balancer_target_group_arn: Some(arn),
        state: Some(state.to_owned()),
    };
    let states = states.into_iter().map(shape).collect();
    Ok(w::DescribeLoadBalancerTargetGroupsResponse {
        load_balancer_target_groups: Some(states),
        next_token,
    })
}

async fn describe_policies(cx: Context, input: w::DescribePoliciesType) -> Result<w::PoliciesType> {
    let names = input.policy_names.unwrap_or_default();
    let types = input.policy_types.unwrap_or_default();
    let group = input.auto_scaling_group_name.as_deref();
    let page = Page { size: input.max_records, token: input.next_token, default: 50, maximum: 100 };
    let found = describe::policies(&cx.read(), &cx, group, &names, &types, &page)?;
    let (policies, next_token) = found;
    let scaling_policies = Some(policies.iter().map(|policy| policy_shape(policy)).collect());
    Ok(w::PoliciesType { next_token, scaling_policies })
}

fn policy_shape(policy: &model::Policy) -> w::ScalingPolicy {
    let (metric, resource_label) = match &policy.metric {
        PolicyMetric::AverageCpu => ("ASGAverageCPUUtilization", None),
        PolicyMetric::RequestCountPerTarget { resource_label } => {
            ("ALBRequestCountPerTarget", Some(resource_label.clone()))
        }
    };
    w::ScalingPolicy {
        alarms: Some(alarm_shapes(policy)),
        auto_scaling_group_name: Some(policy.group.clone()),
        enabled: Some(policy.enabled),
        estimated_instance_warmup: policy.warmup_seconds,
        policy_arn: Some(policy.arn()),
        policy_name: Some(policy.name.clone()),
        policy_type: Some("TargetTrackingScaling".to_owned()),
        target_tracking_configuration: Some(w::TargetTrackingConfiguration {
            customized_metric_specification: None,
            disable_scale_in: Some(policy.disable_scale_in),
            predefined_metric_specification: Some(w::PredefinedMetricSpecification {
                predefined_metric_type: metric.to_owned(),
                resource_label,
            }),
            target_value: policy.target,
        }),
        ..w::ScalingPolicy::default()
    }
}

fn alarm_shapes(policy: &model::Policy) -> Vec<w::Alarm> {
    let alarms = policies::alarms_of(policy).into_iter();
    alarms.map(|(name, arn)| w::Alarm { alarm_arn: Some(arn), alarm_name: Some(name) }).collect()
}

async fn describe_tags(cx: Context, input: w::DescribeTagsType) -> Result<w::TagsType> {
    let filters = filters(input.filters);
    let page = Page { size: input.max_records, token: input.next_token, default: 50, maximum: 100 };
    let (lines, next_token) = describe::tags(&cx.read(), &cx, &filters, &page)?;
    Ok(w::TagsType { next_token, tags: Some(lines.iter().map(tag_shape).collect()) })
}

async fn describe_account_limits(
    cx: Context,
    _: w::DescribeAccountLimitsInput,
) -> Result<w::DescribeAccountLimitsAnswer> {
    let count = cx.read().scan::<Group>(&cx.prefix()).count();
    Ok(w::DescribeAccountLimitsAnswer {
        max_number_of_auto_scaling_groups: Some(ops::MAX_GROUPS as i32),
        max_number_of_launch_configurations: Some(0),
        number_of_auto_scaling_groups: Some(count as i32),
        number_of_launch_configurations: Some(0),
    })
}

async fn describe_adjustment_types(
    _: Context,
    _: w::DescribeAdjustmentTypesInput,
) -> Result<w::DescribeAdjustmentTypesAnswer> {
    let names = ["ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity"];
    let shape = |name: &str| w::AdjustmentType { adjustment_type: Some(name.to_owned()) };
    Ok(w::DescribeAdjustmentTypesAnswer { adjustment_types: Some(names.map(shape).to_vec()) })
}

async fn describe_termination_policies(
    _: Context,
    _: w::DescribeTerminationPolicyTypesInput,
) -> Result<w::DescribeTerminationPolicyTypesAnswer> {
    let names = TerminationPolicy::ALL.map(|policy| policy.name().to_owned());
    Ok(w::DescribeTerminationPolicyTypesAnswer { termination_policy_types: Some(names.to_vec()) })
}

async fn describe_process_types(
    _: Context,
    _: w::DescribeScalingProcessTypesInput,
) -> Result<w::ProcessesType> {
    let shape =
        |process: model::Process| w::ProcessType { process_name: process.name().to_owned() };
    Ok(w::ProcessesType { processes: Some(model::Process::ALL.map(shape).to_vec()) })
}

fn time(at: Timestamp) -> wire::Timestamp {
    wire::Timestamp(at.0)
}

//! Auto Scaling's Describe calls, and the shapes of what they tell.

use wire::autoscaling as w;

use super::refuse_some;
use crate::Context;
use crate::autoscaling::Result;
use crate::autoscaling::describe::{self, Page};
use crate::autoscaling::model::{
    self, Activity, Group, Member, Policy, PolicyMetric, TerminationPolicy,
};
use crate::autoscaling::tags::Line;
use crate::autoscaling::{ops, policies, tags};
use crate::clock::Timestamp;
use crate::filter::Filter;

pub(super) async fn groups(
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
        capacity_reservation_specification: group.reservations.as_ref().map(|wanted| {
            let ids = (!wanted.targets.is_empty()).then(|| wanted.targets.clone());
            w::CapacityReservationSpecification {
                capacity_reservation_preference: Some(wanted.preference.name().to_owned()),
                capacity_reservation_target: ids.map(|ids| w::CapacityReservationTarget {
                    capacity_reservation_ids: Some(ids),
                    ..Default::default()
                }),
            }
        }),
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
        placement_group: group.placement_group.clone(),
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

pub(super) async fn instances(
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

pub(super) async fn activities(
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

pub(super) fn activity_shape(activity: &Activity) -> w::Activity {
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

pub(super) async fn target_groups(
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

pub(super) async fn policies(
    cx: Context,
    input: w::DescribePoliciesType,
) -> Result<w::PoliciesType> {
    let names = input.policy_names.unwrap_or_default();
    let types = input.policy_types.unwrap_or_default();
    let group = input.auto_scaling_group_name.as_deref();
    let page = Page { size: input.max_records, token: input.next_token, default: 50, maximum: 100 };
    let found = describe::policies(&cx.read(), &cx, group, &names, &types, &page)?;
    let (policies, next_token) = found;
    let scaling_policies = Some(policies.iter().map(|policy| policy_shape(policy)).collect());
    Ok(w::PoliciesType { next_token, scaling_policies })
}

fn policy_shape(policy: &Policy) -> w::ScalingPolicy {
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

pub(super) fn alarm_shapes(policy: &Policy) -> Vec<w::Alarm> {
    let alarms = policies::alarms_of(policy).into_iter();
    alarms.map(|(name, arn)| w::Alarm { alarm_arn: Some(arn), alarm_name: Some(name) }).collect()
}

pub(super) async fn tags(cx: Context, input: w::DescribeTagsType) -> Result<w::TagsType> {
    let filters = filters(input.filters);
    let page = Page { size: input.max_records, token: input.next_token, default: 50, maximum: 100 };
    let (lines, next_token) = describe::tags(&cx.read(), &cx, &filters, &page)?;
    Ok(w::TagsType { next_token, tags: Some(lines.iter().map(tag_shape).collect()) })
}

pub(super) async fn account_limits(
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

pub(super) async fn adjustment_types(
    _: Context,
    _: w::DescribeAdjustmentTypesInput,
) -> Result<w::DescribeAdjustmentTypesAnswer> {
    let names = ["ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity"];
    let shape = |name: &str| w::AdjustmentType { adjustment_type: Some(name.to_owned()) };
    Ok(w::DescribeAdjustmentTypesAnswer { adjustment_types: Some(names.map(shape).to_vec()) })
}

pub(super) async fn termination_policies(
    _: Context,
    _: w::DescribeTerminationPolicyTypesInput,
) -> Result<w::DescribeTerminationPolicyTypesAnswer> {
    let names = TerminationPolicy::ALL.map(|policy| policy.name().to_owned());
    Ok(w::DescribeTerminationPolicyTypesAnswer { termination_policy_types: Some(names.to_vec()) })
}

pub(super) async fn process_types(
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

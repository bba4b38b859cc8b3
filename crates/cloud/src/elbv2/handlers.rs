//! Elastic Load Balancing's operations on the wire.

mod listener;
mod load_balancer;
mod rule;
mod target_group;

use wire::elbv2 as w;

use super::error::Result;
use super::ops::{Page, tag};
use super::{Error, attribute, quota};
use crate::Context;
use crate::services::{Entry, serve};
use crate::tag::Tags;

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateLoadBalancer, _, _, _>(load_balancer::create),
        serve::<w::DescribeLoadBalancers, _, _, _>(load_balancer::describe),
        serve::<w::DeleteLoadBalancer, _, _, _>(load_balancer::delete),
        serve::<w::DescribeLoadBalancerAttributes, _, _, _>(load_balancer::attributes),
        serve::<w::ModifyLoadBalancerAttributes, _, _, _>(load_balancer::modify_attributes),
        serve::<w::SetSecurityGroups, _, _, _>(load_balancer::set_security_groups),
        serve::<w::SetSubnets, _, _, _>(load_balancer::set_subnets),
        serve::<w::SetIpAddressType, _, _, _>(load_balancer::set_ip_address_type),
        serve::<w::CreateTargetGroup, _, _, _>(target_group::create),
        serve::<w::DescribeTargetGroups, _, _, _>(target_group::describe),
        serve::<w::ModifyTargetGroup, _, _, _>(target_group::modify),
        serve::<w::DeleteTargetGroup, _, _, _>(target_group::delete),
        serve::<w::DescribeTargetGroupAttributes, _, _, _>(target_group::attributes),
        serve::<w::ModifyTargetGroupAttributes, _, _, _>(target_group::modify_attributes),
        serve::<w::RegisterTargets, _, _, _>(target_group::register),
        serve::<w::DeregisterTargets, _, _, _>(target_group::deregister),
        serve::<w::DescribeTargetHealth, _, _, _>(target_group::health),
        serve::<w::CreateListener, _, _, _>(listener::create),
        serve::<w::DescribeListeners, _, _, _>(listener::describe),
        serve::<w::ModifyListener, _, _, _>(listener::modify),
        serve::<w::DeleteListener, _, _, _>(listener::delete),
        serve::<w::DescribeListenerAttributes, _, _, _>(listener::attributes),
        serve::<w::ModifyListenerAttributes, _, _, _>(listener::modify_attributes),
        serve::<w::CreateRule, _, _, _>(rule::create),
        serve::<w::DescribeRules, _, _, _>(rule::describe),
        serve::<w::ModifyRule, _, _, _>(rule::modify),
        serve::<w::DeleteRule, _, _, _>(rule::delete),
        serve::<w::SetRulePriorities, _, _, _>(rule::set_priorities),
        serve::<w::AddTags, _, _, _>(add_tags),
        serve::<w::RemoveTags, _, _, _>(remove_tags),
        serve::<w::DescribeTags, _, _, _>(describe_tags),
        serve::<w::DescribeAccountLimits, _, _, _>(describe_account_limits),
    ]
}

async fn add_tags(cx: Context, input: w::AddTagsInput) -> Result<w::AddTagsOutput> {
    let tags = tags_in(Some(input.tags))?;
    cx.write(|tx| tag::add(tx, &cx, &input.resource_arns, &tags)).await?;
    Ok(w::AddTagsOutput {})
}

async fn remove_tags(cx: Context, input: w::RemoveTagsInput) -> Result<w::RemoveTagsOutput> {
    cx.write(|tx| tag::remove(tx, &cx, &input.resource_arns, &input.tag_keys)).await?;
    Ok(w::RemoveTagsOutput {})
}

async fn describe_tags(cx: Context, input: w::DescribeTagsInput) -> Result<w::DescribeTagsOutput> {
    let described = tag::describe(&cx.read(), &cx, &input.resource_arns)?;
    let description = |(arn, tags): (String, Tags)| w::TagDescription {
        resource_arn: Some(arn),
        tags: Some(
            tags.into_iter().map(|(key, value)| w::Tag { key, value: Some(value) }).collect(),
        ),
    };
    let tag_descriptions = Some(described.into_iter().map(description).collect());
    Ok(w::DescribeTagsOutput { tag_descriptions })
}

async fn describe_account_limits(
    _: Context,
    input: w::DescribeAccountLimitsInput,
) -> Result<w::DescribeAccountLimitsOutput> {
    let all = quota::ALL.to_vec();
    let (limits, next_marker) =
        page_in(input.page_size, input.marker).of(all, |(name, _)| (*name).to_owned())?;
    let limit = |(name, max): (&str, usize)| w::Limit {
        max: Some(max.to_string()),
        name: Some(name.to_owned()),
    };
    let limits = Some(limits.into_iter().map(limit).collect());
    Ok(w::DescribeAccountLimitsOutput { limits, next_marker })
}

fn tags_in(tags: Option<Vec<w::Tag>>) -> Result<Tags> {
    let tags = tags.unwrap_or_default();
    tag::unique(tags.into_iter().map(|tag| (tag.key, tag.value.unwrap_or_default())))
}

fn page_in(size: Option<i32>, marker: Option<String>) -> Page {
    Page { size, marker }
}

/// A list of attributes as pairs; a missing key is no key, a missing value the empty one.
fn pairs<T>(
    list: Vec<T>,
    parts: impl Fn(T) -> (Option<String>, Option<String>),
) -> Vec<(String, String)> {
    list.into_iter()
        .map(|item| {
            let (key, value) = parts(item);
            (key.unwrap_or_default(), value.unwrap_or_default())
        })
        .collect()
}

/// Every attribute with its value, as one of the wire's shapes.
fn attributes_out<T>(
    table: &'static [attribute::Attribute],
    set: &attribute::Set,
    shape: impl Fn(Option<String>, Option<String>) -> T,
) -> Option<Vec<T>> {
    let all = attribute::list(table, set);
    Some(all.map(|(key, value)| shape(Some(key.to_owned()), Some(value.to_owned()))).collect())
}

/// Refuses what was given and is not served.
fn refuse<T>(given: &Option<T>, what: &str) -> Result<()> {
    match given {
        None => Ok(()),
        Some(_) => Err(Error::unsupported(what)),
    }
}

//! What Describe calls select, and how it is paged.

use std::sync::Arc;

use store::Snapshot;

use super::model::{Activity, Group, Lifecycle, Member, Policy};
use super::plan::{self, Seen};
use super::{Error, Result, observe, ops, policies, tags};
use crate::filter::Filter;
use crate::{Context, page};

/// `MaxRecords` and `NextToken`, with the call's default and maximum.
pub struct Page {
    pub size: Option<i32>,
    pub token: Option<String>,
    pub default: usize,
    pub maximum: usize,
}

impl Page {
    fn of<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, Option<String>)> {
        let size = match self.size {
            None => self.default,
            Some(n) if n >= 1 => (n as usize).min(self.maximum),
            Some(n) => {
                return Err(Error::validation(format!("MaxRecords must be at least 1, not {n}.")));
            }
        };
        page::page(items, key, size, self.token.as_deref())
            .map_err(|_| Error::InvalidNextToken(self.token.clone().unwrap_or_default()))
    }
}

/// Groups with their members. Names that name nothing are left out, as AWS does.
pub fn groups(
    snapshot: &Snapshot,
    cx: &Context,
    names: &[String],
    filters: &[Filter],
    page: &Page,
) -> Result<(Vec<(Arc<Group>, Vec<Arc<Member>>)>, Option<String>)> {
    let mut groups = Vec::new();
    for group in snapshot.scan::<Group>(&cx.prefix()) {
        let named = names.is_empty()
            || names.iter().any(|name| *name == group.name || *name == group.arn());
        if tags::group_passes(&group, filters)? && named {
            groups.push(group);
        }
    }
    let (groups, token) = page.of(groups, |group| group.name.clone())?;
    let mut members = observe::members(snapshot, cx);
    let with_members = groups.into_iter().map(|group| {
        let members = members.remove(&group.name).unwrap_or_default();
        (group, members)
    });
    Ok((with_members.collect(), token))
}

pub fn instances(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    page: &Page,
) -> Result<(Vec<Arc<Member>>, Option<String>)> {
    let prefix = cx.prefix();
    let members = snapshot.scan::<Member>(&prefix);
    let named = members.filter(|m| ids.is_empty() || ids.contains(&m.instance_id));
    page.of(named, |member| member.instance_id.clone())
}

/// Newest first.
pub fn activities(
    snapshot: &Snapshot,
    cx: &Context,
    group: Option<&str>,
    ids: &[String],
    include_deleted: bool,
    page: &Page,
) -> Result<(Vec<Arc<Activity>>, Option<String>)> {
    let prefix = match group {
        Some(name) => match snapshot.get::<Group>(&cx.key(name)) {
            Some(group) if !include_deleted => {
                Activity::prefix(&cx.account, &cx.region, &group.uuid)
            }
            Some(_) => cx.prefix(),
            None if include_deleted => cx.prefix(),
            None => return Err(Error::no_group()),
        },
        None => cx.prefix(),
    };
    let stands = |activity: &Activity| {
        let group = snapshot.get::<Group>(&cx.key(&activity.group));
        group.is_some_and(|group| group.uuid == activity.group_uuid)
    };
    let mut activities: Vec<Arc<Activity>> = snapshot
        .scan::<Activity>(&prefix)
        .filter(|activity| group.is_none_or(|name| activity.group == name))
        .filter(|activity| ids.is_empty() || ids.contains(&activity.id))
        .filter(|activity| include_deleted || stands(activity))
        .collect();
    let key =
        |activity: &Arc<Activity>| format!("{:020}/{}", i64::MAX - activity.start.0, activity.id);
    activities.sort_by_key(key);
    page.of(activities, key)
}

/// Each target group of a group with its state: `Adding`, `Added` or `InService`.
pub fn target_groups(
    snapshot: &Snapshot,
    cx: &Context,
    name: &str,
    page: &Page,
) -> Result<(Vec<(String, &'static str)>, Option<String>)> {
    let group = ops::group(snapshot, cx, name)?;
    let members = observe::members_of(snapshot, cx, name);
    let view = observe::view(snapshot, cx, &group, &members);
    let mut states: Vec<(String, &'static str)> =
        group.target_groups.iter().map(|arn| (arn.clone(), state_of(arn, &view.members))).collect();
    states.sort();
    page.of(states, |(arn, _)| arn.clone())
}

fn state_of(arn: &String, members: &[Seen]) -> &'static str {
    let mut in_service =
        members.iter().filter(|seen| seen.member.lifecycle == Lifecycle::InService).peekable();
    if in_service.clone().any(|seen| seen.targets.get(arn) == Some(&plan::Target::Serving)) {
        return "InService";
    }
    let all_added = in_service.all(|s| s.member.unregistered || s.member.registered.contains(arn));
    if all_added { "Added" } else { "Adding" }
}

pub fn policies(
    snapshot: &Snapshot,
    cx: &Context,
    group: Option<&str>,
    names: &[String],
    types: &[String],
    page: &Page,
) -> Result<(Vec<Arc<Policy>>, Option<String>)> {
    if let Some(group) = group {
        ops::group(snapshot, cx, group)?;
    }
    let wanted = |policy: &Arc<Policy>| {
        let named =
            names.is_empty() || names.contains(&policy.name) || names.contains(&policy.arn());
        named && (types.is_empty() || types.iter().any(|t| t == "TargetTrackingScaling"))
    };
    let found = policies::list(snapshot, cx, group).into_iter().filter(wanted);
    page.of(found, |policy| store::Record::key(&**policy))
}

pub fn tags(
    snapshot: &Snapshot,
    cx: &Context,
    filters: &[Filter],
    page: &Page,
) -> Result<(Vec<tags::Line>, Option<String>)> {
    let mut lines = Vec::new();
    for line in tags::lines(snapshot, cx) {
        if tags::passes(&line, filters)? {
            lines.push(line);
        }
    }
    page.of(lines, |line| format!("{}\0{}", line.group, line.key))
}

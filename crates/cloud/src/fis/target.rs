//! What an experiment acts on: which instances a target means. Reads only.

use store::Snapshot;

use super::action::{INSTANCE, SPOT};
use super::model::{Selection, Target};
use super::{Error, Result};
use crate::ec2::instance::describe;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::listing::Listing;
use crate::filter::Filter;
use crate::{Context, arn};

/// Paths into an instance as DescribeInstances says it, and the filter that finds the same there.
const PATHS: &[(&str, &str)] = &[
    ("Architecture", "architecture"),
    ("IamInstanceProfile.Arn", "iam-instance-profile.arn"),
    ("ImageId", "image-id"),
    ("InstanceId", "instance-id"),
    ("InstanceLifecycle", "instance-lifecycle"),
    ("InstanceType", "instance-type"),
    ("KeyName", "key-name"),
    ("Placement.AvailabilityZone", "availability-zone"),
    ("Placement.Tenancy", "tenancy"),
    ("PrivateDnsName", "private-dns-name"),
    ("PrivateIpAddress", "private-ip-address"),
    ("PublicIpAddress", "ip-address"),
    ("SecurityGroups.GroupId", "instance.group-id"),
    ("SecurityGroups.GroupName", "instance.group-name"),
    ("State.Name", "instance-state-name"),
    ("SubnetId", "subnet-id"),
    ("VpcId", "vpc-id"),
];

/// `ALL`, `COUNT(n)`, `PERCENT(n)`
pub fn selection(text: &str) -> Result<Selection> {
    let number = |word: &str| -> Option<usize> {
        text.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')')?.parse().ok()
    };
    match (text, number("COUNT"), number("PERCENT")) {
        ("ALL", ..) => Ok(Selection::All),
        (_, Some(n), _) if n > 0 => Ok(Selection::Count(n)),
        (_, _, Some(n)) if (1..=100).contains(&n) => Ok(Selection::Percent(n)),
        _ => Err(Error::invalid(format!(
            "The selection mode {text} is none of ALL, COUNT(n) and PERCENT(n)."
        ))),
    }
}

pub fn check(cx: &Context, name: &str, target: &Target) -> Result<()> {
    if !matches!(target.kind.as_str(), SPOT | INSTANCE) {
        return Err(Error::unsupported(&format!(
            "The resource type {} (there are {INSTANCE}, {SPOT})",
            target.kind
        )));
    }
    if target.arns.is_empty() == (target.tags.is_empty() && target.filters.is_empty()) {
        return Err(Error::invalid(format!(
            "Target {name} must have either resource ARNs, or resource tags or filters."
        )));
    }
    for text in &target.arns {
        let found = arn::parse(text).filter(|parts| {
            (parts.service, parts.region, parts.account) == ("ec2", &*cx.region, &*cx.account)
        });
        if found.and_then(|parts| parts.resource.strip_prefix("instance/")).is_none() {
            return Err(Error::invalid(format!(
                "Target {name}: {text} is not the ARN of an instance of this account and region."
            )));
        }
    }
    for filter in &target.filters {
        if !PATHS.iter().any(|(path, _)| *path == filter.name) {
            let all: Vec<&str> = PATHS.iter().map(|(path, _)| *path).collect();
            return Err(Error::invalid(format!(
                "Target {name}: the filter path {} is none of {}.",
                filter.name,
                all.join(", ")
            )));
        }
    }
    Ok(())
}

/// Ids of the instances that it means now.
pub fn resolve(snapshot: &Snapshot, cx: &Context, target: &Target) -> Vec<String> {
    let by_tags = target
        .tags
        .iter()
        .map(|(key, value)| Filter { name: format!("tag:{key}"), values: vec![value.clone()] });
    let by_paths = target.filters.iter().filter_map(|filter| {
        let (_, name) = PATHS.iter().find(|(path, _)| *path == filter.name)?;
        Some(Filter { name: (*name).to_owned(), values: filter.values.clone() })
    });
    let listing = Listing::filtered(by_tags.chain(by_paths).collect());
    let Ok((found, _)) = describe::instances(snapshot, cx, &[], &listing) else { return vec![] };
    let is_meant = |i: &Instance| {
        let named = || target.arns.iter().any(|arn| arn.ends_with(&format!("/{}", i.id)));
        let state = i.state();
        (target.arns.is_empty() || named())
            && match target.kind.as_str() {
                SPOT => i.spot_request_id.is_some() && state == InstanceState::Running,
                _ => !matches!(state, InstanceState::ShuttingDown | InstanceState::Terminated),
            }
    };
    let mut ids: Vec<String> = found.iter().filter(|i| is_meant(i)).map(|i| i.id.clone()).collect();
    ids.sort();
    let count = match target.selection {
        Selection::All => ids.len(),
        Selection::Count(n) => n.min(ids.len()),
        Selection::Percent(n) => ids.len() * n / 100,
    };
    // Which of them is chance.
    while ids.len() > count {
        let at = cx.env.rng.below(ids.len() as u64) as usize;
        ids.remove(at);
    }
    ids
}

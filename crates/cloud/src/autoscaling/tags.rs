//! Tags of groups, each of which says whether new instances get it too.

use std::collections::BTreeMap;

use store::{Snapshot, Tx};

use super::model::{Group, Tag};
use super::{Error, Result, ops};
use crate::Context;
use crate::tag::{Invalid, Tags};

/// One tag of one group, as requests and answers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub group: String,
    pub key: String,
    pub value: String,
    pub propagate_at_launch: bool,
}

/// Whether a user may set these.
pub fn check(tags: &BTreeMap<String, Tag>) -> Result<()> {
    let plain: Tags = tags.iter().map(|(key, tag)| (key.clone(), tag.value.clone())).collect();
    crate::tag::check(&plain).map_err(|invalid| match invalid {
        Invalid::Key(_) => Error::validation("Tag keys have 1 to 128 characters."),
        Invalid::Value(_) => Error::validation("Tag values have at most 256 characters."),
        Invalid::Reserved(key) => Error::validation(format!(
            "The tag key {key} is not valid: keys that begin with aws: are reserved."
        )),
        Invalid::TooMany => Error::LimitExceeded(
            "You have exceeded the limit of 50 tags for an Auto Scaling group.".to_owned(),
        ),
    })
}

pub fn create_or_update(tx: &mut Tx, cx: &Context, lines: &[Line]) -> Result<()> {
    for line in lines {
        let mut group = ops::standing(tx, cx, &line.group)?;
        let tag = Tag { value: line.value.clone(), propagate_at_launch: line.propagate_at_launch };
        group.tags.insert(line.key.clone(), tag);
        check(&group.tags)?;
        tx.put(group);
    }
    Ok(())
}

/// A tag without a value goes whatever its value is.
pub fn delete(tx: &mut Tx, cx: &Context, tags: &[(String, String, Option<String>)]) -> Result<()> {
    for (name, key, value) in tags {
        let mut group = ops::standing(tx, cx, name)?;
        let matches = |tag: &Tag| value.as_ref().is_none_or(|value| tag.value == *value);
        if group.tags.get(key).is_some_and(matches) {
            group.tags.remove(key);
            tx.put(group);
        }
    }
    Ok(())
}

/// All tags of all groups, by group and key.
pub fn lines(snapshot: &Snapshot, cx: &Context) -> Vec<Line> {
    snapshot.scan::<Group>(&cx.prefix()).flat_map(|group| of_group(&group)).collect()
}

pub fn of_group(group: &Group) -> Vec<Line> {
    let line = |(key, tag): (&String, &Tag)| Line {
        group: group.name.clone(),
        key: key.clone(),
        value: tag.value.clone(),
        propagate_at_launch: tag.propagate_at_launch,
    };
    group.tags.iter().map(line).collect()
}

/// A filter of DescribeTags: names are `auto-scaling-group`, `key`, `value`, `propagate-at-launch`.
pub fn passes(line: &Line, filters: &[crate::filter::Filter]) -> Result<bool> {
    for filter in filters {
        let has = match filter.name.as_str() {
            "auto-scaling-group" => line.group.clone(),
            "key" => line.key.clone(),
            "value" => line.value.clone(),
            "propagate-at-launch" => line.propagate_at_launch.to_string(),
            other => return Err(invalid_filter(other)),
        };
        if !filter.values.contains(&has) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub fn invalid_filter(name: &str) -> Error {
    Error::validation(format!("Filter type {name} is not correct."))
}

/// A filter of DescribeAutoScalingGroups: `tag-key`, `tag-value`, `tag:KEY`.
pub fn group_passes(group: &Group, filters: &[crate::filter::Filter]) -> Result<bool> {
    for filter in filters {
        let wanted = |text: &String| filter.values.contains(text);
        let passes = match filter.name.as_str() {
            "tag-key" => group.tags.keys().any(wanted),
            "tag-value" => group.tags.values().any(|tag| wanted(&tag.value)),
            name => match name.strip_prefix("tag:") {
                Some(key) => group.tags.get(key).is_some_and(|tag| wanted(&tag.value)),
                None => return Err(invalid_filter(name)),
            },
        };
        if !passes {
            return Ok(false);
        }
    }
    Ok(true)
}

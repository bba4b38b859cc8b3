//! IAM on the wire: all its operations, and the translations that its handlers share.

mod account;
mod group;
mod key;
mod policies;
mod policy;
mod profile;
mod role;
mod simulate;
mod user;

use wire::iam as w;
use wire::query::params::percent_encode;

use super::ops::{Page, unique_tags};
use super::{Error, Result};
use crate::services::Entry;
use crate::tag::Tags;
use crate::{Context, Timestamp, arn};

pub fn operations() -> Vec<Entry> {
    let mut entries = Vec::new();
    entries.extend(account::operations());
    entries.extend(group::operations());
    entries.extend(key::operations());
    entries.extend(policies::operations());
    entries.extend(policy::operations());
    entries.extend(profile::operations());
    entries.extend(role::operations());
    entries.extend(simulate::operations());
    entries.extend(user::operations());
    entries
}

fn at(time: Timestamp) -> wire::Timestamp {
    wire::Timestamp(time.0)
}

/// Documents stand in answers URL-encoded (RFC 3986).
fn document_out(text: &str) -> String {
    percent_encode(text.as_bytes(), false)
}

fn page(marker: Option<String>, max_items: Option<i32>) -> Page {
    Page { marker, max_items }
}

fn tags_in(tags: Option<Vec<w::Tag>>) -> Result<Tags> {
    unique_tags(tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)))
}

fn tags_list(tags: &Tags) -> Vec<w::Tag> {
    tags.iter().map(|(key, value)| w::Tag { key: key.clone(), value: value.clone() }).collect()
}

/// Absent when there are none.
fn tags_out(tags: &Tags) -> Option<Vec<w::Tag>> {
    (!tags.is_empty()).then(|| tags_list(tags))
}

/// A page of a resource's tags.
fn tags_page(tags: &Tags, page: &Page) -> Result<(Vec<w::Tag>, Option<String>)> {
    page.of(tags_list(tags), |tag| tag.key.clone())
}

fn boundary_out(arn: &Option<String>) -> Option<w::AttachedPermissionsBoundary> {
    arn.as_ref().map(|arn| w::AttachedPermissionsBoundary {
        permissions_boundary_arn: Some(arn.clone()),
        permissions_boundary_type: Some("Policy".to_owned()),
    })
}

/// The user that a call is about which names none: the caller.
fn user_or_caller(cx: &Context, name: Option<String>) -> Result<String> {
    if let Some(name) = name {
        return Ok(name);
    }
    let resource = arn::parse(&cx.caller).map(|parts| parts.resource);
    let name = resource.and_then(|resource| resource.strip_prefix("user/"));
    let name = name.and_then(|path| path.rsplit('/').next());
    name.map(str::to_owned).ok_or_else(|| {
        Error::validation("Must specify userName when calling with non-User credentials")
    })
}

//! All operations of EC2, and the translations that its handlers share.

#[cfg(test)]
pub mod testing;

use std::collections::BTreeMap;

use wire::ec2 as w;

use super::listing::Listing;
use super::{Error, Result, tag};
use crate::filter::Filter;
use crate::services::Entry;
use crate::tag::Tags;

pub fn operations() -> Vec<Entry> {
    let mut entries = Vec::new();
    entries.extend(super::capacity_reservation::handlers::operations());
    entries.extend(super::catalog::handlers::operations());
    entries.extend(super::elastic_ip::handlers::operations());
    entries.extend(super::credits::handlers::operations());
    entries.extend(super::dhcp_options::handlers::operations());
    entries.extend(super::image::handlers::operations());
    entries.extend(super::instance::handlers::operations());
    entries.extend(super::instance_profile::handlers::operations());
    entries.extend(super::internet_gateway::handlers::operations());
    entries.extend(super::fleet::handlers::operations());
    entries.extend(super::flow_log::handlers::operations());
    entries.extend(super::network_insights::handlers::operations());
    entries.extend(super::key_pair::handlers::operations());
    entries.extend(super::launch_template::handlers::operations());
    entries.extend(super::network_interface::handlers::operations());
    entries.extend(super::placement_group::handlers::operations());
    entries.extend(super::prefix_list::handlers::operations());
    entries.extend(super::nat_gateway::handlers::operations());
    entries.extend(super::network_acl::handlers::operations());
    entries.extend(super::region::handlers::operations());
    entries.extend(super::route_table::handlers::operations());
    entries.extend(super::security_group::handlers::operations());
    entries.extend(super::spot::handlers::operations());
    entries.extend(super::snapshot::handlers::operations());
    entries.extend(super::tag::handlers::operations());
    entries.extend(super::volume::handlers::operations());
    entries.extend(super::vpc::handlers::operations());
    entries.extend(super::vpc_endpoint::handlers::operations());
    entries.extend(super::vpc_peering::handlers::operations());
    entries
}

/// Refuses what a request asks for and this cloud has not.
pub fn refuse(asked: bool, what: &str) -> Result<()> {
    if asked { Err(Error::unsupported(what)) } else { Ok(()) }
}

/// Refuses a value that is not one of those the parameter can have.
pub fn one_of(parameter: &str, value: &str, allowed: &[&str]) -> Result<()> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(Error::value(format!(
        "Value ({value}) for parameter {parameter} is invalid. Valid values: {}.",
        allowed.join(", ")
    )))
}

pub fn listing(
    filters: Option<Vec<w::Filter>>,
    max_results: Option<i32>,
    next_token: Option<String>,
) -> Listing {
    let filter = |filter: w::Filter| Filter {
        name: filter.name.unwrap_or_default(),
        values: filter.values.unwrap_or_default(),
    };
    let filters = filters.unwrap_or_default().into_iter().map(filter).collect();
    Listing { filters, max_results, next_token }
}

/// As they stand in a resource: absent when there are none.
pub fn tags_out(tags: Tags) -> Option<Vec<w::Tag>> {
    let tag = |(key, value)| w::Tag { key: Some(key), value: Some(value) };
    (!tags.is_empty()).then(|| tags.into_iter().map(tag).collect())
}

pub fn tags_in(tags: Option<Vec<w::Tag>>) -> Result<Tags> {
    let pair = |tag: w::Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
    tag::ops::unique(tags.unwrap_or_default().into_iter().map(pair))
}

/// `TagSpecifications`, by resource type; each type at most once.
pub fn tags_by_type(specs: Option<Vec<w::TagSpecification>>) -> Result<BTreeMap<String, Tags>> {
    let mut by_type = BTreeMap::new();
    for spec in specs.unwrap_or_default() {
        let kind = spec.resource_type.ok_or(Error::MissingParameter("ResourceType"))?;
        let tags = tags_in(spec.tags)?;
        if by_type.insert(kind.clone(), tags).is_some() {
            return Err(Error::value(format!(
                "The same resource type may not be specified more than once in tag specifications: \
                 {kind}"
            )));
        }
    }
    Ok(by_type)
}

/// `TagSpecifications` of a call that makes one kind of resource.
pub fn tags_of_type(specs: Option<Vec<w::TagSpecification>>, kind: &str) -> Result<Tags> {
    let mut by_type = tags_by_type(specs)?;
    let tags = by_type.remove(kind).unwrap_or_default();
    match by_type.into_keys().next() {
        None => Ok(tags),
        Some(other) => Err(Error::value(format!(
            "'{other}' is not a valid taggable resource type for this operation."
        ))),
    }
}

//! Which endpoints and services, by id, name and filter.

use std::sync::Arc;

use store::Snapshot;

use super::model::VpcEndpoint;
use super::ops;
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::prefix_list::ops::GATEWAY_SERVICES;
use crate::ec2::{Kind, Result, tag};

const FILTERS: &[&str] = &[
    "ip-address-type",
    "service-name",
    "service-region",
    "vpc-endpoint-id",
    "vpc-endpoint-state",
    "vpc-endpoint-type",
    "vpc-id",
];

pub fn endpoints(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Arc<VpcEndpoint>>, Option<String>)> {
    listing.check(FILTERS, true)?;
    let mut all = ops::all(snapshot, cx);
    listing::only(&mut all, ids, |endpoint| &endpoint.id, Kind::VpcEndpoint)?;
    all.retain(|endpoint| {
        let tags = || tag::ops::tags_of(snapshot, cx, &endpoint.id);
        listing.keeps(tags, |name| values(endpoint, name))
    });
    listing.page(all, |endpoint| endpoint.id.clone())
}

fn values(endpoint: &VpcEndpoint, name: &str) -> Vec<String> {
    vec![match name {
        "ip-address-type" => "ipv4".to_owned(),
        "service-name" => endpoint.service_name(),
        "service-region" => endpoint.region.clone(),
        "vpc-endpoint-id" => endpoint.id.clone(),
        "vpc-endpoint-state" => "available".to_owned(),
        "vpc-endpoint-type" => "Gateway".to_owned(),
        "vpc-id" => endpoint.vpc_id.clone(),
        _ => return vec![],
    }]
}

const SERVICE_FILTERS: &[&str] =
    &["owner", "service-name", "service-region", "service-type", "supported-ip-address-types"];

/// Full names, in their order.
pub fn services(
    cx: &Context,
    names: &[String],
    listing: &Listing,
) -> Result<(Vec<String>, Option<String>)> {
    listing.check(SERVICE_FILTERS, true)?;
    let full = |service| format!("com.amazonaws.{}.{service}", cx.region);
    let mut all: Vec<String> = GATEWAY_SERVICES.into_iter().map(full).collect();
    all.sort();
    listing::named(&mut all, names, |name| name, Kind::VpcEndpointService)?;
    all.retain(|service| {
        listing.keeps(Default::default, |name| {
            vec![match name {
                "owner" => "amazon".to_owned(),
                "service-name" => service.clone(),
                "service-region" => cx.region.clone(),
                "service-type" => "Gateway".to_owned(),
                "supported-ip-address-types" => "ipv4".to_owned(),
                _ => return vec![],
            }]
        })
    });
    listing.page(all, String::clone)
}

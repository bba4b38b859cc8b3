//! Which endpoints and services, by id, name and filter.

use std::sync::Arc;

use store::Snapshot;

use super::model::VpcEndpoint;
use super::{names, ops};
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::prefix_list::ops::GATEWAY_SERVICES;
use crate::ec2::vpc::services;
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
        "vpc-endpoint-state" => endpoint.state().to_owned(),
        "vpc-endpoint-type" => endpoint.kind().to_owned(),
        "vpc-id" => endpoint.vpc_id.clone(),
        _ => return vec![],
    }]
}

const SERVICE_FILTERS: &[&str] =
    &["owner", "service-name", "service-region", "service-type", "supported-ip-address-types"];

/// A service that endpoints of a kind can be made for.
pub struct Offer {
    /// In full.
    pub name: String,
    pub service: &'static str,
    pub is_interface: bool,
}

impl Offer {
    pub fn kind(&self) -> &'static str {
        if self.is_interface { "Interface" } else { "Gateway" }
    }

    pub fn has_private_names(&self) -> bool {
        self.is_interface && names::has_private(self.service)
    }
}

/// In order of their names; those of both kinds twice.
pub fn services(
    cx: &Context,
    names: &[String],
    listing: &Listing,
) -> Result<(Vec<Offer>, Option<String>)> {
    listing.check(SERVICE_FILTERS, true)?;
    let offer = |service, is_interface| {
        let name = format!("com.amazonaws.{}.{service}", cx.region);
        Offer { name, service, is_interface }
    };
    let regional = services::ALL.iter().filter(|service| service.is_regional());
    let mut all: Vec<Offer> = regional.map(|service| offer(service.name, true)).collect();
    all.extend(GATEWAY_SERVICES.into_iter().map(|service| offer(service, false)));
    let key = |offer: &Offer| format!("{} {}", offer.name, offer.kind());
    all.sort_by_key(key);
    listing::named(&mut all, names, |offer| &offer.name, Kind::VpcEndpointService)?;
    all.retain(|offer| {
        listing.keeps(Default::default, |name| {
            vec![match name {
                "owner" => "amazon".to_owned(),
                "service-name" => offer.name.clone(),
                "service-region" => cx.region.clone(),
                "service-type" => offer.kind().to_owned(),
                "supported-ip-address-types" => "ipv4".to_owned(),
                _ => return vec![],
            }]
        })
    });
    listing.page(all, key)
}

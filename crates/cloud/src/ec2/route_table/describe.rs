//! Which route tables, by id and filter; and a table's routes as calls show them.

use std::sync::Arc;

use store::Snapshot;

use super::model::{Destination, RouteTable, Target};
use super::{ops, target};
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Kind, Result, resource, tag, vpc};

/// A route as a table shows it, the local ones included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub destination: Destination,
    /// `None`: within the VPC.
    pub target: Option<Target>,
    pub instance_id: Option<String>,
    pub active: bool,
}

impl Shown {
    pub fn state(&self) -> &'static str {
        if self.active { "active" } else { "blackhole" }
    }

    /// What made the route.
    pub fn origin(&self) -> &'static str {
        if self.target.is_none() { "CreateRouteTable" } else { "CreateRoute" }
    }

    pub fn gateway_id(&self) -> Option<String> {
        match &self.target {
            None => Some("local".to_owned()),
            Some(Target::InternetGateway(id) | Target::Endpoint(id)) => Some(id.clone()),
            Some(_) => None,
        }
    }

    pub fn nat_gateway_id(&self) -> Option<String> {
        if let Some(Target::NatGateway(id)) = &self.target { Some(id.clone()) } else { None }
    }

    pub fn network_interface_id(&self) -> Option<String> {
        if let Some(Target::NetworkInterface(id)) = &self.target { Some(id.clone()) } else { None }
    }

    pub fn peering_id(&self) -> Option<String> {
        if let Some(Target::Peering(id)) = &self.target { Some(id.clone()) } else { None }
    }

    pub fn cidr(&self) -> Option<String> {
        if let Destination::Cidr(cidr) = &self.destination { Some(cidr.to_string()) } else { None }
    }

    pub fn prefix_list_id(&self) -> Option<String> {
        if let Destination::PrefixList(id) = &self.destination { Some(id.clone()) } else { None }
    }
}

/// The local routes first.
pub fn routes(snapshot: &Snapshot, cx: &Context, table: &RouteTable) -> Vec<Shown> {
    let local = |cidr| Shown {
        destination: Destination::Cidr(cidr),
        target: None,
        instance_id: None,
        active: true,
    };
    let vpc = vpc::ops::vpc(snapshot, cx, &table.vpc_id).ok();
    let mut all: Vec<Shown> = vpc.iter().flat_map(|vpc| vpc.blocks().map(local)).collect();
    for route in ops::resolved(snapshot, cx, table) {
        let instance_id = match &route.target {
            Target::NetworkInterface(id) => target::instance_of(snapshot, cx, id),
            _ => None,
        };
        all.push(Shown {
            destination: route.destination,
            target: Some(route.target),
            instance_id,
            active: route.active,
        });
    }
    all
}

const FILTERS: &[&str] = &[
    "association.gateway-id",
    "association.main",
    "association.route-table-association-id",
    "association.route-table-id",
    "association.subnet-id",
    "owner-id",
    "route-table-id",
    "route.destination-cidr-block",
    "route.destination-ipv6-cidr-block",
    "route.destination-prefix-list-id",
    "route.egress-only-internet-gateway-id",
    "route.gateway-id",
    "route.instance-id",
    "route.nat-gateway-id",
    "route.origin",
    "route.state",
    "route.transit-gateway-id",
    "route.vpc-peering-connection-id",
    "vpc-id",
];

type Found = (Vec<Arc<RouteTable>>, Option<String>);

pub fn tables(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    let mut all = resource::all::<RouteTable>(snapshot, cx);
    listing::only(&mut all, ids, |table| &table.id, Kind::RouteTable)?;
    listing.check(FILTERS, true)?;
    listing.check_max_results(5..=100)?;
    all.retain(|table| {
        let tags = || tag::ops::tags_of(snapshot, cx, &table.id);
        listing.keeps(tags, |name| match name.strip_prefix("route.") {
            Some(name) => {
                let routes = routes(snapshot, cx, table);
                routes.iter().filter_map(|route| route_value(route, name)).collect()
            }
            None => values(table, name),
        })
    });
    listing.page(all, |table| table.id.clone())
}

fn route_value(route: &Shown, name: &str) -> Option<String> {
    match name {
        "destination-cidr-block" => route.cidr(),
        "destination-prefix-list-id" => route.prefix_list_id(),
        "gateway-id" => route.gateway_id(),
        "instance-id" => route.instance_id.clone(),
        "nat-gateway-id" => route.nat_gateway_id(),
        "origin" => Some(route.origin().to_owned()),
        "state" => Some(route.state().to_owned()),
        "vpc-peering-connection-id" => route.peering_id(),
        _ => None,
    }
}

fn values(table: &RouteTable, name: &str) -> Vec<String> {
    let of_subnets = || table.associations.iter();
    let with_main = |main: fn(&String) -> String, other: fn(&String) -> String| {
        let own = table.main.iter().map(main);
        own.chain(of_subnets().map(|association| other(&association.id))).collect()
    };
    match name {
        "association.main" => with_main(|_| "true".to_owned(), |_| "false".to_owned()),
        "association.route-table-association-id" => with_main(String::clone, String::clone),
        "association.route-table-id" => {
            let count = of_subnets().count() + table.main.iter().count();
            vec![table.id.clone(); count.min(1)]
        }
        "association.subnet-id" => of_subnets().map(|a| a.subnet_id.clone()).collect(),
        "owner-id" => vec![table.account.clone()],
        "route-table-id" => vec![table.id.clone()],
        "vpc-id" => vec![table.vpc_id.clone()],
        _ => vec![],
    }
}

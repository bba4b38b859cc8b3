//! Which way a call takes from a VPC to a service of AWS: the same as its packets, by the routes of its
//! subnet. Pure.

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::Snapshot;

use crate::Context;
use crate::ec2::nat_gateway::NatGateway;
use crate::ec2::network_interface::NetworkInterface;
use crate::ec2::resource;
use crate::ec2::route_table::model::{Destination, Target};
use crate::ec2::route_table::ops::Resolved;
use crate::ec2::vpc::services::Service;
use crate::ec2::vpc::{Subnet, subnet};
use crate::ec2::vpc_endpoint::{self, VpcEndpoint};
use crate::ec2::{prefix_list, route_table};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    Endpoint(Arc<VpcEndpoint>),
    /// By a gateway, from this public address.
    Public(Ipv4Addr),
}

/// `None`: its subnet has no way to the service but the metadata address, which AWS has not.
pub fn exit(
    snapshot: &Snapshot,
    cx: &Context,
    vpc_id: &str,
    from: Ipv4Addr,
    service: &Service,
) -> Option<Exit> {
    let subnets = subnet::ops::of_vpc(snapshot, cx, vpc_id);
    let subnet = subnets.into_iter().find(|subnet| subnet.cidr.contains(from))?;
    match route(snapshot, cx, &subnet, service.address)? {
        Target::Endpoint(id) => {
            let endpoint = vpc_endpoint::ops::by_id(snapshot, cx, &id).ok()?;
            Some(Exit::Endpoint(endpoint))
        }
        Target::InternetGateway(_) => {
            let prefix = cx.prefix();
            let mut interfaces = snapshot.scan::<NetworkInterface>(&prefix);
            let own = interfaces.find(|i| i.vpc_id == vpc_id && i.addresses.contains(&from))?;
            own.public.get(&from).copied().map(Exit::Public)
        }
        Target::NatGateway(id) => {
            let gateway = resource::get::<NatGateway>(snapshot, cx, &id)?;
            gateway.elastic.as_ref().map(|elastic| Exit::Public(elastic.public_ip))
        }
        Target::NetworkInterface(_) | Target::Peering(_) => None,
    }
}

/// The target of the longest match; that of an endpoint comes before others.
fn route(snapshot: &Snapshot, cx: &Context, subnet: &Subnet, to: Ipv4Addr) -> Option<Target> {
    let length = |route: &Resolved| {
        let blocks = match &route.destination {
            Destination::Cidr(block) => vec![*block],
            Destination::PrefixList(id) => prefix_list::ops::blocks(snapshot, cx, id),
        };
        let matching = blocks.iter().filter(|block| block.contains(to));
        matching.map(|block| block.prefix).max()
    };
    let rank =
        |route: &Resolved| Some((matches!(route.target, Target::Endpoint(_)), length(route)?));
    let table = route_table::ops::for_subnet(snapshot, cx, subnet).ok()?;
    let found = table.routes.into_iter().filter_map(|route| Some((rank(&route)?, route)));
    let (_, route) = found.max_by_key(|(rank, _)| *rank)?;
    route.active.then_some(route.target)
}

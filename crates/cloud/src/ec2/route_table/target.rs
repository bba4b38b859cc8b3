//! What a route leads to: which targets a request may name, and whether one is there.

use store::Snapshot;

use super::model::{RouteTable, Target};
use crate::Context;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::nat_gateway::NatGateway;
use crate::ec2::{
    Error, Kind, Result, instance, internet_gateway, network_interface, resource, vpc_peering,
};

/// A target as requests name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What the routes within the VPC lead to.
    Local,
    /// Of any kind that `GatewayId` stands for.
    Gateway(String),
    NatGateway(String),
    NetworkInterface(String),
    Instance(String),
    Peering(String),
}

/// The target, found fit for a table of its VPC.
pub fn find(
    snapshot: &Snapshot,
    cx: &Context,
    table: &RouteTable,
    wanted: &Wanted,
) -> Result<Target> {
    match wanted {
        Wanted::Local => Err(Error::value(
            "Routes to the target 'local' are there for each block of the VPC, and for no other.",
        )),
        Wanted::Gateway(id) => internet_gateway(snapshot, cx, table, id),
        Wanted::NatGateway(id) => {
            let found = resource::find::<NatGateway>(snapshot, cx, id)?;
            belongs(table, "NAT gateway", id, &found.vpc_id)?;
            Ok(Target::NatGateway(id.clone()))
        }
        // One that is not accepted yet too: until it is, the route is a blackhole.
        Wanted::Peering(id) => {
            let found = vpc_peering::ops::peering(snapshot, cx, id)?;
            if found.state.is_over() {
                return Err(Error::not_found(Kind::VpcPeeringConnection, id));
            }
            let own = found.other(&table.vpc_id).map_or("", |_| &table.vpc_id);
            belongs(table, "VPC peering connection", id, own)?;
            Ok(Target::Peering(id.clone()))
        }
        Wanted::NetworkInterface(id) => {
            let found = network_interface::ops::by_id(snapshot, cx, id)?;
            belongs(table, "interface", id, &found.vpc_id)?;
            Ok(Target::NetworkInterface(id.clone()))
        }
        Wanted::Instance(id) => {
            let found = instance::ops::instance(snapshot, cx, id)?;
            belongs(table, "instance", id, &found.vpc_id)?;
            if network_interface::ops::of_instance(snapshot, cx, &found).len() > 1 {
                return Err(Error::InvalidInstanceId(format!(
                    "There are multiple interfaces attached to instance '{id}'. Please specify an \
                     interface ID for the operation instead."
                )));
            }
            Ok(Target::NetworkInterface(found.interface_id.clone()))
        }
    }
}

fn internet_gateway(
    snapshot: &Snapshot,
    cx: &Context,
    table: &RouteTable,
    id: &str,
) -> Result<Target> {
    let gateway = resource::get::<internet_gateway::InternetGateway>(snapshot, cx, id);
    let gateway = gateway.ok_or_else(|| Error::not_found(Kind::Gateway, id))?;
    belongs(table, "network gateway", id, gateway.vpc_id.as_deref().unwrap_or_default())?;
    Ok(Target::InternetGateway(id.to_owned()))
}

fn belongs(table: &RouteTable, noun: &str, id: &str, vpc_id: &str) -> Result<()> {
    if table.vpc_id == vpc_id {
        return Ok(());
    }
    Err(Error::value(format!(
        "route table {} and {noun} {id} belong to different networks",
        table.id
    )))
}

/// Whether what takes a route to `target` gets anywhere.
pub fn is_active(snapshot: &Snapshot, cx: &Context, vpc_id: &str, target: &Target) -> bool {
    match target {
        Target::InternetGateway(id) => {
            internet_gateway::ops::of_vpc(snapshot, cx, vpc_id).is_some_and(|g| g.id == *id)
        }
        Target::NetworkInterface(id) => is_up(snapshot, cx, id),
        Target::NatGateway(id) => {
            resource::get::<NatGateway>(snapshot, cx, id).is_some_and(|nat| nat.state.is_alive())
        }
        Target::Peering(id) => {
            vpc_peering::ops::active_of_vpc(snapshot, cx, vpc_id).iter().any(|p| p.id == *id)
        }
        Target::Endpoint(_) => true,
    }
}

/// The instance that an interface is attached to.
pub fn instance_of(snapshot: &Snapshot, cx: &Context, interface_id: &str) -> Option<String> {
    let interface = network_interface::ops::by_id(snapshot, cx, interface_id).ok()?;
    interface.attachment.as_ref().map(|attachment| attachment.instance_id.clone())
}

/// Whether an interface is attached to an instance that is not stopped, or a service answers at it.
fn is_up(snapshot: &Snapshot, cx: &Context, interface_id: &str) -> bool {
    let Ok(interface) = network_interface::ops::by_id(snapshot, cx, interface_id) else {
        return false;
    };
    let Some(attachment) = &interface.attachment else { return interface.is_requester_managed() };
    instance::ops::instance(snapshot, cx, &attachment.instance_id)
        .is_ok_and(|i| matches!(i.state(), InstanceState::Pending | InstanceState::Running))
}

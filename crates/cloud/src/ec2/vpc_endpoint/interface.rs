//! Interface endpoints: their network interfaces, groups and private DNS.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::Serialize;
use store::{Snapshot, Tx};

use super::model::{Interface, VpcEndpoint};
use super::{names, ops};
use crate::ec2::network_interface::ops::New as NewInterface;
use crate::ec2::network_interface::{self, Kind, NetworkInterface};
use crate::ec2::security_group::{self, SecurityGroup};
use crate::ec2::vpc::{self, Vpc};
use crate::ec2::{Error, Result, resource};
use crate::{Context, id};

/// Whose its interfaces are.
const REQUESTER: &str = "amazon-vpce";

/// Subnets, each with the address to have there; `None`: any.
pub type Subnets = BTreeMap<String, Option<Ipv4Addr>>;

#[derive(Clone, Debug, Default, Serialize)]
pub struct New {
    pub subnets: Subnets,
    /// Ids; none: the VPC's default one.
    pub groups: Vec<String>,
    /// Not said: where the service has it, but for S3.
    pub private_dns: Option<bool>,
}

/// Makes the interfaces of an endpoint to come.
pub fn create(tx: &mut Tx, cx: &Context, endpoint: &VpcEndpoint, new: &New) -> Result<Interface> {
    let vpc = vpc::ops::vpc(tx, cx, &endpoint.vpc_id)?;
    let by_default = names::has_private(&endpoint.service) && endpoint.service != "s3";
    let private_dns = new.private_dns.unwrap_or(by_default);
    if private_dns {
        check_private_dns(tx, cx, endpoint, &vpc)?;
    }
    let groups = security_group::ops::for_interface(tx, cx, &vpc.id, &new.groups, &[])?;
    let mut made = Interface {
        interfaces: BTreeMap::new(),
        groups,
        private_dns,
        label: id::hex16(&cx.env.rng)[..8].to_owned(),
        available: false,
    };
    add_subnets(tx, cx, endpoint, &mut made, &new.subnets)?;
    Ok(made)
}

fn check_private_dns(
    snapshot: &Snapshot,
    cx: &Context,
    endpoint: &VpcEndpoint,
    vpc: &Vpc,
) -> Result<()> {
    let invalid = |why: String| Err(Error::InvalidParameter(why));
    if !names::has_private(&endpoint.service) {
        return invalid(format!(
            "Private DNS can't be enabled because the service {} does not provide a private DNS name.",
            endpoint.service_name()
        ));
    }
    if !vpc.dns_support || !vpc.dns_hostnames {
        return invalid(format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes \
             set to true for {}",
            vpc.id
        ));
    }
    let same = |other: &VpcEndpoint| {
        let private_dns = other.interface.as_ref().is_some_and(|of| of.private_dns);
        other.id != endpoint.id && other.service == endpoint.service && private_dns
    };
    if ops::of_vpc(snapshot, cx, &vpc.id).iter().any(|other| same(other)) {
        return invalid(format!(
            "private-dns-enabled cannot be set because there is already a conflicting DNS domain for \
             {} in the VPC {}",
            names::private(&endpoint.region, &endpoint.service)[0],
            vpc.id
        ));
    }
    Ok(())
}

fn add_subnets(
    tx: &mut Tx,
    cx: &Context,
    endpoint: &VpcEndpoint,
    of: &mut Interface,
    subnets: &Subnets,
) -> Result<()> {
    let mut zones = BTreeSet::new();
    for id in of.interfaces.keys() {
        zones.insert(vpc::ops::subnet(tx, cx, id)?.zone);
    }
    for (id, address) in subnets {
        let subnet = vpc::ops::subnet(tx, cx, id)?;
        if subnet.vpc_id != endpoint.vpc_id {
            return Err(Error::InvalidParameter(format!(
                "The subnet ID '{id}' is not in the VPC '{}'",
                endpoint.vpc_id
            )));
        }
        if of.interfaces.contains_key(id) {
            continue;
        }
        if !zones.insert(subnet.zone) {
            return Err(Error::DuplicateSubnetsInSameZone(id.clone()));
        }
        let new = NewInterface {
            kind: Kind::VpcEndpoint,
            address: *address,
            description: format!("VPC Endpoint Interface {}", endpoint.id),
            requester: Some(REQUESTER.to_owned()),
            ..NewInterface::in_subnet(id, of.groups.clone())
        };
        let made = network_interface::ops::create(tx, cx, &new, None, None)?;
        of.interfaces.insert(id.clone(), made.id);
    }
    Ok(())
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub add_subnets: Subnets,
    pub remove_subnets: Vec<String>,
    pub add_groups: Vec<String>,
    pub remove_groups: Vec<String>,
    pub private_dns: Option<bool>,
}

/// What the endpoint is made of from now on.
pub fn modify(
    tx: &mut Tx,
    cx: &Context,
    endpoint: &VpcEndpoint,
    of: &Interface,
    change: &Change,
) -> Result<Interface> {
    let mut of = of.clone();
    if let Some(on) = change.private_dns {
        if on && !of.private_dns {
            let vpc = vpc::ops::vpc(tx, cx, &endpoint.vpc_id)?;
            check_private_dns(tx, cx, endpoint, &vpc)?;
        }
        of.private_dns = on;
    }
    for id in &change.remove_groups {
        resource::find::<SecurityGroup>(tx, cx, id)?;
    }
    let mut groups = of.groups.clone();
    groups.retain(|id| !change.remove_groups.contains(id));
    groups.extend(change.add_groups.iter().cloned());
    if groups.is_empty() {
        return Err(Error::InvalidParameter(
            "An interface endpoint has at least one security group.".to_owned(),
        ));
    }
    of.groups = security_group::ops::for_interface(tx, cx, &endpoint.vpc_id, &groups, &[])?;
    for subnet in &change.remove_subnets {
        vpc::ops::subnet(tx, cx, subnet)?;
        if let Some(interface) = of.interfaces.remove(subnet) {
            remove_interface(tx, cx, &interface);
        }
    }
    for id in of.interfaces.values() {
        if let Some(present) = tx.get::<NetworkInterface>(&cx.key(id)) {
            tx.put(NetworkInterface { groups: of.groups.clone(), ..(*present).clone() });
        }
    }
    add_subnets(tx, cx, endpoint, &mut of, &change.add_subnets)?;
    Ok(of)
}

pub fn remove(tx: &mut Tx, cx: &Context, of: &Interface) {
    of.interfaces.values().for_each(|id| remove_interface(tx, cx, id));
}

fn remove_interface(tx: &mut Tx, cx: &Context, id: &str) {
    if let Some(interface) = tx.get::<NetworkInterface>(&cx.key(id)) {
        network_interface::ops::remove(tx, cx, &interface);
    }
}

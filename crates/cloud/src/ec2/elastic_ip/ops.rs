//! Taking public addresses from the pool, giving them to private ones, and giving them back.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Association, PublicAddress};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::network_interface::{self, NetworkInterface};
use crate::ec2::vpc::Cidr;
use crate::ec2::{Error, Kind, Result, instance, internet_gateway, tag};
use crate::tag::Tags;
use crate::{Context, id};

/// AWS's default quota, for each region.
pub const MAX_ADDRESSES: usize = 5;

/// What a pool hands out: all but its first address and its last /24, where the host's end of the link
/// to the pool and the addresses of services have their place.
pub fn usable(pool: Cidr) -> RangeInclusive<u32> {
    pool.first() + 1..=pool.last() - 256
}

/// A free address, by chance, so that one just given back is not soon used again.
fn free(snapshot: &Snapshot, cx: &Context) -> Result<Ipv4Addr> {
    let usable = usable(cx.env.config.public_pool);
    let count = usable.end() - usable.start() + 1;
    let start = cx.env.rng.below(u64::from(count)) as u32;
    (0..count)
        .map(|step| Ipv4Addr::from(usable.start() + (start + step) % count))
        .find(|address| by_address(snapshot, *address).is_none())
        .ok_or(Error::InsufficientAddressCapacity)
}

/// Whoever has it, of whatever account and region.
pub fn by_address(snapshot: &Snapshot, address: Ipv4Addr) -> Option<Arc<PublicAddress>> {
    snapshot.get(&PublicAddress::key_of(address))
}

/// The elastic addresses of this account and region, in order of their allocation ids.
pub fn elastic(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<PublicAddress>> {
    let own =
        |a: &Arc<PublicAddress>| a.is_elastic() && a.account == cx.account && a.region == cx.region;
    let mut all: Vec<Arc<PublicAddress>> = snapshot.scan("").filter(own).collect();
    all.sort_by(|a, b| a.allocation_id.cmp(&b.allocation_id));
    all
}

/// By `eipalloc-…`
pub fn by_allocation(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<PublicAddress>> {
    if !Kind::Allocation.is_id(id) {
        return Err(Error::malformed(Kind::Allocation, id));
    }
    elastic(snapshot, cx)
        .into_iter()
        .find(|address| address.allocation_id.as_deref() == Some(id))
        .ok_or_else(|| Error::not_found(Kind::Allocation, id))
}

fn by_public_ip(snapshot: &Snapshot, cx: &Context, text: &str) -> Result<Arc<PublicAddress>> {
    elastic(snapshot, cx)
        .into_iter()
        .find(|address| address.address.to_string() == text)
        .ok_or_else(|| Error::not_found(Kind::PublicAddress, text))
}

/// An elastic address by one of its names.
pub fn named(
    snapshot: &Snapshot,
    cx: &Context,
    allocation_id: Option<&str>,
    public_ip: Option<&str>,
) -> Result<Arc<PublicAddress>> {
    match (allocation_id, public_ip) {
        (Some(_), Some(_)) => Err(Error::combination(
            "You may specify public IP or allocation id, but not both in the same call",
        )),
        (Some(id), None) => by_allocation(snapshot, cx, id),
        (None, Some(text)) => by_public_ip(snapshot, cx, text),
        (None, None) => Err(Error::MissingParameter("AllocationId")),
    }
}

pub fn allocate(tx: &mut Tx, cx: &Context, tags: &Tags) -> Result<PublicAddress> {
    tag::ops::check(tags)?;
    if elastic(tx, cx).len() >= MAX_ADDRESSES {
        return Err(Error::AddressLimitExceeded);
    }
    let allocation_id = id::resource(&cx.env.rng, "eipalloc");
    tag::ops::set(tx, cx, &allocation_id, tags)?;
    let made = PublicAddress {
        account: cx.account.clone(),
        region: cx.region.clone(),
        address: free(tx, cx)?,
        allocation_id: Some(allocation_id),
        association: None,
    };
    tx.put(made.clone());
    Ok(made)
}

pub fn release(tx: &mut Tx, cx: &Context, address: &PublicAddress) -> Result<()> {
    if address.association.is_some() {
        return Err(Error::AddressInUse(address.address));
    }
    if let Some(id) = &address.allocation_id {
        tag::ops::forget(tx, cx, id);
    }
    tx.delete::<PublicAddress>(&PublicAddress::key_of(address.address));
    Ok(())
}

/// What an address shall stand for, as a request names it.
#[derive(Clone, Debug, Default)]
pub struct Target {
    pub instance_id: Option<String>,
    pub interface_id: Option<String>,
    /// `None`: the primary one.
    pub private_ip: Option<Ipv4Addr>,
}

impl Target {
    fn resolve(
        &self,
        snapshot: &Snapshot,
        cx: &Context,
    ) -> Result<(Arc<NetworkInterface>, Ipv4Addr)> {
        let interface = match (&self.interface_id, &self.instance_id) {
            (Some(id), _) => network_interface::ops::by_id(snapshot, cx, id)?,
            (None, Some(id)) => of_instance(snapshot, cx, id)?,
            (None, None) => {
                return Err(Error::combination(
                    "Either 'InstanceId' or 'NetworkInterfaceId' must be specified",
                ));
            }
        };
        if let (Some(_), Some(instance)) = (&self.interface_id, &self.instance_id)
            && !interface.is_attached_to(instance)
        {
            return Err(Error::combination(format!(
                "The network interface '{}' is not attached to the instance '{instance}'",
                interface.id
            )));
        }
        let private_ip = self.private_ip.unwrap_or(interface.primary());
        if !interface.addresses.contains(&private_ip) {
            return Err(Error::value(format!(
                "{private_ip} is not an address of the network interface '{}'",
                interface.id
            )));
        }
        Ok((interface, private_ip))
    }
}

fn of_instance(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<NetworkInterface>> {
    let instance: Arc<Instance> = instance::ops::instance(snapshot, cx, id)?;
    let state = instance.state();
    if !matches!(state, InstanceState::Running | InstanceState::Stopped) {
        return Err(Error::InvalidInstanceId(format!(
            "The {} instance '{id}' is not in a valid state for this operation.",
            state.name()
        )));
    }
    if !instance.secondary_interfaces.is_empty() {
        return Err(Error::InvalidInstanceId(format!(
            "There are multiple interfaces attached to instance '{id}'. Please specify an interface \
             ID for the operation instead."
        )));
    }
    network_interface::ops::primary_of(snapshot, cx, &instance)
}

/// Makes the address stand for the target's; the same again changes nothing. Unless `reassociate`,
/// neither may be in use elsewhere; a lent address always makes way.
pub fn associate(
    tx: &mut Tx,
    cx: &Context,
    address: &PublicAddress,
    target: &Target,
    reassociate: bool,
) -> Result<Association> {
    let (interface, private_ip) = target.resolve(tx, cx)?;
    if let Some(present) = &address.association {
        if present.interface_id == interface.id && present.private_ip == private_ip {
            return Ok(present.clone());
        }
        if !reassociate {
            let id = address.allocation_id.as_deref().unwrap_or_default();
            return Err(already_associated(id, &present.id));
        }
    }
    let other = interface.public.get(&private_ip).and_then(|other| by_address(tx, *other));
    if let Some(other) = other.filter(|other| other.is_elastic() && !reassociate) {
        let association = other.association.as_ref().map(|a| a.id.clone()).unwrap_or_default();
        return Err(already_associated(&interface.id, &association));
    }
    unbind_address(tx, cx, address);
    unbind(tx, cx, &interface.id, private_ip);
    bind(tx, cx, address, &interface.id, private_ip)
}

/// What users associate must be of a VPC that is joined to the internet.
pub fn check_gateway(snapshot: &Snapshot, cx: &Context, association: &Association) -> Result<()> {
    let interface = network_interface::ops::by_id(snapshot, cx, &association.interface_id)?;
    match internet_gateway::ops::of_vpc(snapshot, cx, &interface.vpc_id) {
        Some(_) => Ok(()),
        None => Err(Error::NoInternetGateway(interface.vpc_id.clone())),
    }
}

fn already_associated(resource: &str, association: &str) -> Error {
    Error::AlreadyAssociated(format!(
        "resource {resource} is already associated with associate-id {association}"
    ))
}

pub fn disassociate(tx: &mut Tx, cx: &Context, association_id: &str) -> Result<()> {
    let is_it = |a: &Arc<PublicAddress>| {
        a.association.as_ref().is_some_and(|association| association.id == association_id)
    };
    let found = elastic(tx, cx).into_iter().find(is_it);
    let found = found.ok_or_else(|| Error::not_found(Kind::Association, association_id))?;
    let interface_id = found.association.as_ref().map_or("", |a| &a.interface_id);
    network_interface::ops::changeable(tx, cx, interface_id)?;
    unbind_address(tx, cx, &found);
    Ok(())
}

fn bind(
    tx: &mut Tx,
    cx: &Context,
    address: &PublicAddress,
    interface_id: &str,
    private_ip: Ipv4Addr,
) -> Result<Association> {
    let interface = network_interface::ops::by_id(tx, cx, interface_id)?;
    let association = Association {
        id: id::resource(&cx.env.rng, "eipassoc"),
        interface_id: interface_id.to_owned(),
        private_ip,
    };
    let mut interface = NetworkInterface::clone(&interface);
    interface.public.insert(private_ip, address.address);
    tx.put(interface);
    tx.put(PublicAddress { association: Some(association.clone()), ..address.clone() });
    Ok(association)
}

/// From whatever it stands for.
fn unbind_address(tx: &mut Tx, cx: &Context, address: &PublicAddress) {
    if let Some(association) = &address.association {
        unbind(tx, cx, &association.interface_id.clone(), association.private_ip);
    }
}

/// Takes an interface's public address for a private one away: an elastic one is kept, a lent one goes
/// back to the pool.
pub fn unbind(tx: &mut Tx, cx: &Context, interface_id: &str, private_ip: Ipv4Addr) {
    let Some(interface) = tx.get::<NetworkInterface>(&cx.key(interface_id)) else { return };
    let mut interface = NetworkInterface::clone(&interface);
    let Some(public) = interface.public.remove(&private_ip) else { return };
    tx.put(interface);
    match by_address(tx, public) {
        Some(record) if record.is_elastic() => {
            tx.put(PublicAddress { association: None, ..(*record).clone() });
        }
        _ => drop(tx.delete::<PublicAddress>(&PublicAddress::key_of(public))),
    }
}

/// For as long as the instance runs whose primary interface it is, if that shall have one.
pub fn lend(tx: &mut Tx, cx: &Context, interface_id: &str) -> Result<()> {
    let interface = network_interface::ops::by_id(tx, cx, interface_id)?;
    if !interface.auto_public || interface.public.contains_key(&interface.primary()) {
        return Ok(());
    }
    let lent = PublicAddress {
        account: cx.account.clone(),
        region: cx.region.clone(),
        address: free(tx, cx)?,
        allocation_id: None,
        association: None,
    };
    bind(tx, cx, &lent, interface_id, interface.primary()).map(drop)
}

/// The instance runs no more.
pub fn take_back(tx: &mut Tx, cx: &Context, interface_id: &str) {
    let Some(interface) = tx.get::<NetworkInterface>(&cx.key(interface_id)) else { return };
    let private_ip = interface.primary();
    let lent = interface.public.get(&private_ip).and_then(|public| by_address(tx, *public));
    if lent.is_some_and(|lent| !lent.is_elastic()) {
        unbind(tx, cx, interface_id, private_ip);
    }
}

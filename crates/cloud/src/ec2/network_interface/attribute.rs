//! Changing an interface: its groups, its description, its addresses.

use std::net::Ipv4Addr;

use store::Tx;

use super::model::{Attachment, NetworkInterface, Progress};
use super::ops;
use crate::Context;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::{Error, Kind, Result, elastic_ip, security_group, vpc};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Description(String),
    /// Ids.
    Groups(Vec<String>),
    SourceDestCheck(bool),
    AssociatePublicIpAddress(bool),
    /// `None` for the attachment: whichever it is.
    DeleteOnTermination {
        attachment_id: Option<String>,
        on: bool,
    },
}

pub fn modify(tx: &mut Tx, cx: &Context, id: &str, change: &Change) -> Result<()> {
    let mut next = NetworkInterface::clone(&*ops::changeable(tx, cx, id)?);
    match change.clone() {
        Change::Description(text) => next.description = text,
        Change::Groups(ids) => {
            if ids.is_empty() {
                return Err(Error::value("You must specify at least one security group."));
            }
            next.groups = security_group::ops::for_interface(tx, cx, &next.vpc_id, &ids, &[])?;
        }
        Change::SourceDestCheck(on) => next.source_dest_check = on,
        Change::AssociatePublicIpAddress(on) => {
            if next.attachment.as_ref().is_none_or(|a| a.device_index != 0) {
                return Err(Error::combination(
                    "AssociatePublicIpAddress is an attribute of primary network interfaces.",
                ));
            }
            next.auto_public = on;
            return make_public(tx, cx, next);
        }
        Change::DeleteOnTermination { attachment_id, on } => {
            let named = |a: &&mut Attachment| attachment_id.as_ref().is_none_or(|id| *id == a.id);
            let Some(attachment) = next.attachment.as_mut().filter(named) else {
                return Err(match attachment_id {
                    Some(id) => Error::not_found(Kind::Attachment, id),
                    None => Error::IncorrectState(format!("Interface {id} is not attached.")),
                });
            };
            attachment.delete_on_termination = on;
        }
    }
    tx.put(next);
    Ok(())
}

/// Or no more; what runs gets its public address, or loses it, at once.
fn make_public(tx: &mut Tx, cx: &Context, interface: NetworkInterface) -> Result<()> {
    let (id, on) = (interface.id.clone(), interface.auto_public);
    let runs = holder(tx, cx, &interface).is_some_and(|i| i.state() != InstanceState::Stopped);
    tx.put(interface);
    match on {
        true if runs => elastic_ip::ops::lend(tx, cx, &id)?,
        true => {}
        false => elastic_ip::ops::take_back(tx, cx, &id),
    }
    Ok(())
}

/// Secondary addresses to come: these, or so many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Addresses(Vec<Ipv4Addr>),
    Count(usize),
}

/// What was assigned. `reassign` takes addresses from other interfaces of the subnet.
pub fn assign(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    asked: &Asked,
    reassign: bool,
) -> Result<Vec<Ipv4Addr>> {
    let interface = ops::changeable(tx, cx, id)?;
    let fresh: Vec<Ipv4Addr> = match asked {
        Asked::Addresses(all) => {
            let is_new = |address: &&Ipv4Addr| !interface.addresses.contains(address);
            all.iter().filter(is_new).copied().collect()
        }
        Asked::Count(_) => vec![],
    };
    let more = if let Asked::Count(count) = asked { *count } else { fresh.len() };
    let total = interface.addresses.len() + more;
    if let Some(instance) = holder(tx, cx, &interface) {
        ops::check_limits(&instance.instance_type, 1, total)?;
    }
    let mut assigned = Vec::new();
    let subnet = &interface.subnet_id;
    for address in fresh {
        if reassign && let Some(held) = vpc::ops::holder_of(tx, cx, subnet, address) {
            take_back(tx, cx, &held.holder, address)?;
        }
        vpc::ops::claim(tx, cx, subnet, address, id)?;
        assigned.push(address);
    }
    if let Asked::Count(count) = asked {
        for _ in 0..*count {
            assigned.push(vpc::ops::allocate(tx, cx, subnet, id)?);
        }
    }
    let addresses = interface.addresses.iter().chain(&assigned).copied().collect();
    put_addresses(tx, cx, &interface, addresses);
    Ok(assigned)
}

/// From an interface whose secondary address it is.
fn take_back(tx: &mut Tx, cx: &Context, holder: &str, address: Ipv4Addr) -> Result<()> {
    let other = ops::changeable(tx, cx, holder).map_err(|_| Error::AddressInUse(address))?;
    if other.primary() == address {
        return Err(Error::AddressInUse(address));
    }
    drop_addresses(tx, cx, &other, &[address]);
    Ok(())
}

pub fn unassign(tx: &mut Tx, cx: &Context, id: &str, addresses: &[Ipv4Addr]) -> Result<()> {
    let interface = ops::changeable(tx, cx, id)?;
    if addresses.contains(&interface.primary()) {
        return Err(Error::value(
            "The primary IP address of the interface cannot be unassigned. Specify a secondary \
             private IP address.",
        ));
    }
    if addresses.iter().any(|address| !interface.addresses.contains(address)) {
        return Err(Error::value(format!(
            "Some of the specified addresses are not assigned to interface {id}"
        )));
    }
    drop_addresses(tx, cx, &interface, addresses);
    Ok(())
}

fn drop_addresses(tx: &mut Tx, cx: &Context, interface: &NetworkInterface, gone: &[Ipv4Addr]) {
    for address in gone {
        elastic_ip::ops::unbind(tx, cx, &interface.id, *address);
        vpc::ops::release(tx, cx, &interface.subnet_id, *address);
    }
    let Some(interface) = tx.get::<NetworkInterface>(&cx.key(&interface.id)) else { return };
    let kept = interface.addresses.iter().filter(|address| !gone.contains(address));
    let kept = kept.copied().collect();
    put_addresses(tx, cx, &interface, kept);
}

fn put_addresses(
    tx: &mut Tx,
    cx: &Context,
    interface: &NetworkInterface,
    addresses: Vec<Ipv4Addr>,
) {
    let mut next = NetworkInterface { addresses, ..interface.clone() };
    let runs = holder(tx, cx, interface).is_some_and(|i| i.state() != InstanceState::Stopped);
    if let Some(attachment) = next.attachment.as_mut().filter(|_| runs)
        && attachment.progress == Progress::Attached
    {
        attachment.progress = Progress::Changing;
    }
    tx.put(next);
}

fn holder(tx: &Tx, cx: &Context, interface: &NetworkInterface) -> Option<std::sync::Arc<Instance>> {
    tx.get(&cx.key(&interface.attachment.as_ref()?.instance_id))
}

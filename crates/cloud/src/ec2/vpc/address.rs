//! Who holds which address of a subnet.

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Address, Subnet};
use super::subnet::ops::subnet;
use crate::Context;
use crate::ec2::{Error, Result};

/// Addresses of the subnet in use, in order.
pub fn addresses(snapshot: &Snapshot, cx: &Context, subnet_id: &str) -> Vec<Arc<Address>> {
    snapshot.scan(&format!("{}{subnet_id}/", cx.prefix())).collect()
}

pub fn available(snapshot: &Snapshot, cx: &Context, subnet: &Subnet) -> usize {
    let prefix = format!("{}{}/", cx.prefix(), subnet.id);
    subnet.usable_count() - snapshot.scan::<Address>(&prefix).count()
}

/// Gives `holder` a free address, by chance, so that one just released is not soon used again.
pub fn allocate(tx: &mut Tx, cx: &Context, subnet_id: &str, holder: &str) -> Result<Ipv4Addr> {
    let subnet = subnet(tx, cx, subnet_id)?;
    let usable = subnet.usable();
    let count = subnet.usable_count() as u32;
    let start = cx.env.rng.below(u64::from(count)) as u32;
    for step in 0..count {
        let address = Ipv4Addr::from(usable.start() + (start + step) % count);
        if holder_of(tx, cx, subnet_id, address).is_none() {
            hold(tx, cx, subnet_id, address, holder);
            return Ok(address);
        }
    }
    Err(Error::InsufficientFreeAddressesInSubnet(subnet_id.to_owned()))
}

/// Gives `holder` the address it asks for.
pub fn claim(
    tx: &mut Tx,
    cx: &Context,
    subnet_id: &str,
    address: Ipv4Addr,
    holder: &str,
) -> Result<()> {
    let subnet = subnet(tx, cx, subnet_id)?;
    if !subnet.cidr.contains(address) {
        return Err(Error::value("Address does not fall within the subnet's address range"));
    }
    if !subnet.usable().contains(&u32::from(address)) {
        return Err(Error::value("Address is in subnet's reserved address range"));
    }
    if holder_of(tx, cx, subnet_id, address).is_some() {
        return Err(Error::AddressInUse(address));
    }
    hold(tx, cx, subnet_id, address, holder);
    Ok(())
}

fn hold(tx: &mut Tx, cx: &Context, subnet_id: &str, address: Ipv4Addr, holder: &str) {
    tx.put(Address {
        account: cx.account.clone(),
        region: cx.region.clone(),
        subnet_id: subnet_id.to_owned(),
        address,
        holder: holder.to_owned(),
    });
}

/// Who holds an address.
pub fn holder_of(
    snapshot: &Snapshot,
    cx: &Context,
    subnet_id: &str,
    address: Ipv4Addr,
) -> Option<Arc<Address>> {
    snapshot.get(&Address::key_of(&cx.account, &cx.region, subnet_id, address))
}

/// Whether it was held.
pub fn release(tx: &mut Tx, cx: &Context, subnet_id: &str, address: Ipv4Addr) -> bool {
    tx.delete::<Address>(&Address::key_of(&cx.account, &cx.region, subnet_id, address))
}

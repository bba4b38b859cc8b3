//! Finding, making, changing and deleting network ACLs, their entries and associations.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Association, Entry, NetworkAcl};
use crate::ec2::resource::{self, Resource};
use crate::ec2::vpc::{self, Cidr, Subnet, Vpc};
use crate::ec2::{Error, Kind, Result, client_token, tag};
use crate::tag::Tags;
use crate::{Context, id};

/// AWS's default quota, of each direction.
const MAX_ENTRIES: usize = 20;

impl Resource for NetworkAcl {
    const KIND: Kind = Kind::NetworkAcl;

    fn id(&self) -> &str {
        &self.id
    }

    /// The default ACL of each VPC, which lets everything pass.
    fn untouched(snapshot: &Snapshot, cx: &Context) -> Vec<NetworkAcl> {
        let everything = |egress| Entry {
            egress,
            number: 100,
            allow: true,
            protocol: -1,
            ports: None,
            icmp: None,
            cidr: Cidr::ANY,
        };
        let default = |vpc: Vpc| NetworkAcl {
            account: cx.account.clone(),
            region: cx.region.clone(),
            id: default_id(&vpc.id),
            vpc_id: vpc.id,
            is_default: true,
            entries: vec![everything(false), everything(true)],
            associations: vec![],
            client_token: None,
        };
        vpc::ops::vpcs(snapshot, cx).into_iter().map(default).collect()
    }
}

/// Of a VPC's default ACL.
pub fn default_id(vpc_id: &str) -> String {
    id::stable("acl", &[vpc_id])
}

/// The ACL that decides for a subnet.
pub fn for_subnet(snapshot: &Snapshot, cx: &Context, subnet: &Subnet) -> Result<Arc<NetworkAcl>> {
    associated(snapshot, cx, subnet).map(|(acl, _)| acl)
}

pub fn associated(
    snapshot: &Snapshot,
    cx: &Context,
    subnet: &Subnet,
) -> Result<(Arc<NetworkAcl>, Association)> {
    for acl in of_vpc(snapshot, cx, &subnet.vpc_id) {
        let given = acl.associations.iter().find(|a| a.subnet_id == subnet.id).cloned();
        if let Some(association) = given {
            return Ok((acl, association));
        }
    }
    let default = acl(snapshot, cx, &default_id(&subnet.vpc_id))?;
    Ok((default, untouched_association(subnet)))
}

/// Of a subnet that was given no ACL.
fn untouched_association(subnet: &Subnet) -> Association {
    Association { id: id::stable("aclassoc", &[&subnet.id]), subnet_id: subnet.id.clone() }
}

pub fn of_vpc(snapshot: &Snapshot, cx: &Context, vpc_id: &str) -> Vec<Arc<NetworkAcl>> {
    let mut all = resource::all::<NetworkAcl>(snapshot, cx);
    all.retain(|acl| acl.vpc_id == vpc_id);
    all
}

pub fn acl(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<NetworkAcl>> {
    resource::find(snapshot, cx, id)
}

/// Every subnet that has the ACL, those that were given none included.
pub fn associations(snapshot: &Snapshot, cx: &Context, acl: &NetworkAcl) -> Vec<Association> {
    if !acl.is_default {
        return acl.associations.clone();
    }
    let subnets = vpc::subnet::ops::of_vpc(snapshot, cx, &acl.vpc_id);
    let all = subnets.iter().filter_map(|subnet| associated(snapshot, cx, subnet).ok());
    all.filter(|(of, _)| of.id == acl.id).map(|(_, association)| association).collect()
}

/// It lets nothing pass. With the same token again: the ACL that was made.
pub fn create(
    tx: &mut Tx,
    cx: &Context,
    vpc_id: &str,
    token: Option<&str>,
    tags: &Tags,
) -> Result<Arc<NetworkAcl>> {
    tag::ops::check(tags)?;
    let vpc = vpc::ops::vpc(tx, cx, vpc_id)?;
    let client_token = client_token::of(token, &(&vpc.id, tags))?;
    let all = resource::all::<NetworkAcl>(tx, cx).into_iter();
    if let Some(made) = client_token::made(&client_token, all, |acl| &acl.client_token)? {
        return Ok(made);
    }
    let acl = NetworkAcl {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "acl"),
        vpc_id: vpc.id,
        is_default: false,
        entries: vec![],
        associations: vec![],
        client_token,
    };
    tag::ops::set(tx, cx, &acl.id, tags)?;
    tx.put(acl.clone());
    Ok(Arc::new(acl))
}

pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let acl = acl(tx, cx, id)?;
    if acl.is_default {
        return Err(Error::value(format!("cannot delete default network ACL {id}")));
    }
    if !acl.associations.is_empty() {
        return Err(Error::DependencyViolation(format!(
            "The networkAcl '{id}' has dependencies and cannot be deleted."
        )));
    }
    resource::delete::<NetworkAcl>(tx, cx, id);
    Ok(())
}

fn position(acl: &NetworkAcl, egress: bool, number: i32) -> Option<usize> {
    acl.entries.iter().position(|entry| entry.egress == egress && entry.number == number)
}

pub fn create_entry(tx: &mut Tx, cx: &Context, id: &str, entry: Entry) -> Result<()> {
    let mut acl = NetworkAcl::clone(&*acl(tx, cx, id)?);
    if position(&acl, entry.egress, entry.number).is_some() {
        return Err(Error::NetworkAclEntryAlreadyExists(entry.number));
    }
    if acl.entries_of(entry.egress).count() >= MAX_ENTRIES {
        return Err(Error::LimitExceeded(
            "NetworkAclEntryLimitExceeded",
            "The maximum number of network acl entries has been reached.",
        ));
    }
    acl.entries.push(entry);
    acl.entries.sort_by_key(|entry| (entry.egress, entry.number));
    tx.put(acl);
    Ok(())
}

pub fn replace_entry(tx: &mut Tx, cx: &Context, id: &str, entry: Entry) -> Result<()> {
    let mut acl = NetworkAcl::clone(&*acl(tx, cx, id)?);
    let at = position(&acl, entry.egress, entry.number)
        .ok_or(Error::NetworkAclEntryNotFound(entry.number))?;
    acl.entries[at] = entry;
    tx.put(acl);
    Ok(())
}

pub fn delete_entry(tx: &mut Tx, cx: &Context, id: &str, egress: bool, number: i32) -> Result<()> {
    let mut acl = NetworkAcl::clone(&*acl(tx, cx, id)?);
    let at = position(&acl, egress, number).ok_or(Error::NetworkAclEntryNotFound(number))?;
    acl.entries.remove(at);
    tx.put(acl);
    Ok(())
}

/// Gives a subnet another ACL; the new association's id.
pub fn replace_association(
    tx: &mut Tx,
    cx: &Context,
    association_id: &str,
    acl_id: &str,
) -> Result<String> {
    let to = acl(tx, cx, acl_id)?;
    let subnets = vpc::ops::subnets(tx, cx);
    let found = subnets.iter().find_map(|subnet| {
        let (from, association) = associated(tx, cx, subnet).ok()?;
        (association.id == association_id).then_some((subnet, from))
    });
    let (subnet, from) =
        found.ok_or_else(|| Error::not_found(Kind::Association, association_id))?;
    if to.vpc_id != subnet.vpc_id {
        return Err(Error::value(format!(
            "network acl {acl_id} and subnet {} belong to different networks",
            subnet.id
        )));
    }
    if from.id == to.id {
        return Ok(association_id.to_owned());
    }
    forget_subnet(tx, cx, subnet);
    let id = id::resource(&cx.env.rng, "aclassoc");
    let mut to = NetworkAcl::clone(&to);
    to.associations.push(Association { id: id.clone(), subnet_id: subnet.id.clone() });
    tx.put(to);
    Ok(id)
}

/// The subnet was given no ACL, or is no more.
pub fn forget_subnet(tx: &mut Tx, cx: &Context, subnet: &Subnet) {
    for acl in of_vpc(tx, cx, &subnet.vpc_id) {
        if acl.associations.iter().any(|association| association.subnet_id == subnet.id) {
            let mut acl = NetworkAcl::clone(&acl);
            acl.associations.retain(|association| association.subnet_id != subnet.id);
            tx.put(acl);
        }
    }
}

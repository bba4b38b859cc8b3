//! Making, attaching, detaching and deleting internet gateways.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::InternetGateway;
use crate::ec2::listing::{self, Listing};
use crate::ec2::network_interface::{self, NetworkInterface};
use crate::ec2::resource::{self, Resource};
use crate::ec2::{Error, Kind, Result, tag, vpc};
use crate::tag::Tags;
use crate::{Context, id};

impl Resource for InternetGateway {
    const KIND: Kind = Kind::InternetGateway;

    fn id(&self) -> &str {
        &self.id
    }

    /// That of the default VPC that a region has from the start.
    fn untouched(_: &Snapshot, cx: &Context) -> Vec<InternetGateway> {
        vec![InternetGateway {
            account: cx.account.clone(),
            region: cx.region.clone(),
            id: first_id(cx),
            vpc_id: Some(vpc::ops::first_id(cx)),
        }]
    }
}

/// Of the gateway of the default VPC that a region has from the start.
pub fn first_id(cx: &Context) -> String {
    id::stable("igw", &[&cx.account, &cx.region])
}

/// The gateway attached to a VPC.
pub fn of_vpc(snapshot: &Snapshot, cx: &Context, vpc_id: &str) -> Option<Arc<InternetGateway>> {
    let mut all = resource::all::<InternetGateway>(snapshot, cx).into_iter();
    all.find(|gateway| gateway.vpc_id.as_deref() == Some(vpc_id))
}

pub fn create(tx: &mut Tx, cx: &Context, tags: &Tags) -> Result<InternetGateway> {
    tag::ops::check(tags)?;
    let gateway = InternetGateway {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "igw"),
        vpc_id: None,
    };
    tag::ops::set(tx, cx, &gateway.id, tags)?;
    tx.put(gateway.clone());
    Ok(gateway)
}

pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    if resource::find::<InternetGateway>(tx, cx, id)?.vpc_id.is_some() {
        return Err(Error::DependencyViolation(format!(
            "The internetGateway '{id}' has dependencies and cannot be deleted."
        )));
    }
    resource::delete::<InternetGateway>(tx, cx, id);
    Ok(())
}

pub fn attach(tx: &mut Tx, cx: &Context, id: &str, vpc_id: &str) -> Result<()> {
    let gateway = resource::find::<InternetGateway>(tx, cx, id)?;
    let vpc = vpc::ops::vpc(tx, cx, vpc_id)?;
    if let Some(other) = &gateway.vpc_id {
        return Err(Error::AlreadyAssociated(format!(
            "resource {id} is already attached to network {other}"
        )));
    }
    if of_vpc(tx, cx, &vpc.id).is_some() {
        return Err(Error::value(format!(
            "Network {vpc_id} already has an internet gateway attached"
        )));
    }
    tx.put(InternetGateway { vpc_id: Some(vpc.id), ..InternetGateway::clone(&gateway) });
    Ok(())
}

pub fn detach(tx: &mut Tx, cx: &Context, id: &str, vpc_id: &str) -> Result<()> {
    let gateway = resource::find::<InternetGateway>(tx, cx, id)?;
    let vpc = vpc::ops::vpc(tx, cx, vpc_id)?;
    if gateway.vpc_id.as_ref() != Some(&vpc.id) {
        return Err(Error::GatewayNotAttached {
            gateway: id.to_owned(),
            vpc_id: vpc_id.to_owned(),
        });
    }
    let mapped = |i: &Arc<NetworkInterface>| !i.public.is_empty();
    if network_interface::ops::of_vpc(tx, cx, vpc_id).iter().any(mapped) {
        return Err(Error::DependencyViolation(format!(
            "Network {vpc_id} has some mapped public address(es). Please unmap those public \
             address(es) before detaching the gateway."
        )));
    }
    tx.put(InternetGateway { vpc_id: None, ..InternetGateway::clone(&gateway) });
    Ok(())
}

const FILTERS: &[&str] =
    &["attachment.state", "attachment.vpc-id", "internet-gateway-id", "owner-id"];

type Found = (Vec<Arc<InternetGateway>>, Option<String>);

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    let mut all = resource::all::<InternetGateway>(snapshot, cx);
    listing::only(&mut all, ids, |gateway| &gateway.id, Kind::InternetGateway)?;
    listing.check(FILTERS, true)?;
    listing.check_max_results(5..=1000)?;
    all.retain(|gateway| {
        let tags = || tag::ops::tags_of(snapshot, cx, &gateway.id);
        listing.keeps(tags, |name| match name {
            "attachment.state" => gateway.vpc_id.iter().map(|_| "available".to_owned()).collect(),
            "attachment.vpc-id" => gateway.vpc_id.iter().cloned().collect(),
            "internet-gateway-id" => vec![gateway.id.clone()],
            "owner-id" => vec![gateway.account.clone()],
            _ => vec![],
        })
    });
    listing.page(all, |gateway| gateway.id.clone())
}

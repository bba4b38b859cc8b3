//! Which interfaces a Describe call is about: ids, filters, pages.

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::Snapshot;

use super::model::NetworkInterface;
use super::ops;
use crate::Context;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::spec::{private_dns_name, public_host};
use crate::ec2::instance::state::InstanceState;
use crate::ec2::instance::{describe as instance, resolve};
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Error, Kind, Result, elastic_ip, tag};

const FILTERS: &[&str] = &[
    "addresses.association.owner-id",
    "addresses.association.public-ip",
    "addresses.primary",
    "addresses.private-ip-address",
    "association.allocation-id",
    "association.association-id",
    "association.ip-owner-id",
    "association.public-dns-name",
    "association.public-ip",
    "attachment.attach-time",
    "attachment.attachment-id",
    "attachment.delete-on-termination",
    "attachment.device-index",
    "attachment.instance-id",
    "attachment.instance-owner-id",
    "attachment.status",
    "availability-zone",
    "availability-zone-id",
    "description",
    "group-id",
    "group-name",
    "interface-type",
    "ipv6-addresses.ipv6-address",
    "mac-address",
    "network-interface-id",
    "owner-id",
    "private-dns-name",
    "private-ip-address",
    "requester-id",
    "requester-managed",
    "source-dest-check",
    "status",
    "subnet-id",
    "vpc-id",
];

type Found = (Vec<Arc<NetworkInterface>>, Option<String>);

pub fn interfaces(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    if !ids.is_empty() && listing.max_results.is_some() {
        return Err(Error::combination(
            "The parameter networkInterfaceIdSet cannot be used with the parameter maxResults",
        ));
    }
    listing.check_max_results(5..=1000)?;
    listing.check(FILTERS, true)?;
    let mut all = ops::all(snapshot, cx);
    listing::only(&mut all, ids, |i| &i.id, Kind::NetworkInterface)?;
    all.retain(|i| {
        let tags = || tag::ops::tags_of(snapshot, cx, &i.id);
        listing.keeps(tags, |name| values(snapshot, cx, i, name))
    });
    listing.page(all, |i| i.id.clone())
}

/// What an interface has for a filter's name.
pub fn values(snapshot: &Snapshot, cx: &Context, i: &NetworkInterface, name: &str) -> Vec<String> {
    if let Some(rest) = name.strip_prefix("attachment.") {
        return attachment_value(snapshot, cx, i, rest).into_iter().collect();
    }
    if let Some(rest) = name.strip_prefix("addresses.association.") {
        let all = i.addresses.iter().filter_map(|address| association(snapshot, cx, i, *address));
        return all.filter_map(|of| association_value(of, rest)).collect();
    }
    if let Some(rest) = name.strip_prefix("association.") {
        let of = association(snapshot, cx, i, i.primary());
        return of.and_then(|of| association_value(of, rest)).into_iter().collect();
    }
    let one = match name {
        "addresses.primary" => {
            let is_primary = |address: &Ipv4Addr| (*address == i.primary()).to_string();
            return i.addresses.iter().map(is_primary).collect();
        }
        "addresses.private-ip-address" => {
            return i.addresses.iter().map(Ipv4Addr::to_string).collect();
        }
        "availability-zone" => i.zone.clone(),
        "availability-zone-id" => {
            return instance::zone_id(cx, &i.zone).into_iter().collect();
        }
        "description" => i.description.clone(),
        "group-id" => return i.groups.clone(),
        "group-name" => {
            let name = |id: &String| resolve::group_name(snapshot, cx, id);
            return i.groups.iter().filter_map(name).collect();
        }
        "interface-type" => i.kind.name().to_owned(),
        "mac-address" => i.mac_text(),
        "network-interface-id" => i.id.clone(),
        "owner-id" => i.account.clone(),
        "private-dns-name" => private_dns_name(&i.region, i.primary()),
        "private-ip-address" => i.primary().to_string(),
        "requester-id" => return i.requester.iter().cloned().collect(),
        "requester-managed" => i.is_requester_managed().to_string(),
        "source-dest-check" => i.source_dest_check.to_string(),
        "status" => i.status().to_owned(),
        "subnet-id" => i.subnet_id.clone(),
        "vpc-id" => i.vpc_id.clone(),
        _ => return vec![],
    };
    vec![one]
}

/// A public address that stands for one of an interface's.
pub struct Association {
    /// Unless it is lent.
    pub allocation_id: Option<String>,
    pub id: Option<String>,
    /// The account, or `amazon` for one that is lent.
    pub owner: String,
    pub public_ip: Ipv4Addr,
    pub dns_name: String,
}

pub fn association(
    snapshot: &Snapshot,
    cx: &Context,
    i: &NetworkInterface,
    private_ip: Ipv4Addr,
) -> Option<Association> {
    let public_ip = *i.public.get(&private_ip)?;
    let record = elastic_ip::ops::by_address(snapshot, public_ip)?;
    let elastic = record.is_elastic();
    Some(Association {
        allocation_id: record.allocation_id.clone(),
        id: record
            .association
            .as_ref()
            .filter(|_| elastic)
            .map(|association| association.id.clone()),
        owner: if elastic { i.account.clone() } else { "amazon".to_owned() },
        public_ip,
        dns_name: public_host(snapshot, cx, &i.vpc_id, public_ip),
    })
}

fn association_value(of: Association, name: &str) -> Option<String> {
    match name {
        "allocation-id" => of.allocation_id,
        "association-id" => of.id,
        "ip-owner-id" | "owner-id" => Some(of.owner),
        "public-dns-name" => Some(of.dns_name),
        "public-ip" => Some(of.public_ip.to_string()),
        _ => None,
    }
}

fn attachment_value(
    snapshot: &Snapshot,
    cx: &Context,
    i: &NetworkInterface,
    name: &str,
) -> Option<String> {
    let attachment = i.attachment.as_ref()?;
    Some(match name {
        "attach-time" => instance::filter_time(attachment.at),
        "attachment-id" => attachment.id.clone(),
        "delete-on-termination" => attachment.delete_on_termination.to_string(),
        "device-index" => attachment.device_index.to_string(),
        "instance-id" => attachment.instance_id.clone(),
        "instance-owner-id" => i.account.clone(),
        "status" => attachment_status(snapshot, cx, i)?.to_owned(),
        _ => return None,
    })
}

/// The primary interface comes and goes with its instance.
pub fn attachment_status(
    snapshot: &Snapshot,
    cx: &Context,
    i: &NetworkInterface,
) -> Option<&'static str> {
    let attachment = i.attachment.as_ref()?;
    let holder = snapshot.get::<Instance>(&cx.key(&attachment.instance_id))?;
    Some(match holder.state() {
        InstanceState::Pending => "attaching",
        InstanceState::ShuttingDown => "detaching",
        _ => attachment.progress.name(),
    })
}

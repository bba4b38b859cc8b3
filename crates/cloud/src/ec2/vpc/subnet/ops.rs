//! Finding, making, changing and deleting subnets.

use store::{Snapshot, Tx};

use crate::ec2::resource::{self, Resource};
use crate::ec2::vpc::model::{Subnet, Vpc};
use crate::ec2::vpc::{Cidr, address, ops as vpc};
use crate::ec2::{Error, Kind, Result, network_acl, route_table, tag};
use crate::tag::Tags;
use crate::zone::{self, Zone};
use crate::{Context, id};

/// Of default subnets.
const DEFAULT_PREFIX: u8 = 20;

impl Resource for Subnet {
    const KIND: Kind = Kind::Subnet;

    fn id(&self) -> &str {
        &self.id
    }

    /// One in each zone of the default VPC that a region has from the start.
    fn untouched(snapshot: &Snapshot, cx: &Context) -> Vec<Subnet> {
        let Some(vpc) = resource::get::<Vpc>(snapshot, cx, &vpc::first_id(cx)) else {
            return vec![];
        };
        let zones = zone::zones(&cx.region, cx.env.config.zones);
        let subnet = |(n, zone): (u32, Zone)| {
            let id = id::stable("subnet", &[&cx.account, &zone.name]);
            default_subnet(cx, &vpc, id, nth_default(&vpc, n), &zone)
        };
        (0..).zip(zones).map(subnet).collect()
    }
}

fn nth_default(vpc: &Vpc, n: u32) -> Cidr {
    Cidr::new(vpc.cidr.nth(n << (32 - DEFAULT_PREFIX)), DEFAULT_PREFIX)
}

fn default_subnet(cx: &Context, vpc: &Vpc, id: String, cidr: Cidr, zone: &Zone) -> Subnet {
    Subnet { default_for_zone: true, map_public_ip: true, ..new(cx, &vpc.id, id, cidr, zone) }
}

fn new(cx: &Context, vpc_id: &str, id: String, cidr: Cidr, zone: &Zone) -> Subnet {
    Subnet {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id,
        vpc_id: vpc_id.to_owned(),
        zone: zone.name.clone(),
        zone_id: zone.id.clone(),
        cidr,
        default_for_zone: false,
        map_public_ip: false,
    }
}

/// All subnets of the region, in order of their zones.
pub fn subnets(snapshot: &Snapshot, cx: &Context) -> Vec<Subnet> {
    let mut all: Vec<Subnet> =
        resource::all(snapshot, cx).iter().map(|subnet| Subnet::clone(subnet)).collect();
    all.sort_by(|a, b| (&a.zone, &a.id).cmp(&(&b.zone, &b.id)));
    all
}

pub fn of_vpc(snapshot: &Snapshot, cx: &Context, vpc_id: &str) -> Vec<Subnet> {
    let mut all = subnets(snapshot, cx);
    all.retain(|subnet| subnet.vpc_id == vpc_id);
    all
}

pub fn subnet(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Subnet> {
    resource::find(snapshot, cx, id).map(|subnet| Subnet::clone(&subnet))
}

/// The default subnet of a zone, given by name; `None` when the region has no such zone, or a user
/// deleted it.
pub fn subnet_for_zone(snapshot: &Snapshot, cx: &Context, zone: &str) -> Option<Subnet> {
    subnets(snapshot, cx).into_iter().find(|subnet| subnet.zone == zone && subnet.default_for_zone)
}

/// Where a subnet shall be: by the name of a zone or by its id.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub zone: Option<String>,
    pub zone_id: Option<String>,
}

impl Place {
    /// The zone named; `None` where none is.
    fn find(&self, cx: &Context) -> Result<Option<Zone>> {
        let zones = zone::zones(&cx.region, cx.env.config.zones);
        let (parameter, wanted) = match (&self.zone, &self.zone_id) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Error::combination(
                    "AvailabilityZone and AvailabilityZoneId may not be specified on the same request.",
                ));
            }
            (Some(name), None) => ("availabilityZone", name),
            (None, Some(id)) => ("availabilityZoneId", id),
        };
        let found = zones.iter().find(|zone| [&zone.name, &zone.id].contains(&wanted));
        let names: Vec<&str> = zones.iter().map(|zone| zone.name.as_str()).collect();
        found.cloned().map(Some).ok_or_else(|| {
            Error::value(format!(
                "Value ({wanted}) for parameter {parameter} is invalid. Subnets can currently only be \
                 created in the following availability zones: {}.",
                names.join(", ")
            ))
        })
    }
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    vpc_id: &str,
    cidr: &str,
    place: &Place,
    tags: &Tags,
) -> Result<Subnet> {
    tag::ops::check(tags)?;
    let vpc = vpc::vpc(tx, cx, vpc_id)?;
    let block = Cidr::canonical(cidr).ok_or_else(|| {
        Error::value(format!(
            "Value ({cidr}) for parameter cidrBlock is invalid. This is not a valid CIDR block."
        ))
    })?;
    if !(16..=28).contains(&block.prefix) || !vpc.blocks().any(|own| own.covers(block)) {
        return Err(Error::InvalidSubnetRange(block.to_string()));
    }
    if of_vpc(tx, cx, vpc_id).iter().any(|other| other.cidr.overlaps(block)) {
        return Err(Error::InvalidSubnetConflict(block.to_string()));
    }
    let zone = match place.find(cx)? {
        Some(zone) => zone,
        None => {
            let mut zones = zone::zones(&cx.region, cx.env.config.zones);
            zones.swap_remove(cx.env.rng.below(zones.len() as u64) as usize)
        }
    };
    let subnet = new(cx, vpc_id, id::resource(&cx.env.rng, "subnet"), block, &zone);
    tag::ops::set(tx, cx, &subnet.id, tags)?;
    tx.put(subnet.clone());
    Ok(subnet)
}

/// In the zone named, where the default one was deleted.
pub fn create_default_in(tx: &mut Tx, cx: &Context, place: &Place) -> Result<Subnet> {
    let zone = place.find(cx)?.ok_or(Error::MissingParameter("AvailabilityZone"))?;
    create_default(tx, cx, &zone)
}

/// In the first part of the default VPC that is free.
pub fn create_default(tx: &mut Tx, cx: &Context, zone: &Zone) -> Result<Subnet> {
    let vpc = vpc::default_vpc(tx, cx)?;
    if let Some(present) = subnet_for_zone(tx, cx, &zone.name) {
        return Err(Error::DefaultSubnetAlreadyExists { id: present.id, zone: present.zone });
    }
    let taken = of_vpc(tx, cx, &vpc.id);
    let parts = 1 << (DEFAULT_PREFIX - vpc.cidr.prefix);
    let free = (0..parts)
        .map(|n| nth_default(&vpc, n))
        .find(|cidr| !taken.iter().any(|other| other.cidr.overlaps(*cidr)))
        .ok_or_else(|| Error::InvalidSubnetConflict(vpc.cidr.to_string()))?;
    let id = id::resource(&cx.env.rng, "subnet");
    let subnet = default_subnet(cx, &vpc, id, free, zone);
    tx.put(subnet.clone());
    Ok(subnet)
}

pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let subnet = subnet(tx, cx, id)?;
    if !address::addresses(tx, cx, id).is_empty() {
        return Err(Error::DependencyViolation(format!(
            "The subnet '{id}' has dependencies and cannot be deleted."
        )));
    }
    route_table::ops::forget_subnet(tx, cx, &subnet);
    network_acl::ops::forget_subnet(tx, cx, &subnet);
    resource::delete::<Subnet>(tx, cx, id);
    Ok(())
}

pub fn map_public_ip(tx: &mut Tx, cx: &Context, id: &str, on: bool) -> Result<()> {
    let subnet = subnet(tx, cx, id)?;
    tx.put(Subnet { map_public_ip: on, ..subnet });
    Ok(())
}

pub fn arn(cx: &Context, id: &str) -> String {
    cx.arn("ec2", &format!("subnet/{id}"))
}

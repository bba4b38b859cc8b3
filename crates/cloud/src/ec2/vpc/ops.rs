//! Finding, making, changing and deleting VPCs.

use std::net::Ipv4Addr;

use store::{Snapshot, Tx};

use super::cidr::Cidr;
use super::model::Vpc;
use crate::ec2::internet_gateway::{self, InternetGateway};
use crate::ec2::network_acl::{self, NetworkAcl};
use crate::ec2::resource::{self, Resource};
use crate::ec2::route_table::model::{Destination, Route, Target};
use crate::ec2::route_table::{self, RouteTable};
use crate::ec2::security_group::{self, SecurityGroup};
use crate::ec2::{Error, Kind, Result, dhcp_options, tag, vpc_endpoint, vpc_peering};
use crate::tag::Tags;
use crate::{Context, id, zone};

pub use super::address::{addresses, allocate, available, claim, holder_of, release};
pub use super::subnet::ops::{subnet, subnet_for_zone, subnets};

const DEFAULT_CIDR: Cidr = Cidr::new(Ipv4Addr::new(172, 31, 0, 0), 16);

/// Which AWS lets no VPC have (Amazon VPC User Guide, "VPC CIDR blocks").
const RESERVED: [Cidr; 4] = [
    Cidr::new(Ipv4Addr::new(0, 0, 0, 0), 8),
    Cidr::new(Ipv4Addr::new(127, 0, 0, 0), 8),
    Cidr::new(Ipv4Addr::new(169, 254, 0, 0), 16),
    Cidr::new(Ipv4Addr::new(224, 0, 0, 0), 4),
];

/// Where this cloud's public addresses are.
const PUBLIC: Cidr = Cidr::new(Ipv4Addr::new(198, 18, 0, 0), 15);

impl Resource for Vpc {
    const KIND: Kind = Kind::Vpc;

    fn id(&self) -> &str {
        &self.id
    }

    fn untouched(_: &Snapshot, cx: &Context) -> Vec<Vpc> {
        let words = [cx.account.as_str(), cx.region.as_str()];
        vec![Vpc {
            account: cx.account.clone(),
            region: cx.region.clone(),
            id: first_id(cx),
            cidr: DEFAULT_CIDR,
            cidr_association_id: id::stable("vpc-cidr-assoc", &words),
            secondary: vec![],
            dhcp_options_id: dhcp_options::ops::first_id(cx),
            is_default: true,
            dns_support: true,
            dns_hostnames: true,
        }]
    }
}

/// Of the default VPC that a region has from the start.
pub fn first_id(cx: &Context) -> String {
    id::stable("vpc", &[&cx.account, &cx.region])
}

pub fn vpcs(snapshot: &Snapshot, cx: &Context) -> Vec<Vpc> {
    resource::all(snapshot, cx).iter().map(|vpc| Vpc::clone(vpc)).collect()
}

pub fn vpc(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Vpc> {
    resource::find(snapshot, cx, id).map(|vpc| Vpc::clone(&vpc))
}

/// The region's default VPC; a user may have deleted it.
pub fn default_vpc(snapshot: &Snapshot, cx: &Context) -> Result<Vpc> {
    let found = vpcs(snapshot, cx).into_iter().find(|vpc| vpc.is_default);
    found.ok_or(Error::VpcIdNotSpecified)
}

pub fn create(tx: &mut Tx, cx: &Context, cidr: &str, tags: &Tags) -> Result<Vpc> {
    tag::ops::check(tags)?;
    let vpc = new(cx, parse_block(cidr)?);
    tag::ops::set(tx, cx, &vpc.id, tags)?;
    tx.put(vpc.clone());
    Ok(vpc)
}

fn new(cx: &Context, cidr: Cidr) -> Vpc {
    Vpc {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "vpc"),
        cidr,
        cidr_association_id: id::resource(&cx.env.rng, "vpc-cidr-assoc"),
        secondary: vec![],
        dhcp_options_id: dhcp_options::ops::first_id(cx),
        is_default: false,
        dns_support: true,
        dns_hostnames: false,
    }
}

/// A block that a VPC may have.
pub fn parse_block(text: &str) -> Result<Cidr> {
    let cidr = Cidr::canonical(text).ok_or_else(|| {
        Error::value(format!(
            "Value ({text}) for parameter cidrBlock is invalid. This is not a valid CIDR block."
        ))
    })?;
    if !(16..=28).contains(&cidr.prefix) || RESERVED.iter().any(|block| block.overlaps(cidr)) {
        return Err(Error::InvalidVpcRange(format!("The CIDR '{cidr}' is invalid.")));
    }
    if PUBLIC.overlaps(cidr) {
        return Err(Error::unsupported(format!(
            "A VPC in {PUBLIC}, where the public addresses are,"
        )));
    }
    Ok(cidr)
}

/// A new default VPC, complete, where the first one was deleted.
pub fn create_default(tx: &mut Tx, cx: &Context) -> Result<Vpc> {
    if default_vpc(tx, cx).is_ok() {
        return Err(Error::DefaultVpcAlreadyExists);
    }
    let vpc = Vpc { is_default: true, dns_hostnames: true, ..new(cx, DEFAULT_CIDR) };
    tx.put(vpc.clone());
    for zone in zone::zones(&cx.region, cx.env.config.zones) {
        super::subnet::ops::create_default(tx, cx, &zone)?;
    }
    let gateway = InternetGateway {
        vpc_id: Some(vpc.id.clone()),
        ..internet_gateway::ops::create(tx, cx, &Tags::new())?
    };
    let main = route_table::ops::main_of(tx, cx, &vpc.id)?;
    let mut main = RouteTable::clone(&main);
    main.routes.push(Route {
        destination: Destination::Cidr(Cidr::ANY),
        target: Target::InternetGateway(gateway.id.clone()),
    });
    tx.put(gateway);
    tx.put(main);
    Ok(vpc)
}

/// With its main route table, its default network ACL and its default group.
pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let vpc = vpc(tx, cx, id)?;
    let tables = route_table::ops::of_vpc(tx, cx, id);
    let acls = network_acl::ops::of_vpc(tx, cx, id);
    let mut groups = security_group::ops::groups(tx, cx);
    groups.retain(|group| group.vpc_id == id);
    let in_use = subnets(tx, cx).iter().any(|subnet| subnet.vpc_id == id)
        || internet_gateway::ops::of_vpc(tx, cx, id).is_some()
        || vpc_peering::ops::has_some(tx, cx, id)
        || !vpc_endpoint::ops::of_vpc(tx, cx, id).is_empty()
        || tables.iter().any(|table| table.main.is_none())
        || acls.iter().any(|acl| !acl.is_default)
        || groups.iter().any(|group| !group.is_default());
    if in_use {
        return Err(Error::DependencyViolation(format!(
            "The vpc '{id}' has dependencies and cannot be deleted."
        )));
    }
    for table in tables {
        resource::forget::<RouteTable>(tx, cx, &table.id);
    }
    resource::forget::<RouteTable>(tx, cx, &route_table::ops::first_id(id));
    for acl in acls {
        resource::forget::<NetworkAcl>(tx, cx, &acl.id);
    }
    for group in groups {
        resource::forget::<SecurityGroup>(tx, cx, &group.id);
    }
    resource::delete::<Vpc>(tx, cx, &vpc.id);
    Ok(())
}

/// `enableDnsSupport` and the like, one a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    DnsSupport(bool),
    DnsHostnames(bool),
}

pub fn modify(tx: &mut Tx, cx: &Context, id: &str, attribute: Attribute) -> Result<()> {
    let mut vpc = vpc(tx, cx, id)?;
    match attribute {
        Attribute::DnsSupport(on) => vpc.dns_support = on,
        Attribute::DnsHostnames(on) => vpc.dns_hostnames = on,
    }
    tx.put(vpc);
    Ok(())
}

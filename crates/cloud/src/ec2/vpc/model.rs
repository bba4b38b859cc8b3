//! A VPC, its subnets, and the record of each address in use.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::cidr::Cidr;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    pub account: String,
    pub region: String,
    /// `vpc-…`
    pub id: String,
    /// The primary block.
    pub cidr: Cidr,
    pub cidr_association_id: String,
    pub secondary: Vec<CidrAssociation>,
    /// `dopt-…`, or `default` for none.
    pub dhcp_options_id: String,
    pub is_default: bool,
    /// `enableDnsSupport`: the resolver answers.
    pub dns_support: bool,
    /// `enableDnsHostnames`: instances with public addresses have public names.
    pub dns_hostnames: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CidrAssociation {
    /// `vpc-cidr-assoc-…`
    pub id: String,
    pub cidr: Cidr,
}

impl Vpc {
    /// Its address space, the primary block first.
    pub fn blocks(&self) -> impl Iterator<Item = Cidr> + '_ {
        std::iter::once(self.cidr).chain(self.secondary.iter().map(|block| block.cidr))
    }

    /// All its blocks with their ids, the primary one first.
    pub fn associations(&self) -> impl Iterator<Item = (&str, Cidr)> {
        let primary = std::iter::once((self.cidr_association_id.as_str(), self.cidr));
        primary.chain(self.secondary.iter().map(|block| (block.id.as_str(), block.cidr)))
    }
}

impl store::Record for Vpc {
    const TABLE: &'static str = "ec2_vpcs";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    pub account: String,
    pub region: String,
    /// `subnet-…`
    pub id: String,
    pub vpc_id: String,
    /// Name and id of its zone: `us-east-1a`, `use1-az1`.
    pub zone: String,
    pub zone_id: String,
    pub cidr: Cidr,
    pub default_for_zone: bool,
    /// Whether instances launched into it get a public address unless told otherwise.
    pub map_public_ip: bool,
}

impl Subnet {
    /// The router of the subnet: its first usable address (Amazon VPC User Guide, "Subnet sizing").
    pub fn gateway(&self) -> Ipv4Addr {
        self.cidr.nth(1)
    }

    /// The addresses AWS hands out: all but the first four and the last.
    pub fn usable(&self) -> std::ops::RangeInclusive<u32> {
        self.cidr.first() + 4..=self.cidr.last() - 1
    }

    pub fn usable_count(&self) -> usize {
        self.usable().count()
    }
}

impl store::Record for Subnet {
    const TABLE: &'static str = "ec2_subnets";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

/// An address of a subnet that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub account: String,
    pub region: String,
    pub subnet_id: String,
    pub address: Ipv4Addr,
    /// Id or ARN of the instance, load balancer, … that holds it.
    pub holder: String,
}

impl Address {
    /// `account/region/subnet/` and the address as eight hexadecimal digits, so that they sort.
    pub fn key_of(account: &str, region: &str, subnet_id: &str, address: Ipv4Addr) -> String {
        format!("{account}/{region}/{subnet_id}/{:08x}", u32::from(address))
    }
}

impl store::Record for Address {
    const TABLE: &'static str = "ec2_addresses";
    fn key(&self) -> String {
        Address::key_of(&self.account, &self.region, &self.subnet_id, self.address)
    }
}

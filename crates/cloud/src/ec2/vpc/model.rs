//! A VPC, its subnets, and the record of each address in use.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 block whose address has no bits outside its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cidr {
    pub base: Ipv4Addr,
    pub prefix: u8,
}

impl Cidr {
    pub const fn new(base: Ipv4Addr, prefix: u8) -> Cidr {
        Cidr { base, prefix }
    }

    /// How many addresses it spans.
    pub fn size(self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    pub fn first(self) -> u32 {
        u32::from(self.base)
    }

    pub fn last(self) -> u32 {
        (u64::from(self.first()) + self.size() - 1) as u32
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first()..=self.last()).contains(&u32::from(address))
    }

    /// The `n`th address, counted from the base.
    pub fn nth(self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.first() + n)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = ();

    /// Strict: `10.0.0.1/16` is not one.
    fn from_str(text: &str) -> Result<Cidr, ()> {
        let (base, prefix) = text.split_once('/').ok_or(())?;
        let base: Ipv4Addr = base.parse().map_err(|_| ())?;
        let prefix: u8 = prefix.parse().map_err(|_| ())?;
        if prefix > 32 {
            return Err(());
        }
        let cidr = Cidr { base, prefix };
        let host_bits = (cidr.size() - 1) as u32;
        if cidr.first() & host_bits == 0 { Ok(cidr) } else { Err(()) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vpc {
    pub id: String,
    pub owner: String,
    pub cidr: Cidr,
    pub cidr_association_id: String,
    pub dhcp_options_id: String,
    pub is_default: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub id: String,
    pub arn: String,
    pub owner: String,
    pub vpc_id: String,
    /// Name and id of its zone: `us-east-1a`, `use1-az1`.
    pub zone: String,
    pub zone_id: String,
    pub cidr: Cidr,
    pub default_for_zone: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidrs() {
        for (text, expected) in [
            ("172.31.16.0/20", Some((4096, "172.31.31.255"))),
            ("0.0.0.0/0", Some((1 << 32, "255.255.255.255"))),
            ("10.0.0.1/32", Some((1, "10.0.0.1"))),
            ("10.0.0.1/16", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0", None),
            ("x/8", None),
        ] {
            let cidr = text.parse::<Cidr>().ok();
            let got = cidr.map(|c| (c.size(), Ipv4Addr::from(c.last()).to_string()));
            assert_eq!(got, expected.map(|(n, last)| (n, last.to_owned())), "{text}");
            if let Some(cidr) = cidr {
                assert_eq!(cidr.to_string(), text);
            }
        }
    }
}

//! Secondary blocks of a VPC: which may be added, adding and removing them.

use std::net::Ipv4Addr;

use store::Tx;

use super::cidr::Cidr;
use super::model::{CidrAssociation, Vpc};
use super::ops::{parse_block, subnets, vpc, vpcs};
use crate::ec2::route_table::{self, model::Destination};
use crate::ec2::{Error, Kind, Result, vpc_peering};
use crate::{Context, id};

/// AWS's default quota, the primary block included.
const MAX_BLOCKS: usize = 5;

pub fn associate(tx: &mut Tx, cx: &Context, id: &str, block: &str) -> Result<CidrAssociation> {
    let mut vpc = vpc(tx, cx, id)?;
    let cidr = parse_block(block)?;
    let blocks: Vec<Cidr> = vpc.blocks().collect();
    if blocks.iter().any(|own| own.overlaps(cidr)) {
        return Err(Error::InvalidVpcRange(format!(
            "The CIDR '{cidr}' conflicts with another CIDR block of the VPC."
        )));
    }
    if restricted(&blocks, cidr) {
        return Err(Error::InvalidVpcRange(format!(
            "The CIDR '{cidr}' is restricted. Use a CIDR from the same private address range as the \
             current VPC CIDR, or use a publicly-routable CIDR."
        )));
    }
    if blocks.len() >= MAX_BLOCKS {
        return Err(Error::LimitExceeded(
            "CidrLimitExceeded",
            "The maximum number of IPv4 CIDR blocks for a VPC has been reached.",
        ));
    }
    let peerings = vpc_peering::ops::active_of_vpc(tx, cx, id);
    let mut peers = peerings.iter().filter_map(|peering| peering.other(id));
    if peers.any(|peer| peer.blocks.iter().any(|block| block.overlaps(cidr))) {
        return Err(Error::InvalidVpcRange(format!(
            "The CIDR '{cidr}' conflicts with a CIDR block of a peered VPC."
        )));
    }
    let leads_out = |destination: &Destination| match destination {
        Destination::Cidr(route) => cidr.covers(*route),
        Destination::PrefixList(_) => false,
    };
    let tables = route_table::ops::of_vpc(tx, cx, id);
    if tables.iter().flat_map(|table| &table.routes).any(|route| leads_out(&route.destination)) {
        return Err(Error::InvalidVpcRange(format!(
            "The CIDR '{cidr}' is the same as or larger than the destination of a route of the VPC."
        )));
    }
    let added = CidrAssociation { id: id::resource(&cx.env.rng, "vpc-cidr-assoc"), cidr };
    vpc.secondary.push(added.clone());
    tx.put(vpc);
    Ok(added)
}

/// The VPC as it was, and the block it no longer has.
pub fn disassociate(tx: &mut Tx, cx: &Context, id: &str) -> Result<(Vpc, CidrAssociation)> {
    let mut all = vpcs(tx, cx).into_iter();
    let vpc = all.find(|vpc| vpc.associations().any(|(known, _)| known == id));
    let vpc = vpc.ok_or_else(|| Error::not_found(Kind::VpcCidrAssociation, id))?;
    let Some(at) = vpc.secondary.iter().position(|block| block.id == id) else {
        return Err(Error::OperationNotPermitted(format!(
            "The vpc CIDR block with association ID {id} may not be disassociated. It is the primary \
             IPv4 CIDR block of the VPC"
        )));
    };
    let block = vpc.secondary[at].clone();
    if subnets(tx, cx).iter().any(|s| s.vpc_id == vpc.id && block.cidr.covers(s.cidr)) {
        return Err(Error::DependencyViolation(format!(
            "The vpc CIDR block '{}' has dependencies and cannot be disassociated.",
            block.cidr
        )));
    }
    let mut left = vpc.clone();
    left.secondary.remove(at);
    tx.put(left);
    Ok((vpc, block))
}

/// The private ranges of RFC 1918.
const PRIVATE: [Cidr; 3] = [
    Cidr::new(Ipv4Addr::new(10, 0, 0, 0), 8),
    Cidr::new(Ipv4Addr::new(172, 16, 0, 0), 12),
    Cidr::new(Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// "CIDR block association restrictions" in the Amazon VPC User Guide: a private block goes only with
/// blocks of the same private range, and one of that range's blocks is AWS's own in some VPCs.
fn restricted(blocks: &[Cidr], new: Cidr) -> bool {
    let range = |cidr: Cidr| PRIVATE.iter().position(|private| private.covers(cidr));
    let own_low = Cidr::new(Ipv4Addr::new(10, 0, 0, 0), 15);
    let low = Cidr::new(Ipv4Addr::new(10, 0, 0, 0), 16);
    let high = Cidr::new(Ipv4Addr::new(172, 31, 0, 0), 16);
    let Some(wanted) = range(new) else { return false };
    blocks.iter().any(|own| {
        range(*own) != Some(wanted)
            || (own_low.covers(*own) && low.covers(new))
            || (PRIVATE[1].covers(*own) && high.covers(new))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_keep_to_themselves() {
        for (own, new, expected) in [
            ("10.2.0.0/16", "10.3.0.0/16", false),
            ("10.2.0.0/16", "172.16.0.0/16", true),
            ("10.1.0.0/16", "10.0.0.0/24", true),
            ("10.2.0.0/16", "100.64.0.0/16", false),
            ("172.16.0.0/16", "172.31.0.0/16", true),
            ("172.16.0.0/16", "172.17.0.0/16", false),
            ("192.168.0.0/24", "192.168.1.0/24", false),
            ("192.168.0.0/24", "10.0.0.0/16", true),
            ("100.64.0.0/16", "10.0.0.0/16", true),
            ("100.64.0.0/16", "203.0.0.0/16", false),
        ] {
            let got = restricted(&[own.parse().unwrap()], new.parse().unwrap());
            assert_eq!(got, expected, "{own} {new}");
        }
    }
}

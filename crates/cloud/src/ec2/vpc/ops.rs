//! What is in the network of a region, and who holds which address.

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Address, Cidr, Subnet, Vpc};
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Error, Kind, Result, tag};
use crate::{Context, id, zone};

const DEFAULT_CIDR: Cidr = Cidr::new(Ipv4Addr::new(172, 31, 0, 0), 16);

/// Present in every region of every account without being created.
pub fn default_vpc(cx: &Context) -> Vpc {
    let words = [cx.account.as_str(), cx.region.as_str()];
    Vpc {
        id: id::stable("vpc", &words),
        owner: cx.account.clone(),
        cidr: DEFAULT_CIDR,
        cidr_association_id: id::stable("vpc-cidr-assoc", &words),
        dhcp_options_id: id::stable("dopt", &words),
        is_default: true,
    }
}

pub fn vpcs(_snapshot: &Snapshot, cx: &Context) -> Vec<Vpc> {
    vec![default_vpc(cx)]
}

pub fn vpc(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Vpc> {
    let found = vpcs(snapshot, cx).into_iter().find(|vpc| vpc.id == id);
    found.ok_or_else(|| Error::not_found(Kind::Vpc, id))
}

/// All subnets of the region, in order of their zones.
pub fn subnets(_snapshot: &Snapshot, cx: &Context) -> Vec<Subnet> {
    let vpc = default_vpc(cx);
    let zones = zone::zones(&cx.region, cx.env.config.zones);
    (0..).zip(zones).map(|(n, zone)| default_subnet(cx, &vpc, n, zone)).collect()
}

fn default_subnet(cx: &Context, vpc: &Vpc, n: u32, zone: zone::Zone) -> Subnet {
    let id = id::stable("subnet", &[&cx.account, &zone.name]);
    Subnet {
        arn: cx.arn("ec2", &format!("subnet/{id}")),
        id,
        owner: cx.account.clone(),
        vpc_id: vpc.id.clone(),
        zone: zone.name,
        zone_id: zone.id,
        cidr: Cidr::new(vpc.cidr.nth(n << 12), 20),
        default_for_zone: true,
        map_public_ip: false,
    }
}

pub fn subnet(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Subnet> {
    let found = subnets(snapshot, cx).into_iter().find(|subnet| subnet.id == id);
    found.ok_or_else(|| Error::not_found(Kind::Subnet, id))
}

/// The default subnet of a zone, given by name; `None` when the region has no such zone.
pub fn subnet_for_zone(snapshot: &Snapshot, cx: &Context, zone: &str) -> Option<Subnet> {
    subnets(snapshot, cx).into_iter().find(|subnet| subnet.zone == zone && subnet.default_for_zone)
}

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

const VPC_FILTERS: &[&str] = &[
    "cidr",
    "cidr-block",
    "cidrBlock",
    "cidr-block-association.association-id",
    "cidr-block-association.cidr-block",
    "cidr-block-association.state",
    "dhcp-options-id",
    "dhcpOptionsId",
    "ipv6-cidr-block-association.association-id",
    "ipv6-cidr-block-association.ipv6-cidr-block",
    "ipv6-cidr-block-association.ipv6-pool",
    "ipv6-cidr-block-association.state",
    "is-default",
    "isDefault",
    "owner-id",
    "state",
    "vpc-id",
];

pub fn describe_vpcs(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Vpc>, Option<String>)> {
    let mut all = vpcs(snapshot, cx);
    listing::only(&mut all, ids, |vpc| &vpc.id, Kind::Vpc)?;
    listing.check(VPC_FILTERS, true)?;
    all.retain(|vpc| {
        let tags = || tag::ops::tags_of(snapshot, cx, &vpc.id);
        listing.keeps(tags, |name| match name {
            "cidr" | "cidr-block" | "cidrBlock" | "cidr-block-association.cidr-block" => {
                vec![vpc.cidr.to_string()]
            }
            "cidr-block-association.association-id" => vec![vpc.cidr_association_id.clone()],
            "cidr-block-association.state" => vec!["associated".to_owned()],
            "dhcp-options-id" | "dhcpOptionsId" => vec![vpc.dhcp_options_id.clone()],
            "is-default" | "isDefault" => vec![vpc.is_default.to_string()],
            "owner-id" => vec![vpc.owner.clone()],
            "state" => vec!["available".to_owned()],
            "vpc-id" => vec![vpc.id.clone()],
            _ => vec![],
        })
    });
    listing.page(all, |vpc| vpc.id.clone())
}

const SUBNET_FILTERS: &[&str] = &[
    "availability-zone",
    "availabilityZone",
    "availability-zone-id",
    "availabilityZoneId",
    "available-ip-address-count",
    "cidr",
    "cidr-block",
    "cidrBlock",
    "customer-owned-ipv4-pool",
    "default-for-az",
    "defaultForAz",
    "enable-dns64",
    "enable-lni-at-device-index",
    "ipv6-cidr-block-association.association-id",
    "ipv6-cidr-block-association.ipv6-cidr-block",
    "ipv6-cidr-block-association.state",
    "ipv6-native",
    "map-customer-owned-ip-on-launch",
    "map-public-ip-on-launch",
    "outpost-arn",
    "owner-id",
    "private-dns-name-options-on-launch.hostname-type",
    "private-dns-name-options-on-launch.enable-resource-name-dns-a-record",
    "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record",
    "state",
    "subnet-arn",
    "subnet-id",
    "vpc-id",
];

pub fn describe_subnets(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Subnet>, Option<String>)> {
    let mut all = subnets(snapshot, cx);
    listing::only(&mut all, ids, |subnet| &subnet.id, Kind::Subnet)?;
    listing.check(SUBNET_FILTERS, true)?;
    all.retain(|subnet| {
        let tags = || tag::ops::tags_of(snapshot, cx, &subnet.id);
        listing.keeps(tags, |name| match name {
            "availability-zone" | "availabilityZone" => vec![subnet.zone.clone()],
            "availability-zone-id" | "availabilityZoneId" => vec![subnet.zone_id.clone()],
            "available-ip-address-count" => vec![available(snapshot, cx, subnet).to_string()],
            "cidr" | "cidr-block" | "cidrBlock" => vec![subnet.cidr.to_string()],
            "default-for-az" | "defaultForAz" => vec![subnet.default_for_zone.to_string()],
            "enable-dns64"
            | "ipv6-native"
            | "map-customer-owned-ip-on-launch"
            | "private-dns-name-options-on-launch.enable-resource-name-dns-a-record"
            | "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record" => {
                vec!["false".to_owned()]
            }
            "map-public-ip-on-launch" => vec![subnet.map_public_ip.to_string()],
            "owner-id" => vec![subnet.owner.clone()],
            "private-dns-name-options-on-launch.hostname-type" => vec!["ip-name".to_owned()],
            "state" => vec!["available".to_owned()],
            "subnet-arn" => vec![subnet.arn.clone()],
            "subnet-id" => vec![subnet.id.clone()],
            "vpc-id" => vec![subnet.vpc_id.clone()],
            _ => vec![],
        })
    });
    all.sort_by(|a, b| a.id.cmp(&b.id));
    listing.page(all, |subnet| subnet.id.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::filter::Filter;
    use crate::testing;

    #[test]
    fn every_region_has_its_own_default_network() {
        let cx = testing::context();
        let mut other = cx.clone();
        other.region = "eu-west-1".to_owned();
        assert_ne!(default_vpc(&cx).id, default_vpc(&other).id);
        let subnets = subnets(&cx.read(), &cx);
        let cidrs: Vec<String> = subnets.iter().map(|s| s.cidr.to_string()).collect();
        assert_eq!(cidrs, ["172.31.0.0/20", "172.31.16.0/20", "172.31.32.0/20"]);
        let zone_b = subnet_for_zone(&cx.read(), &cx, "us-east-1b").unwrap();
        assert_eq!((zone_b.zone_id.as_str(), zone_b.usable_count()), ("use1-az2", 4091));
        assert_eq!(zone_b.gateway().to_string(), "172.31.16.1");
        assert_eq!(subnet_for_zone(&cx.read(), &cx, "us-east-1d"), None);
    }

    #[tokio::test]
    async fn addresses_are_held_once_until_none_is_left() {
        let cx = testing::context();
        let subnet = subnets(&cx.read(), &cx).remove(0);
        let all = cx
            .write(|tx| {
                let mut all = BTreeSet::new();
                for n in 0..4091 {
                    all.insert(allocate(tx, &cx, &subnet.id, &format!("i-{n}"))?);
                }
                Ok::<_, Error>(all)
            })
            .await
            .unwrap();
        assert_eq!(all.len(), 4091);
        assert_eq!(all.first().unwrap().to_string(), "172.31.0.4");
        assert_eq!(all.last().unwrap().to_string(), "172.31.15.254");
        assert_eq!(available(&cx.read(), &cx, &subnet), 0);
        let address = *all.first().unwrap();
        let full = cx.write(|tx| allocate(tx, &cx, &subnet.id, "i-x")).await.unwrap_err();
        assert_eq!(full.code(), "InsufficientFreeAddressesInSubnet");
        let again = cx
            .write(|tx| {
                assert!(release(tx, &cx, &subnet.id, address));
                assert!(!release(tx, &cx, &subnet.id, address));
                allocate(tx, &cx, &subnet.id, "i-x")
            })
            .await
            .unwrap();
        assert_eq!(again, address);
    }

    #[tokio::test]
    async fn claims() {
        let cx = testing::context();
        let subnet = subnets(&cx.read(), &cx).remove(0);
        for (address, code) in [
            ("172.31.0.10", None),
            ("172.31.0.10", Some("InvalidIPAddress.InUse")),
            ("172.31.0.3", Some("InvalidParameterValue")),
            ("172.31.16.4", Some("InvalidParameterValue")),
        ] {
            let address = address.parse().unwrap();
            let claimed = cx.write(|tx| claim(tx, &cx, &subnet.id, address, "i-1")).await;
            assert_eq!(claimed.err().map(|e| e.code()).as_deref(), code);
        }
    }

    #[test]
    fn describing() {
        let cx = testing::context();
        let snapshot = cx.read();
        let filtered = |name: &str, value: &str| {
            let values = vec![value.to_owned()];
            Listing::filtered(vec![Filter { name: name.to_owned(), values }])
        };
        for (name, value, expected) in [
            ("availability-zone", "us-east-1b", 1),
            ("vpc-id", "vpc-*", 3),
            ("default-for-az", "false", 0),
            ("available-ip-address-count", "4091", 3),
        ] {
            let listing = filtered(name, value);
            let (found, _) = describe_subnets(&snapshot, &cx, &[], &listing).unwrap();
            assert_eq!(found.len(), expected, "{name}={value}");
        }
        let (vpcs, _) = describe_vpcs(&snapshot, &cx, &[], &filtered("isDefault", "true")).unwrap();
        assert_eq!(vpcs, [default_vpc(&cx)]);
        let unknown = ["subnet-0123456789abcdef0".to_owned()];
        let error = describe_subnets(&snapshot, &cx, &unknown, &Listing::default()).unwrap_err();
        assert_eq!(error.code(), "InvalidSubnetID.NotFound");
    }

    #[test]
    fn pages_cover_all_subnets() {
        let cx = testing::context();
        let mut listing = Listing { max_results: Some(2), ..Listing::default() };
        let (first, token) = describe_subnets(&cx.read(), &cx, &[], &listing).unwrap();
        listing.next_token = token;
        let (second, end) = describe_subnets(&cx.read(), &cx, &[], &listing).unwrap();
        assert_eq!((first.len(), second.len(), end), (2, 1, None));
    }
}

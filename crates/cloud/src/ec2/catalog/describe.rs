//! Which types, by name and filter, and where they are offered.

use super::{InstanceType, all};
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Error, Kind, Result};
use crate::filter;
use crate::zone;

/// Types that DescribeInstanceTypes gives at once, at most and by default.
const PAGE: i32 = 100;

pub fn describe(
    names: &[String],
    listing: &Listing,
) -> Result<(Vec<&'static InstanceType>, Option<String>)> {
    if names.len() > PAGE as usize {
        return Err(Error::value("The maximum number of instance types in one call is 100"));
    }
    listing.check(FILTERS, false)?;
    let mut types: Vec<&'static InstanceType> = all().iter().collect();
    listing::named(&mut types, names, |t| t.name, Kind::InstanceType)?;
    types.retain(|t| listing.keeps(Default::default, |name| values(t, name)));
    let listing = Listing { max_results: listing.max_results.or(Some(PAGE)), ..listing.clone() };
    listing.page(types, |t| t.name.to_owned())
}

const FILTERS: &[&str] = &[
    "auto-recovery-supported",
    "bare-metal",
    "burstable-performance-supported",
    "current-generation",
    "dedicated-hosts-supported",
    "ebs-info.attachment-limit-type",
    "ebs-info.maximum-ebs-attachments",
    "ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps",
    "ebs-info.ebs-optimized-info.baseline-iops",
    "ebs-info.ebs-optimized-info.baseline-throughput-in-mbps",
    "ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps",
    "ebs-info.ebs-optimized-info.maximum-iops",
    "ebs-info.ebs-optimized-info.maximum-throughput-in-mbps",
    "ebs-info.ebs-optimized-support",
    "ebs-info.encryption-support",
    "ebs-info.nvme-support",
    "free-tier-eligible",
    "hibernation-supported",
    "hypervisor",
    "instance-storage-info.disk.count",
    "instance-storage-info.disk.size-in-gb",
    "instance-storage-info.disk.type",
    "instance-storage-info.encryption-support",
    "instance-storage-info.nvme-support",
    "instance-storage-info.total-size-in-gb",
    "instance-storage-supported",
    "instance-type",
    "memory-info.size-in-mib",
    "network-info.bandwidth-weightings",
    "network-info.efa-info.maximum-efa-interfaces",
    "network-info.efa-supported",
    "network-info.ena-support",
    "network-info.encryption-in-transit-supported",
    "network-info.flexible-ena-queues-support",
    "network-info.ipv4-addresses-per-interface",
    "network-info.ipv6-addresses-per-interface",
    "network-info.ipv6-supported",
    "network-info.maximum-network-cards",
    "network-info.maximum-network-interfaces",
    "network-info.network-performance",
    "nitro-enclaves-support",
    "nitro-tpm-info.supported-versions",
    "nitro-tpm-support",
    "processor-info.supported-architecture",
    "processor-info.supported-features",
    "processor-info.sustained-clock-speed-in-ghz",
    "reboot-migration-support",
    "supported-boot-mode",
    "supported-root-device-type",
    "supported-usage-class",
    "supported-virtualization-type",
    "vcpu-info.default-cores",
    "vcpu-info.default-threads-per-core",
    "vcpu-info.default-vcpus",
    "vcpu-info.valid-cores",
    "vcpu-info.valid-threads-per-core",
];

/// What a type has for a filter.
fn values(t: &InstanceType, name: &str) -> Vec<String> {
    if let Some(name) = name.strip_prefix("ebs-info.") {
        return ebs_values(t, name);
    }
    if let Some(name) = name.strip_prefix("instance-storage-info.") {
        return disk_values(t, name);
    }
    if let Some(name) = name.strip_prefix("network-info.") {
        return network_values(t, name);
    }
    match name {
        "auto-recovery-supported" => one(t.auto_recovery),
        "bare-metal" => one(t.bare_metal),
        "burstable-performance-supported" => one(t.burstable),
        "current-generation" => one(t.current_generation),
        "dedicated-hosts-supported" => one(t.dedicated_hosts),
        "free-tier-eligible" => one(t.free_tier),
        "hibernation-supported" => one(t.hibernation),
        "hypervisor" => many(t.hypervisor),
        "instance-storage-supported" => one(t.disks.is_some()),
        "instance-type" => one(t.name),
        "memory-info.size-in-mib" => one(t.memory_mib),
        "nitro-enclaves-support" => one(supported(t.nitro_enclaves)),
        "nitro-tpm-info.supported-versions" => many(t.nitro_tpm.then_some("2.0").as_ref()),
        "nitro-tpm-support" => one(supported(t.nitro_tpm)),
        "processor-info.supported-architecture" => many(&t.architectures),
        "processor-info.supported-features" => many(&t.processor_features),
        "processor-info.sustained-clock-speed-in-ghz" => many(t.clock_ghz),
        "reboot-migration-support" => one(supported(t.reboot_migration)),
        "supported-boot-mode" => many(&t.boot_modes),
        "supported-root-device-type" => many(&t.root_device_types),
        "supported-usage-class" => many(&t.usage_classes),
        "supported-virtualization-type" => many(&t.virtualization_types),
        "vcpu-info.default-cores" => one(t.cores),
        "vcpu-info.default-threads-per-core" => one(t.threads_per_core),
        "vcpu-info.default-vcpus" => one(t.vcpus),
        "vcpu-info.valid-cores" => many(&t.valid_cores),
        "vcpu-info.valid-threads-per-core" => many(&t.valid_threads_per_core),
        _ => vec![],
    }
}

fn ebs_values(t: &InstanceType, name: &str) -> Vec<String> {
    let speed = t.ebs.speed.as_ref();
    match name {
        "attachment-limit-type" => one(t.ebs.limit_type),
        "maximum-ebs-attachments" => one(t.ebs.max_attachments),
        "ebs-optimized-info.baseline-bandwidth-in-mbps" => many(speed.map(|s| s.baseline_mbps)),
        "ebs-optimized-info.baseline-iops" => many(speed.map(|s| s.baseline_iops)),
        "ebs-optimized-info.baseline-throughput-in-mbps" => {
            many(speed.map(|s| s.baseline_mb_per_s))
        }
        "ebs-optimized-info.maximum-bandwidth-in-mbps" => many(speed.map(|s| s.max_mbps)),
        "ebs-optimized-info.maximum-iops" => many(speed.map(|s| s.max_iops)),
        "ebs-optimized-info.maximum-throughput-in-mbps" => many(speed.map(|s| s.max_mb_per_s)),
        "ebs-optimized-support" => one(t.ebs.optimized),
        "encryption-support" => one("supported"),
        "nvme-support" => one(t.ebs.nvme),
        _ => vec![],
    }
}

fn disk_values(t: &InstanceType, name: &str) -> Vec<String> {
    let Some(disks) = &t.disks else { return vec![] };
    match name {
        "disk.count" => one(disks.count),
        "disk.size-in-gb" => one(disks.size_gb),
        "disk.type" => one(disks.kind),
        "encryption-support" => one(disks.encryption),
        "nvme-support" => one(disks.nvme),
        "total-size-in-gb" => one(disks.size_gb * u64::from(disks.count)),
        _ => vec![],
    }
}

fn network_values(t: &InstanceType, name: &str) -> Vec<String> {
    let net = &t.network;
    match name {
        "bandwidth-weightings" if net.bandwidth_weightings => many(["default", "vpc-1", "ebs-1"]),
        "efa-info.maximum-efa-interfaces" => many(net.efa),
        "efa-supported" => one(net.efa.is_some()),
        "ena-support" => one(net.ena),
        "encryption-in-transit-supported" => one(net.encryption_in_transit),
        "flexible-ena-queues-support" => one(supported(net.flexible_ena_queues)),
        "ipv4-addresses-per-interface" => one(net.ipv4_per_interface),
        "ipv6-addresses-per-interface" => one(net.ipv6_per_interface),
        "ipv6-supported" => one(net.ipv6),
        "maximum-network-cards" => one(net.cards.len()),
        "maximum-network-interfaces" => one(net.max_interfaces),
        "network-performance" => one(net.performance),
        _ => vec![],
    }
}

fn one(value: impl ToString) -> Vec<String> {
    vec![value.to_string()]
}

fn many<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

fn supported(yes: bool) -> &'static str {
    if yes { "supported" } else { "unsupported" }
}

/// Where an offering is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocationType {
    Region,
    AvailabilityZone,
    AvailabilityZoneId,
}

impl LocationType {
    pub fn parse(word: Option<&str>) -> Result<LocationType> {
        match word {
            None | Some("region") => Ok(LocationType::Region),
            Some("availability-zone") => Ok(LocationType::AvailabilityZone),
            Some("availability-zone-id") => Ok(LocationType::AvailabilityZoneId),
            Some("outpost") => Err(Error::unsupported("The location type 'outpost'")),
            Some(other) => Err(Error::value(format!("Invalid value '{other}' for location-type"))),
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            LocationType::Region => "region",
            LocationType::AvailabilityZone => "availability-zone",
            LocationType::AvailabilityZoneId => "availability-zone-id",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offering {
    pub instance_type: &'static str,
    pub location: String,
}

pub fn offerings(
    cx: &Context,
    location_type: LocationType,
    listing: &Listing,
) -> Result<(Vec<Offering>, Option<String>)> {
    listing.check(&["instance-type", "location"], false)?;
    let zones = zone::zones(&cx.region, cx.env.config.zones);
    let locations: Vec<String> = match location_type {
        LocationType::Region => vec![cx.region.clone()],
        LocationType::AvailabilityZone => zones.into_iter().map(|zone| zone.name).collect(),
        LocationType::AvailabilityZoneId => zones.into_iter().map(|zone| zone.id).collect(),
    };
    let passes = |name: &str, value: &str| {
        let filters = listing.filters.iter().filter(|filter| filter.name == name);
        filters.into_iter().all(|filter| filter::any(filter, [value]))
    };
    let types = all().iter().filter(|t| passes("instance-type", t.name));
    let offerings: Vec<Offering> = types
        .flat_map(|t| locations.iter().map(|location| (t.name, location)))
        .filter(|(_, location)| passes("location", location))
        .map(|(instance_type, location)| Offering { instance_type, location: location.clone() })
        .collect();
    listing.page(offerings, |offering| format!("{}\0{}", offering.instance_type, offering.location))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::testing;

    fn by(filters: &[(&str, &[&str])]) -> Listing {
        let filter = |(name, values): &(&str, &[&str])| Filter {
            name: name.to_string(),
            values: values.iter().map(|v| v.to_string()).collect(),
        };
        Listing::filtered(filters.iter().map(filter).collect())
    }

    #[test]
    fn filters_find_types() {
        for (filters, expected) in [
            (
                &[("instance-type", &["t3.*"][..]), ("free-tier-eligible", &["true"])][..],
                &["t3.micro", "t3.small"][..],
            ),
            (
                &[
                    ("vcpu-info.default-vcpus", &["2"]),
                    ("memory-info.size-in-mib", &["1024"]),
                    ("processor-info.supported-architecture", &["x86_64"]),
                ],
                &["t3.micro", "t3a.micro", "t8i.micro"],
            ),
            (
                &[
                    ("instance-type", &["m5*"]),
                    ("bare-metal", &["true"]),
                    ("instance-storage-info.disk.type", &["ssd"]),
                ],
                &["m5d.metal", "m5dn.metal"],
            ),
        ] {
            let (types, _) = describe(&[], &by(filters)).unwrap();
            let names: Vec<&str> = types.iter().map(|t| t.name).collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn every_filter_is_answered() {
        let some = ["m5d.large", "m8id.large", "p5.48xlarge"]
            .map(|name| super::super::instance_type(name).unwrap_or_else(|| panic!("{name}")));
        for filter in FILTERS {
            assert!(some.iter().any(|t| !values(t, filter).is_empty()), "{filter}");
        }
        let error = describe(&[], &by(&[("nope", &["x"])])).unwrap_err();
        assert_eq!(error.code(), "InvalidParameterValue");
    }

    #[test]
    fn unknown_types_are_named() {
        let names = ["m5.large".to_owned(), "m5.mega".to_owned()];
        let error = describe(&names, &Listing::default()).unwrap_err();
        assert_eq!(error.code(), "InvalidInstanceType");
        assert_eq!(
            error.to_string(),
            "The following supplied instance types do not exist: [m5.mega]"
        );
    }

    #[test]
    fn pages_cover_all_types() {
        let mut listing = Listing::default();
        let mut count = 0;
        loop {
            let (page, token) = describe(&[], &listing).unwrap();
            assert!(page.len() <= 100);
            count += page.len();
            listing.next_token = token;
            if listing.next_token.is_none() {
                break;
            }
        }
        assert_eq!(count, all().len());
    }

    #[test]
    fn offerings_by_location() {
        let cx = testing::context();
        let one = by(&[("instance-type", &["t3.micro"])]);
        for (location_type, expected) in [
            (LocationType::Region, vec!["us-east-1"]),
            (LocationType::AvailabilityZone, vec!["us-east-1a", "us-east-1b", "us-east-1c"]),
            (LocationType::AvailabilityZoneId, vec!["use1-az1", "use1-az2", "use1-az3"]),
        ] {
            let (found, _) = offerings(&cx, location_type, &one).unwrap();
            let locations: Vec<&str> = found.iter().map(|o| o.location.as_str()).collect();
            assert_eq!(locations, expected);
        }
        let zone_b = by(&[("location", &["*b"]), ("instance-type", &["m5.large"])]);
        assert_eq!(offerings(&cx, LocationType::AvailabilityZone, &zone_b).unwrap().0.len(), 1);
    }
}

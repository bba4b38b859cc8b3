//! Which regions and zones, by name and filter; a zone's state is whether it has failed.

use store::Snapshot;

use crate::Context;
use crate::ec2::listing::Listing;
use crate::ec2::{Error, Result, elastic_ip, security_group, vpc};
use crate::region::{self, Region};
use crate::zone::{self, Zone};

pub fn describe_regions(names: &[String], listing: &Listing) -> Result<Vec<&'static Region>> {
    if let Some(name) = names.iter().find(|name| region::find(name).is_none()) {
        return Err(Error::value(format!("Invalid region: [{name}]")));
    }
    listing.check(&["endpoint", "opt-in-status", "region-name"], false)?;
    let named = |region: &&Region| names.is_empty() || names.iter().any(|n| n == region.name);
    let keeps = |region: &&Region| {
        listing.keeps(Default::default, |name| match name {
            "endpoint" => vec![region.endpoint()],
            "opt-in-status" => vec![region.opt_in_status().to_owned()],
            "region-name" => vec![region.name.to_owned()],
            _ => vec![],
        })
    };
    Ok(region::ALL.iter().filter(named).filter(keeps).collect())
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub zone: Zone,
    pub failed: bool,
    pub region: String,
}

impl Description {
    pub fn state(&self) -> &'static str {
        if self.failed { "unavailable" } else { "available" }
    }

    /// All zones of a region are of one group.
    pub fn group(&self) -> String {
        format!("{}-zg-1", self.region)
    }

    pub fn message(&self) -> Option<String> {
        self.failed.then(|| format!("{} has failed.", self.zone.name))
    }
}

const ZONE_FILTERS: &[&str] = &[
    "group-long-name",
    "group-name",
    "message",
    "opt-in-status",
    "parent-zone-id",
    "parent-zone-name",
    "region-name",
    "state",
    "zone-id",
    "zone-name",
    "zone-type",
];

pub fn describe_zones(
    snapshot: &Snapshot,
    cx: &Context,
    names: &[String],
    ids: &[String],
    listing: &Listing,
) -> Result<Vec<Description>> {
    let zones = zone::zones(&cx.region, cx.env.config.zones);
    if let Some(name) = names.iter().find(|name| !zones.iter().any(|zone| zone.name == **name)) {
        return Err(Error::value(format!("Invalid availability zone: [{name}]")));
    }
    if let Some(id) = ids.iter().find(|id| !zones.iter().any(|zone| zone.id == **id)) {
        return Err(Error::value(format!("Invalid availability zone-id: [{id}]")));
    }
    listing.check(ZONE_FILTERS, false)?;
    let mut found: Vec<Description> = zones
        .into_iter()
        .filter(|zone| names.is_empty() || names.contains(&zone.name))
        .filter(|zone| ids.is_empty() || ids.contains(&zone.id))
        .map(|zone| Description {
            failed: zone::is_failed(snapshot, &zone.name),
            region: cx.region.clone(),
            zone,
        })
        .collect();
    found.retain(|zone| listing.keeps(Default::default, |name| zone_values(zone, name)));
    Ok(found)
}

fn zone_values(zone: &Description, name: &str) -> Vec<String> {
    let value = match name {
        "group-name" => Some(zone.group()),
        "message" => zone.message(),
        "opt-in-status" => Some("opt-in-not-required".to_owned()),
        "region-name" => Some(zone.region.clone()),
        "state" => Some(zone.state().to_owned()),
        "zone-id" => Some(zone.zone.id.clone()),
        "zone-name" => Some(zone.zone.name.clone()),
        "zone-type" => Some("availability-zone".to_owned()),
        _ => None,
    };
    value.into_iter().collect()
}

/// Name and value of each attribute of the account. Instances are limited by the addresses of the
/// default subnets.
pub fn account_attributes(snapshot: &Snapshot, cx: &Context) -> Vec<(&'static str, String)> {
    let subnets = vpc::ops::subnets(snapshot, cx);
    let addresses: usize = subnets.iter().map(|subnet| subnet.usable_count()).sum();
    let groups = security_group::ops::MAX_PER_INTERFACE;
    let elastic = elastic_ip::ops::MAX_ADDRESSES.to_string();
    let default_vpc = vpc::ops::default_vpc(snapshot, cx).map_or("none".to_owned(), |vpc| vpc.id);
    vec![
        ("supported-platforms", "VPC".to_owned()),
        ("vpc-max-security-groups-per-interface", groups.to_string()),
        ("max-elastic-ips", elastic.clone()),
        ("max-instances", addresses.to_string()),
        ("vpc-max-elastic-ips", elastic),
        ("default-vpc", default_vpc),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::testing;

    #[tokio::test]
    async fn a_failed_zone_is_unavailable() {
        let cx = testing::context();
        cx.write(|tx| Ok::<_, Error>(zone::fail(tx, "us-east-1b", cx.now))).await.unwrap();
        let states = |filter: Option<(&str, &str)>| -> Vec<(String, &'static str)> {
            let filters = filter
                .map(|(name, value)| Filter { name: name.into(), values: vec![value.into()] });
            let listing = Listing::filtered(filters.into_iter().collect());
            let found = describe_zones(&cx.read(), &cx, &[], &[], &listing).unwrap();
            found.iter().map(|z| (z.zone.id.clone(), z.state())).collect()
        };
        assert_eq!(
            states(Some(("state", "unavailable"))),
            [("use1-az2".to_owned(), "unavailable")]
        );
        assert_eq!(states(Some(("state", "available"))).len(), 2);
        assert_eq!(states(None).len(), 3);
        let listing = Listing::default();
        let unknown = ["us-east-1z".to_owned()];
        let error = describe_zones(&cx.read(), &cx, &unknown, &[], &listing).unwrap_err();
        assert_eq!(error.to_string(), "Invalid availability zone: [us-east-1z]");
    }

    #[test]
    fn regions_by_name_and_filter() {
        let all = describe_regions(&[], &Listing::default()).unwrap();
        assert_eq!(all.len(), region::ALL.len());
        let filter = Filter { name: "region-name".into(), values: vec!["us-*".into()] };
        assert_eq!(describe_regions(&[], &Listing::filtered(vec![filter])).unwrap().len(), 4);
        let unknown = ["moon-east-1".to_owned()];
        let error = describe_regions(&unknown, &Listing::default()).unwrap_err();
        assert_eq!(error.code(), "InvalidParameterValue");
    }
}

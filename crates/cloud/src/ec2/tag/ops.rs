//! Reading and changing tags, for the tag calls and for every resource that comes with tags.

use store::{Snapshot, Tx};

use super::model::{Tagged, resource_type};
use crate::Context;
use crate::ec2::capacity_reservation::CapacityReservation;
use crate::ec2::dhcp_options::DhcpOptions;
use crate::ec2::instance::model::Instance;
use crate::ec2::internet_gateway::InternetGateway;
use crate::ec2::key_pair::KeyPair;
use crate::ec2::launch_template::LaunchTemplate;
use crate::ec2::listing::Listing;
use crate::ec2::nat_gateway::NatGateway;
use crate::ec2::network_acl::NetworkAcl;
use crate::ec2::placement_group::PlacementGroup;
use crate::ec2::route_table::RouteTable;
use crate::ec2::snapshot as ec2_snapshot;
use crate::ec2::spot::model::SpotRequest;
use crate::ec2::volume::Volume;
use crate::ec2::{
    Error, Kind, Result, elastic_ip, image, network_interface, prefix_list, resource,
    security_group, vpc, vpc_endpoint, vpc_peering,
};
use crate::tag::{self, Invalid, MAX_PER_RESOURCE, Tags};

pub fn tags_of(snapshot: &Snapshot, cx: &Context, id: &str) -> Tags {
    snapshot.get::<Tagged>(&cx.key(id)).map(|tagged| tagged.tags.clone()).unwrap_or_default()
}

/// Adds to the resource's tags, replacing the values of keys it has. Takes `aws:` keys, which are for
/// services to set: what a user sends goes through `check` first.
pub fn set(tx: &mut Tx, cx: &Context, id: &str, tags: &Tags) -> Result<()> {
    if tags.is_empty() {
        return Ok(());
    }
    let mut all = tags_of(tx, cx, id);
    all.extend(tags.clone());
    if all.keys().filter(|key| !key.starts_with("aws:")).count() > MAX_PER_RESOURCE {
        return Err(Error::TagLimitExceeded);
    }
    put(tx, cx, id, all);
    Ok(())
}

/// Removes the tags with these keys.
pub fn remove(tx: &mut Tx, cx: &Context, id: &str, keys: &[String]) {
    let mut tags = tags_of(tx, cx, id);
    let before = tags.len();
    tags.retain(|key, _| !keys.contains(key));
    if tags.len() != before {
        put(tx, cx, id, tags);
    }
}

/// Removes all tags of a resource that is no more.
pub fn forget(tx: &mut Tx, cx: &Context, id: &str) {
    tx.delete::<Tagged>(&cx.key(id));
}

fn put(tx: &mut Tx, cx: &Context, id: &str, tags: Tags) {
    if tags.is_empty() {
        forget(tx, cx, id);
        return;
    }
    tx.put(Tagged {
        account: cx.account.clone(),
        region: cx.region.clone(),
        resource_id: id.to_owned(),
        tags,
    });
}

/// Whether a user may set these.
pub fn check(tags: &Tags) -> Result<()> {
    tag::check(tags).map_err(|invalid| match invalid {
        Invalid::Key(key) if key.is_empty() => Error::value("Tag key cannot be null or empty."),
        Invalid::Key(_) => Error::value("Tag key exceeds the maximum length of 128 characters"),
        Invalid::Value(_) => Error::value("Tag value exceeds the maximum length of 256 characters"),
        Invalid::Reserved(key) => Error::value(format!(
            "Value ( {key} ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved \
             for internal use"
        )),
        Invalid::TooMany => Error::TagLimitExceeded,
    })
}

/// One map of what a request lists, refusing a key that comes twice.
pub fn unique(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Tags> {
    let mut tags = Tags::new();
    for (key, value) in pairs {
        if tags.contains_key(&key) {
            return Err(Error::value(format!("Duplicate tag key '{key}' specified.")));
        }
        tags.insert(key, value);
    }
    Ok(tags)
}

pub fn create_tags(tx: &mut Tx, cx: &Context, ids: &[String], tags: &Tags) -> Result<()> {
    if ids.is_empty() {
        return Err(Error::MissingParameter("resourceIdSet"));
    }
    if tags.is_empty() {
        return Err(Error::MissingParameter("Tag.1.Key"));
    }
    check(tags)?;
    for id in ids {
        require(tx, cx, id)?;
        set(tx, cx, id, tags)?;
    }
    Ok(())
}

/// `tags` names keys; a value, where there is one, must be the tag's. `None`: all a user may set.
pub fn delete_tags(
    tx: &mut Tx,
    cx: &Context,
    ids: &[String],
    tags: Option<&[(String, Option<String>)]>,
) -> Result<()> {
    if ids.is_empty() {
        return Err(Error::MissingParameter("resourceIdSet"));
    }
    for (key, _) in tags.unwrap_or_default() {
        check(&Tags::from([(key.clone(), String::new())]))?;
    }
    for id in ids {
        require(tx, cx, id)?;
        let dropped = |key: &String, value: &String| match tags {
            None => !key.starts_with("aws:"),
            Some(tags) => {
                tags.iter().any(|(k, v)| k == key && v.as_ref().is_none_or(|v| v == value))
            }
        };
        let keys: Vec<String> = tags_of(tx, cx, id)
            .into_iter()
            .filter(|(key, value)| dropped(key, value))
            .map(|(key, _)| key)
            .collect();
        remove(tx, cx, id, &keys);
    }
    Ok(())
}

/// Refuses an id that names nothing that can have tags.
fn require(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<()> {
    match resource_type(id) {
        Some("fleet") => crate::ec2::fleet::ops::fleet(snapshot, cx, id).map(drop),
        Some("spot-fleet-request") => {
            crate::ec2::fleet::ops::find(snapshot, cx, Kind::SpotFleet, id).map(drop)
        }
        Some("capacity-reservation") => {
            resource::find::<CapacityReservation>(snapshot, cx, id).map(drop)
        }
        Some("elastic-ip") => elastic_ip::ops::by_allocation(snapshot, cx, id).map(drop),
        Some("image") => image::ops::image(snapshot, cx, id).map(drop),
        Some("internet-gateway") => resource::find::<InternetGateway>(snapshot, cx, id).map(drop),
        Some("natgateway") => resource::find::<NatGateway>(snapshot, cx, id).map(drop),
        Some("network-acl") => resource::find::<NetworkAcl>(snapshot, cx, id).map(drop),
        Some("dhcp-options") => resource::find::<DhcpOptions>(snapshot, cx, id).map(drop),
        Some("vpc-peering-connection") => vpc_peering::ops::peering(snapshot, cx, id).map(drop),
        Some("route-table") => resource::find::<RouteTable>(snapshot, cx, id).map(drop),
        Some("instance") => stored::<Instance>(snapshot, cx, Kind::Instance, id),
        Some("key-pair") => stored::<KeyPair>(snapshot, cx, Kind::KeyPairId, id),
        Some("launch-template") => stored::<LaunchTemplate>(snapshot, cx, Kind::LaunchTemplate, id),
        Some("placement-group") => resource::find::<PlacementGroup>(snapshot, cx, id).map(drop),
        Some("prefix-list") => prefix_list::ops::by_id(snapshot, cx, id).map(drop),
        Some("security-group") => security_group::ops::group(snapshot, cx, id).map(drop),
        Some("security-group-rule") => {
            let mut groups = security_group::ops::groups(snapshot, cx).into_iter();
            let found = groups.any(|group| group.rules.iter().any(|rule| rule.id == id));
            found.then_some(()).ok_or_else(|| Error::not_found(Kind::SecurityGroupRule, id))
        }
        Some("network-interface") => network_interface::ops::by_id(snapshot, cx, id).map(drop),
        Some("spot-instances-request") => {
            stored::<SpotRequest>(snapshot, cx, Kind::SpotRequest, id)
        }
        Some("snapshot") => stored::<ec2_snapshot::Snapshot>(snapshot, cx, Kind::Snapshot, id),
        Some("volume") => stored::<Volume>(snapshot, cx, Kind::Volume, id),
        Some("subnet") => vpc::ops::subnet(snapshot, cx, id).map(drop),
        Some("vpc-endpoint") => vpc_endpoint::ops::by_id(snapshot, cx, id).map(drop),
        Some("vpc") => vpc::ops::vpc(snapshot, cx, id).map(drop),
        _ => Err(Error::InvalidId(id.to_owned())),
    }
}

fn stored<R: store::Record>(snapshot: &Snapshot, cx: &Context, kind: Kind, id: &str) -> Result<()> {
    let found = snapshot.get::<R>(&cx.key(id));
    found.map(drop).ok_or_else(|| Error::not_found(kind, id))
}

/// One line of DescribeTags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub resource_id: String,
    pub resource_type: &'static str,
    pub key: String,
    pub value: String,
}

const FILTERS: &[&str] = &["key", "resource-id", "resource-type", "value"];

pub fn describe_tags(
    snapshot: &Snapshot,
    cx: &Context,
    listing: &Listing,
) -> Result<(Vec<Description>, Option<String>)> {
    listing.check_max_results(5..=1000)?;
    for filter in &listing.filters {
        // `tag:KEY` is a filter of this call; the other tag filters are not.
        if !filter.name.starts_with("tag:") && !FILTERS.contains(&filter.name.as_str()) {
            return Err(Error::InvalidFilter(filter.name.clone()));
        }
    }
    listing.check(FILTERS, true)?;
    let prefix = cx.prefix();
    let mut lines = Vec::new();
    for tagged in snapshot.scan::<Tagged>(&prefix) {
        let resource_type = resource_type(&tagged.resource_id).unwrap_or_default();
        for (key, value) in &tagged.tags {
            let own = || Tags::from([(key.clone(), value.clone())]);
            let keeps = listing.keeps(own, |name| match name {
                "key" => vec![key.clone()],
                "resource-id" => vec![tagged.resource_id.clone()],
                "resource-type" => vec![resource_type.to_owned()],
                "value" => vec![value.clone()],
                _ => vec![],
            });
            if keeps {
                lines.push(Description {
                    resource_id: tagged.resource_id.clone(),
                    resource_type,
                    key: key.clone(),
                    value: value.clone(),
                });
            }
        }
    }
    listing.page(lines, |line| format!("{}\0{}", line.resource_id, line.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::testing;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[tokio::test]
    async fn tags_come_and_go() {
        let cx = testing::context();
        let vpc = vpc::ops::first_id(&cx);
        let ids = [vpc.clone()];
        let given = tags(&[("Name", "main"), ("team", "web"), ("empty", "")]);
        cx.write(|tx| create_tags(tx, &cx, &ids, &given)).await.unwrap();
        cx.write(|tx| set(tx, &cx, &vpc, &tags(&[("aws:owner", "x")]))).await.unwrap();
        let (lines, _) = describe_tags(&cx.read(), &cx, &Listing::default()).unwrap();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0].resource_type, "vpc");

        for (asked, left) in [
            (Some(vec![("Name".to_owned(), Some("other".to_owned()))]), 4),
            (Some(vec![("Name".to_owned(), Some("main".to_owned()))]), 3),
            (Some(vec![("team".to_owned(), None)]), 2),
            (None, 1),
        ] {
            cx.write(|tx| delete_tags(tx, &cx, &ids, asked.as_deref())).await.unwrap();
            assert_eq!(tags_of(&cx.read(), &cx, &vpc).len(), left, "{asked:?}");
        }
    }

    #[tokio::test]
    async fn refusals() {
        let cx = testing::context();
        let vpc = vpc::ops::first_id(&cx);
        let long = "k".repeat(129);
        let many: Vec<String> = (0..51).map(|n| format!("k{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|k| (k.as_str(), "")).collect();
        for (id, given, code) in [
            (vpc.as_str(), tags(&[("aws:x", "")]), "InvalidParameterValue"),
            (vpc.as_str(), tags(&[(&long, "")]), "InvalidParameterValue"),
            (vpc.as_str(), tags(&many), "TagLimitExceeded"),
            (vpc.as_str(), tags(&[]), "MissingParameter"),
            ("vpc-0123456789abcdef0", tags(&[("a", "b")]), "InvalidVpcID.NotFound"),
            ("nonsense", tags(&[("a", "b")]), "InvalidID"),
        ] {
            let ids = [id.to_owned()];
            let error = cx.write(|tx| create_tags(tx, &cx, &ids, &given)).await.unwrap_err();
            assert_eq!(error.code(), code, "{id}");
        }
        assert_eq!(describe_tags(&cx.read(), &cx, &Listing::default()).unwrap().0, []);
        assert!(
            unique([("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())]).is_err()
        );
    }

    #[tokio::test]
    async fn describing_filters_lines() {
        let cx = testing::context();
        let ids: Vec<String> =
            vpc::ops::subnets(&cx.read(), &cx).into_iter().map(|s| s.id).collect();
        let given = tags(&[("Name", "a"), ("stack", "b")]);
        cx.write(|tx| create_tags(tx, &cx, &ids, &given)).await.unwrap();
        for (name, value, expected) in [
            ("key", "Name", 3),
            ("value", "b", 3),
            ("resource-id", ids[0].as_str(), 2),
            ("resource-type", "subnet", 6),
            ("tag:stack", "b", 3),
        ] {
            let values = vec![value.to_owned()];
            let listing = Listing::filtered(vec![Filter { name: name.to_owned(), values }]);
            let (lines, _) = describe_tags(&cx.read(), &cx, &listing).unwrap();
            assert_eq!(lines.len(), expected, "{name}");
        }
        let listing = Listing { max_results: Some(5), ..Listing::default() };
        let (lines, token) = describe_tags(&cx.read(), &cx, &listing).unwrap();
        assert_eq!((lines.len(), token.is_some()), (5, true));
    }
}

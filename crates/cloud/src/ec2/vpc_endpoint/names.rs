//! The names of interface endpoints, and which of them a name is.
//!
//! ```text
//!   vpce-0123…-4a5b6c7d.sts.us-east-1.vpce.amazonaws.com              all its addresses
//!   vpce-0123…-4a5b6c7d-us-east-1a.sts.us-east-1.vpce.amazonaws.com   the one in a zone
//!   sts.us-east-1.amazonaws.com                                       all, in its VPC, by private DNS
//! ```
//!
//! S3's have names below them, of buckets: they are shown with `*.` before. Source: AWS PrivateLink
//! Guide, "Access an AWS service using an interface VPC endpoint"; S3 User Guide, "AWS PrivateLink for
//! Amazon S3".

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::Snapshot;

use super::model::{Interface, VpcEndpoint};
use super::ops;
use crate::ec2::network_interface::NetworkInterface;
use crate::ec2::vpc::services;
use crate::{Context, zone};

/// Whether private DNS can be had for the service: DynamoDB's names always lead to its public addresses.
pub fn has_private(service: &str) -> bool {
    service != "dynamodb"
}

/// The names of a service in a region that private DNS takes over.
pub fn private(region: &str, service: &str) -> Vec<String> {
    let name = format!("{service}.{region}.{}", services::DOMAIN);
    match service {
        "s3" => vec![name.clone(), format!("*.{name}")],
        _ => vec![name],
    }
}

/// What the names of all endpoints of a service end in.
pub fn base(region: &str, service: &str) -> String {
    format!("{service}.{region}.vpce.{}", services::DOMAIN)
}

/// As DescribeVpcEndpoints shows them: of all zones, of each zone, the service's own.
pub fn all(snapshot: &Snapshot, cx: &Context, endpoint: &VpcEndpoint) -> Vec<String> {
    let Some(of) = &endpoint.interface else { return vec![] };
    let base = base(&endpoint.region, &endpoint.service);
    let star = if endpoint.service == "s3" { "*." } else { "" };
    let host = host(endpoint, of);
    let mut names = vec![format!("{star}{host}.{base}")];
    let zones = interfaces(snapshot, cx, of).map(|interface| interface.zone.clone());
    names.extend(zones.map(|zone| format!("{star}{host}-{zone}.{base}")));
    if of.private_dns {
        names.extend(private(&endpoint.region, &endpoint.service));
    }
    names
}

/// The addresses of an endpoint's own name, given by its label before the base: `vpce-0123…-4a5b6c7d`,
/// or that with a zone.
pub fn named(
    snapshot: &Snapshot,
    cx: &Context,
    service: &str,
    label: &str,
) -> Option<Vec<Ipv4Addr>> {
    ops::all(snapshot, cx).iter().find_map(|endpoint| {
        let of = endpoint.interface.as_ref().filter(|_| endpoint.service == service)?;
        match label.strip_prefix(&host(endpoint, of))? {
            "" => Some(addresses(snapshot, cx, of)),
            rest => {
                let in_zone = |i: &Arc<NetworkInterface>| rest.strip_prefix('-') == Some(&i.zone);
                let found = interfaces(snapshot, cx, of).find(in_zone)?;
                Some(vec![found.primary()])
            }
        }
    })
}

/// The addresses that private DNS of a VPC has for a service's own name.
pub fn privately(
    snapshot: &Snapshot,
    cx: &Context,
    vpc_id: &str,
    service: &str,
    name: &str,
) -> Option<Vec<Ipv4Addr>> {
    let endpoints = ops::of_vpc(snapshot, cx, vpc_id).into_iter();
    let mut of = endpoints.filter(|e| e.service == service).filter_map(|e| e.interface.clone());
    let of = of.find(|interface| interface.private_dns && interface.available)?;
    let taken_over =
        private(&cx.region, service).iter().any(|known| match known.strip_prefix('*') {
            Some(end) => name.ends_with(end),
            None => name == known,
        });
    taken_over.then(|| addresses(snapshot, cx, &of))
}

fn host(endpoint: &VpcEndpoint, of: &Interface) -> String {
    format!("{}-{}", endpoint.id, of.label)
}

/// A zone that failed is out of use.
fn addresses(snapshot: &Snapshot, cx: &Context, of: &Interface) -> Vec<Ipv4Addr> {
    let up = interfaces(snapshot, cx, of).filter(|i| !zone::is_failed(snapshot, &i.zone));
    up.map(|interface| interface.primary()).collect()
}

fn interfaces<'a>(
    snapshot: &'a Snapshot,
    cx: &'a Context,
    of: &'a Interface,
) -> impl Iterator<Item = Arc<NetworkInterface>> + 'a {
    of.interfaces.values().filter_map(|id| snapshot.get(&cx.key(id)))
}

//! Making, associating and deleting sets of DHCP options.

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Configuration, DhcpOptions};
use crate::ec2::listing::{self, Listing};
use crate::ec2::resource::{self, Resource};
use crate::ec2::vpc::{self, Vpc};
use crate::ec2::{Error, Kind, Result, tag};
use crate::tag::Tags;
use crate::{Context, dns, id};

/// What a VPC has that has no set of options.
pub const NONE: &str = "default";

/// The VPC's own resolver.
const PROVIDED_DNS: &str = "AmazonProvidedDNS";

const MAX_SERVERS: usize = 4;

impl Resource for DhcpOptions {
    const KIND: Kind = Kind::DhcpOptions;

    fn id(&self) -> &str {
        &self.id
    }

    /// The set that VPCs begin with.
    fn untouched(_: &Snapshot, cx: &Context) -> Vec<DhcpOptions> {
        let one =
            |key: &str, value: String| Configuration { key: key.to_owned(), values: vec![value] };
        vec![DhcpOptions {
            account: cx.account.clone(),
            region: cx.region.clone(),
            id: first_id(cx),
            configurations: vec![
                one("domain-name", region_domain(&cx.region)),
                one("domain-name-servers", PROVIDED_DNS.to_owned()),
            ],
        }]
    }
}

/// Of the set that VPCs begin with.
pub fn first_id(cx: &Context) -> String {
    id::stable("dopt", &[&cx.account, &cx.region])
}

/// `ec2.internal`; elsewhere than in us-east-1 `REGION.compute.internal`.
pub fn region_domain(region: &str) -> String {
    match region {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    }
}

/// What instances of the VPC are to search names in; `None` when its options say nothing.
pub fn domain_name(snapshot: &Snapshot, cx: &Context, vpc: &Vpc) -> Option<String> {
    let options = resource::get::<DhcpOptions>(snapshot, cx, &vpc.dhcp_options_id)?;
    options.values("domain-name").first().cloned()
}

/// Whom instances of the VPC are to ask for names.
pub fn name_servers(snapshot: &Snapshot, cx: &Context, vpc: &Vpc) -> Vec<Ipv4Addr> {
    let options = resource::get::<DhcpOptions>(snapshot, cx, &vpc.dhcp_options_id);
    let own = dns::ops::server(vpc);
    let server = |text: &String| if text == PROVIDED_DNS { Some(own) } else { text.parse().ok() };
    let values = options.iter().flat_map(|options| options.values("domain-name-servers"));
    values.filter_map(server).collect()
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    configurations: &[Configuration],
    tags: &Tags,
) -> Result<DhcpOptions> {
    tag::ops::check(tags)?;
    check(configurations)?;
    let options = DhcpOptions {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "dopt"),
        configurations: configurations.to_vec(),
    };
    tag::ops::set(tx, cx, &options.id, tags)?;
    tx.put(options.clone());
    Ok(options)
}

fn check(configurations: &[Configuration]) -> Result<()> {
    if configurations.is_empty() {
        return Err(Error::MissingParameter("dhcpConfiguration"));
    }
    for (n, Configuration { key, values }) in configurations.iter().enumerate() {
        let bad = |why: &str| {
            let value = values.join(",");
            Err(Error::value(format!("Value ({value}) for parameter {key} is invalid. {why}.")))
        };
        if configurations[..n].iter().any(|other| other.key == *key) {
            return bad("Each option can be given once");
        }
        if values.is_empty() {
            return bad("A value is required");
        }
        match key.as_str() {
            "domain-name" if values.len() > 1 => return bad("One domain name can be given"),
            "domain-name" if !is_domain(&values[0]) => return bad("It is not a domain name"),
            "domain-name" => {}
            "domain-name-servers" => {
                let known =
                    |value: &String| value == PROVIDED_DNS || value.parse::<Ipv4Addr>().is_ok();
                if !values.iter().all(known) || values.len() > MAX_SERVERS {
                    return bad("Up to four IPv4 addresses, or AmazonProvidedDNS, can be given");
                }
            }
            // Instances have the host's clock, and nobody here speaks NetBIOS.
            "ntp-servers" | "netbios-name-servers" | "netbios-node-type" => {
                return Err(Error::unsupported(format!("{key} in DHCP options")));
            }
            _ => return bad("Unknown option"),
        }
    }
    Ok(())
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.trim_end_matches('.').split('.').all(label)
}

/// `default` takes a VPC's options away.
pub fn associate(tx: &mut Tx, cx: &Context, id: &str, vpc_id: &str) -> Result<()> {
    if id != NONE {
        resource::find::<DhcpOptions>(tx, cx, id)?;
    }
    let vpc = vpc::ops::vpc(tx, cx, vpc_id)?;
    tx.put(Vpc { dhcp_options_id: id.to_owned(), ..vpc });
    Ok(())
}

pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    resource::find::<DhcpOptions>(tx, cx, id)?;
    if vpc::ops::vpcs(tx, cx).iter().any(|vpc| vpc.dhcp_options_id == id) {
        return Err(Error::DependencyViolation(format!(
            "The dhcpOptions '{id}' has dependencies and cannot be deleted."
        )));
    }
    resource::delete::<DhcpOptions>(tx, cx, id);
    Ok(())
}

type Found = (Vec<Arc<DhcpOptions>>, Option<String>);

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    let mut all = resource::all::<DhcpOptions>(snapshot, cx);
    listing::only(&mut all, ids, |options| &options.id, Kind::DhcpOptions)?;
    listing.check(&["dhcp-options-id", "key", "owner-id", "value"], true)?;
    listing.check_max_results(5..=1000)?;
    all.retain(|options| {
        let tags = || tag::ops::tags_of(snapshot, cx, &options.id);
        let each = options.configurations.iter();
        listing.keeps(tags, |name| match name {
            "dhcp-options-id" => vec![options.id.clone()],
            "key" => each.clone().map(|configuration| configuration.key.clone()).collect(),
            "owner-id" => vec![options.account.clone()],
            "value" => {
                each.clone().flat_map(|configuration| configuration.values.clone()).collect()
            }
            _ => vec![],
        })
    });
    listing.page(all, |options| options.id.clone())
}

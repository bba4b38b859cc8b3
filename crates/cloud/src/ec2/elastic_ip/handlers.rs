//! Elastic addresses on the wire.

use wire::ec2 as w;

use super::describe;
use super::model::PublicAddress;
use super::ops::{self, Target};
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::instance::handlers::launch::{address, only, refuse_some};
use crate::ec2::listing::{Listing, dry_run};
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::AllocateAddress, _, _, _>(allocate),
        serve::<w::ReleaseAddress, _, _, _>(release),
        serve::<w::DescribeAddresses, _, _, _>(describe_addresses),
        serve::<w::DescribeAddressesAttribute, _, _, _>(describe_attribute),
        serve::<w::AssociateAddress, _, _, _>(associate),
        serve::<w::DisassociateAddress, _, _, _>(disassociate),
    ]
}

async fn allocate(
    cx: Context,
    input: w::AllocateAddressRequest,
) -> Result<w::AllocateAddressResult> {
    refuse_some(&input.address, "Address")?;
    refuse_some(&input.customer_owned_ipv4_pool, "CustomerOwnedIpv4Pool")?;
    refuse_some(&input.ipam_pool_id, "IpamPoolId")?;
    only(&input.domain, "vpc", "Domain")?;
    only(&input.network_border_group, &cx.region, "NetworkBorderGroup")?;
    only(&input.public_ipv4_pool, "amazon", "PublicIpv4Pool")?;
    let tags = tags_of_type(input.tag_specifications, "elastic-ip")?;
    let made = cx
        .write(|tx| {
            let made = ops::allocate(tx, &cx, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(made)
        })
        .await?;
    Ok(w::AllocateAddressResult {
        allocation_id: made.allocation_id,
        domain: Some("vpc".to_owned()),
        network_border_group: Some(made.region),
        public_ip: Some(made.address.to_string()),
        public_ipv4_pool: Some("amazon".to_owned()),
        ..Default::default()
    })
}

async fn release(cx: Context, input: w::ReleaseAddressRequest) -> Result<w::ReleaseAddressOutput> {
    only(&input.network_border_group, &cx.region, "NetworkBorderGroup")?;
    let (id, ip) = (input.allocation_id.as_deref(), input.public_ip.as_deref());
    cx.write(|tx| {
        let address = ops::named(tx, &cx, id, ip)?;
        ops::release(tx, &cx, &address)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}

async fn describe_addresses(
    cx: Context,
    input: w::DescribeAddressesRequest,
) -> Result<w::DescribeAddressesResult> {
    let snapshot = cx.read();
    let ids = input.allocation_ids.unwrap_or_default();
    let ips = input.public_ips.unwrap_or_default();
    let listing = listing(input.filters, None, None);
    let found = describe::addresses(&snapshot, &cx, &ids, &ips, &listing)?;
    dry_run(input.dry_run)?;
    let shown = |a: &PublicAddress| {
        let interface = describe::interface(&snapshot, &cx, a);
        let association = a.association.as_ref();
        let id = a.allocation_id.as_deref().unwrap_or_default();
        w::Address {
            allocation_id: a.allocation_id.clone(),
            association_id: association.map(|a| a.id.clone()),
            domain: Some("vpc".to_owned()),
            instance_id: describe::instance_id(&snapshot, &cx, a),
            network_border_group: Some(a.region.clone()),
            network_interface_id: association.map(|a| a.interface_id.clone()),
            network_interface_owner_id: association.map(|_| a.account.clone()),
            private_ip_address: association.map(|a| a.private_ip.to_string()),
            public_ip: Some(a.address.to_string()),
            public_ipv4_pool: Some("amazon".to_owned()),
            subnet_id: interface.map(|interface| interface.subnet_id.clone()),
            tags: tags_out(tag::ops::tags_of(&snapshot, &cx, id)),
            ..Default::default()
        }
    };
    Ok(w::DescribeAddressesResult { addresses: Some(found.iter().map(|a| shown(a)).collect()) })
}

/// The one attribute is a name of one's own for the reverse look-up, which nothing here can set.
async fn describe_attribute(
    cx: Context,
    input: w::DescribeAddressesAttributeRequest,
) -> Result<w::DescribeAddressesAttributeResult> {
    only(&input.attribute, "domain-name", "Attribute")?;
    let ids = input.allocation_ids.unwrap_or_default();
    let page = listing(None, input.max_results, input.next_token);
    page.check_max_results(1..=1000)?;
    let all = describe::addresses(&cx.read(), &cx, &ids, &[], &Listing::default())?;
    let (found, next_token) = page.page(all, |a| a.allocation_id.clone().unwrap_or_default())?;
    dry_run(input.dry_run)?;
    let shown = |a: &PublicAddress| w::AddressAttribute {
        allocation_id: a.allocation_id.clone(),
        public_ip: Some(a.address.to_string()),
        ..Default::default()
    };
    let addresses = Some(found.iter().map(|a| shown(a)).collect());
    Ok(w::DescribeAddressesAttributeResult { addresses, next_token })
}

async fn associate(
    cx: Context,
    input: w::AssociateAddressRequest,
) -> Result<w::AssociateAddressResult> {
    let target = Target {
        instance_id: input.instance_id,
        interface_id: input.network_interface_id,
        private_ip: input.private_ip_address.map(address).transpose()?,
    };
    let (id, ip) = (input.allocation_id.as_deref(), input.public_ip.as_deref());
    let reassociate = input.allow_reassociation.unwrap_or(true);
    let association = cx
        .write(|tx| {
            let address = ops::named(tx, &cx, id, ip)?;
            if let Some(interface) = &target.interface_id {
                crate::ec2::network_interface::ops::changeable(tx, &cx, interface)?;
            }
            let association = ops::associate(tx, &cx, &address, &target, reassociate)?;
            ops::check_gateway(tx, &cx, &association)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(association)
        })
        .await?;
    Ok(w::AssociateAddressResult { association_id: Some(association.id) })
}

async fn disassociate(
    cx: Context,
    input: w::DisassociateAddressRequest,
) -> Result<w::DisassociateAddressOutput> {
    let (id, ip) = (input.association_id, input.public_ip.as_deref());
    cx.write(|tx| {
        let id = match &id {
            Some(id) => id.clone(),
            None => {
                let address = ops::named(tx, &cx, None, ip)?;
                let association = address.association.as_ref().map(|a| a.id.clone());
                association.ok_or_else(|| {
                    Error::not_found(crate::ec2::Kind::Association, address.address.to_string())
                })?
            }
        };
        ops::disassociate(tx, &cx, &id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}

//! Network ACLs on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::describe;
use super::entry::{self, Request};
use super::model::{Association, Entry, NetworkAcl};
use super::ops;
use crate::Context;
use crate::ec2::handlers::{listing, refuse, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry as Served, serve};

pub fn operations() -> Vec<Served> {
    vec![
        serve::<w::CreateNetworkAcl, _, _, _>(create),
        serve::<w::DeleteNetworkAcl, _, _, _>(delete),
        serve::<w::DescribeNetworkAcls, _, _, _>(describe_acls),
        serve::<w::CreateNetworkAclEntry, _, _, _>(create_entry),
        serve::<w::ReplaceNetworkAclEntry, _, _, _>(replace_entry),
        serve::<w::DeleteNetworkAclEntry, _, _, _>(delete_entry),
        serve::<w::ReplaceNetworkAclAssociation, _, _, _>(replace_association),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateNetworkAclRequest,
) -> Result<w::CreateNetworkAclResult> {
    let tags = tags_of_type(input.tag_specifications, "network-acl")?;
    let token = input.client_token.as_deref();
    let acl = cx
        .write(|tx| {
            let acl = ops::create(tx, &cx, &input.vpc_id, token, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(acl)
        })
        .await?;
    Ok(w::CreateNetworkAclResult {
        client_token: input.client_token,
        network_acl: Some(acl_out(&cx.read(), &cx, &acl, &acl.associations)),
    })
}

async fn delete(
    cx: Context,
    input: w::DeleteNetworkAclRequest,
) -> Result<w::DeleteNetworkAclOutput> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.network_acl_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteNetworkAclOutput {})
}

async fn describe_acls(
    cx: Context,
    input: w::DescribeNetworkAclsRequest,
) -> Result<w::DescribeNetworkAclsResult> {
    let snapshot = cx.read();
    let ids = input.network_acl_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::acls(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let acl = |(acl, subnets): &describe::Found| acl_out(&snapshot, &cx, acl, subnets);
    let network_acls = Some(found.iter().map(acl).collect());
    Ok(w::DescribeNetworkAclsResult { network_acls, next_token })
}

fn acl_out(
    snapshot: &Snapshot,
    cx: &Context,
    acl: &NetworkAcl,
    associations: &[Association],
) -> w::NetworkAcl {
    let association = |association: &Association| w::NetworkAclAssociation {
        network_acl_association_id: Some(association.id.clone()),
        network_acl_id: Some(acl.id.clone()),
        subnet_id: Some(association.subnet_id.clone()),
    };
    w::NetworkAcl {
        associations: Some(associations.iter().map(association).collect()),
        entries: Some(describe::entries(acl).iter().map(entry_out).collect()),
        is_default: Some(acl.is_default),
        network_acl_id: Some(acl.id.clone()),
        owner_id: Some(acl.account.clone()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &acl.id)),
        vpc_id: Some(acl.vpc_id.clone()),
    }
}

fn entry_out(entry: &Entry) -> w::NetworkAclEntry {
    w::NetworkAclEntry {
        cidr_block: Some(entry.cidr.to_string()),
        egress: Some(entry.egress),
        icmp_type_code: entry.icmp.map(|(kind, code)| w::IcmpTypeCode {
            code: Some(code.into()),
            r#type: Some(kind.into()),
        }),
        ipv6_cidr_block: None,
        port_range: entry
            .ports
            .map(|(from, to)| w::PortRange { from: Some(from.into()), to: Some(to.into()) }),
        protocol: Some(entry.protocol.to_string()),
        rule_action: Some(describe::action(entry).to_owned()),
        rule_number: Some(entry.number),
    }
}

async fn create_entry(
    cx: Context,
    input: w::CreateNetworkAclEntryRequest,
) -> Result<w::CreateNetworkAclEntryOutput> {
    refuse(input.ipv6_cidr_block.is_some(), "IPv6 in a network ACL")?;
    let entry = entry::check(&Request {
        egress: input.egress,
        number: input.rule_number,
        action: input.rule_action,
        protocol: input.protocol,
        ports: input.port_range.map(|range| (range.from, range.to)),
        icmp: input.icmp_type_code.map(|icmp| (icmp.r#type, icmp.code)),
        cidr: input.cidr_block,
    })?;
    cx.write(|tx| {
        ops::create_entry(tx, &cx, &input.network_acl_id, entry.clone())?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::CreateNetworkAclEntryOutput {})
}

async fn replace_entry(
    cx: Context,
    input: w::ReplaceNetworkAclEntryRequest,
) -> Result<w::ReplaceNetworkAclEntryOutput> {
    refuse(input.ipv6_cidr_block.is_some(), "IPv6 in a network ACL")?;
    let entry = entry::check(&Request {
        egress: input.egress,
        number: input.rule_number,
        action: input.rule_action,
        protocol: input.protocol,
        ports: input.port_range.map(|range| (range.from, range.to)),
        icmp: input.icmp_type_code.map(|icmp| (icmp.r#type, icmp.code)),
        cidr: input.cidr_block,
    })?;
    cx.write(|tx| {
        ops::replace_entry(tx, &cx, &input.network_acl_id, entry.clone())?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::ReplaceNetworkAclEntryOutput {})
}

async fn delete_entry(
    cx: Context,
    input: w::DeleteNetworkAclEntryRequest,
) -> Result<w::DeleteNetworkAclEntryOutput> {
    cx.write(|tx| {
        ops::delete_entry(tx, &cx, &input.network_acl_id, input.egress, input.rule_number)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteNetworkAclEntryOutput {})
}

async fn replace_association(
    cx: Context,
    input: w::ReplaceNetworkAclAssociationRequest,
) -> Result<w::ReplaceNetworkAclAssociationResult> {
    let (association, acl) = (&input.association_id, &input.network_acl_id);
    let id = cx
        .write(|tx| {
            let id = ops::replace_association(tx, &cx, association, acl)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(id)
        })
        .await?;
    Ok(w::ReplaceNetworkAclAssociationResult { new_association_id: Some(id) })
}

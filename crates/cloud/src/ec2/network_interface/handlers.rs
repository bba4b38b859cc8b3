//! Network interfaces on the wire.

use std::net::Ipv4Addr;

use store::Snapshot;
use wire::ec2 as w;

use super::attribute::{self, Asked, Change};
use super::model::{Attachment, NetworkInterface};
use super::ops::{self, New};
use super::{describe, model};
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::instance::handlers::describe::time;
use crate::ec2::instance::handlers::launch::{
    PrivateAddresses, address, only, private_addresses, refuse_list, refuse_some, refuse_true,
};
use crate::ec2::instance::spec::private_dns_name;
use crate::ec2::instance::{describe as instance, resolve};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, client_token, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateNetworkInterface, _, _, _>(create),
        serve::<w::DeleteNetworkInterface, _, _, _>(delete),
        serve::<w::DescribeNetworkInterfaces, _, _, _>(describe_interfaces),
        serve::<w::AttachNetworkInterface, _, _, _>(attach),
        serve::<w::DetachNetworkInterface, _, _, _>(detach),
        serve::<w::DescribeNetworkInterfaceAttribute, _, _, _>(describe_attribute),
        serve::<w::ModifyNetworkInterfaceAttribute, _, _, _>(modify_attribute),
        serve::<w::ResetNetworkInterfaceAttribute, _, _, _>(reset_attribute),
        serve::<w::AssignPrivateIpAddresses, _, _, _>(assign),
        serve::<w::UnassignPrivateIpAddresses, _, _, _>(unassign),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateNetworkInterfaceRequest,
) -> Result<w::CreateNetworkInterfaceResult> {
    let w::CreateNetworkInterfaceRequest {
        client_token: token,
        connection_tracking_specification,
        description,
        dry_run: dry,
        enable_primary_ipv6,
        groups,
        interface_type,
        ipv4_prefix_count,
        ipv4_prefixes,
        ipv6_address_count,
        ipv6_addresses,
        ipv6_prefix_count,
        ipv6_prefixes,
        operator,
        private_ip_address,
        private_ip_addresses,
        secondary_private_ip_address_count,
        subnet_id,
        tag_specifications,
    } = input;
    refuse_some(&connection_tracking_specification, "ConnectionTrackingSpecification")?;
    refuse_true(enable_primary_ipv6, "EnablePrimaryIpv6")?;
    only(&interface_type, "interface", "InterfaceType")?;
    refuse_some(&ipv4_prefix_count.filter(|n| *n != 0), "Ipv4PrefixCount")?;
    refuse_list(&ipv4_prefixes, "Ipv4Prefixes")?;
    refuse_some(&ipv6_address_count.filter(|n| *n != 0), "Ipv6AddressCount")?;
    refuse_list(&ipv6_addresses, "Ipv6Addresses")?;
    refuse_some(&ipv6_prefix_count.filter(|n| *n != 0), "Ipv6PrefixCount")?;
    refuse_list(&ipv6_prefixes, "Ipv6Prefixes")?;
    refuse_some(&operator, "Operator")?;
    let PrivateAddresses { primary, secondary, secondary_count } = private_addresses(
        private_ip_address,
        private_ip_addresses,
        secondary_private_ip_address_count,
    )?;
    let new = New {
        address: primary,
        secondary,
        secondary_count,
        description: description.unwrap_or_default(),
        ..New::in_subnet(&subnet_id, groups.unwrap_or_default())
    };
    let tags = tags_of_type(tag_specifications, "network-interface")?;
    tag::ops::check(&tags)?;
    let token = client_token::of(token.as_deref(), &(&new, &tags))?;
    let made = cx
        .write(|tx| {
            let prefix = cx.prefix();
            let known = tx.scan::<NetworkInterface>(&prefix);
            if let Some(made) = client_token::made(&token, known, |i| &i.client_token)? {
                return Ok((*made).clone());
            }
            let mut new = new.clone();
            ops::check_new(tx, &cx, &mut new)?;
            let made = ops::create(tx, &cx, &new, None, token.clone())?;
            tag::ops::set(tx, &cx, &made.id, &tags)?;
            dry_run(dry)?;
            Ok::<_, Error>(made)
        })
        .await?;
    let shown = interface_out(&cx.read(), &cx, &made);
    // A new one is said to be on its way; it is there.
    Ok(w::CreateNetworkInterfaceResult { network_interface: Some(shown), ..Default::default() })
}

async fn delete(
    cx: Context,
    input: w::DeleteNetworkInterfaceRequest,
) -> Result<w::DeleteNetworkInterfaceOutput> {
    cx.write(|tx| {
        ops::delete(tx, &cx, &input.network_interface_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}

async fn describe_interfaces(
    cx: Context,
    input: w::DescribeNetworkInterfacesRequest,
) -> Result<w::DescribeNetworkInterfacesResult> {
    let snapshot = cx.read();
    let ids = input.network_interface_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::interfaces(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let network_interfaces = found.iter().map(|i| interface_out(&snapshot, &cx, i)).collect();
    Ok(w::DescribeNetworkInterfacesResult {
        network_interfaces: Some(network_interfaces),
        next_token,
    })
}

fn interface_out(snapshot: &Snapshot, cx: &Context, i: &NetworkInterface) -> w::NetworkInterface {
    let association = |address: &Ipv4Addr| {
        let association = describe::association(snapshot, cx, i, *address)?;
        Some(w::NetworkInterfaceAssociation {
            allocation_id: association.allocation_id,
            association_id: association.id,
            ip_owner_id: Some(association.owner),
            public_dns_name: Some(association.dns_name),
            public_ip: Some(association.public_ip.to_string()),
            ..Default::default()
        })
    };
    let private = |address: &Ipv4Addr| w::NetworkInterfacePrivateIpAddress {
        association: association(address),
        primary: Some(*address == i.primary()),
        private_dns_name: Some(private_dns_name(&i.region, *address)),
        private_ip_address: Some(address.to_string()),
    };
    w::NetworkInterface {
        association: association(&i.primary()),
        attachment: i.attachment.as_ref().map(|a| attachment_out(snapshot, cx, i, a)),
        availability_zone: Some(i.zone.clone()),
        availability_zone_id: instance::zone_id(cx, &i.zone),
        description: Some(i.description.clone()),
        groups: Some(groups(snapshot, cx, i)),
        interface_type: Some(i.kind.name().to_owned()),
        ipv6_addresses: Some(vec![]),
        mac_address: Some(i.mac_text()),
        network_interface_id: Some(i.id.clone()),
        operator: Some(w::OperatorResponse { managed: Some(false), ..Default::default() }),
        owner_id: Some(i.account.clone()),
        private_dns_name: Some(private_dns_name(&i.region, i.primary())),
        private_ip_address: Some(i.primary().to_string()),
        private_ip_addresses: Some(i.addresses.iter().map(private).collect()),
        requester_id: i.requester.clone(),
        requester_managed: Some(i.is_requester_managed()),
        source_dest_check: Some(i.source_dest_check),
        status: Some(i.status().to_owned()),
        subnet_id: Some(i.subnet_id.clone()),
        tag_set: Some(tags_out(tag::ops::tags_of(snapshot, cx, &i.id)).unwrap_or_default()),
        vpc_id: Some(i.vpc_id.clone()),
        ..Default::default()
    }
}

fn attachment_out(
    snapshot: &Snapshot,
    cx: &Context,
    i: &NetworkInterface,
    attachment: &Attachment,
) -> w::NetworkInterfaceAttachment {
    w::NetworkInterfaceAttachment {
        attach_time: Some(time(attachment.at)),
        attachment_id: Some(attachment.id.clone()),
        delete_on_termination: Some(attachment.delete_on_termination),
        device_index: Some(attachment.device_index as i32),
        instance_id: Some(attachment.instance_id.clone()),
        instance_owner_id: Some(i.account.clone()),
        network_card_index: Some(0),
        status: describe::attachment_status(snapshot, cx, i).map(str::to_owned),
        ..Default::default()
    }
}

pub fn groups(
    snapshot: &Snapshot,
    cx: &Context,
    i: &model::NetworkInterface,
) -> Vec<w::GroupIdentifier> {
    let group = |id: &String| w::GroupIdentifier {
        group_id: Some(id.clone()),
        group_name: resolve::group_name(snapshot, cx, id),
    };
    i.groups.iter().map(group).collect()
}

async fn attach(
    cx: Context,
    input: w::AttachNetworkInterfaceRequest,
) -> Result<w::AttachNetworkInterfaceResult> {
    refuse_some(&input.ena_queue_count, "EnaQueueCount")?;
    refuse_some(&input.ena_srd_specification, "EnaSrdSpecification")?;
    refuse_some(&input.network_card_index.filter(|n| *n != 0), "NetworkCardIndex")?;
    let (interface, instance) = (&input.network_interface_id, &input.instance_id);
    let attachment = cx
        .write(|tx| {
            let attachment = ops::attach(tx, &cx, interface, instance, input.device_index)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(attachment)
        })
        .await?;
    Ok(w::AttachNetworkInterfaceResult {
        attachment_id: Some(attachment.id),
        network_card_index: Some(0),
    })
}

async fn detach(
    cx: Context,
    input: w::DetachNetworkInterfaceRequest,
) -> Result<w::DetachNetworkInterfaceOutput> {
    // Forced or not: nothing in the instance can hold an interface back.
    cx.write(|tx| {
        ops::detach(tx, &cx, &input.attachment_id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}

async fn describe_attribute(
    cx: Context,
    input: w::DescribeNetworkInterfaceAttributeRequest,
) -> Result<w::DescribeNetworkInterfaceAttributeResult> {
    let snapshot = cx.read();
    let i = ops::by_id(&snapshot, &cx, &input.network_interface_id)?;
    let mut shown = w::DescribeNetworkInterfaceAttributeResult {
        network_interface_id: Some(i.id.clone()),
        ..Default::default()
    };
    match input.attribute.as_deref() {
        Some("description") => {
            shown.description = Some(w::AttributeValue { value: Some(i.description.clone()) });
        }
        Some("groupSet") => shown.groups = Some(groups(&snapshot, &cx, &i)),
        Some("sourceDestCheck") => {
            let value = Some(i.source_dest_check);
            shown.source_dest_check = Some(w::AttributeBooleanValue { value });
        }
        Some("attachment") => {
            shown.attachment = i.attachment.as_ref().map(|a| attachment_out(&snapshot, &cx, &i, a));
        }
        Some("associatePublicIpAddress") => {
            shown.associate_public_ip_address = Some(i.auto_public);
        }
        Some(other) => {
            return Err(Error::value(format!(
                "Value ({other}) for parameter attribute is invalid. Unknown attribute."
            )));
        }
        None => return Err(Error::combination("No attributes specified.")),
    }
    dry_run(input.dry_run)?;
    Ok(shown)
}

async fn modify_attribute(
    cx: Context,
    input: w::ModifyNetworkInterfaceAttributeRequest,
) -> Result<w::ModifyNetworkInterfaceAttributeOutput> {
    let (id, dry) = (input.network_interface_id.clone(), input.dry_run);
    let mut changes = changes(input)?;
    let change = changes.pop().ok_or_else(|| Error::combination("No attributes specified."))?;
    if !changes.is_empty() {
        return Err(Error::combination("Fields for multiple attribute types specified"));
    }
    cx.write(|tx| {
        attribute::modify(tx, &cx, &id, &change)?;
        dry_run(dry)
    })
    .await?;
    Ok(Default::default())
}

fn changes(input: w::ModifyNetworkInterfaceAttributeRequest) -> Result<Vec<Change>> {
    let w::ModifyNetworkInterfaceAttributeRequest {
        associate_public_ip_address,
        associated_subnet_ids,
        attachment,
        connection_tracking_specification,
        description,
        dry_run: _,
        ena_srd_specification,
        enable_primary_ipv6,
        groups,
        network_interface_id: _,
        source_dest_check,
    } = input;
    refuse_list(&associated_subnet_ids, "AssociatedSubnetIds")?;
    refuse_some(&connection_tracking_specification, "ConnectionTrackingSpecification")?;
    refuse_some(&ena_srd_specification, "EnaSrdSpecification")?;
    refuse_true(enable_primary_ipv6, "EnablePrimaryIpv6")?;
    let mut changes = Vec::new();
    changes.extend(associate_public_ip_address.map(Change::AssociatePublicIpAddress));
    changes.extend(description.and_then(|a| a.value).map(Change::Description));
    changes.extend(groups.map(Change::Groups));
    changes.extend(source_dest_check.and_then(|a| a.value).map(Change::SourceDestCheck));
    if let Some(attachment) = attachment {
        refuse_some(&attachment.default_ena_queue_count, "DefaultEnaQueueCount")?;
        refuse_some(&attachment.ena_queue_count, "EnaQueueCount")?;
        let attachment_id = attachment.attachment_id;
        let asked = attachment.delete_on_termination;
        changes.extend(asked.map(|on| Change::DeleteOnTermination { attachment_id, on }));
    }
    Ok(changes)
}

/// The one attribute that can be reset.
async fn reset_attribute(
    cx: Context,
    input: w::ResetNetworkInterfaceAttributeRequest,
) -> Result<w::ResetNetworkInterfaceAttributeOutput> {
    if input.source_dest_check.is_none() {
        return Err(Error::combination("No attributes specified."));
    }
    cx.write(|tx| {
        let id = &input.network_interface_id;
        attribute::modify(tx, &cx, id, &Change::SourceDestCheck(true))?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(Default::default())
}

async fn assign(
    cx: Context,
    input: w::AssignPrivateIpAddressesRequest,
) -> Result<w::AssignPrivateIpAddressesResult> {
    refuse_some(&input.ipv4_prefix_count.filter(|n| *n != 0), "Ipv4PrefixCount")?;
    refuse_list(&input.ipv4_prefixes, "Ipv4Prefixes")?;
    let asked = match (input.private_ip_addresses, input.secondary_private_ip_address_count) {
        (Some(_), Some(_)) => {
            return Err(Error::combination(
                "PrivateIpAddresses and SecondaryPrivateIpAddressCount may not be specified on the \
                 same request.",
            ));
        }
        (Some(all), None) => Asked::Addresses(all.into_iter().map(address).collect::<Result<_>>()?),
        (None, Some(count)) => Asked::Count(
            usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
                Error::value(format!(
                    "Value ({count}) for parameter secondaryPrivateIpAddressCount is invalid."
                ))
            })?,
        ),
        (None, None) => {
            return Err(Error::MissingParameter(
                "privateIpAddress or secondaryPrivateIpAddressCount",
            ));
        }
    };
    let (id, reassign) = (&input.network_interface_id, input.allow_reassignment == Some(true));
    let assigned = cx.write(|tx| attribute::assign(tx, &cx, id, &asked, reassign)).await?;
    let out = |address: Ipv4Addr| w::AssignedPrivateIpAddress {
        private_ip_address: Some(address.to_string()),
    };
    Ok(w::AssignPrivateIpAddressesResult {
        assigned_private_ip_addresses: Some(assigned.into_iter().map(out).collect()),
        network_interface_id: Some(input.network_interface_id),
        ..Default::default()
    })
}

async fn unassign(
    cx: Context,
    input: w::UnassignPrivateIpAddressesRequest,
) -> Result<w::UnassignPrivateIpAddressesOutput> {
    refuse_list(&input.ipv4_prefixes, "Ipv4Prefixes")?;
    let all = input.private_ip_addresses.unwrap_or_default();
    if all.is_empty() {
        return Err(Error::MissingParameter("privateIpAddress"));
    }
    let all = all.into_iter().map(address).collect::<Result<Vec<_>>>()?;
    cx.write(|tx| attribute::unassign(tx, &cx, &input.network_interface_id, &all)).await?;
    Ok(Default::default())
}

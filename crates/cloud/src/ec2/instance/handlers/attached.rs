//! What comes with an instance: its primary network interface and its root volume.

use std::sync::Arc;

use wire::ec2 as w;

use super::super::describe;
use super::super::model::Instance;
use super::super::spec::private_dns_name;
use super::describe::{groups, time};
use crate::Context;
use crate::ec2::handlers::{listing, tags_out};
use crate::ec2::image::model::{ROOT_DEVICE, ROOT_SIZE_GIB, ROOT_VOLUME_TYPE};
use crate::ec2::listing::dry_run;
use crate::ec2::{Result, tag};

pub async fn network_interfaces(
    cx: Context,
    input: w::DescribeNetworkInterfacesRequest,
) -> Result<w::DescribeNetworkInterfacesResult> {
    let snapshot = cx.read();
    let ids = input.network_interface_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::network_interfaces(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let interface = |i: &Arc<Instance>| {
        let private_dns = private_dns_name(&i.region, i.private_ip);
        w::NetworkInterface {
            attachment: Some(w::NetworkInterfaceAttachment {
                attach_time: Some(time(i.created_at)),
                attachment_id: Some(i.attachment_id.clone()),
                delete_on_termination: Some(true),
                device_index: Some(0),
                instance_id: Some(i.id.clone()),
                instance_owner_id: Some(i.account.clone()),
                network_card_index: Some(0),
                status: Some(describe::attachment_status(i).to_owned()),
                ..Default::default()
            }),
            availability_zone: Some(i.zone.clone()),
            availability_zone_id: describe::zone_id(&snapshot, &cx, &i.zone),
            description: Some(i.interface_description.clone()),
            groups: Some(groups(&snapshot, &cx, i)),
            interface_type: Some("interface".to_owned()),
            ipv6_addresses: Some(vec![]),
            mac_address: Some(describe::mac(i)),
            network_interface_id: Some(i.interface_id.clone()),
            operator: Some(w::OperatorResponse { managed: Some(false), ..Default::default() }),
            owner_id: Some(i.account.clone()),
            private_dns_name: Some(private_dns.clone()),
            private_ip_address: Some(i.private_ip.to_string()),
            private_ip_addresses: Some(vec![w::NetworkInterfacePrivateIpAddress {
                primary: Some(true),
                private_dns_name: Some(private_dns),
                private_ip_address: Some(i.private_ip.to_string()),
                ..Default::default()
            }]),
            requester_managed: Some(false),
            source_dest_check: Some(true),
            status: Some("in-use".to_owned()),
            subnet_id: Some(i.subnet_id.clone()),
            tag_set: Some(
                tags_out(tag::ops::tags_of(&snapshot, &cx, &i.interface_id)).unwrap_or_default(),
            ),
            vpc_id: Some(i.vpc_id.clone()),
            ..Default::default()
        }
    };
    Ok(w::DescribeNetworkInterfacesResult {
        network_interfaces: Some(found.iter().map(interface).collect()),
        next_token,
    })
}

pub async fn volumes(
    cx: Context,
    input: w::DescribeVolumesRequest,
) -> Result<w::DescribeVolumesResult> {
    let snapshot = cx.read();
    let ids = input.volume_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::volumes(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let volume = |i: &Arc<Instance>| w::Volume {
        attachments: Some(vec![w::VolumeAttachment {
            attach_time: Some(time(i.created_at)),
            delete_on_termination: Some(true),
            device: Some(ROOT_DEVICE.to_owned()),
            instance_id: Some(i.id.clone()),
            state: Some(describe::attachment_status(i).to_owned()),
            volume_id: Some(i.volume_id.clone()),
            ..Default::default()
        }]),
        availability_zone: Some(i.zone.clone()),
        availability_zone_id: describe::zone_id(&snapshot, &cx, &i.zone),
        create_time: Some(time(i.created_at)),
        encrypted: Some(false),
        multi_attach_enabled: Some(false),
        operator: Some(w::OperatorResponse { managed: Some(false), ..Default::default() }),
        size: Some(ROOT_SIZE_GIB),
        snapshot_id: Some(String::new()),
        state: Some("in-use".to_owned()),
        tags: tags_out(tag::ops::tags_of(&snapshot, &cx, &i.volume_id)),
        volume_id: Some(i.volume_id.clone()),
        volume_type: Some(ROOT_VOLUME_TYPE.to_owned()),
        ..Default::default()
    };
    Ok(w::DescribeVolumesResult { volumes: Some(found.iter().map(volume).collect()), next_token })
}

//! What the driver is told of an instance.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use compute::{Disk, DiskSource, Nic, Resolver, Spec};
use store::Snapshot;

use super::model::Instance;
use crate::Context;
use crate::ec2::image::model::{INSTANCE_STORE_ROOT_GIB, RootDevice};
use crate::ec2::network_interface::{self, NetworkInterface};
use crate::ec2::volume::{self, Content, Volume, device};
use crate::ec2::{Error, Kind, Result, catalog, dhcp_options, vpc};

pub fn of(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Result<Spec> {
    let vpc = vpc::ops::vpc(snapshot, cx, &instance.vpc_id)?;
    let size = catalog::instance_type(&instance.instance_type)
        .ok_or_else(|| Error::not_found(Kind::InstanceType, &instance.instance_type))?;
    Ok(Spec {
        id: instance.id.clone(),
        boot: instance.desired.boot,
        layers: instance.layers.clone(),
        vcpus: size.vcpus,
        memory_mib: size.memory_mib,
        nics: network_interface::ops::of_instance(snapshot, cx, instance)
            .iter()
            .filter(|interface| !interface.is_leaving())
            .map(|interface| nic(snapshot, cx, interface))
            .collect::<Result<_>>()?,
        hostname: host_name(instance.private_ip),
        env: environment(&instance.region),
        user_data: (!instance.user_data.is_empty()).then(|| instance.user_data.clone()),
        ssh_keys: instance.public_key.iter().cloned().collect(),
        resolver: Resolver {
            servers: dhcp_options::ops::name_servers(snapshot, cx, &vpc),
            search: dhcp_options::ops::domain_name(snapshot, cx, &vpc).into_iter().collect(),
        },
        root_bytes: match instance.root_device {
            RootDevice::Ebs => {
                volume::ops::root_of(snapshot, cx, instance).map(|root| root.bytes())
            }
            RootDevice::InstanceStore => Some(INSTANCE_STORE_ROOT_GIB << 30),
        },
        root_encrypted: volume::ops::root_of(snapshot, cx, instance)
            .is_some_and(|root| root.encrypted),
        disks: disks(snapshot, cx, instance, size),
        init: instance.init,
    })
}

/// Its volumes, and the disks of the host: all of them under their own names where they are NVMe, those
/// that were asked for by name elsewhere. The latter are empty after each start, not after a reboot.
fn disks(
    snapshot: &Snapshot,
    cx: &Context,
    instance: &Instance,
    size: &catalog::InstanceType,
) -> Vec<Disk> {
    let volumes = volume::ops::of_instance(snapshot, cx, instance).into_iter();
    let mut disks: Vec<Disk> = volumes
        .filter(|volume| volume.content == Content::Blocks && !volume.is_leaving())
        .filter_map(|volume| disk(&volume, &instance.instance_type))
        .collect();
    let Some(local) = &size.disks else { return disks };
    let store = |name: String, device: String| Disk {
        name,
        device,
        source: DiskSource::InstanceStore {
            bytes: local.size_gb * 1_000_000_000,
            since: instance.desired.since_boot,
        },
        iops: None,
        bytes_per_second: None,
    };
    if local.nvme == "unsupported" {
        let there = instance.ephemeral.iter().filter(|mapped| mapped.index < local.count);
        disks.extend(there.map(|mapped| {
            store(format!("ephemeral{}", mapped.index), device::path(&mapped.device))
        }));
    } else {
        let all = 0..local.count;
        disks.extend(all.map(|n| store(format!("ephemeral{n}"), format!("/dev/nvme{}n1", n + 1))));
    }
    disks
}

/// What the driver is told of an attached data volume.
pub fn disk(volume: &Volume, instance_type: &str) -> Option<Disk> {
    let attachment = volume.attachment.as_ref()?;
    let (iops, bytes) = volume::ops::limits(volume, instance_type);
    Some(Disk {
        name: volume.id.clone(),
        device: device::path(&attachment.device),
        source: DiskSource::Volume(volume.id.clone()),
        iops: Some(iops),
        bytes_per_second: Some(bytes),
    })
}

/// What the driver is told of an interface.
pub fn nic(snapshot: &Snapshot, cx: &Context, interface: &NetworkInterface) -> Result<Nic> {
    let subnet = vpc::ops::subnet(snapshot, cx, &interface.subnet_id)?;
    Ok(Nic {
        network: interface.vpc_id.clone(),
        interface: interface_name(&interface.id),
        device: interface.attachment.as_ref().map_or(0, |attachment| attachment.device_index),
        mac: interface.mac,
        address: interface.primary(),
        secondary: interface.addresses[1..].to_vec(),
        prefix: subnet.cidr.prefix,
        gateway: subnet.gateway(),
    })
}

/// So that SDKs and the AWS CLI inside find this cloud. Never credentials.
fn environment(region: &str) -> BTreeMap<String, String> {
    [
        ("AWS_ENDPOINT_URL", "http://169.254.169.254:4566"),
        ("AWS_REGION", region),
        ("AWS_DEFAULT_REGION", region),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The outer end's name, at most 15 bytes: `e` and the last 14 digits of the interface's id.
pub fn interface_name(interface_id: &str) -> String {
    format!("e{}", &interface_id[interface_id.len().saturating_sub(14)..])
}

/// `ip-172-31-0-5`
pub fn host_name(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("ip-{a}-{b}-{c}-{d}")
}

/// `ec2-198-18-0-5.compute-1.amazonaws.com`; elsewhere than in us-east-1 under
/// `REGION.compute.amazonaws.com`.
pub fn public_dns_name(region: &str, address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    match region {
        "us-east-1" => format!("ec2-{a}-{b}-{c}-{d}.compute-1.amazonaws.com"),
        region => format!("ec2-{a}-{b}-{c}-{d}.{region}.compute.amazonaws.com"),
    }
}

/// Its public name, in a VPC that gives names to instances (`enableDnsHostnames`); empty in others.
pub fn public_host(snapshot: &Snapshot, cx: &Context, vpc_id: &str, address: Ipv4Addr) -> String {
    let named = vpc::ops::vpc(snapshot, cx, vpc_id).is_ok_and(|vpc| vpc.dns_hostnames);
    if named { public_dns_name(&cx.region, address) } else { String::new() }
}

/// `ip-172-31-0-5.ec2.internal`; elsewhere than in us-east-1 under `REGION.compute.internal`.
pub fn private_dns_name(region: &str, address: Ipv4Addr) -> String {
    format!("{}.{}", host_name(address), dhcp_options::ops::region_domain(region))
}

//! What metadata says of an instance: the whole tree as paths and values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use store::Snapshot;

use super::super::model::Instance;
use super::super::spec::{private_dns_name, public_host};
use super::super::{describe, resolve};
use crate::Context;
use crate::ec2::image::model::{ROOT_DEVICE, RootDevice};
use crate::ec2::network_interface::{self, NetworkInterface};
use crate::ec2::{catalog, instance_profile, spot, tag, volume, vpc};
use crate::ec2_instance_connect;

/// Clients ask for one they know; all say the same.
const VERSIONS: &[&str] = &[
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "2024-04-11",
    "latest",
];

/// The value at `path`, or the listing of what is below it; `None` when there is nothing.
pub fn content(
    snapshot: &Snapshot,
    cx: &Context,
    instance: &Instance,
    path: &str,
) -> Option<Vec<u8>> {
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return Some(VERSIONS.join("\n").into_bytes());
    }
    let (version, path) = path.split_once('/').unwrap_or((path, ""));
    if !VERSIONS.contains(&version) {
        return None;
    }
    let tree = tree(snapshot, cx, instance);
    if let Some(value) = tree.get(path) {
        return Some(value.clone());
    }
    let directory = match path.trim_end_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    };
    if let Some(value) = tree.get(&directory) {
        return Some(value.clone());
    }
    let below: BTreeSet<&str> = tree
        .range(directory.clone()..)
        .map_while(|(key, _)| key.strip_prefix(&directory))
        .map(|rest| rest.find('/').map_or(rest, |end| &rest[..=end]))
        .collect();
    (!below.is_empty()).then(|| below.into_iter().collect::<Vec<_>>().join("\n").into_bytes())
}

/// Values by path. A path that ends in `/` is a directory that lists otherwise than its names.
fn tree(snapshot: &Snapshot, cx: &Context, i: &Instance) -> BTreeMap<String, Vec<u8>> {
    let mut tree = BTreeMap::new();
    let mut put = |path: &str, value: &str| {
        tree.insert(path.to_owned(), value.as_bytes().to_vec());
    };
    let host = private_dns_name(&i.region, i.private_ip);
    let address = i.private_ip.to_string();
    let interfaces = network_interface::ops::of_instance(snapshot, cx, i);
    let primary = interfaces.first();
    let mac = primary.map(|primary| primary.mac_text()).unwrap_or_default();
    let group_names = primary.map(|primary| group_names(snapshot, cx, primary)).unwrap_or_default();

    put("dynamic/instance-identity/document", &identity_document(i));
    for (name, value) in [
        ("ami-id", i.image_id.as_str()),
        ("ami-launch-index", &i.launch_index.to_string()),
        ("ami-manifest-path", "(unknown)"),
        ("events/maintenance/history", "[]"),
        ("events/maintenance/scheduled", "[]"),
        ("hostname", &host),
        ("instance-action", "none"),
        ("instance-id", &i.id),
        ("instance-life-cycle", if i.spot_request_id.is_some() { "spot" } else { "on-demand" }),
        ("instance-type", &i.instance_type),
        ("local-hostname", &host),
        ("local-ipv4", &address),
        ("mac", &mac),
        ("placement/availability-zone", &i.zone),
        ("placement/region", &i.region),
        ("profile", "default-hvm"),
        ("reservation-id", &i.reservation_id),
        ("security-groups", &group_names),
        ("services/domain", "amazonaws.com"),
        ("services/partition", "aws"),
    ] {
        put(&format!("meta-data/{name}"), value);
    }
    for (name, device) in block_devices(snapshot, cx, i) {
        put(&format!("meta-data/block-device-mapping/{name}"), &device);
    }
    if let Some(public) = describe::public_ip(snapshot, cx, i) {
        put("meta-data/public-hostname", &public_host(snapshot, cx, &i.vpc_id, public));
        put("meta-data/public-ipv4", &public.to_string());
    }
    if let Some(member) = &i.placement_group {
        put("meta-data/placement/group-name", &member.group_name);
        if let Some(partition) = member.partition {
            put("meta-data/placement/partition-number", &partition.to_string());
        }
    }
    if let Some(id) = describe::zone_id(cx, &i.zone) {
        put("meta-data/placement/availability-zone-id", &id);
    }
    let hypervisor = catalog::instance_type(&i.instance_type).and_then(|size| size.hypervisor);
    if let Some(hypervisor) = hypervisor {
        put("meta-data/system", hypervisor);
    }
    if let (Some(name), Some(key)) = (&i.key_name, &i.public_key) {
        put("meta-data/public-keys/", &format!("0={name}"));
        put("meta-data/public-keys/0/openssh-key", key);
    }
    for (path, value) in spot::ops::metadata(snapshot, cx, i) {
        put(&format!("meta-data/{path}"), &value);
    }
    for (path, value) in instance_profile::credentials::metadata(snapshot, cx, i) {
        put(&format!("meta-data/iam/{path}"), &value);
    }
    if i.metadata.tags_enabled {
        for (key, value) in tag::ops::tags_of(snapshot, cx, &i.id) {
            put(&format!("meta-data/tags/instance/{key}"), &value);
        }
    }

    for key in ec2_instance_connect::ops::active(snapshot, cx, &i.id) {
        let path = format!("meta-data/managed-ssh-keys/active-keys/{}", key.user);
        let keys = tree.entry(path).or_insert_with(Vec::new);
        keys.extend(format!("{}\n", key.line).into_bytes());
    }
    let mut put = |path: &str, value: &str| {
        tree.insert(path.to_owned(), value.as_bytes().to_vec());
    };
    for interface in &interfaces {
        let base = format!("meta-data/network/interfaces/macs/{}", interface.mac_text());
        for (name, value) in of_interface(snapshot, cx, interface) {
            put(&format!("{base}/{name}"), &value);
        }
        for (private, public) in &interface.public {
            put(&format!("{base}/ipv4-associations/{public}"), &private.to_string());
        }
    }

    let mut top = vec!["dynamic", "meta-data"];
    if !i.user_data.is_empty() {
        top.push("user-data");
    }
    put("", &top.join("\n"));
    if !i.user_data.is_empty() {
        tree.insert("user-data".to_owned(), i.user_data.clone());
    }
    tree
}

/// As they were mapped: the root, data volumes by number, and disks of the host that have a name from
/// the mapping (NVMe ones have none).
fn block_devices(snapshot: &Snapshot, cx: &Context, i: &Instance) -> Vec<(String, String)> {
    let mut devices = Vec::new();
    let root = || ["ami", "root"].map(|what| (what.to_owned(), ROOT_DEVICE.to_owned()));
    if i.root_device == RootDevice::InstanceStore {
        devices.extend(root());
    }
    let mut data = 0;
    for volume in volume::ops::of_instance(snapshot, cx, i) {
        let Some(attachment) = &volume.attachment else { continue };
        if volume.is_root() {
            devices.extend(root());
        } else {
            data += 1;
            let name = attachment.device.trim_start_matches("/dev/");
            devices.push((format!("ebs{data}"), name.to_owned()));
        }
    }
    let disks = catalog::instance_type(&i.instance_type).and_then(|size| size.disks.as_ref());
    let named = disks.filter(|disks| disks.nvme == "unsupported");
    for mapped in i.ephemeral.iter().filter(|m| named.is_some_and(|d| m.index < d.count)) {
        let name = mapped.device.trim_start_matches("/dev/");
        devices.push((format!("ephemeral{}", mapped.index), name.to_owned()));
    }
    devices
}

fn group_names(snapshot: &Snapshot, cx: &Context, interface: &NetworkInterface) -> String {
    let names = interface.groups.iter().filter_map(|id| resolve::group_name(snapshot, cx, id));
    names.collect::<Vec<_>>().join("\n")
}

fn of_interface(
    snapshot: &Snapshot,
    cx: &Context,
    interface: &NetworkInterface,
) -> Vec<(&'static str, String)> {
    let host = private_dns_name(&interface.region, interface.primary());
    let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
    let index = interface.attachment.as_ref().map_or(0, |attachment| attachment.device_index);
    let mut values = vec![
        ("device-number", index.to_string()),
        ("interface-id", interface.id.clone()),
        ("local-hostname", host),
        ("local-ipv4s", addresses.join("\n")),
        ("mac", interface.mac_text()),
        ("owner-id", interface.account.clone()),
        ("security-group-ids", interface.groups.join("\n")),
        ("security-groups", group_names(snapshot, cx, interface)),
        ("subnet-id", interface.subnet_id.clone()),
        ("vpc-id", interface.vpc_id.clone()),
    ];
    if let Some(public) = interface.public.get(&interface.primary()) {
        values.push(("public-hostname", public_host(snapshot, cx, &interface.vpc_id, *public)));
    }
    if !interface.public.is_empty() {
        let all = interface.public.values().map(ToString::to_string);
        values.push(("public-ipv4s", all.collect::<Vec<_>>().join("\n")));
    }
    if let Ok(subnet) = vpc::ops::subnet(snapshot, cx, &interface.subnet_id) {
        values.push(("subnet-ipv4-cidr-block", subnet.cidr.to_string()));
    }
    if let Ok(vpc) = vpc::ops::vpc(snapshot, cx, &interface.vpc_id) {
        values.push(("vpc-ipv4-cidr-block", vpc.cidr.to_string()));
        let blocks: Vec<String> = vpc.blocks().map(|block| block.to_string()).collect();
        values.push(("vpc-ipv4-cidr-blocks", blocks.join("\n")));
    }
    values
}

fn identity_document(i: &Instance) -> String {
    let document = json!({
        "accountId": i.account,
        "architecture": i.architecture,
        "availabilityZone": i.zone,
        "billingProducts": null,
        "devpayProductCodes": null,
        "marketplaceProductCodes": null,
        "imageId": i.image_id,
        "instanceId": i.id,
        "instanceType": i.instance_type,
        "kernelId": null,
        "pendingTime": i.launch_time.iso8601(),
        "privateIp": i.private_ip,
        "ramdiskId": null,
        "region": i.region,
        "version": "2017-09-30",
    });
    format!("{document:#}")
}

//! Condition keys of resources and requests: tags, and those of single services. Source: Service
//! Authorization Reference, "Condition keys" of each service.

use serde_json::Value;
use store::Snapshot;

use super::super::model::{Identity, InstanceProfile, Kind, ManagedPolicy};
use super::{Call, resolve, strings};
use crate::ec2::instance::model::Instance;
use crate::ec2::network_interface::NetworkInterface;
use crate::ec2::snapshot::Snapshot as Frozen;
use crate::ec2::volume::Volume;
use crate::ec2::{image, key_pair, network_acl, placement_group, route_table, security_group, vpc};
use crate::tag::Tags;
use crate::{Context, arn, autoscaling, dynamodb, ec2, elbv2, sqs, ssm};

pub type Keys = Vec<(String, Vec<String>)>;

/// Of single services: key, and the member with its values.
const KEYS: &[(&str, &str, &str)] = &[
    ("iam", "iam:PolicyARN", "PolicyArn"),
    ("iam", "iam:PermissionsBoundary", "PermissionsBoundary"),
    ("iam", "iam:AWSServiceName", "AWSServiceName"),
    ("elasticloadbalancing", "elasticloadbalancing:Scheme", "Scheme"),
    ("elasticloadbalancing", "elasticloadbalancing:Subnet", "Subnets"),
    ("elasticloadbalancing", "elasticloadbalancing:SecurityGroup", "SecurityGroups"),
    ("autoscaling", "autoscaling:MinSize", "MinSize"),
    ("autoscaling", "autoscaling:MaxSize", "MaxSize"),
    ("autoscaling", "autoscaling:TargetGroupARNs", "TargetGroupARNs"),
    ("dynamodb", "dynamodb:Select", "Select"),
    ("dynamodb", "dynamodb:ReturnValues", "ReturnValues"),
    ("dynamodb", "dynamodb:ReturnConsumedCapacity", "ReturnConsumedCapacity"),
    ("ssm", "ssm:Overwrite", "Overwrite"),
    ("ssm", "ssm:Recursive", "Recursive"),
    ("ec2-instance-connect", "ec2:osuser", "InstanceOSUser"),
];

/// Keys of instances that are launched.
const LAUNCH_KEYS: &[(&str, &str)] = &[
    ("ec2:InstanceType", "InstanceType"),
    ("ec2:InstanceProfile", "IamInstanceProfile.Arn"),
    ("ec2:MetadataHttpTokens", "MetadataOptions.HttpTokens"),
    ("ec2:MetadataHttpEndpoint", "MetadataOptions.HttpEndpoint"),
    ("ec2:MetadataHttpPutResponseHopLimit", "MetadataOptions.HttpPutResponseHopLimit"),
    ("ec2:AvailabilityZone", "Placement.AvailabilityZone"),
];

/// Keys of a volume that is made.
const VOLUME_KEYS: &[(&str, &str)] = &[
    ("ec2:AvailabilityZone", "AvailabilityZone"),
    ("ec2:VolumeSize", "Size"),
    ("ec2:VolumeType", "VolumeType"),
    ("ec2:VolumeIops", "Iops"),
    ("ec2:VolumeThroughput", "Throughput"),
    ("ec2:Encrypted", "Encrypted"),
];

/// Of what the request says.
pub fn of_request(snapshot: &Snapshot, cx: &Context, call: &Call<'_>, resource: &str) -> Keys {
    let mut keys = Keys::new();
    let mut add = |key: &str, member: &str| {
        let values = scalars(call.input, member);
        if !values.is_empty() {
            keys.push((key.to_owned(), values));
        }
    };
    for (_, key, member) in KEYS.iter().filter(|(service, ..)| *service == call.service) {
        add(key, member);
    }
    if call.service != "ec2" {
        return keys;
    }
    if call.operation == "CreateVolume" && resource.ends_with(":volume/*") {
        VOLUME_KEYS.iter().for_each(|(key, member)| add(key, member));
    }
    if call.operation == "RunInstances" && resource.ends_with(":instance/*") {
        LAUNCH_KEYS.iter().for_each(|(key, member)| add(key, member));
        let named = strings(call.input, "IamInstanceProfile.Name").into_iter().next();
        let profile = named.and_then(|name| resolve::profile_arn(snapshot, cx, &name));
        keys.extend(profile.map(|arn| ("ec2:InstanceProfile".to_owned(), vec![arn])));
    }
    let region = resource.split(':').nth(3).filter(|region| !region.is_empty());
    keys.extend(region.map(|region| ("ec2:Region".to_owned(), vec![region.to_owned()])));
    keys
}

/// The texts, numbers and truths at a member's path.
fn scalars(input: &Value, path: &str) -> Vec<String> {
    let mut values = strings(input, path);
    let at = path.split('.').try_fold(input, |value, step| value.get(step));
    if let Some(value) = at.filter(|value| value.is_number() || value.is_boolean()) {
        values.push(value.to_string());
    }
    values
}

/// Of the resource as it is.
pub fn of_resource(snapshot: &Snapshot, cx: &Context, service: &str, resource: &str) -> Keys {
    let mut keys = vec![("aws:ResourceAccount".to_owned(), vec![cx.account.clone()])];
    let service = if service == "ec2-instance-connect" { "ec2" } else { service };
    for (key, value) in tags_of(snapshot, cx, resource) {
        keys.push((format!("aws:ResourceTag/{key}"), vec![value.clone()]));
        keys.push((format!("{service}:ResourceTag/{key}"), vec![value]));
    }
    if service == "ec2"
        && let Some(parts) = arn::parse(resource)
        && let Some((kind, id)) = parts.resource.split_once('/')
    {
        let found = of_ec2(snapshot, cx, kind, id).into_iter();
        keys.extend(found.map(|(key, value)| (format!("ec2:{key}"), vec![value])));
    }
    keys
}

fn of_ec2(snapshot: &Snapshot, cx: &Context, kind: &str, id: &str) -> Vec<(&'static str, String)> {
    let vpc = |id: &str| ("Vpc", cx.arn("ec2", &format!("vpc/{id}")));
    let subnet = |id: &str| ("Subnet", cx.arn("ec2", &format!("subnet/{id}")));
    match kind {
        "instance" => {
            let Some(found) = snapshot.get::<Instance>(&cx.key(id)) else { return vec![] };
            vec![
                ("InstanceID", id.to_owned()),
                ("InstanceType", found.instance_type.clone()),
                ("AvailabilityZone", found.zone.clone()),
            ]
        }
        "network-interface" => {
            let Some(found) = snapshot.get::<NetworkInterface>(&cx.key(id)) else { return vec![] };
            let zone = ("AvailabilityZone", found.zone.clone());
            vec![vpc(&found.vpc_id), subnet(&found.subnet_id), zone]
        }
        "subnet" => match vpc::ops::subnet(snapshot, cx, id) {
            Ok(found) => vec![
                ("SubnetID", id.to_owned()),
                vpc(&found.vpc_id),
                ("AvailabilityZone", found.zone),
            ],
            Err(_) => vec![],
        },
        "security-group" => match security_group::ops::group(snapshot, cx, id) {
            Ok(found) => vec![("SecurityGroupID", id.to_owned()), vpc(&found.vpc_id)],
            Err(_) => vec![],
        },
        "placement-group" => match placement_group::ops::by_name(snapshot, cx, id) {
            Ok(found) => vec![
                ("PlacementGroupName", id.to_owned()),
                ("PlacementGroupStrategy", found.strategy.name().to_owned()),
            ],
            Err(_) => vec![],
        },
        "route-table" => match route_table::ops::table(snapshot, cx, id) {
            Ok(found) => vec![("RouteTableID", id.to_owned()), vpc(&found.vpc_id)],
            Err(_) => vec![],
        },
        "network-acl" => match network_acl::ops::acl(snapshot, cx, id) {
            Ok(found) => vec![("NetworkAclID", id.to_owned()), vpc(&found.vpc_id)],
            Err(_) => vec![],
        },
        "vpc" => vec![("VpcID", id.to_owned())],
        "volume" => {
            let Some(found) = snapshot.get::<Volume>(&cx.key(id)) else { return vec![] };
            let mut keys = vec![
                ("VolumeID", id.to_owned()),
                ("VolumeSize", found.size_gib.to_string()),
                ("VolumeType", found.performance.kind.name().to_owned()),
                ("AvailabilityZone", found.zone.clone()),
                ("Encrypted", found.encrypted.to_string()),
            ];
            keys.extend(found.performance.iops.map(|iops| ("VolumeIops", iops.to_string())));
            let throughput = found.performance.throughput;
            keys.extend(throughput.map(|mib| ("VolumeThroughput", mib.to_string())));
            keys
        }
        "snapshot" => {
            let Some(found) = snapshot.get::<Frozen>(&cx.key(id)) else { return vec![] };
            vec![
                ("SnapshotID", id.to_owned()),
                ("SnapshotTime", found.started.iso8601()),
                ("Owner", found.account.clone()),
                ("VolumeSize", found.size_gib.to_string()),
                ("ParentVolume", cx.arn("ec2", &format!("volume/{}", found.volume_id))),
                ("Encrypted", found.encrypted.to_string()),
            ]
        }
        "image" => match image::ops::image(snapshot, cx, id) {
            Ok(found) => vec![
                ("ImageID", id.to_owned()),
                ("ImageType", "machine".to_owned()),
                ("Owner", found.account),
                ("Public", found.permissions.everybody.to_string()),
                ("RootDeviceType", "ebs".to_owned()),
            ],
            Err(_) => vec![],
        },
        _ => vec![],
    }
}

/// The tags of what an ARN names.
fn tags_of(snapshot: &Snapshot, cx: &Context, resource: &str) -> Tags {
    let Some(parts) = arn::parse(resource) else { return Tags::new() };
    let (kind, name) = parts.resource.split_once('/').unwrap_or((parts.resource, ""));
    match parts.service {
        "fis" => crate::fis::ops::tags(snapshot, cx, resource).unwrap_or_default(),
        "ec2" if kind == "key-pair" => match key_pair::ops::key_pair(snapshot, cx, name) {
            Ok(pair) => ec2::tag::ops::tags_of(snapshot, cx, &pair.id),
            Err(_) => Tags::new(),
        },
        "ec2" if kind == "placement-group" => {
            match placement_group::ops::by_name(snapshot, cx, name) {
                Ok(group) => ec2::tag::ops::tags_of(snapshot, cx, &group.id),
                Err(_) => Tags::new(),
            }
        }
        "ec2" => ec2::tag::ops::tags_of(snapshot, cx, name),
        "elasticloadbalancing" => {
            let found = elbv2::ops::tag::describe(snapshot, cx, &[resource.to_owned()]);
            found.ok().and_then(|mut found| found.pop()).map(|(_, tags)| tags).unwrap_or_default()
        }
        "ssm" => {
            let parameter = |name: &str| snapshot.get::<ssm::model::Parameter>(&cx.key(name));
            let found = parameter(name).or_else(|| parameter(&format!("/{name}")));
            found.map(|found| found.tags.clone()).unwrap_or_default()
        }
        "dynamodb" => {
            let table = name.split('/').next().unwrap_or(name);
            let table = snapshot.get::<dynamodb::Table>(&cx.key(table));
            table.map(|table| table.tags.clone()).unwrap_or_default()
        }
        "autoscaling" => {
            let group = snapshot.get::<autoscaling::model::Group>(&cx.key(name));
            let tags = group.iter().flat_map(|group| &group.tags);
            tags.map(|(key, tag)| (key.clone(), tag.value.clone())).collect()
        }
        "sqs" => {
            let queue = sqs::ops::by_arn(snapshot, resource);
            queue.map(|queue| queue.tags.clone()).unwrap_or_default()
        }
        "iam" => of_iam(snapshot, cx, kind, name.rsplit('/').next().unwrap_or(name)),
        _ => Tags::new(),
    }
}

fn of_iam(snapshot: &Snapshot, cx: &Context, kind: &str, name: &str) -> Tags {
    let identity = |kind| {
        let found = snapshot.get::<Identity>(&Identity::key_of(&cx.account, kind, name));
        found.map(|found| found.tags.clone())
    };
    let found = match kind {
        "user" => identity(Kind::User),
        "role" => identity(Kind::Role),
        "policy" => snapshot
            .get::<ManagedPolicy>(&ManagedPolicy::key_of(&cx.account, name))
            .map(|found| found.tags.clone()),
        "instance-profile" => snapshot
            .get::<InstanceProfile>(&InstanceProfile::key_of(&cx.account, name))
            .map(|found| found.tags.clone()),
        _ => None,
    };
    found.unwrap_or_default()
}

/// Tags in the request that go on `resource`, and the keys of those that are taken from it.
pub fn requested_tags(call: &Call<'_>, resource: &str) -> (Tags, Vec<String>) {
    let mut tags = Tags::new();
    let kind = resource.splitn(6, ':').nth(5).and_then(|resource| resource.split('/').next());
    let specs = call.input.get("TagSpecifications").and_then(Value::as_array);
    for spec in specs.into_iter().flatten() {
        if spec.get("ResourceType").and_then(Value::as_str) == kind {
            tags.extend(pairs(spec.get("Tags")));
        }
    }
    tags.extend(pairs(call.input.get("Tags")));
    // A map, with a small letter where it is created: SQS.
    for named in ["Tags", "tags"] {
        let map = call.input.get(named).and_then(Value::as_object).into_iter().flatten();
        tags.extend(map.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))));
    }
    let names = tags.keys().cloned().chain(strings(call.input, "TagKeys")).collect();
    (tags, names)
}

fn pairs(tags: Option<&Value>) -> Tags {
    let text = |tag: &Value, name: &str| tag.get(name).and_then(Value::as_str).map(str::to_owned);
    let tags = tags.and_then(Value::as_array).into_iter().flatten();
    tags.filter_map(|tag| Some((text(tag, "Key")?, text(tag, "Value").unwrap_or_default())))
        .collect()
}

//! What the table cannot say: values that a launch template brings, roles that are passed on, and
//! condition keys of single services.

use serde_json::{Value, json};
use store::Snapshot;

use super::super::Who;
use super::super::ops::profile;
use super::{Call, Demand, strings};
use crate::ec2::instance::launch::{Launch, Template};
use crate::ec2::launch_template;
use crate::{Context, arn};

/// Where an operation names a launch template.
const TEMPLATES: &[&str] =
    &["LaunchTemplate", "MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification"];

/// Calls about a user that are about the caller when they name none.
const OWN: &[&str] =
    &["GetUser", "CreateAccessKey", "DeleteAccessKey", "ListAccessKeys", "UpdateAccessKey"];

/// The request with what it leaves to its launch template, or to who calls.
pub fn completed(snapshot: &Snapshot, cx: &Context, call: &Call<'_>) -> Value {
    let mut input = call.input.clone();
    if let Who::User { name, .. } = &cx.from.who
        && call.service == "iam"
        && OWN.contains(&call.operation)
        && let Value::Object(members) = &mut input
    {
        members.entry("UserName").or_insert(json!(name));
    }
    if (call.service, call.operation) != ("ec2", "RunInstances") {
        return input;
    }
    let Some((id, launch)) = template(snapshot, cx, call.input) else { return input };
    let Value::Object(members) = &mut input else { return input };
    members.insert("LaunchTemplate".to_owned(), json!({"LaunchTemplateId": id}));
    let of_interfaces = |pick: fn(&crate::ec2::instance::launch::Interface) -> Vec<String>| {
        launch.interfaces.iter().flat_map(pick).collect::<Vec<String>>()
    };
    let subnets = of_interfaces(|interface| interface.subnet_id.iter().cloned().collect());
    let groups = of_interfaces(|interface| interface.groups.clone());
    let mut fill = |name: &str, values: Vec<String>| {
        if !values.is_empty() {
            members.entry(name).or_insert(json!(values));
        }
    };
    fill("ImageId", launch.image_id.iter().cloned().collect());
    fill("InstanceType", launch.instance_type.iter().cloned().collect());
    fill("KeyName", launch.key_name.iter().cloned().collect());
    fill("SubnetId", launch.subnet_id.iter().cloned().chain(subnets).collect());
    fill("SecurityGroupIds", launch.security_group_ids.iter().cloned().chain(groups).collect());
    if let Some(profile) = &launch.iam_instance_profile {
        let profile = json!({"Arn": profile.arn, "Name": profile.name});
        members.entry("IamInstanceProfile").or_insert(profile);
    }
    input
}

/// Id of the launch template that a request names, and what it says.
fn template(snapshot: &Snapshot, cx: &Context, input: &Value) -> Option<(String, Launch)> {
    let found = TEMPLATES.iter().find_map(|path| {
        let at = |name: &str| strings(input, &format!("{path}.{name}")).into_iter().next();
        let (id, name) = (at("LaunchTemplateId"), at("LaunchTemplateName"));
        let named = id.is_some() || name.is_some();
        named.then(|| Template { id, name, version: at("Version") })
    })?;
    let resolved = launch_template::ops::resolve(snapshot, cx, &found).ok()?;
    Some((resolved.template_id, resolved.launch))
}

/// `iam:PassRole` on each role that the call gives to a service.
pub fn passed_roles(snapshot: &Snapshot, cx: &Context, call: &Call<'_>) -> Vec<Demand> {
    let mut profiles: Vec<String> = Vec::new();
    let mut roles: Vec<String> = Vec::new();
    match (call.service, call.operation) {
        ("ec2", "RunInstances" | "AssociateIamInstanceProfile")
        | ("ec2", "ReplaceIamInstanceProfileAssociation") => {
            profiles.extend(strings(call.input, "IamInstanceProfile.Arn"));
            profiles.extend(strings(call.input, "IamInstanceProfile.Name"));
        }
        ("autoscaling", "CreateAutoScalingGroup" | "UpdateAutoScalingGroup") => {
            let launch = template(snapshot, cx, call.input).map(|(_, launch)| launch);
            let profile = launch.and_then(|launch| launch.iam_instance_profile);
            profiles.extend(profile.and_then(|profile| profile.arn.or(profile.name)));
        }
        ("iam", "AddRoleToInstanceProfile") => roles.extend(strings(call.input, "RoleName")),
        _ => return vec![],
    }
    for named in profiles {
        let name = arn::parse(&named).map_or(named.as_str(), |parts| parts.resource);
        let name = name.rsplit('/').next().unwrap_or_default();
        roles.extend(profile::get(snapshot, cx, name).ok().and_then(|found| found.role.clone()));
    }
    roles.iter().map(|role| pass(snapshot, cx, call, role)).collect()
}

fn pass(snapshot: &Snapshot, cx: &Context, call: &Call<'_>, role: &str) -> Demand {
    let iam = Call { service: "iam", ..*call };
    let resource = super::iam_arn(snapshot, cx, &iam, "role", role);
    let mut demand =
        Demand::new("iam:PassRole", resource).with("iam:PassedToService", "ec2.amazonaws.com");
    demand.keys.extend(super::keys_of_resource(snapshot, cx, "iam", &demand.resource));
    demand
}

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
    ("dynamodb", "dynamodb:Select", "Select"),
    ("dynamodb", "dynamodb:ReturnValues", "ReturnValues"),
    ("ssm", "ssm:Overwrite", "Overwrite"),
    ("ssm", "ssm:Recursive", "Recursive"),
];

/// Keys of instances that are launched.
const LAUNCH_KEYS: &[(&str, &str)] = &[
    ("ec2:InstanceType", "InstanceType"),
    ("ec2:InstanceProfile", "IamInstanceProfile.Arn"),
    ("ec2:MetadataHttpTokens", "MetadataOptions.HttpTokens"),
    ("ec2:MetadataHttpEndpoint", "MetadataOptions.HttpEndpoint"),
    ("ec2:AvailabilityZone", "Placement.AvailabilityZone"),
];

pub fn keys(call: &Call<'_>, resource: &str) -> Vec<(String, Vec<String>)> {
    let mut keys = Vec::new();
    let mut add = |key: &str, member: &str| {
        let mut values = strings(call.input, member);
        if let Some(value) = call.input.get(member).filter(|v| v.is_number() || v.is_boolean()) {
            values.push(value.to_string());
        }
        if !values.is_empty() {
            keys.push((key.to_owned(), values));
        }
    };
    for (_, key, member) in KEYS.iter().filter(|(service, ..)| *service == call.service) {
        add(key, member);
    }
    if call.service == "ec2" {
        if call.operation == "RunInstances" && resource.ends_with(":instance/*") {
            LAUNCH_KEYS.iter().for_each(|(key, member)| add(key, member));
        }
        let region = resource.split(':').nth(3).filter(|region| !region.is_empty());
        keys.extend(region.map(|region| ("ec2:Region".to_owned(), vec![region.to_owned()])));
    }
    keys
}

//! What the table cannot say: values that a launch template brings, roles that are passed on, and what
//! is launched for the caller.

use serde_json::{Map, Value, json};
use store::Snapshot;

use super::super::ops::profile;
use super::{Call, Demand, keys, resolve, strings};
use crate::ec2::instance::launch::{Launch, Template};
use crate::ec2::{image, launch_template, placement_group};
use crate::{Context, arn};

/// Where an operation names a launch template.
const TEMPLATES: &[&str] =
    &["LaunchTemplate", "MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification"];

/// The request with what it leaves to its launch template, or to who calls.
pub fn completed(snapshot: &Snapshot, cx: &Context, call: &Call<'_>) -> Value {
    let mut input = call.input.clone();
    let Value::Object(members) = &mut input else { return input };
    resolve::resolve(snapshot, cx, call, members);
    if (call.service, call.operation) == ("ec2", "RequestSpotFleet") {
        // What it tags stands with the rest of its configuration.
        let config = call.input.get("SpotFleetRequestConfig");
        if let Some(tags) = config.and_then(|config| config.get("TagSpecifications")) {
            members.insert("TagSpecifications".to_owned(), tags.clone());
        }
    }
    if (call.service, call.operation) == ("fis", "CreateExperimentTemplate") {
        // The names of its actions are the user's.
        let actions = call.input.get("actions").and_then(Value::as_object).into_iter().flatten();
        let ids: Vec<&str> =
            actions.filter_map(|(_, action)| action.get("actionId")?.as_str()).collect();
        members.insert("ActionIds".to_owned(), json!(ids));
    }
    if (call.service, call.operation) != ("ec2", "RunInstances") {
        return input;
    }
    let complete = |members: &mut Map<String, Value>| {
        let named = strings(call.input, "ImageId").into_iter().next();
        if let Some(id) = named.and_then(|id| image::ops::resolve_id(snapshot, cx, &id).ok()) {
            members.insert("ImageId".to_owned(), json!(id));
        }
    };
    complete(members);
    let found = template(snapshot, cx, call.input);
    let by_template = found.as_ref().is_some_and(|(_, launch)| launch.market.is_some());
    let said = strings(call.input, "InstanceMarketOptions.MarketType");
    if said.iter().any(|market| market == "spot") || (said.is_empty() && by_template) {
        // The request that is made with a Spot Instance.
        members.insert("SpotInstancesRequest".to_owned(), json!("*"));
    }
    let Some((id, launch)) = found else { return input };
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
    let resolved = |id: &String| image::ops::resolve_id(snapshot, cx, id).unwrap_or(id.clone());
    fill("ImageId", launch.image_id.iter().map(resolved).collect());
    fill("InstanceType", launch.instance_type.iter().cloned().collect());
    fill("KeyName", launch.key_name.iter().cloned().collect());
    fill("SubnetId", launch.subnet_id.iter().cloned().chain(subnets).collect());
    fill("SecurityGroupIds", launch.security_group_ids.iter().cloned().chain(groups).collect());
    let group = launch.placement_group.as_ref();
    let group = group.and_then(|named| placement_group::ops::named(snapshot, cx, named).ok());
    if let Some(group) = group.filter(|_| strings(call.input, "Placement.GroupName").is_empty()) {
        members.entry("OfPlacementGroup").or_insert(json!(group.name));
    }
    let target = launch.capacity_reservation.and_then(|wanted| wanted.target);
    let says_own = ["CapacityReservationPreference", "CapacityReservationTarget"]
        .iter()
        .any(|name| !call.input["CapacityReservationSpecification"][*name].is_null());
    if let Some(id) = target.filter(|_| !says_own) {
        let target = json!({"CapacityReservationTarget": {"CapacityReservationId": id}});
        members.insert("CapacityReservationSpecification".to_owned(), target);
    }
    if let Some(profile) = &launch.iam_instance_profile {
        let profile = json!({"Arn": profile.arn, "Name": profile.name});
        members.entry("IamInstanceProfile").or_insert(profile);
    }
    input
}

/// Id of the launch template that a request names, and what it says.
fn template(snapshot: &Snapshot, cx: &Context, input: &Value) -> Option<(String, Launch)> {
    let resolved = launch_template::ops::resolve(snapshot, cx, &named_template(input)?).ok()?;
    Some((resolved.template_id, resolved.launch))
}

fn named_template(input: &Value) -> Option<Template> {
    TEMPLATES.iter().find_map(|path| {
        let at = |name: &str| strings(input, &format!("{path}.{name}")).into_iter().next();
        let (id, name) = (at("LaunchTemplateId"), at("LaunchTemplateName"));
        let named = id.is_some() || name.is_some();
        named.then(|| Template { id, name, version: at("Version") })
    })
}

/// Who launches an image by a parameter must be allowed to read that. Source: EC2 User Guide, "Reference
/// AMIs using Systems Manager parameters".
pub fn read_parameters(snapshot: &Snapshot, cx: &Context, call: &Call<'_>) -> Vec<Demand> {
    if (call.service, call.operation) != ("ec2", "RunInstances") {
        return vec![];
    }
    let own = strings(call.input, "ImageId").into_iter().next();
    let named = own.or_else(|| template(snapshot, cx, call.input)?.1.image_id);
    let parameter = named.as_deref().and_then(|id| id.strip_prefix(image::ops::BY_PARAMETER));
    let Some(parameter) = parameter else { return vec![] };
    let name = match parameter.starts_with("arn:") {
        true => return vec![Demand::new("ssm:GetParameters", parameter.to_owned())],
        false => parameter.split(':').next().unwrap_or_default(),
    };
    vec![Demand::new("ssm:GetParameters", crate::ssm::name::arn(cx, name))]
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
        ("ec2", "RequestSpotInstances") => {
            let of = "LaunchSpecification.IamInstanceProfile";
            profiles.extend(strings(call.input, &format!("{of}.Arn")));
            profiles.extend(strings(call.input, &format!("{of}.Name")));
        }
        ("ec2", "CreateFleet") => {
            // By the launch templates that it launches from.
            let configs = call.input.get("LaunchTemplateConfigs").and_then(Value::as_array);
            for config in configs.into_iter().flatten() {
                let of = config.get("LaunchTemplateSpecification").unwrap_or(&Value::Null);
                let said = |name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
                let named = Template {
                    id: said("LaunchTemplateId"),
                    name: said("LaunchTemplateName"),
                    version: said("Version"),
                };
                let found = launch_template::ops::resolve(snapshot, cx, &named).ok();
                if let Some(profile) = found.and_then(|found| found.launch.iam_instance_profile) {
                    profiles.extend(profile.arn.into_iter().chain(profile.name));
                }
            }
        }
        ("ec2", "RequestSpotFleet") => {
            let role = strings(call.input, "SpotFleetRequestConfig.IamFleetRole");
            let pass = |role: &String| pass(snapshot, cx, call, role, "spotfleet.amazonaws.com");
            return role.iter().map(pass).collect();
        }
        ("fis", "CreateExperimentTemplate") => {
            let role = strings(call.input, "roleArn");
            let pass = |role: &String| pass(snapshot, cx, call, role, "fis.amazonaws.com");
            return role.iter().map(pass).collect();
        }
        ("iam", "AddRoleToInstanceProfile") => roles.extend(strings(call.input, "RoleName")),
        _ => return vec![],
    }
    for named in profiles {
        let name = arn::parse(&named).map_or(named.as_str(), |parts| parts.resource);
        let name = name.rsplit('/').next().unwrap_or_default();
        roles.extend(profile::get(snapshot, cx, name).ok().and_then(|found| found.role.clone()));
    }
    roles.iter().map(|role| pass(snapshot, cx, call, role, "ec2.amazonaws.com")).collect()
}

/// `role` is a name or an ARN.
fn pass(snapshot: &Snapshot, cx: &Context, call: &Call<'_>, role: &str, service: &str) -> Demand {
    let iam = Call { service: "iam", ..*call };
    let resource = match role.starts_with("arn:") {
        true => role.to_owned(),
        false => super::iam_arn(snapshot, cx, &iam, "role", role),
    };
    let mut demand = Demand::new("iam:PassRole", resource).with("iam:PassedToService", service);
    demand.keys.extend(keys::of_resource(snapshot, cx, "iam", &demand.resource));
    demand
}

/// The launch that an Auto Scaling group will ask for, when the call gives it a launch template: who
/// gives it must be allowed to launch with it himself. Source: Auto Scaling User Guide, "Control Amazon
/// EC2 launch template usage".
pub struct Launching {
    /// As the call names it.
    pub template: String,
    pub demands: Vec<Demand>,
}

pub fn launching(snapshot: &Snapshot, cx: &Context, call: &Call<'_>) -> Option<Launching> {
    const GIVING: &[&str] = &["CreateAutoScalingGroup", "UpdateAutoScalingGroup"];
    if call.service != "autoscaling" || !GIVING.contains(&call.operation) {
        return None;
    }
    let named = named_template(call.input)?;
    let (id, _) = template(snapshot, cx, call.input)?;
    let subnets = strings(call.input, "VPCZoneIdentifier");
    let subnets: Vec<&str> =
        subnets.iter().flat_map(|list| list.split(',')).map(str::trim).collect();
    let mut input = json!({"LaunchTemplate": {"LaunchTemplateId": id, "Version": named.version}});
    if let (false, Value::Object(members)) = (subnets.is_empty(), &mut input) {
        members.insert("SubnetId".to_owned(), json!(subnets));
    }
    let launch = Call { service: "ec2", operation: "RunInstances", input: &input };
    let demands = super::demands(snapshot, cx, &launch);
    Some(Launching { template: named.id.or(named.name).unwrap_or(id), demands })
}

/// The resource of a call that names none.
pub fn everything(cx: &Context, call: &Call<'_>) -> String {
    let kind = match (call.service, call.operation) {
        ("ssm", _) => return cx.arn("ssm", "*"),
        ("iam", "ListUsers") => "user",
        ("iam", "ListGroups") => "group",
        ("iam", "ListRoles") => "role",
        ("iam", "ListPolicies") => "policy",
        ("iam", "ListInstanceProfiles") => "instance-profile",
        _ => return "*".to_owned(),
    };
    let prefix = strings(call.input, "PathPrefix").into_iter().next();
    let prefix = prefix.as_deref().unwrap_or("/");
    arn::arn("iam", "", &cx.account, &format!("{kind}{prefix}"))
}

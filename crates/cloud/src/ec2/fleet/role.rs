//! What a Spot Fleet may do: no more than its role. EC2 Fleets act as a service of the account.
//!
//! Source: EC2 User Guide, "Spot Fleet prerequisites", IAM role for Spot Fleet.

use serde_json::{Map, Value, json};
use store::Snapshot;

use super::model::Fleet;
use crate::Context;
use crate::ec2::instance::launch::Launch;
use crate::ec2::{Error, Result};
use crate::iam::{Call, acting};

const SERVICE: &str = "spotfleet.amazonaws.com";

/// Refuses a role that a Spot Fleet could not act in.
pub fn check(snapshot: &Snapshot, cx: &Context, role: &str) -> Result<()> {
    // It has no id yet.
    match acting::in_role(snapshot, cx, role, SERVICE, "SpotFleet", &source(cx, "*")) {
        Some(_) => Ok(()),
        None => Err(Error::InvalidSpotFleetRequestConfig(format!(
            "Parameter: SpotFleetRequestConfig.IamFleetRole is invalid. '{role}' must be a role of this \
             account whose trust policy allows {SERVICE} to call sts:AssumeRole."
        ))),
    }
}

fn source(cx: &Context, id: &str) -> String {
    cx.arn("ec2", &format!("spot-fleet-request/{id}"))
}

pub fn may_launch(snapshot: &Snapshot, cx: &Context, fleet: &Fleet, launch: &Launch) -> Result<()> {
    may(snapshot, cx, fleet, "RunInstances", &members(launch))
}

pub fn may_terminate(snapshot: &Snapshot, cx: &Context, fleet: &Fleet, id: &str) -> Result<()> {
    may(snapshot, cx, fleet, "TerminateInstances", &json!({"InstanceIds": [id]}))
}

fn may(
    snapshot: &Snapshot,
    cx: &Context,
    fleet: &Fleet,
    operation: &str,
    input: &Value,
) -> Result<()> {
    let Some(spot_fleet) = &fleet.wanted.spot_fleet else { return Ok(()) };
    let role = &spot_fleet.role;
    let source = source(cx, &fleet.id);
    let acting = acting::in_role(snapshot, cx, role, SERVICE, "SpotFleet", &source);
    let acting = acting.ok_or_else(|| {
        Error::FleetRole(format!("The role {role} cannot be assumed by {SERVICE} any more."))
    })?;
    let call = Call { service: "ec2", operation, input };
    let judged = acting::may(snapshot, &acting, &call);
    judged.map(drop).map_err(|denied| Error::FleetRole(denied.message))
}

/// A launch as RunInstances would ask for it, as far as policies look at it.
fn members(launch: &Launch) -> Value {
    let mut members = Map::new();
    let mut say = |name: &str, value: Value| {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            members.insert(name.to_owned(), value);
        }
    };
    say("ImageId", json!(launch.image_id));
    say("InstanceType", json!(launch.instance_type));
    say("KeyName", json!(launch.key_name));
    say("SubnetId", json!(launch.subnet_id));
    say("SecurityGroupIds", json!(launch.security_group_ids));
    if let Some(template) = &launch.template {
        let named = json!({
            "LaunchTemplateId": template.id,
            "LaunchTemplateName": template.name,
            "Version": template.version,
        });
        say("LaunchTemplate", named);
    }
    if let Some(profile) = &launch.iam_instance_profile {
        say("IamInstanceProfile", json!({"Arn": profile.arn, "Name": profile.name}));
    }
    let tags = launch.tags.iter().map(|(kind, tags)| {
        let own = tags.iter().filter(|(key, _)| !key.starts_with("aws:"));
        let own: Vec<Value> = own.map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        json!({"ResourceType": kind, "Tags": own})
    });
    say("TagSpecifications", tags.collect());
    if launch.market.is_some() {
        say("InstanceMarketOptions", json!({"MarketType": "spot"}));
    }
    Value::Object(members)
}

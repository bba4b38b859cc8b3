//! What a request calls by another name than its ARN has: names of groups and templates, associations,
//! attachments, public addresses. They are replaced, so that no policy is got around by calling a thing
//! otherwise. What names nothing is left as it is: its handler says so.

use serde_json::{Map, Value, json};
use store::Snapshot;

use super::super::Who;
use super::super::model::{AccessKey, Identity, Kind};
use super::super::ops::service_linked;
use super::Call;
use crate::ec2::network_interface::NetworkInterface;
use crate::ec2::placement_group::PlacementGroup;
use crate::ec2::{
    elastic_ip, instance_profile, key_pair, launch_template, network_acl, resource, route_table,
    security_group, vpc, vpc_peering,
};
use crate::iam::ops::profile;
use crate::ssm::command::{self, model::Target};
use crate::{Context, autoscaling};

/// Calls about a user that are about the caller when they name none.
const OWN: &[&str] =
    &["GetUser", "CreateAccessKey", "DeleteAccessKey", "ListAccessKeys", "UpdateAccessKey"];

/// What `call` says besides, by the members that would have said it.
pub fn resolve(
    snapshot: &Snapshot,
    cx: &Context,
    call: &Call<'_>,
    members: &mut Map<String, Value>,
) {
    let resolver = Resolver { snapshot, cx, operation: call.operation };
    let found = match call.service {
        "ec2" => resolver.ec2(members),
        "autoscaling" => resolver.autoscaling(members),
        "ssm" => resolver.ssm(members),
        "iam" => resolver.iam(members),
        _ => None,
    };
    for (name, value) in found.unwrap_or_default() {
        members.entry(name).or_insert(value);
    }
}

struct Resolver<'a> {
    snapshot: &'a Snapshot,
    cx: &'a Context,
    operation: &'a str,
}

type Found = Vec<(&'static str, Value)>;

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

impl Resolver<'_> {
    fn ec2(&self, members: &Map<String, Value>) -> Option<Found> {
        let Resolver { snapshot, cx, operation } = *self;
        let by_group_name = |name: &str| security_group::ops::by_name(snapshot, cx, name).ok();
        if let Some(id) = text(members, "AssociationId") {
            return self.association(id);
        }
        if let Some(id) = text(members, "AttachmentId") {
            return self.attachment(id);
        }
        if let Some(ip) = text(members, "PublicIp") {
            let address = elastic_ip::ops::named(snapshot, cx, None, Some(ip)).ok()?;
            return Some(vec![("AllocationId", json!(address.allocation_id))]);
        }
        match operation {
            "RunInstances" => {
                let mut found = Found::new();
                let names = super::strings(&json!(members), "SecurityGroups");
                if !names.is_empty() {
                    let groups = names.iter().filter_map(|name| by_group_name(name));
                    let ids: Vec<String> = groups.map(|group| group.id.clone()).collect();
                    found.push(("SecurityGroupIds", json!(ids)));
                }
                let placement = members.get("Placement").and_then(Value::as_object);
                found.extend(placement.and_then(|said| self.placement_group(said)));
                Some(found)
            }
            "CreateSecurityGroup" | "CreateLaunchTemplate" => None,
            "CreatePlacementGroup" | "DeletePlacementGroup" => None,
            "ModifyInstancePlacement" => Some(self.placement_group(members).into_iter().collect()),
            "DeleteKeyPair" => {
                let id = text(members, "KeyPairId")?;
                let mut pairs = key_pair::ops::key_pairs(snapshot, cx).into_iter();
                let pair = pairs.find(|pair| pair.id == id)?;
                Some(vec![("KeyName", json!(pair.name))])
            }
            "AcceptVpcPeeringConnection" => {
                let id = text(members, "VpcPeeringConnectionId")?;
                let peering = vpc_peering::ops::peering(snapshot, cx, id).ok()?;
                Some(vec![("VpcId", json!(peering.accepter.vpc_id))])
            }
            _ if members.contains_key("LaunchTemplateName") => {
                let name = text(members, "LaunchTemplateName");
                let template = launch_template::ops::find(snapshot, cx, None, name).ok()?;
                Some(vec![("LaunchTemplateId", json!(template.id))])
            }
            _ => {
                let group = by_group_name(text(members, "GroupName")?)?;
                Some(vec![("GroupId", json!(group.id))])
            }
        }
    }

    /// The name, by which its ARN goes, of one that is named by its id.
    fn placement_group(&self, members: &Map<String, Value>) -> Option<(&'static str, Value)> {
        let id = text(members, "GroupId")?;
        let group = resource::get::<PlacementGroup>(self.snapshot, self.cx, id)?;
        Some(("OfPlacementGroup", json!(group.name)))
    }

    fn association(&self, id: &str) -> Option<Found> {
        let Resolver { snapshot, cx, operation } = *self;
        match operation {
            "DisassociateAddress" => {
                let has_it = |address: &elastic_ip::model::PublicAddress| {
                    address.association.as_ref().is_some_and(|association| association.id == id)
                };
                let all = elastic_ip::ops::elastic(snapshot, cx);
                let address = all.into_iter().find(|address| has_it(address))?;
                let interface = address.association.as_ref().map(|one| one.interface_id.clone());
                Some(vec![
                    ("AllocationId", json!(address.allocation_id)),
                    ("NetworkInterfaceId", json!(interface)),
                ])
            }
            "DisassociateRouteTable" | "ReplaceRouteTableAssociation" => {
                let (table, association) = route_table::ops::associated(snapshot, cx, id).ok()?;
                let subnet = association.map(|association| association.subnet_id);
                Some(vec![("OfRouteTable", json!(table.id)), ("OfSubnet", json!(subnet))])
            }
            "ReplaceNetworkAclAssociation" => {
                let subnets = vpc::ops::subnets(snapshot, cx);
                let (acl, association) = subnets
                    .iter()
                    .filter_map(|subnet| network_acl::ops::associated(snapshot, cx, subnet).ok())
                    .find(|(_, association)| association.id == id)?;
                Some(vec![
                    ("OfNetworkAcl", json!(acl.id)),
                    ("OfSubnet", json!(association.subnet_id)),
                ])
            }
            "DisassociateVpcCidrBlock" => {
                let mut vpcs = vpc::ops::vpcs(snapshot, cx).into_iter();
                let vpc = vpcs.find(|vpc| vpc.associations().any(|(known, _)| known == id))?;
                Some(vec![("VpcId", json!(vpc.id))])
            }
            "DisassociateIamInstanceProfile" | "ReplaceIamInstanceProfileAssociation" => {
                let association = instance_profile::ops::by_id(snapshot, cx, id).ok()?;
                Some(vec![("InstanceId", json!(association.instance_id))])
            }
            _ => None,
        }
    }

    fn attachment(&self, id: &str) -> Option<Found> {
        let prefix = self.cx.prefix();
        let interface = self.snapshot.scan::<NetworkInterface>(&prefix).find(|interface| {
            interface.attachment.as_ref().is_some_and(|attachment| attachment.id == id)
        })?;
        let instance = interface.attachment.as_ref().map(|one| one.instance_id.clone());
        Some(vec![("NetworkInterfaceId", json!(interface.id)), ("InstanceId", json!(instance))])
    }

    /// The nodes that a command's targets are about now.
    fn ssm(&self, members: &Map<String, Value>) -> Option<Found> {
        let targets = members.get("Targets")?.as_array()?.iter().map(|target| Target {
            key: target["Key"].as_str().unwrap_or_default().to_owned(),
            values: super::strings(target, "Values"),
        });
        let targets: Vec<Target> = targets.collect();
        if self.operation != "SendCommand" || targets.is_empty() {
            return None;
        }
        let nodes = command::ops::targeted(self.snapshot, self.cx, &targets);
        (!nodes.is_empty()).then(|| vec![("InstanceIds", json!(nodes))])
    }

    fn autoscaling(&self, members: &Map<String, Value>) -> Option<Found> {
        let group = match (text(members, "InstanceId"), text(members, "PolicyName")) {
            (Some(id), _) => autoscaling::ops::member(self.snapshot, self.cx, id).ok()?.group,
            (_, Some(arn)) => {
                let (_, rest) = arn.split_once(":autoScalingGroupName/")?;
                rest.split(':').next()?.to_owned()
            }
            _ => return None,
        };
        Some(vec![("AutoScalingGroupName", json!(group))])
    }

    fn iam(&self, members: &Map<String, Value>) -> Option<Found> {
        match self.operation {
            "CreateServiceLinkedRole" => {
                let service = text(members, "AWSServiceName")?;
                let name = service_linked::name(service, text(members, "CustomSuffix")).ok()?;
                Some(vec![
                    ("RoleName", json!(name)),
                    ("Path", json!(service_linked::path(service))),
                ])
            }
            // task/aws-service-role/SERVICE/ROLE/…
            "GetServiceLinkedRoleDeletionStatus" => {
                let mut steps = text(members, "DeletionTaskId")?.split('/').skip(2);
                let (service, name) = (steps.next()?, steps.next()?);
                Some(vec![
                    ("RoleName", json!(name)),
                    ("Path", json!(service_linked::path(service))),
                ])
            }
            "GetAccessKeyLastUsed" => {
                let key = self.snapshot.get::<AccessKey>(text(members, "AccessKeyId")?)?;
                Some(vec![("UserName", json!(key.user))])
            }
            "UpdateUser" => self.renamed(members, Kind::User, "UserName"),
            "UpdateGroup" => self.renamed(members, Kind::Group, "GroupName"),
            operation => match &self.cx.from.who {
                Who::User { name, .. } if OWN.contains(&operation) => {
                    Some(vec![("UserName", json!(name))])
                }
                _ => None,
            },
        }
    }

    /// A new name keeps the path, unless there is a new one too.
    fn renamed(&self, members: &Map<String, Value>, kind: Kind, name: &str) -> Option<Found> {
        let key = Identity::key_of(&self.cx.account, kind, text(members, name)?);
        let found = self.snapshot.get::<Identity>(&key)?;
        Some(vec![("Path", json!(text(members, "NewPath").unwrap_or(&found.path)))])
    }
}

/// The ARN of the instance profile that a launch names, for conditions.
pub fn profile_arn(snapshot: &Snapshot, cx: &Context, name: &str) -> Option<String> {
    profile::get(snapshot, cx, name).ok().map(|profile| profile.arn())
}

//! What a launch asks for, before it is checked: RunInstances' parameters, a launch template's data,
//! or both merged. `ops::run` checks and resolves it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::model::ShutdownBehavior;
use crate::ec2::capacity_reservation::Specification;
use crate::ec2::credits;
use crate::ec2::placement_group::Named;
use crate::ec2::spot::model::Market;
use crate::tag::Tags;

/// `None` and empty mean: not said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Launch {
    pub image_id: Option<String>,
    pub instance_type: Option<String>,
    /// 0: not said. Templates do not carry counts.
    pub min_count: u32,
    pub max_count: u32,

    /// `Placement.AvailabilityZone`
    pub zone: Option<String>,
    /// `Placement.AvailabilityZoneId`: instead of `zone`.
    pub zone_id: Option<String>,
    /// `Placement.GroupName` or `Placement.GroupId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement_group: Option<Named>,
    /// `Placement.PartitionNumber`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_reservation: Option<Specification>,
    pub subnet_id: Option<String>,
    pub private_ip: Option<Ipv4Addr>,
    pub security_group_ids: Vec<String>,
    pub security_group_names: Vec<String>,
    /// `NetworkInterfaces`
    pub interfaces: Vec<Interface>,

    pub iam_instance_profile: Option<InstanceProfile>,
    pub key_name: Option<String>,
    /// Base64, as it came.
    pub user_data: Option<String>,
    pub block_devices: Vec<BlockDevice>,
    pub metadata: Metadata,
    pub shutdown_behavior: Option<ShutdownBehavior>,
    pub disable_api_termination: Option<bool>,
    pub disable_api_stop: Option<bool>,
    /// Detailed monitoring.
    pub monitoring: Option<bool>,
    /// `CreditSpecification`
    pub cpu_credits: Option<credits::Mode>,

    /// By resource type (`instance`, `volume`, `network-interface`).
    pub tags: BTreeMap<String, Tags>,
    pub client_token: Option<String>,
    /// `InstanceMarketOptions`: a Spot Instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub market: Option<Market>,
    /// The template it starts from; explicit values above win over the template's.
    pub template: Option<Template>,
}

/// One of `arn` and `name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceProfile {
    pub arn: Option<String>,
    pub name: Option<String>,
}

/// One of `id` and `name`; version `$Default` when not said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Template {
    pub id: Option<String>,
    pub name: Option<String>,
    pub version: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    pub device_index: i32,
    pub subnet_id: Option<String>,
    pub groups: Vec<String>,
    /// An interface that exists: then nothing below but what becomes of it at the end.
    pub network_interface_id: Option<String>,
    pub private_ip: Option<Ipv4Addr>,
    pub secondary: Vec<Ipv4Addr>,
    /// How many more, any.
    pub secondary_count: usize,
    pub description: Option<String>,
    pub delete_on_termination: Option<bool>,
    pub associate_public_ip_address: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockDevice {
    pub device_name: String,
    pub delete_on_termination: Option<bool>,
    pub volume_size_gib: Option<i32>,
    pub volume_type: Option<String>,
    pub iops: Option<i32>,
    /// MiB per second.
    pub throughput: Option<i32>,
    pub snapshot_id: Option<String>,
    pub encrypted: Option<bool>,
    pub kms_key_id: Option<String>,
    /// Not the device that the image has there.
    pub no_device: bool,
    /// `ephemeral0`: a disk of the host.
    pub virtual_name: Option<String>,
}

impl BlockDevice {
    pub fn says_ebs(&self) -> bool {
        self.delete_on_termination.is_some()
            || self.volume_size_gib.is_some()
            || self.volume_type.is_some()
            || self.iops.is_some()
            || self.throughput.is_some()
            || self.snapshot_id.is_some()
            || self.encrypted.is_some()
            || self.kms_key_id.is_some()
    }
}

/// `MetadataOptions`, each as AWS spells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// `optional` or `required`
    pub http_tokens: Option<String>,
    pub http_put_response_hop_limit: Option<i32>,
    /// `enabled` or `disabled`
    pub http_endpoint: Option<String>,
    pub instance_metadata_tags: Option<String>,
}

impl Launch {
    /// Whether any member of `Placement` was said.
    pub fn says_placement(&self) -> bool {
        self.zone.is_some()
            || self.zone_id.is_some()
            || self.placement_group.is_some()
            || self.partition.is_some()
    }

    /// Explicit values over a template's: a value said here replaces the template's whole, but for
    /// metadata options, which replace each its own, and tags, which replace by resource type and key.
    pub fn over(mut self, base: Launch) -> Launch {
        let place_said = self.subnet_id.is_some() || !self.interfaces.is_empty();
        let groups_said = !self.security_group_ids.is_empty()
            || !self.security_group_names.is_empty()
            || !self.interfaces.is_empty();
        if !groups_said {
            self.security_group_ids = base.security_group_ids;
            self.security_group_names = base.security_group_names;
        }
        if self.interfaces.is_empty() {
            self.interfaces = base.interfaces;
            // A subnet said at the instance's level goes into the template's interface.
            if let (Some(first), Some(subnet)) = (self.interfaces.first_mut(), &self.subnet_id) {
                first.subnet_id = Some(subnet.clone());
                self.subnet_id = None;
            }
        }
        if !place_said {
            self.subnet_id = base.subnet_id;
        }
        if self.block_devices.is_empty() {
            self.block_devices = base.block_devices;
        }
        let theirs = base.metadata;
        let ours = &mut self.metadata;
        ours.http_tokens = ours.http_tokens.take().or(theirs.http_tokens);
        ours.http_put_response_hop_limit =
            ours.http_put_response_hop_limit.or(theirs.http_put_response_hop_limit);
        ours.http_endpoint = ours.http_endpoint.take().or(theirs.http_endpoint);
        ours.instance_metadata_tags =
            ours.instance_metadata_tags.take().or(theirs.instance_metadata_tags);
        for (kind, tags) in base.tags {
            let own = self.tags.entry(kind).or_default();
            for (key, value) in tags {
                own.entry(key).or_insert(value);
            }
        }
        let (zone, zone_id) = match (self.zone, self.zone_id) {
            (None, None) => (base.zone, base.zone_id),
            said => said,
        };
        let (placement_group, partition) = match self.placement_group {
            None => (base.placement_group, self.partition.or(base.partition)),
            said => (said, self.partition),
        };
        Launch {
            placement_group,
            partition,
            capacity_reservation: self.capacity_reservation.or(base.capacity_reservation),
            image_id: self.image_id.or(base.image_id),
            instance_type: self.instance_type.or(base.instance_type),
            zone,
            zone_id,
            private_ip: self.private_ip.or(base.private_ip),
            iam_instance_profile: self.iam_instance_profile.or(base.iam_instance_profile),
            key_name: self.key_name.or(base.key_name),
            user_data: self.user_data.or(base.user_data),
            shutdown_behavior: self.shutdown_behavior.or(base.shutdown_behavior),
            disable_api_termination: self.disable_api_termination.or(base.disable_api_termination),
            disable_api_stop: self.disable_api_stop.or(base.disable_api_stop),
            monitoring: self.monitoring.or(base.monitoring),
            market: self.market.or(base.market),
            cpu_credits: self.cpu_credits.or(base.cpu_credits),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| id.to_string()).collect()
    }

    #[test]
    fn explicit_values_win() {
        let base = Launch {
            image_id: Some("ami-base".into()),
            instance_type: Some("t3.micro".into()),
            security_group_ids: groups(&["sg-base"]),
            tags: [(
                "instance".into(),
                [("a".into(), "1".into()), ("b".into(), "1".into())].into(),
            )]
            .into(),
            ..Launch::default()
        };
        let over = Launch {
            image_id: Some("ami-own".into()),
            tags: [("instance".into(), [("b".into(), "2".into())].into())].into(),
            ..Launch::default()
        };
        let merged = over.over(base);
        assert_eq!(merged.image_id.as_deref(), Some("ami-own"));
        assert_eq!(merged.instance_type.as_deref(), Some("t3.micro"));
        assert_eq!(merged.security_group_ids, groups(&["sg-base"]));
        assert_eq!(
            merged.tags["instance"],
            [("a".into(), "1".into()), ("b".into(), "2".into())].into()
        );
    }

    #[test]
    fn a_subnet_goes_into_the_templates_interface() {
        let interface = Interface { groups: groups(&["sg-1"]), ..Interface::default() };
        let base = Launch { interfaces: vec![interface], ..Launch::default() };
        let over = Launch { subnet_id: Some("subnet-1".into()), ..Launch::default() };
        let merged = over.over(base);
        assert_eq!(merged.subnet_id, None);
        assert_eq!(merged.interfaces[0].subnet_id.as_deref(), Some("subnet-1"));
        assert_eq!(merged.interfaces[0].groups, groups(&["sg-1"]));
    }
}

//! The tags of one resource.

use serde::{Deserialize, Serialize};

use crate::tag::Tags;

/// Exists only while there are tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tagged {
    pub account: String,
    pub region: String,
    pub resource_id: String,
    pub tags: Tags,
}

impl store::Record for Tagged {
    const TABLE: &'static str = "ec2_tags";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.resource_id)
    }
}

/// What a resource id says its kind is, in the words of DescribeTags.
pub fn resource_type(id: &str) -> Option<&'static str> {
    // Their ids are UUIDs, with more dashes.
    if id.starts_with("fleet-") {
        return Some("fleet");
    }
    if id.starts_with("sfr-") {
        return Some("spot-fleet-request");
    }
    let (prefix, _) = id.rsplit_once('-')?;
    TYPES.iter().find(|(known, _)| *known == prefix).map(|(_, name)| *name)
}

const TYPES: &[(&str, &str)] = &[
    ("acl", "network-acl"),
    ("ami", "image"),
    ("cr", "capacity-reservation"),
    ("dopt", "dhcp-options"),
    ("eipalloc", "elastic-ip"),
    ("eni", "network-interface"),
    ("fl", "vpc-flow-log"),
    ("i", "instance"),
    ("igw", "internet-gateway"),
    ("key", "key-pair"),
    ("lt", "launch-template"),
    ("nat", "natgateway"),
    ("pcx", "vpc-peering-connection"),
    ("nia", "network-insights-analysis"),
    ("nip", "network-insights-path"),
    ("pg", "placement-group"),
    ("pl", "prefix-list"),
    ("rtb", "route-table"),
    ("sg", "security-group"),
    ("sgr", "security-group-rule"),
    ("sir", "spot-instances-request"),
    ("snap", "snapshot"),
    ("subnet", "subnet"),
    ("vol", "volume"),
    ("vpc", "vpc"),
    ("vpce", "vpc-endpoint"),
];

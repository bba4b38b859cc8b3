//! A placement group, and what an instance keeps of the one it is in.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementGroup {
    pub account: String,
    pub region: String,
    /// `pg-…`
    pub id: String,
    pub name: String,
    pub strategy: Strategy,
    /// Of a partition group: how many.
    pub partitions: Option<u32>,
}

impl PlacementGroup {
    pub fn arn(&self) -> String {
        let resource = format!("placement-group/{}", self.name);
        crate::arn::arn("ec2", &self.region, &self.account, &resource)
    }
}

impl store::Record for PlacementGroup {
    const TABLE: &'static str = "ec2_placement_groups";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    Cluster,
    Spread,
    Partition,
}

impl Strategy {
    pub const ALL: [Strategy; 3] = [Strategy::Cluster, Strategy::Spread, Strategy::Partition];

    pub fn name(self) -> &'static str {
        match self {
            Strategy::Cluster => "cluster",
            Strategy::Spread => "spread",
            Strategy::Partition => "partition",
        }
    }
}

/// A group as a request names it: by one of both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Named {
    pub id: Option<String>,
    pub name: Option<String>,
}

/// What an instance keeps of its group. The name outlives the group, as terminated instances do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub group_id: String,
    pub group_name: String,
    /// From 1.
    pub partition: Option<u32>,
}

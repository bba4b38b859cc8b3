//! A pool of capacity. Zone names are unique among all regions, and accounts share what a zone has.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// `us-east-1a`
    pub zone: String,
    pub instance_type: String,
    /// The most instances that hold capacity at once.
    pub limit: u32,
}

impl Pool {
    pub fn key_of(zone: &str, instance_type: &str) -> String {
        format!("{zone}/{instance_type}")
    }
}

impl store::Record for Pool {
    const TABLE: &'static str = "ec2_capacity_pools";
    fn key(&self) -> String {
        Pool::key_of(&self.zone, &self.instance_type)
    }
}

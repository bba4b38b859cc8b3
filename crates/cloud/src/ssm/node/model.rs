//! What is known of a managed node.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub account: String,
    pub region: String,
    /// `i-…`
    pub instance_id: String,
    /// The boot it was last looked at in.
    pub boot: u64,
    pub registered_at: Timestamp,
    /// When it was last known to be there, as of the last time that changed.
    pub seen_at: Timestamp,
    pub online: bool,
    /// `NAME` and `VERSION_ID` of its os-release(5).
    pub platform_name: Option<String>,
    pub platform_version: Option<String>,
    pub computer_name: Option<String>,
}

impl store::Record for Node {
    const TABLE: &'static str = "ssm_nodes";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.instance_id)
    }
}

//! Keys that are good for a while.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub account: String,
    pub region: String,
    pub instance_id: String,
    pub id: String,
    pub user: String,
    /// Of `authorized_keys`, with the id as its comment: no two are the same line.
    pub line: String,
    /// In the host's time.
    pub expires_at: Timestamp,
}

impl store::Record for Key {
    const TABLE: &'static str = "ec2_instance_connect_keys";

    fn key(&self) -> String {
        format!("{}/{}/{}/{}", self.account, self.region, self.instance_id, self.id)
    }
}

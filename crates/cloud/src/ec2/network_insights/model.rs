//! Paths and analyses, as they are kept.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::ec2::network::path::{Answer, Protocol};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    pub account: String,
    pub region: String,
    /// `nip-…`
    pub id: String,
    /// Ids of instances or network interfaces; or addresses, where the path has none.
    pub source: String,
    pub destination: String,
    pub destination_ip: Option<String>,
    pub protocol: Protocol,
    pub port: u16,
    pub created_at: Timestamp,
    pub client_token: String,
}

impl store::Record for Path {
    const TABLE: &'static str = "ec2_network_insights_paths";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

/// Done as soon as it is asked for: what it reads is in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    pub account: String,
    pub region: String,
    /// `nia-…`
    pub id: String,
    pub path_id: String,
    pub at: Timestamp,
    pub answer: Answer,
    pub client_token: String,
}

impl store::Record for Analysis {
    const TABLE: &'static str = "ec2_network_insights_analyses";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

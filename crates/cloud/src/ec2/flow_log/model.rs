//! A flow log: whose traffic is written down, and where.

use serde::{Deserialize, Serialize};

use super::line::Field;
use crate::Timestamp;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowLog {
    pub account: String,
    pub region: String,
    /// `fl-…`
    pub id: String,
    /// Id of the VPC, subnet or network interface.
    pub resource_id: String,
    pub traffic: Traffic,
    /// ARN of the bucket, with a folder behind it where there is one.
    pub destination: String,
    pub fields: Vec<Field>,
    /// Of cloud time.
    pub interval_seconds: u32,
    pub created_at: Timestamp,
    pub client_token: Option<String>,
    /// Why nothing could be delivered the last time.
    pub failure: Option<String>,
}

impl FlowLog {
    /// Bucket, and what the keys in it begin with: nothing, or a folder and a slash.
    pub fn place(&self) -> (&str, String) {
        let path = self.destination.rsplit(':').next().unwrap_or_default();
        let (bucket, folder) = path.split_once('/').unwrap_or((path, ""));
        let folder = folder.trim_matches('/');
        (bucket, if folder.is_empty() { String::new() } else { format!("{folder}/") })
    }
}

impl store::Record for FlowLog {
    const TABLE: &'static str = "ec2_flow_logs";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Traffic {
    Accept,
    Reject,
    All,
}

impl Traffic {
    pub const ALL: [Traffic; 3] = [Traffic::Accept, Traffic::Reject, Traffic::All];

    pub fn word(self) -> &'static str {
        match self {
            Traffic::Accept => "ACCEPT",
            Traffic::Reject => "REJECT",
            Traffic::All => "ALL",
        }
    }

    pub fn wants(self, accepted: bool) -> bool {
        match self {
            Traffic::All => true,
            Traffic::Accept => accepted,
            Traffic::Reject => !accepted,
        }
    }
}

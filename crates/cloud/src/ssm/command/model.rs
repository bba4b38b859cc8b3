//! Commands, and their invocations on single nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::State;
use crate::Timestamp;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    pub account: String,
    pub region: String,
    /// A UUID.
    pub id: String,
    pub comment: String,
    pub document: String,
    /// As the request had it.
    pub document_version: String,
    pub parameters: BTreeMap<String, Vec<String>>,
    /// As the request named them; or else `targets`.
    pub instance_ids: Vec<String>,
    pub targets: Vec<Target>,
    pub requested_at: Timestamp,
    pub timeout_seconds: i32,
    pub max_concurrency: Amount,
    pub max_errors: Amount,
    pub output: Option<Output>,
    /// Its invocations have been made: from then on the nodes are fixed.
    pub expanded: bool,
    /// No invocation begins any more.
    pub cancelled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub key: String,
    pub values: Vec<String>,
}

/// A number of nodes, or a share of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount(pub String);

impl Amount {
    /// Of so many nodes. A share is rounded up, so that it is one at least where it is not nothing.
    pub fn of(&self, nodes: usize) -> usize {
        match self.0.strip_suffix('%') {
            Some(percent) => {
                let percent: usize = percent.parse().unwrap_or(100);
                (nodes * percent).div_ceil(100)
            }
            None => self.0.parse().unwrap_or(usize::MAX),
        }
    }
}

/// Where in S3 the output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub bucket: String,
    pub prefix: Option<String>,
    /// As the request had it; nobody heeds it.
    pub region: Option<String>,
}

impl Command {
    fn parameter(&self, name: &str) -> &[String] {
        self.parameters.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn script(&self) -> String {
        self.parameter("commands").join("\n")
    }

    pub fn working_directory(&self) -> Option<&str> {
        self.parameter("workingDirectory").first().map(String::as_str).filter(|d| !d.is_empty())
    }

    /// Of the script, in the host's time: it is the guest that needs it.
    pub fn execution_timeout(&self) -> Duration {
        let seconds = self.parameter("executionTimeout").first().and_then(|text| text.parse().ok());
        Duration::from_secs(seconds.unwrap_or(3600))
    }

    /// Until then a node may take it.
    pub fn deliver_until(&self) -> Timestamp {
        self.requested_at.plus(Duration::from_secs(self.timeout_seconds.max(0) as u64))
    }

    pub fn expires_after(&self) -> Timestamp {
        self.deliver_until().plus(self.execution_timeout())
    }
}

impl store::Record for Command {
    const TABLE: &'static str = "ssm_commands";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    pub account: String,
    pub region: String,
    pub command_id: String,
    pub instance_id: String,
    /// Its `Name` tag, as it was.
    pub instance_name: String,
    pub requested_at: Timestamp,
    pub state: State,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// -1 until it has ended.
    pub response_code: i32,
    /// As much as is shown.
    pub stdout: String,
    pub stderr: String,
}

impl Invocation {
    pub fn key_of(command: &Command, instance_id: &str) -> String {
        format!("{}/{instance_id}", store::Record::key(command))
    }
}

impl store::Record for Invocation {
    const TABLE: &'static str = "ssm_invocations";

    fn key(&self) -> String {
        format!("{}/{}/{}/{}", self.account, self.region, self.command_id, self.instance_id)
    }
}

//! Experiment templates, and experiments: a template as it was when it was started, and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arn;
use crate::clock::Timestamp;
use crate::ec2::client_token::ClientToken;
use crate::filter::Filter;
use crate::tag::Tags;

/// What both have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Design {
    pub role_arn: String,
    pub targets: BTreeMap<String, Target>,
    pub actions: BTreeMap<String, Action>,
    /// ARNs of CloudWatch alarms; none: it is stopped by nothing.
    pub stop_alarms: Vec<String>,
    /// `emptyTargetResolutionMode`: actions without a target are left out, instead of failing all.
    pub skip_empty: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// `aws:ec2:spot-instance`
    pub kind: String,
    pub arns: Vec<String>,
    pub tags: Tags,
    /// By paths into what DescribeInstances says.
    pub filters: Vec<Filter>,
    pub selection: Selection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    All,
    Count(usize),
    Percent(usize),
}

impl Selection {
    pub fn text(self) -> String {
        match self {
            Selection::All => "ALL".to_owned(),
            Selection::Count(n) => format!("COUNT({n})"),
            Selection::Percent(n) => format!("PERCENT({n})"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// `aws:ec2:stop-instances`
    pub id: String,
    pub description: Option<String>,
    pub parameters: BTreeMap<String, String>,
    /// By the action's own name for it (`Instances`), the name of a target.
    pub targets: BTreeMap<String, String>,
    pub start_after: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    pub account: String,
    pub region: String,
    /// `EXT…`
    pub id: String,
    pub description: String,
    pub design: Design,
    pub created_at: Timestamp,
    pub tags: Tags,
    pub client_token: Option<ClientToken>,
}

impl Template {
    pub fn arn(&self) -> String {
        let resource = format!("experiment-template/{}", self.id);
        arn::arn("fis", &self.region, &self.account, &resource)
    }
}

impl store::Record for Template {
    const TABLE: &'static str = "fis_templates";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    pub account: String,
    pub region: String,
    /// `EXP…`
    pub id: String,
    pub template_id: String,
    pub design: Design,
    /// `actionsMode: skip-all`: targets are resolved, nothing is done to them.
    pub preview: bool,
    pub status: Status,
    pub reason: String,
    pub created_at: Timestamp,
    /// Since when its actions run.
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Ids of instances, by the names of targets.
    pub resolved: BTreeMap<String, Vec<String>>,
    /// By the actions' names.
    pub runs: BTreeMap<String, Run>,
    pub tags: Tags,
    pub client_token: Option<ClientToken>,
}

impl Experiment {
    pub fn arn(&self) -> String {
        arn::arn("fis", &self.region, &self.account, &format!("experiment/{}", self.id))
    }
}

impl store::Record for Experiment {
    const TABLE: &'static str = "fis_experiments";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

/// Of experiments and of their actions; each has some of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Pending,
    Initiating,
    Running,
    Completed,
    Stopping,
    Stopped,
    Failed,
    Cancelled,
    Skipped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Initiating => "initiating",
            Status::Running => "running",
            Status::Completed => "completed",
            Status::Stopping => "stopping",
            Status::Stopped => "stopped",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Skipped => "skipped",
        }
    }
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub status: Status,
    pub reason: String,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Stopped instances were started again.
    pub restarted: bool,
}

//! Records of load balancers, their nodes, listeners and rules, of target groups and their targets.
//!
//! The id of each is the end of its ARN, so that a key scan gives what belongs together:
//! `app/NAME/LB`, `app/NAME/LB/LISTENER`, `app/NAME/LB/LISTENER/RULE`, `NAME/GROUP`.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::attribute;
use crate::clock::Timestamp;
use crate::tag::Tags;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    pub account: String,
    pub region: String,
    /// `app/NAME/0123456789abcdef`
    pub id: String,
    pub arn: String,
    pub name: String,
    pub dns_name: String,
    pub scheme: Scheme,
    pub vpc_id: String,
    /// Ids, in the order given.
    pub security_groups: Vec<String>,
    pub created_at: Timestamp,
    /// Whether the balancers ever had it in force.
    pub active: bool,
    /// Only what differs from AWS's default.
    pub attributes: attribute::Set,
    pub tags: Tags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    InternetFacing,
    Internal,
}

/// A load balancer's presence in a zone. Outlives the load balancer until its addresses are gone from
/// the network; only then are they free again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub account: String,
    pub region: String,
    /// ARN
    pub load_balancer: String,
    pub zone: String,
    pub subnet_id: String,
    pub vpc_id: String,
    pub private_ip: Ipv4Addr,
    /// On the host's loopback range, for internet-facing ones.
    pub public_ip: Option<Ipv4Addr>,
    pub leaving: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    pub account: String,
    pub region: String,
    /// `app/NAME/LB/0123456789abcdef`
    pub id: String,
    pub arn: String,
    /// ARN
    pub load_balancer: String,
    pub port: u16,
    /// Only what differs from AWS's default.
    pub attributes: attribute::Set,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub account: String,
    pub region: String,
    /// `app/NAME/LB/LISTENER/0123456789abcdef`
    pub id: String,
    pub arn: String,
    /// ARN
    pub listener: String,
    /// `None`: the default rule, which comes last.
    pub priority: Option<u32>,
    pub conditions: Vec<Condition>,
    pub action: Action,
    /// As given, for the answer; there is never more than one action.
    pub order: Option<i32>,
    pub tags: Tags,
}

/// Any of the values must match. Patterns have `*` and `?`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    HostHeader(Vec<String>),
    PathPattern(Vec<String>),
    HttpHeader {
        name: String,
        values: Vec<String>,
    },
    HttpRequestMethod(Vec<String>),
    /// Key (or any) and value.
    QueryString(Vec<(Option<String>, String)>),
    /// Address and prefix length.
    SourceIp(Vec<(Ipv4Addr, u8)>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    Forward {
        /// ARN and weight.
        groups: Vec<(String, u32)>,
        stickiness_seconds: Option<u32>,
    },
    Redirect {
        /// 301 or 302
        status: u16,
        protocol: String,
        host: String,
        port: String,
        path: String,
        query: String,
    },
    FixedResponse {
        status: u16,
        content_type: Option<String>,
        body: Option<String>,
    },
}

impl Action {
    /// ARNs of the target groups it forwards to.
    pub fn target_groups(&self) -> impl Iterator<Item = &str> {
        let groups: &[(String, u32)] = match self {
            Action::Forward { groups, .. } => groups,
            _ => &[],
        };
        groups.iter().map(|(arn, _)| arn.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetGroup {
    pub account: String,
    pub region: String,
    /// `NAME/0123456789abcdef`
    pub id: String,
    pub arn: String,
    pub name: String,
    pub port: u16,
    pub vpc_id: String,
    pub target_type: TargetType,
    pub health_check: HealthCheck,
    pub created_at: Timestamp,
    /// Only what differs from AWS's default.
    pub attributes: attribute::Set,
    pub tags: Tags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetType {
    Instance,
    Ip,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub path: String,
    /// `None` is `traffic-port`: the target's own.
    pub port: Option<u16>,
    pub interval_seconds: u32,
    pub timeout_seconds: u32,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    /// As given: `200-299,301`.
    pub matcher: String,
}

/// Something a target group sends to. Written by the controller from what the balancers report, so
/// that others are woken when it changes; gone when drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub account: String,
    pub region: String,
    pub target_group_arn: String,
    /// Instance id, or address.
    pub id: String,
    pub port: u16,
    pub zone: String,
    pub state: TargetState,
    /// `None` while healthy.
    pub reason: Option<Reason>,
    pub registered_at: Timestamp,
    /// When it was healthy for the first time.
    #[serde(default)]
    pub healthy_at: Option<Timestamp>,
    pub draining_since: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Unused,
    Draining,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    RegistrationInProgress,
    InitialHealthChecking,
    ResponseCodeMismatch(u16),
    Timeout,
    FailedHealthChecks,
    /// No listener forwards to its group.
    NotInUse,
    /// Its zone is not one of the load balancer's.
    ZoneNotEnabled,
    /// Its instance is in this state, which is not running.
    InvalidState(String),
    DeregistrationInProgress,
}

impl Target {
    /// `i-0123:80`, as the balancers know it.
    pub fn name(&self) -> String {
        format!("{}:{}", self.id, self.port)
    }
}

/// The end of an ARN of this service, behind its kind: `app/web/0123…` of `loadbalancer/app/web/0123…`.
/// `None` when the ARN is of another kind, account or region.
pub fn id_of<'a>(cx: &crate::Context, kind: &str, arn: &'a str) -> Option<&'a str> {
    let parts = crate::arn::parse(arn)?;
    let ours = parts.service == "elasticloadbalancing"
        && parts.region == cx.region
        && parts.account == cx.account;
    let id = parts.resource.strip_prefix(kind)?.strip_prefix('/')?;
    ours.then_some(id)
}

/// What an ARN's kind and the account's and region's names make a key.
fn key(account: &str, region: &str, id: &str) -> String {
    format!("{account}/{region}/{id}")
}

/// The ARN's last parts, behind the kind.
fn tail(arn: &str) -> &str {
    arn.split_once('/').map_or(arn, |(_, tail)| tail)
}

impl store::Record for LoadBalancer {
    const TABLE: &'static str = "elbv2_load_balancers";
    fn key(&self) -> String {
        key(&self.account, &self.region, &self.id)
    }
}

impl store::Record for Node {
    const TABLE: &'static str = "elbv2_nodes";
    /// A zone may have two while one is leaving.
    fn key(&self) -> String {
        let id = format!("{}/{}", tail(&self.load_balancer), self.private_ip);
        key(&self.account, &self.region, &id)
    }
}

impl store::Record for Listener {
    const TABLE: &'static str = "elbv2_listeners";
    fn key(&self) -> String {
        key(&self.account, &self.region, &self.id)
    }
}

impl store::Record for Rule {
    const TABLE: &'static str = "elbv2_rules";
    fn key(&self) -> String {
        key(&self.account, &self.region, &self.id)
    }
}

impl store::Record for TargetGroup {
    const TABLE: &'static str = "elbv2_target_groups";
    fn key(&self) -> String {
        key(&self.account, &self.region, &self.id)
    }
}

impl store::Record for Target {
    const TABLE: &'static str = "elbv2_targets";
    fn key(&self) -> String {
        let id = format!("{}/{}", tail(&self.target_group_arn), self.name());
        key(&self.account, &self.region, &id)
    }
}

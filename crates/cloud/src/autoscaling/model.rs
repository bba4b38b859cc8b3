//! Records of Auto Scaling: groups, their instances, the activities that changed them, policies.
//!
//! Invariants: a member's record is written in the transaction that launches its instance, and goes
//! when the instance is gone; a group's record goes with or after its last member's; activities
//! outlive both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub account: String,
    pub region: String,
    pub name: String,
    pub uuid: String,
    pub created: Timestamp,
    pub min: i32,
    pub max: i32,
    pub desired: i32,
    pub default_cooldown_seconds: i32,
    /// By zone name, in the order given; the subnet instances go to in each.
    pub places: Vec<Place>,
    /// Whether the user named subnets (`VPCZoneIdentifier`) rather than zones.
    pub by_subnet: bool,
    /// By its name: where instances are launched, over what the launch template says.
    #[serde(default)]
    pub placement_group: Option<String>,
    /// `CapacityReservationSpecification`; `None`: as the launch template says.
    #[serde(default)]
    pub reservations: Option<Reservations>,
    pub launch_template: LaunchTemplate,
    pub target_groups: Vec<String>,
    /// Health is the load balancer's word too, not EC2's alone.
    pub elb_health: bool,
    pub grace_seconds: i32,
    pub new_instances_protected: bool,
    pub termination_policies: Vec<TerminationPolicy>,
    pub max_instance_lifetime_seconds: Option<i32>,
    pub default_warmup_seconds: Option<i32>,
    pub suspended: BTreeMap<Process, String>,
    pub tags: BTreeMap<String, Tag>,
    /// Set when deletion by force has begun.
    pub deleting: Option<Timestamp>,
    /// Why capacity is not what it was: the causes not yet told by an activity.
    pub change: Option<String>,
    /// When the last scaling activity ended or capacity was last set; cooldowns count from here.
    pub last_scaled: Option<Timestamp>,
    /// Zones where a launch failed, and until when no other is tried.
    pub backoff: BTreeMap<String, Backoff>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub zone: String,
    pub subnet_id: String,
}

/// What a group wants of capacity reservations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservations {
    pub preference: Preference,
    /// `cr-…`; none: those that are open.
    pub targets: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preference {
    None,
    First,
    Only,
}

impl Preference {
    pub const ALL: [Preference; 3] = [Preference::None, Preference::First, Preference::Only];

    pub fn name(self) -> &'static str {
        match self {
            Preference::None => "none",
            Preference::First => "capacity-reservations-first",
            Preference::Only => "capacity-reservations-only",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplate {
    pub id: String,
    pub name: String,
    /// As asked for: a number, `$Latest` or `$Default`; `None` is the default version.
    pub version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    pub value: String,
    pub propagate_at_launch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub failures: u32,
    pub until: Timestamp,
}

impl Group {
    pub fn arn(&self) -> String {
        let resource = format!("autoScalingGroup:{}:autoScalingGroupName/{}", self.uuid, self.name);
        crate::arn::arn("autoscaling", &self.region, &self.account, &resource)
    }

    pub fn runs(&self, process: Process) -> bool {
        !self.suspended.contains_key(&process)
    }

    /// How long an instance needs until its measurements count.
    pub fn warmup(&self) -> Duration {
        seconds(self.default_warmup_seconds.unwrap_or(self.default_cooldown_seconds))
    }

    pub fn grace(&self) -> Duration {
        seconds(self.grace_seconds)
    }

    /// Adds to what the next activity tells as its cause.
    pub fn changed(&mut self, cause: &str) {
        match &mut self.change {
            Some(change) => {
                change.push_str("  ");
                change.push_str(cause);
            }
            None => self.change = Some(cause.to_owned()),
        }
    }
}

pub fn seconds(n: i32) -> Duration {
    Duration::from_secs(n.max(0) as u64)
}

impl store::Record for Group {
    const TABLE: &'static str = "autoscaling_groups";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.name)
    }
}

/// What an Auto Scaling group does by itself, each of which can be suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Process {
    AddToLoadBalancer,
    AlarmNotification,
    AZRebalance,
    HealthCheck,
    InstanceRefresh,
    Launch,
    ReplaceUnhealthy,
    ScheduledActions,
    Terminate,
}

impl Process {
    pub const ALL: [Process; 9] = [
        Process::AddToLoadBalancer,
        Process::AlarmNotification,
        Process::AZRebalance,
        Process::HealthCheck,
        Process::InstanceRefresh,
        Process::Launch,
        Process::ReplaceUnhealthy,
        Process::ScheduledActions,
        Process::Terminate,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Process::AddToLoadBalancer => "AddToLoadBalancer",
            Process::AlarmNotification => "AlarmNotification",
            Process::AZRebalance => "AZRebalance",
            Process::HealthCheck => "HealthCheck",
            Process::InstanceRefresh => "InstanceRefresh",
            Process::Launch => "Launch",
            Process::ReplaceUnhealthy => "ReplaceUnhealthy",
            Process::ScheduledActions => "ScheduledActions",
            Process::Terminate => "Terminate",
        }
    }

    pub fn parse(name: &str) -> Option<Process> {
        Process::ALL.into_iter().find(|process| process.name() == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TerminationPolicy {
    ClosestToNextInstanceHour,
    Default,
    NewestInstance,
    OldestInstance,
    OldestLaunchTemplate,
}

impl TerminationPolicy {
    pub const ALL: [TerminationPolicy; 5] = [
        TerminationPolicy::ClosestToNextInstanceHour,
        TerminationPolicy::Default,
        TerminationPolicy::NewestInstance,
        TerminationPolicy::OldestInstance,
        TerminationPolicy::OldestLaunchTemplate,
    ];

    pub fn name(self) -> &'static str {
        match self {
            TerminationPolicy::ClosestToNextInstanceHour => "ClosestToNextInstanceHour",
            TerminationPolicy::Default => "Default",
            TerminationPolicy::NewestInstance => "NewestInstance",
            TerminationPolicy::OldestInstance => "OldestInstance",
            TerminationPolicy::OldestLaunchTemplate => "OldestLaunchTemplate",
        }
    }

    pub fn parse(name: &str) -> Option<TerminationPolicy> {
        TerminationPolicy::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// An instance in a group.
///
/// ```text
///            running, registered           taken out               drained
///  Pending ─────────────────────► InService ─────────► Terminating ─────────► (EC2 terminates it,
///     └──────────────────────────────────────────────────►                     the record goes)
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub account: String,
    pub region: String,
    pub instance_id: String,
    pub group: String,
    pub zone: String,
    pub instance_type: String,
    pub image_id: String,
    pub template: LaunchTemplate,
    pub template_version: u64,
    pub launched: Timestamp,
    pub lifecycle: Lifecycle,
    pub in_service_since: Option<Timestamp>,
    pub unhealthy: Option<Unhealthy>,
    pub protected: bool,
    /// Launched beyond the desired capacity, to take the place of one in a fuller zone.
    pub newcomer: bool,
    /// Target groups this instance was registered with by the group.
    pub registered: BTreeSet<String>,
    /// Launched while AddToLoadBalancer was suspended: stays unregistered.
    pub unregistered: bool,
    /// Key of the activity that is going on for it.
    pub activity: Option<String>,
    /// EC2 was asked to terminate it.
    pub terminated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    Pending,
    InService,
    Terminating,
}

impl Lifecycle {
    pub fn name(self) -> &'static str {
        match self {
            Lifecycle::Pending => "Pending",
            Lifecycle::InService => "InService",
            Lifecycle::Terminating => "Terminating",
        }
    }
}

/// Why an instance counts as unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unhealthy {
    /// EC2 says it is not running, or knows it no more.
    NotRunning,
    /// EC2's status checks fail.
    Impaired,
    /// A load balancer's health check fails.
    Elb,
    /// The user said so.
    User,
}

impl Member {
    pub fn is_active(&self) -> bool {
        self.lifecycle != Lifecycle::Terminating
    }

    pub fn key_of(account: &str, region: &str, instance_id: &str) -> String {
        format!("{account}/{region}/{instance_id}")
    }
}

impl store::Record for Member {
    const TABLE: &'static str = "autoscaling_members";
    fn key(&self) -> String {
        Member::key_of(&self.account, &self.region, &self.instance_id)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    pub account: String,
    pub region: String,
    pub id: String,
    pub group: String,
    pub group_uuid: String,
    pub description: String,
    pub cause: String,
    pub start: Timestamp,
    pub end: Option<Timestamp>,
    pub status: ActivityStatus,
    pub status_message: Option<String>,
    pub progress: i32,
    /// JSON, as AWS has it: `{"Subnet ID":"…","Availability Zone":"…"}`.
    pub details: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActivityStatus {
    PreInService,
    InProgress,
    WaitingForELBConnectionDraining,
    Successful,
    Failed,
    Cancelled,
}

impl ActivityStatus {
    pub fn name(self) -> &'static str {
        match self {
            ActivityStatus::PreInService => "PreInService",
            ActivityStatus::InProgress => "InProgress",
            ActivityStatus::WaitingForELBConnectionDraining => "WaitingForELBConnectionDraining",
            ActivityStatus::Successful => "Successful",
            ActivityStatus::Failed => "Failed",
            ActivityStatus::Cancelled => "Cancelled",
        }
    }
}

impl Activity {
    pub fn group_arn(&self) -> String {
        let resource =
            format!("autoScalingGroup:{}:autoScalingGroupName/{}", self.group_uuid, self.group);
        crate::arn::arn("autoscaling", &self.region, &self.account, &resource)
    }

    /// What the keys of all activities of one group begin with.
    pub fn prefix(account: &str, region: &str, group_uuid: &str) -> String {
        format!("{account}/{region}/{group_uuid}/")
    }
}

impl store::Record for Activity {
    const TABLE: &'static str = "autoscaling_activities";
    /// In a group by time, the oldest first.
    fn key(&self) -> String {
        let prefix = Activity::prefix(&self.account, &self.region, &self.group_uuid);
        format!("{prefix}{:016}/{}", self.start.0, self.id)
    }
}

/// A target tracking policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub account: String,
    pub region: String,
    pub group: String,
    pub name: String,
    pub uuid: String,
    pub enabled: bool,
    pub warmup_seconds: Option<i32>,
    pub metric: PolicyMetric,
    pub target: f64,
    pub disable_scale_in: bool,
    /// Names of its alarms: above target, below 90 percent of it (none when scale-in is off).
    pub alarm_high: String,
    pub alarm_low: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PolicyMetric {
    AverageCpu,
    /// `app/NAME/ID/targetgroup/NAME/ID`
    RequestCountPerTarget {
        resource_label: String,
    },
}

impl Policy {
    pub fn arn(&self) -> String {
        let resource = format!(
            "scalingPolicy:{}:autoScalingGroupName/{}:policyName/{}",
            self.uuid, self.group, self.name
        );
        crate::arn::arn("autoscaling", &self.region, &self.account, &resource)
    }

    pub fn prefix(account: &str, region: &str, group: &str) -> String {
        // A group's name holds no colon, so that no group's prefix begins another's.
        format!("{account}/{region}/{group}:")
    }

    pub fn warmup(&self, group: &Group) -> Duration {
        self.warmup_seconds.map_or_else(|| group.warmup(), seconds)
    }
}

impl store::Record for Policy {
    const TABLE: &'static str = "autoscaling_policies";
    fn key(&self) -> String {
        let prefix = Policy::prefix(&self.account, &self.region, &self.group);
        format!("{prefix}{}", self.name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! Plain records for the tests of the pure parts.

    use super::*;

    pub(crate) fn group() -> Group {
        let zones = ["us-east-1a", "us-east-1b", "us-east-1c"];
        Group {
            placement_group: None,
            reservations: None,
            account: "123456789012".into(),
            region: "us-east-1".into(),
            name: "web".into(),
            uuid: "u".into(),
            created: Timestamp(0),
            min: 0,
            max: 10,
            desired: 3,
            default_cooldown_seconds: 300,
            places: zones
                .iter()
                .map(|zone| Place { zone: (*zone).into(), subnet_id: format!("subnet-{zone}") })
                .collect(),
            by_subnet: false,
            launch_template: template(),
            target_groups: vec![],
            elb_health: false,
            grace_seconds: 0,
            new_instances_protected: false,
            termination_policies: vec![TerminationPolicy::Default],
            max_instance_lifetime_seconds: None,
            default_warmup_seconds: None,
            suspended: BTreeMap::new(),
            tags: BTreeMap::new(),
            deleting: None,
            change: None,
            last_scaled: None,
            backoff: BTreeMap::new(),
        }
    }

    fn template() -> LaunchTemplate {
        LaunchTemplate { id: "lt-1".into(), name: "web".into(), version: None }
    }

    pub(crate) fn member(instance_id: &str, zone: &str) -> Member {
        Member {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            instance_id: instance_id.into(),
            group: "web".into(),
            zone: zone.into(),
            instance_type: "t3.micro".into(),
            image_id: "ami-1".into(),
            template: template(),
            template_version: 1,
            launched: Timestamp(0),
            lifecycle: Lifecycle::Pending,
            in_service_since: None,
            unhealthy: None,
            protected: false,
            newcomer: false,
            registered: BTreeSet::new(),
            unregistered: false,
            activity: None,
            terminated: false,
        }
    }

    pub(crate) fn policy(name: &str, target: f64) -> Policy {
        Policy {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            group: "web".into(),
            name: name.into(),
            uuid: "u".into(),
            enabled: true,
            warmup_seconds: None,
            metric: PolicyMetric::AverageCpu,
            target,
            disable_scale_in: false,
            alarm_high: format!("TargetTracking-web-AlarmHigh-{name}"),
            alarm_low: Some(format!("TargetTracking-web-AlarmLow-{name}")),
        }
    }
}

//! What a balancer is told (`Snapshot`) and what it tells (`Report`). Both cross a Unix socket as
//! JSON; a snapshot is whole and replaces the one before, counters and connections live on by id.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Grows with every change; a report says which one is in force.
    pub version: u64,
    pub listeners: Vec<Listener>,
    /// By id, as `Action::Forward` names them.
    pub target_groups: BTreeMap<String, TargetGroup>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    pub id: String,
    /// Where it listens: one per address of this zone's node (private in the network, public on the host).
    pub binds: Vec<Bind>,
    /// Blocks of clients that may connect on the host's side; within a network that is the network's to
    /// decide. Others are reset.
    pub admits: Vec<(Ipv4Addr, u8)>,
    /// First match wins: already sorted by priority, the default rule last, with no conditions.
    pub rules: Vec<Rule>,
    pub idle_timeout_ms: u64,
    pub client_keep_alive_ms: u64,
    pub forwarded_for: ForwardedFor,
    /// X-Forwarded-For carries the client's port too.
    pub forwarded_for_port: bool,
    pub preserve_host_header: bool,
    /// Header names outside of `[-A-Za-z0-9]+` are dropped before forwarding.
    pub drop_invalid_header_fields: bool,
    pub desync_mode: DesyncMode,
    /// Answer `server: awselb/2.0` when the target gave none of its own is AWS's way; false leaves it out.
    pub server_header: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bind {
    /// The fabric network whose namespace holds the socket; `None` is the host's.
    pub network: Option<String>,
    pub address: SocketAddrV4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardedFor {
    Append,
    Preserve,
    Remove,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DesyncMode {
    Monitor,
    Defensive,
    Strictest,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub id: String,
    /// All must hold. Empty: always.
    pub conditions: Vec<Condition>,
    pub action: Action,
}

/// Any of the values must match. Patterns: `*` any run, `?` any one character.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Condition {
    /// Case-insensitive.
    Host(Vec<String>),
    /// Case-sensitive, without the query.
    Path(Vec<String>),
    /// Name and value pattern; value case-insensitive.
    Header { name: String, values: Vec<String> },
    /// Exact, case-sensitive.
    Method(Vec<String>),
    /// Key (or any) and value, patterns, case-insensitive.
    Query(Vec<(Option<String>, String)>),
    /// CIDR blocks: address and prefix length.
    SourceIp(Vec<(Ipv4Addr, u8)>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Weighted choice among groups; a group without targets is skipped only if its weight is 0.
    Forward {
        groups: Vec<(String, u32)>,
        stickiness_seconds: Option<u32>,
    },
    FixedResponse {
        status: u16,
        content_type: Option<String>,
        body: String,
    },
    /// `#{protocol}`, `#{host}`, `#{port}`, `#{path}`, `#{query}` are filled in.
    Redirect {
        status: u16,
        protocol: String,
        host: String,
        port: String,
        path: String,
        query: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// The network the targets are dialed in, and the address they are dialed from.
    pub network: String,
    pub source: Ipv4Addr,
    pub algorithm: Algorithm,
    pub targets: Vec<Target>,
    pub health_check: Option<HealthCheck>,
    /// Load-balancer cookie (`AWSALB`) and how long it lasts.
    pub stickiness_seconds: Option<u32>,
    /// Targets ramp up linearly over this time; 0 is off.
    pub slow_start_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    RoundRobin,
    LeastOutstandingRequests,
    WeightedRandom,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The caller's name for it (instance id and port), stable.
    pub id: String,
    pub address: SocketAddrV4,
    /// Gets no new requests (but sticky ones neither); those in flight end by themselves.
    pub draining: bool,
    /// Whether this node may send to it (its zone, or cross-zone is on). Health is checked all the same.
    pub eligible: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub path: String,
    /// `None`: the target's own port.
    pub port: Option<u16>,
    /// Already scaled by the cloud's clock.
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    /// Ranges of status codes, both ends included.
    pub matcher: Vec<(u16, u16)>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The snapshot in force.
    pub version: u64,
    /// Binds that could not be opened, and why.
    pub bind_errors: Vec<(Bind, String)>,
    /// By target group, then target id.
    pub health: BTreeMap<String, BTreeMap<String, TargetHealth>>,
    /// By target group, since this process began.
    pub counters: BTreeMap<String, Counters>,
    /// By listener: what was answered without a target.
    pub listener_counters: BTreeMap<String, ListenerCounters>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetHealth {
    pub state: HealthState,
    /// Requests in flight to this target from this node; a draining one with none is done.
    pub in_flight: u64,
    pub requests: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthState {
    /// Not enough checks yet.
    Initial,
    Healthy,
    Unhealthy(Cause),
    /// The group has no health check.
    Unchecked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    Timeout,
    ConnectionFailed,
    /// The status it answered.
    Status(u16),
    /// The answer was not HTTP.
    Protocol,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub requests: u64,
    /// From targets, by class.
    pub target_2xx: u64,
    pub target_3xx: u64,
    pub target_4xx: u64,
    pub target_5xx: u64,
    /// Connections to targets that failed.
    pub connection_errors: u64,
    /// Sum over answered requests, from the last byte sent to the first of the answer.
    pub target_response_time_us: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerCounters {
    pub requests: u64,
    pub elb_3xx: u64,
    pub elb_4xx: u64,
    pub elb_500: u64,
    pub elb_502: u64,
    pub elb_503: u64,
    pub elb_504: u64,
    pub active_connections: u64,
    pub new_connections: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
}

//! What is known of an instance. `desired` is what users asked for, `observed` what the controller
//! saw; the state EC2 shows is computed from both in `state`.
//!
//! Tags are not here: all of EC2's live in one table (`ec2::tag`).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ec2::capacity_reservation::Specification;
use crate::ec2::image::model::RootDevice;
use crate::ec2::placement_group::Member;
use crate::ec2::volume::mapping::Ephemeral;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub account: String,
    pub region: String,
    /// `i-…`
    pub id: String,
    pub reservation_id: String,
    /// Its place among the instances of its reservation, from 0.
    pub launch_index: u32,
    /// The service that launched it for a user (`autoscaling.amazonaws.com`).
    pub requester: Option<String>,
    pub client_token: Option<String>,
    /// `sir-…` of a Spot Instance.
    #[serde(default)]
    pub spot_request_id: Option<String>,

    /// `us-east-1a`
    pub zone: String,
    #[serde(default)]
    pub placement_group: Option<Member>,
    /// What it wants of capacity reservations.
    #[serde(default)]
    pub capacity_reservation: Specification,
    /// `cr-…` that it is in, while it holds capacity.
    #[serde(default)]
    pub capacity_reservation_id: Option<String>,
    pub vpc_id: String,
    pub subnet_id: String,
    /// Of the primary network interface, whose record says all else of it.
    pub private_ip: Ipv4Addr,
    /// `eni-…`, the primary network interface.
    pub interface_id: String,
    /// The others, by device index.
    pub secondary_interfaces: Vec<String>,

    pub image_id: String,
    /// The image's, as they were at launch: the image may go, the instance stays.
    pub layers: Vec<compute::Layer>,
    #[serde(default)]
    pub init: compute::Init,
    pub architecture: String,
    #[serde(default)]
    pub root_device: RootDevice,
    /// Which of `layers` the storage keeps; where there is a root volume, it knows.
    #[serde(default)]
    pub frozen: Vec<String>,
    /// `vol-…`, those that it has. The bytes of the root are the driver's writable layer, over `layers`.
    pub volumes: Vec<String>,
    /// Disks of the host under names of their own.
    #[serde(default)]
    pub ephemeral: Vec<Ephemeral>,

    pub instance_type: String,
    pub key_name: Option<String>,
    /// `authorized_keys` line of `key_name`, as it was at launch.
    pub public_key: Option<String>,
    /// As it came, base64 decoded: possibly gzip.
    pub user_data: Vec<u8>,
    pub metadata: MetadataOptions,
    pub shutdown_behavior: ShutdownBehavior,
    pub disable_api_termination: bool,
    pub disable_api_stop: bool,
    /// Detailed monitoring. Every instance is measured by the minute; basic monitoring shows less of it.
    pub monitoring: bool,

    /// When it was launched, or last started.
    pub launch_time: Timestamp,
    pub created_at: Timestamp,
    pub desired: Desired,
    pub observed: Observed,
    pub reason: Option<Reason>,
    /// `User initiated (2026-01-02 03:04:05 GMT)`; empty while nothing ended it.
    pub transition_reason: String,
}

impl Instance {
    /// What it wants of capacity reservations in fact: Spot Instances are in none.
    pub fn wanted_reservation(&self) -> Specification {
        match self.spot_request_id {
            Some(_) => Specification::NONE,
            None => self.capacity_reservation.clone(),
        }
    }

    /// By device index, the primary one first.
    pub fn interface_ids(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.interface_id).chain(&self.secondary_interfaces)
    }
}

impl store::Record for Instance {
    const TABLE: &'static str = "ec2_instances";
    const VERSION: u16 = 2;

    /// 1 spoke of the root volume alone.
    fn upgrade(version: u16, mut value: serde_json::Value) -> store::Result<serde_json::Value> {
        if let (1, Some(members)) = (version, value.as_object_mut())
            && let Some(root) = members.remove("volume_id")
        {
            members.insert("volumes".to_owned(), serde_json::json!([root]));
        }
        Ok(value)
    }

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

/// What users asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    pub goal: Goal,
    /// Which boot shall be running; raised by start, reboot and recovery. Never goes down.
    pub boot: u64,
    /// The boot that launch or start asked for: pending until that or a later one was seen up.
    pub since_boot: u64,
    /// Do not wait for the guest to shut down.
    pub force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    Run,
    Stop,
    Terminate,
}

/// What the controller saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    pub phase: Phase,
    /// The newest boot that was seen up; 0 for none.
    pub boot: u64,
    pub up_since: Option<Timestamp>,
    /// Why nothing runs though something should.
    pub fault: Option<Fault>,
    pub terminated_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing seen since launch or start.
    #[default]
    New,
    Up,
    /// Nothing runs, the root volume is kept.
    Down,
    /// Nothing is left.
    Gone,
}

/// A host or a zone that let a running instance down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Of the impairment as a whole: failed recoveries do not move it.
    pub since: Timestamp,
    pub cause: Cause,
    /// The boot that ended; a later one is a recovery under way.
    pub boot: u64,
    /// When that boot ended.
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    Host,
    Zone,
}

/// EC2's `StateReason`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub code: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataOptions {
    pub tokens_required: bool,
    pub hop_limit: u8,
    pub endpoint_enabled: bool,
    pub tags_enabled: bool,
}

impl MetadataOptions {
    /// `HttpTokens`
    pub fn tokens(&self) -> &'static str {
        if self.tokens_required { "required" } else { "optional" }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShutdownBehavior {
    #[default]
    Stop,
    Terminate,
}

impl ShutdownBehavior {
    pub fn name(self) -> &'static str {
        match self {
            ShutdownBehavior::Stop => "stop",
            ShutdownBehavior::Terminate => "terminate",
        }
    }
}

/// What a client token was used for, kept as long as an instance of that launch is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientToken {
    pub account: String,
    pub region: String,
    pub token: String,
    pub reservation_id: String,
    /// SHA-256 of the request, hexadecimal.
    pub fingerprint: String,
}

impl store::Record for ClientToken {
    const TABLE: &'static str = "ec2_client_tokens";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.token)
    }
}

/// What a terminated instance's console said last, kept as long as its record is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    pub account: String,
    pub region: String,
    pub instance_id: String,
    pub output: String,
}

impl store::Record for Console {
    const TABLE: &'static str = "ec2_consoles";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.instance_id)
    }
}

/// Instances launched by one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Reservation {
    pub id: String,
    pub account: String,
    pub requester: Option<String>,
    /// By `launch_index`.
    pub instances: Vec<Instance>,
}

//! A fleet: how much, of what, and which instances are of it. EC2 Fleets and Spot Fleets are one record:
//! they differ in how they are asked for, in whose name they act, and in some words.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ec2::catalog::select::Requirements;
use crate::ec2::client_token::ClientToken;
use crate::ec2::instance::launch::{Launch, Template};
use crate::ec2::placement_group::Named;
use crate::ec2::spot::model::Behavior;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    pub account: String,
    pub region: String,
    /// `fleet-…` or `sfr-…`, and a UUID
    pub id: String,
    pub created_at: Timestamp,
    pub wanted: Wanted,
    pub client_token: Option<ClientToken>,
    pub state: State,
    pub members: Vec<Member>,
    /// Capacity that was launched ever, by its kind: what is not maintained is launched once.
    pub launched: Units,
    pub errors: Vec<Failure>,
    /// Launches that never came up, one after another, and when the next may be tried.
    #[serde(default)]
    pub failed_boots: u32,
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// Since when nothing is left of it.
    pub ended_at: Option<Timestamp>,
}

impl Fleet {
    pub fn is_spot_fleet(&self) -> bool {
        self.wanted.spot_fleet.is_some()
    }

    /// In whose name it launches.
    pub fn service(&self) -> &'static str {
        match self.is_spot_fleet() {
            true => "spotfleet.amazonaws.com",
            false => "ec2fleet.amazonaws.com",
        }
    }

    /// Its state in the words of its kind.
    pub fn state_name(&self) -> &'static str {
        self.state.name(self.is_spot_fleet())
    }

    /// Members that are not told to end.
    pub fn active(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.ending)
    }
}

/// What CreateFleet asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    pub kind: Kind,
    pub configs: Vec<Config>,
    pub target: Target,
    pub spot: Options,
    pub on_demand: Options,
    pub behavior: Behavior,
    /// `ExcessCapacityTerminationPolicy`: what is too much is terminated.
    pub terminate_excess: bool,
    pub replace_unhealthy: bool,
    pub terminate_at_end: bool,
    pub valid_from: Option<Timestamp>,
    pub valid_until: Option<Timestamp>,
    /// What RequestSpotFleet says besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_fleet: Option<SpotFleet>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpotFleet {
    /// ARN of the role it acts in.
    pub role: String,
    /// US dollars an hour for a unit of capacity, where a launch specification or override says none.
    pub max_price: Option<String>,
}

impl store::Record for Fleet {
    const TABLE: &'static str = "ec2_fleets";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Instant,
    Request,
    Maintain,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Instant => "instant",
            Kind::Request => "request",
            Kind::Maintain => "maintain",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub template: Template,
    /// Instead of a template: a launch specification of a Spot Fleet, whose price, weight and places are
    /// its one override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specification: Option<Launch>,
    /// Without any, the template alone.
    pub overrides: Vec<Override>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Override {
    pub instance_type: Option<String>,
    /// Instead of a type: every type that has these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
    pub image_id: Option<String>,
    /// One, or some with commas between.
    pub subnet_id: Option<String>,
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement_group: Option<Named>,
    /// US dollars an hour for a unit of capacity.
    pub max_price: Option<String>,
    /// The lower, the sooner.
    pub priority: Option<f64>,
    pub weight: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub total: u32,
    pub on_demand: u32,
    pub spot: u32,
    /// Of what neither number says.
    pub default: Lifecycle,
}

impl Target {
    /// With the rest as it is to be by default.
    pub fn units(&self) -> Units {
        let rest = f64::from(self.total.saturating_sub(self.on_demand + self.spot));
        let (on_demand, spot) = (f64::from(self.on_demand), f64::from(self.spot));
        match self.default {
            Lifecycle::OnDemand => Units { on_demand: on_demand + rest, spot },
            Lifecycle::Spot => Units { on_demand, spot: spot + rest },
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Units {
    pub on_demand: f64,
    pub spot: f64,
}

impl Units {
    pub fn of(&self, lifecycle: Lifecycle) -> f64 {
        match lifecycle {
            Lifecycle::OnDemand => self.on_demand,
            Lifecycle::Spot => self.spot,
        }
    }

    pub fn add(&mut self, lifecycle: Lifecycle, units: f64) {
        match lifecycle {
            Lifecycle::OnDemand => self.on_demand += units,
            Lifecycle::Spot => self.spot += units,
        }
    }

    pub fn total(&self) -> f64 {
        self.on_demand + self.spot
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    OnDemand,
    Spot,
}

impl Lifecycle {
    pub fn name(self) -> &'static str {
        match self {
            Lifecycle::OnDemand => "on-demand",
            Lifecycle::Spot => "spot",
        }
    }
}

/// `SpotOptions` and `OnDemandOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    pub strategy: Strategy,
    /// `InstancePoolsToUseCount`
    pub pools: u32,
    pub single_type: bool,
    pub single_zone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    LowestPrice,
    Diversified,
    CapacityOptimized,
    CapacityOptimizedPrioritized,
    PriceCapacityOptimized,
    Prioritized,
}

impl Strategy {
    pub fn name(self) -> &'static str {
        match self {
            Strategy::LowestPrice => "lowest-price",
            Strategy::Diversified => "diversified",
            Strategy::CapacityOptimized => "capacity-optimized",
            Strategy::CapacityOptimizedPrioritized => "capacity-optimized-prioritized",
            Strategy::PriceCapacityOptimized => "price-capacity-optimized",
            Strategy::Prioritized => "prioritized",
        }
    }
}

/// An instance of the fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub instance_id: String,
    pub instance_type: String,
    pub zone: String,
    pub subnet_id: String,
    pub lifecycle: Lifecycle,
    /// Units of capacity.
    pub weight: f64,
    pub place: Place,
    /// It was told to end: no more counted, but waited for.
    #[serde(default)]
    pub ending: bool,
    /// Its interruption notice is in the history.
    #[serde(default)]
    pub notified: bool,
}

/// Which configuration and override it came of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub config: usize,
    pub over: Option<usize>,
}

/// Why a pool gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub place: Place,
    pub lifecycle: Lifecycle,
    pub code: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Submitted,
    Active,
    /// Active, and what was changed is to be acted on.
    Modifying,
    Failed,
    /// No more are launched; those there are run on.
    DeletedRunning,
    DeletedTerminating,
    Deleted,
}

impl State {
    pub fn name(self, spot_fleet: bool) -> &'static str {
        match (self, spot_fleet) {
            (State::Submitted, _) => "submitted",
            (State::Active, _) => "active",
            (State::Modifying, _) => "modifying",
            (State::Failed, _) => "failed",
            (State::DeletedRunning, false) => "deleted_running",
            (State::DeletedRunning, true) => "cancelled_running",
            (State::DeletedTerminating, false) => "deleted_terminating",
            (State::DeletedTerminating, true) => "cancelled_terminating",
            (State::Deleted, false) => "deleted",
            (State::Deleted, true) => "cancelled",
        }
    }

    pub fn is_over(self) -> bool {
        !matches!(self, State::Submitted | State::Active | State::Modifying)
    }
}

/// One line of DescribeFleetHistory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub account: String,
    pub region: String,
    pub fleet_id: String,
    pub at: Timestamp,
    /// Tells those of a moment apart.
    pub number: u64,
    /// `instanceChange`, `fleetRequestChange`, `error` or `information`.
    pub kind: String,
    /// `launched`, `terminated`, `active`, …
    pub sub_type: String,
    pub description: String,
    pub instance_id: Option<String>,
}

impl store::Record for Event {
    const TABLE: &'static str = "ec2_fleet_events";
    fn key(&self) -> String {
        let Event { account, region, fleet_id, at, number, .. } = self;
        format!("{account}/{region}/{fleet_id}/{:015}/{number:05}", at.0)
    }
}

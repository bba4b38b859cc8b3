//! A Spot Instance request: what was asked for, what became of it, and the interruption under way.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ec2::client_token::ClientToken;
use crate::ec2::instance::launch::Launch;

/// What a launch as Spot asks for besides the instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Market {
    /// US dollars an hour, as it came; without one the on-demand price is the most that is paid.
    pub max_price: Option<String>,
    pub persistent: bool,
    pub behavior: Behavior,
    pub valid_until: Option<Timestamp>,
    /// The request that this launch fulfils; a new one is made where there is none.
    pub request_id: Option<String>,
    /// `fleet-…` or `sfr-…` that launches it.
    pub fleet_id: Option<String>,
}

/// `InstanceInterruptionBehavior`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Behavior {
    #[default]
    Terminate,
    Stop,
}

impl Behavior {
    pub fn name(self) -> &'static str {
        match self {
            Behavior::Terminate => "terminate",
            Behavior::Stop => "stop",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpotRequest {
    pub account: String,
    pub region: String,
    /// `sir-…`
    pub id: String,
    pub created_at: Timestamp,
    pub valid_from: Option<Timestamp>,
    pub market: Market,
    /// One instance; its template merged in.
    pub launch: Launch,
    pub instance_type: String,
    pub client_token: Option<ClientToken>,

    pub state: State,
    pub status: Status,
    pub instance_id: Option<String>,
    /// Where the instance is, or was.
    pub zone: Option<String>,
    pub interruption: Option<Interruption>,
    /// When the instance was last said to be at risk.
    pub rebalance: Option<Timestamp>,
    /// Since when nothing can become of it any more.
    pub ended_at: Option<Timestamp>,
}

impl SpotRequest {
    pub fn kind(&self) -> &'static str {
        if self.market.persistent { "persistent" } else { "one-time" }
    }
}

impl store::Record for SpotRequest {
    const TABLE: &'static str = "ec2_spot_requests";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Open,
    Active,
    /// Its instance is stopped.
    Disabled,
    Closed,
    Cancelled,
    Failed,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Active => "active",
            State::Disabled => "disabled",
            State::Closed => "closed",
            State::Cancelled => "cancelled",
            State::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `fulfilled`, `price-too-low`, …
    pub code: String,
    pub message: String,
    pub at: Timestamp,
}

/// Why an instance is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The market's price is above what the request pays.
    Price,
    Capacity,
    /// `drover spot interrupt`, or an experiment.
    Asked,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    pub cause: Cause,
    /// When the two-minute notice is given.
    pub notice_at: Timestamp,
    /// When the instance is terminated or stopped.
    pub at: Timestamp,
    /// The notice is out.
    pub noticed: bool,
    /// The instance was told to end.
    pub done: bool,
}

//! A capacity reservation, and what an instance wants of them.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ec2::client_token::ClientToken;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityReservation {
    pub account: String,
    pub region: String,
    /// `cr-…`
    pub id: String,
    pub zone: String,
    pub instance_type: String,
    /// `TotalInstanceCount`
    pub count: u32,
    /// For those alone that name it; else for all that match.
    pub targeted: bool,
    /// `None`: until it is cancelled.
    pub end: Option<Timestamp>,
    pub created_at: Timestamp,
    pub state: State,
    /// When it expired or was cancelled.
    pub ended_at: Option<Timestamp>,
    pub client_token: Option<ClientToken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Active,
    Expired,
    Cancelled,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Expired => "expired",
            State::Cancelled => "cancelled",
        }
    }
}

impl CapacityReservation {
    pub fn arn(&self) -> String {
        let resource = format!("capacity-reservation/{}", self.id);
        crate::arn::arn("ec2", &self.region, &self.account, &resource)
    }

    /// `InstanceMatchCriteria`
    pub fn criteria(&self) -> &'static str {
        if self.targeted { "targeted" } else { "open" }
    }

    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// Whether it is for instances of this zone and type that want this.
    pub fn takes(&self, zone: &str, instance_type: &str, wanted: &Specification) -> bool {
        let meant = match &wanted.target {
            Some(id) => *id == self.id,
            None => !self.targeted && wanted.preference != Some(Preference::None),
        };
        self.is_active() && meant && self.zone == zone && self.instance_type == instance_type
    }
}

impl store::Record for CapacityReservation {
    const TABLE: &'static str = "ec2_capacity_reservations";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

/// `CapacityReservationSpecification`. Nothing said: any open reservation that matches, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Specification {
    pub preference: Option<Preference>,
    /// `cr-…`
    pub target: Option<String>,
}

impl Specification {
    /// As Spot Instances have it.
    pub const NONE: Specification =
        Specification { preference: Some(Preference::None), target: None };

    /// Whether nothing else will do than a reservation.
    pub fn insists(&self) -> bool {
        self.target.is_some() || self.preference == Some(Preference::Only)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preference {
    Open,
    None,
    Only,
}

impl Preference {
    pub const ALL: [Preference; 3] = [Preference::Open, Preference::None, Preference::Only];

    pub fn name(self) -> &'static str {
        match self {
            Preference::Open => "open",
            Preference::None => "none",
            Preference::Only => "capacity-reservations-only",
        }
    }
}

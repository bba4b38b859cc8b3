//! What is metered: one thing that costs something, from when to when.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::tag::Tags;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    pub account: String,
    pub region: String,
    /// Its id, or its ARN.
    pub resource: String,
    pub usage: Usage,
    /// As they were last.
    pub tags: Tags,
    pub from: Timestamp,
    /// `None` while it goes on.
    pub to: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Usage {
    Instance {
        instance_type: String,
        zone: String,
        spot: bool,
    },
    /// What a capacity reservation holds for instances that it has not.
    Reservation {
        instance_type: String,
        zone: String,
        unused: u32,
    },
    Volume {
        volume_type: String,
        zone: String,
        size_gib: u32,
        iops: u32,
        throughput: u32,
    },
    Address,
    ApplicationBalancer,
    NatGateway,
    /// An interface endpoint, in so many zones.
    Endpoint {
        zones: u32,
    },
}

impl Usage {
    fn kind(&self) -> &'static str {
        match self {
            Usage::Instance { .. } => "instance",
            Usage::Reservation { .. } => "reservation",
            Usage::Volume { .. } => "volume",
            Usage::Address => "address",
            Usage::ApplicationBalancer => "balancer",
            Usage::NatGateway => "nat",
            Usage::Endpoint { .. } => "endpoint",
        }
    }
}

impl Span {
    /// One for each thing at a time.
    pub fn key(&self) -> String {
        let Span { account, region, resource, usage, .. } = self;
        format!("{account}/{region}/{}/{resource}", usage.kind())
    }
}

/// One that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open(pub Span);

impl store::Record for Open {
    const TABLE: &'static str = "cost_open";
    fn key(&self) -> String {
        self.0.key()
    }
}

/// One that is over, and stays in the bill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closed(pub Span);

impl store::Record for Closed {
    const TABLE: &'static str = "cost_closed";
    fn key(&self) -> String {
        format!("{}/{:015}", self.0.key(), self.0.from.0)
    }
}

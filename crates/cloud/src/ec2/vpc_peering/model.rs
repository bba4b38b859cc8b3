//! A peering between two VPCs.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ec2::vpc::Cidr;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcPeering {
    pub account: String,
    /// `pcx-…`
    pub id: String,
    pub requester: Side,
    pub accepter: Side,
    pub state: State,
    /// When it came to this state.
    pub since: Timestamp,
    /// When a request that nobody answers expires.
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    pub region: String,
    pub vpc_id: String,
    /// The VPC's blocks, as they were when the peering was asked for.
    pub blocks: Vec<Cidr>,
    /// `AllowDnsResolutionFromRemoteVpc`: public names of this VPC are private addresses in the other one.
    pub allow_dns: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    PendingAcceptance,
    Active,
    Rejected,
    Deleted,
    Expired,
    Failed,
}

impl VpcPeering {
    pub fn has_region(&self, region: &str) -> bool {
        self.requester.region == region || self.accepter.region == region
    }

    /// Whether the two are joined now.
    pub fn joins(&self, one: &str, other: &str) -> bool {
        self.state == State::Active && self.other(one).is_some_and(|side| side.vpc_id == other)
    }

    /// The other side, seen from a VPC.
    pub fn other(&self, vpc_id: &str) -> Option<&Side> {
        if self.requester.vpc_id == vpc_id {
            Some(&self.accepter)
        } else if self.accepter.vpc_id == vpc_id {
            Some(&self.requester)
        } else {
            None
        }
    }
}

impl store::Record for VpcPeering {
    const TABLE: &'static str = "ec2_vpc_peerings";
    /// Both regions see it.
    fn key(&self) -> String {
        format!("{}/{}", self.account, self.id)
    }
}

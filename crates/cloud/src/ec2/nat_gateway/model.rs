//! A NAT gateway.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ec2::client_token::ClientToken;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    pub account: String,
    pub region: String,
    /// `nat-…`
    pub id: String,
    pub vpc_id: String,
    pub subnet_id: String,
    pub interface_id: String,
    pub private_ip: Ipv4Addr,
    /// `None`: a private gateway.
    pub elastic: Option<Elastic>,
    pub state: State,
    pub created_at: Timestamp,
    /// When it was to be deleted, or failed.
    pub ended_at: Option<Timestamp>,
    pub client_token: Option<ClientToken>,
}

/// The elastic address of a gateway's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elastic {
    pub allocation_id: String,
    /// `eipassoc-…`
    pub association_id: String,
    pub public_ip: Ipv4Addr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Pending,
    Available,
    Failed,
    Deleting,
    Deleted,
}

impl NatGateway {
    /// `ConnectivityType`
    pub fn connectivity(&self) -> &'static str {
        if self.elastic.is_some() { "public" } else { "private" }
    }
}

impl store::Record for NatGateway {
    const TABLE: &'static str = "ec2_nat_gateways";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

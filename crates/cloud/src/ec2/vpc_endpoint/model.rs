//! A VPC endpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ec2::client_token::ClientToken;
use crate::iam::Document;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcEndpoint {
    pub account: String,
    pub region: String,
    /// `vpce-…`
    pub id: String,
    pub vpc_id: String,
    /// `s3`, `sts`, …
    pub service: String,
    /// `None`: everything for everyone.
    pub policy: Option<Document>,
    /// `None`: a gateway endpoint.
    pub interface: Option<Interface>,
    pub created_at: Timestamp,
    pub client_token: Option<ClientToken>,
}

/// What an interface endpoint is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Ids of its network interfaces, by those of their subnets, each of which is in another zone.
    pub interfaces: BTreeMap<String, String>,
    /// Of its network interfaces; ids, sorted.
    pub groups: Vec<String>,
    /// The service's own names lead to it, in its VPC.
    pub private_dns: bool,
    /// Tells its names from those of an earlier endpoint; eight digits.
    pub label: String,
    /// Its network was told of it.
    pub available: bool,
}

impl VpcEndpoint {
    /// `com.amazonaws.us-east-1.s3`
    pub fn service_name(&self) -> String {
        format!("com.amazonaws.{}.{}", self.region, self.service)
    }

    /// `VpcEndpointType`
    pub fn kind(&self) -> &'static str {
        if self.interface.is_some() { "Interface" } else { "Gateway" }
    }

    pub fn state(&self) -> &'static str {
        match &self.interface {
            Some(Interface { available: false, .. }) => "pending",
            _ => "available",
        }
    }
}

impl store::Record for VpcEndpoint {
    const TABLE: &'static str = "ec2_vpc_endpoints";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

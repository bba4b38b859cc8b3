//! A gateway endpoint.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ec2::client_token::ClientToken;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcEndpoint {
    pub account: String,
    pub region: String,
    /// `vpce-…`
    pub id: String,
    pub vpc_id: String,
    /// `s3` or `dynamodb`
    pub service: String,
    pub created_at: Timestamp,
    pub client_token: Option<ClientToken>,
}

impl VpcEndpoint {
    /// `com.amazonaws.us-east-1.s3`
    pub fn service_name(&self) -> String {
        format!("com.amazonaws.{}.{}", self.region, self.service)
    }
}

impl store::Record for VpcEndpoint {
    const TABLE: &'static str = "ec2_vpc_endpoints";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

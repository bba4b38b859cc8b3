//! An internet gateway.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetGateway {
    pub account: String,
    pub region: String,
    /// `igw-…`
    pub id: String,
    /// The VPC it is attached to.
    pub vpc_id: Option<String>,
}

impl store::Record for InternetGateway {
    const TABLE: &'static str = "ec2_internet_gateways";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

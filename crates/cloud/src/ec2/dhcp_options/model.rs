//! A set of DHCP options.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpOptions {
    pub account: String,
    pub region: String,
    /// `dopt-…`
    pub id: String,
    /// In the order of the request, each key once.
    pub configurations: Vec<Configuration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// `domain-name`, …
    pub key: String,
    pub values: Vec<String>,
}

impl DhcpOptions {
    pub fn values(&self, key: &str) -> &[String] {
        let found = self.configurations.iter().find(|configuration| configuration.key == key);
        found.map_or(&[], |configuration| &configuration.values)
    }
}

impl store::Record for DhcpOptions {
    const TABLE: &'static str = "ec2_dhcp_options";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

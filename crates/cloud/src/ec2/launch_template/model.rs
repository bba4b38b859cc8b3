//! A launch template and its versions.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::ec2::instance::launch::Launch;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplate {
    pub account: String,
    pub region: String,
    /// `lt-…`
    pub id: String,
    /// Unique in the region.
    pub name: String,
    pub created_at: Timestamp,
    pub created_by: String,
    pub default_version: u64,
    /// The highest number ever given to a version.
    pub last_number: u64,
    pub client_token: Option<String>,
}

impl store::Record for LaunchTemplate {
    const TABLE: &'static str = "ec2_launch_templates";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub account: String,
    pub region: String,
    pub template_id: String,
    pub number: u64,
    pub description: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub client_token: Option<String>,
    pub launch: Launch,
}

impl Version {
    /// Numbers sort in it as numbers do.
    pub fn key_of(account: &str, region: &str, template_id: &str, number: u64) -> String {
        format!("{account}/{region}/{template_id}/{number:010}")
    }
}

impl store::Record for Version {
    const TABLE: &'static str = "ec2_launch_template_versions";
    fn key(&self) -> String {
        Version::key_of(&self.account, &self.region, &self.template_id, self.number)
    }
}

/// Which version is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Default,
    Latest,
    Number(u64),
}

impl std::str::FromStr for Which {
    type Err = ();

    fn from_str(text: &str) -> Result<Which, ()> {
        match text {
            "$Default" => Ok(Which::Default),
            "$Latest" => Ok(Which::Latest),
            number => number.parse().map(Which::Number).map_err(|_| ()),
        }
    }
}

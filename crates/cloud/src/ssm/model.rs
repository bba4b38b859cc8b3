//! A parameter and its versions.
//!
//! Invariants: a parameter's newest version exists; its labels name versions that exist; at most
//! `MAX_VERSIONS` versions exist.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::tag::Tags;

/// AWS keeps this many; a new version drops the oldest.
pub const MAX_VERSIONS: usize = 100;

/// The key that SecureStrings are under unless a request names one. There is no other here.
pub const DEFAULT_KEY_ID: &str = "alias/aws/ssm";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    pub account: String,
    pub region: String,
    pub name: String,
    /// The newest version.
    pub version: i64,
    /// Label to version.
    pub labels: BTreeMap<String, i64>,
    pub tags: Tags,
}

impl store::Record for Parameter {
    const TABLE: &'static str = "ssm_parameters";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub account: String,
    pub region: String,
    pub name: String,
    pub version: i64,
    pub kind: Kind,
    /// In clear, or for a SecureString the sealed text in base64.
    pub value: String,
    pub description: Option<String>,
    pub allowed_pattern: Option<String>,
    pub tier: Tier,
    pub data_type: String,
    pub modified_at: Timestamp,
    /// ARN of who wrote it.
    pub modified_by: String,
}

impl Version {
    /// What the keys of a parameter's versions begin with; names have no colons.
    pub fn prefix(parameter_key: &str) -> String {
        format!("{parameter_key}:")
    }

    /// Of a SecureString only.
    pub fn key_id(&self) -> Option<&'static str> {
        (self.kind == Kind::SecureString).then_some(DEFAULT_KEY_ID)
    }
}

impl store::Record for Version {
    const TABLE: &'static str = "ssm_parameter_versions";
    fn key(&self) -> String {
        let parameter_key = format!("{}/{}/{}", self.account, self.region, self.name);
        format!("{}{:019}", Version::prefix(&parameter_key), self.version)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    String,
    StringList,
    SecureString,
}

impl Kind {
    pub fn parse(text: &str) -> Option<Kind> {
        [Kind::String, Kind::StringList, Kind::SecureString]
            .into_iter()
            .find(|k| k.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::String => "String",
            Kind::StringList => "StringList",
            Kind::SecureString => "SecureString",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    Standard,
    Advanced,
}

impl Tier {
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Standard => "Standard",
            Tier::Advanced => "Advanced",
        }
    }

    /// Bytes a value may have.
    pub fn max_bytes(self) -> usize {
        match self {
            Tier::Standard => 4096,
            Tier::Advanced => 8192,
        }
    }
}

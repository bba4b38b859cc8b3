//! The association of an instance with an instance profile.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Exists while the instance has a profile; an instance has one at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    pub account: String,
    pub region: String,
    pub instance_id: String,
    /// `iip-assoc-…`
    pub id: String,
    pub profile: Found,
    pub since: Timestamp,
    /// `since` in the host's time, by which credentials come and go.
    pub offered_from: Timestamp,
}

/// An instance profile as an association refers to it: it may be deleted, even made anew, since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub arn: String,
    /// `AIPA…`
    pub id: String,
    pub name: String,
}

impl store::Record for Association {
    const TABLE: &'static str = "ec2_instance_profile_associations";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.instance_id)
    }
}

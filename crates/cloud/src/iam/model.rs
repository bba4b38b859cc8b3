//! What IAM stores. Everything is global: keys begin with the account and know no region.
//!
//! Users, groups and roles are one record, `Identity`: policies, attachments, boundaries and tags are
//! the same for each. Names are unique regardless of case.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::document::Document;
use crate::tag::Tags;
use crate::{Timestamp, arn};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    User,
    Group,
    Role,
}

impl Kind {
    /// As ARNs and error messages spell it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Group => "group",
            Kind::Role => "role",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::Group => "Group",
            Kind::Role => "Role",
        }
    }

    /// What its unique ids begin with.
    pub fn id_prefix(self) -> &'static str {
        match self {
            Kind::User => "AIDA",
            Kind::Group => "AGPA",
            Kind::Role => "AROA",
        }
    }

    /// How many bytes all inline policies may have together.
    pub fn inline_quota(self) -> usize {
        match self {
            Kind::User => 2048,
            Kind::Group => 5120,
            Kind::Role => 10_240,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub account: String,
    pub kind: Kind,
    pub name: String,
    /// `/` or `/a/b/`
    pub path: String,
    /// `AIDA…`, `AGPA…`, `AROA…`
    pub id: String,
    pub created_at: Timestamp,
    pub tags: Tags,
    /// ARN of the policy that bounds it.
    pub boundary: Option<String>,
    /// ARNs of managed policies.
    pub attached: BTreeSet<String>,
    /// By name.
    pub inline: BTreeMap<String, Document>,
    /// Names of the groups that a user is in.
    pub groups: BTreeSet<String>,
    /// Of roles only.
    pub role: Option<Role>,
}

/// What a role has beyond other identities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    pub trust: Document,
    pub description: Option<String>,
    pub max_session_seconds: i32,
    /// The service (`autoscaling.amazonaws.com`) that a service-linked role is linked to.
    pub service: Option<String>,
}

impl Identity {
    pub fn key_of(account: &str, kind: Kind, name: &str) -> String {
        format!("{account}/{}/{}", kind.word(), name.to_lowercase())
    }

    pub fn arn(&self) -> String {
        arn_of(&self.account, self.kind.word(), &self.path, &self.name)
    }
}

impl store::Record for Identity {
    const TABLE: &'static str = "iam_identities";
    fn key(&self) -> String {
        Identity::key_of(&self.account, self.kind, &self.name)
    }
}

/// `arn:aws:iam::ACCOUNT:KIND/path/NAME`
pub fn arn_of(account: &str, kind: &str, path: &str, name: &str) -> String {
    arn::arn("iam", "", account, &format!("{kind}{path}{name}"))
}

/// A policy that customers manage. AWS's own are data of the `policy` crate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManagedPolicy {
    pub account: String,
    pub name: String,
    pub path: String,
    /// `ANPA…`
    pub id: String,
    pub description: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub tags: Tags,
    pub default_version: u32,
    /// The highest number ever given to a version.
    pub last_version: u32,
    pub versions: BTreeMap<u32, PolicyVersion>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyVersion {
    pub document: Document,
    pub created_at: Timestamp,
}

impl ManagedPolicy {
    pub fn key_of(account: &str, name: &str) -> String {
        format!("{account}/{}", name.to_lowercase())
    }

    pub fn arn(&self) -> String {
        arn_of(&self.account, "policy", &self.path, &self.name)
    }

    pub fn default_document(&self) -> &Document {
        &self.versions[&self.default_version].document
    }
}

impl store::Record for ManagedPolicy {
    const TABLE: &'static str = "iam_policies";
    fn key(&self) -> String {
        ManagedPolicy::key_of(&self.account, &self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceProfile {
    pub account: String,
    pub name: String,
    pub path: String,
    /// `AIPA…`
    pub id: String,
    pub created_at: Timestamp,
    pub tags: Tags,
    /// Name of its role.
    pub role: Option<String>,
}

impl InstanceProfile {
    pub fn key_of(account: &str, name: &str) -> String {
        format!("{account}/{}", name.to_lowercase())
    }

    pub fn arn(&self) -> String {
        arn_of(&self.account, "instance-profile", &self.path, &self.name)
    }
}

impl store::Record for InstanceProfile {
    const TABLE: &'static str = "iam_instance_profiles";
    fn key(&self) -> String {
        InstanceProfile::key_of(&self.account, &self.name)
    }
}

/// A long-term key of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessKey {
    /// `AKIA…`
    pub id: String,
    pub account: String,
    /// The user's name.
    pub user: String,
    /// Sealed for `id`.
    pub secret: Vec<u8>,
    pub active: bool,
    pub created_at: Timestamp,
}

impl store::Record for AccessKey {
    const TABLE: &'static str = "iam_access_keys";
    fn key(&self) -> String {
        self.id.clone()
    }
}

/// When an access key or a role was last used; apart from them, so that using changes nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUsed {
    /// The access key's id or the role's unique id.
    pub id: String,
    pub at: Timestamp,
    pub region: String,
    /// The signing name: `ec2`.
    pub service: String,
}

impl store::Record for LastUsed {
    const TABLE: &'static str = "iam_last_used";
    fn key(&self) -> String {
        self.id.clone()
    }
}

/// The account's alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    pub account: String,
    pub alias: String,
}

impl store::Record for Alias {
    const TABLE: &'static str = "iam_aliases";
    fn key(&self) -> String {
        self.account.clone()
    }
}

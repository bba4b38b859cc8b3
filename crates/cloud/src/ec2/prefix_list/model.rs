//! A prefix list with all its versions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ec2::client_token::ClientToken;
use crate::ec2::vpc::Cidr;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixList {
    /// `AWS` for one of its own.
    pub account: String,
    pub region: String,
    /// `pl-…`
    pub id: String,
    pub name: String,
    pub max_entries: usize,
    /// Every version's entries in the order of their blocks, by number. The last is in force.
    pub versions: BTreeMap<i64, Vec<Entry>>,
    pub last_act: Act,
    pub client_token: Option<ClientToken>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub block: Cidr,
    pub description: Option<String>,
}

/// What was done last; done at once, so always complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    Create,
    Modify,
    Restore,
}

pub const AWS: &str = "AWS";

impl PrefixList {
    pub fn is_aws_managed(&self) -> bool {
        self.account == AWS
    }

    pub fn version(&self) -> i64 {
        self.versions.last_key_value().map_or(0, |(number, _)| *number)
    }

    pub fn entries(&self) -> &[Entry] {
        self.versions.last_key_value().map_or(&[], |(_, entries)| entries)
    }

    pub fn state(&self) -> &'static str {
        match self.last_act {
            Act::Create => "create-complete",
            Act::Modify => "modify-complete",
            Act::Restore => "restore-complete",
        }
    }
}

impl store::Record for PrefixList {
    const TABLE: &'static str = "ec2_prefix_lists";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

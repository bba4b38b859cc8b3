//! A key pair as it is kept: without the private half.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    pub account: String,
    pub region: String,
    /// `key-…`
    pub id: String,
    /// Unique in the region.
    pub name: String,
    pub kind: Kind,
    pub fingerprint: String,
    /// An `authorized_keys` line; its comment is the key's name, as AWS has it.
    pub public_key: String,
    pub created_at: Timestamp,
}

impl store::Record for KeyPair {
    const TABLE: &'static str = "ec2_key_pairs";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Rsa,
    Ed25519,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Rsa => "rsa",
            Kind::Ed25519 => "ed25519",
        }
    }
}

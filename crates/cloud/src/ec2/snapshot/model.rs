//! A snapshot.
//!
//! ```text
//!   waits for its instance ──► taking ──► taken ──► completed
//!          (CreateImage)         │                     ▲
//!              filling (EBS direct APIs) ──────────────┘
//!                                └──► failed
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ec2::client_token::ClientToken;
use crate::ec2::volume::Content;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub account: String,
    pub region: String,
    /// `snap-…`, also its name in the storage.
    pub id: String,
    /// What it was taken of; copies and those that were uploaded say `vol-ffffffff`.
    pub volume_id: String,
    pub size_gib: u32,
    pub description: String,
    /// The same for all that hold one disk at different times.
    pub lineage: String,
    pub source: Source,
    /// Of a tree that is not taken yet: what is known of it.
    pub content: Content,
    #[serde(default)]
    pub encrypted: bool,
    pub stage: Stage,
    pub permissions: Permissions,
    pub client_token: Option<ClientToken>,
    pub started: Timestamp,
    pub completed: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    Volume,
    /// The id of another, of any region.
    Copy(String),
    /// Uploaded block by block, over those of another.
    Upload {
        parent: Option<String>,
        /// It fails when nothing comes for so long.
        timeout_minutes: u32,
        /// When something came last.
        touched: Timestamp,
        /// First and last index of each run of blocks that came.
        written: Vec<(u64, u64)>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Until this instance does not run.
    Waits(String),
    Taking,
    /// Its bytes are there and do not change any more.
    Taken,
    Filling,
    Completed,
    Failed(String),
}

impl Stage {
    /// The state EC2 shows.
    pub fn name(&self) -> &'static str {
        match self {
            Stage::Completed => "completed",
            Stage::Failed(_) => "error",
            _ => "pending",
        }
    }
}

/// Who else may use it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// The group `all`.
    pub everybody: bool,
    /// Account ids.
    pub accounts: BTreeSet<String>,
}

impl store::Record for Snapshot {
    const TABLE: &'static str = "ec2_snapshots";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

//! A volume, what it holds, and how an instance has it.
//!
//! ```text
//!             made              attached             let go             deleted
//!  creating ───────► available ──────────► in-use ──────────► available ───────► deleting ──► (gone)
//!      └──────────────────────────────────────▲
//!         launched with an instance           attaching ► attached ► detaching (busy) ► detached
//! ```

use compute::Layer;
use serde::{Deserialize, Serialize};

use super::modification::Modification;
use super::performance::Performance;
use crate::clock::Timestamp;
use crate::ec2::client_token::ClientToken;
use crate::ec2::image::model::ROOT_DEVICE;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    pub account: String,
    pub region: String,
    /// `vol-…`, also its name in the storage.
    pub id: String,
    pub zone: String,
    pub size_gib: u32,
    pub performance: Performance,
    /// What it began as; empty for nothing.
    pub snapshot_id: String,
    pub content: Content,
    /// All its bytes are ciphertext on the host.
    #[serde(default)]
    pub encrypted: bool,
    pub stage: Stage,
    pub attachment: Option<Attachment>,
    pub modification: Option<Modification>,
    pub auto_enable_io: bool,
    pub client_token: Option<ClientToken>,
    pub created: Timestamp,
}

/// What a volume or a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Kept by the storage under the record's own id.
    Blocks,
    /// A root file system. Of a volume that an instance has: what is beneath the writable layer.
    Tree(Tree),
}

/// Read-only layers, and which of them the storage keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// Names of those that are frozen roots.
    pub frozen: Vec<String>,
}

impl Tree {
    /// With one more layer on top, that the storage keeps under this name.
    pub fn with(&self, name: &str, layer: Layer) -> Tree {
        let mut tree = self.clone();
        if !tree.frozen.iter().any(|known| known == name) {
            tree.layers.push(layer);
            tree.frozen.push(name.to_owned());
        }
        tree
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    Creating,
    Ready,
    Deleting,
    /// It could never be made.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub instance_id: String,
    /// As it was asked for: `/dev/sdf`.
    pub device: String,
    pub delete_on_termination: bool,
    pub at: Timestamp,
    pub progress: Progress,
}

/// What is known of a volume in its instance, while that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Not seen there yet.
    Attaching,
    /// As the record says.
    Attached,
    /// There, but not as fast as the record says.
    Changing,
    /// To be taken away. Busy: the guest still uses it.
    Detaching { force: bool, busy: bool },
}

/// The state EC2 shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Creating,
    Available,
    InUse,
    Deleting,
    Error,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Creating => "creating",
            State::Available => "available",
            State::InUse => "in-use",
            State::Deleting => "deleting",
            State::Error => "error",
        }
    }
}

impl Volume {
    pub fn state(&self) -> State {
        match self.stage {
            Stage::Creating => State::Creating,
            Stage::Ready if self.attachment.is_some() => State::InUse,
            Stage::Ready => State::Available,
            Stage::Deleting => State::Deleting,
            Stage::Failed => State::Error,
        }
    }

    pub fn bytes(&self) -> u64 {
        u64::from(self.size_gib) << 30
    }

    pub fn is_root(&self) -> bool {
        self.attachment.as_ref().is_some_and(|attachment| attachment.device == ROOT_DEVICE)
    }

    /// It is to be taken from its instance.
    pub fn is_leaving(&self) -> bool {
        let of = |attachment: &Attachment| attachment.progress;
        matches!(self.attachment.as_ref().map(of), Some(Progress::Detaching { .. }))
    }

    /// When that is terminated.
    pub fn goes_with_instance(&self) -> bool {
        let goes = self.attachment.as_ref().is_some_and(|a| a.delete_on_termination);
        goes && !self.is_leaving()
    }

    /// Something that runs is to be told of it.
    pub fn is_unsettled(&self) -> bool {
        self.attachment.as_ref().is_some_and(|a| a.progress != Progress::Attached)
    }

    /// The name that its root gets when it is frozen next; the same until that is in the record.
    pub fn next_frozen(&self) -> String {
        let Content::Tree(tree) = &self.content else { return String::new() };
        format!("{}.{}", self.id, tree.frozen.len())
    }
}

impl store::Record for Volume {
    const TABLE: &'static str = "ec2_volumes";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

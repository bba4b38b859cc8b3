//! The seam between the control plane and whatever keeps disks: volumes that outlive instances, their
//! snapshots, and the frozen roots that images are made of.
//!
//! Level-triggered as `Driver` is: every call may run twice, also after a crash of the caller. What has
//! the name already is left as it is, what is gone already is no error. When a call returns, its effect
//! survives the power being cut; a call that was cut short has left nothing under the name.

use crate::driver::{BoxFuture, Layer, Result};

///
/// What is encrypted stays so, and so does every copy of it. To encrypt what is not may take long: then
/// the answer is `Busy`, it goes on by itself, and whoever asks again learns what came of it. Deleting
/// what is being made ends that.
pub trait Storage: Send + Sync {
    /// Why nothing can be encrypted here, if so.
    fn can_encrypt(&self) -> Result<()>;

    /// Zeros, or what the snapshot holds with zeros behind it. Errors: `Spec` for a snapshot that is not
    /// there, not complete or larger.
    fn create_volume<'a>(
        &'a self,
        volume: &'a str,
        bytes: u64,
        from_snapshot: Option<&'a str>,
        encrypted: bool,
    ) -> BoxFuture<'a, Result<()>>;

    /// Whether a guest's reads and writes of it fail, as what decrypts it has died. Of a root by the
    /// name of its instance, of a frozen one by its own.
    fn is_impaired(&self, name: &str) -> bool;

    /// Also while it is plugged in: the block device of the running instance grows. Never shrinks one.
    fn grow_volume<'a>(&'a self, volume: &'a str, bytes: u64) -> BoxFuture<'a, Result<()>>;

    /// `Busy` while it is plugged into an instance that runs.
    fn delete_volume<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, Result<()>>;

    /// The volume's bytes as of now, copy-on-write, while it goes on changing. Complete at once.
    fn create_snapshot<'a>(
        &'a self,
        snapshot: &'a str,
        volume: &'a str,
    ) -> BoxFuture<'a, Result<()>>;

    /// To be filled by `write`, until `complete_snapshot`. Starts as a copy-on-write copy of `parent`
    /// (which may be smaller), or as zeros.
    fn begin_snapshot<'a>(
        &'a self,
        snapshot: &'a str,
        bytes: u64,
        parent: Option<&'a str>,
        encrypted: bool,
    ) -> BoxFuture<'a, Result<()>>;

    /// From now on it cannot be written to. One that is complete stays so.
    fn complete_snapshot<'a>(&'a self, snapshot: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Of any kind, a frozen root too. Volumes made from it keep what they have of it. A frozen root
    /// must have no instance that uses it.
    fn delete_snapshot<'a>(&'a self, snapshot: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Less than `bytes` only at the snapshot's end. Blocking, but quick. `Spec` for one that is not
    /// there.
    fn read(&self, snapshot: &str, offset: u64, bytes: usize) -> Result<Vec<u8>>;

    /// Blocking, but quick. Durable with `complete_snapshot`. `Spec` for one that is not there, is
    /// complete, or ends before the data does.
    fn write(&self, snapshot: &str, offset: u64, data: &[u8]) -> Result<()>;

    /// Indexes of the blocks of this size that hold data, in order. A block of zeros may count as data.
    fn blocks(&self, snapshot: &str, block: u64) -> Result<Vec<u64>>;

    /// Indexes of the blocks of this size in which two snapshots differ, in order; where one ends
    /// sooner, what the other has behind that counts if it holds data.
    fn changed_blocks(&self, first: &str, second: &str, block: u64) -> Result<Vec<u64>>;

    /// Everything there is, in no order.
    fn stored(&self) -> Result<Vec<Stored>>;

    /// Freezes the root of an instance (its writable layer) as a read-only layer for images,
    /// copy-on-write. One that runs holds still meanwhile. `Spec` for an instance that is not there.
    fn freeze_root<'a>(
        &'a self,
        instance: &'a str,
        snapshot: &'a str,
    ) -> BoxFuture<'a, Result<Layer>>;

    /// A copy of a frozen root, encrypted. `None`: that is so already.
    fn encrypt_root<'a>(
        &'a self,
        root: &'a str,
        copy: &'a str,
    ) -> BoxFuture<'a, Result<Option<Layer>>>;
}

/// What a store holds under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub kind: Kind,
    pub name: String,
    /// What its user sees; 0 of a root.
    pub bytes: u64,
    /// What it takes of the host, shared blocks included.
    pub used_bytes: u64,
    pub encrypted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Volume,
    /// Being filled.
    Begun,
    Snapshot,
    /// A frozen root.
    Root,
}

/// What an encrypted disk is encrypted with.
pub use sectors::Key as DataKey;

/// Makes data keys, and opens them again. What is sealed may lie on any disk; what is open never does.
pub trait Keys: std::fmt::Debug + Send + Sync {
    /// A new one, and the same sealed.
    fn generate(&self) -> (DataKey, Vec<u8>);

    /// `None`: this did not seal it.
    fn open(&self, sealed: &[u8]) -> Option<DataKey>;
}

//! Volumes: disks of a zone that outlive instances, or go with them. The bytes of a data volume are
//! blocks that the storage keeps under the volume's id; those of a root volume are a tree of files: the
//! image's layers, and over them the writable layer of the instance that has it.

pub mod controller;
pub mod describe;
pub mod device;
pub mod encryption;
pub mod handlers;
pub mod mapping;
pub mod model;
pub mod modification;
pub mod ops;
pub mod performance;
pub mod sweep;
#[cfg(test)]
mod tests;

pub use model::{Attachment, Content, Progress, Stage, Tree, Volume};
pub use performance::{Kind, Performance};

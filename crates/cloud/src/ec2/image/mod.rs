//! Machine images: the built-in `drover-host`, those registered from a root file system, and those made
//! of instances and snapshots.
//!
//! `drover-host` is made of this host's own system directories and needs no download. It is there in
//! every region, with the same AMI id everywhere, owned by the account that asks (so `--owners self`
//! finds it) and without an owner alias. Other images belong to one region.
//!
//! An image is a stack of read-only layers; its root device is `/dev/xvda`. Its other devices are made
//! of snapshots.

pub mod attribute;
pub mod controller;
pub mod describe;
pub mod handlers;
pub mod make;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::Image;

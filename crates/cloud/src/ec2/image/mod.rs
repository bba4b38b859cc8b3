//! Machine images: the built-in `drover-host` and those registered from a root file system.
//!
//! `drover-host` is made of this host's own system directories and needs no download. It is there in
//! every region, with the same AMI id everywhere, owned by the account that asks (so `--owners self`
//! finds it) and without an owner alias. Registered images belong to one region.
//!
//! An image is a stack of read-only layers; its root device is `/dev/xvda`.

pub mod handlers;
pub mod model;
pub mod ops;

pub use model::Image;

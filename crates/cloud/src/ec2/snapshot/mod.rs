//! Snapshots: what a volume held at one moment, kept for the region. Their bytes are copy-on-write, so
//! that one is taken, and a volume made of it, in milliseconds.

pub mod controller;
pub mod describe;
pub mod handlers;
pub mod model;
pub mod ops;

pub use model::{Permissions, Snapshot, Source, Stage};

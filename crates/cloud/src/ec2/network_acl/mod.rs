//! Network ACLs: what may enter and leave a subnet, packet by packet, answers too.
//!
//! ```text
//!   packet ── entries of its direction by number ── the first that matches decides ── none: denied
//! ```
//!
//! Every subnet has one ACL: that it was given, or its VPC's default one.

pub mod describe;
pub mod entry;
pub mod handlers;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::NetworkAcl;

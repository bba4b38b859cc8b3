//! EC2 Instance Connect: a public key lets a user of an instance in for a minute. It is written into that
//! user's `authorized_keys` and taken out again, which any sshd heeds, and shown by metadata.
//!
//! ```text
//!  SendSSHPublicKey ─► record ─► the line is in the file ─ 60 s ─► the line is out ─► no record
//! ```
//!
//! The record is there before the line, and as long as it. The minute is the host's, by which clients
//! count. A line of an instance that stops is taken out when it runs again.

pub mod controller;
mod error;
pub mod handlers;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use model::Key;

//! Security groups: stored and described, not yet enforced.
//!
//! Every VPC has a group `default` that lets its members talk to each other and to everywhere; it is
//! there without being created and becomes a record when it is first changed. Rules are kept as AWS
//! keeps them, but no packet is filtered by them yet: `drover doctor` says the same.

pub mod describe;
pub mod handlers;
pub mod model;
pub mod ops;
pub mod permission;
#[cfg(test)]
mod tests;
mod text;

pub use model::{Rule, SecurityGroup};

//! Auto Scaling: groups that keep their size, spread over zones, replace what fails and follow load.
//!
//! ```text
//!  user ──► ops ──► group, policy records          alarms ──► policy.rs ──► desired capacity
//!                        │                                                      │
//!                        ▼                                                      ▼
//!  instances, targets, zones (read) ───────► plan.rs ──► actions ──► act.rs (one transaction)
//! ```
//!
//! Deliberately absent: launch configurations, mixed instances, warm pools, lifecycle hooks, instance
//! refresh, scheduled actions, step and simple scaling. All are refused.

mod act;
mod activity;
pub mod controller;
mod describe;
mod error;
pub mod handlers;
pub mod model;
mod observe;
pub mod ops;
pub mod plan;
pub mod policies;
pub mod policy;
pub mod tags;
mod termination;

pub use error::{Error, Result};

#[cfg(test)]
mod loop_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;

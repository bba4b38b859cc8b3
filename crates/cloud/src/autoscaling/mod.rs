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

pub mod model;
pub mod plan;
pub mod policy;
mod termination;

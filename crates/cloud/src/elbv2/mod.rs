//! Elastic Load Balancing v2: application load balancers, what they forward to, and whether it is healthy.
//!
//! ```text
//!  LoadBalancer ─┬─ Node: one for each zone, with its addresses
//!                └─ Listener ── Rule… ──► TargetGroup ── Target: an instance (or address) and a port
//!
//!  records ─► plan: a snapshot for each zone ─► balancers ─► reports ─► state: of targets and balancers
//! ```
//!
//! Only what the data plane does is accepted: HTTP listeners, instance and ip targets over HTTP/1.1.

pub mod attribute;
pub mod controller;
pub mod error;
pub mod handlers;
pub mod metrics;
pub mod model;
pub mod ops;
pub mod plan;
pub mod quota;
pub mod rule;
pub mod state;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use model::{Listener, LoadBalancer, Node, Rule, Target, TargetGroup};

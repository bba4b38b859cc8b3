//! Finite capacity: how many instances of a type a zone has room for.
//!
//! ```text
//!  pool of a zone and type        limit ─────────┐
//!  what launches have of it       holders        │ free
//! ```
//!
//! A zone without a pool for a type has as many as the host can run. Whatever launches goes through
//! `take`: users, groups, fleets, starts. A pool that becomes smaller takes Spot Instances back.

mod model;
pub mod ops;

pub use model::Pool;

#[cfg(test)]
mod tests;

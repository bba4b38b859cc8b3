//! Finite capacity: how many instances of a type a zone has room for.
//!
//! ```text
//!  pool of a zone and type   limit ───────────────────────────────┐
//!  what launches draw from it  holders outside of reservations    │ free
//!                              + all that reservations hold       │
//! ```
//!
//! A zone without a pool for a type has as many as the host can run. Whatever launches goes through
//! `take`: users, groups, fleets, starts.

mod model;
pub mod ops;

pub use model::Pool;

#[cfg(test)]
mod tests;

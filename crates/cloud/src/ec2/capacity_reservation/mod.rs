//! Capacity reservations: capacity of a zone that is held for its owner, used or not.
//!
//! ```text
//!  create ──► active ──┬─ end date ─► expired ────┬──1 h──► (forgotten)
//!                      └─ cancel ───► cancelled ──┘
//!
//!  instances of a reservation ≤ its count; what is not used counts as used in the pool
//! ```
//!
//! An instance that holds capacity (`capacity::ops::holds_capacity`) says which reservation it is in; a
//! reservation counts its instances by their records. Instances of one that ended run on, on demand.

pub mod controller;
pub mod handlers;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;
pub mod usage;

pub use model::{CapacityReservation, Preference, Specification};

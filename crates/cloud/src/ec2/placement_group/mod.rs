//! Placement groups: how instances stand to each other in the racks of a zone.
//!
//! ```text
//!  cluster      all in one zone, near each other
//!  spread       each in a rack of its own, of which a group can have seven in a zone
//!  partition    1 to 7 sets of racks, which share nothing: who is in which is told to instances
//! ```
//!
//! One host has no racks. What a group promises is kept as what it refuses: another zone, an eighth
//! rack, a partition that there is not. A group counts its members by their records; it has no list.

pub mod handlers;
pub mod membership;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::{Member, Named, PlacementGroup, Strategy};

//! Peering: two VPCs, in one region or in two, joined directly.
//!
//! ```text
//!  create ─┬─► pending-acceptance ─┬─accept──► active ──delete──► deleted
//!          │                       ├─reject──► rejected
//!          │                       ├─delete──► deleted
//!          │                       └─7 days──► expired
//!          └─► failed: the blocks overlap
//! ```
//!
//! Routes say what goes over it. Peerings that ended can be looked at for a while.

pub mod controller;
pub mod handlers;
pub mod model;
pub mod ops;
pub mod state;
#[cfg(test)]
mod tests;

pub use model::VpcPeering;

//! Route tables: where what leaves a subnet goes.
//!
//! ```text
//!   subnet ── associated table, or the VPC's main one ── longest prefix ── target: active, or a blackhole
//! ```
//!
//! Within the VPC everyone reaches everyone: the `local` routes, one for each block, are not stored,
//! and no route is more specific. A target that is no more leaves its routes behind, as blackholes.

pub mod describe;
pub mod handlers;
pub mod model;
pub mod ops;
pub mod target;
#[cfg(test)]
mod tests;

pub use model::RouteTable;

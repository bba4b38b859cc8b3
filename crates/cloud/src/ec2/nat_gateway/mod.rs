//! NAT gateways: a way out of subnets that nobody outside can come in by.
//!
//! ```text
//!  create ──► pending ─┬─► available ──delete──► deleting ──► deleted ──1 h──► (forgotten)
//!                      └─► failed: its VPC has no internet gateway ──1 h──► (forgotten)
//! ```
//!
//! It has a network interface of its own in its subnet, with an elastic address, from the request on
//! until it is deleted or failed. Private ones (no elastic address) are refused: nothing translates for
//! them here.

pub mod controller;
pub mod handlers;
pub mod model;
pub mod ops;
pub mod state;
#[cfg(test)]
mod tests;

pub use model::NatGateway;

//! NAT gateways: a way out of subnets that nobody outside can come in by.
//!
//! ```text
//!  create ──► pending ─┬─► available ──delete──► deleting ──► deleted ──1 h──► (forgotten)
//!                      └─► failed: its VPC has no internet gateway ──1 h──► (forgotten)
//! ```
//!
//! It has a network interface of its own in its subnet, with an elastic address, from the request on
//! until it is deleted or failed. A private one has no elastic address and needs no internet gateway: it
//! leads to peered VPCs, by the routes of its own subnet. Each has one address; more are refused.

pub mod controller;
pub mod handlers;
pub mod model;
pub mod ops;
pub mod state;
#[cfg(test)]
mod tests;

pub use model::NatGateway;

//! DHCP options: what a VPC's instances are told of names and time.
//!
//! Instances here are told without DHCP. Name servers are always the VPC's own resolver; others are
//! refused.

pub mod handlers;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::DhcpOptions;

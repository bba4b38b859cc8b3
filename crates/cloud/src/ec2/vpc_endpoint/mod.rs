//! VPC endpoints: ways from a VPC to services that need no internet gateway.
//!
//! ```text
//!   gateway     a route from the prefix list of S3 or DynamoDB, in the tables that it is made for
//!   interface   a network interface in each of its subnets, at whose addresses the service answers;
//!               pending until the network has them, then available
//! ```
//!
//! Which route tables a gateway endpoint is in is not stored here: their routes say so. What comes by an
//! endpoint must be allowed by its policy, too.

pub mod controller;
pub mod describe;
pub mod handlers;
pub mod interface;
pub mod model;
pub mod names;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::VpcEndpoint;

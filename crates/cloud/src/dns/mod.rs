//! The names of the cloud: what the resolver of a VPC answers at 169.254.169.253 and at the VPC's base
//! plus two (Route 53 Resolver), and what this host may ask. The messages themselves are `server`'s.

pub mod names;
pub mod ops;

pub use ops::Answer;

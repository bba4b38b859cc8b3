//! Subnets: a part of a VPC's address space in one zone.

pub mod describe;
pub mod handlers;
pub mod ops;

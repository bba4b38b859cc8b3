//! Tags of all EC2 resources, in one table, so that no resource's own record holds them.

pub mod handlers;
pub mod model;
pub mod ops;

//! What is there before anything is created: regions, their zones, and the account's limits.

pub mod handlers;
pub mod ops;

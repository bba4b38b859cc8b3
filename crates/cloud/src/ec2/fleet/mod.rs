//! EC2 Fleets: so much capacity, from whichever types, zones and markets have it.

mod check;
pub mod controller;
pub mod handlers;
pub mod model;
pub mod ops;
mod plan;
mod pools;

#[cfg(test)]
mod tests;

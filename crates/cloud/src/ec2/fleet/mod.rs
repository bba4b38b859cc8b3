//! EC2 Fleets and Spot Fleets: so much capacity, from whichever types, zones and markets have it.

mod change;
mod check;
pub mod controller;
mod describe;
pub mod handlers;
pub mod model;
pub mod ops;
mod plan;
mod pools;
mod role;
mod types;

#[cfg(test)]
mod tests;

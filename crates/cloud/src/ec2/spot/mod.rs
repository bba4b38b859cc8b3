//! Spot Instances: requests, their market, and the end of what it takes away.

pub mod controller;
mod describe;
pub mod event;
pub mod handlers;
pub mod market;
pub mod model;
pub mod ops;
pub mod price;
pub mod score;
mod state;

#[cfg(test)]
mod tests;

//! Fault Injection Service: experiments on instances, in a role of the user's. What it does to them is
//! EC2's own doing: interruptions of Spot Instances, reboots, stops, ends.

mod action;
pub mod controller;
mod error;
pub mod handlers;
pub mod model;
pub mod ops;
mod run;
mod target;

pub use error::{Error, Result};

#[cfg(test)]
mod tests;

//! Instances: from intent (`ops`) over a driver's boots (`controller`) to the states EC2 shows (`state`).

pub mod attribute;
pub mod controller;
pub mod describe;
pub mod handlers;
pub mod interfaces;
pub mod launch;
pub mod metadata;
pub mod model;
pub mod ops;
pub mod place;
mod plan;
pub mod resolve;
mod screenshot;
pub mod serial_console;
pub mod spec;
pub mod state;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod user_data;

pub use launch::Launch;
pub use model::{Instance, Reservation};
pub use state::{InstanceState, Status};

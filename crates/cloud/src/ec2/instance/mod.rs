//! Instances: from intent (`ops`) over a driver's boots (`controller`) to the states EC2 shows (`state`).

pub mod launch;
pub mod model;
pub mod state;

pub use launch::Launch;
pub use model::{Instance, Reservation};
pub use state::{InstanceState, Status};

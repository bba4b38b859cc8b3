//! Instances: from intent (`ops`) over a driver's boots (`controller`) to the states EC2 shows (`state`).

pub mod launch;
pub mod model;
pub mod ops;
pub mod resolve;
pub mod state;
pub mod user_data;

pub use launch::Launch;
pub use model::{Instance, Reservation};
pub use state::{InstanceState, Status};

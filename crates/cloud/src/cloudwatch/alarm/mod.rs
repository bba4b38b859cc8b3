//! Alarms: a metric watched over periods, and the state that makes.

pub mod model;
pub mod state;

pub use model::{Alarm, Comparison, MissingData, State};

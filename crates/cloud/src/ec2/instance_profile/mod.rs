//! Which instance has which instance profile, and with it a role's credentials at its metadata.

pub mod credentials;
pub mod handlers;
mod model;
pub mod ops;

pub use model::{Association, Found};

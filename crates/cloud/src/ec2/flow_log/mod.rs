//! Flow logs: what went through network interfaces, or was kept from it, written to a bucket.

pub mod controller;
pub mod handlers;
pub mod line;
pub mod model;
pub mod ops;

#[cfg(test)]
mod tests;

pub use model::FlowLog;

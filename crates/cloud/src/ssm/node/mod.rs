//! Managed nodes: instances whose role lets them register with Systems Manager. There is no agent in the
//! guest: this cloud looks into the instance as one would, once after each boot, and runs commands there
//! itself. What the role may not do, it does not do either.

pub mod controller;
pub mod describe;
pub mod handlers;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::Node;

//! Which instance type fits: for a workload told in words, and for instances by what they used.

pub mod handlers;
pub mod measured;
pub mod model;
pub mod workload;

#[cfg(test)]
mod tests;

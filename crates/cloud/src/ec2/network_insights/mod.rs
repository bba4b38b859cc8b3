//! The Reachability Analyzer: paths to be looked at, and what was found on them.

pub mod handlers;
pub mod model;
pub mod ops;

#[cfg(test)]
mod tests;

//! Internet gateways: what a VPC needs for its public addresses to be reached and to reach out.

pub mod handlers;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::InternetGateway;

//! VPC endpoints of the gateway kind: a way from a VPC's subnets to S3 or DynamoDB that needs no internet
//! gateway, by a route from the service's prefix list.
//!
//! Which route tables an endpoint is in is not stored here: their routes say so. Interface endpoints are
//! refused: nothing would answer at their addresses yet.

pub mod describe;
pub mod handlers;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::VpcEndpoint;

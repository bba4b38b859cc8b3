//! The control plane: AWS services as one folder each, over a store, a driver, a fabric and balancers.

pub mod advice;
pub mod arn;
pub mod autoscaling;
pub mod clock;
pub mod cloudtrail;
pub mod cloudwatch;
pub mod context;
pub mod controller;
pub mod cost;
pub mod dns;
pub mod dynamodb;
pub mod ebs;
pub mod ec2;
pub mod ec2_instance_connect;
pub mod elbv2;
pub mod env;
pub mod fake_balancers;
pub mod filter;
pub mod fis;
pub mod iam;
pub mod id;
pub mod page;
pub mod region;
pub mod s3;
pub mod schema;
pub mod seal;
pub mod services;
pub mod sqs;
pub mod ssm;
pub mod sts;
pub mod tag;
#[cfg(test)]
pub mod testing;
pub mod zone;

pub use clock::{Clock, Timestamp};
pub use context::Context;
pub use env::Env;

//! EBS direct APIs: the blocks of snapshots, read, compared and written without a volume or an instance.
//! The snapshots themselves are EC2's.

pub mod error;
pub mod handlers;
pub mod ops;
#[cfg(test)]
mod tests;
pub mod token;

pub use error::{Error, Result};

//! Systems Manager Parameter Store: values under names, each change a version, labels on versions.
//! Not here: the rest of Systems Manager, public parameters under `/aws/service`, parameter policies,
//! customer keys of KMS, the calls of other accounts.

pub mod error;
pub mod filter;
pub mod handlers;
pub mod model;
pub mod name;
pub mod ops;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};

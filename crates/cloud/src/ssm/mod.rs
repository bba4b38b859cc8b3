//! Systems Manager. Parameter Store: values under names, each change a version, labels on versions. Managed
//! nodes, and commands run on them. Not here: documents of users, associations, sessions, parameter
//! policies, customer keys of KMS, the calls of other accounts.

pub mod command;
pub mod document;
pub mod error;
pub mod filter;
pub mod handlers;
pub mod model;
pub mod name;
pub mod node;
pub mod ops;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};

//! Systems Manager. Parameter Store: values under names, each change a version, labels on versions; of
//! public parameters those of machine images (`public.rs`). Managed nodes, and commands run on them. Not
//! here: documents of users, associations, sessions, parameter policies, other public parameters,
//! customer keys of KMS, the calls of other accounts.

pub mod command;
pub mod document;
pub mod error;
pub mod filter;
pub mod handlers;
pub mod model;
pub mod name;
pub mod node;
pub mod ops;
pub mod public;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};

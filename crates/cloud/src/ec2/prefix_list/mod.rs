//! Prefix lists: address blocks under one id, for rules and routes.
//!
//! Customers make their own, in versions: every change of entries makes the next one, rules and routes
//! use the newest. AWS's own name the addresses of the services that a gateway endpoint leads to; they
//! are there in every region without being created.

pub mod handlers;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::{Entry, PrefixList};

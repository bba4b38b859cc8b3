//! DynamoDB: tables with their indexes, items, and the expressions over them. Items are in a bulk
//! keyspace (`key`), tables are records.

mod capacity;
mod controller;
mod error;
mod expression;
pub mod handlers;
mod index;
mod key;
mod model;
mod number;
pub mod ops;
mod read;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use controller::Sweeper;
pub use error::{Error, Result};
pub use model::Table;
pub use read::queried_partition;

/// The bulk keyspace of all items.
pub const ITEMS: &str = "dynamodb.items";

//! What all this would cost at AWS: a meter over the records, the bill, and Cost Explorer.

pub mod bill;
mod error;
mod explorer;
pub mod handlers;
pub mod meter;
pub mod model;

#[cfg(test)]
mod tests;

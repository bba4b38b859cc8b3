//! CloudTrail: looking up the calls of late. The events are those of `iam::Trail`.

mod error;
pub mod handlers;
mod lookup;

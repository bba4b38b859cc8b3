//! SQS: queues, their messages and their policies. Queues are records; messages are in a bulk keyspace
//! (`message`), and which of them may be received is kept in memory (`index`), made again from what is
//! stored when a queue is first used.
//!
//! ```text
//!  SendMessage ──► ready ◄────────────── visibility timeout over, or set to 0
//!        │  delay    ▲ │ ReceiveMessage                │
//!        └► delayed ─┘ └──────────────────────────► in flight ── DeleteMessage ─► gone
//!                      received too often ─► dead-letter queue
//! ```

mod attribute;
mod controller;
mod error;
pub mod handlers;
mod index;
mod lines;
mod message;
mod model;
pub mod ops;
mod permission;
mod receive;
mod send;
#[cfg(test)]
mod tests;

pub use controller::Sweeper;
pub use error::{Error, Result};
pub use lines::Lines;
pub use model::{Gone, Queue};

/// The bulk keyspace of all messages.
pub const MESSAGES: &str = "sqs.messages";

//! Run Command: scripts that are run on managed nodes.
//!
//! ```text
//!  SendCommand ──► Command ─ expand ─► Invocation, one a node ─ begin ─► run inside ─► its end
//!                 (record)              (record)                (record)    (a task)   (record)
//! ```
//!
//! An invocation is recorded as begun before its script runs, so that it runs once at most: one that was
//! under way when the daemon ended has failed.

pub mod controller;
pub mod handlers;
pub mod model;
pub mod ops;
mod plan;
mod run;
pub mod state;
#[cfg(test)]
mod tests;

pub use model::{Command, Invocation};

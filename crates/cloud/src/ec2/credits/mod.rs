//! CPU credits of burstable types: earned by the hour, spent by the minute of a processor.
//!
//! ```text
//!              earned (up to a day's)          spent above what is earned
//!   type ───────────────► balance ───────────────────────► processor time
//!                            │ 0                                 ▲
//!             standard: held to the baseline                     │
//!             unlimited: ──► surplus ────────────────────────────┘
//!                            │ paid back by what is earned, charged beyond a day's
//! ```
//!
//! Time is the cloud's, processor time is measured. Source: EC2 User Guide, "Key concepts for burstable
//! performance instances", "Unlimited mode", "Standard mode".

pub mod controller;
pub mod facts;
pub mod handlers;
pub mod model;
pub mod ops;
pub mod state;

pub use model::{Credits, DefaultMode, Mode};

#[cfg(test)]
mod tests;

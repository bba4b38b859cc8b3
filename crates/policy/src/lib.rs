//! IAM policies: their grammar, and what they decide about a request. Not for who is who: accounts,
//! keys and attachments are records of the caller. Pure: no IO, no clock, no AWS calls.
//!
//! ```text
//!   JSON ── Document::parse ──► compiled statements ─┐
//!   who, what, on what, context ──── Request ────────┼── evaluate ──► Decision ── message
//!   which policies apply ─────────── Policies ───────┘
//! ```
//!
//! The rules are those of the IAM User Guide: "Policy evaluation logic", "IAM JSON policy element
//! reference" and "Grammar of the IAM JSON policy language".

mod condition;
mod context;
mod document;
mod evaluate;
mod grammar;
mod json;
mod managed;
mod pattern;
mod principal;
mod simulate;
mod value;

pub use context::Context;
pub use document::{Document, Error, Kind, Position};
pub use evaluate::{Decision, Effect, Layer, Match, Policies, Policy, Request, evaluate};
pub use managed::{Managed, managed};
pub use principal::Principal;
pub use simulate::{Simulation, context_keys, simulate};

#[cfg(test)]
mod tests;

//! Network interfaces: addresses of a subnet, with groups, that an instance has or may be given.
//!
//! ```text
//!              create, launch            attach, launch
//!   (nothing) ───────────────► available ──────────────► in-use ─┐ attaching ► attached ► detaching
//!       ▲                        │   ▲                     │     └────────────────────────────┐
//!       └──────── delete ────────┘   └──── detached, or its instance gone ◄───────────────────┘
//! ```
//!
//! The record here is the truth about an interface; an instance's record only names its interfaces. The
//! interfaces of load balancers' nodes are shown from the nodes' records and cannot be changed.

pub mod attribute;
pub mod describe;
pub mod handlers;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::{Attachment, Kind, NetworkInterface, Progress};

//! Identity and Access Management: who there is, and who may do what.
//!
//! ```text
//!  gateway ─ caller (whose access key?) ─► services::serve ─ resources (what is asked?)
//!                                              │                  │ demands
//!                                              │             authorize (policies decide)
//!                                              ▼                  │
//!                                          handler ◄── allowed ───┤
//!                                                                 └─► trail (who, what, why)
//! ```
//!
//! The decision itself is the `policy` crate's. S3 asks on its own (`s3::access`), AssumeRole too.

pub mod acting;
pub mod authorize;
mod caller;
mod context;
mod document;
mod error;
pub mod handlers;
pub mod model;
pub mod ops;
mod resources;
mod session;
mod simulate;
mod source;
#[cfg(test)]
mod tests;
mod trail;
pub mod trust;

pub use authorize::{Denied, Verdict};
pub use caller::{Caller, Refusal, Who, note_use, of_key, secret};
pub use document::{Document, Place};
pub use error::{Error, Result};
pub use resources::{Call, Demand, Launching, demands, is_read, launching};
pub use session::{Credentials, Session};
pub use source::{Inside, Source};
pub use trail::{Event, Trail};

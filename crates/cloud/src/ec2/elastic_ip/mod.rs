//! Public addresses: elastic ones, which an account keeps, and those lent to instances while they run.
//!
//! ```text
//!               allocate                associate
//!  pool ──────────────────────► elastic ──────────────► elastic, stands for a private address
//!   │ ◄────── release ───────────┘  ▲ ◄── disassociate ───┘
//!   └── start of an instance ──► lent, stands for its primary address ── stop, elastic one instead ──► pool
//! ```
//!
//! The pool is the installation's: no account, no region and no other cloud of this host has the same
//! address. **Invariant:** a public address in use has one record, and the interface it belongs to names
//! it.

pub mod describe;
pub mod handlers;
pub mod model;
pub mod ops;
#[cfg(test)]
mod tests;

pub use model::PublicAddress;

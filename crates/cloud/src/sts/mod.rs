//! Security Token Service: who is calling, and temporary credentials.

pub mod handlers;
mod ops;

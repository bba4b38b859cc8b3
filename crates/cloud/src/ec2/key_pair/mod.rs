//! Key pairs: the public half is kept, the private half is handed out once and forgotten.

pub mod handlers;
pub mod material;
pub mod model;
pub mod ops;

pub use model::KeyPair;

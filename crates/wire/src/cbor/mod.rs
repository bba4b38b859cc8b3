//! The `smithy-rpc-v2-cbor` protocol: `POST /service/PREFIX/operation/NAME`, one CBOR map each way.
//!
//! Tokens are read and written by `ciborium-ll`. Members go by their names in the model, timestamps
//! are tagged epoch seconds, blobs byte strings. Source: Smithy, "Smithy RPC v2 CBOR protocol".

mod decode;
mod encode;

pub use decode::decode;
pub use encode::{encode, error, object};

/// The tag of epoch seconds.
const EPOCH: u64 = 1;

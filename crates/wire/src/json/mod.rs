//! The `json` protocols (1.0 and 1.1): one JSON object each way, the operation in `X-Amz-Target`.

mod decode;
mod encode;

pub(crate) use decode::unknown_member;
pub use decode::{decode, document};
pub use encode::{document_of, encode, error, object};

//! The `json` protocols (1.0 and 1.1): one JSON object each way, the operation in `X-Amz-Target`.

mod decode;
mod encode;

pub use decode::decode;
pub use encode::{encode, error, object};

//! The `rest-json` protocol: method and path name the operation; members are in the path, the query,
//! headers, and a JSON document or the bare body.
//!
//! ```text
//!  PUT /snapshots/{snapshotId}/blocks/{blockIndex}     Place::Path
//!      ?maxResults=5                                   Place::Query
//!  x-amz-Data-Length: 524288                           Place::Header
//!  {"Tags": […]}  or  the bytes of a block             Place::Document or Place::Payload
//! ```

mod decode;
mod encode;

pub use decode::{decode, labels};
pub use encode::{encode, error};

//! The `query` and `ec2` protocols: parameters in, XML out.
//!
//! ```text
//!            query                          ec2
//!  list      Names.member.1=a               Name.1=a
//!  map       Tags.entry.1.key=k             –
//!            of services that speak JSON as well both are flat:
//!            AttributeName.1=a, Attribute.1.Name=k
//!  answer    <OpResponse><OpResult>…        <OpResponse><requestId/>…
//!            <ResponseMetadata>…
//!  error     <ErrorResponse><Error>…        <Response><Errors><Error>…
//! ```

mod decode;
mod encode;
pub mod params;

pub use decode::decode;
pub use encode::{encode, error};

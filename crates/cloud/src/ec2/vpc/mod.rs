//! Networks: VPCs, their subnets, and the addresses in use.
//!
//! ```text
//!  default VPC 172.31.0.0/16 ─┬─ zone a 172.31.0.0/20   ─┬─ .0 network, .1 router, .2 DNS, .3 kept,
//!                             ├─ zone b 172.31.16.0/20   │  last: broadcast; never handed out
//!                             └─ zone c 172.31.32.0/20   └─ the others: one `Address` record each
//! ```
//!
//! The default VPC and its subnets are there without being created (`ec2::resource`): their ids are
//! made of the account, the region and the zone. Not here: what joins networks, each in a folder of
//! its own.

pub mod address;
pub mod cidr;
pub mod cidr_block;
pub mod describe;
pub mod handlers;
pub mod model;
pub mod ops;
pub mod services;
pub mod subnet;
#[cfg(test)]
mod tests;

pub use cidr::Cidr;
pub use model::{Subnet, Vpc};

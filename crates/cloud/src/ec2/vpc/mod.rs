//! Networks: the default VPC every region has, its subnets, and the addresses in use.
//!
//! ```text
//!  default VPC 172.31.0.0/16 ─┬─ zone a 172.31.0.0/20   ─┬─ .0 network, .1 router, .2 DNS, .3 kept,
//!                             ├─ zone b 172.31.16.0/20   │  last: broadcast; never handed out
//!                             └─ zone c 172.31.32.0/20   └─ the others: one `Address` record each
//! ```
//!
//! The default VPC and its subnets are there without being created: their ids are made of the account,
//! the region and the zone. VPCs and subnets of one's own are not served yet, and refused by name; nor
//! are public addresses, so unlike AWS's a default subnet does not map them on launch.

pub mod handlers;
pub mod model;
pub mod ops;
pub mod services;

pub use model::{Cidr, Subnet, Vpc};

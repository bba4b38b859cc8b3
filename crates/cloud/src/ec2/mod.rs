//! Amazon EC2: one folder per kind of resource, one error for all of them.

pub mod capacity;
pub mod catalog;
pub mod client_token;
pub mod credits;
pub mod dhcp_options;
pub mod elastic_ip;
pub mod error;
pub mod fleet;
pub mod flow_log;
pub mod handlers;
pub mod image;
pub mod instance;
pub mod instance_profile;
pub mod internet_gateway;
pub mod key_pair;
pub mod launch_template;
pub mod listing;
pub mod nat_gateway;
pub mod network;
pub mod network_acl;
pub mod network_insights;
pub mod network_interface;
pub mod prefix_list;
pub mod region;
pub mod resource;
pub mod route_table;
pub mod security_group;
pub mod snapshot;
pub mod spot;
pub mod tag;
pub mod volume;
pub mod vpc;
pub mod vpc_endpoint;
pub mod vpc_peering;

pub use error::{Error, Kind, Result};

//! A route table with its routes and the subnets that use it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ec2::client_token::ClientToken;
use crate::ec2::vpc::Cidr;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    pub account: String,
    pub region: String,
    /// `rtb-…`
    pub id: String,
    pub vpc_id: String,
    /// `rtbassoc-…`, when it is the main table: of all subnets that are associated with none. Each VPC
    /// has one.
    pub main: Option<String>,
    pub associations: Vec<Association>,
    /// Besides the local ones.
    pub routes: Vec<Route>,
    pub client_token: Option<ClientToken>,
}

impl store::Record for RouteTable {
    const TABLE: &'static str = "ec2_route_tables";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// `rtbassoc-…`
    pub id: String,
    pub subnet_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Unique in the table.
    pub destination: Destination,
    pub target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Destination {
    Cidr(Cidr),
    /// `pl-…`: each block that the list has at the time.
    PrefixList(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Cidr(cidr) => cidr.fmt(f),
            Destination::PrefixList(id) => f.write_str(id),
        }
    }
}

/// By id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    InternetGateway(String),
    NatGateway(String),
    /// Of an instance, where the route named one: its primary interface.
    NetworkInterface(String),
    Peering(String),
    /// A gateway endpoint, which makes and removes its routes itself.
    Endpoint(String),
}

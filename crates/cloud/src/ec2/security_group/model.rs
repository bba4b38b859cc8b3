//! A security group with its rules.

use serde::{Deserialize, Serialize};

use crate::ec2::vpc::Cidr;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub account: String,
    pub region: String,
    /// `sg-…`
    pub id: String,
    /// Unique in the VPC.
    pub name: String,
    pub description: String,
    pub vpc_id: String,
    pub rules: Vec<Rule>,
}

pub const DEFAULT_NAME: &str = "default";

impl SecurityGroup {
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT_NAME
    }

    pub fn rules_of(&self, direction: Direction) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.direction == direction)
    }
}

impl store::Record for SecurityGroup {
    const TABLE: &'static str = "ec2_security_groups";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `sgr-…`
    pub id: String,
    pub direction: Direction,
    pub traffic: Traffic,
    pub peer: Peer,
    pub description: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    Ingress,
    Egress,
}

/// What traffic, without from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a number, or `-1` for all.
    pub protocol: String,
    /// The first and the last port, or ICMP's type and code; -1 is any. None where the protocol has
    /// none.
    pub ports: Option<(i32, i32)>,
}

impl Traffic {
    pub fn all() -> Traffic {
        Traffic { protocol: "-1".to_owned(), ports: None }
    }

    pub fn admits_tcp(&self, port: u16) -> bool {
        match self.protocol.as_str() {
            "-1" => true,
            "tcp" => self
                .ports
                .is_none_or(|(first, last)| first == -1 || (first..=last).contains(&port.into())),
            _ => false,
        }
    }
}

/// Whom the traffic comes from, or goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// In canonical form.
    Ipv4(String),
    Ipv6(String),
    /// Members of a group, by its id.
    Group(String),
    /// The blocks of a prefix list, by its id.
    PrefixList(String),
}

impl Peer {
    /// `None` for what is no block of IPv4 addresses.
    pub fn block(&self) -> Option<Cidr> {
        match self {
            Peer::Ipv4(cidr) => cidr.parse().ok(),
            _ => None,
        }
    }
}

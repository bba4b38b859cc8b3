//! A network ACL with its entries and the subnets that have it.

use serde::{Deserialize, Serialize};

use crate::ec2::client_token::ClientToken;
use crate::ec2::vpc::Cidr;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    pub account: String,
    pub region: String,
    /// `acl-…`
    pub id: String,
    pub vpc_id: String,
    pub is_default: bool,
    /// By direction and number. The last word of each direction, to deny, is not among them.
    pub entries: Vec<Entry>,
    /// Subnets that were given this ACL. Those that were given none have the default one.
    pub associations: Vec<Association>,
    pub client_token: Option<ClientToken>,
}

impl NetworkAcl {
    /// Of one direction, in the order in which they are looked at.
    pub fn entries_of(&self, egress: bool) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.egress == egress)
    }
}

impl store::Record for NetworkAcl {
    const TABLE: &'static str = "ec2_network_acls";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// `aclassoc-…`
    pub id: String,
    pub subnet_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub egress: bool,
    /// 1 to 32766, unique in its direction.
    pub number: i32,
    pub allow: bool,
    /// As IP numbers it; -1 is every protocol.
    pub protocol: i16,
    /// First and last, of TCP and UDP.
    pub ports: Option<(u16, u16)>,
    /// Type and code, of ICMP; -1 is any.
    pub icmp: Option<(i16, i16)>,
    /// Where it comes from, or goes to.
    pub cidr: Cidr,
}

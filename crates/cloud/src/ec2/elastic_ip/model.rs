//! A public address in use.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddress {
    pub account: String,
    pub region: String,
    pub address: Ipv4Addr,
    /// `eipalloc-…`; `None`: lent to a running instance.
    pub allocation_id: Option<String>,
    pub association: Option<Association>,
}

/// What it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// `eipassoc-…`
    pub id: String,
    pub interface_id: String,
    pub private_ip: Ipv4Addr,
}

impl PublicAddress {
    pub fn is_elastic(&self) -> bool {
        self.allocation_id.is_some()
    }

    /// The same for all accounts and regions: the address.
    pub fn key_of(address: Ipv4Addr) -> String {
        format!("{:08x}", u32::from(address))
    }
}

impl store::Record for PublicAddress {
    const TABLE: &'static str = "ec2_public_addresses";

    fn key(&self) -> String {
        PublicAddress::key_of(self.address)
    }
}

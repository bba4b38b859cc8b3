//! A network interface and how an instance has it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ec2::client_token::ClientToken;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    pub account: String,
    pub region: String,
    /// `eni-…`
    pub id: String,
    pub kind: Kind,
    pub vpc_id: String,
    pub subnet_id: String,
    pub zone: String,
    pub mac: [u8; 6],
    /// The first is the primary one, which never changes.
    pub addresses: Vec<Ipv4Addr>,
    /// Public addresses, by the private one that each stands for. An index: the truth is in the records
    /// of public addresses.
    pub public: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// Ids, sorted.
    pub groups: Vec<String>,
    pub description: String,
    pub source_dest_check: bool,
    /// Its instance gets a public address whenever it starts, unless an elastic one is there.
    pub auto_public: bool,
    pub attachment: Option<Attachment>,
    /// The service whose it is, if a service made it for itself.
    pub requester: Option<String>,
    pub client_token: Option<ClientToken>,
}

/// Who answers at its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// An instance, once it is attached to one.
    Interface,
    NatGateway,
    VpcEndpoint,
    LoadBalancer,
}

impl Kind {
    /// `InterfaceType`; a load balancer of the application kind has plain ones.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Interface | Kind::LoadBalancer => "interface",
            Kind::NatGateway => "nat_gateway",
            Kind::VpcEndpoint => "vpc_endpoint",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// `eni-attach-…`
    pub id: String,
    pub instance_id: String,
    /// The instance's, which says how much the interface carries.
    #[serde(default)]
    pub instance_type: String,
    /// 0: the primary interface, which its instance has for life.
    pub device_index: u32,
    pub delete_on_termination: bool,
    pub at: Timestamp,
    pub progress: Progress,
}

/// What is known of an interface in the instance, while that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Not seen there yet.
    Attaching,
    /// As the record says.
    Attached,
    /// There, but with other addresses than the record's.
    Changing,
    /// To be taken away.
    Detaching,
}

impl Progress {
    pub fn name(self) -> &'static str {
        match self {
            Progress::Attaching => "attaching",
            Progress::Attached | Progress::Changing => "attached",
            Progress::Detaching => "detaching",
        }
    }
}

impl NetworkInterface {
    pub fn primary(&self) -> Ipv4Addr {
        self.addresses[0]
    }

    /// `0a:01:02:03:04:05`
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }

    /// It is to be taken from its instance.
    pub fn is_leaving(&self) -> bool {
        self.attachment.as_ref().is_some_and(|a| a.progress == Progress::Detaching)
    }

    /// Something that runs is to be told of it.
    pub fn is_unsettled(&self) -> bool {
        self.attachment.as_ref().is_some_and(|a| a.progress != Progress::Attached)
    }

    pub fn is_attached_to(&self, instance_id: &str) -> bool {
        self.attachment.as_ref().is_some_and(|a| a.instance_id == instance_id)
    }

    /// Whether a service made it for itself, so that users cannot change it.
    pub fn is_requester_managed(&self) -> bool {
        self.requester.is_some()
    }

    pub fn status(&self) -> &'static str {
        if self.attachment.is_some() || self.is_requester_managed() {
            "in-use"
        } else {
            "available"
        }
    }
}

impl store::Record for NetworkInterface {
    const TABLE: &'static str = "ec2_network_interfaces";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

//! One line of a flow log (Amazon VPC User Guide, "Flow log records"). Pure.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    Version,
    AccountId,
    InterfaceId,
    SrcAddr,
    DstAddr,
    SrcPort,
    DstPort,
    Protocol,
    Packets,
    Bytes,
    Start,
    End,
    Action,
    LogStatus,
    VpcId,
    SubnetId,
    InstanceId,
    Type,
    PktSrcAddr,
    PktDstAddr,
    Region,
    AzId,
    FlowDirection,
}

use Field::*;

/// In the order of the default format, which are the first fourteen.
const NAMES: [(Field, &str); 23] = [
    (Version, "version"),
    (AccountId, "account-id"),
    (InterfaceId, "interface-id"),
    (SrcAddr, "srcaddr"),
    (DstAddr, "dstaddr"),
    (SrcPort, "srcport"),
    (DstPort, "dstport"),
    (Protocol, "protocol"),
    (Packets, "packets"),
    (Bytes, "bytes"),
    (Start, "start"),
    (End, "end"),
    (Action, "action"),
    (LogStatus, "log-status"),
    (VpcId, "vpc-id"),
    (SubnetId, "subnet-id"),
    (InstanceId, "instance-id"),
    (Type, "type"),
    (PktSrcAddr, "pkt-srcaddr"),
    (PktDstAddr, "pkt-dstaddr"),
    (Region, "region"),
    (AzId, "az-id"),
    (FlowDirection, "flow-direction"),
];

impl Field {
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }

    /// Fields came with versions of the format; a log says the highest that it has fields of.
    fn version(self) -> u8 {
        match self {
            VpcId | SubnetId | InstanceId | Type | PktSrcAddr | PktDstAddr => 3,
            Region | AzId => 4,
            FlowDirection => 5,
            _ => 2,
        }
    }
}

pub fn default_format() -> Vec<Field> {
    NAMES[..14].iter().map(|(field, _)| *field).collect()
}

/// `${srcaddr} ${dstaddr}`; the unknown word otherwise.
pub fn parse_format(text: &str) -> Result<Vec<Field>, String> {
    let field = |word: &str| {
        let name = word.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let found = NAMES.iter().find(|(_, known)| Some(*known) == name);
        found.map(|(field, _)| *field).ok_or_else(|| word.to_owned())
    };
    text.split_whitespace().map(field).collect()
}

pub fn format(fields: &[Field]) -> String {
    let words: Vec<String> = fields.iter().map(|field| format!("${{{}}}", field.name())).collect();
    words.join(" ")
}

pub fn head(fields: &[Field]) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    names.join(" ")
}

/// A network interface, as lines name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub id: String,
    /// The primary one; lines show it for any that the interface has.
    pub address: Ipv4Addr,
    pub vpc_id: String,
    pub subnet_id: String,
    pub zone_id: String,
    pub instance_id: Option<String>,
}

/// What went one way through an interface in an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub account: &'a str,
    pub region: &'a str,
    pub interface: &'a Interface,
    pub ingress: bool,
    pub source: (Ipv4Addr, u16),
    pub destination: (Ipv4Addr, u16),
    pub protocol: u8,
    pub packets: u64,
    pub bytes: u64,
    pub start: Timestamp,
    pub end: Timestamp,
    pub accepted: bool,
}

impl Record<'_> {
    pub fn line(&self, fields: &[Field]) -> String {
        let version = fields.iter().map(|field| field.version()).max().unwrap_or(2);
        let words: Vec<String> = fields.iter().map(|field| self.word(*field, version)).collect();
        words.join(" ")
    }

    fn word(&self, field: Field, version: u8) -> String {
        let (interface, seconds) = (self.interface, |at: Timestamp| (at.0 / 1000).to_string());
        let (source, destination) = match self.ingress {
            true => (self.source.0, interface.address),
            false => (interface.address, self.destination.0),
        };
        match field {
            Version => version.to_string(),
            AccountId => self.account.to_owned(),
            InterfaceId => interface.id.clone(),
            SrcAddr => source.to_string(),
            DstAddr => destination.to_string(),
            SrcPort => self.source.1.to_string(),
            DstPort => self.destination.1.to_string(),
            Protocol => self.protocol.to_string(),
            Packets => self.packets.to_string(),
            Bytes => self.bytes.to_string(),
            Start => seconds(self.start),
            End => seconds(self.end),
            Action => if self.accepted { "ACCEPT" } else { "REJECT" }.to_owned(),
            LogStatus => "OK".to_owned(),
            VpcId => interface.vpc_id.clone(),
            SubnetId => interface.subnet_id.clone(),
            InstanceId => interface.instance_id.clone().unwrap_or_else(|| "-".to_owned()),
            Type => "IPv4".to_owned(),
            PktSrcAddr => self.source.0.to_string(),
            PktDstAddr => self.destination.0.to_string(),
            Region => self.region.to_owned(),
            AzId => interface.zone_id.clone(),
            FlowDirection => if self.ingress { "ingress" } else { "egress" }.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let text = format(&default_format());
        assert_eq!(parse_format(&text), Ok(default_format()));
        assert!(text.starts_with("${version} ${account-id} ${interface-id} ${srcaddr}"));
        assert_eq!(parse_format("${srcaddr} ${tcp-flags}"), Err("${tcp-flags}".to_owned()));
        assert_eq!(parse_format("srcaddr"), Err("srcaddr".to_owned()));
    }

    /// Shape and example: Amazon VPC User Guide, "Flow log record examples".
    #[test]
    fn lines() {
        let interface = Interface {
            id: "eni-1235b8ca123456789".to_owned(),
            address: Ipv4Addr::new(172, 31, 16, 21),
            vpc_id: "vpc-1".to_owned(),
            subnet_id: "subnet-1".to_owned(),
            zone_id: "use1-az2".to_owned(),
            instance_id: None,
        };
        let record = Record {
            account: "123456789010",
            region: "us-east-1",
            interface: &interface,
            ingress: true,
            source: (Ipv4Addr::new(172, 31, 16, 139), 20641),
            destination: (Ipv4Addr::new(172, 31, 16, 99), 22),
            protocol: 6,
            packets: 20,
            bytes: 4249,
            start: Timestamp(1_418_530_010_000),
            end: Timestamp(1_418_530_070_000),
            accepted: true,
        };
        assert_eq!(
            record.line(&default_format()),
            "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 \
             1418530010 1418530070 ACCEPT OK"
        );
        assert_eq!(
            record.line(&[Version, FlowDirection, PktDstAddr, InstanceId]),
            "5 ingress 172.31.16.99 -"
        );
    }
}

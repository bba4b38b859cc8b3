//! Permissions as a request lists them, and the traffic and peers they stand for.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::model::{Peer, Traffic};
use super::text;
use crate::ec2::{Error, Result};

/// One of a request's IpPermissions: some traffic, and several peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    pub protocol: Option<String>,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    pub ipv4: Vec<Described>,
    pub ipv6: Vec<Described>,
    pub groups: Vec<GroupPair>,
    pub prefix_lists: Vec<PrefixListRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixListRef {
    pub id: String,
    pub description: Option<String>,
}

/// An address block, and what the rule for it is said to be for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    pub cidr: String,
    pub description: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPair {
    pub id: Option<String>,
    pub name: Option<String>,
    pub user_id: Option<String>,
    pub vpc_id: Option<String>,
    pub peering_connection_id: Option<String>,
    pub description: Option<String>,
}

/// A permission for one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Single {
    pub traffic: Traffic,
    pub peer: Peer,
    pub description: Option<String>,
}

impl Permission {
    /// One for each peer; `group` finds the id of a group that is referred to, `prefix_list` makes sure
    /// that there is a list of an id.
    pub fn singles(
        &self,
        group: impl Fn(&GroupPair) -> Result<String>,
        prefix_list: impl Fn(&str) -> Result<()>,
    ) -> Result<Vec<Single>> {
        let traffic = traffic(self.protocol.as_deref(), self.from_port, self.to_port)?;
        let mut singles = Vec::new();
        let mut add = |peer: Peer, description: &Option<String>| {
            text::check_rule_description(description.as_deref())?;
            let description = description.clone();
            singles.push(Single { traffic: traffic.clone(), peer, description });
            Ok::<_, Error>(())
        };
        for range in &self.ipv4 {
            add(Peer::Ipv4(ipv4(&range.cidr)?), &range.description)?;
        }
        for range in &self.ipv6 {
            add(Peer::Ipv6(ipv6(&range.cidr)?), &range.description)?;
        }
        for pair in &self.groups {
            add(Peer::Group(group(pair)?), &pair.description)?;
        }
        for list in &self.prefix_lists {
            prefix_list(&list.id)?;
            add(Peer::PrefixList(list.id.clone()), &list.description)?;
        }
        if singles.is_empty() {
            return Err(Error::MissingParameter("ipPermissions.ipRanges or a source group"));
        }
        Ok(singles)
    }
}

/// AWS: "Use -1 to specify all protocols"; a number without a name of its own has no ports.
pub fn traffic(
    protocol: Option<&str>,
    from_port: Option<i32>,
    to_port: Option<i32>,
) -> Result<Traffic> {
    let protocol = protocol.ok_or(Error::MissingParameter("ipProtocol"))?;
    let name = match protocol.to_ascii_lowercase().as_str() {
        "-1" | "all" => "-1",
        "tcp" | "6" => "tcp",
        "udp" | "17" => "udp",
        "icmp" | "1" => "icmp",
        "icmpv6" | "58" => "icmpv6",
        number if number.parse::<u8>().is_ok() => protocol,
        _ => {
            return Err(Error::value(format!(
                "Invalid value '{protocol}' for IP protocol. Unknown protocol."
            )));
        }
    };
    let ports = match name {
        "tcp" | "udp" => Some(ports(from_port, to_port)?),
        "icmp" | "icmpv6" => Some(icmp(name, from_port, to_port)?),
        _ => None,
    };
    Ok(Traffic { protocol: name.to_owned(), ports })
}

fn ports(from: Option<i32>, to: Option<i32>) -> Result<(i32, i32)> {
    let (Some(from), Some(to)) = (from, to) else {
        return Err(Error::value(
            "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.",
        ));
    };
    for port in [from, to] {
        if !(0..=65_535).contains(&port) {
            return Err(Error::value(format!("TCP/UDP port ({port}) out of range")));
        }
    }
    if from > to {
        return Err(Error::value(format!("Invalid TCP/UDP port range ({from}, {to})")));
    }
    Ok((from, to))
}

/// A type and a code; -1 for any, and any type means any code.
fn icmp(name: &str, from: Option<i32>, to: Option<i32>) -> Result<(i32, i32)> {
    let (kind, code) = (from.unwrap_or(-1), to.unwrap_or(-1));
    for value in [kind, code] {
        if !(-1..=255).contains(&value) {
            return Err(Error::value(format!("ICMP code ({value}) out of range")));
        }
    }
    if kind == -1 && code != -1 {
        return Err(Error::value(format!(
            "Invalid {name} type and code: any type (-1) takes any code (-1)"
        )));
    }
    Ok((kind, code))
}

pub fn ipv4(cidr: &str) -> Result<String> {
    let malformed = || Error::value(format!("CIDR block {cidr} is malformed"));
    let (address, prefix) = cidr.split_once('/').ok_or_else(malformed)?;
    let address: Ipv4Addr = address.parse().map_err(|_| malformed())?;
    let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(malformed)?;
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    Ok(format!("{}/{prefix}", Ipv4Addr::from(u32::from(address) & mask)))
}

pub fn ipv6(cidr: &str) -> Result<String> {
    let malformed = || Error::value(format!("CIDR block {cidr} is malformed"));
    let (address, prefix) = cidr.split_once('/').ok_or_else(malformed)?;
    let address: Ipv6Addr = address.parse().map_err(|_| malformed())?;
    let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 128).ok_or_else(malformed)?;
    let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
    Ok(format!("{}/{prefix}", Ipv6Addr::from(u128::from(address) & mask)))
}

/// As AWS names a rule in its errors: `peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, ALLOW`.
pub fn sentence(single: &Single) -> String {
    let peer = match &single.peer {
        Peer::Ipv4(cidr) | Peer::Ipv6(cidr) => cidr,
        Peer::Group(id) | Peer::PrefixList(id) => id,
    };
    let protocol = match single.traffic.protocol.as_str() {
        "-1" => "ALL".to_owned(),
        other => other.to_ascii_uppercase(),
    };
    let ports = match (protocol.as_str(), single.traffic.ports) {
        (_, None) => String::new(),
        ("ICMP" | "ICMPV6", Some((kind, code))) => format!(", type: {kind}, code: {code}"),
        (_, Some((from, to))) => format!(", from port: {from}, to port: {to}"),
    };
    format!("peer: {peer}, {protocol}{ports}, ALLOW")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_checked_by_protocol() {
        for (protocol, from, to, expected) in [
            ("tcp", Some(22), Some(22), Some(("tcp", Some((22, 22))))),
            ("6", Some(0), Some(65_535), Some(("tcp", Some((0, 65_535))))),
            ("TCP", Some(1), Some(2), Some(("tcp", Some((1, 2))))),
            ("udp", Some(53), None, None),
            ("udp", Some(54), Some(53), None),
            ("tcp", Some(-1), Some(-1), None),
            ("tcp", Some(1), Some(65_536), None),
            ("icmp", None, None, Some(("icmp", Some((-1, -1))))),
            ("icmp", Some(8), Some(0), Some(("icmp", Some((8, 0))))),
            ("icmp", Some(-1), Some(0), None),
            ("-1", Some(1), Some(2), Some(("-1", None))),
            ("50", Some(1), Some(2), Some(("50", None))),
            ("256", None, None, None),
            ("sctp", None, None, None),
        ] {
            let got = traffic(Some(protocol), from, to).ok();
            let expected = expected.map(|(p, ports)| Traffic { protocol: p.to_owned(), ports });
            assert_eq!(got, expected, "{protocol} {from:?} {to:?}");
        }
    }

    #[test]
    fn blocks_are_made_canonical() {
        for (cidr, expected) in [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.0.0.1/32", Some("10.0.0.1/32")),
            ("10.0.0.1", None),
            ("10.0.0.0/33", None),
            ("10.0.0/8", None),
        ] {
            assert_eq!(ipv4(cidr).ok().as_deref(), expected, "{cidr}");
        }
        for (cidr, expected) in [
            ("2001:db8:0:0::1/64", Some("2001:db8::/64")),
            ("::/0", Some("::/0")),
            ("::1/129", None),
            ("10.0.0.0/8", None),
        ] {
            assert_eq!(ipv6(cidr).ok().as_deref(), expected, "{cidr}");
        }
    }
}

//! An entry as a request gives it, and what is wrong with it.

use super::model::Entry;
use crate::ec2::vpc::Cidr;
use crate::ec2::{Error, Result};

/// The highest number that is not AWS's own.
const MAX_NUMBER: i32 = 32766;

const ICMP: i16 = 1;
const TCP: i16 = 6;
const UDP: i16 = 17;

#[derive(Clone, Debug, Default)]
pub struct Request {
    pub egress: bool,
    pub number: i32,
    pub action: String,
    pub protocol: String,
    /// First and last.
    pub ports: Option<(Option<i32>, Option<i32>)>,
    /// Type and code.
    pub icmp: Option<(Option<i32>, Option<i32>)>,
    pub cidr: Option<String>,
}

pub fn check(request: &Request) -> Result<Entry> {
    if !(1..=MAX_NUMBER).contains(&request.number) {
        return Err(invalid(request.number, "ruleNumber", "It must be between 1 and 32766"));
    }
    let allow = match request.action.as_str() {
        "allow" => true,
        "deny" => false,
        other => return Err(invalid(other, "ruleAction", "Valid values: allow, deny")),
    };
    let cidr = request.cidr.as_deref().ok_or(Error::MissingParameter("cidrBlock"))?;
    let cidr = Cidr::canonical(cidr)
        .ok_or_else(|| invalid(cidr, "cidrBlock", "This is not a valid CIDR block"))?;
    let protocol = protocol(&request.protocol)?;
    Ok(Entry {
        egress: request.egress,
        number: request.number,
        allow,
        protocol,
        ports: if matches!(protocol, TCP | UDP) { Some(ports(request)?) } else { None },
        icmp: if protocol == ICMP { Some(icmp(request)?) } else { None },
        cidr,
    })
}

fn invalid(value: impl std::fmt::Display, parameter: &str, why: &str) -> Error {
    Error::value(format!("Value ({value}) for parameter {parameter} is invalid. {why}."))
}

/// By number, or by one of the names that EC2 takes.
fn protocol(text: &str) -> Result<i16> {
    let number = match text.to_ascii_lowercase().as_str() {
        "all" => Some(-1),
        "icmp" => Some(ICMP),
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        other => other.parse().ok().filter(|n| (-1..=255).contains(n)),
    };
    match number {
        Some(58) => Err(Error::unsupported("ICMPv6 in a network ACL")),
        Some(number) => Ok(number),
        None => Err(invalid(text, "protocol", "Unknown protocol")),
    }
}

fn ports(request: &Request) -> Result<(u16, u16)> {
    let (from, to) = request.ports.unwrap_or_default();
    let from = from.ok_or(Error::MissingParameter("portRange.from"))?;
    let to = to.ok_or(Error::MissingParameter("portRange.to"))?;
    let port =
        |n: i32| u16::try_from(n).map_err(|_| invalid(n, "portRange", "Ports are 0 to 65535"));
    let (from, to) = (port(from)?, port(to)?);
    if from > to {
        return Err(invalid(from, "portRange", "The first port must not exceed the last"));
    }
    Ok((from, to))
}

fn icmp(request: &Request) -> Result<(i16, i16)> {
    let (kind, code) = request.icmp.unwrap_or_default();
    let kind = kind.ok_or(Error::MissingParameter("icmpTypeCode.type"))?;
    let code = code.ok_or(Error::MissingParameter("icmpTypeCode.code"))?;
    let byte = |n: i32| {
        let n = i16::try_from(n).ok().filter(|n| (-1..=255).contains(n));
        n.ok_or_else(|| invalid(kind, "icmpTypeCode", "Types and codes are -1 to 255"))
    };
    let (kind, code) = (byte(kind)?, byte(code)?);
    if kind == -1 && code != -1 {
        return Err(invalid(code, "icmpTypeCode.code", "Every type has every code"));
    }
    Ok((kind, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(protocol: &str) -> Request {
        Request {
            number: 100,
            action: "allow".to_owned(),
            protocol: protocol.to_owned(),
            cidr: Some("10.0.0.1/8".to_owned()),
            ..Request::default()
        }
    }

    #[test]
    fn entries_are_checked() {
        let with_ports = |from, to| Request { ports: Some((Some(from), Some(to))), ..request("6") };
        let with_icmp =
            |kind, code| Request { icmp: Some((Some(kind), Some(code))), ..request("icmp") };
        for (request, code) in [
            (request("-1"), None),
            (request("47"), None),
            (request("tcp"), Some("MissingParameter")),
            (with_ports(80, 90), None),
            (with_ports(90, 80), Some("InvalidParameterValue")),
            (with_ports(0, 65536), Some("InvalidParameterValue")),
            (request("icmp"), Some("MissingParameter")),
            (with_icmp(-1, -1), None),
            (with_icmp(8, -1), None),
            (with_icmp(-1, 0), Some("InvalidParameterValue")),
            (with_icmp(256, 0), Some("InvalidParameterValue")),
            (request("58"), Some("UnsupportedOperation")),
            (request("256"), Some("InvalidParameterValue")),
            (Request { number: 0, ..request("-1") }, Some("InvalidParameterValue")),
            (Request { number: 32767, ..request("-1") }, Some("InvalidParameterValue")),
            (Request { action: "drop".into(), ..request("-1") }, Some("InvalidParameterValue")),
            (Request { cidr: None, ..request("-1") }, Some("MissingParameter")),
        ] {
            let got = check(&request).err().map(|error| error.code());
            assert_eq!(got.as_deref(), code, "{request:?}");
        }
        assert_eq!(check(&request("-1")).unwrap().cidr.to_string(), "10.0.0.0/8");
    }
}

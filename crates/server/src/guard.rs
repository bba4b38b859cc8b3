//! Which requests are looked at all: none from another site's page, none for a foreign name (DNS
//! rebinding). A browser cannot forge `Host`, `Origin` and `Sec-Fetch-Site`; other clients need not.

use std::net::{IpAddr, SocketAddr};

use cloud::ec2::vpc::services::{self, Service};
use http::HeaderMap;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    ForeignHost,
    CrossSite,
}

impl Refusal {
    pub fn message(self) -> &'static str {
        match self {
            Refusal::ForeignHost => {
                "The Host header names neither this machine nor the address this gateway listens on."
            }
            Refusal::CrossSite => "Requests from another site's pages are refused.",
        }
    }
}

/// The service whose name, one of AWS's, the request was sent to.
pub fn service(headers: &HeaderMap) -> Option<&'static Service> {
    services::of_name(&name(headers.get("host")?.to_str().ok()?))
}

/// The region in the name, one of AWS's, that the request was sent to.
pub fn region(headers: &HeaderMap) -> Option<String> {
    let name = name(headers.get("host")?.to_str().ok()?);
    let name = name.strip_suffix(services::DOMAIN)?;
    name.split('.').find(|label| cloud::region::find(label).is_some()).map(str::to_owned)
}

/// `in_network`: the door is one inside a VPC, where services have AWS's names.
pub fn check(headers: &HeaderMap, listen: SocketAddr, in_network: bool) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(host) = text("host")
        && !known(host, listen)
        && !(in_network && service(headers).is_some())
    {
        return Err(Refusal::ForeignHost);
    }
    if text("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site") {
        return Err(Refusal::CrossSite);
    }
    if let Some(origin) = text("origin") {
        let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
        if !known(authority, listen) {
            return Err(Refusal::CrossSite);
        }
    }
    Ok(())
}

/// An authority's host in lower case, without port, brackets or a final dot.
fn name(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    host.to_ascii_lowercase()
}

fn known(authority: &str, listen: SocketAddr) -> bool {
    let host = name(authority);
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip == listen.ip() || listen.ip().is_unspecified(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_its_own_pages() {
        let loopback: SocketAddr = "127.0.0.1:4566".parse().unwrap();
        let metadata: SocketAddr = "169.254.169.254:4566".parse().unwrap();
        for (listen, name, value, expected) in [
            (loopback, "host", "127.0.0.1:4566", Ok(())),
            (loopback, "host", "localhost:4566", Ok(())),
            (loopback, "host", "[::1]:4566", Ok(())),
            (loopback, "host", "bucket.localhost:4566", Ok(())),
            (loopback, "host", "evil.example", Err(Refusal::ForeignHost)),
            (loopback, "host", "localhost.evil.example:4566", Err(Refusal::ForeignHost)),
            (loopback, "host", "10.0.0.1", Err(Refusal::ForeignHost)),
            (metadata, "host", "169.254.169.254:4566", Ok(())),
            (metadata, "host", "sts.us-east-1.amazonaws.com", Ok(())),
            (metadata, "host", "pictures.s3.us-east-1.amazonaws.com:443", Ok(())),
            (metadata, "host", "evil.us-east-1.amazonaws.com", Err(Refusal::ForeignHost)),
            (loopback, "host", "sts.us-east-1.amazonaws.com", Err(Refusal::ForeignHost)),
            (loopback, "origin", "http://localhost:4566", Ok(())),
            (loopback, "origin", "https://evil.example", Err(Refusal::CrossSite)),
            (loopback, "origin", "null", Err(Refusal::CrossSite)),
            (loopback, "sec-fetch-site", "same-origin", Ok(())),
            (loopback, "sec-fetch-site", "cross-site", Err(Refusal::CrossSite)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(check(&headers, listen, listen == metadata), expected, "{name}: {value}");
        }
    }
}

//! What a DNS name means here, from its spelling alone.
//!
//! ```text
//!  ip-10-0-1-5.ec2.internal                     a private address (us-east-1)
//!  ip-10-0-1-5.REGION.compute.internal          a private address (elsewhere)
//!  ec2-198-18-0-5.compute-1.amazonaws.com       a public address (us-east-1)
//!  ec2-198-18-0-5.REGION.compute.amazonaws.com  a public address (elsewhere)
//!  5.1.0.10.in-addr.arpa                        the name of an address
//!  vpce-ID-LABEL.SERVICE.REGION.vpce.amazonaws.com   an interface endpoint
//!  NAME-ID.REGION.elb.localhost                 a load balancer, also under elb.amazonaws.com
//! ```

use std::net::Ipv4Addr;

use crate::ec2::vpc::services::{self, Service};

#[derive(Debug, PartialEq, Eq)]
pub enum Name {
    /// With the region that it says.
    Private(Ipv4Addr, String),
    Public(Ipv4Addr, String),
    Reverse(Ipv4Addr),
    /// As its record spells it. The flag: asked for under AWS's domain, where others are real.
    LoadBalancer {
        name: String,
        of_aws: bool,
    },
    Service(&'static Service),
    /// Of an interface endpoint: the label that names it, its service and its region.
    Endpoint {
        label: String,
        service: &'static Service,
        region: String,
    },
    /// The metadata service, as early tools call it.
    InstanceData,
    Localhost,
    /// Never asked of anyone else: there is no such name, or what is below it is nobody else's to know.
    Nowhere,
    /// Not ours to know.
    Other,
}

const LOAD_BALANCERS: &str = ".elb.localhost";
const LOAD_BALANCERS_OF_AWS: &str = ".elb.amazonaws.com";

/// Of a name in lower case, without a final dot.
pub fn parse(name: &str) -> Name {
    if let Some(rest) = name.strip_suffix(".in-addr.arpa") {
        return reverse(rest).map_or(Name::Other, Name::Reverse);
    }
    if name.ends_with(LOAD_BALANCERS) {
        return Name::LoadBalancer { name: name.to_owned(), of_aws: false };
    }
    if let Some(rest) = name.strip_suffix(LOAD_BALANCERS_OF_AWS) {
        return Name::LoadBalancer { name: format!("{rest}{LOAD_BALANCERS}"), of_aws: true };
    }
    let labels: Vec<&str> = name.split('.').collect();
    match labels.as_slice() {
        ["instance-data"] | ["instance-data", "ec2", "internal"] => return Name::InstanceData,
        [.., "localhost"] => return Name::Localhost,
        [host, "ec2", "internal"] => return instance(host, "ip-", "us-east-1", Name::Private),
        [host, region, "compute", "internal"] => {
            return instance(host, "ip-", region, Name::Private);
        }
        [_] | [.., "internal"] => return Name::Nowhere,
        [host, "compute-1", "amazonaws", "com"] => {
            return instance(host, "ec2-", "us-east-1", Name::Public);
        }
        [host, region, "compute", "amazonaws", "com"] => {
            return instance(host, "ec2-", region, Name::Public);
        }
        _ => {}
    }
    let Some(service) = services::of_name(name) else { return Name::Other };
    match labels.as_slice() {
        [.., label, _, region, "vpce", _, _] => {
            let (label, region) = ((*label).to_owned(), (*region).to_owned());
            Name::Endpoint { label, service, region }
        }
        _ => Name::Service(service),
    }
}

fn instance(
    host: &str,
    prefix: &str,
    region: &str,
    make: impl Fn(Ipv4Addr, String) -> Name,
) -> Name {
    match host.strip_prefix(prefix).and_then(|digits| octets(digits, '-')) {
        Some(address) => make(address, region.to_owned()),
        None if prefix == "ip-" => Name::Nowhere,
        None => Name::Other,
    }
}

fn reverse(labels: &str) -> Option<Ipv4Addr> {
    let [d, c, b, a] = octets(labels, '.')?.octets();
    Some(Ipv4Addr::new(a, b, c, d))
}

fn octets(text: &str, separator: char) -> Option<Ipv4Addr> {
    text.replace(separator, ".").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> String {
        name.to_owned()
    }

    #[test]
    fn meanings() {
        let private = Ipv4Addr::new(10, 0, 1, 5);
        let public = Ipv4Addr::new(198, 18, 0, 5);
        let balancer = |of_aws| Name::LoadBalancer {
            name: "web-1.us-east-1.elb.localhost".to_owned(),
            of_aws,
        };
        let endpoint = |service| Name::Endpoint {
            label: "vpce-0a-1".to_owned(),
            service: services::named(service).unwrap(),
            region: region("eu-west-1"),
        };
        for (name, expected) in [
            ("ip-10-0-1-5.ec2.internal", Name::Private(private, region("us-east-1"))),
            ("ip-10-0-1-5.eu-west-1.compute.internal", Name::Private(private, region("eu-west-1"))),
            ("ip-10-0-1-256.ec2.internal", Name::Nowhere),
            ("ip-10-0-1.ec2.internal", Name::Nowhere),
            ("db.ec2.internal", Name::Nowhere),
            ("a.ip-10-0-1-5.ec2.internal", Name::Nowhere),
            ("internal", Name::Nowhere),
            ("printer", Name::Nowhere),
            ("", Name::Nowhere),
            ("instance-data.ec2.internal", Name::InstanceData),
            ("localhost", Name::Localhost),
            ("x.localhost", Name::Localhost),
            ("ec2-198-18-0-5.compute-1.amazonaws.com", Name::Public(public, region("us-east-1"))),
            (
                "ec2-198-18-0-5.eu-west-1.compute.amazonaws.com",
                Name::Public(public, region("eu-west-1")),
            ),
            ("ec2-x.compute-1.amazonaws.com", Name::Other),
            ("5.1.0.10.in-addr.arpa", Name::Reverse(private)),
            ("1.0.10.in-addr.arpa", Name::Other),
            ("web-1.us-east-1.elb.localhost", balancer(false)),
            ("web-1.us-east-1.elb.amazonaws.com", balancer(true)),
            ("sts.us-east-1.amazonaws.com", Name::Service(services::named("sts").unwrap())),
            ("vpce-0a-1.sts.eu-west-1.vpce.amazonaws.com", endpoint("sts")),
            ("my.pictures.bucket.vpce-0a-1.s3.eu-west-1.vpce.amazonaws.com", endpoint("s3")),
            ("lambda.us-east-1.amazonaws.com", Name::Other),
            ("example.com", Name::Other),
        ] {
            assert_eq!(parse(name), expected, "{name}");
        }
    }
}

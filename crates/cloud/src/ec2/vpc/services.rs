//! The services of this cloud under AWS's own names: which names each has, and the address at which
//! every network answers for it.
//!
//! The addresses are of 198.19.255.0/24, which no cloud hands out as public addresses.
//! Source: AWS General Reference, "AWS service endpoints"; S3 User Guide, "Virtual hosting".

use std::net::Ipv4Addr;

use crate::region;

/// Parent of every name here.
pub const DOMAIN: &str = "amazonaws.com";

#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// First label of its endpoint's name, as in `ec2.us-east-1.amazonaws.com`.
    pub name: &'static str,
    pub address: Ipv4Addr,
    /// Whether `NAME.amazonaws.com` is an endpoint, and whether `NAME.REGION.amazonaws.com` is.
    global: bool,
    regional: bool,
}

impl Service {
    pub fn is_regional(&self) -> bool {
        self.regional
    }
}

const fn service(name: &'static str, host: u8, global: bool, regional: bool) -> Service {
    Service { name, address: Ipv4Addr::new(198, 19, 255, host), global, regional }
}

pub const ALL: &[Service] = &[
    service("s3", 1, true, true),
    service("dynamodb", 2, false, true),
    service("ec2", 3, true, true),
    service("autoscaling", 4, true, true),
    service("elasticloadbalancing", 5, true, true),
    service("ssm", 6, false, true),
    service("sts", 7, true, true),
    service("iam", 8, true, false),
    service("cloudtrail", 9, false, true),
    service("sqs", 10, false, true),
    service("monitoring", 20, false, true),
];

pub fn named(name: &str) -> Option<&'static Service> {
    ALL.iter().find(|service| service.name == name)
}

/// The service that a DNS name (in lower case, without a final dot) is an endpoint of; a bucket's own
/// name is one of S3's.
pub fn of_name(name: &str) -> Option<&'static Service> {
    let labels: Vec<&str> = name.strip_suffix(DOMAIN)?.strip_suffix('.')?.split('.').collect();
    let is_region = |name: &str| region::find(name).is_some();
    match labels.as_slice() {
        // As older clients call it.
        ["queue"] => named("sqs"),
        [service] => named(service).filter(|service| service.global),
        [region, "queue"] if is_region(region) => named("sqs"),
        [account, "ddb", region] if is_account(account) && is_region(region) => named("dynamodb"),
        [service, region] if is_region(region) && *service != "s3" => {
            named(service).filter(|service| service.regional)
        }
        [host, service, region, "vpce"] if host.starts_with("vpce-") && is_region(region) => {
            named(service).filter(|service| service.regional)
        }
        // `bucket.` stands before the name where the endpoint itself is meant, `accesspoint.` and the like
        // are not served.
        [.., "bucket", host, "s3", region, "vpce"]
            if host.starts_with("vpce-") && is_region(region) =>
        {
            named("s3")
        }
        [.., "s3"] => named("s3"),
        [.., "s3", region] | [.., "s3", "dualstack", region] if is_region(region) => named("s3"),
        _ => None,
    }
}

fn is_account(label: &str) -> bool {
    label.len() == 12 && label.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_endpoints() {
        for (name, expected) in [
            ("ec2.us-east-1.amazonaws.com", Some("ec2")),
            ("ec2.amazonaws.com", Some("ec2")),
            ("ec2.moon-east-1.amazonaws.com", None),
            ("sts.eu-west-1.amazonaws.com", Some("sts")),
            ("sts.amazonaws.com", Some("sts")),
            ("iam.amazonaws.com", Some("iam")),
            ("iam.us-east-1.amazonaws.com", None),
            ("ssm.amazonaws.com", None),
            ("dynamodb.ap-south-1.amazonaws.com", Some("dynamodb")),
            ("123456789012.ddb.us-east-1.amazonaws.com", Some("dynamodb")),
            ("12345678901x.ddb.us-east-1.amazonaws.com", None),
            ("s3.amazonaws.com", Some("s3")),
            ("s3.us-west-2.amazonaws.com", Some("s3")),
            ("s3.dualstack.us-west-2.amazonaws.com", Some("s3")),
            ("pictures.s3.us-west-2.amazonaws.com", Some("s3")),
            ("my.own.pictures.s3.dualstack.us-west-2.amazonaws.com", Some("s3")),
            ("pictures.s3.amazonaws.com", Some("s3")),
            ("ec2.s3.amazonaws.com", Some("s3")),
            ("vpce-0a-1.sts.us-east-1.vpce.amazonaws.com", Some("sts")),
            ("vpce-0a-1-us-east-1b.sts.us-east-1.vpce.amazonaws.com", Some("sts")),
            ("a.vpce-0a-1.sts.us-east-1.vpce.amazonaws.com", None),
            ("x.sts.us-east-1.vpce.amazonaws.com", None),
            ("bucket.vpce-0a-1.s3.us-east-1.vpce.amazonaws.com", Some("s3")),
            ("my.pictures.bucket.vpce-0a-1.s3.us-east-1.vpce.amazonaws.com", Some("s3")),
            ("control.vpce-0a-1.s3.us-east-1.vpce.amazonaws.com", None),
            ("sqs.us-east-1.amazonaws.com", Some("sqs")),
            ("eu-west-1.queue.amazonaws.com", Some("sqs")),
            ("queue.amazonaws.com", Some("sqs")),
            ("sqs.amazonaws.com", None),
            ("lambda.us-east-1.amazonaws.com", None),
            ("ec2.us-east-1.amazonaws.com.evil.example", None),
            ("evilamazonaws.com", None),
            ("amazonaws.com", None),
        ] {
            assert_eq!(of_name(name).map(|service| service.name), expected, "{name}");
        }
    }

    #[test]
    fn every_service_has_an_address_of_its_own() {
        for service in ALL {
            let same = ALL.iter().filter(|other| other.address == service.address);
            assert_eq!(same.count(), 1, "{}", service.name);
        }
    }
}

//! Which bucket a `Host` names: `BUCKET.s3.REGION.localhost`, `BUCKET.s3.localhost`,
//! `BUCKET.localhost`, or the same under `amazonaws.com`. Any other host: the bucket is in the path.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

pub struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        Ok(match bucket(host) {
            Some(bucket) => VirtualHost::new(host).with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}

fn bucket(host: &str) -> Option<&str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let rest = name.strip_suffix(".localhost").or_else(|| name.strip_suffix(".amazonaws.com"))?;
    // A bucket's name may have dots, and may be `s3` in one of its parts: the last `s3` counts.
    let labels: Vec<&str> = rest.split('.').collect();
    let service = match labels.as_slice() {
        [.., "s3"] => Some(labels.len() - 1),
        [.., "s3", _region] => Some(labels.len() - 2),
        [.., "s3", "dualstack", _region] => Some(labels.len() - 3),
        // Of an interface endpoint.
        [_, "s3", _region, "vpce"] => Some(0),
        [.., "bucket", _, "s3", _region, "vpce"] => Some(labels.len() - 5),
        _ => None,
    };
    let bucket = match service {
        Some(0) => return None,
        Some(count) => &rest[..labels[..count].join(".").len()],
        None => rest,
    };
    Some(bucket)
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn buckets_in_host_names() {
        for (host, expected) in [
            ("localhost:4566", None),
            ("127.0.0.1:4566", None),
            ("169.254.169.254:4566", None),
            ("s3.localhost:4566", None),
            ("s3.us-east-1.localhost", None),
            ("pictures.localhost:4566", Some("pictures")),
            ("pictures.s3.localhost:4566", Some("pictures")),
            ("my.own.pictures.s3.eu-west-1.localhost", Some("my.own.pictures")),
            ("pictures.s3.eu-west-1.amazonaws.com", Some("pictures")),
            ("pictures.s3.dualstack.eu-west-1.amazonaws.com", Some("pictures")),
            ("s3.dualstack.eu-west-1.amazonaws.com", None),
            ("bucket.vpce-0a-1.s3.eu-west-1.vpce.amazonaws.com", None),
            ("my.pictures.bucket.vpce-0a-1.s3.eu-west-1.vpce.amazonaws.com", Some("my.pictures")),
            ("cloud.example.com", None),
        ] {
            assert_eq!(bucket(host), expected, "{host}");
        }
    }
}

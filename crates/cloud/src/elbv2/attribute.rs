//! Attributes of load balancers, listeners and target groups: AWS's keys, defaults and ranges, and
//! which of them can have another value here.

use std::collections::BTreeMap;

use super::{Error, Result};

/// Values that were set, by key; everything else has its default.
pub type Set = BTreeMap<String, String>;

/// One attribute.
pub struct Attribute {
    pub key: &'static str,
    pub default: &'static str,
    allowed: Allowed,
}

enum Allowed {
    /// Has its effect in the data plane or the control plane.
    OneOf(&'static [&'static str]),
    Number(std::ops::RangeInclusive<u32>),
    /// 0 or in the range.
    OffOr(std::ops::RangeInclusive<u32>),
    /// Real in AWS, not here: only the default.
    Fixed,
}

use Allowed::{Fixed, Number, OffOr, OneOf};

const BOOLEAN: &[&str] = &["true", "false"];

const fn attribute(key: &'static str, default: &'static str, allowed: Allowed) -> Attribute {
    Attribute { key, default, allowed }
}

pub const IDLE_TIMEOUT: &str = "idle_timeout.timeout_seconds";
pub const CLIENT_KEEP_ALIVE: &str = "client_keep_alive.seconds";
pub const DELETION_PROTECTION: &str = "deletion_protection.enabled";
pub const DESYNC_MODE: &str = "routing.http.desync_mitigation_mode";
pub const DROP_INVALID_HEADERS: &str = "routing.http.drop_invalid_header_fields.enabled";
pub const PRESERVE_HOST: &str = "routing.http.preserve_host_header.enabled";
pub const XFF_CLIENT_PORT: &str = "routing.http.xff_client_port.enabled";
pub const XFF_MODE: &str = "routing.http.xff_header_processing.mode";

pub const LOAD_BALANCER: &[Attribute] = &[
    attribute("access_logs.s3.enabled", "false", Fixed),
    attribute("access_logs.s3.bucket", "", Fixed),
    attribute("access_logs.s3.prefix", "", Fixed),
    attribute(CLIENT_KEEP_ALIVE, "3600", Number(60..=604_800)),
    attribute("connection_logs.s3.enabled", "false", Fixed),
    attribute("connection_logs.s3.bucket", "", Fixed),
    attribute("connection_logs.s3.prefix", "", Fixed),
    attribute(DELETION_PROTECTION, "false", OneOf(BOOLEAN)),
    attribute(IDLE_TIMEOUT, "60", Number(1..=4000)),
    // Of an Application Load Balancer it is always on; target groups can switch it off.
    attribute("load_balancing.cross_zone.enabled", "true", Fixed),
    attribute(DESYNC_MODE, "defensive", OneOf(&["monitor", "defensive", "strictest"])),
    attribute(DROP_INVALID_HEADERS, "false", OneOf(BOOLEAN)),
    attribute(PRESERVE_HOST, "false", OneOf(BOOLEAN)),
    attribute("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", Fixed),
    attribute(XFF_CLIENT_PORT, "false", OneOf(BOOLEAN)),
    attribute(XFF_MODE, "append", OneOf(&["append", "preserve", "remove"])),
    attribute("routing.http2.enabled", "true", Fixed),
    attribute("waf.fail_open.enabled", "false", Fixed),
    attribute("zonal_shift.config.enabled", "false", Fixed),
];

pub const SERVER_HEADER: &str = "routing.http.response.server.enabled";

pub const LISTENER: &[Attribute] = &[attribute(SERVER_HEADER, "true", OneOf(BOOLEAN))];

pub const DEREGISTRATION_DELAY: &str = "deregistration_delay.timeout_seconds";
pub const ALGORITHM: &str = "load_balancing.algorithm.type";
pub const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
pub const SLOW_START: &str = "slow_start.duration_seconds";
pub const STICKINESS: &str = "stickiness.enabled";
pub const STICKINESS_SECONDS: &str = "stickiness.lb_cookie.duration_seconds";

pub const TARGET_GROUP: &[Attribute] = &[
    attribute(DEREGISTRATION_DELAY, "300", Number(0..=3600)),
    attribute("load_balancing.algorithm.anomaly_mitigation", "off", Fixed),
    attribute(
        ALGORITHM,
        "round_robin",
        OneOf(&["round_robin", "least_outstanding_requests", "weighted_random"]),
    ),
    attribute(
        CROSS_ZONE,
        "use_load_balancer_configuration",
        OneOf(&["true", "false", "use_load_balancer_configuration"]),
    ),
    attribute(SLOW_START, "0", OffOr(30..=900)),
    attribute(STICKINESS, "false", OneOf(BOOLEAN)),
    attribute("stickiness.app_cookie.cookie_name", "", Fixed),
    attribute("stickiness.app_cookie.duration_seconds", "86400", Fixed),
    attribute(STICKINESS_SECONDS, "86400", Number(1..=604_800)),
    attribute("stickiness.type", "lb_cookie", Fixed),
    attribute("target_group_health.dns_failover.minimum_healthy_targets.count", "1", Fixed),
    attribute("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", Fixed),
    attribute(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        "1",
        Fixed,
    ),
    attribute(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        "off",
        Fixed,
    ),
];

/// Every attribute of the table with its value.
pub fn list<'a>(
    table: &'static [Attribute],
    set: &'a Set,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    table.iter().map(|attribute| (attribute.key, value_of(attribute, set)))
}

/// The value of `key`, which must be in the table.
pub fn get<'a>(table: &'static [Attribute], set: &'a Set, key: &str) -> &'a str {
    let attribute = table.iter().find(|attribute| attribute.key == key);
    value_of(attribute.expect("the key is in the table"), set)
}

pub fn enabled(table: &'static [Attribute], set: &Set, key: &str) -> bool {
    get(table, set, key) == "true"
}

pub fn number(table: &'static [Attribute], set: &Set, key: &str) -> u32 {
    get(table, set, key).parse().expect("checked when it was set")
}

fn value_of<'a>(attribute: &Attribute, set: &'a Set) -> &'a str {
    set.get(attribute.key).map_or(attribute.default, String::as_str)
}

/// Sets what the request says, or refuses it whole. `kind` is for the message: `Load balancer`.
pub fn set(
    table: &'static [Attribute],
    kind: &str,
    present: &Set,
    request: &[(String, String)],
) -> Result<Set> {
    let mut set = present.clone();
    for (n, (key, value)) in request.iter().enumerate() {
        if request[..n].iter().any(|(earlier, _)| earlier == key) {
            let message = format!("{kind} attribute key '{key}' is specified more than once");
            return Err(Error::validation(message));
        }
        let Some(attribute) = table.iter().find(|attribute| attribute.key == key) else {
            let message = format!("{kind} attribute key '{key}' is not recognized");
            return Err(Error::validation(message));
        };
        check(attribute, kind, value)?;
        set.remove(key);
        if value != attribute.default {
            set.insert(key.clone(), value.clone());
        }
    }
    Ok(set)
}

fn check(attribute: &Attribute, kind: &str, value: &str) -> Result<()> {
    if value == attribute.default {
        return Ok(());
    }
    let key = attribute.key;
    // Numbers are stored as given, so leading signs and zeros are refused.
    let number = value.parse().ok().filter(|n: &u32| n.to_string() == value);
    let (fits, expected) = match &attribute.allowed {
        OneOf(words) => (words.contains(&value), format!("one of {}", words.join(", "))),
        Number(range) => {
            let expected = format!("between {} and {}", range.start(), range.end());
            (number.is_some_and(|n| range.contains(&n)), expected)
        }
        OffOr(range) => {
            let expected = format!("0 or between {} and {}", range.start(), range.end());
            (number.is_some_and(|n| range.contains(&n)), expected)
        }
        Allowed::Fixed => {
            return Err(Error::unsupported(format!("{kind} attribute '{key}' = '{value}'")));
        }
    };
    if fits {
        return Ok(());
    }
    let message =
        format!("{kind} attribute '{key}' value '{value}' is not valid: must be {expected}");
    Err(Error::validation(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_set() {
        for (table, key, value, code) in [
            (LOAD_BALANCER, IDLE_TIMEOUT, "4000", None),
            (LOAD_BALANCER, IDLE_TIMEOUT, "4001", Some("ValidationError")),
            (LOAD_BALANCER, IDLE_TIMEOUT, "+5", Some("ValidationError")),
            (LOAD_BALANCER, DELETION_PROTECTION, "yes", Some("ValidationError")),
            (LOAD_BALANCER, "routing.http2.enabled", "true", None),
            (LOAD_BALANCER, "routing.http2.enabled", "false", Some("InvalidConfigurationRequest")),
            (LOAD_BALANCER, "nope", "1", Some("ValidationError")),
            (TARGET_GROUP, SLOW_START, "0", None),
            (TARGET_GROUP, SLOW_START, "29", Some("ValidationError")),
            (TARGET_GROUP, SLOW_START, "30", None),
            (TARGET_GROUP, "stickiness.type", "app_cookie", Some("InvalidConfigurationRequest")),
        ] {
            let request = [(key.to_owned(), value.to_owned())];
            let got = set(table, "Load balancer", &Set::new(), &request);
            assert_eq!(got.err().map(|e| e.code()), code, "{key}={value}");
        }
    }

    #[test]
    fn a_default_is_not_kept() {
        let pair = |value: &str| [(IDLE_TIMEOUT.to_owned(), value.to_owned())];
        let first = set(LOAD_BALANCER, "", &Set::new(), &pair("5")).unwrap();
        assert_eq!(number(LOAD_BALANCER, &first, IDLE_TIMEOUT), 5);
        assert_eq!(set(LOAD_BALANCER, "", &first, &pair("60")).unwrap(), Set::new());
        let twice = [pair("5"), pair("6")].concat();
        assert!(set(LOAD_BALANCER, "", &first, &twice).is_err());
    }
}

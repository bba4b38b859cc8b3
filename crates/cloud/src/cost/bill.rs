//! From spans to money. Pure but for the Spot market's prices, which are a function of time too.

use std::time::Duration;

use store::Snapshot;

use super::model::{Closed, Open, Span, Usage};
use crate::clock::Timestamp;
use crate::ec2::catalog::prices;
use crate::ec2::spot::market;
use crate::env::Env;
use crate::region;
use crate::tag::Tags;

/// "Each partial instance-hour … is billed per-second for Linux …, with a minimum of 60 seconds."
const MINIMUM: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;
/// Of a GB-month: AWS's examples of EBS pricing count 30 days.
const MONTH_HOURS: f64 = 30.0 * 24.0;

/// So much of one thing for one resource, in one period.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    pub account: String,
    pub region: String,
    pub resource: String,
    pub tags: Tags,
    pub service: &'static str,
    pub usage_type: String,
    pub operation: &'static str,
    /// Of instances.
    pub purchase: Option<&'static str>,
    pub instance_type: Option<String>,
    pub zone: Option<String>,
    pub quantity: f64,
    /// `Hrs` or `GB-Mo`, …
    pub unit: &'static str,
    /// US dollars; `None`: there is no price.
    pub usd: Option<f64>,
    /// What an hour more of it costs; nothing where it is over.
    pub usd_per_hour: f64,
}

/// Everything of an account that costs something in `from..to`.
pub fn charges(
    snapshot: &Snapshot,
    env: &Env,
    account: &str,
    from: Timestamp,
    to: Timestamp,
) -> Vec<Charge> {
    let now = env.clock.now();
    let prefix = format!("{account}/");
    let closed = snapshot.scan::<Closed>(&prefix).map(|closed| closed.0.clone());
    let open = snapshot.scan::<Open>(&prefix).map(|open| open.0.clone());
    let spot =
        |kind: &str, zone: &str, at| Some(market::series(snapshot, env, kind, zone)?.price(at));
    closed.chain(open).flat_map(|span| of(&span, now, from, to, &spot)).collect()
}

/// What a Spot hour of a type in a zone costs at a time.
type Spot<'a> = &'a dyn Fn(&str, &str, Timestamp) -> Option<f64>;

fn of(span: &Span, now: Timestamp, from: Timestamp, to: Timestamp, spot: Spot<'_>) -> Vec<Charge> {
    let mut end = span.to.unwrap_or(now);
    if matches!(span.usage, Usage::Instance { .. }) {
        end = end.max(span.from.plus(MINIMUM));
    }
    let (begin, end) = (span.from.max(from), end.min(to));
    if begin >= end {
        return vec![];
    }
    let hours = (end.0 - begin.0) as f64 / HOUR_MS as f64;
    let goes_on = span.to.is_none();
    let charge = |service, usage_type: &str, operation, unit, quantity, price: Option<f64>| {
        let rate = price.map(|price| price * quantity / hours).filter(|_| goes_on);
        Charge {
            account: span.account.clone(),
            region: span.region.clone(),
            resource: span.resource.clone(),
            tags: span.tags.clone(),
            service,
            usage_type: format!("{}{usage_type}", prefix(&span.region)),
            operation,
            purchase: None,
            instance_type: None,
            zone: None,
            quantity,
            unit,
            usd: price.map(|price| price * quantity),
            usd_per_hour: rate.unwrap_or(0.0),
        }
    };
    const COMPUTE: &str = "Amazon Elastic Compute Cloud - Compute";
    const OTHER: &str = "EC2 - Other";
    const VPC: &str = "Amazon Virtual Private Cloud";
    const ELB: &str = "Amazon Elastic Load Balancing";
    match &span.usage {
        Usage::Instance { instance_type, zone, spot: is_spot } => {
            let kind = if *is_spot { "SpotUsage" } else { "BoxUsage" };
            let usage_type = format!("{kind}:{instance_type}");
            let price = prices::on_demand(instance_type).filter(|_| !is_spot);
            let mut charge = charge(COMPUTE, &usage_type, "RunInstances", "Hrs", hours, price);
            if *is_spot {
                charge.usd = spot_cost(span.from, begin, end, |at| spot(instance_type, zone, at));
                let rate = spot(instance_type, zone, now).filter(|_| goes_on);
                charge.usd_per_hour = rate.unwrap_or(0.0);
            }
            let purchase = if *is_spot { "Spot Instances" } else { "On Demand Instances" };
            charge.purchase = Some(purchase);
            charge.instance_type = Some(instance_type.clone());
            charge.zone = Some(zone.clone());
            vec![charge]
        }
        // "If you do not use the reserved capacity, it is charged at the On-Demand rate."
        Usage::Reservation { instance_type, zone, unused } => {
            let usage_type = format!("UnusedBox:{instance_type}");
            let (hours, price) = (hours * f64::from(*unused), prices::on_demand(instance_type));
            let charge = charge(COMPUTE, &usage_type, "RunInstances", "Hrs", hours, price);
            vec![Charge {
                purchase: Some("On Demand Instances"),
                instance_type: Some(instance_type.clone()),
                zone: Some(zone.clone()),
                ..charge
            }]
        }
        Usage::Volume { volume_type, zone, size_gib, iops, throughput } => {
            let months = hours / MONTH_HOURS;
            let price = |what: &str| prices::of(&format!("ebs:{volume_type}{what}"));
            let more = |n: u32, free: u32| f64::from(n.saturating_sub(free)) * months;
            let free = if volume_type == "gp3" { (3000, 125) } else { (0, 0) };
            let of = |what: &str, operation, unit, quantity, price| {
                let usage_type = format!("EBS:{what}.{volume_type}");
                Charge {
                    zone: Some(zone.clone()),
                    ..charge(OTHER, &usage_type, operation, unit, quantity, price)
                }
            };
            let size = f64::from(*size_gib) * months;
            let mut charges = vec![of("VolumeUsage", "CreateVolume", "GB-Mo", size, price(""))];
            if let Some(price) = price(":iops").filter(|_| *iops > free.0) {
                let (unit, count) = ("IOPS-Mo", more(*iops, free.0));
                charges.push(of("VolumeP-IOPS", "CreateVolume", unit, count, Some(price)));
            }
            if let Some(price) = price(":throughput").filter(|_| *throughput > free.1) {
                let (unit, count) = ("MiBps-Mo", more(*throughput, free.1));
                charges.push(of("VolumeP-Throughput", "CreateVolume", unit, count, Some(price)));
            }
            charges
        }
        Usage::Address => {
            let (kind, price) = ("PublicIPv4:InUseAddress", prices::of("ipv4"));
            vec![charge(VPC, kind, "AllocateAddressVPC", "Hrs", hours, price)]
        }
        Usage::ApplicationBalancer => {
            let (kind, price) = ("LoadBalancerUsage", prices::of("alb"));
            vec![charge(ELB, kind, "LoadBalancing:Application", "Hrs", hours, price)]
        }
        Usage::NatGateway => {
            let price = prices::of("nat");
            vec![charge(OTHER, "NatGateway-Hours", "NatGateway", "Hrs", hours, price)]
        }
        Usage::Endpoint { zones } => {
            let (hours, price) = (hours * f64::from(*zones), prices::of("vpce"));
            vec![charge(VPC, "VpcEndpoint-Hours", "VpcEndpoint", "Hrs", hours, price)]
        }
    }
}

/// "The price … is set at the beginning of each instance-hour for the entire hour".
fn spot_cost(
    launched: Timestamp,
    begin: Timestamp,
    end: Timestamp,
    price: impl Fn(Timestamp) -> Option<f64>,
) -> Option<f64> {
    let mut hour = Timestamp(begin.0 - (begin.0 - launched.0).rem_euclid(HOUR_MS));
    let mut sum = 0.0;
    while hour < end {
        let next = Timestamp(hour.0 + HOUR_MS);
        let part = (next.min(end).0 - hour.max(begin).0) as f64 / HOUR_MS as f64;
        sum += price(hour)? * part;
        hour = next;
    }
    Some(sum)
}

/// Usage types of all regions but us-east-1 begin with their region's.
fn prefix(region: &str) -> String {
    match region {
        "us-east-1" => String::new(),
        other => format!("{}-", region::abbreviation(other).to_uppercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::NOW;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 + seconds * 1000)
    }

    fn span(usage: Usage, seconds: Option<i64>) -> Span {
        Span {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            resource: "r".into(),
            usage,
            tags: Tags::new(),
            from: NOW,
            to: seconds.map(at),
        }
    }

    fn instance(spot: bool) -> Usage {
        let (instance_type, zone) = ("m5.large".to_owned(), "us-east-1a".to_owned());
        Usage::Instance { instance_type, zone, spot }
    }

    fn reservation(unused: u32) -> Usage {
        let (instance_type, zone) = ("m5.large".to_owned(), "us-east-1a".to_owned());
        Usage::Reservation { instance_type, zone, unused }
    }

    fn volume(volume_type: &str, size_gib: u32, iops: u32, throughput: u32) -> Usage {
        let (volume_type, zone) = (volume_type.to_owned(), "us-east-1a".to_owned());
        Usage::Volume { volume_type, zone, size_gib, iops, throughput }
    }

    #[test]
    fn figures() {
        const HOUR: i64 = 3600;
        const MONTH: i64 = 30 * 24 * HOUR;
        // A price of a cent an hour, which doubles with each hour.
        let spot = |_: &str, _: &str, at: Timestamp| {
            Some(0.01 * f64::from(1 << ((at.0 - NOW.0) / HOUR_MS)))
        };
        let cases: Vec<(Usage, Option<i64>, i64, i64, f64)> = vec![
            (instance(false), Some(HOUR), 0, HOUR * 9, 0.096),
            // A second costs a minute, a minute and a second costs that.
            (instance(false), Some(1), 0, HOUR, 0.096 / 60.0),
            (instance(false), Some(61), 0, HOUR, 0.096 * 61.0 / 3600.0),
            // What still runs is billed until now, which is ten hours later.
            (instance(false), None, 0, HOUR * 99, 0.96),
            (instance(false), None, HOUR, HOUR * 2, 0.096),
            (instance(false), Some(HOUR), HOUR, HOUR * 2, 0.0),
            (instance(true), Some(HOUR * 5 / 2), 0, HOUR * 9, 0.01 + 0.02 + 0.04 / 2.0),
            // A period that begins within an instance-hour has that hour's price.
            (instance(true), Some(HOUR * 5 / 2), HOUR * 3 / 2, HOUR * 9, 0.02 / 2.0 + 0.04 / 2.0),
            (reservation(2), Some(HOUR), 0, HOUR * 9, 0.192),
            (reservation(2), Some(1), 0, HOUR, 0.192 / 3600.0),
            (volume("gp3", 100, 3000, 125), Some(MONTH), 0, MONTH, 8.0),
            (volume("gp3", 100, 4000, 225), Some(MONTH), 0, MONTH, 8.0 + 5.0 + 4.0),
            (volume("io2", 10, 100, 0), Some(MONTH), 0, MONTH, 1.25 + 6.5),
            (Usage::Address, Some(HOUR * 2), 0, HOUR * 9, 0.01),
            (Usage::ApplicationBalancer, Some(HOUR), 0, HOUR * 9, 0.0225),
            (Usage::NatGateway, Some(HOUR), 0, HOUR * 9, 0.045),
            (Usage::Endpoint { zones: 3 }, Some(HOUR), 0, HOUR * 9, 0.03),
        ];
        for (usage, seconds, from, to, expected) in cases {
            let span = span(usage, seconds);
            let charges = of(&span, at(10 * HOUR), at(from), at(to), &spot);
            let usd: f64 = charges.iter().map(|charge| charge.usd.unwrap()).sum();
            assert!((usd - expected).abs() < 1e-9, "{span:?} {from} {to}: {usd} {expected}");
        }
    }

    #[test]
    fn what_has_no_price_is_said_to_have_none() {
        let (instance_type, zone) = ("mac1.metal".to_owned(), "us-east-1a".to_owned());
        let span = span(Usage::Instance { instance_type, zone, spot: false }, Some(3600));
        let charges = of(&span, at(3600), at(0), at(3600), &|_, _, _| None);
        assert_eq!((charges[0].usd, charges[0].quantity), (None, 1.0));
    }

    #[test]
    fn what_goes_on_has_a_rate() {
        let now = at(7200);
        let rate = |usage, seconds| {
            let charges = of(&span(usage, seconds), now, at(0), now, &|_, _, _| Some(0.03));
            charges.iter().map(|charge| charge.usd_per_hour).sum::<f64>()
        };
        assert!((rate(instance(false), None) - 0.096).abs() < 1e-12);
        assert_eq!(rate(instance(true), None), 0.03);
        assert_eq!(rate(instance(true), Some(60)), 0.0);
        assert!((rate(volume("gp3", 8, 3000, 125), None) - 0.64 / 720.0).abs() < 1e-12);
    }
}

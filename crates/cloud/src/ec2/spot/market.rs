//! The Spot market of every zone: the model's prices, and those that the operator sets instead
//! (`drover spot price --set`).

use serde::{Deserialize, Serialize};
use store::{Snapshot, Tx};

use super::price::{Course, STEP};
use crate::clock::Timestamp;
use crate::ec2::catalog::{self, prices};
use crate::ec2::listing::Listing;
use crate::ec2::{Error, Result};
use crate::{Context, Env, zone};

/// The only product there is.
pub const PRODUCT: &str = "Linux/UNIX";

/// How far back DescribeSpotPriceHistory goes ("for the past 90 days").
const REMEMBERED_MS: i64 = 90 * 24 * 3_600_000;
const MAX_RESULTS: i32 = 1000;

/// What the operator said of one type in one zone, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetPrice {
    pub zone: String,
    pub instance_type: String,
    /// The oldest first; `None`: the model's again.
    pub changes: Vec<(Timestamp, Option<f64>)>,
}

impl store::Record for SetPrice {
    const TABLE: &'static str = "ec2_spot_set_prices";
    fn key(&self) -> String {
        key(&self.zone, &self.instance_type)
    }
}

fn key(zone: &str, instance_type: &str) -> String {
    format!("{zone}/{instance_type}")
}

/// The price of one type in one zone, over all time.
pub struct Series {
    course: Course,
    set: Vec<(Timestamp, Option<f64>)>,
}

/// `None` for what has no price, or is not to be had as Spot.
pub fn series(snapshot: &Snapshot, env: &Env, instance_type: &str, zone: &str) -> Option<Series> {
    let size = catalog::instance_type(instance_type)?;
    if !size.usage_classes.contains(&"spot") {
        return None;
    }
    let on_demand = prices::on_demand(instance_type)?;
    let course = Course::new(env.config.spot_seed, instance_type, zone, on_demand);
    let set = snapshot.get::<SetPrice>(&key(zone, instance_type));
    Some(Series { course, set: set.map(|set| set.changes.clone()).unwrap_or_default() })
}

impl Series {
    pub fn price(&self, at: Timestamp) -> f64 {
        self.set_at(at).and_then(|(_, price)| price).unwrap_or_else(|| self.course.price(at))
    }

    fn set_at(&self, at: Timestamp) -> Option<(Timestamp, Option<f64>)> {
        self.set.iter().rev().find(|(since, _)| *since <= at).copied()
    }

    /// When the price of that moment began.
    pub fn since(&self, at: Timestamp) -> Timestamp {
        match self.set_at(at) {
            Some((since, Some(_))) => since,
            Some((since, None)) => self.course.since(at).max(since),
            None => self.course.since(at),
        }
    }

    /// The next moment at which it may change by itself.
    pub fn next(&self, at: Timestamp) -> Timestamp {
        self.course.next(at)
    }

    /// Changes in `from..to`, the oldest first.
    fn changes(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, f64)> {
        let model = self.course.changes(from, to).into_iter().map(|(at, _)| at);
        let set = self.set.iter().map(|(at, _)| *at).filter(|at| (from..to).contains(at));
        let mut times: Vec<Timestamp> = model.chain(set).collect();
        times.sort();
        times.dedup();
        let changed = |at: &Timestamp| self.price(*at) != self.price(Timestamp(at.0 - 1));
        times.into_iter().filter(changed).map(|at| (at, self.price(at))).collect()
    }
}

/// Makes it cost `price`, or as the model has it.
pub fn set(
    tx: &mut Tx,
    env: &Env,
    instance_type: &str,
    zone: &str,
    price: Option<f64>,
) -> Result<()> {
    let region = zone::region_of(zone);
    if !zone::zones(region, env.config.zones).iter().any(|known| known.name == zone) {
        return Err(Error::value(format!("Invalid availability zone: [{zone}]")));
    }
    if series(tx, env, instance_type, zone).is_none() {
        return Err(no_market(instance_type));
    }
    let most = prices::on_demand(instance_type).unwrap_or_default();
    if price.is_some_and(|price| !(price > 0.0 && price <= most)) {
        return Err(Error::value(format!(
            "A Spot price of {instance_type} is more than 0 and at most its on-demand price, {most}."
        )));
    }
    let known = tx.get::<SetPrice>(&key(zone, instance_type));
    let mut changes = known.map(|known| known.changes.clone()).unwrap_or_default();
    let now = env.clock.now();
    changes.retain(|(at, _)| at.0 > now.0 - 2 * REMEMBERED_MS && *at < now);
    changes.push((now, price));
    tx.put(SetPrice { zone: zone.to_owned(), instance_type: instance_type.to_owned(), changes });
    Ok(())
}

/// The error for what is not to be had as Spot.
pub fn no_market(instance_type: &str) -> Error {
    Error::Unsupported(format!(
        "The instance type '{instance_type}' is not available as a Spot Instance."
    ))
}

/// One line of DescribeSpotPriceHistory.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub at: Timestamp,
    pub instance_type: &'static str,
    pub zone: String,
    pub price: f64,
}

impl Line {
    /// Lines count down in time; those of a moment are told apart by type and zone.
    fn key(&self) -> String {
        format!("{:016}/{}/{}", i64::MAX / 2 - self.at.0, self.instance_type, self.zone)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub types: Vec<String>,
    pub products: Vec<String>,
    pub zone: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub listing: Listing,
}

const FILTERS: &[&str] = &[
    "availability-zone",
    "availability-zone-id",
    "instance-type",
    "product-description",
    "spot-price",
    "timestamp",
];

/// Changes in the time asked for, the newest first, and then for each pair the price it began with.
pub fn history(
    snapshot: &Snapshot,
    cx: &Context,
    asked: &Asked,
) -> Result<(Vec<Line>, Option<String>)> {
    let Asked { types, products, zone, from, to, listing } = asked;
    listing.check(FILTERS, false)?;
    listing.check_max_results(0..=i32::MAX)?;
    for name in types {
        if catalog::instance_type(name).is_none() {
            return Err(Error::value(format!("Invalid value '{name}' for InstanceType.")));
        }
    }
    let zones = zone::zones(&cx.region, cx.env.config.zones);
    if let Some(zone) = zone
        && !zones.iter().any(|known| known.name == *zone)
    {
        return Err(Error::value(format!("Invalid availability zone: [{zone}]")));
    }
    let to = Timestamp(to.unwrap_or(cx.now).0.min(cx.now.0));
    let oldest = cx.now.0 - REMEMBERED_MS;
    let from = Timestamp(from.map_or(oldest, |from| from.0.clamp(oldest, cx.now.0)));
    if from > to {
        return Err(Error::value("The start time must be before the end time."));
    }
    let sold = |product: &str| product == PRODUCT || product == "Linux/UNIX (Amazon VPC)";
    if !products.is_empty() && !products.iter().any(|product| sold(product)) {
        return Ok((vec![], None));
    }
    let mut pairs = Vec::new();
    for size in catalog::all() {
        if !types.is_empty() && !types.iter().any(|name| name == size.name) {
            continue;
        }
        for place in zones.iter().filter(|place| zone.as_ref().is_none_or(|z| *z == place.name)) {
            let keeps = listing.keeps(Default::default, |name| match name {
                "availability-zone" => vec![place.name.clone()],
                "availability-zone-id" => vec![place.id.clone()],
                "instance-type" => vec![size.name.to_owned()],
                "product-description" => vec![PRODUCT.to_owned()],
                // Judged line by line.
                _ => listing
                    .filters
                    .iter()
                    .filter(|filter| filter.name == name)
                    .flat_map(|filter| filter.values.clone())
                    .collect(),
            });
            if keeps && let Some(series) = series(snapshot, &cx.env, size.name, &place.name) {
                pairs.push((size.name, place.name.clone(), series));
            }
        }
    }
    let limit = match listing.max_results {
        None | Some(0) => MAX_RESULTS,
        Some(n) => n.min(MAX_RESULTS),
    } as usize;
    let bad_token = || Error::InvalidNextToken(listing.next_token.clone().unwrap_or_default());
    let after = match &listing.next_token {
        Some(token) if !token.is_empty() => {
            Some(crate::page::decode(token).map_err(|_| bad_token())?)
        }
        _ => None,
    };
    let lines = Pages { pairs: &pairs, from, to, after: after.as_deref(), listing }.take(limit + 1);
    let more = lines.len() > limit;
    let lines: Vec<Line> = lines.into_iter().take(limit).collect();
    let token = lines.last().filter(|_| more).map(|last| crate::page::encode(&last.key()));
    Ok((lines, token))
}

/// Goes back through time a part at a time: there may be a million lines.
struct Pages<'a> {
    pairs: &'a [(&'static str, String, Series)],
    from: Timestamp,
    to: Timestamp,
    after: Option<&'a str>,
    listing: &'a Listing,
}

impl Pages<'_> {
    fn take(&self, limit: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut end = Timestamp(self.to.0 + 1);
        // A few pairs have few changes in a step: go on in longer parts for them.
        let part = STEP.as_millis() as i64 * (1 + 1000 / self.pairs.len().max(1) as i64);
        while end > self.from && lines.len() < limit {
            let begin = Timestamp((end.0 - part).max(self.from.0));
            lines.extend(self.sorted(|series| series.changes(begin, end)));
            end = begin;
        }
        if lines.len() < limit {
            // A change at the very start is among the changes already.
            let first = |series: &Series| {
                let before = Timestamp(self.from.0 - 1);
                let since = series.since(self.from);
                match since == self.from && series.price(before) != series.price(self.from) {
                    true => vec![],
                    false => vec![(since, series.price(self.from))],
                }
            };
            lines.extend(self.sorted(first));
        }
        lines.truncate(limit);
        lines
    }

    fn sorted(&self, of: impl Fn(&Series) -> Vec<(Timestamp, f64)>) -> Vec<Line> {
        let mut lines = Vec::new();
        for (instance_type, zone, series) in self.pairs {
            let line = |(at, price)| Line { at, instance_type, zone: zone.clone(), price };
            lines.extend(of(series).into_iter().map(line));
        }
        lines.retain(|line| {
            self.after.is_none_or(|after| line.key().as_str() > after)
                && self.listing.keeps(Default::default, |name| match name {
                    "spot-price" => vec![text(line.price)],
                    "timestamp" => vec![line.at.iso8601()],
                    _ => {
                        let asked = self.listing.filters.iter();
                        asked.filter(|f| f.name == name).flat_map(|f| f.values.clone()).collect()
                    }
                })
        });
        lines.sort_by_cached_key(Line::key);
        lines
    }
}

/// `0.031300`
pub fn text(price: f64) -> String {
    format!("{price:.6}")
}

/// Without zeros at its end, as messages have it: `0.0313`.
pub fn short(price: f64) -> String {
    text(price).trim_end_matches('0').trim_end_matches('.').to_owned()
}

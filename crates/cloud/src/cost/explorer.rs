//! Cost Explorer's questions about the bill: periods, expressions, dimensions. Pure.

use std::collections::BTreeMap;

use super::bill::Charge;
use super::error::{Error, Result};
use crate::clock::Timestamp;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// "the past 14 days" of hours.
const HOURLY_DAYS: i64 = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    Monthly,
    Daily,
    Hourly,
}

impl Granularity {
    pub fn parse(text: &str) -> Result<Granularity> {
        match text {
            "MONTHLY" => Ok(Granularity::Monthly),
            "DAILY" => Ok(Granularity::Daily),
            "HOURLY" => Ok(Granularity::Hourly),
            other => Err(Error::validation(format!("Invalid granularity: {other}"))),
        }
    }
}

/// A date, `2026-01-31`, or a second of one, `2026-01-31T01:00:00Z`.
pub fn time(text: &str, granularity: Granularity) -> Result<Timestamp> {
    let whole = match text.contains('T') {
        true if granularity == Granularity::Hourly => text.to_owned(),
        true => {
            return Err(Error::validation(
                "A time with hours can be given for the granularity HOURLY only.",
            ));
        }
        false => format!("{text}T00:00:00Z"),
    };
    let found = Timestamp::from_iso8601(&whole);
    // Dates that there are not (2026-02-30) come out as others.
    let found = found.filter(|at| at.iso8601() == whole);
    found.ok_or_else(|| Error::validation(format!("Invalid date: {text}")))
}

/// The parts of `from..to`, each with how it is written.
pub fn periods(
    from: Timestamp,
    to: Timestamp,
    granularity: Granularity,
) -> Result<Vec<(Timestamp, Timestamp)>> {
    if from >= to {
        return Err(Error::validation("Start date should be before end date."));
    }
    if granularity == Granularity::Hourly && to.0 - from.0 > HOURLY_DAYS * DAY_MS {
        return Err(Error::validation("Hourly data can be had for 14 days at once."));
    }
    let mut periods = Vec::new();
    let mut begin = from;
    while begin < to {
        let next = match granularity {
            Granularity::Hourly => Timestamp(begin.0 - begin.0.rem_euclid(HOUR_MS) + HOUR_MS),
            Granularity::Daily => Timestamp(begin.0 - begin.0.rem_euclid(DAY_MS) + DAY_MS),
            Granularity::Monthly => next_month(begin),
        };
        let end = next.min(to);
        periods.push((begin, end));
        begin = end;
    }
    Ok(periods)
}

fn next_month(at: Timestamp) -> Timestamp {
    let date = at.date();
    let mut day = at.0 - at.0.rem_euclid(DAY_MS);
    loop {
        day += DAY_MS;
        if Timestamp(day).date()[..7] != date[..7] {
            return Timestamp(day);
        }
    }
}

/// `2026-01-31`, with the hour where that is what is asked for.
pub fn text(at: Timestamp, granularity: Granularity) -> String {
    match granularity {
        Granularity::Hourly => at.iso8601(),
        Granularity::Monthly | Granularity::Daily => at.date(),
    }
}

/// What a charge has for a dimension; `None`: there is no such dimension here.
pub fn dimension(charge: &Charge, name: &str) -> Option<String> {
    let or = |value: &Option<String>, none: &str| value.clone().unwrap_or_else(|| none.to_owned());
    Some(match name {
        "AZ" => or(&charge.zone, "NoAZ"),
        "INSTANCE_TYPE" => or(&charge.instance_type, "NoInstanceType"),
        "LINKED_ACCOUNT" => charge.account.clone(),
        "OPERATION" => charge.operation.to_owned(),
        "PURCHASE_TYPE" => charge.purchase.unwrap_or("NoPurchaseType").to_owned(),
        "RECORD_TYPE" => "Usage".to_owned(),
        "REGION" => charge.region.clone(),
        "SERVICE" => charge.service.to_owned(),
        "USAGE_TYPE" => charge.usage_type.clone(),
        _ => return None,
    })
}

const DIMENSIONS: &[&str] = &[
    "AZ",
    "INSTANCE_TYPE",
    "LINKED_ACCOUNT",
    "OPERATION",
    "PURCHASE_TYPE",
    "RECORD_TYPE",
    "REGION",
    "SERVICE",
    "USAGE_TYPE",
];

pub fn check_dimension(name: &str) -> Result<()> {
    if DIMENSIONS.contains(&name) {
        return Ok(());
    }
    Err(Error::unsupported(&format!("The dimension {name}")))
}

/// What a filter says.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Dimension { name: String, matcher: Matcher },
    Tag { key: String, matcher: Matcher },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Matcher {
    pub how: How,
    pub case_sensitive: bool,
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Equals,
    Absent,
    StartsWith,
    EndsWith,
    Contains,
}

impl Matcher {
    pub fn new(options: &[String], values: Vec<String>) -> Result<Matcher> {
        let mut matcher = Matcher { how: How::Equals, case_sensitive: true, values };
        for option in options {
            match option.as_str() {
                "EQUALS" => matcher.how = How::Equals,
                "ABSENT" => matcher.how = How::Absent,
                "STARTS_WITH" => matcher.how = How::StartsWith,
                "ENDS_WITH" => matcher.how = How::EndsWith,
                "CONTAINS" => matcher.how = How::Contains,
                "CASE_SENSITIVE" => matcher.case_sensitive = true,
                "CASE_INSENSITIVE" => matcher.case_sensitive = false,
                other => return Err(Error::unsupported(&format!("The match option {other}"))),
            }
        }
        if matcher.values.is_empty() && matcher.how != How::Absent {
            return Err(Error::validation("Values must be specified."));
        }
        Ok(matcher)
    }

    fn matches(&self, found: Option<&str>) -> bool {
        let Some(found) = found else { return self.how == How::Absent };
        let fold = |text: &str| match self.case_sensitive {
            true => text.to_owned(),
            false => text.to_lowercase(),
        };
        let found = fold(found);
        self.values.iter().map(|value| fold(value)).any(|value| match self.how {
            How::Equals => found == value,
            How::Absent => false,
            How::StartsWith => found.starts_with(&value),
            How::EndsWith => found.ends_with(&value),
            How::Contains => found.contains(&value),
        })
    }
}

impl Expression {
    pub fn keeps(&self, charge: &Charge) -> bool {
        match self {
            Expression::All(all) => all.iter().all(|one| one.keeps(charge)),
            Expression::Any(any) => any.iter().any(|one| one.keeps(charge)),
            Expression::Not(not) => !not.keeps(charge),
            Expression::Dimension { name, matcher } => {
                matcher.matches(dimension(charge, name).as_deref())
            }
            Expression::Tag { key, matcher } => {
                matcher.matches(charge.tags.get(key).map(String::as_str))
            }
        }
    }
}

/// What groups are made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    Dimension(String),
    Tag(String),
}

impl GroupBy {
    pub fn key(&self, charge: &Charge) -> String {
        match self {
            GroupBy::Dimension(name) => dimension(charge, name).unwrap_or_default(),
            GroupBy::Tag(key) => {
                format!("{key}${}", charge.tags.get(key).map_or("", String::as_str))
            }
        }
    }
}

pub const METRICS: &[&str] = &[
    "AmortizedCost",
    "BlendedCost",
    "NetAmortizedCost",
    "NetUnblendedCost",
    "UnblendedCost",
    "UsageQuantity",
];

/// Amount and unit of each metric. There are no discounts and nothing reserved: all costs are the same.
pub fn totals(charges: &[&Charge], metrics: &[String]) -> BTreeMap<String, (String, String)> {
    let usd: f64 = charges.iter().filter_map(|charge| charge.usd).sum();
    let quantity: f64 = charges.iter().map(|charge| charge.quantity).sum();
    let unit = charges.first().map_or("N/A", |charge| charge.unit);
    let unit = if charges.iter().all(|charge| charge.unit == unit) { unit } else { "N/A" };
    let of = |metric: &String| match metric.as_str() {
        "UsageQuantity" => (metric.clone(), (amount(quantity), unit.to_owned())),
        _ => (metric.clone(), (amount(usd), "USD".to_owned())),
    };
    metrics.iter().map(of).collect()
}

/// Ten digits after the point, without zeros at the end.
fn amount(value: f64) -> String {
    let text = format!("{value:.10}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_end_with_their_days_and_months() {
        for (from, to, granularity, expected) in [
            ("2026-01-30", "2026-02-02", "DAILY", "2026-01-30 2026-01-31 2026-02-01"),
            ("2026-01-30", "2026-03-02", "MONTHLY", "2026-01-30 2026-02-01 2026-03-01"),
            (
                "2026-01-30T22:30:00Z",
                "2026-01-31",
                "HOURLY",
                "2026-01-30T22:30:00Z 2026-01-30T23:00:00Z",
            ),
        ] {
            let granularity = Granularity::parse(granularity).unwrap();
            let at = |text| time(text, granularity).unwrap();
            let periods = periods(at(from), at(to), granularity).unwrap();
            let begins: Vec<String> =
                periods.iter().map(|(begin, _)| text(*begin, granularity)).collect();
            assert_eq!(begins.join(" "), expected);
            assert_eq!(periods.last().unwrap().1, at(to));
        }
        let daily = Granularity::Daily;
        for bad in ["2026-02-30", "yesterday", "2026-01-01T00:00:00Z", ""] {
            assert!(time(bad, daily).is_err(), "{bad}");
        }
        assert!(periods(Timestamp(0), Timestamp(0), daily).is_err());
        assert!(periods(Timestamp(0), Timestamp(15 * DAY_MS), Granularity::Hourly).is_err());
    }

    #[test]
    fn matchers() {
        let matcher = |options: &[&str], values: &[&str]| {
            let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
            Matcher::new(&own(options), own(values))
        };
        for (options, value, found, expected) in [
            (&["EQUALS"][..], "web", Some("web"), true),
            (&[], "web", Some("Web"), false),
            (&["CASE_INSENSITIVE"], "web", Some("Web"), true),
            (&["STARTS_WITH"], "we", Some("web"), true),
            (&["ENDS_WITH"], "we", Some("web"), false),
            (&["CONTAINS", "CASE_INSENSITIVE"], "E", Some("web"), true),
            (&["ABSENT"], "web", Some("web"), false),
            (&["ABSENT"], "web", None, true),
            (&["EQUALS"], "web", None, false),
        ] {
            let made = matcher(options, &[value]).unwrap();
            assert_eq!(made.matches(found), expected, "{options:?} {value} {found:?}");
        }
        assert!(matcher(&["GREATER_THAN_OR_EQUAL"], &["1"]).is_err());
        assert!(matcher(&[], &[]).is_err());
    }
}

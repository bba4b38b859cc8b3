//! Values that conditions compare by what they mean: times, networks, numbers, ARNs, bytes.

use std::net::IpAddr;

use crate::context::{Context, Key};
use crate::pattern::{Pattern, Wildcards};

/// A decimal number. No infinities.
pub(crate) fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|number: &f64| plain && number.is_finite())
}

/// Milliseconds since 1970, from seconds since then or from a profile of ISO 8601 (W3C's note "Date
/// and Time Formats"): a year, a month, a day, or a time of the day with its zone.
pub(crate) fn date(text: &str) -> Option<i64> {
    let epoch = text.strip_prefix('-').unwrap_or(text);
    if epoch.len() != 4 && !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<i64>().ok()?.checked_mul(1000);
    }
    let (day, time) = match text.split_once(['T', 't']) {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let mut parts = day.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |part| digits(part, 2))?;
    let day = parts.next().map_or(Some(1), |part| digits(part, 2))?;
    let fine = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    if !fine || parts.next().is_some() {
        return None;
    }
    let midnight = days_since_1970(year, month, day) * 86_400_000;
    Some(midnight + time.map_or(Some(0), time_of_day)?)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let fine = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| fine)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// In the proleptic Gregorian calendar. Years are counted from March, so that a leap day is a last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// `hh:mm`, `hh:mm:ss` or `hh:mm:ss.s`, with a zone or in UTC, in milliseconds of UTC.
fn time_of_day(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (time, zone) = text.split_at(zone_at);
    let mut parts = time.splitn(3, ':');
    let hour = digits(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = digits(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let (second, fraction) = match parts.next() {
        Some(second) => second.split_once('.').map_or((second, None), |(s, f)| (s, Some(f))),
        None => ("00", None),
    };
    let second = digits(second, 2).filter(|second| *second < 61)?;
    let millisecond = match fraction {
        Some(fraction) if digits(fraction, fraction.len()).is_some() => {
            digits(&format!("{fraction:0<3}")[..3], 3)?
        }
        Some(_) => return None,
        None => 0,
    };
    let offset_minutes = match zone.get(..1) {
        None | Some("Z" | "z") if zone.len() <= 1 => 0,
        Some(sign @ ("+" | "-")) => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let minutes = digits(hours, 2)? * 60 + digits(minutes, 2)?;
            if sign == "+" { minutes } else { -minutes }
        }
        _ => return None,
    };
    Some(((hour * 60 + minute - offset_minutes) * 60 + second) * 1000 + millisecond)
}

/// An address, or a network in CIDR notation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    pub fn new(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(bits), |prefix| prefix.parse().ok())?;
        (prefix <= bits).then_some(Network { address, prefix })
    }

    pub fn holds(&self, text: &str) -> bool {
        let (differing, bits) = match (self.address, text.parse()) {
            (IpAddr::V4(a), Ok(IpAddr::V4(b))) => ((a.to_bits() ^ b.to_bits()).into(), 32),
            (IpAddr::V6(a), Ok(IpAddr::V6(b))) => (a.to_bits() ^ b.to_bits(), 128),
            _ => return false,
        };
        differing.checked_shr(bits - self.prefix).unwrap_or(0) == 0
    }
}

/// An ARN whose six components are compared one by one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arn(Vec<Pattern>);

impl Arn {
    pub fn new(text: &str, variables: bool) -> Option<Arn> {
        let components = components(text, variables);
        let patterns = components
            .into_iter()
            .map(|component| Pattern::new(component, variables, Wildcards::Anywhere));
        patterns.collect::<Option<_>>().map(Arn)
    }

    pub fn matches(&self, text: &str, context: &Context) -> bool {
        let components = components(text, false);
        components.len() == 6
            && self.0.len() == 6
            && self.0.iter().zip(components).all(|(pattern, text)| pattern.matches(text, context))
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().flat_map(Pattern::keys)
    }
}

/// Cut at the first five colons that are in no variable.
pub(crate) fn components(text: &str, variables: bool) -> Vec<&str> {
    let mut found = Vec::with_capacity(6);
    let (mut start, mut inside) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if variables && text[..at].ends_with('$') => inside = true,
            b'}' => inside = false,
            b':' if !inside && found.len() < 5 => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found
}

/// Whether this is base64, in which equal texts are equal bytes.
pub(crate) fn base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, ms) in [
            ("1970", Some(0)),
            ("1970-01-02", Some(86_400_000)),
            ("2000-03-01T00:00:00Z", Some(951_868_800_000)),
            ("2013-06-30T00:00Z", Some(1_372_550_400_000)),
            ("2013-06-30T02:00:00.5+02:00", Some(1_372_550_400_500)),
            ("2013-06-29T22:30:00-01:30", Some(1_372_550_400_000)),
            ("1969-12-31T23:59:59Z", Some(-1000)),
            ("1372550400", Some(1_372_550_400_000)),
            ("0", Some(0)),
            ("-1", Some(-1000)),
            ("2013-02-29", None),
            ("2012-02-29", Some(1_330_473_600_000)),
            ("2013-13-01", None),
            ("2013-06-30T25:00:00Z", None),
            ("2013-06-30T00:00:00Zx", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(date(text), ms, "{text}");
        }
    }

    #[test]
    fn networks() {
        for (network, address, holds) in [
            ("203.0.113.0/24", "203.0.113.255", true),
            ("203.0.113.0/24", "203.0.114.0", false),
            ("203.0.113.7", "203.0.113.7", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "1.2.3.4", false),
        ] {
            assert_eq!(Network::new(network).unwrap().holds(address), holds, "{network} {address}");
        }
        for ill in ["1.2.3", "1.2.3.4/33", "::/129", "x"] {
            assert_eq!(Network::new(ill), None);
        }
    }

    #[test]
    fn numbers_and_bytes() {
        for (text, value) in [("10", Some(10.0)), ("-1.5", Some(-1.5)), ("inf", None), ("", None)] {
            assert_eq!(number(text), value);
        }
        for (text, fine) in [("QmluYXJ5", true), ("QQ==", true), ("QQ=", false), ("Q*==", false)] {
            assert_eq!(base64(text), fine);
        }
    }
}

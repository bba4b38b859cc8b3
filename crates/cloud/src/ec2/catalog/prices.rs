//! List prices, in US dollars: `prices.tsv` for instance types, `services.tsv` for all else. They are
//! those of one region, and are used in each.

use std::collections::BTreeMap;
use std::sync::LazyLock;

const TYPES: &str = include_str!("prices.tsv");
const SERVICES: &str = include_str!("services.tsv");

static PRICES: LazyLock<BTreeMap<&'static str, f64>> = LazyLock::new(|| table(TYPES));
static OTHERS: LazyLock<BTreeMap<&'static str, f64>> = LazyLock::new(|| table(SERVICES));

/// Of an hour on demand: Linux, shared tenancy. `None` where the list has none.
pub fn on_demand(instance_type: &str) -> Option<f64> {
    PRICES.get(instance_type).copied()
}

/// Of what is no instance, by its name and unit in `services.tsv`.
pub fn of(name: &str) -> Option<f64> {
    OTHERS.get(name).copied()
}

/// Where the prices of instance types come from.
pub fn source() -> &'static str {
    said(TYPES, "source")
}

/// Of instance types' prices: `2026-07-20`.
pub fn date() -> &'static str {
    said(TYPES, "date")
}

/// Of the other prices.
pub fn services_date() -> &'static str {
    said(SERVICES, "date")
}

/// Whose prices they are.
pub const REGION: &str = "us-east-1";

fn said(text: &'static str, what: &str) -> &'static str {
    let prefix = format!("# {what}: ");
    text.lines().find_map(|line| line.strip_prefix(prefix.as_str())).unwrap_or_default()
}

fn table(text: &'static str) -> BTreeMap<&'static str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &'static str| {
        let mut columns = line.split('\t');
        Some((columns.next()?, columns.next()?.parse().ok()?))
    };
    lines.filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_price_of_something_known() {
        let lines = |text: &'static str| text.lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(PRICES.len(), lines(TYPES));
        assert_eq!(OTHERS.len(), lines(SERVICES));
        for (name, price) in PRICES.iter() {
            assert!(super::super::instance_type(name).is_some(), "{name}");
            assert!(*price > 0.0, "{name}");
        }
        assert_eq!(on_demand("m5.large"), Some(0.096));
        assert_eq!(on_demand("mac1.metal"), None);
        assert_eq!((date().len(), services_date().len()), (10, 10));
        assert!(!source().is_empty());
    }

    /// A price of another tenancy or a slip would stand out among those of its family.
    #[test]
    fn prices_grow_with_size() {
        let size = |name: &str| super::super::instance_type(name).unwrap();
        for (name, price) in PRICES.iter() {
            let of = size(name);
            let family = PRICES.iter().filter(|(other, _)| size(other).family() == of.family());
            for (other, theirs) in family.filter(|(other, _)| {
                let other = size(other);
                !other.bare_metal
                    && !of.bare_metal
                    && other.vcpus >= of.vcpus
                    && other.memory_mib > of.memory_mib
                    && other.gpus.as_ref().map_or(0, |g| g.count)
                        >= of.gpus.as_ref().map_or(0, |g| g.count)
            }) {
                assert!(theirs >= price, "{name} {price} {other} {theirs}");
            }
        }
    }
}

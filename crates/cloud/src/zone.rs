//! Availability zones: which a region has, and which have failed.
//!
//! A zone is a failure domain. While its `Failure` record exists its instances are dead and their
//! links down, nothing launches in it, and its balancer is gone; controllers see the record and act.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::region;

/// A region's default subnets are /20 parts of a /16: there is room for sixteen.
pub const MAX_PER_REGION: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone {
    /// `us-east-1a`
    pub name: String,
    /// `use1-az1`
    pub id: String,
}

/// The first `n` zones of a region, in order of their letters.
pub fn zones(region: &str, n: usize) -> Vec<Zone> {
    let short = region::abbreviation(region);
    (b'a'..)
        .take(n.min(MAX_PER_REGION))
        .enumerate()
        .map(|(i, letter)| Zone {
            name: format!("{region}{}", char::from(letter)),
            id: format!("{short}-az{}", i + 1),
        })
        .collect()
}

/// The region of a zone's name: `us-east-1` for `us-east-1a`.
pub fn region_of(zone: &str) -> &str {
    zone.trim_end_matches(|c: char| c.is_ascii_lowercase())
}

/// Kept for as long as the zone is down. Zone names are unique among all regions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub zone: String,
    pub since: Timestamp,
}

impl store::Record for Failure {
    const TABLE: &'static str = "zone_failures";
    fn key(&self) -> String {
        self.zone.clone()
    }
}

/// Whether it was up before.
pub fn fail(tx: &mut store::Tx, zone: &str, now: Timestamp) -> bool {
    if is_failed(tx, zone) {
        return false;
    }
    tx.put(Failure { zone: zone.to_owned(), since: now });
    true
}

/// Whether it was down before.
pub fn heal(tx: &mut store::Tx, zone: &str) -> bool {
    tx.delete::<Failure>(zone)
}

pub fn is_failed(snapshot: &store::Snapshot, zone: &str) -> bool {
    snapshot.get::<Failure>(zone).is_some()
}

pub fn failures(snapshot: &store::Snapshot) -> Vec<std::sync::Arc<Failure>> {
    snapshot.scan("").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_lettered_and_numbered() {
        let zones = zones("eu-central-1", 3);
        let names: Vec<_> = zones.iter().map(|z| (z.name.as_str(), z.id.as_str())).collect();
        assert_eq!(
            names,
            [
                ("eu-central-1a", "euc1-az1"),
                ("eu-central-1b", "euc1-az2"),
                ("eu-central-1c", "euc1-az3")
            ]
        );
        assert_eq!(region_of("eu-central-1c"), "eu-central-1");
    }

    #[tokio::test]
    async fn failing_twice_is_failing_once() {
        let store = store::Store::ephemeral();
        let changed = store
            .write(|tx| {
                let first = fail(tx, "us-east-1a", Timestamp(1));
                let again = fail(tx, "us-east-1a", Timestamp(2));
                Ok::<_, store::Error>((first, again, is_failed(tx, "us-east-1b")))
            })
            .await
            .unwrap();
        assert_eq!(changed, (true, false, false));
        assert_eq!(failures(&store.read())[0].since, Timestamp(1));
        let healed = store
            .write(|tx| Ok::<_, store::Error>((heal(tx, "us-east-1a"), heal(tx, "us-east-1a"))))
            .await
            .unwrap();
        assert_eq!(healed, (true, false));
        assert!(!is_failed(&store.read(), "us-east-1a"));
    }
}

//! What Spot capacity costs, from a seed: the same seed has the same prices at all times. Pure.
//!
//! Every type has a course of its own in every zone. It changes at most every `STEP`, and is made of a
//! level that the pair keeps for good, a slow wave, a small noise, and now and then a day of scarcity
//! that drives it up to the on-demand price, which it never exceeds.

use std::time::Duration;

use crate::clock::Timestamp;

/// How long a price stays at least.
pub const STEP: Duration = Duration::from_secs(4 * 3600);

/// Steps between two points of the slow wave, and of a day.
const WAVE: i64 = 18;
const DAY: i64 = 6;

/// One type in one zone.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    key: u64,
    on_demand: f64,
    /// When in a step its changes come.
    phase_ms: i64,
}

impl Course {
    pub fn new(seed: u64, instance_type: &str, zone: &str, on_demand: f64) -> Course {
        let mut key = mix(seed ^ 0x5097_1057_u64);
        for byte in instance_type.bytes().chain([b'/']).chain(zone.bytes()) {
            key = mix(key ^ u64::from(byte));
        }
        // To the second, as AWS's timestamps are.
        let phase_ms = (mix(key ^ 1) % STEP.as_secs()) as i64 * 1000;
        Course { key, on_demand, phase_ms }
    }

    /// US dollars an hour.
    pub fn price(&self, at: Timestamp) -> f64 {
        self.of_step(self.step(at))
    }

    /// When the price of that moment began.
    pub fn since(&self, at: Timestamp) -> Timestamp {
        let mut step = self.step(at);
        // Steps differ nearly always; a cheap type may keep its price for some.
        for _ in 0..64 {
            if self.of_step(step - 1) != self.of_step(step) {
                break;
            }
            step -= 1;
        }
        self.begin(step)
    }

    /// The next moment at which it may change.
    pub fn next(&self, at: Timestamp) -> Timestamp {
        self.begin(self.step(at) + 1)
    }

    /// Changes in `from..to`, the oldest first.
    pub fn changes(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, f64)> {
        let first = self.step(Timestamp(from.0 - 1)) + 1;
        let steps = (first..).map(|step| (step, self.begin(step)));
        steps
            .take_while(|(_, begin)| *begin < to)
            .filter(|(step, _)| self.of_step(*step) != self.of_step(step - 1))
            .map(|(step, begin)| (begin, self.of_step(step)))
            .collect()
    }

    fn step(&self, at: Timestamp) -> i64 {
        (at.0 - self.phase_ms).div_euclid(STEP.as_millis() as i64)
    }

    fn begin(&self, step: i64) -> Timestamp {
        Timestamp(step * STEP.as_millis() as i64 + self.phase_ms)
    }

    fn of_step(&self, step: i64) -> f64 {
        let level = 0.28 + 0.27 * self.unit(2, 0);
        let (point, within) = (step.div_euclid(WAVE), step.rem_euclid(WAVE) as f64 / WAVE as f64);
        let wave = self.unit(3, point) * (1.0 - within) + self.unit(3, point + 1) * within;
        let noise = self.unit(4, step) - 0.5;
        let scarce = self.unit(5, step.div_euclid(DAY)) < 1.0 / 60.0;
        let scarcity = if scarce { 0.3 + 0.4 * self.unit(6, step) } else { 0.0 };
        let part = (level + 0.2 * (wave - 0.5) + 0.03 * noise + scarcity).clamp(0.1, 1.0);
        // Four digits after the point, as AWS lists them.
        let price = (self.on_demand * part * 1e4).ceil() / 1e4;
        price.min(self.on_demand)
    }

    /// Uniform in 0..1.
    fn unit(&self, what: u64, step: i64) -> f64 {
        let bits = mix(self.key ^ mix(what) ^ mix(step as u64 ^ 0xA5A5));
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::NOW;

    #[test]
    fn the_seed_decides() {
        let course = |seed| Course::new(seed, "m5.large", "us-east-1a", 0.096);
        let end = NOW.plus(STEP * 100);
        assert_eq!(course(1).changes(NOW, end), course(1).changes(NOW, end));
        assert_ne!(course(1).changes(NOW, end), course(2).changes(NOW, end));
        let elsewhere = Course::new(1, "m5.large", "us-east-1b", 0.096);
        assert_ne!(course(1).changes(NOW, end), elsewhere.changes(NOW, end));
        // It moves, and is worth having.
        let prices: Vec<f64> = course(1).changes(NOW, end).into_iter().map(|(_, p)| p).collect();
        assert!(prices.len() > 50, "{}", prices.len());
        assert!(prices.iter().sum::<f64>() / (prices.len() as f64) < 0.096 * 0.75);
    }

    proptest! {
        #[test]
        fn prices_are_bounded_and_changes_tell_all(
            seed: u64, type_at in 0usize..1000, hours in 0u64..200_000,
        ) {
            let all = crate::ec2::catalog::all();
            let name = all[type_at % all.len()].name;
            let Some(on_demand) = crate::ec2::catalog::prices::on_demand(name) else { return Ok(()) };
            let course = Course::new(seed, name, "us-east-1c", on_demand);
            let at = Timestamp(NOW.0 + hours as i64 * 3_600_000);
            let price = course.price(at);
            prop_assert!(price > 0.0 && price <= on_demand);
            prop_assert!(course.since(at) <= at && at < course.next(at));
            // What held before and every change since: the price of each later moment.
            let end = at.plus(STEP * 10);
            let mut now = course.price(at);
            let changes = course.changes(Timestamp(at.0 + 1), end);
            for (when, next) in changes {
                prop_assert_eq!(course.price(Timestamp(when.0 - 1)), now);
                prop_assert_eq!(course.since(when), when);
                now = next;
            }
            prop_assert_eq!(course.price(Timestamp(end.0 - 1)), now);
        }
    }
}

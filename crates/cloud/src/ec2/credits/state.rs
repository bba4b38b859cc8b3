//! Earning and spending. Pure.

use std::time::Duration;

use super::facts::Facts;
use super::model::{Credits, Mode};
use crate::clock::Timestamp;

/// How long a stopped instance of a later family than T2 keeps what it has.
const KEPT_STOPPED: Duration = Duration::from_secs(7 * 24 * 3600);

/// A fresh account.
pub fn launched(credits: &mut Credits, facts: &Facts, now: Timestamp) {
    (credits.balance, credits.surplus) = (0.0, 0.0);
    credits.launch = if credits.mode == Mode::Standard { facts.at_launch() } else { 0.0 };
    credits.at = now;
    credits.stopped = None;
}

/// It ran for `elapsed` and used `spent` credits' worth of processor time.
pub fn ran(credits: &mut Credits, facts: &Facts, elapsed: Duration, spent: f64) {
    let earned = facts.per_hour * elapsed.as_secs_f64() / 3600.0;
    let repaid = earned.min(credits.surplus);
    credits.surplus -= repaid;
    credits.balance += earned - repaid;
    let mut owed = spent;
    for purse in [&mut credits.launch, &mut credits.balance] {
        let paid = owed.min(*purse);
        *purse -= paid;
        owed -= paid;
    }
    // A standard instance that ran a little over before it was held gets away with it.
    if credits.mode == Mode::Unlimited {
        credits.surplus += owed;
        let over = (credits.surplus - facts.most).max(0.0);
        credits.surplus -= over;
        credits.charged += over;
    }
    credits.balance = credits.balance.min(facts.most);
    credits.spent += spent;
}

/// Processors' worth of time that it may use in the next `step`.
pub fn allowance(credits: &Credits, facts: &Facts, step: Duration) -> f64 {
    match credits.mode {
        Mode::Unlimited => facts.vcpus,
        Mode::Standard => {
            let minutes = step.as_secs_f64() / 60.0;
            let burst = (credits.balance + credits.launch) / minutes;
            (facts.baseline() + burst).min(facts.vcpus)
        }
    }
}

pub fn stopped(credits: &mut Credits, facts: &Facts, now: Timestamp) {
    if facts.is_t2() {
        (credits.balance, credits.launch) = (0.0, 0.0);
    }
    // What was borrowed is charged when it stops.
    credits.charged += std::mem::take(&mut credits.surplus);
    credits.stopped = Some(now);
}

/// From when it runs again it earns again.
pub fn started(credits: &mut Credits, facts: &Facts, now: Timestamp) {
    let Some(since) = credits.stopped.take() else { return };
    if facts.is_t2() {
        return launched(credits, facts, now);
    }
    if now.since(since) > KEPT_STOPPED {
        credits.balance = 0.0;
    }
    credits.at = now;
}

pub fn switched(credits: &mut Credits, mode: Mode) {
    if mode == Mode::Standard {
        credits.charged += std::mem::take(&mut credits.surplus);
    }
    credits.mode = mode;
    credits.was_unlimited |= mode == Mode::Unlimited;
}

#[cfg(test)]
mod tests {
    use super::super::facts;
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    fn account(mode: Mode) -> Credits {
        Credits {
            account: "1".into(),
            region: "r".into(),
            instance_id: "i-1".into(),
            mode,
            was_unlimited: false,
            balance: 0.0,
            launch: 0.0,
            surplus: 0.0,
            spent: 0.0,
            charged: 0.0,
            boot: 1,
            cpu_seconds: 0.0,
            at: Timestamp(0),
            stopped: None,
        }
    }

    #[test]
    fn what_is_earned_accrues_for_a_day() {
        let facts = facts::of("t3.micro").unwrap();
        let mut credits = account(Mode::Standard);
        ran(&mut credits, &facts, HOUR, 0.0);
        assert_eq!(credits.balance, 12.0);
        ran(&mut credits, &facts, HOUR, 5.0);
        assert_eq!((credits.balance, credits.spent), (19.0, 5.0));
        ran(&mut credits, &facts, HOUR * 100, 0.0);
        assert_eq!(credits.balance, 288.0);
    }

    #[test]
    fn a_standard_instance_without_credits_is_held_to_its_baseline() {
        let facts = facts::of("t3.nano").unwrap();
        let mut credits = account(Mode::Standard);
        assert_eq!(allowance(&credits, &facts, MINUTE), 0.1);
        credits.balance = 0.5;
        assert_eq!(allowance(&credits, &facts, MINUTE), 0.6);
        credits.balance = 100.0;
        assert_eq!(allowance(&credits, &facts, MINUTE), 2.0);
        // All out for long: no debts.
        for _ in 0..200 {
            let spent = allowance(&credits, &facts, MINUTE);
            ran(&mut credits, &facts, MINUTE, spent);
        }
        assert!(credits.balance.abs() < 1e-6 && credits.surplus == 0.0, "{credits:?}");
    }

    #[test]
    fn an_unlimited_one_borrows_repays_and_is_charged() {
        let facts = facts::of("t3.nano").unwrap();
        let mut credits = account(Mode::Unlimited);
        ran(&mut credits, &facts, HOUR, 16.0);
        assert_eq!((credits.balance, credits.surplus), (0.0, 10.0));
        assert_eq!(allowance(&credits, &facts, MINUTE), 2.0);
        ran(&mut credits, &facts, HOUR, 0.0);
        assert_eq!(credits.surplus, 4.0);
        ran(&mut credits, &facts, HOUR, 0.0);
        assert_eq!((credits.balance, credits.surplus), (2.0, 0.0));
        ran(&mut credits, &facts, HOUR * 2, 240.0);
        assert_eq!((credits.surplus, credits.charged), (144.0, 82.0));
        switched(&mut credits, Mode::Standard);
        assert_eq!((credits.surplus, credits.charged), (0.0, 226.0));
    }

    #[test]
    fn t2_begins_with_credits_and_loses_all_when_it_stops() {
        let facts = facts::of("t2.medium").unwrap();
        let mut credits = account(Mode::Standard);
        launched(&mut credits, &facts, Timestamp(0));
        assert_eq!((credits.balance, credits.launch), (0.0, 60.0));
        ran(&mut credits, &facts, HOUR, 10.0);
        assert_eq!((credits.balance, credits.launch), (24.0, 50.0));
        stopped(&mut credits, &facts, Timestamp(0));
        assert_eq!((credits.balance, credits.launch), (0.0, 0.0));
        started(&mut credits, &facts, Timestamp(5));
        assert_eq!((credits.launch, credits.at, credits.stopped), (60.0, Timestamp(5), None));
    }

    #[test]
    fn later_families_keep_theirs_for_a_week() {
        let facts = facts::of("t3.micro").unwrap();
        for (hours, kept) in [(1, 12.0), (7 * 24 + 1, 0.0)] {
            let mut credits = account(Mode::Standard);
            ran(&mut credits, &facts, HOUR, 0.0);
            stopped(&mut credits, &facts, Timestamp(0));
            started(&mut credits, &facts, Timestamp(0).plus(HOUR * hours));
            assert_eq!(credits.balance, kept);
        }
    }

    proptest! {
        #[test]
        fn accounts_stay_in_bounds(
            steps in prop::collection::vec((1u64..7200, 0.0f64..300.0), 1..50),
            unlimited in any::<bool>(),
        ) {
            let facts = facts::of("t3.small").unwrap();
            let mode = if unlimited { Mode::Unlimited } else { Mode::Standard };
            let mut credits = account(mode);
            for (seconds, spent) in steps {
                ran(&mut credits, &facts, Duration::from_secs(seconds), spent);
                prop_assert!((0.0..=facts.most).contains(&credits.balance));
                prop_assert!((0.0..=facts.most).contains(&credits.surplus));
                prop_assert!(credits.balance == 0.0 || credits.surplus == 0.0);
                prop_assert!(unlimited || credits.surplus == 0.0);
            }
        }
    }
}

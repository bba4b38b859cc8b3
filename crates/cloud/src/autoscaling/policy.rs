//! Target tracking: what capacity the measured load asks for. Pure.
//!
//! Each policy has two alarms, as in AWS: *high* (3 minutes above the target) and *low* (15 minutes
//! below 90 percent of it). While one is in ALARM the policy wishes for
//! `ceil(capacity × metric / target)`, where capacity is the instances that had warmed up when the
//! metric's period began, so that neither one on its way in nor its early figures move the group twice.
//!
//! Growth looks at the newest minute. Shrinking is slower: it looks at the greatest value since
//! capacity last changed, wants `SHRINK_PERIODS` minutes of such values, and waits while anything is
//! on its way in.

use std::time::Duration;

use super::model::{Group, Lifecycle, Member, Policy};
use crate::clock::Timestamp;
use crate::cloudwatch::alarm::State;
use crate::cloudwatch::metrics::start_of;

pub const PERIOD: Duration = Duration::from_secs(60);
pub const HIGH_PERIODS: u32 = 3;
pub const LOW_PERIODS: u32 = 15;
pub const LOW_FRACTION: f64 = 0.9;
/// Minutes since the last change that must have been measured before a group shrinks (again).
pub const SHRINK_PERIODS: usize = 3;

/// What a policy sees.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    pub policy: &'a Policy,
    pub high: State,
    pub low: State,
    /// The metric in the last `LOW_PERIODS` whole periods, newest first.
    pub values: &'a [Option<f64>],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Grow(i32),
    Shrink(i32),
    Hold,
}

/// A new desired capacity, and by which policy's which alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub desired: i32,
    pub policy: String,
    pub alarm: String,
}

/// The greatest growth any policy wishes for; else the least shrinking, if all that may shrink agree.
pub fn decide(
    group: &Group,
    members: &[&Member],
    inputs: &[Input<'_>],
    now: Timestamp,
) -> Option<Decision> {
    let wishes: Vec<(Wish, &Policy)> = inputs
        .iter()
        .filter(|input| input.policy.enabled)
        .map(|input| (wish(group, members, input, now), input.policy))
        .collect();
    let growth = wishes.iter().filter_map(|(wish, policy)| match wish {
        Wish::Grow(n) => Some((*n, *policy)),
        _ => None,
    });
    if let Some((desired, policy)) = growth.max_by_key(|(n, _)| *n) {
        let alarm = policy.alarm_high.clone();
        return Some(Decision { desired, policy: policy.name.clone(), alarm });
    }
    let shrinking = wishes.iter().filter(|(_, policy)| !policy.disable_scale_in);
    let shrinking: Option<Vec<(i32, &Policy)>> = shrinking
        .map(|(wish, policy)| match wish {
            Wish::Shrink(n) => Some((*n, *policy)),
            _ => None,
        })
        .collect();
    let (desired, policy) = shrinking?.into_iter().max_by_key(|(n, _)| *n)?;
    let alarm = policy.alarm_low.clone()?;
    Some(Decision { desired, policy: policy.name.clone(), alarm })
}

fn wish(group: &Group, members: &[&Member], input: &Input<'_>, now: Timestamp) -> Wish {
    let end = start_of(now, PERIOD);
    let newest_began = Timestamp(end.0 - PERIOD.as_millis() as i64);
    let warmup = input.policy.warmup(group);
    let warm_at = |at: Timestamp| {
        let warm = members.iter().filter(|member| is_warm(member, warmup, at)).count();
        warm as f64
    };
    let needed = |capacity: f64, value: f64| {
        // A hair of tolerance, so that 6 × 50 / 50 stays 6.
        let needed = (capacity * value / input.policy.target - 1e-9).ceil();
        (needed.max(0.0) as i32).clamp(group.min, group.max)
    };
    if input.high == State::Alarm {
        let Some(Some(newest)) = input.values.first() else { return Wish::Hold };
        let desired = needed(warm_at(newest_began), *newest);
        return if desired > group.desired { Wish::Grow(desired) } else { Wish::Hold };
    }
    if input.low == State::Alarm && !input.policy.disable_scale_in {
        let arriving = members.iter().any(|member| {
            member.newcomer
                || member.lifecycle == Lifecycle::Pending
                || (member.is_active() && !is_warm(member, warmup, now))
        });
        let changed = group.last_scaled.unwrap_or(group.created);
        let began = |n: usize| Timestamp(end.0 - PERIOD.as_millis() as i64 * (n as i64 + 1));
        let since_change: Vec<f64> = input
            .values
            .iter()
            .enumerate()
            .filter(|(n, _)| began(*n) >= changed)
            .filter_map(|(_, value)| *value)
            .collect();
        if arriving || since_change.len() < SHRINK_PERIODS {
            return Wish::Hold;
        }
        let greatest = since_change.into_iter().fold(0.0, f64::max);
        let desired = needed(warm_at(now), greatest);
        return if desired < group.desired { Wish::Shrink(desired) } else { Wish::Hold };
    }
    Wish::Hold
}

/// Whether `member`'s figures count at the moment `at`.
pub fn is_warm(member: &Member, warmup: Duration, at: Timestamp) -> bool {
    member.lifecycle == Lifecycle::InService
        && member.in_service_since.is_some_and(|since| since.plus(warmup) <= at)
}

/// The warm-up that holds for figures of the whole group: the longest of its policies', else its own.
pub fn group_warmup<'a>(group: &Group, policies: impl Iterator<Item = &'a Policy>) -> Duration {
    policies.map(|policy| policy.warmup(group)).max().unwrap_or_else(|| group.warmup())
}

/// How long until the next period has passed and a standing alarm may ask for more.
pub fn next_period(now: Timestamp) -> Duration {
    start_of(now, PERIOD).plus(PERIOD).since(now)
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::{group, member, policy};
    use super::*;

    const NOW: Timestamp = Timestamp(100 * 60_000 + 5_000);

    fn minutes_ago(n: i64) -> Timestamp {
        Timestamp(NOW.0 - n * 60_000)
    }

    /// A group of `warm` instances in service for an hour and `fresh` for two minutes, tracking 50.
    fn decided(
        warm: usize,
        fresh: usize,
        (min, desired, max): (i32, i32, i32),
        high: State,
        low: State,
        values: &[Option<f64>],
        last_scaled: Option<Timestamp>,
    ) -> Option<i32> {
        let mut group = group();
        (group.min, group.desired, group.max) = (min, desired, max);
        group.last_scaled = last_scaled;
        group.created = Timestamp(0);
        group.default_warmup_seconds = Some(300);
        let members: Vec<Member> = (0..warm + fresh)
            .map(|n| {
                let mut member = member(&format!("i-{n}"), "us-east-1a");
                member.lifecycle = Lifecycle::InService;
                let minutes = if n < warm { 60 } else { 2 };
                member.in_service_since = Some(minutes_ago(minutes));
                member
            })
            .collect();
        let policy = policy("p", 50.0);
        let inputs = [Input { policy: &policy, high, low, values }];
        decide(&group, &members.iter().collect::<Vec<_>>(), &inputs, NOW).map(|d| d.desired)
    }

    #[test]
    fn growth() {
        use State::{Alarm as A, Ok as O};
        let v = |value: f64| [Some(value), Some(10.0)];
        for (warm, fresh, sizes, high, value, expected) in [
            (3, 0, (1, 3, 9), A, 75.0, Some(5)),
            (3, 0, (1, 3, 9), O, 75.0, None),
            (3, 0, (1, 3, 9), A, 500.0, Some(9)),
            (3, 0, (1, 3, 9), A, 50.0, None),
            (6, 0, (1, 3, 9), A, 50.1, Some(7)),
            (3, 0, (1, 9, 9), A, 500.0, None),
            // Two are warming up: what is asked for is on its way.
            (3, 2, (1, 5, 9), A, 75.0, None),
            (3, 2, (1, 5, 9), A, 90.0, Some(6)),
            (0, 3, (1, 3, 9), A, 90.0, None),
        ] {
            let got = decided(warm, fresh, sizes, high, O, &v(value), None);
            assert_eq!(got, expected, "{warm}+{fresh} {sizes:?} {high:?} {value}");
        }
        assert_eq!(decided(3, 0, (1, 3, 9), A, O, &[None, Some(90.0)], None), None);
    }

    #[test]
    fn shrinking() {
        use State::{Alarm as A, Ok as O};
        let low = [Some(10.0); 15];
        let uneven: Vec<_> = (0..15).map(|n| Some(if n == 9 { 25.0 } else { 10.0 })).collect();
        let decided = |warm, fresh, sizes, values: &[_], last| {
            decided(warm, fresh, sizes, O, A, values, last)
        };
        assert_eq!(decided(9, 0, (1, 9, 9), &low, None), Some(2));
        assert_eq!(decided(9, 0, (3, 9, 9), &low, None), Some(3));
        assert_eq!(decided(3, 0, (3, 3, 9), &low, None), None);
        assert_eq!(decided(9, 0, (1, 9, 9), &uneven, None), Some(5));
        assert_eq!(decided(8, 1, (1, 9, 9), &low, None), None, "one is warming up");
        assert_eq!(decided(9, 0, (1, 9, 9), &low, Some(minutes_ago(2))), None, "just changed");
        assert_eq!(decided(9, 0, (1, 9, 9), &uneven, Some(minutes_ago(5))), Some(2));
        assert_eq!(decided(9, 0, (1, 9, 9), &[None; 15], None), None);
    }

    #[test]
    fn several_policies_grow_with_any_and_shrink_with_all() {
        let mut group = group();
        (group.min, group.desired, group.max) = (1, 4, 20);
        group.created = Timestamp(0);
        let members: Vec<Member> = (0..4)
            .map(|n| {
                let mut member = member(&format!("i-{n}"), "us-east-1a");
                member.lifecycle = Lifecycle::InService;
                member.in_service_since = Some(minutes_ago(60));
                member
            })
            .collect();
        let members: Vec<&Member> = members.iter().collect();
        let (a, mut b) = (policy("a", 50.0), policy("b", 50.0));
        let high = [Some(100.0); 15];
        let higher = [Some(150.0); 15];
        let low = [Some(20.0); 15];
        let lower = [Some(10.0); 15];
        use State::{Alarm as A, Ok as O};
        let decide = |b: &Policy, (ah, al, av): (_, _, &_), (bh, bl, bv): (_, _, &_)| {
            let inputs = [
                Input { policy: &a, high: ah, low: al, values: av },
                Input { policy: b, high: bh, low: bl, values: bv },
            ];
            decide(&group, &members, &inputs, NOW).map(|d| (d.desired, d.policy))
        };
        assert_eq!(decide(&b, (A, O, &high), (A, O, &higher)), Some((12, "b".into())));
        assert_eq!(decide(&b, (A, O, &high), (O, A, &low)), Some((8, "a".into())));
        assert_eq!(decide(&b, (O, A, &lower), (O, A, &low)), Some((2, "b".into())));
        assert_eq!(decide(&b, (O, A, &low), (O, O, &high)), None);
        b.disable_scale_in = true;
        assert_eq!(decide(&b, (O, A, &lower), (O, O, &high)), Some((1, "a".into())));
        b.enabled = false;
        assert_eq!(decide(&b, (O, O, &high), (A, O, &higher)), None);
    }
}

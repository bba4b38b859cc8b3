//! What a target's health is, from the outcomes of its checks. Pure; `checker` makes the checks.
//!
//! ```text
//!            one success                 unhealthy_threshold failures
//!  Initial ──────────────────► Healthy ─────────────────────────────► Unhealthy
//!     │                           ▲        healthy_threshold successes    │ ▲
//!     │                           └───────────────────────────────────────┘ │
//!     └─────────────────────── unhealthy_threshold failures ────────────────┘
//! ```

use crate::snapshot::{Cause, HealthCheck, HealthState};

#[derive(Clone, Debug)]
pub struct Tracker {
    pub state: HealthState,
    /// Outcomes in a row that speak against the state.
    streak: u32,
}

impl Default for Tracker {
    fn default() -> Tracker {
        Tracker { state: HealthState::Initial, streak: 0 }
    }
}

impl Tracker {
    /// Whether the state changed.
    pub fn observe(&mut self, outcome: Result<(), Cause>, check: &HealthCheck) -> bool {
        use HealthState::{Healthy, Initial, Unhealthy};
        let before = self.state;
        let threshold = match (self.state, outcome) {
            (Healthy, Ok(())) => {
                self.streak = 0;
                return false;
            }
            (Unhealthy(_), Err(cause)) => {
                self.streak = 0;
                self.state = Unhealthy(cause);
                return self.state != before;
            }
            (Unhealthy(_), Ok(())) => check.healthy_threshold,
            (_, Ok(())) => 1,
            (_, Err(_)) => check.unhealthy_threshold,
        };
        self.streak += 1;
        if self.streak < threshold {
            return false;
        }
        self.streak = 0;
        self.state = match outcome {
            Ok(()) => Healthy,
            Err(cause) => Unhealthy(cause),
        };
        debug_assert!(self.state != Initial);
        true
    }
}

/// Whether a status is one of those the check takes for healthy.
pub fn matches(check: &HealthCheck, status: u16) -> bool {
    check.matcher.iter().any(|&(low, high)| (low..=high).contains(&status))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(healthy_threshold: u32, unhealthy_threshold: u32) -> HealthCheck {
        HealthCheck {
            path: "/".into(),
            port: None,
            interval_ms: 1000,
            timeout_ms: 500,
            healthy_threshold,
            unhealthy_threshold,
            matcher: vec![(200, 200), (300, 302)],
        }
    }

    /// `+` is a success, `-` a failure; the state after each as `i`, `h` or `u`.
    fn states(outcomes: &str) -> String {
        let check = check(3, 2);
        let mut tracker = Tracker::default();
        outcomes
            .chars()
            .map(|c| {
                tracker.observe(if c == '+' { Ok(()) } else { Err(Cause::Timeout) }, &check);
                match tracker.state {
                    HealthState::Initial => 'i',
                    HealthState::Healthy => 'h',
                    HealthState::Unhealthy(_) => 'u',
                    HealthState::Unchecked => '?',
                }
            })
            .collect()
    }

    #[test]
    fn thresholds() {
        let cases = [
            ("+", "h"),
            ("-+", "ih"),
            ("--", "iu"),
            ("+-+-+--", "hhhhhhu"),
            ("--++-+++", "iuuuuuuh"),
        ];
        for (outcomes, expected) in cases {
            assert_eq!(states(outcomes), expected, "{outcomes}");
        }
    }

    #[test]
    fn a_new_cause_is_a_change() {
        let check = check(2, 1);
        let mut tracker = Tracker::default();
        assert!(tracker.observe(Err(Cause::Timeout), &check));
        assert!(!tracker.observe(Err(Cause::Timeout), &check));
        assert!(tracker.observe(Err(Cause::Status(500)), &check));
    }

    #[test]
    fn statuses() {
        let check = check(1, 1);
        let healthy: Vec<u16> = (100..600).filter(|&s| matches(&check, s)).collect();
        assert_eq!(healthy, [200, 300, 301, 302]);
    }

    proptest! {
        #[test]
        fn only_full_runs_change_the_state(outcomes in "[+-]{0,40}") {
            let states = states(&outcomes);
            for (i, state) in states.char_indices() {
                let before = if i == 0 { 'i' } else { states.as_bytes()[i - 1] as char };
                if before != state {
                    let (run, c) = match (before, state) {
                        ('i', 'h') => (1, "+"),
                        (_, 'h') => (3, "+"),
                        _ => (2, "-"),
                    };
                    prop_assert!(outcomes[..=i].ends_with(&c.repeat(run)));
                }
            }
        }
    }
}

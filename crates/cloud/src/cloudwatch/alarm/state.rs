//! The state an alarm's newest periods put it in. Pure.
//!
//! ```text
//!                      M of N breach
//!          ┌────────────────────────────────┐
//!          │                                ▼
//!         OK ◄──────── enough, no breach ─ ALARM
//!          ▲                                │
//!          │ enough          no data at all │
//!          └──────── INSUFFICIENT_DATA ◄────┘
//! ```
//!
//! As CloudWatch does it ("Configuring how CloudWatch alarms treat missing data"): the N evaluation
//! periods are looked at, missing ones count by the treatment; with `Missing` and `Ignore` the alarm
//! goes off when every datapoint that is there breaches and there are at least M of them, and stays
//! as it is when there are too few to tell.

use super::model::{Alarm, MissingData, State};

/// A state and the words for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub state: State,
    pub reason: String,
}

/// `values` are those of the last evaluation periods, newest first, `None` where nothing was
/// measured. `None`: there is nothing new to say.
pub fn evaluate(alarm: &Alarm, values: &[Option<f64>]) -> Option<Verdict> {
    let needed = alarm.datapoints_to_alarm as usize;
    let breaches = |v: f64| alarm.comparison.breaches(v, alarm.threshold);
    let there: Vec<f64> = values.iter().copied().flatten().collect();
    let missing = values.len() - there.len();
    let breaching = there.iter().filter(|v| breaches(**v)).count();
    let state = match alarm.missing_data {
        MissingData::Breaching => by_count(breaching + missing, needed),
        MissingData::NotBreaching => by_count(breaching, needed),
        MissingData::Missing | MissingData::Ignore => {
            if there.is_empty() {
                match alarm.missing_data {
                    MissingData::Missing => State::InsufficientData,
                    _ => alarm.state,
                }
            } else if breaching >= needed {
                State::Alarm
            } else if breaching + missing >= needed && alarm.state == State::Alarm {
                // The missing ones could still breach: an alarm stays one.
                State::Alarm
            } else if breaching + missing >= needed && breaching == there.len() {
                // All that is there breaches, but it is too little yet: nothing is known to be well.
                alarm.state
            } else {
                State::Ok
            }
        }
    };
    (state != alarm.state)
        .then(|| Verdict { state, reason: reason(alarm, state, &there, breaching) })
}

fn by_count(breaching: usize, needed: usize) -> State {
    if breaching >= needed { State::Alarm } else { State::Ok }
}

fn reason(alarm: &Alarm, state: State, there: &[f64], breaching: usize) -> String {
    if there.is_empty() {
        return match state {
            State::InsufficientData => "Insufficient Data: no datapoints were received.".to_owned(),
            _ => "Threshold Crossed: no datapoints were received and missing data was treated as \
                  configured."
                .to_owned(),
        };
    }
    let list = there.iter().take(5).map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(", ");
    let (count, not) = match state {
        State::Alarm => (breaching, ""),
        _ => (there.len() - breaching, "not "),
    };
    let (noun, verb) = if count == 1 { ("datapoint", "was") } else { ("datapoints", "were") };
    format!(
        "Threshold Crossed: {count} {noun} [{list}] {verb} {not}{} the threshold ({}).",
        alarm.comparison.words(),
        alarm.threshold
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::model::Comparison;
    use super::*;
    use crate::clock::Timestamp;
    use crate::cloudwatch::metrics::{MetricId, Statistic};

    pub(crate) fn alarm(
        needed: u32,
        periods: u32,
        missing_data: MissingData,
        state: State,
    ) -> Alarm {
        Alarm {
            account: "1".into(),
            region: "r".into(),
            name: "a".into(),
            description: String::new(),
            metric: MetricId::new("AWS/EC2", "CPUUtilization", &[]),
            statistic: Statistic::Average,
            period_seconds: 60,
            evaluation_periods: periods,
            datapoints_to_alarm: needed,
            threshold: 50.0,
            comparison: Comparison::GreaterThanThreshold,
            missing_data,
            alarm_actions: vec![],
            state,
            state_reason: String::new(),
            state_updated: Timestamp(0),
        }
    }

    /// `x` breaches, `0` does not, `-` is missing; newest first.
    fn values(text: &str) -> Vec<Option<f64>> {
        text.chars()
            .map(|c| match c {
                'x' => Some(60.0),
                '0' => Some(50.0),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn states() {
        use MissingData::*;
        use State::{Alarm as A, InsufficientData as I, Ok as O};
        for (needed, periods, missing, from, data, to) in [
            (3, 3, Missing, O, "xxx", A),
            (3, 3, Missing, O, "xx0", O),
            (3, 3, Missing, I, "000", O),
            (3, 3, Missing, A, "0xx", O),
            (3, 3, Missing, O, "---", I),
            (3, 3, Missing, A, "---", I),
            (3, 3, Missing, I, "x--", I),
            (3, 3, Missing, I, "0--", O),
            (3, 3, Missing, A, "xx-", A),
            (3, 3, Missing, A, "---", I),
            (2, 3, Missing, O, "x0x", A),
            (2, 3, Missing, O, "x00", O),
            (2, 3, Missing, O, "x-x", A),
            (3, 3, Ignore, A, "---", A),
            (3, 3, Ignore, O, "---", O),
            (3, 3, Breaching, O, "---", A),
            (3, 3, Breaching, O, "x-0", O),
            (3, 3, Breaching, A, "x-0", O),
            (3, 3, NotBreaching, A, "---", O),
            (3, 3, NotBreaching, A, "xx-", O),
            (1, 3, NotBreaching, O, "--x", A),
        ] {
            let alarm = alarm(needed, periods, missing, from);
            let verdict = evaluate(&alarm, &values(data));
            let state = verdict.as_ref().map_or(from, |v| v.state);
            assert_eq!(state, to, "{needed} of {periods}, {missing:?}, {from:?}, {data}");
            assert_eq!(verdict.is_some(), from != to);
        }
    }

    #[test]
    fn reasons() {
        let alarm = alarm(3, 3, MissingData::Missing, State::Ok);
        assert_eq!(
            evaluate(&alarm, &values("xxx")).unwrap().reason,
            "Threshold Crossed: 3 datapoints [60.0000, 60.0000, 60.0000] were greater than the \
             threshold (50)."
        );
    }
}

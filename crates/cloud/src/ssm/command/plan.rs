//! What shall happen to a command's invocations now. Pure.

use super::model::{Command, Invocation};
use super::state::State;
use crate::Timestamp;

/// What is seen of an invocation besides its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its node could take it.
    pub online: bool,
    /// A task of this daemon runs it.
    pub running: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Begin,
    /// Its state becomes this; nothing runs.
    Become(State),
    /// It was under way when the daemon ended.
    Lost,
    /// End what runs.
    Cancel,
}

/// For each invocation, in their order, at most one step; when the next deadline is.
pub fn plan(
    command: &Command,
    invocations: &[(&Invocation, Seen)],
    now: Timestamp,
) -> (Vec<Option<Step>>, Option<Timestamp>) {
    let states = || invocations.iter().map(|(invocation, _)| invocation.state);
    let errors = states().filter(|state| state.is_error()).count();
    let too_many = errors > command.max_errors.of(invocations.len());
    let mut free = command.max_concurrency.of(invocations.len()).max(1);
    free = free.saturating_sub(states().filter(|state| state.runs()).count());
    let mut wake = None;
    let mut steps = Vec::new();
    for (invocation, seen) in invocations {
        let step = match invocation.state {
            State::InProgress if !seen.running => Some(Step::Lost),
            State::Cancelling if !seen.running => Some(Step::Become(State::Cancelled)),
            State::Cancelling => Some(Step::Cancel),
            state if !state.waits() => None,
            _ if command.cancelled => Some(Step::Become(State::Cancelled)),
            _ if too_many => Some(Step::Become(State::Terminated)),
            _ if now >= command.deliver_until() => Some(Step::Become(State::DeliveryTimedOut)),
            state => {
                wake = Some(command.deliver_until());
                match (seen.online, state) {
                    (true, _) if free > 0 => {
                        free -= 1;
                        Some(Step::Begin)
                    }
                    (true, State::Delayed) => Some(Step::Become(State::Pending)),
                    (false, State::Pending) => Some(Step::Become(State::Delayed)),
                    _ => None,
                }
            }
        };
        steps.push(step);
    }
    (steps, wake)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{command, invocation};
    use super::*;
    use crate::testing::NOW;
    use std::time::Duration;

    const ONLINE: Seen = Seen { online: true, running: false };
    const AWAY: Seen = Seen { online: false, running: false };
    const RUNNING: Seen = Seen { online: true, running: true };

    fn steps(command: &Command, states: &[(State, Seen)], now: Timestamp) -> Vec<Option<Step>> {
        let invocations: Vec<Invocation> =
            states.iter().map(|(state, _)| Invocation { state: *state, ..invocation() }).collect();
        let seen: Vec<_> = invocations.iter().zip(states.iter().map(|(_, seen)| *seen)).collect();
        plan(command, &seen, now).0
    }

    #[test]
    fn invocations_begin_wait_and_end() {
        use State::*;
        let one = Command { max_concurrency: super::super::model::Amount("1".into()), ..command() };
        let late = NOW.plus(Duration::from_secs(3600));
        let stopped = Command { cancelled: true, ..command() };
        for (command, states, now, expected) in [
            (&one, vec![(Pending, ONLINE), (Pending, ONLINE)], NOW, vec![Some(Step::Begin), None]),
            (&one, vec![(InProgress, RUNNING), (Pending, ONLINE)], NOW, vec![None, None]),
            (&one, vec![(Pending, AWAY)], NOW, vec![Some(Step::Become(Delayed))]),
            (&one, vec![(Delayed, AWAY)], NOW, vec![None]),
            (&one, vec![(Delayed, AWAY)], late, vec![Some(Step::Become(DeliveryTimedOut))]),
            (&one, vec![(Delayed, ONLINE)], NOW, vec![Some(Step::Begin)]),
            // One error is one too many, unless said otherwise.
            (
                &one,
                vec![(Failed, ONLINE), (Pending, ONLINE)],
                NOW,
                vec![None, Some(Step::Become(Terminated))],
            ),
            (&one, vec![(InProgress, ONLINE)], NOW, vec![Some(Step::Lost)]),
            (&one, vec![(Cancelling, RUNNING)], NOW, vec![Some(Step::Cancel)]),
            (&one, vec![(Cancelling, ONLINE)], NOW, vec![Some(Step::Become(Cancelled))]),
            (
                &stopped,
                vec![(Pending, ONLINE), (Success, ONLINE)],
                NOW,
                vec![Some(Step::Become(Cancelled)), None],
            ),
        ] {
            assert_eq!(steps(command, &states, now), expected, "{states:?}");
        }
    }
}

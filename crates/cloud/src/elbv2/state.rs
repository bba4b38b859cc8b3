//! The life of a target, pure.
//!
//! ```text
//!               group in use,      a node says            every node that knows says
//!               instance runs      healthy                unhealthy
//!   ┌────────┐ ───────────► ┌─────────┐ ───────► ┌─────────┐ ───────► ┌───────────┐
//!   │ Unused │              │ Initial │          │ Healthy │ ◄─────── │ Unhealthy │
//!   └───▲────┘              └────┬────┘          └────┬────┘ every    └─────┬─────┘
//!       │ else                   │                    │      node that      │
//!       └────────────────────────┴────────────────────┴──────knows──────────┘
//!  any but Unused ── deregistered ──► Draining ── nothing in flight, or the delay is over ──► gone
//! ```
//!
//! Nodes check by themselves, at different moments. While they disagree, what they agreed on last
//! stands (of a new target: healthy, once one says so); each node sends only to what it sees healthy,
//! so no traffic depends on this. Nodes that know nothing yet, as after a zone came back, have no say;
//! if none knows anything, nothing changes.

use std::time::Duration;

use balancer::snapshot::{Cause, HealthState};

use super::model::{Reason, Target, TargetState};
use crate::clock::Timestamp;

/// What there is to know about a target now.
pub struct View {
    pub backing: Backing,
    /// Whether a listener of a load balancer forwards to its group.
    pub in_use: bool,
    /// Whether that load balancer has a node in the target's zone.
    pub zone_enabled: bool,
    /// Of each live node of that load balancer.
    pub nodes: Vec<NodeView>,
    pub delay: Duration,
}

/// What is behind a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    Running,
    /// An instance in another state, by EC2's name for it.
    Other(&'static str),
    /// Shutting down: it deregisters by itself.
    Ending,
    Gone,
}

/// What a node says of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Whether what the node reports is about the newest plan.
    pub in_force: bool,
    /// `None`: it does not know the target.
    pub health: Option<(HealthState, u64)>,
}

/// What becomes of the target.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Stay,
    Become(TargetState, Option<Reason>),
    /// Its record goes.
    Gone,
}

/// As a fresh record begins.
pub fn registered() -> (TargetState, Option<Reason>) {
    (TargetState::Initial, Some(Reason::RegistrationInProgress))
}

/// What `deregister` makes of a target.
pub fn deregistered(target: &Target) -> Next {
    match target.state {
        TargetState::Draining => Next::Stay,
        TargetState::Unused => Next::Gone,
        _ => Next::Become(TargetState::Draining, Some(Reason::DeregistrationInProgress)),
    }
}

/// When a draining target is over even if requests are still in flight.
pub fn drained_at(target: &Target, delay: Duration) -> Option<Timestamp> {
    target.draining_since.map(|since| since.plus(delay))
}

pub fn next(target: &Target, view: &View, now: Timestamp) -> Next {
    if view.backing == Backing::Gone {
        return Next::Gone;
    }
    if target.state == TargetState::Draining {
        let over = drained_at(target, view.delay).is_none_or(|at| at <= now);
        return if over || !view.in_use || idle(view) { Next::Gone } else { Next::Stay };
    }
    let (state, reason) = match &view.backing {
        Backing::Ending => match deregistered(target) {
            Next::Become(state, reason) => (state, reason),
            other => return other,
        },
        Backing::Other(state) => {
            (TargetState::Unused, Some(Reason::InvalidState((*state).to_owned())))
        }
        _ if !view.in_use => (TargetState::Unused, Some(Reason::NotInUse)),
        _ if !view.zone_enabled => (TargetState::Unused, Some(Reason::ZoneNotEnabled)),
        _ => checked(target, view),
    };
    if state == target.state && reason == target.reason {
        Next::Stay
    } else {
        Next::Become(state, reason)
    }
}

/// No node sends to it any more, and none waits for an answer.
fn idle(view: &View) -> bool {
    view.nodes
        .iter()
        .all(|node| node.in_force && node.health.is_none_or(|(_, in_flight)| in_flight == 0))
}

fn checked(target: &Target, view: &View) -> (TargetState, Option<Reason>) {
    let known = || view.nodes.iter().filter_map(|node| Some(node.health?.0));
    let healthy =
        known().any(|health| matches!(health, HealthState::Healthy | HealthState::Unchecked));
    let cause = known().find_map(|health| match health {
        HealthState::Unhealthy(cause) => Some(cause),
        _ => None,
    });
    let unhealthy = |cause| (TargetState::Unhealthy, Some(reason(cause)));
    match (healthy, cause, target.state) {
        (true, None, _) => (TargetState::Healthy, None),
        (true, Some(_), TargetState::Unhealthy) => (target.state, target.reason.clone()),
        (true, Some(_), _) => (TargetState::Healthy, None),
        (false, Some(cause), _) => unhealthy(cause),
        (false, None, TargetState::Healthy | TargetState::Unhealthy) => {
            (target.state, target.reason.clone())
        }
        (false, None, _) if known().next().is_some() => {
            (TargetState::Initial, Some(Reason::InitialHealthChecking))
        }
        (false, None, TargetState::Initial) => (target.state, target.reason.clone()),
        (false, None, _) => registered(),
    }
}

fn reason(cause: Cause) -> Reason {
    match cause {
        Cause::Status(code) => Reason::ResponseCodeMismatch(code),
        Cause::Timeout => Reason::Timeout,
        Cause::ConnectionFailed | Cause::Protocol => Reason::FailedHealthChecks,
    }
}

impl TargetState {
    pub fn name(self) -> &'static str {
        match self {
            TargetState::Initial => "initial",
            TargetState::Healthy => "healthy",
            TargetState::Unhealthy => "unhealthy",
            TargetState::Unused => "unused",
            TargetState::Draining => "draining",
        }
    }
}

impl Reason {
    /// AWS's code.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::RegistrationInProgress => "Elb.RegistrationInProgress",
            Reason::InitialHealthChecking => "Elb.InitialHealthChecking",
            Reason::ResponseCodeMismatch(_) => "Target.ResponseCodeMismatch",
            Reason::Timeout => "Target.Timeout",
            Reason::FailedHealthChecks => "Target.FailedHealthChecks",
            Reason::NotInUse | Reason::ZoneNotEnabled => "Target.NotInUse",
            Reason::InvalidState(_) => "Target.InvalidState",
            Reason::DeregistrationInProgress => "Target.DeregistrationInProgress",
        }
    }

    /// In AWS's words.
    pub fn description(&self) -> String {
        match self {
            Reason::RegistrationInProgress => "Target registration is in progress".to_owned(),
            Reason::InitialHealthChecking => "Initial health checks in progress".to_owned(),
            Reason::ResponseCodeMismatch(code) => {
                format!("Health checks failed with these codes: [{code}]")
            }
            Reason::Timeout => "Request timed out".to_owned(),
            Reason::FailedHealthChecks => "Health checks failed".to_owned(),
            Reason::NotInUse => {
                "Target group is not configured to receive traffic from the load balancer"
                    .to_owned()
            }
            Reason::ZoneNotEnabled => {
                "Target is in an Availability Zone that is not enabled for the load balancer"
                    .to_owned()
            }
            Reason::InvalidState(state) => format!("Target is in the {state} state"),
            Reason::DeregistrationInProgress => "Target deregistration is in progress".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use TargetState::*;

    use super::*;

    const UNHEALTHY: HealthState = HealthState::Unhealthy(Cause::Status(500));
    const NOW: Timestamp = Timestamp(1_000_000);

    fn target(state: TargetState) -> Target {
        let reason = match state {
            Healthy => None,
            Initial => Some(Reason::InitialHealthChecking),
            Unhealthy => Some(Reason::ResponseCodeMismatch(500)),
            Unused => Some(Reason::NotInUse),
            Draining => Some(Reason::DeregistrationInProgress),
        };
        Target {
            account: "1".into(),
            region: "r".into(),
            target_group_arn: "arn".into(),
            id: "i-1".into(),
            port: 80,
            zone: "ra".into(),
            state,
            reason,
            registered_at: Timestamp(0),
            healthy_at: None,
            draining_since: (state == Draining).then_some(NOW),
        }
    }

    fn view(nodes: &[Option<HealthState>]) -> View {
        let node = |health: &Option<HealthState>| NodeView {
            in_force: true,
            health: health.map(|state| (state, 0)),
        };
        View {
            backing: Backing::Running,
            in_use: true,
            zone_enabled: true,
            nodes: nodes.iter().map(node).collect(),
            delay: Duration::from_secs(300),
        }
    }

    #[test]
    fn health_follows_the_nodes() {
        use HealthState::{Healthy as H, Initial as I};
        for (from, nodes, to) in [
            (Initial, &[Some(I), None][..], Initial),
            (Initial, &[Some(H), Some(I)], Healthy),
            (Initial, &[Some(H), Some(UNHEALTHY)], Healthy),
            (Initial, &[Some(UNHEALTHY)], Unhealthy),
            (Healthy, &[Some(H), Some(UNHEALTHY)], Healthy),
            (Healthy, &[Some(UNHEALTHY), Some(UNHEALTHY)], Unhealthy),
            (Healthy, &[Some(UNHEALTHY), Some(I), None], Unhealthy),
            (Healthy, &[Some(I), Some(I)], Healthy),
            (Healthy, &[], Healthy),
            (Unhealthy, &[Some(H), Some(UNHEALTHY)], Unhealthy),
            (Unhealthy, &[Some(H), Some(I)], Healthy),
            (Unhealthy, &[None], Unhealthy),
            (Unused, &[], Initial),
            (Unused, &[Some(H)], Healthy),
        ] {
            let got = match next(&target(from), &view(nodes), NOW) {
                Next::Stay => from,
                Next::Become(state, _) => state,
                Next::Gone => unreachable!(),
            };
            assert_eq!(got, to, "{from:?} {nodes:?}");
        }
    }

    #[test]
    fn what_is_behind_it_decides_first() {
        let healthy = target(Healthy);
        let mut view = view(&[Some(HealthState::Healthy)]);
        view.zone_enabled = false;
        let unused = |reason| Next::Become(Unused, Some(reason));
        assert_eq!(next(&healthy, &view, NOW), unused(Reason::ZoneNotEnabled));
        view.in_use = false;
        assert_eq!(next(&healthy, &view, NOW), unused(Reason::NotInUse));
        view.backing = Backing::Other("stopped");
        assert_eq!(next(&healthy, &view, NOW), unused(Reason::InvalidState("stopped".into())));
        view.backing = Backing::Ending;
        assert!(matches!(next(&healthy, &view, NOW), Next::Become(Draining, _)));
        view.backing = Backing::Gone;
        assert_eq!(next(&healthy, &view, NOW), Next::Gone);
    }

    #[test]
    fn draining_ends_when_idle_or_late() {
        let draining = target(Draining);
        let mut view = view(&[Some(HealthState::Healthy), None]);
        view.nodes[0].health = Some((HealthState::Healthy, 3));
        assert_eq!(next(&draining, &view, NOW), Next::Stay);
        assert_eq!(next(&draining, &view, NOW.plus(view.delay)), Next::Gone);
        view.nodes[0].health = Some((HealthState::Healthy, 0));
        assert_eq!(next(&draining, &view, NOW), Next::Gone);
        // A node that was not told yet may still send to it.
        view.nodes[1].in_force = false;
        assert_eq!(next(&draining, &view, NOW), Next::Stay);
        view.in_use = false;
        assert_eq!(next(&draining, &view, NOW), Next::Gone);
    }

    #[test]
    fn a_second_look_changes_nothing() {
        for state in [Initial, Healthy, Unhealthy, Unused, Draining] {
            for node in
                [None, Some(HealthState::Initial), Some(HealthState::Healthy), Some(UNHEALTHY)]
            {
                for in_use in [true, false] {
                    let mut target = target(state);
                    let view = View { in_use, ..view(&[node]) };
                    if let Next::Become(state, reason) = next(&target, &view, NOW) {
                        (target.state, target.reason) = (state, reason);
                        assert_eq!(next(&target, &view, NOW), Next::Stay, "{target:?} {node:?}");
                    }
                }
            }
        }
    }
}

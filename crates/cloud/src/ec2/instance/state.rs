//! The life of an instance, as EC2 shows it. Pure: requests and sightings in, the next record out.
//!
//! ```text
//!              up                    stop                    down
//!  pending ──────────► running ───────────────► stopping ──────────► stopped
//!   │  ▲                │  │ ▲                     │                 │  │
//!   │  │                │  └─┘ reboot, recovery     │                 │  │
//!   │  └────────────────┼───────────────────────────┼── start ────────┘  │
//!   │ terminate or      │ terminate                 │ terminate          │ terminate
//!   │ a failed launch   ▼                           ▼                    ▼
//!   └──────────────► shutting-down ◄─────────────────────────────────────┘
//!                       │ gone
//!                       ▼
//!                   terminated
//! ```
//!
//! A failed start goes from pending back to stopped. A guest that powers itself off goes from running
//! to stopped or shutting-down by its shutdown behaviour. A lost host or zone leaves the state at
//! running and makes the status impaired until a later boot is up.
//!
//! Invariants: `desired.boot` never falls; terminate is never taken back; nothing leaves terminated;
//! sightings of a boot other than the one asked for change nothing while the goal is to run.

use std::time::Duration;

use compute::Exit;

use super::model::{
    Cause, Desired, Fault, Goal, Instance, Observed, Phase, Reason, ShutdownBehavior,
};
use crate::clock::Timestamp;

/// How long after a host fault the system boots a lost instance again (EC2's simplified automatic
/// recovery takes minutes too). Auto Scaling reacts to the impaired status before that.
pub const RECOVERY: Duration = Duration::from_secs(60);

/// How long a terminated instance can be described.
pub const REMEMBERED: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    Pending,
    Running,
    ShuttingDown,
    Terminated,
    Stopping,
    Stopped,
}

impl InstanceState {
    pub fn name(self) -> &'static str {
        match self {
            InstanceState::Pending => "pending",
            InstanceState::Running => "running",
            InstanceState::ShuttingDown => "shutting-down",
            InstanceState::Terminated => "terminated",
            InstanceState::Stopping => "stopping",
            InstanceState::Stopped => "stopped",
        }
    }

    /// The low byte of EC2's instance state code.
    pub fn code(self) -> i32 {
        match self {
            InstanceState::Pending => 0,
            InstanceState::Running => 16,
            InstanceState::ShuttingDown => 32,
            InstanceState::Terminated => 48,
            InstanceState::Stopping => 64,
            InstanceState::Stopped => 80,
        }
    }
}

/// The status checks' verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    /// Running, but this boot was not seen up yet.
    Initializing,
    /// Its host or its zone failed.
    Impaired,
    InsufficientData,
    /// Not running.
    NotApplicable,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Initializing => "initializing",
            Status::Impaired => "impaired",
            Status::InsufficientData => "insufficient-data",
            Status::NotApplicable => "not-applicable",
        }
    }
}

impl Instance {
    pub fn state(&self) -> InstanceState {
        match (self.desired.goal, self.observed.phase) {
            (Goal::Terminate, Phase::Gone) => InstanceState::Terminated,
            (Goal::Terminate, _) => InstanceState::ShuttingDown,
            (Goal::Stop, Phase::Down) => InstanceState::Stopped,
            (Goal::Stop, _) => InstanceState::Stopping,
            (Goal::Run, _) if self.observed.boot >= self.desired.since_boot => {
                InstanceState::Running
            }
            (Goal::Run, _) => InstanceState::Pending,
        }
    }

    pub fn status(&self) -> Status {
        match self.state() {
            InstanceState::Running if self.observed.fault.is_some() => Status::Impaired,
            InstanceState::Running if self.observed.boot == self.desired.boot => Status::Ok,
            InstanceState::Running => Status::Initializing,
            _ => Status::NotApplicable,
        }
    }

    /// It has, or will have, an address and a root volume.
    pub fn is_alive(&self) -> bool {
        self.state() != InstanceState::Terminated
    }
}

/// The record of a launch just asked for: `pending`, first boot.
pub fn launched() -> (Desired, Observed, Option<Reason>) {
    let desired = Desired { goal: Goal::Run, boot: 1, since_boot: 1, force: false };
    (desired, Observed::default(), Some(pending()))
}

/// The instance is in a state in which that cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied(pub InstanceState);

/// What users ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Start,
    Stop { force: bool },
    Reboot,
    Terminate { force: bool },
}

/// Whether anything changed.
pub fn request(instance: &mut Instance, request: Request, now: Timestamp) -> Result<bool, Denied> {
    use InstanceState::*;
    let state = instance.state();
    match (request, state) {
        (Request::Start, Stopped) => {
            instance.desired.goal = Goal::Run;
            instance.desired.boot += 1;
            instance.desired.since_boot = instance.desired.boot;
            instance.desired.force = false;
            instance.observed.phase = Phase::New;
            instance.observed.fault = None;
            instance.launch_time = now;
            instance.reason = Some(pending());
            instance.transition_reason.clear();
            Ok(true)
        }
        (Request::Start, Pending | Running) => Ok(false),
        (Request::Stop { force }, Running) => {
            instance.desired.goal = Goal::Stop;
            instance.desired.force = force;
            by_user(instance, now);
            Ok(true)
        }
        (Request::Stop { force: true }, Stopping) if !instance.desired.force => {
            instance.desired.force = true;
            Ok(true)
        }
        (Request::Stop { .. }, Stopping | Stopped) => Ok(false),
        (Request::Reboot, Running) => {
            instance.desired.boot += 1;
            Ok(true)
        }
        (Request::Terminate { force: true }, ShuttingDown) if !instance.desired.force => {
            instance.desired.force = true;
            Ok(true)
        }
        (Request::Terminate { .. }, ShuttingDown | Terminated) => Ok(false),
        (Request::Terminate { force }, _) => {
            instance.desired.goal = Goal::Terminate;
            instance.desired.force = force;
            by_user(instance, now);
            Ok(true)
        }
        (Request::Start | Request::Stop { .. } | Request::Reboot, state) => Err(Denied(state)),
    }
}

/// A Spot Instance is taken away. Whether anything changed; what is not up yet cannot be stopped.
pub fn interrupt(instance: &mut Instance, stop: bool, now: Timestamp) -> Result<bool, Denied> {
    let (asked, code, message) = match stop {
        true => (
            Request::Stop { force: false },
            "Server.SpotInstanceShutdown",
            "Server.SpotInstanceShutdown: Spot instance shutdown",
        ),
        false => (
            Request::Terminate { force: false },
            "Server.SpotInstanceTermination",
            "Server.SpotInstanceTermination: Spot instance termination",
        ),
    };
    let changed = request(instance, asked, now)?;
    if changed {
        instance.reason = Some(Reason { code: code.to_owned(), message: message.to_owned() });
        instance.transition_reason = code.to_owned();
    }
    Ok(changed)
}

/// What the controller saw or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Up {
        boot: u64,
    },
    Exited {
        boot: u64,
        how: Exit,
    },
    /// The driver could not begin this boot.
    LaunchFailed {
        boot: u64,
        failure: Failure,
    },
    /// Nothing of it runs, and nothing should.
    Down,
    /// Its zone failed; what ran there was killed.
    ZoneFailed,
    /// What failed it is over, or it waited long enough: boot again.
    Recover,
    /// Every trace was removed.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Capacity,
    Internal,
    /// One of its volumes could not be made.
    Volume,
}

/// Whether anything changed.
pub fn observe(instance: &mut Instance, event: Event, now: Timestamp) -> bool {
    let before = (instance.desired.clone(), instance.observed.clone());
    match (instance.desired.goal, event) {
        (Goal::Terminate, Event::Gone) if instance.observed.phase != Phase::Gone => {
            instance.observed.phase = Phase::Gone;
            instance.observed.fault = None;
            instance.observed.terminated_at = Some(now);
        }
        (Goal::Stop, Event::Down | Event::Exited { .. }) => down(instance),
        (Goal::Run, event) => running(instance, event, now),
        (Goal::Terminate | Goal::Stop, _) => {}
    }
    before != (instance.desired.clone(), instance.observed.clone())
}

fn running(instance: &mut Instance, event: Event, now: Timestamp) {
    let boot = instance.desired.boot;
    match event {
        Event::Up { boot: seen } if seen == boot => {
            if instance.observed.boot != boot || instance.observed.phase != Phase::Up {
                instance.observed.up_since = Some(now);
            }
            instance.observed.phase = Phase::Up;
            instance.observed.boot = boot;
            instance.observed.fault = None;
            instance.reason = None;
        }
        Event::Exited { boot: seen, how } if seen == boot => match how {
            Exit::PoweredOff => powered_off(instance),
            // Asked for by us, for a zone that is back already: as after a guest's own reboot.
            Exit::Rebooted | Exit::Asked => instance.desired.boot += 1,
            Exit::Lost | Exit::Failed => failed(instance, Failure::Internal, Cause::Host, now),
        },
        Event::LaunchFailed { boot: tried, failure } if tried == boot => {
            failed(instance, failure, Cause::Host, now);
        }
        Event::ZoneFailed => failed(instance, Failure::Internal, Cause::Zone, now),
        Event::Recover if instance.broken().is_some() => instance.desired.boot += 1,
        _ => {}
    }
}

impl Instance {
    /// The fault that holds up the boot asked for; `None` when that boot may be begun or runs.
    pub fn broken(&self) -> Option<&Fault> {
        self.observed.fault.as_ref().filter(|fault| fault.boot >= self.desired.boot)
    }
}

fn down(instance: &mut Instance) {
    instance.observed.phase = Phase::Down;
    instance.observed.fault = None;
    instance.observed.up_since = None;
}

fn powered_off(instance: &mut Instance) {
    instance.reason = Some(Reason {
        code: "Client.InstanceInitiatedShutdown".to_owned(),
        message: "Client.InstanceInitiatedShutdown: Instance initiated shutdown".to_owned(),
    });
    instance.transition_reason.clear();
    instance.desired.force = true;
    instance.observed.boot = instance.desired.boot;
    match instance.shutdown_behavior {
        ShutdownBehavior::Stop => {
            instance.desired.goal = Goal::Stop;
            down(instance);
        }
        ShutdownBehavior::Terminate => instance.desired.goal = Goal::Terminate,
    }
}

/// A launch that failed ends the instance, a start goes back to stopped; what was running already
/// stays so, impaired.
fn failed(instance: &mut Instance, failure: Failure, cause: Cause, now: Timestamp) {
    if instance.state() == InstanceState::Running {
        let boot = instance.desired.boot;
        let fault = &mut instance.observed.fault;
        match fault {
            Some(fault) if fault.boot == boot && fault.cause == cause => {}
            _ => {
                let since = fault.as_ref().map_or(now, |fault| fault.since);
                *fault = Some(Fault { since, cause, boot, at: now });
            }
        }
        return;
    }
    let (code, message) = match failure {
        Failure::Capacity => (
            "Server.InsufficientInstanceCapacity",
            "Insufficient capacity to satisfy instance request",
        ),
        Failure::Internal => ("Server.InternalError", "Internal error on launch"),
        Failure::Volume => ("Client.InternalError", "Client error on launch"),
    };
    instance.reason = Some(Reason { code: code.to_owned(), message: format!("{code}: {message}") });
    instance.transition_reason = code.to_owned();
    instance.desired.force = true;
    if instance.desired.since_boot == 1 {
        instance.desired.goal = Goal::Terminate;
    } else {
        instance.desired.goal = Goal::Stop;
    }
}

fn pending() -> Reason {
    Reason { code: "pending".to_owned(), message: "pending".to_owned() }
}

fn by_user(instance: &mut Instance, now: Timestamp) {
    instance.reason = Some(Reason {
        code: "Client.UserInitiatedShutdown".to_owned(),
        message: "Client.UserInitiatedShutdown: User initiated shutdown".to_owned(),
    });
    instance.transition_reason =
        format!("User initiated ({} {} GMT)", now.date(), now.time_of_day());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::instance;
    use super::*;
    use crate::testing::NOW;

    fn up(i: &mut Instance) {
        let boot = i.desired.boot;
        assert!(observe(i, Event::Up { boot }, NOW));
    }

    fn running_instance() -> Instance {
        let mut i = instance();
        up(&mut i);
        i
    }

    #[test]
    fn a_life() {
        let mut i = instance();
        assert_eq!((i.state(), i.status()), (InstanceState::Pending, Status::NotApplicable));
        up(&mut i);
        assert_eq!((i.state(), i.status()), (InstanceState::Running, Status::Ok));
        assert_eq!(request(&mut i, Request::Reboot, NOW), Ok(true));
        assert_eq!((i.state(), i.status()), (InstanceState::Running, Status::Initializing));
        up(&mut i);
        request(&mut i, Request::Stop { force: false }, NOW).unwrap();
        assert_eq!(i.state(), InstanceState::Stopping);
        assert_eq!(i.transition_reason, "User initiated (2026-01-01 00:00:00 GMT)");
        assert_eq!(request(&mut i, Request::Start, NOW), Err(Denied(InstanceState::Stopping)));
        observe(&mut i, Event::Down, NOW);
        assert_eq!(i.state(), InstanceState::Stopped);
        request(&mut i, Request::Start, NOW).unwrap();
        assert_eq!((i.state(), i.desired.boot), (InstanceState::Pending, 3));
        up(&mut i);
        request(&mut i, Request::Terminate { force: false }, NOW).unwrap();
        assert_eq!(i.state(), InstanceState::ShuttingDown);
        observe(&mut i, Event::Gone, NOW);
        assert_eq!(i.state(), InstanceState::Terminated);
        assert_eq!(request(&mut i, Request::Start, NOW), Err(Denied(InstanceState::Terminated)));
        assert_eq!(request(&mut i, Request::Terminate { force: false }, NOW), Ok(false));
    }

    #[test]
    fn a_guest_ends_itself() {
        for (behavior, state) in [
            (ShutdownBehavior::Stop, InstanceState::Stopped),
            (ShutdownBehavior::Terminate, InstanceState::ShuttingDown),
        ] {
            let mut i = running_instance();
            i.shutdown_behavior = behavior;
            observe(&mut i, Event::Exited { boot: 1, how: Exit::PoweredOff }, NOW);
            assert_eq!(i.state(), state);
            assert_eq!(i.reason.unwrap().code, "Client.InstanceInitiatedShutdown");
        }
        let mut i = running_instance();
        observe(&mut i, Event::Exited { boot: 1, how: Exit::Rebooted }, NOW);
        assert_eq!((i.state(), i.desired.boot), (InstanceState::Running, 2));
    }

    #[test]
    fn a_failed_launch_terminates_and_a_failed_start_stops() {
        let failure = |boot| Event::LaunchFailed { boot, failure: Failure::Capacity };
        let mut i = instance();
        observe(&mut i, failure(1), NOW);
        assert_eq!(i.state(), InstanceState::ShuttingDown);
        assert_eq!(i.reason.unwrap().code, "Server.InsufficientInstanceCapacity");
        let mut i = running_instance();
        request(&mut i, Request::Stop { force: true }, NOW).unwrap();
        observe(&mut i, Event::Down, NOW);
        request(&mut i, Request::Start, NOW).unwrap();
        observe(&mut i, Event::Exited { boot: 2, how: Exit::Failed }, NOW);
        observe(&mut i, Event::Down, NOW);
        assert_eq!(i.state(), InstanceState::Stopped);
        assert_eq!(i.reason.unwrap().code, "Server.InternalError");
    }

    #[test]
    fn a_lost_host_impairs_until_a_later_boot_is_up() {
        let mut i = running_instance();
        observe(&mut i, Event::Exited { boot: 1, how: Exit::Lost }, NOW);
        assert_eq!((i.state(), i.status()), (InstanceState::Running, Status::Impaired));
        observe(&mut i, Event::Recover, NOW);
        assert_eq!(i.broken(), None);
        let later = NOW.plus(RECOVERY);
        observe(&mut i, Event::LaunchFailed { boot: 2, failure: Failure::Internal }, later);
        let fault = i.broken().unwrap();
        assert_eq!((fault.since, fault.at), (NOW, later));
        observe(&mut i, Event::Recover, later);
        up(&mut i);
        assert_eq!((i.status(), i.desired.boot), (Status::Ok, 3));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Request(Request),
        /// `true`: about the boot asked for, else the one before.
        Up(bool),
        Exited(bool, Exit),
        LaunchFailed,
        Other(Event),
    }

    fn step() -> impl Strategy<Value = Step> {
        let request = prop::sample::select(vec![
            Request::Start,
            Request::Stop { force: false },
            Request::Stop { force: true },
            Request::Reboot,
            Request::Terminate { force: false },
        ]);
        let exit = prop::sample::select(vec![
            Exit::Asked,
            Exit::PoweredOff,
            Exit::Rebooted,
            Exit::Lost,
            Exit::Failed,
        ]);
        let other =
            prop::sample::select(vec![Event::Down, Event::ZoneFailed, Event::Recover, Event::Gone]);
        prop_oneof![
            request.prop_map(Step::Request),
            any::<bool>().prop_map(Step::Up),
            (any::<bool>(), exit).prop_map(|(this, how)| Step::Exited(this, how)),
            Just(Step::LaunchFailed),
            other.prop_map(Step::Other),
        ]
    }

    /// The diagram at the top.
    fn is_legal(from: InstanceState, to: InstanceState) -> bool {
        use InstanceState::*;
        from == to
            || matches!(
                (from, to),
                (Pending, Running | ShuttingDown | Stopping | Stopped)
                    | (Running, Stopping | Stopped | ShuttingDown)
                    | (Stopping, Stopped | ShuttingDown)
                    | (Stopped, Pending | ShuttingDown)
                    | (ShuttingDown, Terminated)
            )
    }

    proptest! {
        #[test]
        fn any_history_is_legal(
            terminates: bool,
            steps in prop::collection::vec(step(), 0..40),
        ) {
            let mut i = instance();
            if terminates {
                i.shutdown_behavior = ShutdownBehavior::Terminate;
            }
            for step in steps {
                let before = i.clone();
                let boot = |this: bool| i.desired.boot - u64::from(!this);
                let event = match step {
                    Step::Request(asked) => {
                        let answer = request(&mut i, asked, NOW);
                        prop_assert_eq!(answer == Ok(true), i != before);
                        None
                    }
                    Step::Up(this) => Some(Event::Up { boot: boot(this) }),
                    Step::Exited(this, how) => Some(Event::Exited { boot: boot(this), how }),
                    Step::LaunchFailed => {
                        let failure = Failure::Internal;
                        Some(Event::LaunchFailed { boot: i.desired.boot, failure })
                    }
                    Step::Other(event) => Some(event),
                };
                if let Some(event) = event {
                    let changed = observe(&mut i, event, NOW);
                    prop_assert_eq!(changed, i != before);
                }
                prop_assert!(is_legal(before.state(), i.state()), "{:?} by {:?}", before, step);
                prop_assert!(i.desired.boot >= before.desired.boot);
                prop_assert!(i.observed.boot <= i.desired.boot);
                if before.desired.goal == Goal::Terminate {
                    prop_assert_eq!(i.desired.goal, Goal::Terminate);
                }
                if i.state() != InstanceState::Running {
                    prop_assert_eq!(i.status(), Status::NotApplicable);
                }
            }
        }
    }
}

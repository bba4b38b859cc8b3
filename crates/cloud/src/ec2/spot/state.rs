//! The life of a Spot request. Pure: the request, its instance and its market in, the next step out.
//!
//! ```text
//!          price, room                        the instance is gone
//!  open ───────────────► active ─────────────────────────────────────► closed, or open (persistent)
//!   │ ▲                   │  ▲ ▲
//!   │ │                   │  │ └─ started by its user, or by price and room where it was interrupted
//!   │ └── ends, persistent┘  └── disabled (stopped)
//!   └──► cancelled (by the user, or too late), failed (what it launches cannot be)
//! ```
//!
//! Source: EC2 User Guide, "Spot Instance request states" and "Spot request status codes".

use std::time::Duration;

use super::model::{Behavior, Cause, Interruption, SpotRequest, State};
use crate::clock::Timestamp;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;

/// From the notice to the end.
pub const NOTICE: Duration = Duration::from_secs(120);
/// How long an ended request can be described.
pub const REMEMBERED: Duration = Duration::from_secs(3600);

pub struct View<'a> {
    pub request: &'a SpotRequest,
    pub instance: Option<&'a Instance>,
    /// Of the instance's type in its zone; `None` while there is no instance.
    pub market: Option<Market>,
    /// What the request pays at most.
    pub max_price: f64,
    /// Whether its zone can run it still.
    pub room: bool,
    pub now: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub struct Market {
    pub price: f64,
    /// When it may change next, and to what.
    pub next_at: Timestamp,
    pub next: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// See whether it can be fulfilled now.
    Try,
    Become(State, &'static str),
    /// The instance may be taken soon.
    Recommend,
    Interrupt(Interruption),
    Notice,
    /// Terminate or stop the instance.
    Act(Behavior),
    /// Start the stopped instance again.
    Restart,
    /// The request's time is over while its instance is stopped.
    Expire,
    Forget,
}

/// What is to be done now, and when to look again.
pub fn next(v: &View<'_>) -> (Option<Step>, Option<Timestamp>) {
    let r = v.request;
    if let Some(ended) = r.ended_at {
        let until = ended.plus(REMEMBERED);
        return if until <= v.now { (Some(Step::Forget), None) } else { (None, Some(until)) };
    }
    let expired = r.market.valid_until.is_some_and(|until| until <= v.now);
    let gone = v.instance.is_none_or(|i| {
        matches!(i.state(), InstanceState::ShuttingDown | InstanceState::Terminated)
    });
    match r.state {
        State::Open if expired => become_(State::Cancelled, "schedule-expired"),
        State::Open => match r.valid_from.filter(|from| *from > v.now) {
            Some(from) if r.status.code == "not-scheduled-yet" => (None, Some(from)),
            Some(_) => become_(State::Open, "not-scheduled-yet"),
            None => (Some(Step::Try), r.market.valid_until),
        },
        State::Active | State::Disabled | State::Cancelled if gone => ended(r, expired),
        State::Active | State::Cancelled => running(v),
        State::Disabled => stopped(v, expired),
        State::Closed | State::Failed => (None, None),
    }
}

fn become_(state: State, code: &'static str) -> (Option<Step>, Option<Timestamp>) {
    (Some(Step::Become(state, code)), None)
}

fn ended(r: &SpotRequest, expired: bool) -> (Option<Step>, Option<Timestamp>) {
    let code = match r.interruption.as_ref().filter(|i| i.done).map(|i| i.cause) {
        Some(Cause::Price) => "instance-terminated-by-price",
        Some(Cause::Capacity) => "instance-terminated-no-capacity",
        Some(Cause::Asked) => "instance-terminated-by-experiment",
        None => "instance-terminated-by-user",
    };
    match r.state {
        State::Cancelled => become_(State::Cancelled, code),
        // A fleet replaces its own.
        _ if r.market.persistent && r.market.fleet_id.is_none() && !expired => {
            become_(State::Open, code)
        }
        _ => become_(State::Closed, code),
    }
}

fn running(v: &View<'_>) -> (Option<Step>, Option<Timestamp>) {
    let (r, now) = (v.request, v.now);
    let state = v.instance.map(Instance::state);
    if let Some(i) = &r.interruption {
        if i.done {
            return match state {
                Some(InstanceState::Stopped) if r.state == State::Active => {
                    become_(State::Disabled, stopped_code(i.cause))
                }
                _ => (None, None),
            };
        }
        return match () {
            () if i.at <= now => (Some(Step::Act(behavior(r))), None),
            () if !i.noticed && i.notice_at <= now => (Some(Step::Notice), None),
            () if !i.noticed => (None, Some(i.notice_at)),
            () => (None, Some(i.at)),
        };
    }
    if matches!(state, Some(InstanceState::Stopping | InstanceState::Stopped)) {
        return match r.state {
            State::Active => become_(State::Disabled, "instance-stopped-by-user"),
            _ => (None, None),
        };
    }
    let interrupt = |cause| {
        let interruption = Interruption {
            cause,
            notice_at: now,
            at: now.plus(NOTICE),
            noticed: false,
            done: false,
        };
        (Some(Step::Interrupt(interruption)), None)
    };
    let Some(market) = v.market else { return (None, None) };
    if market.price > v.max_price {
        return interrupt(Cause::Price);
    }
    if !v.room {
        return interrupt(Cause::Capacity);
    }
    if market.next > v.max_price && r.rebalance.is_none() {
        return (Some(Step::Recommend), None);
    }
    (None, Some(market.next_at))
}

/// What was cancelled has nobody who would start it again.
fn behavior(r: &SpotRequest) -> Behavior {
    if r.state == State::Cancelled { Behavior::Terminate } else { r.market.behavior }
}

fn stopped_code(cause: Cause) -> &'static str {
    match cause {
        Cause::Price => "instance-stopped-by-price",
        Cause::Capacity => "instance-stopped-no-capacity",
        Cause::Asked => "instance-stopped-by-experiment",
    }
}

fn stopped(v: &View<'_>, expired: bool) -> (Option<Step>, Option<Timestamp>) {
    let r = v.request;
    if expired {
        return (Some(Step::Expire), None);
    }
    let state = v.instance.map(Instance::state);
    if matches!(state, Some(InstanceState::Pending | InstanceState::Running)) {
        return become_(State::Active, "fulfilled");
    }
    // "A Spot Instance that was stopped by AWS FIS remains stopped until you restart it."
    let taken = r.interruption.as_ref().is_some_and(|i| i.cause != Cause::Asked);
    let market = v.market.filter(|_| taken);
    match market {
        Some(market) if market.price > v.max_price => (None, Some(market.next_at)),
        Some(_) if v.room && state == Some(InstanceState::Stopped) => (Some(Step::Restart), None),
        _ => (None, r.market.valid_until),
    }
}

/// What DescribeSpotInstanceRequests says of a status; AWS's words where they are known.
pub fn message(code: &str) -> &'static str {
    match code {
        "pending-evaluation" => {
            "Your Spot request has been submitted for review, and is pending evaluation."
        }
        "fulfilled" => "Your Spot request is fulfilled.",
        "not-scheduled-yet" => {
            "Your Spot request will not be evaluated until the scheduled date and time."
        }
        "capacity-not-available" => {
            "There is no Spot capacity available that matches your request."
        }
        "placement-group-constraint" => {
            "The Spot request can't be fulfilled because a Spot Instance can't be added to the placement \
             group at this time."
        }
        "schedule-expired" => {
            "Your Spot request expired because it was not fulfilled before the specified date."
        }
        "canceled-before-fulfillment" => "Your Spot request was canceled before it was fulfilled.",
        "request-canceled-and-instance-running" => {
            "Your Spot request was canceled while the Spot Instance was still running."
        }
        "marked-for-termination" => "Your Spot Instance is marked for termination.",
        "marked-for-stop" | "marked-for-stop-by-experiment" => {
            "Your Spot Instance is marked for stopping."
        }
        "instance-terminated-by-user" => {
            "Spot Instance terminated due to user-initiated termination."
        }
        "instance-terminated-by-price" => {
            "Your Spot Instance was terminated because the Spot price exceeded your maximum price."
        }
        "instance-terminated-no-capacity" => {
            "Your Spot Instance was terminated because there is no Spot capacity available."
        }
        "instance-terminated-by-experiment" => {
            "Your Spot Instance was terminated because of an interruption that was asked for."
        }
        "instance-terminated-by-schedule" => {
            "Your Spot Instance was terminated at the end of its scheduled duration."
        }
        "instance-stopped-by-user" => "Your Spot Instance was stopped by its user.",
        "instance-stopped-by-price" => {
            "Your Spot Instance was stopped because the Spot price exceeded your maximum price."
        }
        "instance-stopped-no-capacity" => {
            "Your Spot Instance was stopped because there is no Spot capacity available."
        }
        "instance-stopped-by-experiment" => {
            "Your Spot Instance was stopped because of an interruption that was asked for."
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Market as Terms, Status};
    use super::*;
    use crate::ec2::instance::launch::Launch;
    use crate::ec2::instance::state::{self as instance_state, Event, Request};
    use crate::ec2::instance::testing::instance;
    use crate::testing::NOW;

    fn request() -> SpotRequest {
        SpotRequest {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            id: "sir-abcd1234".into(),
            created_at: NOW,
            valid_from: None,
            market: Terms::default(),
            launch: Launch::default(),
            instance_type: "t3.micro".into(),
            client_token: None,
            state: State::Active,
            status: Status { code: "fulfilled".into(), message: String::new(), at: NOW },
            instance_id: Some("i-00000000000000001".into()),
            zone: Some("us-east-1a".into()),
            interruption: None,
            rebalance: None,
            ended_at: None,
        }
    }

    fn warned(after: u64, noticed: bool, done: bool) -> Option<Interruption> {
        Some(Interruption {
            cause: Cause::Price,
            notice_at: NOW,
            at: NOW.plus(Duration::from_secs(after)),
            noticed,
            done,
        })
    }

    type Change = fn(&mut SpotRequest, &mut Instance);

    fn up(i: &mut Instance) {
        let boot = i.desired.boot;
        instance_state::observe(i, Event::Up { boot }, NOW);
    }

    fn halted(i: &mut Instance) {
        up(i);
        instance_state::request(i, Request::Stop { force: true }, NOW).unwrap();
        instance_state::observe(i, Event::Down, NOW);
    }

    fn ending(i: &mut Instance) {
        instance_state::request(i, Request::Terminate { force: true }, NOW).unwrap();
    }

    #[test]
    fn steps() {
        // What differs from a fulfilled request at a price of 1 of at most 2, the next price, room.
        let cases: Vec<(Change, f64, f64, bool, &str)> = vec![
            (|_, i| up(i), 1.0, 1.0, true, "at 60"),
            (|_, i| up(i), 1.0, 3.0, true, "recommend"),
            (|_, i| up(i), 3.0, 1.0, true, "interrupt Price"),
            (|_, i| up(i), 1.0, 1.0, false, "interrupt Capacity"),
            (
                |r, i| {
                    up(i);
                    r.rebalance = Some(NOW)
                },
                1.0,
                3.0,
                true,
                "at 60",
            ),
            (
                |r, i| {
                    up(i);
                    r.interruption = warned(9, false, false)
                },
                3.0,
                3.0,
                true,
                "notice",
            ),
            // A price that falls again takes no notice back.
            (
                |r, i| {
                    up(i);
                    r.interruption = warned(9, true, false)
                },
                1.0,
                1.0,
                true,
                "at 9",
            ),
            (
                |r, i| {
                    up(i);
                    r.interruption = warned(0, true, false)
                },
                3.0,
                3.0,
                true,
                "act Terminate",
            ),
            (
                |r, i| {
                    up(i);
                    r.market.behavior = Behavior::Stop;
                    r.interruption = warned(0, true, false);
                },
                3.0,
                3.0,
                true,
                "act Stop",
            ),
            (
                |r, i| {
                    up(i);
                    r.state = State::Cancelled;
                    r.market.behavior = Behavior::Stop;
                    r.interruption = warned(0, true, false);
                },
                3.0,
                3.0,
                true,
                "act Terminate",
            ),
            (
                |r, i| {
                    halted(i);
                    r.interruption = warned(0, true, true)
                },
                3.0,
                3.0,
                true,
                "disabled instance-stopped-by-price",
            ),
            (|_, i| halted(i), 1.0, 1.0, true, "disabled instance-stopped-by-user"),
            (
                |r, i| {
                    halted(i);
                    r.state = State::Disabled
                },
                1.0,
                1.0,
                true,
                "",
            ),
            (
                |r, i| {
                    up(i);
                    r.state = State::Disabled
                },
                1.0,
                1.0,
                true,
                "active fulfilled",
            ),
            (
                |r, i| {
                    halted(i);
                    r.state = State::Disabled;
                    r.interruption = warned(0, true, true);
                },
                3.0,
                3.0,
                true,
                "at 60",
            ),
            (
                |r, i| {
                    halted(i);
                    r.state = State::Disabled;
                    r.interruption = warned(0, true, true);
                },
                1.0,
                3.0,
                true,
                "restart",
            ),
            (
                |r, i| {
                    halted(i);
                    r.state = State::Disabled;
                    r.market.valid_until = Some(NOW);
                },
                1.0,
                1.0,
                true,
                "expire",
            ),
            (|_, i| ending(i), 1.0, 1.0, true, "closed instance-terminated-by-user"),
            (
                |r, i| {
                    ending(i);
                    r.market.persistent = true
                },
                1.0,
                1.0,
                true,
                "open instance-terminated-by-user",
            ),
            (
                |r, i| {
                    ending(i);
                    r.interruption = warned(0, true, true)
                },
                1.0,
                1.0,
                true,
                "closed instance-terminated-by-price",
            ),
            // The user was faster than the interruption.
            (
                |r, i| {
                    ending(i);
                    r.interruption = warned(9, true, false)
                },
                1.0,
                1.0,
                true,
                "closed instance-terminated-by-user",
            ),
            (
                |r, i| {
                    ending(i);
                    r.state = State::Cancelled
                },
                1.0,
                1.0,
                true,
                "cancelled instance-terminated-by-user",
            ),
            (|r, _| r.state = State::Open, 1.0, 1.0, true, "try"),
            (
                |r, _| {
                    r.state = State::Open;
                    r.valid_from = Some(NOW.plus(Duration::from_secs(5)));
                },
                1.0,
                1.0,
                true,
                "open not-scheduled-yet",
            ),
            (
                |r, _| {
                    r.state = State::Open;
                    r.market.valid_until = Some(NOW);
                },
                1.0,
                1.0,
                true,
                "cancelled schedule-expired",
            ),
            (|r, _| r.ended_at = Some(NOW), 1.0, 1.0, true, "at 3600"),
            (|r, _| r.ended_at = Some(Timestamp(NOW.0 - 3_600_000)), 1.0, 1.0, true, "forget"),
        ];
        for (change, price, next_price, room, expected) in cases {
            let (mut request, mut instance) = (request(), instance());
            change(&mut request, &mut instance);
            let market =
                Market { price, next_at: NOW.plus(Duration::from_secs(60)), next: next_price };
            let view = View {
                request: &request,
                instance: Some(&instance),
                market: Some(market),
                max_price: 2.0,
                room,
                now: NOW,
            };
            let said = match next(&view) {
                (Some(Step::Become(state, code)), _) => format!("{} {code}", state.name()),
                (Some(Step::Interrupt(i)), _) => format!("interrupt {:?}", i.cause),
                (Some(Step::Act(behavior)), _) => format!("act {behavior:?}"),
                (Some(step), _) => format!("{step:?}").to_lowercase(),
                (None, Some(at)) => format!("at {}", at.since(NOW).as_secs()),
                (None, None) => String::new(),
            };
            assert_eq!(said, expected, "{request:?} {:?}", instance.state());
        }
    }
}

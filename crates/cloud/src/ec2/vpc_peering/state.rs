//! What may become of a peering, and when. Pure.

use std::time::Duration;

use super::model::{State, VpcPeering};
use crate::clock::Timestamp;

/// AWS: "If no action is taken …, the request expires after 7 days."
pub const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

const DAY: Duration = Duration::from_secs(24 * 3600);

impl State {
    pub fn code(self) -> &'static str {
        match self {
            State::PendingAcceptance => "pending-acceptance",
            State::Active => "active",
            State::Rejected => "rejected",
            State::Deleted => "deleted",
            State::Expired => "expired",
            State::Failed => "failed",
        }
    }

    /// Nothing can become of it any more.
    pub fn is_over(self) -> bool {
        !matches!(self, State::PendingAcceptance | State::Active)
    }

    /// Whether a user can bring it from this state to `next`.
    pub fn may_become(self, next: State) -> bool {
        match next {
            State::Active | State::Rejected => self == State::PendingAcceptance,
            State::Deleted => !self.is_over(),
            _ => false,
        }
    }

    /// For how long it can be looked at once it is over ("VPC peering connection lifecycle").
    fn shown_for(self) -> Duration {
        match self {
            State::Rejected | State::Expired => 2 * DAY,
            _ => Duration::from_secs(2 * 3600),
        }
    }
}

/// What time makes of a peering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Expire,
    Forget,
    At(Timestamp),
    Never,
}

pub fn next(peering: &VpcPeering, now: Timestamp) -> Next {
    let (then, at) = match peering.state {
        State::Active => return Next::Never,
        State::PendingAcceptance => (Next::Expire, peering.expires_at),
        over => (Next::Forget, peering.since.plus(over.shown_for())),
    };
    if now >= at { then } else { Next::At(at) }
}

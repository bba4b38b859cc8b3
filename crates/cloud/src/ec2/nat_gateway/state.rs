//! What becomes of a NAT gateway next. Pure.

use std::time::Duration;

use super::model::{NatGateway, State};
use crate::clock::Timestamp;

/// For how long one that is over can be looked at.
const SHOWN_FOR: Duration = Duration::from_secs(3600);

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Available => "available",
            State::Failed => "failed",
            State::Deleting => "deleting",
            State::Deleted => "deleted",
        }
    }

    /// It translates, or is about to.
    pub fn is_alive(self) -> bool {
        matches!(self, State::Pending | State::Available)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Become(State),
    Forget,
    At(Timestamp),
    Never,
}

/// `has_internet`: its VPC has an internet gateway.
pub fn next(gateway: &NatGateway, has_internet: bool, now: Timestamp) -> Next {
    match gateway.state {
        State::Pending if has_internet || gateway.elastic.is_none() => {
            Next::Become(State::Available)
        }
        State::Pending => Next::Become(State::Failed),
        State::Available => Next::Never,
        State::Deleting => Next::Become(State::Deleted),
        State::Failed | State::Deleted => {
            let at = gateway.ended_at.unwrap_or(gateway.created_at).plus(SHOWN_FOR);
            if now >= at { Next::Forget } else { Next::At(at) }
        }
    }
}

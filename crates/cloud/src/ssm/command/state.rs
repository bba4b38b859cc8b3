//! The life of an invocation, and what those of a command come to together. Source: AWS Systems Manager
//! User Guide, "Understanding command statuses".
//!
//! ```text
//!  Pending ◄──► Delayed ──► InProgress ──► Success | Failed | ExecutionTimedOut
//!     └────────────┴─┬──┐        └──► Cancelling ──► Cancelled
//!                    │  └──► Cancelled | Terminated (too many errors elsewhere)
//!                    └─────► DeliveryTimedOut
//! ```

use serde::{Deserialize, Serialize};

use super::model::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    Pending,
    /// Its node is not there now.
    Delayed,
    InProgress,
    Cancelling,
    Success,
    Cancelled,
    Failed,
    ExecutionTimedOut,
    DeliveryTimedOut,
    Terminated,
}

impl State {
    /// `Status`
    pub fn status(self) -> &'static str {
        match self {
            State::Pending => "Pending",
            State::Delayed => "Delayed",
            State::InProgress => "InProgress",
            State::Cancelling => "Cancelling",
            State::Success => "Success",
            State::Cancelled | State::Terminated => "Cancelled",
            State::Failed => "Failed",
            State::ExecutionTimedOut | State::DeliveryTimedOut => "TimedOut",
        }
    }

    /// `StatusDetails`
    pub fn details(self) -> &'static str {
        match self {
            State::Terminated => "Terminated",
            State::ExecutionTimedOut => "ExecutionTimedOut",
            State::DeliveryTimedOut => "DeliveryTimedOut",
            other => other.status(),
        }
    }

    pub fn waits(self) -> bool {
        matches!(self, State::Pending | State::Delayed)
    }

    pub fn runs(self) -> bool {
        matches!(self, State::InProgress | State::Cancelling)
    }

    pub fn is_over(self) -> bool {
        !self.waits() && !self.runs()
    }

    /// Counts against `MaxErrors`.
    pub fn is_error(self) -> bool {
        matches!(self, State::Failed | State::ExecutionTimedOut)
    }
}

/// What a command has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub status: &'static str,
    pub details: &'static str,
    pub targets: usize,
    pub completed: usize,
    pub errors: usize,
    pub delivery_timed_out: usize,
}

pub fn summary(command: &Command, states: &[State]) -> Summary {
    let count = |of: fn(&State) -> bool| states.iter().filter(|state| of(state)).count();
    let completed = count(|state| state.is_over());
    let errors = count(|state| state.is_error());
    let undelivered = count(|state| *state == State::DeliveryTimedOut);
    let any = |of: State| states.contains(&of);
    let (status, details) = if !command.expanded {
        ("Pending", "Pending")
    } else if states.is_empty() {
        ("Success", "NoInstancesInTag")
    } else if completed < states.len() {
        match () {
            () if command.cancelled => ("Cancelling", "Cancelling"),
            () if states.iter().all(|state| state.waits()) => ("Pending", "Pending"),
            () => ("InProgress", "InProgress"),
        }
    } else if states.iter().all(|state| *state == State::Success) {
        ("Success", "Success")
    } else if errors > command.max_errors.of(states.len()) {
        match any(State::Failed) {
            true => ("Failed", "Failed"),
            false => ("TimedOut", "ExecutionTimedOut"),
        }
    } else if any(State::Cancelled) {
        ("Cancelled", "Cancelled")
    } else if undelivered == states.len() {
        ("TimedOut", "DeliveryTimedOut")
    } else {
        ("Failed", "Incomplete")
    };
    let targets = if command.expanded { states.len() } else { command.instance_ids.len() };
    Summary { status, details, targets, completed, errors, delivery_timed_out: undelivered }
}

//! What users change of fleets that are there: their targets and templates, and whether they are to be.

use std::collections::BTreeMap;

use store::Tx;

use super::model::{Config, Fleet, Kind, Place, State, Target};
use super::{check, ops, pools};
use crate::Context;
use crate::ec2::{Error, Kind as Named, Result};

/// What ModifyFleet changes.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub target: Option<Target>,
    pub terminate_excess: Option<bool>,
    pub configs: Vec<Config>,
}

pub fn modify(tx: &mut Tx, cx: &Context, kind: Named, id: &str, changes: &Changes) -> Result<()> {
    let known = ops::find(tx, cx, kind, id)?;
    if known.wanted.kind != Kind::Maintain {
        return Err(Error::UnsupportedOperation(format!(
            "Fleets of type {} cannot be modified.",
            known.wanted.kind.name()
        )));
    }
    if known.state != State::Active {
        return Err(Error::FleetNotInModifiableState(format!(
            "The fleet '{id}' is {}. It must be active in order to be modified.",
            known.state_name()
        )));
    }
    let mut next = Fleet::clone(&known);
    if let Some(target) = changes.target {
        next.wanted.target = target;
    }
    if let Some(terminate) = changes.terminate_excess {
        next.wanted.terminate_excess = terminate;
    }
    if !changes.configs.is_empty() {
        next.wanted.configs = changes.configs.clone();
        // Members of configurations that are no more keep their weight, and are of the first one.
        for member in &mut next.members {
            member.place = Place { config: 0, over: None };
        }
    }
    check::check(cx, &next.wanted)?;
    pools::pools(tx, cx, &next.wanted, next.wanted.target.default)?;
    next.errors.clear();
    next.state = State::Modifying;
    ops::record(tx, cx, &next, "fleetRequestChange", "modify_in_progress", String::new(), None);
    tx.put(next);
    Ok(())
}

/// The state of a fleet before and after it was deleted, or why it is not.
pub type Deleted = Result<(State, State), (Undeletable, String)>;

/// What DeleteFleets and CancelSpotFleetRequests name: each by itself.
pub fn delete_all(
    tx: &mut Tx,
    cx: &Context,
    kind: Named,
    ids: &[String],
    terminates: bool,
) -> BTreeMap<String, Deleted> {
    ids.iter().map(|id| (id.clone(), delete(tx, cx, kind, id, terminates))).collect()
}

fn delete(tx: &mut Tx, cx: &Context, kind: Named, id: &str, terminates: bool) -> Deleted {
    let known = match ops::find(tx, cx, kind, id) {
        Ok(known) => known,
        Err(Error::Malformed { .. }) => {
            return Err((Undeletable::Malformed, format!("The fleet ID '{id}' is malformed.")));
        }
        Err(error) => return Err((Undeletable::Unknown, error.to_string())),
    };
    if known.state.is_over() {
        let message = format!("The fleet '{id}' is deleted already.");
        return Err((Undeletable::State, message));
    }
    if known.wanted.kind == Kind::Instant && !terminates {
        let message = "A fleet of type instant is deleted with its instances only.".to_owned();
        return Err((Undeletable::Unexpected, message));
    }
    let mut next = Fleet::clone(&known);
    let state = match terminates {
        true => State::DeletedTerminating,
        false => State::DeletedRunning,
    };
    ops::become_(tx, cx, &mut next, state);
    let before = known.state;
    tx.put(next);
    Ok((before, state))
}

/// Why a fleet is not deleted; each kind of fleet has codes of its own for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undeletable {
    Malformed,
    Unknown,
    State,
    Unexpected,
}

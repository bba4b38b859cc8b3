//! What users and launches say of credits.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::facts::{self, FAMILIES};
use super::model::{Credits, DefaultMode, Mode};
use super::state;
use crate::Context;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::{Error, Result, instance};

/// `standard` or `unlimited`.
pub fn mode(word: &str) -> Result<Mode> {
    Mode::parse(word).ok_or_else(|| {
        Error::value(format!(
            "Invalid value '{word}' for CpuCredits. Valid values: standard, unlimited."
        ))
    })
}

/// A launch that says a mode must be of a type that has credits.
pub fn check(instance_type: &str, asked: Option<Mode>) -> Result<()> {
    if asked.is_some() && facts::of(instance_type).is_none() {
        return Err(Error::combination(format!(
            "The parameter CreditSpecification is not supported for instance type {instance_type}."
        )));
    }
    Ok(())
}

/// Opens the account of an instance just launched, or whose type was changed.
pub fn open(tx: &mut Tx, cx: &Context, instance: &Instance, asked: Option<Mode>) {
    let Some(facts) = facts::of(&instance.instance_type) else {
        tx.delete::<Credits>(&cx.key(&instance.id));
        return;
    };
    let mode = asked.unwrap_or_else(|| default(tx, cx, facts.family));
    let mut credits = Credits {
        account: instance.account.clone(),
        region: instance.region.clone(),
        instance_id: instance.id.clone(),
        mode,
        was_unlimited: mode == Mode::Unlimited,
        balance: 0.0,
        launch: 0.0,
        surplus: 0.0,
        spent: 0.0,
        charged: 0.0,
        boot: instance.desired.boot,
        cpu_seconds: 0.0,
        at: cx.now,
        stopped: None,
    };
    state::launched(&mut credits, &facts, cx.now);
    if instance.state() == InstanceState::Stopped {
        credits.stopped = Some(cx.now);
    }
    tx.put(credits);
}

pub fn forget(tx: &mut Tx, cx: &Context, instance_id: &str) {
    tx.delete::<Credits>(&cx.key(instance_id));
}

pub fn default(snapshot: &Snapshot, cx: &Context, family: &str) -> Mode {
    let chosen = snapshot.get::<DefaultMode>(&cx.key(family)).map(|chosen| chosen.mode);
    chosen.unwrap_or(if family == "t2" { Mode::Standard } else { Mode::Unlimited })
}

pub fn check_family(family: &str) -> Result<()> {
    if FAMILIES.contains(&family) {
        return Ok(());
    }
    Err(Error::value(format!(
        "Value ({family}) for parameter InstanceFamily is invalid. Valid values: {}.",
        FAMILIES.join(", ")
    )))
}

pub fn set_default(tx: &mut Tx, cx: &Context, family: &str, mode: Mode) -> Result<()> {
    check_family(family)?;
    tx.put(DefaultMode {
        account: cx.account.clone(),
        region: cx.region.clone(),
        family: family.to_owned(),
        mode,
    });
    Ok(())
}

/// Why one of several instances was not changed: a code and a message.
pub type Refusal = (&'static str, String);

const NOT_SUPPORTED: &str = "InstanceCreditSpecification.NotSupported";

pub fn modify(
    tx: &mut Tx,
    cx: &Context,
    instance_id: &str,
    mode: Mode,
) -> std::result::Result<(), Refusal> {
    let found = instance::ops::instance(tx, cx, instance_id);
    let found = found.map_err(|error| {
        let code = match error {
            Error::Malformed { .. } => "InvalidInstanceID.Malformed",
            _ => "InvalidInstanceID.NotFound",
        };
        (code, error.to_string())
    })?;
    if !matches!(found.state(), InstanceState::Running | InstanceState::Stopped) {
        let message = format!(
            "The instance '{instance_id}' must be in the running or stopped state for its credit \
             specification to be changed."
        );
        return Err(("IncorrectInstanceState", message));
    }
    let Some(credits) = tx.get::<Credits>(&cx.key(instance_id)) else {
        return Err((NOT_SUPPORTED, not_supported(instance_id)));
    };
    let mut next = Credits::clone(&credits);
    state::switched(&mut next, mode);
    if next != *credits {
        tx.put(next);
    }
    Ok(())
}

fn not_supported(instance_id: &str) -> String {
    format!("The instance '{instance_id}' is not of a burstable performance type.")
}

/// Those named; without names those that are, or were, unlimited.
pub fn describe(snapshot: &Snapshot, cx: &Context, ids: &[String]) -> Result<Vec<Arc<Credits>>> {
    let mut found = Vec::new();
    if ids.is_empty() {
        let alive = |credits: &Arc<Credits>| {
            snapshot
                .get::<Instance>(&cx.key(&credits.instance_id))
                .is_some_and(|instance| instance.is_alive())
        };
        let prefix = cx.prefix();
        let all = snapshot.scan::<Credits>(&prefix);
        return Ok(all.filter(|credits| credits.was_unlimited && alive(credits)).collect());
    }
    for instance in instance::ops::named(snapshot, cx, ids)? {
        let credits = snapshot.get::<Credits>(&cx.key(&instance.id));
        found.push(credits.ok_or_else(|| Error::NoCpuCredits(not_supported(&instance.id)))?);
    }
    found.sort_by(|a, b| a.instance_id.cmp(&b.instance_id));
    Ok(found)
}

//! The actions there are: their parameters and their targets. Pure.
//!
//! Source: FIS User Guide, "AWS FIS Actions reference", Amazon EC2 actions.

use std::time::Duration;

use super::model::{Action, Design};
use super::{Error, Result};

/// What there is to know of an action.
pub struct Known {
    pub id: &'static str,
    pub description: &'static str,
    /// Its own name for what it acts on, and what that is.
    pub target: (&'static str, &'static str),
    pub parameters: &'static [Parameter],
}

pub struct Parameter {
    pub name: &'static str,
    pub description: &'static str,
    pub required: bool,
}

pub const SPOT: &str = "aws:ec2:spot-instance";
pub const INSTANCE: &str = "aws:ec2:instance";

pub const KNOWN: &[Known] = &[
    Known {
        id: "aws:ec2:reboot-instances",
        description: "Reboot the specified EC2 instances.",
        target: ("Instances", INSTANCE),
        parameters: &[],
    },
    Known {
        id: "aws:ec2:send-spot-instance-interruptions",
        description: "Interrupt the specified EC2 Spot Instances.",
        target: ("SpotInstances", SPOT),
        parameters: &[Parameter {
            name: "durationBeforeInterruption",
            description: "The time to wait before interrupting the instances, PT2M to PT15M. The \
                          notice is sent two minutes before.",
            required: true,
        }],
    },
    Known {
        id: "aws:ec2:stop-instances",
        description: "Stop the specified EC2 instances.",
        target: ("Instances", INSTANCE),
        parameters: &[
            Parameter {
                name: "startInstancesAfterDuration",
                description: "The time to wait before starting the instances again, PT1M to PT12H. \
                              Without it they remain stopped.",
                required: false,
            },
            Parameter {
                name: "completeIfInstancesTerminated",
                description: "With true, the action completes when a target was terminated by another \
                              service meanwhile.",
                required: false,
            },
        ],
    },
    Known {
        id: "aws:ec2:terminate-instances",
        description: "Terminate the specified EC2 instances.",
        target: ("Instances", INSTANCE),
        parameters: &[],
    },
];

pub fn known(id: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.id == id)
}

/// What an action is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Interrupt { after: Duration },
    Stop { restart_after: Option<Duration>, may_be_terminated: bool },
    Terminate,
    Reboot,
}

impl What {
    /// The right that its role must have on each instance.
    pub fn right(self) -> &'static str {
        match self {
            What::Interrupt { .. } => "SendSpotInstanceInterruptions",
            What::Stop { .. } => "StopInstances",
            What::Terminate => "TerminateInstances",
            What::Reboot => "RebootInstances",
        }
    }
}

const MINUTE: u64 = 60;

/// Of an action as it was asked for.
pub fn what(action: &Action) -> Result<What> {
    let parameter = |name: &str| action.parameters.get(name).map(String::as_str);
    let time = |name: &str, least: u64, most: u64| {
        let Some(text) = parameter(name) else { return Ok(None) };
        let found =
            duration(text).filter(|time| (least..=most).contains(&time.as_secs())).ok_or_else(
                || Error::invalid(format!("Parameter {name} has an invalid value: {text}.")),
            );
        found.map(Some)
    };
    let yes = |name: &str| match parameter(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => {
            Err(Error::invalid(format!("Parameter {name} has an invalid value: {other}.")))
        }
    };
    Ok(match action.id.as_str() {
        "aws:ec2:send-spot-instance-interruptions" => {
            let after = time("durationBeforeInterruption", 2 * MINUTE, 15 * MINUTE)?;
            What::Interrupt { after: after.unwrap_or_default() }
        }
        "aws:ec2:stop-instances" => What::Stop {
            restart_after: time("startInstancesAfterDuration", MINUTE, 12 * 60 * MINUTE)?,
            may_be_terminated: yes("completeIfInstancesTerminated")?,
        },
        "aws:ec2:terminate-instances" => What::Terminate,
        "aws:ec2:reboot-instances" => What::Reboot,
        other => {
            let all: Vec<&str> = KNOWN.iter().map(|known| known.id).collect();
            return Err(Error::unsupported(&format!(
                "The action {other} (there are {})",
                all.join(", ")
            )));
        }
    })
}

/// ISO 8601 with hours, minutes and seconds: `PT1H30M`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix("PT").filter(|rest| !rest.is_empty())?;
    let mut seconds = 0u64;
    for (unit, of) in [('H', 3600), ('M', 60), ('S', 1)] {
        if let Some((number, after)) = rest.split_once(unit) {
            seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(of)?)?;
            rest = after;
        }
    }
    rest.is_empty().then_some(Duration::from_secs(seconds))
}

/// Refuses actions that are none, or that do not go together with each other and with the targets.
pub fn check(design: &Design) -> Result<()> {
    if design.actions.is_empty() {
        return Err(Error::invalid("An experiment template must have at least one action."));
    }
    for (name, action) in &design.actions {
        what(action)?;
        let known = known(&action.id).expect("what is known was found");
        let strange = |given: &&String| !known.parameters.iter().any(|p| p.name == given.as_str());
        if let Some(other) = action.parameters.keys().find(strange) {
            return Err(Error::invalid(format!(
                "Action {name}: {} has no parameter {other}.",
                action.id
            )));
        }
        let missing = known.parameters.iter().find(|parameter| {
            parameter.required && !action.parameters.contains_key(parameter.name)
        });
        if let Some(missing) = missing {
            return Err(Error::invalid(format!(
                "Action {name}: the parameter {} is required.",
                missing.name
            )));
        }
        let (key, kind) = known.target;
        let [(said, target)] = action.targets.iter().collect::<Vec<_>>()[..] else {
            return Err(Error::invalid(format!("Action {name} must have one target, {key}.")));
        };
        if said != key {
            return Err(Error::invalid(format!("Action {name} has no target {said}, but {key}.")));
        }
        match design.targets.get(target) {
            Some(found) if found.kind == kind => {}
            Some(found) => {
                return Err(Error::invalid(format!(
                    "Action {name}: the target {target} is of {}, not of {kind}.",
                    found.kind
                )));
            }
            None => {
                return Err(Error::invalid(format!("Action {name}: there is no target {target}.")));
            }
        }
    }
    order(design)
}

/// Refuses actions that would wait for each other.
fn order(design: &Design) -> Result<()> {
    let mut done: Vec<&str> = Vec::new();
    loop {
        let before = done.len();
        for (name, action) in &design.actions {
            if let Some(other) =
                action.start_after.iter().find(|other| !design.actions.contains_key(*other))
            {
                return Err(Error::invalid(format!(
                    "Action {name} starts after {other}, which there is not."
                )));
            }
            let ready = action.start_after.iter().all(|other| done.contains(&other.as_str()));
            if ready && !done.contains(&name.as_str()) {
                done.push(name);
            }
        }
        if done.len() == design.actions.len() {
            return Ok(());
        }
        if done.len() == before {
            return Err(Error::invalid("Actions must not start after each other in a circle."));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("PT2M", Some(120)),
            ("PT1H30M", Some(5400)),
            ("PT90S", Some(90)),
            ("PT", None),
            ("2M", None),
            ("PT2", None),
            ("PT2M3", None),
            ("P1D", None),
        ] {
            assert_eq!(duration(text).map(|d| d.as_secs()), seconds, "{text}");
        }
    }
}

//! What a fleet cannot be asked for.

use super::model::{Kind, Target, Wanted};
use crate::Context;
use crate::ec2::spot::model::Behavior;
use crate::ec2::{Error, Result};

/// "Fleets: target capacity per EC2 Fleet" is 10,000; here instances are real.
const MAX_TARGET: u32 = 1000;

pub fn check(cx: &Context, wanted: &Wanted) -> Result<()> {
    check_target(&wanted.target)?;
    let price = wanted.spot_fleet.as_ref().and_then(|fleet| fleet.max_price.as_ref());
    price.map_or(Ok(()), |text| check_price(text))?;
    if wanted.configs.is_empty() {
        return Err(Error::MissingParameter("LaunchTemplateConfigs"));
    }
    if wanted.valid_until.is_some_and(|until| until <= cx.now) {
        return Err(Error::value("The ValidUntil date must be in the future."));
    }
    if wanted.valid_from.zip(wanted.valid_until).is_some_and(|(from, until)| from >= until) {
        return Err(Error::value("The ValidFrom date must be before the ValidUntil date."));
    }
    check_kind(wanted)?;
    for over in wanted.configs.iter().flat_map(|config| &config.overrides) {
        if over.weight.is_some_and(|weight| !(weight > 0.0 && weight <= 999.0)) {
            return Err(Error::value("WeightedCapacity must be between 1 and 999."));
        }
        over.max_price.as_ref().map_or(Ok(()), |text| check_price(text))?;
    }
    Ok(())
}

fn check_price(text: &str) -> Result<()> {
    match text.parse::<f64>().is_ok_and(|price| price.is_finite() && price > 0.0) {
        true => Ok(()),
        false => Err(Error::value(format!("Invalid value '{text}' for the maximum price."))),
    }
}

pub fn check_target(target: &Target) -> Result<()> {
    if target.total > MAX_TARGET {
        return Err(Error::value(format!("TotalTargetCapacity must be at most {MAX_TARGET}.")));
    }
    if target.on_demand + target.spot > target.total {
        return Err(Error::value(
            "The sum of OnDemandTargetCapacity and SpotTargetCapacity must not exceed \
             TotalTargetCapacity.",
        ));
    }
    Ok(())
}

/// What only fleets of some kinds can be asked for.
fn check_kind(wanted: &Wanted) -> Result<()> {
    if wanted.kind != Kind::Maintain && wanted.replace_unhealthy {
        return Err(Error::combination(
            "ReplaceUnhealthyInstances is supported for fleets of type maintain only.",
        ));
    }
    let timed = wanted.valid_from.is_some() || wanted.valid_until.is_some();
    if wanted.kind == Kind::Instant && timed {
        return Err(Error::combination(
            "ValidFrom and ValidUntil are not supported for fleets of type instant.",
        ));
    }
    if wanted.kind != Kind::Maintain && wanted.behavior != Behavior::default() {
        return Err(Error::combination(
            "The instance interruption behavior 'stop' is supported for fleets of type maintain only.",
        ));
    }
    Ok(())
}

//! The types of an override: the one it names, or all that have what it requires and cost not much more
//! than others that would do. Reads only.
//!
//! Source: EC2 API Reference, `InstanceRequirements`, price protection.

use store::Snapshot;

use super::model::{Lifecycle, Override};
use crate::ec2::catalog::select::{Prices, Requirements, select};
use crate::ec2::catalog::{self, InstanceType, prices};
use crate::ec2::instance::launch::Launch;
use crate::ec2::spot::market;
use crate::ec2::{Error, Result, image};
use crate::{Context, zone};

/// Percent over the lowest price, where nothing is said.
const ON_DEMAND_OVER: u32 = 20;
const SPOT_OVER: u32 = 100;
/// Turns price protection off.
const ANY_PRICE: u32 = 999_999;

/// Types, and the most that an hour of one may cost as it is launched.
pub struct Types {
    pub names: Vec<String>,
    limit: Option<f64>,
}

impl Types {
    /// Whether a price is within what is protected.
    pub fn affords(&self, price: f64) -> bool {
        self.limit.is_none_or(|limit| price <= limit + 1e-9)
    }
}

pub fn of(
    snapshot: &Snapshot,
    cx: &Context,
    over: &Override,
    template: &Launch,
    lifecycle: Lifecycle,
) -> Result<Types> {
    if let Some(requirements) = &over.requirements {
        let image = over.image_id.as_ref().or(template.image_id.as_ref());
        let image = image.ok_or(Error::MissingParameter("ImageId"))?;
        let id = image::ops::resolve_id(snapshot, cx, image)?;
        let architecture = image::ops::image(snapshot, cx, &id)?.architecture;
        return required(snapshot, cx, requirements, &architecture, lifecycle);
    }
    let said = over.instance_type.as_ref().or(template.instance_type.as_ref());
    let name = said.cloned().ok_or_else(|| {
        Error::value("An instance type must be in the launch template or its override.")
    })?;
    if catalog::instance_type(&name).is_none() {
        return Err(Error::value(format!("Invalid value '{name}' for InstanceType.")));
    }
    Ok(Types { names: vec![name], limit: None })
}

fn required(
    snapshot: &Snapshot,
    cx: &Context,
    requirements: &Requirements,
    architecture: &str,
    lifecycle: Lifecycle,
) -> Result<Types> {
    let wanted =
        Requirements { architectures: vec![architecture.to_owned()], ..requirements.clone() };
    let found: Vec<&InstanceType> =
        select(&wanted).into_iter().filter(|t| prices::on_demand(t.name).is_some()).collect();
    let basis = basis(&found);
    if basis.is_empty() {
        return Err(Error::value("No instance type has what InstanceRequirements asks for."));
    }
    let lowest = |price: &dyn Fn(&InstanceType) -> Option<f64>| {
        basis.iter().filter_map(|t| price(t)).fold(f64::INFINITY, f64::min)
    };
    let on_demand = || lowest(&|t| prices::on_demand(t.name));
    let spot = || {
        let zones = zone::zones(&cx.region, cx.env.config.zones);
        lowest(&|t| {
            let of = |zone: &zone::Zone| market::series(snapshot, &cx.env, t.name, &zone.name);
            zones.iter().filter_map(of).map(|series| series.price(cx.now)).reduce(f64::min)
        })
    };
    let Prices { on_demand_over_lowest, spot_over_lowest, spot_of_on_demand } = requirements.prices;
    let over = |percent: u32, price: f64| price * (1.0 + f64::from(percent) / 100.0);
    let limit = match (lifecycle, spot_of_on_demand) {
        (Lifecycle::OnDemand, _) => {
            let percent = on_demand_over_lowest.unwrap_or(ON_DEMAND_OVER);
            (percent < ANY_PRICE).then(|| over(percent, on_demand()))
        }
        (Lifecycle::Spot, Some(percent)) => {
            (percent < ANY_PRICE).then(|| on_demand() * f64::from(percent) / 100.0)
        }
        (Lifecycle::Spot, None) => {
            let percent = spot_over_lowest.unwrap_or(SPOT_OVER);
            (percent < ANY_PRICE).then(|| over(percent, spot()))
        }
    };
    Ok(Types { names: found.iter().map(|t| t.name.to_owned()).collect(), limit })
}

/// What prices are compared with: C, M and R types of the current generation, or all of it, or all.
fn basis<'a>(found: &[&'a InstanceType]) -> Vec<&'a InstanceType> {
    let common = |t: &&&InstanceType| {
        t.current_generation
            && matches!(crate::advice::workload::series(t.family()), "c" | "m" | "r")
    };
    let of = |keeps: &dyn Fn(&&&InstanceType) -> bool| -> Vec<&'a InstanceType> {
        found.iter().filter(|t| keeps(t)).copied().collect()
    };
    let sets = [of(&common), of(&|t| t.current_generation), found.to_vec()];
    sets.into_iter().find(|set| !set.is_empty()).unwrap_or_default()
}

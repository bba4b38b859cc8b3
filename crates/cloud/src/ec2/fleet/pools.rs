//! The pools of a fleet: every type in every place that its configurations name. Reads only.

use store::Snapshot;

use super::model::{Fleet, Lifecycle, Override, Place, Wanted};
use super::plan::Pool;
use super::types;
use crate::ec2::catalog::prices;
use crate::ec2::instance::launch::Launch;
use crate::ec2::spot::{market, score};
use crate::ec2::{Error, Result, launch_template, vpc};
use crate::{Context, zone};

/// One pool of an override, and what launches from it.
pub struct Source {
    pub pool: Pool,
    pub launch: Launch,
}

/// Every type in every place that the fleet's configurations name, at its price.
pub fn pools(
    snapshot: &Snapshot,
    cx: &Context,
    wanted: &Wanted,
    lifecycle: Lifecycle,
) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for (at, config) in wanted.configs.iter().enumerate() {
        let template = match &config.specification {
            Some(specification) => specification.clone(),
            None => launch_template::ops::resolve(snapshot, cx, &config.template)?.launch,
        };
        if template.market.is_some() {
            return Err(Error::combination(
                "The launch template of a fleet cannot specify InstanceMarketOptions.",
            ));
        }
        let plain = [Default::default()];
        let overrides = match config.overrides.is_empty() {
            true => &plain[..],
            false => &config.overrides,
        };
        for (number, over) in overrides.iter().enumerate() {
            let place =
                Place { config: at, over: (!config.overrides.is_empty()).then_some(number) };
            let types = types::of(snapshot, cx, over, &template, lifecycle)?;
            let base = match &config.specification {
                Some(specification) => specification.clone(),
                None => Launch {
                    image_id: over.image_id.clone(),
                    template: Some(config.template.clone()),
                    ..Launch::default()
                },
            };
            let launch = Launch {
                placement_group: over.placement_group.clone().or(base.placement_group),
                min_count: 1,
                max_count: 1,
                ..base
            };
            for (zone, launch) in places(snapshot, cx, over, &template, launch)? {
                for instance_type in &types.names {
                    let weight = over.weight.unwrap_or(1.0);
                    let full = prices::on_demand(instance_type).unwrap_or(f64::INFINITY);
                    let spot = || market::series(snapshot, &cx.env, instance_type, &zone);
                    let price = match lifecycle {
                        Lifecycle::OnDemand => full,
                        Lifecycle::Spot => spot().map_or(full, |series| series.price(cx.now)),
                    };
                    if !types.affords(price) {
                        continue;
                    }
                    sources.push(Source {
                        pool: Pool {
                            place,
                            instance_type: instance_type.clone(),
                            zone: zone.clone(),
                            unit_price: price / weight,
                            weight,
                            priority: over.priority,
                            spare: 1.0,
                            units: 0.0,
                            failed: false,
                        },
                        launch: Launch {
                            instance_type: Some(instance_type.clone()),
                            ..launch.clone()
                        },
                    });
                }
            }
        }
    }
    Ok(sources)
}

/// The zones of an override, and the launch in each.
fn places(
    snapshot: &Snapshot,
    cx: &Context,
    over: &Override,
    template: &Launch,
    launch: Launch,
) -> Result<Vec<(String, Launch)>> {
    if let Some(ids) = &over.subnet_id {
        let ids = ids.split(',').map(str::trim);
        let of = |id: &str| -> Result<(String, Launch)> {
            let subnet = vpc::ops::subnet(snapshot, cx, id)?;
            let launch = Launch { subnet_id: Some(id.to_owned()), ..launch.clone() };
            Ok((subnet.zone, launch))
        };
        return ids.map(of).collect();
    }
    let in_zone = |zone: String| {
        let launch = Launch { zone: Some(zone.clone()), ..launch.clone() };
        (zone, launch)
    };
    let zones = zone::zones(&cx.region, cx.env.config.zones);
    if let Some(named) = &over.zone {
        let named = named.split(',').map(str::trim);
        let of = |zone: &str| match zones.iter().any(|known| known.name == zone) {
            true => Ok(in_zone(zone.to_owned())),
            false => Err(Error::value(format!("Invalid availability zone: [{zone}]"))),
        };
        return named.map(of).collect();
    }
    // As the template has it.
    let subnet = template.interfaces.iter().find_map(|interface| interface.subnet_id.clone());
    if let Some(id) = template.subnet_id.clone().or(subnet) {
        return Ok(vec![(vpc::ops::subnet(snapshot, cx, &id)?.zone, launch)]);
    }
    match (&template.zone, &template.zone_id) {
        (Some(zone), _) => Ok(vec![in_zone(zone.clone())]),
        (None, Some(id)) => {
            let found = zones.into_iter().find(|known| known.id == *id);
            Ok(found.map(|zone| vec![in_zone(zone.name)]).unwrap_or_default())
        }
        (None, None) => Ok(zones.into_iter().map(|zone| in_zone(zone.name)).collect()),
    }
}

/// What the market says of a pool, and what the fleet has of it.
pub fn weigh(
    snapshot: &Snapshot,
    cx: &Context,
    fleet: &Fleet,
    lifecycle: Lifecycle,
    pool: &mut Pool,
) {
    let of_pool = fleet.active().filter(|member| {
        member.lifecycle == lifecycle
            && member.instance_type == pool.instance_type
            && member.zone == pool.zone
    });
    pool.units = of_pool.map(|member| member.weight).sum();
    pool.spare = score::spare(snapshot, &cx.env, &pool.instance_type, &pool.zone);
}

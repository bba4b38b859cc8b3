//! How likely a Spot request is to be fulfilled, and to be left what it got: from the market's prices, how
//! often they were near the on-demand price lately, and the pools of capacity. Reads only.

use std::time::Duration;

use store::Snapshot;

use super::market;
use super::price::STEP;
use crate::clock::Timestamp;
use crate::ec2::capacity;
use crate::ec2::catalog::{self, InstanceType, prices};
use crate::ec2::{Error, Result};
use crate::env::Env;
use crate::{Context, region, zone};

/// How far back interruptions are counted.
const LOOK_BACK: Duration = Duration::from_secs(30 * 24 * 3600);
/// The part of the on-demand price above which capacity was scarce.
const SCARCE: f64 = 0.8;

/// How much there is to spare of a type in a zone, between 0 and 1.
pub fn spare(snapshot: &Snapshot, env: &Env, instance_type: &str, zone: &str) -> f64 {
    let series = market::series(snapshot, env, instance_type, zone);
    let full = prices::on_demand(instance_type);
    let Some((series, full)) = series.zip(full) else { return 0.0 };
    if zone::is_failed(snapshot, zone) {
        return 0.0;
    }
    let now = env.clock.now();
    // What is cheap compared with its list price is not much asked for.
    let cheap = (1.0 - series.price(now) / full).max(0.01);
    let steps = LOOK_BACK.as_secs() / STEP.as_secs();
    let at = |step: u64| Timestamp(now.0 - (STEP * step as u32).as_millis() as i64);
    let scarce = (0..steps).filter(|step| series.price(at(*step)) >= full * SCARCE).count();
    let kept = 1.0 - scarce as f64 / steps as f64;
    let room = capacity::ops::share(snapshot, zone, instance_type).unwrap_or(1.0);
    cheap * kept * room
}

/// What GetSpotPlacementScores asks.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub types: Vec<&'static InstanceType>,
    pub target: u32,
    pub unit: Unit,
    /// Empty: all.
    pub regions: Vec<String>,
    pub by_zone: bool,
}

/// `TargetCapacityUnitType`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    #[default]
    Instances,
    Vcpus,
    MemoryMib,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    pub region: String,
    pub zone_id: Option<String>,
    /// 1 to 10.
    pub score: i32,
}

/// "The top 10 Regions or Availability Zones", the best first.
const TOP: usize = 10;

pub fn scores(snapshot: &Snapshot, cx: &Context, asked: &Asked) -> Result<Vec<Score>> {
    for name in &asked.regions {
        if !region::ALL.iter().any(|known| known.name == name) {
            return Err(Error::value(format!("Invalid region: [{name}]")));
        }
    }
    let mut scores = Vec::new();
    let wanted = |name: &str| asked.regions.is_empty() || asked.regions.iter().any(|n| n == name);
    for region in region::ALL.iter().filter(|region| wanted(region.name)) {
        let zones = zone::zones(region.name, cx.env.config.zones);
        // Each pool that could give it all adds to the chance; so do two that could give half of it.
        let miss = |zone: &zone::Zone| -> f64 {
            asked
                .types
                .iter()
                .map(|t| 1.0 - chance(snapshot, &cx.env, asked, t, &zone.name))
                .product()
        };
        if asked.by_zone {
            scores.extend(zones.iter().map(|zone| Score {
                region: region.name.to_owned(),
                zone_id: Some(zone.id.clone()),
                score: of(1.0 - miss(zone)),
            }));
        } else {
            let missed: f64 = zones.iter().map(miss).product();
            let region = region.name.to_owned();
            scores.push(Score { region, zone_id: None, score: of(1.0 - missed) });
        }
    }
    scores.sort_by(|a, b| (b.score, &a.region, &a.zone_id).cmp(&(a.score, &b.region, &b.zone_id)));
    scores.truncate(TOP);
    Ok(scores)
}

fn of(chance: f64) -> i32 {
    (chance * 10.0).round().clamp(1.0, 10.0) as i32
}

/// That a pool gives what is asked for, or so much of it as it has room for.
fn chance(snapshot: &Snapshot, env: &Env, asked: &Asked, t: &InstanceType, zone: &str) -> f64 {
    let of_each = match asked.unit {
        Unit::Instances => 1.0,
        Unit::Vcpus => f64::from(t.vcpus),
        Unit::MemoryMib => t.memory_mib as f64,
    };
    let needed = (f64::from(asked.target) / of_each).ceil().max(1.0);
    let room = capacity::ops::room(snapshot, zone, t.name).map_or(needed, f64::from);
    // One pool alone is never sure.
    0.5 * spare(snapshot, env, t.name, zone) * (room / needed).min(1.0)
}

/// Types by their names.
pub fn named(names: &[String]) -> Result<Vec<&'static InstanceType>> {
    let of = |name: &String| {
        catalog::instance_type(name)
            .ok_or_else(|| Error::value(format!("Invalid value '{name}' for InstanceType.")))
    };
    names.iter().map(of).collect()
}

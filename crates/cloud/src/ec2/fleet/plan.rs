//! Which pool the next instance comes of. Pure: the pools and what the fleet has of each in, one out.
//!
//! A pool is a type in a zone, on demand or as Spot. Source: EC2 User Guide, "Allocation strategies for
//! Spot Instances" and "for On-Demand Instances".

use std::cmp::Ordering;

use super::model::{Options, Place, Strategy};

#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub place: Place,
    pub instance_type: String,
    pub zone: String,
    /// US dollars an hour for a unit of capacity.
    pub unit_price: f64,
    pub weight: f64,
    /// The lower, the sooner; without one, last.
    pub priority: Option<f64>,
    /// How much there is to spare, between 0 and 1.
    pub spare: f64,
    /// Units that the fleet has of it.
    pub units: f64,
    /// It gave nothing when it was asked.
    pub failed: bool,
}

/// The next pool to launch from; `None` when no pool is left.
pub fn choose(options: &Options, pools: &[Pool]) -> Option<usize> {
    let mut left: Vec<usize> = (0..pools.len()).filter(|at| !pools[*at].failed).collect();
    let first = pools.iter().find(|pool| pool.units > 0.0);
    if let Some(first) = first {
        left.retain(|at| {
            (!options.single_type || pools[*at].instance_type == first.instance_type)
                && (!options.single_zone || pools[*at].zone == first.zone)
        });
    }
    let by = |key: fn(&Pool) -> f64| {
        move |a: &usize, b: &usize| key(&pools[*a]).total_cmp(&key(&pools[*b]))
    };
    let price = by(|pool| pool.unit_price);
    let spare = by(|pool| -pool.spare);
    let priority = by(|pool| pool.priority.unwrap_or(f64::INFINITY));
    let units = by(|pool| pool.units);
    let least = |left: &[usize], order: &dyn Fn(&usize, &usize) -> Ordering| {
        left.iter().copied().min_by(|a, b| order(a, b))
    };
    match options.strategy {
        Strategy::LowestPrice => {
            left.sort_by(|a, b| price(a, b));
            left.truncate(options.pools.max(1) as usize);
            least(&left, &|a, b| units(a, b).then(price(a, b)))
        }
        Strategy::Diversified => least(&left, &|a, b| units(a, b).then(price(a, b))),
        Strategy::Prioritized => least(&left, &|a, b| priority(a, b).then(price(a, b))),
        Strategy::CapacityOptimized => least(&left, &|a, b| spare(a, b).then(price(a, b))),
        Strategy::CapacityOptimizedPrioritized => {
            roomy(pools, &mut left);
            least(&left, &|a, b| priority(a, b).then(spare(a, b)))
        }
        Strategy::PriceCapacityOptimized => {
            roomy(pools, &mut left);
            least(&left, &|a, b| price(a, b).then(spare(a, b)))
        }
    }
}

/// Keeps those with much to spare, compared with the one that has most.
fn roomy(pools: &[Pool], left: &mut Vec<usize>) {
    let most = left.iter().map(|at| pools[*at].spare).fold(0.0, f64::max);
    left.retain(|at| pools[*at].spare >= most * 0.75);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(name: &str, unit_price: f64, priority: f64, spare: f64) -> Pool {
        let (instance_type, zone) = name.split_once('/').unwrap();
        Pool {
            place: Place { config: 0, over: None },
            instance_type: instance_type.to_owned(),
            zone: zone.to_owned(),
            unit_price,
            weight: 1.0,
            priority: Some(priority),
            spare,
            units: 0.0,
            failed: false,
        }
    }

    fn taken(options: Options, count: usize) -> String {
        let mut pools = [
            pool("m/a", 3.0, 1.0, 0.9),
            pool("m/b", 2.0, 2.0, 0.8),
            pool("c/a", 1.0, 3.0, 0.1),
            pool("c/b", 2.5, 0.0, 0.7),
        ];
        let mut names = Vec::new();
        for _ in 0..count {
            let Some(at) = choose(&options, &pools) else { break };
            // The cheapest one has room for one alone.
            if pools[at].spare == 0.1 && pools[at].units == 1.0 {
                pools[at].failed = true;
                continue;
            }
            pools[at].units += 1.0;
            names.push(format!("{}/{}", pools[at].instance_type, pools[at].zone));
        }
        names.join(" ")
    }

    #[test]
    fn strategies() {
        let plain = Options {
            strategy: Strategy::LowestPrice,
            pools: 1,
            single_type: false,
            single_zone: false,
        };
        let with = |strategy| Options { strategy, ..plain };
        for (options, expected) in [
            (plain, "c/a m/b m/b"),
            (Options { pools: 2, ..plain }, "c/a m/b c/b"),
            (with(Strategy::Diversified), "c/a m/b c/b m/a"),
            (with(Strategy::Prioritized), "c/b c/b c/b c/b"),
            (with(Strategy::CapacityOptimized), "m/a m/a m/a m/a"),
            (with(Strategy::CapacityOptimizedPrioritized), "c/b c/b c/b c/b"),
            (with(Strategy::PriceCapacityOptimized), "m/b m/b m/b m/b"),
            (Options { single_type: true, ..plain }, "c/a c/b c/b"),
            (Options { single_zone: true, ..plain }, "c/a m/a m/a"),
            (Options { single_type: true, single_zone: true, ..plain }, "c/a"),
        ] {
            assert_eq!(taken(options, 4), expected, "{options:?}");
        }
    }
}

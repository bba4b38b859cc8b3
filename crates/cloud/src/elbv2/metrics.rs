//! What the balancers counted, for whoever makes metrics of it.

use balancer::snapshot::Counters;

use super::plan::View;
use crate::env::Env;

/// What one zone's balancer counted for one target group.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub account: String,
    pub region: String,
    pub zone: String,
    /// ARNs
    pub load_balancer: String,
    pub target_group: String,
    /// A name for this counter, unique in the cloud: it begins anew when the zone's balancer does,
    /// so growth must be taken of each by itself (`cloudwatch::Metrics::growth`) and summed up then.
    pub counter: String,
    /// Cumulative since the zone's balancer began.
    pub counters: Counters,
}

/// Of every target group that is forwarded to and every live balancer that knows it.
pub fn samples(env: &Env) -> Vec<Sample> {
    let view = View::of(&env.store.read());
    let mut samples = Vec::new();
    for owner in view.load_balancers() {
        for node in view.working_nodes(&owner.arn) {
            let Some(report) = env.balancers.report(&node.zone) else { continue };
            let of_owner =
                report.counters.iter().filter(|(group, _)| view.owner(group) == Some(&owner.arn));
            samples.extend(of_owner.map(|(group, counters)| Sample {
                account: owner.account.clone(),
                region: owner.region.clone(),
                zone: node.zone.clone(),
                load_balancer: owner.arn.clone(),
                target_group: group.clone(),
                counter: format!("{}/{group}", node.zone),
                counters: *counters,
            }));
        }
    }
    samples
}

//! Which types would do for what runs.

use cloud::advice::measured::{self, Advice, Choice};
use cloud::ec2::catalog;
use serde_json::{Value, json};

use crate::gateway::Gateway;

pub fn measured(gateway: &Gateway) -> Value {
    let env = &gateway.env;
    let advice = measured::advise(&env.store.read(), env, &env.config.account);
    advice.iter().map(one).collect()
}

fn one(advice: &Advice) -> Value {
    let (t, rates) = (catalog::instance_type(&advice.instance.instance_type), advice.used.rates);
    json!({
        "instance": advice.instance.id,
        "region": advice.instance.region,
        "instance_type": advice.instance.instance_type,
        "finding": advice.finding.name(),
        "reasons": advice.reasons,
        "cpu_peak_percent": advice.used.cpu_peak,
        "cpu_average_percent": advice.used.cpu_average,
        "memory_percent": advice.used.memory,
        "network_percent": t.and_then(|t| rates.network(t)),
        "volume_throughput_percent": t.and_then(|t| rates.volume_throughput(t)),
        "volume_iops_percent": t.and_then(|t| rates.volume_operations(t)),
        "options": advice.options.iter().map(choice).collect::<Vec<_>>(),
    })
}

fn choice(choice: &Choice) -> Value {
    json!({
        "instance_type": choice.fit.instance_type,
        "usd_per_hour": choice.fit.usd_per_hour,
        "cpu_peak_percent": choice.cpu_peak,
        "memory_percent": choice.memory,
        "saves_usd_per_month": choice.saves,
    })
}

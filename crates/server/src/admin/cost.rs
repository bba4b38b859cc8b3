//! The bill so far.

use std::collections::BTreeSet;

use cloud::Timestamp;
use cloud::cost::bill::{self, Charge};
use cloud::ec2::catalog::prices;
use serde_json::{Value, json};

use crate::gateway::Gateway;

pub fn bill(gateway: &Gateway) -> Value {
    let env = &gateway.env;
    let end = Timestamp(i64::MAX);
    let account = &env.config.account;
    let charges = bill::charges(&env.store.read(), env, account, Timestamp(0), end);
    let usd: f64 = charges.iter().filter_map(|charge| charge.usd).sum();
    let per_hour: f64 = charges.iter().map(|charge| charge.usd_per_hour).sum();
    let unpriced = charges.iter().filter(|charge| charge.usd.is_none());
    let unpriced: BTreeSet<&str> = unpriced.map(|charge| charge.usage_type.as_str()).collect();
    json!({
        "prices": {
            "source": prices::source(),
            "date": prices::date(),
            "other_services_date": prices::services_date(),
            "region": prices::REGION,
        },
        "now": env.clock.now().iso8601(),
        "usd": usd,
        "usd_per_hour": per_hour,
        "unpriced": unpriced,
        "lines": charges.iter().map(line).collect::<Vec<_>>(),
    })
}

fn line(charge: &Charge) -> Value {
    json!({
        "resource": charge.resource,
        "region": charge.region,
        "zone": charge.zone,
        "service": charge.service,
        "usage_type": charge.usage_type,
        "purchase": charge.purchase,
        "instance_type": charge.instance_type,
        "tags": charge.tags,
        "quantity": charge.quantity,
        "unit": charge.unit,
        "usd": charge.usd,
        "usd_per_hour": charge.usd_per_hour,
    })
}

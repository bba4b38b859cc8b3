//! The Spot market by hand: its prices, interruptions on demand, and what happened.

use std::time::Duration;

use anyhow::{Result, anyhow};
use cloud::ec2::catalog::prices;
use cloud::ec2::instance::model::Instance;
use cloud::ec2::spot::{event, market, ops};
use cloud::{Context, zone};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::Gateway;

fn context(gateway: &Gateway, region: &str) -> Context {
    Context::service(&gateway.env, &gateway.env.config.account, region, "drover")
}

fn message(error: cloud::ec2::Error) -> anyhow::Error {
    anyhow!("{}", wire::Error::from(error).message)
}

/// Of one type in every zone of the region.
pub fn prices(gateway: &Gateway, region: &str, instance_type: &str) -> Result<Value> {
    let env = &gateway.env;
    let (snapshot, now) = (env.store.read(), env.clock.now());
    let mut lines = Vec::new();
    for zone in zone::zones(region, env.config.zones) {
        let series = market::series(&snapshot, env, instance_type, &zone.name)
            .ok_or_else(|| message(market::no_market(instance_type)))?;
        lines.push(json!({
            "zone": zone.name,
            "instance_type": instance_type,
            "price_usd_per_hour": series.price(now),
            "since": series.since(now).iso8601(),
            "on_demand_usd_per_hour": prices::on_demand(instance_type),
        }));
    }
    Ok(lines.into())
}

#[derive(Deserialize)]
struct Set {
    zone: String,
    instance_type: String,
    /// `None`: as the model has it.
    price: Option<f64>,
}

pub async fn set_price(gateway: &Gateway, body: &[u8]) -> Result<Value> {
    let Set { zone, instance_type, price } = serde_json::from_slice(body)?;
    let cx = context(gateway, zone::region_of(&zone));
    cx.write(|tx| market::set(tx, &cx.env, &instance_type, &zone, price)).await.map_err(message)?;
    prices(gateway, &cx.region, &instance_type)
}

#[derive(Deserialize)]
struct Interrupt {
    instance: String,
    after_s: u64,
}

pub async fn interrupt(gateway: &Gateway, body: &[u8]) -> Result<Value> {
    let Interrupt { instance, after_s } = serde_json::from_slice(body)?;
    let snapshot = gateway.env.store.read();
    let found = snapshot.scan::<Instance>("").find(|i| i.id == instance);
    let region = found.map(|i| i.region.clone()).unwrap_or_default();
    let cx = context(gateway, &region);
    let after = Duration::from_secs(after_s);
    cx.write(|tx| ops::interrupt(tx, &cx, &instance, after)).await.map_err(message)?;
    let at = cx.now.plus(after).iso8601();
    Ok(json!({"instance": instance, "interrupted_at": at}))
}

pub fn events(gateway: &Gateway, region: &str) -> Value {
    event::all(&gateway.env.store.read(), &context(gateway, region)).into()
}

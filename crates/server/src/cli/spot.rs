//! `drover spot`: the Spot market by hand.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::table::Table;
use super::{Cloud, Output};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  drover spot price m5.large
  drover spot price m5.large --zone us-east-1a --set 0.09     and what pays less is interrupted
  drover spot interrupt i-0123456789abcdef0
  drover spot events --json | jq '.[].\"detail-type\"'")]
pub enum Command {
    /// What a type costs as Spot now, in each zone; or set it
    Price(Price),
    /// Take a Spot Instance away, with the two-minute notice
    Interrupt(Interrupt),
    /// Interruption warnings, rebalance recommendations, fulfilments
    Events(Events),
}

#[derive(Args)]
pub struct Price {
    /// Such as m5.large
    instance_type: String,
    /// US dollars an hour, at most the on-demand price, in --zone from now on
    #[arg(long, value_name = "USD", requires = "zone", conflicts_with = "reset")]
    set: Option<f64>,
    /// As the model has it again, in --zone
    #[arg(long, requires = "zone")]
    reset: bool,
    #[arg(long)]
    zone: Option<String>,
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub struct Interrupt {
    /// Id of the instance
    instance: String,
    /// Seconds until it is taken, of the cloud's time; its notice comes two minutes before
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(120..=900))]
    after: u64,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub struct Events {
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Price(options) => price(options),
        Command::Interrupt(options) => interrupt(options),
        Command::Events(options) => events(options),
    }
}

fn price(options: Price) -> Result<()> {
    let Price { instance_type, set, reset, zone, region, cloud, output } = options;
    let lines = if set.is_some() || reset {
        let body = json!({"zone": zone, "instance_type": instance_type, "price": set});
        cloud.call("POST", "/_drover/spot/price", Some(body))?
    } else {
        cloud.call("GET", &format!("/_drover/spot/prices/{region}/{instance_type}"), None)?
    };
    let lines: Vec<Value> = lines
        .as_array()
        .into_iter()
        .flatten()
        .filter(|line| zone.as_ref().is_none_or(|zone| line["zone"] == zone.as_str()))
        .cloned()
        .collect();
    if lines.is_empty() {
        bail!("no zone {} in {region}", zone.unwrap_or_default());
    }
    let mut table = Table::new(&["zone", "type", "usd/hour", "since", "on demand", "saves"]);
    for line in &lines {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| line[name].as_f64().unwrap_or_default();
        let (spot, full) = (number("price_usd_per_hour"), number("on_demand_usd_per_hour"));
        table.row([
            text("zone"),
            text("instance_type"),
            format!("{spot:.4}"),
            text("since"),
            format!("{full:.4}"),
            format!("{:.0} %", (1.0 - spot / full) * 100.0),
        ]);
    }
    output.print(table.render(false).trim_end(), lines.into());
    Ok(())
}

fn interrupt(Interrupt { instance, after, cloud, output }: Interrupt) -> Result<()> {
    let body = json!({"instance": instance, "after_s": after});
    let answer = cloud.call("POST", "/_drover/spot/interrupt", Some(body))?;
    let at = answer["interrupted_at"].as_str().unwrap_or_default();
    output.print(format!("{instance} will be taken at {at}"), answer.clone());
    Ok(())
}

fn events(Events { region, cloud, output }: Events) -> Result<()> {
    let events = cloud.call("GET", &format!("/_drover/spot/events/{region}"), None)?;
    let mut table = Table::new(&["time", "event", "instance", "action"]);
    for event in events.as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let detail = &event["detail"];
        let row = [&event["time"], &event["detail-type"], &detail["instance-id"]];
        table.row(row.map(text).into_iter().chain([text(&detail["instance-action"])]));
    }
    output.print(table.render(false).trim_end(), events.clone());
    Ok(())
}

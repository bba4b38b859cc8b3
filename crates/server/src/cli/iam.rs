//! `drover iam`: who called what of late, and which statement decided.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::Cloud;
use super::table::Table;

#[derive(Subcommand)]
#[command(after_help = "Example:\n  drover iam trail --json | jq '.[] | select(.allowed | not)'")]
pub enum Command {
    /// Recent calls: caller, action, decision, and what decided
    Trail(Trail),
}

#[derive(Args)]
pub struct Trail {
    #[command(flatten)]
    cloud: Cloud,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Only calls that were refused
    #[arg(long)]
    denied: bool,
    /// At most so many, the newest
    #[arg(long, default_value_t = 50, value_name = "N")]
    last: usize,
}

pub fn run(Command::Trail(options): Command) -> Result<()> {
    let events = options.cloud.call("GET", "/_drover/trail", None)?;
    let mut events: Vec<Value> = events.as_array().cloned().unwrap_or_default();
    events.retain(|event| !options.denied || event["allowed"] == false);
    events.truncate(options.last);
    events.reverse();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&events)?);
        return Ok(());
    }
    let mut table =
        Table::new(&["time", "caller", "action", "resource", "decision", "by", "error"]);
    for event in &events {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let decision = if event["allowed"] == true { "allowed" } else { "denied" };
        let resource = match event["resource"].as_str() {
            Some("") | None => "*".to_owned(),
            Some(resource) => resource.to_owned(),
        };
        let row = [text("time"), text("caller"), text("action"), resource, decision.to_owned()];
        table.row(row.into_iter().chain([text("by"), text("error")]));
    }
    table.print();
    Ok(())
}

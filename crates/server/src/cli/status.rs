//! `drover status`: the cloud at a glance.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::table::Table;
use super::{Cloud, Output};

#[derive(Args)]
#[command(after_help = "Example:\n  drover status --json")]
pub struct Options {
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

pub fn run(options: Options) -> Result<()> {
    let status = options.cloud.call("GET", "/_drover/status", None)?;
    if options.output.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    println!("{}", status["endpoint"].as_str().unwrap_or_default());
    if status["compute"] == "fake" {
        println!("Compute is simulated (--driver fake): nothing runs, nothing answers.");
    }
    for (list, columns) in [
        ("zones", &["zone", "id", "state", "instances", "balancer"][..]),
        ("instances", &["instance", "name", "type", "state", "health", "zone", "address", "image"]),
        ("groups", &["group", "region", "min", "desired", "max", "in service", "healthy"]),
        ("balancers", &["balancer", "state", "region", "zones", "url"]),
    ] {
        let mut table = Table::new(columns);
        for item in status[list].as_array().into_iter().flatten() {
            table.row(columns.iter().map(|column| cell(&item[column.replace(' ', "_")])));
        }
        if !table.is_empty() {
            println!();
            table.print();
        }
    }
    Ok(())
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

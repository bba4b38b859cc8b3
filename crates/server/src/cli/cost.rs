//! `drover cost`: the bill so far and what an hour costs now.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::table::Table;
use super::{Cloud, Output};

#[derive(Args)]
#[command(after_help = "Examples:
  drover cost
  drover cost --by purchase
  drover cost --by tag:team --json | jq '.groups'")]
pub struct Options {
    /// resource, service, usage, type, purchase, region, or tag:KEY
    #[arg(long, default_value = "resource", value_name = "WHAT")]
    by: String,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

/// What lines of a group have in common.
fn key(line: &Value, by: &str) -> Result<String> {
    let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
    Ok(match by {
        "resource" => text("resource"),
        "service" => text("service"),
        "usage" => text("usage_type"),
        "type" => text("instance_type"),
        "purchase" => text("purchase"),
        "region" => text("region"),
        other => match other.strip_prefix("tag:") {
            Some(key) => line["tags"][key].as_str().unwrap_or("-").to_owned(),
            None => bail!(
                "--by {other}: one of resource, service, usage, type, purchase, region, tag:KEY"
            ),
        },
    })
}

pub fn run(Options { by, cloud, output }: Options) -> Result<()> {
    key(&Value::Null, &by)?;
    let mut bill = cloud.call("GET", "/_drover/cost", None)?;
    let mut groups: BTreeMap<String, (f64, f64, bool)> = BTreeMap::new();
    for line in bill["lines"].as_array().into_iter().flatten() {
        let (usd, per_hour, priced) = groups.entry(key(line, &by)?).or_insert((0.0, 0.0, true));
        *usd += line["usd"].as_f64().unwrap_or(0.0);
        *per_hour += line["usd_per_hour"].as_f64().unwrap_or(0.0);
        *priced &= line["usd"].is_number();
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(_, a), (_, b)| b.0.total_cmp(&a.0));
    let mut table = Table::new(&[by.as_str(), "usd so far", "usd/hour now"]);
    for (name, (usd, per_hour, priced)) in &groups {
        let so_far = if *priced { format!("{usd:.6}") } else { "unpriced".to_owned() };
        table.row([name.clone(), so_far, format!("{per_hour:.6}")]);
    }
    let number = |name: &str| bill[name].as_f64().unwrap_or(0.0);
    let (usd, per_hour) = (number("usd"), number("usd_per_hour"));
    table.row(["all".to_owned(), format!("{usd:.6}"), format!("{per_hour:.6}")]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let prices = &bill["prices"];
    let note = format!(
        "List prices of {}: instance types of {} ({}), all else of {}.",
        text(&prices["region"]),
        text(&prices["date"]),
        text(&prices["source"]),
        text(&prices["other_services_date"]),
    );
    let shown = format!("{}\n{note}", table.render(false).trim_end());
    let group = |(name, (usd, per_hour, priced)): &(String, (f64, f64, bool))| json!({"key": name, "usd": priced.then_some(usd), "usd_per_hour": per_hour});
    bill["groups"] = groups.iter().map(group).collect();
    output.print(shown, bill);
    Ok(())
}

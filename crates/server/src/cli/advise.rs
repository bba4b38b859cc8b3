//! `drover advise`: the right family and type, for what runs or for a workload in words.

use anyhow::Result;
use clap::Args;
use cloud::advice::workload::{self, MONTH_HOURS};
use cloud::ec2::catalog::prices;
use serde_json::{Value, json};

use super::table::Table;
use super::{Cloud, Output};

#[derive(Args)]
#[command(after_help = "Examples:
  drover advise                                        of what runs, by what it used
  drover advise --workload \"in-memory cache, 50 GiB\"   needs no cloud")]
pub struct Options {
    /// What it is, with its figures: GiB, vCPU, GPUs
    #[arg(long, value_name = "WORDS")]
    workload: Option<String>,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

pub fn run(Options { workload, cloud, output }: Options) -> Result<()> {
    match workload {
        Some(words) => of_words(&words, &output),
        None => measured(&cloud, &output)?,
    }
    Ok(())
}

fn of_words(words: &str, output: &Output) {
    let advice = workload::advise(words);
    let families = advice.families.join(", ").to_uppercase();
    let mut table =
        Table::new(&["type", "vcpu", "gib", "disk gb", "arch", "usd/hour", "usd/month"]);
    for option in &advice.options {
        table.row([
            option.instance_type.to_owned(),
            option.vcpus.to_string(),
            format!("{}", option.memory_gib),
            option.disk_gb.to_string(),
            option.architecture.to_owned(),
            format!("{:.4}", option.usd_per_hour),
            format!("{:.2}", option.usd_per_hour * MONTH_HOURS),
        ]);
    }
    let options = match advice.options.is_empty() {
        true => "No type of these families has so much.".to_owned(),
        false => table.render(false).trim_end().to_owned(),
    };
    let needs = advice.needs;
    let shown = format!(
        "{}: {families}, since {}.\n{options}\nOn demand, list prices of {}, {}.",
        advice.kind,
        advice.why,
        prices::REGION,
        prices::date(),
    );
    let option = |option: &workload::Fit| {
        json!({
            "instance_type": option.instance_type,
            "vcpus": option.vcpus,
            "memory_gib": option.memory_gib,
            "disk_gb": option.disk_gb,
            "architecture": option.architecture,
            "usd_per_hour": option.usd_per_hour,
        })
    };
    let json = json!({
        "kind": advice.kind,
        "families": advice.families,
        "why": advice.why,
        "needs": {
            "vcpus": needs.vcpus,
            "memory_gib": needs.memory_gib,
            "disk_gib": needs.disk_gib,
            "accelerators": needs.accelerators,
        },
        "options": advice.options.iter().map(option).collect::<Vec<_>>(),
        "prices_date": prices::date(),
    });
    output.print(shown, json);
}

fn measured(cloud: &Cloud, output: &Output) -> Result<()> {
    let all = cloud.call("GET", "/_drover/advice", None)?;
    let mut table = Table::new(&[
        "instance",
        "type",
        "finding",
        "cpu",
        "memory",
        "network",
        "disk",
        "better",
        "saves/month",
    ]);
    for advice in all.as_array().into_iter().flatten() {
        let text = |name: &str| advice[name].as_str().unwrap_or("-").to_owned();
        let percent = |value: &Value| {
            value.as_f64().map_or("-".to_owned(), |percent| format!("{percent:.0} %"))
        };
        let best = &advice["options"][0];
        let saves = best["saves_usd_per_month"].as_f64();
        table.row([
            text("instance"),
            text("instance_type"),
            text("finding"),
            percent(&advice["cpu_peak_percent"]),
            percent(&advice["memory_percent"]),
            percent(&advice["network_percent"]),
            percent(most(&advice["volume_throughput_percent"], &advice["volume_iops_percent"])),
            best["instance_type"].as_str().unwrap_or("-").to_owned(),
            saves.map_or("-".to_owned(), |usd| format!("{usd:.2} USD")),
        ]);
    }
    let shown = match table.is_empty() {
        true => "No instance was measured for five minutes yet.".to_owned(),
        false => table.render(false).trim_end().to_owned(),
    };
    output.print(shown, all);
    Ok(())
}

fn most<'a>(a: &'a Value, b: &'a Value) -> &'a Value {
    if a.as_f64() >= b.as_f64() { a } else { b }
}

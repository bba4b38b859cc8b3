//! `cargo xtask catalog --prices FILE`: the on-demand prices of the catalog's instance types.
//!
//! ```text
//!  AWS's price list ─► Karpenter, pkg/providers/pricing/zz_generated.pricing_aws.go ─► catalog/prices.tsv
//! ```
//!
//! FILE is that list, from a checkout of Karpenter's AWS provider (Apache-2.0), which makes it anew from
//! AWS's price list every few weeks. No package of a registry has them right: the one that has most
//! (apache-libcloud 3.9.1) knows half of the types, and has prices of dedicated tenancy for a fifth of
//! those. What is no instance type stands in `catalog/services.tsv`, by hand.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

const REGION: &str = "us-east-1";

pub fn run(list: &Path) -> Result<()> {
    let place = crate::root().join("crates/cloud/src/ec2/catalog");
    let text = fs::read_to_string(list).with_context(|| list.display().to_string())?;
    let (date, prices) = read(&text)?;
    let types = fs::read_to_string(place.join("types.tsv"))?;
    let names: Vec<&str> = types
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').next())
        .collect();
    let table = write(&date, &names, &prices);
    let path = place.join("prices.tsv");
    fs::write(&path, &table)?;
    let priced = names.iter().filter(|name| prices.contains_key(**name)).count();
    println!("{}: {priced} of {} instance types, {date}", path.display(), names.len());
    Ok(())
}

fn write(date: &str, names: &[&str], prices: &BTreeMap<String, String>) -> String {
    let mut table = format!(
        "# Made by `cargo xtask catalog --prices`; do not edit. A type that is not here has no price.\n\
         # source: AWS's price list, as Karpenter keeps it\n\
         # date: {date}\n\
         # what: on-demand, Linux, shared tenancy, {REGION}, USD per hour\n"
    );
    for name in names {
        if let Some(price) = prices.get(*name) {
            let _ = writeln!(table, "{name}\t{price}");
        }
    }
    table
}

/// The list's date, and the region's prices by instance type, without zeros at their ends.
fn read(text: &str) -> Result<(String, BTreeMap<String, String>)> {
    let made = text.lines().find_map(|line| line.strip_prefix("// generated at "));
    let date = made.and_then(|made| made.split('T').next()).context("the list says no date")?;
    let (_, after) = text.split_once(&format!("\"{REGION}\": {{")).context("no such region")?;
    let mut prices = BTreeMap::new();
    for line in after.lines() {
        let line = line.trim();
        if line.starts_with('}') {
            break;
        }
        for pair in line.split(',').filter(|pair| pair.contains("\": ")) {
            let (name, price) = pair.trim().split_once("\": ").context("a pair")?;
            let value: f64 = price.parse().with_context(|| pair.to_owned())?;
            ensure!(value > 0.0, "{pair}");
            let price = price.trim_end_matches('0').trim_end_matches('.');
            prices.insert(name.trim_start_matches('"').to_owned(), price.to_owned());
        }
    }
    ensure!(prices.len() > 500, "only {} prices", prices.len());
    Ok((date.to_owned(), prices))
}

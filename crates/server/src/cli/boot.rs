//! `drover boot`: how long a boot took, step by step, as it was measured.

use anyhow::Result;
use clap::Args;

use super::{Cloud, Output};

#[derive(Args)]
pub struct Options {
    /// The instance
    instance: String,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

pub fn run(Options { instance, cloud, output }: Options) -> Result<()> {
    let answer = cloud.call("GET", &format!("/_drover/instances/{instance}/boot"), None)?;
    let init = answer["init"].as_str().unwrap_or_default();
    let mut lines = vec![format!("boot {} of {instance}, pid 1: {init}", answer["boot"])];
    let mut before = 0.0;
    for step in answer["steps"].as_array().into_iter().flatten() {
        let after = step["after_ms"].as_f64().unwrap_or_default();
        let what = step["step"].as_str().unwrap_or_default();
        lines.push(format!("{after:>11.1} ms  {:>+10.1}  {what}", after - before));
        before = after;
    }
    output.print(lines.join("\n"), answer);
    Ok(())
}

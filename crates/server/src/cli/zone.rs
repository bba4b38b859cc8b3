//! `drover zone` and `drover kill`: failures on demand.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Cloud, Output};

#[derive(Subcommand)]
#[command(after_help = "Example:\n  drover zone fail us-east-1b && drover status")]
pub enum Command {
    /// The zone goes dark: its instances, its balancer and its links, at once
    Fail(Zone),
    /// The zone comes back
    Heal(Zone),
}

#[derive(Args)]
pub struct Zone {
    /// Name of the zone, such as us-east-1b
    zone: String,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
#[command(after_help = "Example:\n  drover kill i-0123456789abcdef0")]
pub struct Kill {
    /// Id of the instance
    instance: String,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

pub fn run(command: Command) -> Result<()> {
    let (Zone { zone, cloud, output }, verb, done) = match command {
        Command::Fail(zone) => (zone, "fail", "failed"),
        Command::Heal(zone) => (zone, "heal", "healed"),
    };
    cloud.call("POST", &format!("/_drover/zones/{zone}/{verb}"), None)?;
    output.print(format!("{zone} {done}"), json!({"zone": zone, "state": done}));
    Ok(())
}

pub fn kill(Kill { instance, cloud, output }: Kill) -> Result<()> {
    cloud.call("POST", &format!("/_drover/instances/{instance}/kill"), None)?;
    let state = "killed";
    output.print(format!("{instance} {state}"), json!({"instance": instance, "state": state}));
    Ok(())
}

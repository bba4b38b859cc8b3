//! `drover zone` and `drover kill`: failures on demand.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::Cloud;

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
}

#[derive(Args)]
#[command(after_help = "Example:\n  drover kill i-0123456789abcdef0")]
pub struct Kill {
    /// Id of the instance
    instance: String,
    #[command(flatten)]
    cloud: Cloud,
}

pub fn run(command: Command) -> Result<()> {
    let (Zone { zone, cloud }, verb, done) = match command {
        Command::Fail(zone) => (zone, "fail", "failed"),
        Command::Heal(zone) => (zone, "heal", "healed"),
    };
    cloud.call("POST", &format!("/_drover/zones/{zone}/{verb}"), None)?;
    println!("{zone} {done}");
    Ok(())
}

pub fn kill(Kill { instance, cloud }: Kill) -> Result<()> {
    cloud.call("POST", &format!("/_drover/instances/{instance}/kill"), None)?;
    println!("{instance} killed");
    Ok(())
}

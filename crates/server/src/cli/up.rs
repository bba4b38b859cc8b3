//! `drover up`: starts a cloud and serves it until Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::paths::{self, Paths};
use crate::{capacity, daemon};

#[derive(Args)]
#[command(after_help = "Examples:
  drover up                          keeps everything under the data directory
  drover up --ephemeral              keeps nothing
  drover up --time-scale 60          a minute of alarms and cooldowns takes a second
  drover up --driver fake            the APIs alone, nothing runs (also without root)")]
pub struct Options {
    /// Where records, disks and images live
    #[arg(long, env = "DROVER_DATA_DIR", value_name = "DIR", conflicts_with = "ephemeral")]
    data_dir: Option<PathBuf>,
    /// Keep nothing: records in memory, disks in a temporary directory, all gone at the end
    #[arg(long)]
    ephemeral: bool,
    /// Availability zones of each region
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=6))]
    zones: u8,
    /// How much faster than real time alarms, cooldowns, notices, drains and health-check intervals run
    #[arg(long, default_value_t = 1.0, value_name = "F")]
    time_scale: f64,
    /// How many instances of a type each zone has room for (TOML: `[us-east-1a]`, `"t3.micro" = 4`)
    #[arg(long, value_name = "FILE")]
    capacity: Option<PathBuf>,
    /// Address of the gateway
    #[arg(long, default_value = "127.0.0.1:4566")]
    listen: SocketAddr,
    /// Also answer this host's questions for public names, by DNS (see `drover dns`)
    #[arg(long, value_name = "ADDRESS")]
    dns: Option<SocketAddr>,
    /// Disks are as fast as this host's, whatever their types' throughput and IOPS
    #[arg(long)]
    unlimited_io: bool,
    /// What runs instances
    #[arg(long, value_enum, default_value_t = Driver::Namespace)]
    driver: Driver,
    /// Of the Spot market: the same seed has the same prices
    #[arg(long, default_value_t = 0, value_name = "N")]
    spot_seed: u64,
    /// Account id of this cloud
    #[arg(long, default_value = "123456789012", value_parser = account)]
    account: String,
    /// Region of clients that name none
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Say that it is up as JSON, on one line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Driver {
    /// Linux namespaces on this host: instances are real
    Namespace,
    /// Simulated: instances go through their states, nothing runs
    Fake,
}

fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("an account id has twelve digits".into())
    }
}

pub fn run(options: Options) -> Result<()> {
    if !(0.01..=1000.0).contains(&options.time_scale) {
        bail!("--time-scale must be between 0.01 and 1000");
    }
    let fake = options.driver == Driver::Fake;
    if !fake && !paths::is_root() {
        bail!(
            "real instances need root on this host: sudo {}\n(or `drover up --driver fake` for the APIs alone)",
            std::env::args().collect::<Vec<_>>().join(" ")
        );
    }
    let data = match (options.data_dir, options.ephemeral) {
        (Some(dir), _) => dir,
        (None, true) => std::env::temp_dir().join(format!("drover-{}", std::process::id())),
        (None, false) => Paths::default_data(),
    };
    let zones = options.zones.into();
    let capacity = options.capacity.map(|file| capacity::read(&file, zones)).transpose()?;
    daemon::run(daemon::Options {
        paths: Paths::new(std::path::absolute(data)?),
        ephemeral: options.ephemeral,
        zones: options.zones.into(),
        time_scale: options.time_scale,
        listen: options.listen,
        unlimited_io: options.unlimited_io,
        fake,
        account: options.account,
        region: options.region,
        capacity,
        dns: options.dns,
        json: options.json,
        spot_seed: options.spot_seed,
    })
}

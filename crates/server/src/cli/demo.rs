//! `drover demo`: the tier of the README, shown.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::paths;

#[derive(Args)]
#[command(after_help = "Examples:
  drover demo                    all seven acts, under three minutes
  drover demo --act 3 --keep     up to scaling out, and leave the cloud running
  drover demo --json report.json")]
pub struct Options {
    /// Write the report here, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leave the cloud running at the end
    #[arg(long)]
    keep: bool,
    /// Play up to this act
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=7))]
    act: u8,
}

pub fn run(options: Options) -> Result<()> {
    if !paths::is_root() {
        let program = std::env::current_exe()?;
        bail!("instances need root on this host: sudo {} demo", program.display());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(demo::run(demo::Options {
        json: options.json,
        keep: options.keep,
        acts: options.act,
    }))
}

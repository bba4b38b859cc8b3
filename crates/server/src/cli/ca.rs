//! `drover ca`: the certificate of the installation's authority, for whoever shall trust it.

use anyhow::{Result, bail};
use clap::Args;

use super::{Cloud, Output};
use crate::ca;
use crate::paths::Paths;

#[derive(Args)]
#[command(
    after_help = "It signs for names below amazonaws.com and for nothing else, and instances trust it
from their first boot.

Example:
  drover ca > drover-ca.pem && curl --cacert drover-ca.pem …"
)]
pub struct Options {
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

pub fn run(options: Options) -> Result<()> {
    let Some((_, record)) = options.cloud.record()? else {
        bail!("no cloud is on this host; start one with `drover up`");
    };
    let pem = ca::certificate(&Paths::new(record.data_dir))?;
    options.output.print(pem.trim_end(), serde_json::json!({ "certificate": pem }));
    Ok(())
}

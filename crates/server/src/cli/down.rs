//! `drover down`: ends a cloud, with or without a live daemon.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use serde_json::{Value, json};

use super::{Cloud, Output};
use crate::{paths::Paths, slot, teardown};

#[derive(Args)]
#[command(after_help = "Examples:
  drover down                    instances, balancers and networks end; records and disks stay
  drover down --purge            and the data directory goes too
  drover down --all              every cloud of this host")]
pub struct Options {
    /// Every cloud of this host
    #[arg(long)]
    all: bool,
    /// Remove the data directory too: records, disks, images, objects
    #[arg(long)]
    purge: bool,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

pub fn run(options: Options) -> Result<()> {
    let clouds = if options.all {
        slot::all()?
    } else {
        match options.cloud.record()? {
            Some(cloud) => vec![cloud],
            None => bail!("no such cloud on this host; `drover up` starts one"),
        }
    };
    let mut ended = Vec::new();
    for (slot, record) in clouds {
        stop_daemon(&record)?;
        let paths = Paths::new(&record.data_dir);
        teardown::teardown(&paths)
            .with_context(|| format!("cannot end the cloud at {}", record.data_dir.display()))?;
        if options.purge || record.ephemeral {
            teardown::purge(&paths)?;
        }
        slot.release()?;
        ended.push(record.data_dir.display().to_string());
    }
    let lines: Vec<String> = ended.iter().map(|dir| format!("{dir} is down")).collect();
    let state = |dir: &String| json!({"data_dir": dir, "state": "down"});
    options.output.print(lines.join("\n"), ended.iter().map(state).collect::<Value>());
    Ok(())
}

/// Ends the daemon, first gently. A pid that is another program's by now is left alone.
fn stop_daemon(record: &slot::Record) -> Result<()> {
    let Some(daemon) = teardown::Daemon::find(record) else { return Ok(()) };
    daemon.signal(libc::SIGTERM);
    let deadline = Instant::now() + Duration::from_secs(10);
    while daemon.lives() {
        if Instant::now() > deadline {
            daemon.signal(libc::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

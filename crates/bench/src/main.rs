//! What Drover costs, measured: `cargo xtask bench`, which builds everything in release first.
//! Reports figures with their peers in the same run; asserts none.

mod balancing;
mod cloud;
mod density;
mod host;
mod iam;
mod launch;
mod packets;
mod process;
mod report;
mod startup;
mod storage;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use report::Report;

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measures what Drover costs on this host, as root")]
pub struct Options {
    /// A small run, to see that it works; its figures say little
    #[arg(long)]
    quick: bool,
    /// Write the figures into docs/performance.md, too
    #[arg(long)]
    write: bool,
    /// Measure only this; may be given more than once
    #[arg(long, value_enum, conflicts_with = "write")]
    only: Vec<Part>,
    /// The workspace's directory
    #[arg(long, hide = true)]
    root: PathBuf,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    /// From the start of the daemon to its first answer, and its memory when idle
    Startup,
    /// From RunInstances to user data and to an HTTP answer
    Launch,
    /// Memory of many idle instances
    Density,
    /// Images, snapshots and volumes: time, disk taken, speed beside the host's disk
    Storage,
    /// The balancer next to nginx and HAProxy
    Balancing,
    /// The packet filter: changes of its rules, and what passes it
    Packets,
    /// Decisions on what callers may do
    Iam,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let user = std::fs::metadata("/proc/self")?.uid();
    ensure!(user == 0, "instances need root: sudo cargo xtask bench");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // What was started ends as the measurement is dropped.
        tokio::select! {
            report = measure(&options) => report,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("interrupted"),
        }
    })?;
    println!("\n{}", report.text());
    if options.write {
        report.write(&options.root.join("docs/performance.md"))?;
    }
    Ok(())
}

async fn measure(options: &Options) -> Result<Report> {
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    let mut report = Report::new(host::describe(options)?);
    if wanted(Part::Startup) {
        startup::measure(options, &mut report).await?;
    }
    if wanted(Part::Launch) {
        launch::measure(options, &mut report).await?;
    }
    if wanted(Part::Density) {
        density::measure(options, &mut report).await?;
    }
    if wanted(Part::Storage) {
        storage::measure(options, &mut report).await?;
    }
    if wanted(Part::Balancing) {
        balancing::measure(options, &mut report).await?;
    }
    if wanted(Part::Packets) {
        packets::measure(options, &mut report).await?;
    }
    if wanted(Part::Iam) {
        iam::measure(options, &mut report).await?;
    }
    Ok(report)
}

impl Options {
    fn program(&self, name: &str) -> PathBuf {
        self.root.join("target/release").join(name)
    }

    /// Logs and configurations of what runs here.
    fn scratch(&self) -> Result<PathBuf> {
        let directory = self.root.join("target/bench");
        std::fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// How often, in a full and in a quick run.
    fn times(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

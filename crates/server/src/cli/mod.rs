//! The command line: what each command takes, and where it is done.

mod admin;
mod advise;
mod boot;
mod bootstrap;
mod ca;
mod capacity;
mod cost;
mod demo;
mod dns;
mod doctor;
mod down;
mod env;
mod iam;
mod image;
mod inside;
mod spot;
mod ssh;
mod status;
mod table;
mod up;
mod why;
mod zone;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "drover",
    version,
    about = "An elastic compute cloud in one binary: AWS's APIs, and everything real behind them",
    after_help = "Examples:
  drover up --ephemeral          a cloud until Ctrl-C
  eval \"$(drover env)\"           point the AWS CLI and the SDKs at it
  aws ec2 describe-instances
  drover status                  zones, instances, groups, balancers
  drover zone fail us-east-1b    and watch what your architecture does
  drover demo                    a multi-zone web tier, shown running and surviving"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cloud and serve it until Ctrl-C; its instances live on for the next start
    Up(up::Options),
    /// End a cloud: instances, balancers, networks, everything it started
    Down(down::Options),
    /// Print the shell lines that point AWS clients at a cloud: eval "$(drover env)"
    Env(env::Options),
    /// Print the certificate that signs for AWS's names inside of instances
    Ca(ca::Options),
    /// Say how this host comes to know the cloud's public names
    Dns(dns::Options),
    /// Show zones, instances, groups and balancers
    Status(status::Options),
    /// Check what this host can enforce, and say how to fix what is missing
    Doctor(doctor::Options),
    /// Take a zone down, or bring it back
    #[command(subcommand)]
    Zone(zone::Command),
    /// How many instances of a type each zone has room for
    #[command(subcommand)]
    Capacity(capacity::Command),
    /// Say whether one instance can connect to another, and what decides
    Why(why::Options),
    /// How long an instance's boot took, step by step
    Boot(boot::Options),
    /// Machine images
    #[command(subcommand)]
    Image(image::Command),
    /// Who called what, and which policy statement decided
    #[command(subcommand)]
    Iam(iam::Command),
    /// What all this would cost at AWS: so far, and an hour now
    Cost(cost::Options),
    /// Which instance types fit: what runs, or a workload in words
    Advise(advise::Options),
    /// The Spot market: prices, interruptions, events
    #[command(subcommand)]
    Spot(spot::Command),
    /// Run a program inside an instance
    Exec(inside::Exec),
    /// Show the serial console of an instance, and type on it
    Console(inside::Console),
    /// Log in to an instance with ssh, without a key or an open port
    Ssh(ssh::Options),
    /// Be a connection to a port of an instance
    #[command(hide = true)]
    Connect(inside::Connect),
    /// Pull the power cord of an instance: every process of it dies at once
    Kill(zone::Kill),
    /// Run a multi-zone web tier through load, failures and a rollout, and report
    Demo(demo::Options),
}

/// How commands find the cloud they are about.
#[derive(Args, Clone)]
pub struct Cloud {
    /// The cloud's endpoint; without it, the cloud of --data-dir, or the only one that runs
    #[arg(long, env = "DROVER_ENDPOINT", global = true, value_name = "URL")]
    endpoint: Option<String>,
    /// The cloud's data directory
    #[arg(long, env = "DROVER_DATA_DIR", global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// How commands answer.
#[derive(Args, Clone)]
pub struct Output {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Output {
    pub fn print(&self, text: impl std::fmt::Display, json: serde_json::Value) {
        if self.json {
            println!("{json:#}");
        } else {
            println!("{text}");
        }
    }
}

pub fn main() -> anyhow::Result<ExitCode> {
    let done = match Cli::parse().command {
        Command::Exec(options) => return inside::exec(options),
        Command::Console(options) => return inside::console(options),
        Command::Ssh(options) => return ssh::run(options),
        Command::Connect(options) => return inside::connect(options),
        Command::Up(options) => up::run(options),
        Command::Down(options) => down::run(options),
        Command::Env(options) => env::run(options),
        Command::Ca(options) => ca::run(options),
        Command::Dns(options) => dns::run(options),
        Command::Status(options) => status::run(options),
        Command::Doctor(options) => doctor::run(options),
        Command::Why(options) => why::run(options),
        Command::Zone(command) => zone::run(command),
        Command::Capacity(command) => capacity::run(command),
        Command::Boot(options) => boot::run(options),
        Command::Image(command) => image::run(command),
        Command::Iam(command) => iam::run(command),
        Command::Cost(options) => cost::run(options),
        Command::Advise(options) => advise::run(options),
        Command::Spot(command) => spot::run(command),
        Command::Kill(options) => zone::kill(options),
        Command::Demo(options) => demo::run(options),
    };
    done.map(|()| ExitCode::SUCCESS)
}

//! `drover`: one binary that plays every part. Hidden subcommands start the parts.

mod admin;
mod balancers;
mod ca;
mod capacity;
mod cli;
mod credentials;
mod daemon;
mod dns;
mod gateway;
mod guard;
mod imds;
mod mounts;
mod networks;
mod outbound;
mod paths;
mod pool;
mod registry;
mod slot;
mod status;
mod stream;
mod teardown;
mod tls;
mod tunnel;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The parts come first: they must not run a line more than they need.
    compute::namespace::dispatch();
    if let Some(code) = balancers::main_if_balancer() {
        return code;
    }
    if let Some(code) = demo::main_if_web() {
        return code;
    }
    if let Some(code) = demo::main_if_web() {
        return code;
    }
    match cli::main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("drover: {error:#}");
            ExitCode::FAILURE
        }
    }
}

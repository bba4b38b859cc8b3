//! The project's own chores: `cargo xtask codegen`, `cargo xtask catalog`, `cargo xtask tidy`,
//! `cargo xtask bench`.

mod bench;
mod catalog;
mod codegen;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask codegen [--check]   the wire's models and shapes, from botocore
cargo xtask catalog [--check]   the table of instance types, from moto
cargo xtask catalog --prices FILE   their prices, from AWS's price list as Karpenter keeps it
cargo xtask tidy                the house rules that a machine can see
cargo xtask bench [--quick]     what Drover costs, measured on this host (as root); see --help";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["codegen"] => codegen::run(codegen::Mode::Write),
        ["codegen", "--check"] => codegen::run(codegen::Mode::Check),
        ["catalog"] => catalog::run(catalog::Mode::Write),
        ["catalog", "--prices", list] => catalog::prices::run(list.as_ref()),
        ["catalog", "--check"] => catalog::run(catalog::Mode::Check),
        ["tidy"] => tidy::run(),
        ["bench", ref arguments @ ..] => bench::run(arguments),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's directory.
fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

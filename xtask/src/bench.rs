//! `cargo xtask bench`: builds what is to be measured and what measures it, then hands over. Measuring is
//! a program of its own, in release, and apart from the wire's shapes, which this one generates.

use std::process::Command;

use anyhow::{Context, Result, ensure};

pub fn run(arguments: &[&str]) -> Result<()> {
    let root = crate::root();
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--package", "server", "--package", "bench"]);
    build.args(["--package", "balancer", "--package", "policy", "--bins", "--examples"]);
    let built = build.current_dir(&root).status().context("cargo does not run")?;
    ensure!(built.success(), "the build failed");
    let mut bench = Command::new(root.join("target/release/bench"));
    let done = bench.arg("--root").arg(&root).args(arguments).status()?;
    ensure!(done.success(), "no figures");
    Ok(())
}

//! `cargo xtask catalog`: a compact table of the facts about each EC2 instance type.
//!
//! ```text
//!  catalog/moto.txt ─► pip ─► instance_types.json.gz ─► catalog/types.tsv
//! ```
//!
//! The table is committed; `--check` makes it anew and fails when it differs. The source's structures
//! are spelled out in full, so that a member we do not know of is an error and not a loss.

pub mod prices;
mod source;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Write,
    Check,
}

pub fn run(mode: Mode) -> Result<()> {
    let place = crate::root().join("crates/cloud/src/ec2/catalog");
    let path = place.join("types.tsv");
    let types = source::read(&download(&place.join("moto.txt"))?)?;
    let made = table::write(types.values())?;
    if mode == Mode::Check {
        let kept = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        ensure!(kept == made, "{}: not current, run `cargo xtask catalog`", path.display());
        return Ok(());
    }
    fs::write(&path, &made)?;
    println!("{}: {} instance types", path.display(), types.len());
    Ok(())
}

/// The package's file of instance types. `pin` is a pip requirements file with the version and its hash.
fn download(pin: &Path) -> Result<PathBuf> {
    let pinned = fs::read_to_string(pin).with_context(|| pin.display().to_string())?;
    let version = pinned
        .trim()
        .strip_prefix("moto==")
        .and_then(|rest| rest.split_whitespace().next())
        .context("moto.txt should read moto==VERSION --hash=…")?;
    let place = crate::root().join("target/catalog");
    let unpacked = place.join(format!("moto-{version}"));
    if !unpacked.exists() {
        fs::create_dir_all(&place)?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"])
            .args(["--only-binary", ":all:", "--require-hashes", "--requirement"])
            .arg(pin)
            .arg("--dest")
            .arg(&place);
        succeed(pip)?;
        let partial = place.join("partial");
        let mut unzip = Command::new("python3");
        unzip
            .args(["-m", "zipfile", "--extract"])
            .arg(place.join(format!("moto-{version}-py3-none-any.whl")))
            .arg(&partial);
        succeed(unzip)?;
        fs::rename(&partial, &unpacked)?;
    }
    Ok(unpacked.join("moto/ec2/resources/instance_types.json.gz"))
}

fn succeed(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

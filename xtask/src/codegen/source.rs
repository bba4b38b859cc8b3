//! Where the models come from: the pinned botocore package, got by pip and kept under `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::model::Model;

/// The package's `data` directory. `pin` is a pip requirements file with the version and its hash.
pub fn botocore(pin: &Path) -> Result<PathBuf> {
    let pinned = fs::read_to_string(pin).with_context(|| pin.display().to_string())?;
    let version = pinned
        .trim()
        .strip_prefix("botocore==")
        .and_then(|rest| rest.split_whitespace().next())
        .context("botocore.txt should read botocore==VERSION --hash=…")?;
    let place = crate::root().join("target/codegen");
    let unpacked = place.join(format!("botocore-{version}"));
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
            .arg(place.join(format!("botocore-{version}-py3-none-any.whl")))
            .arg(&partial);
        succeed(unzip)?;
        fs::rename(&partial, &unpacked)?;
    }
    Ok(unpacked.join("botocore/data"))
}

/// The full model of one service.
pub fn service(data: &Path, name: &str, version: &str) -> Result<Model> {
    let path = data.join(name).join(version).join("service-2.json.gz");
    let file = fs::File::open(&path).with_context(|| path.display().to_string())?;
    let reader = std::io::BufReader::new(flate2::read::GzDecoder::new(file));
    serde_json::from_reader(reader).with_context(|| path.display().to_string())
}

fn succeed(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

//! `drover image`: machine images from root file systems.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Cloud, Output};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  drover image import alpine alpine-minirootfs.tar.gz
  drover image import app app.tar --base drover-host
  drover image build debian --name debian-12")]
pub enum Command {
    /// Register a root file system as a machine image
    Import(Import),
    /// Make an image with the host's own tools, and register it
    #[command(subcommand)]
    Build(Build),
}

#[derive(Args)]
pub struct Import {
    /// Name of the image
    name: String,
    /// Root file system: .tar, .tar.gz or .tar.zst
    archive: PathBuf,
    /// Put the archive's files on top of this image (name or AMI id)
    #[arg(long)]
    base: Option<String>,
    /// What DescribeImages says of it
    #[arg(long)]
    description: Option<String>,
    /// Region to register it in
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
pub enum Build {
    /// Debian by mmdebstrap or debootstrap, whichever this host has
    Debian {
        /// Name of the image
        #[arg(long, default_value = "debian")]
        name: String,
        /// Release to install
        #[arg(long, default_value = "bookworm")]
        suite: String,
        /// Further packages, separated by commas
        #[arg(long, default_value = "ca-certificates,curl,iproute2,python3")]
        packages: String,
        /// Region to register it in
        #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
        region: String,
        #[command(flatten)]
        cloud: Cloud,
        #[command(flatten)]
        output: Output,
    },
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Import(import) => register(import),
        Command::Build(Build::Debian { name, suite, packages, region, cloud, output }) => {
            let directory = tempdir()?;
            let archive = directory.join("root.tar");
            let built = debian(&suite, &packages, &archive);
            let registered = built.and_then(|()| {
                let description = Some(format!("Debian {suite}"));
                let base = None;
                register(Import { name, archive, base, description, region, cloud, output })
            });
            std::fs::remove_dir_all(&directory)?;
            registered
        }
    }
}

fn register(import: Import) -> Result<()> {
    let archive = std::fs::canonicalize(&import.archive)
        .with_context(|| format!("cannot read {}", import.archive.display()))?;
    let answer = import.cloud.call(
        "POST",
        "/_drover/images",
        Some(json!({
            "name": import.name,
            "archive": archive,
            "base": import.base,
            "description": import.description,
            "region": import.region,
        })),
    )?;
    import.output.print(answer["image_id"].as_str().unwrap_or_default(), answer.clone());
    Ok(())
}

/// Runs the host's bootstrap tool, its progress on this terminal.
fn debian(suite: &str, packages: &str, archive: &std::path::Path) -> Result<()> {
    let Some(tool) = ["mmdebstrap", "debootstrap"].into_iter().find(|tool| installed(tool)) else {
        bail!(
            "building Debian needs mmdebstrap or debootstrap; `apt-get install mmdebstrap` gets it"
        );
    };
    let include = format!("--include={packages}");
    eprintln!("Making Debian {suite} with {tool} …");
    if tool == "mmdebstrap" {
        return succeed(
            std::process::Command::new(tool)
                .args(["--variant=minbase", &include, suite])
                .arg(archive),
        );
    }
    let root = archive.with_extension("d");
    succeed(
        std::process::Command::new(tool).args(["--variant=minbase", &include, suite]).arg(&root),
    )?;
    succeed(
        std::process::Command::new("tar")
            .args(["--numeric-owner", "--one-file-system", "-cf"])
            .arg(archive)
            .arg("-C")
            .arg(&root)
            .arg("."),
    )
}

pub fn installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).any(|dir| dir.join(tool).is_file())
}

fn succeed(command: &mut std::process::Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

fn tempdir() -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("drover-image-{}", std::process::id()));
    std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

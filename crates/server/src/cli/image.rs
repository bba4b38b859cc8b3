//! `drover image`: machine images from root file systems, from registries, from packages.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{Cloud, Output, bootstrap};
use crate::registry;

#[derive(Subcommand)]
#[command(after_help = "Examples:
  drover image build debian                        Debian with systemd, cloud-init and sshd
  drover image build ubuntu --release noble --packages nginx,awscli
  drover image pull REGISTRY/library/alpine:3.20 --name alpine
  drover image import alpine alpine-minirootfs.tar.gz
  drover image import app app.tar --base drover-host")]
pub enum Command {
    /// Register a root file system or a container image as a machine image
    Import(Import),
    /// Get a container image from a registry, and register it
    Pull(Pull),
    /// Make an image of packages with the host's own tools, and register it
    #[command(subcommand)]
    Build(Build),
}

/// How an image becomes one of a cloud.
#[derive(Args)]
struct Registering {
    /// What DescribeImages says of it
    #[arg(long)]
    description: Option<String>,
    /// Whose pid 1 its instances have
    #[arg(long, value_enum, default_value_t = Init::Auto)]
    init: Init,
    /// What the roots of its instances are: volumes, or a disk of the host, which is gone with the
    /// instance (only types such as m3 and d2 take that)
    #[arg(long, value_enum, default_value_t = RootDeviceType::Ebs)]
    root_device_type: RootDeviceType,
    /// Region to register it in
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Init {
    /// The image's, if it is systemd; Drover's otherwise
    Auto,
    /// Drover's, whatever the image has
    Drover,
    /// The image's /sbin/init, whatever it is
    Image,
}

impl Init {
    fn word(self) -> &'static str {
        match self {
            Init::Auto => "auto",
            Init::Drover => "drover",
            Init::Image => "image",
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum RootDeviceType {
    Ebs,
    InstanceStore,
}

impl RootDeviceType {
    fn word(self) -> &'static str {
        match self {
            RootDeviceType::Ebs => "ebs",
            RootDeviceType::InstanceStore => "instance-store",
        }
    }
}

#[derive(Args)]
pub struct Import {
    /// Name of the image
    name: String,
    /// A root file system (.tar, also .gz, .xz or .zst), what `docker save` wrote, or an OCI image layout
    /// (a directory or a tar). Of a container image its files are used: an instance boots an init and runs
    /// user data, so that entrypoint, command, user and environment are not
    #[arg(verbatim_doc_comment)]
    archive: PathBuf,
    /// Put the archive's files on top of this image (name or AMI id)
    #[arg(long)]
    base: Option<String>,
    #[command(flatten)]
    registering: Registering,
}

#[derive(Args)]
pub struct Pull {
    /// REGISTRY/NAME[:TAG][@DIGEST]; without a login
    reference: String,
    /// Name of the image; without it, the reference's own
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    registering: Registering,
}

#[derive(Subcommand)]
pub enum Build {
    /// Debian, by mmdebstrap or debootstrap, whichever this host has
    Debian(Packages),
    /// Ubuntu, likewise
    Ubuntu(Packages),
}

#[derive(Args)]
pub struct Packages {
    /// Name of the image; without it, made of system and release
    #[arg(long)]
    name: Option<String>,
    /// Release to install, by name or number; the newest that is known without it
    #[arg(long)]
    release: Option<String>,
    /// Packages besides systemd, cloud-init, openssh-server, ca-certificates, iproute2, python3, curl and
    /// sudo; separated by commas
    #[arg(long, default_value = "")]
    packages: String,
    /// Where packages come from; without it the host's own source if it has this release, else the tool's
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Only write the root file system to this file (.tar), for `drover image import`
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    #[command(flatten)]
    registering: Registering,
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Import(Import { name, archive, base, registering }) => {
            register(&name, &archive, base, registering)
        }
        Command::Pull(pull) => self::pull(pull),
        Command::Build(Build::Debian(packages)) => build(&bootstrap::DEBIAN, packages),
        Command::Build(Build::Ubuntu(packages)) => build(&bootstrap::UBUNTU, packages),
    }
}

fn register(
    name: &str,
    archive: &Path,
    base: Option<String>,
    registering: Registering,
) -> Result<()> {
    let archive = std::fs::canonicalize(archive)
        .with_context(|| format!("cannot read {}", archive.display()))?;
    let answer = registering.cloud.call(
        "POST",
        "/_drover/images",
        Some(json!({
            "name": name,
            "archive": archive,
            "base": base,
            "description": registering.description,
            "region": registering.region,
            "init": registering.init.word(),
            "root_device_type": registering.root_device_type.word(),
        })),
    )?;
    registering.output.print(answer["image_id"].as_str().unwrap_or_default(), answer.clone());
    Ok(())
}

fn pull(pull: Pull) -> Result<()> {
    let reference = registry::Reference::parse(&pull.reference)?;
    let directory = tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let say = |line: String| eprintln!("{line}");
    let pulled = runtime.block_on(registry::pull(&reference, &directory, &say));
    let name = pull.name.unwrap_or_else(|| image_name(&reference));
    let registered = pulled.and_then(|()| {
        let mut registering = pull.registering;
        registering.description.get_or_insert(pull.reference);
        register(&name, &directory, None, registering)
    });
    std::fs::remove_dir_all(&directory)?;
    registered
}

/// `library/alpine:3.20` → `alpine-3.20`
fn image_name(reference: &registry::Reference) -> String {
    let last = reference.name.rsplit('/').next().unwrap_or_default();
    let version = reference.version.replace(':', "-");
    format!("{last}-{}", &version[..version.len().min(40)])
}

fn build(system: &bootstrap::System, packages: Packages) -> Result<()> {
    let release = system.release(packages.release.as_deref())?;
    let more: Vec<&str> =
        packages.packages.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
    let mirror = packages.mirror.as_deref();
    if let Some(archive) = &packages.archive {
        if archive.exists() {
            bail!("{} exists already", archive.display());
        }
        return bootstrap::build(system, &release, &more, mirror, archive);
    }
    // Whether there is a cloud is better known before minutes of work.
    packages.registering.cloud.endpoint()?;
    let directory = tempdir()?;
    let archive = directory.join("root.tar");
    let built = bootstrap::build(system, &release, &more, mirror, &archive);
    let name = packages.name.unwrap_or_else(|| format!("{}-{release}", system.id));
    let registered = built.and_then(|()| {
        let mut registering = packages.registering;
        registering.description.get_or_insert(format!("{} {release}", system.id));
        register(&name, &archive, None, registering)
    });
    std::fs::remove_dir_all(&directory)?;
    registered
}

fn tempdir() -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("drover-image-{}", std::process::id()));
    std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

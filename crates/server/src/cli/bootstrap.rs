//! Root file systems of packages, by mmdebstrap or debootstrap: a system as clouds have it, with systemd,
//! cloud-init and sshd, and nothing in it that instances must not share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub struct System {
    /// As in os-release.
    pub id: &'static str,
    /// Releases by number and name, the newest first.
    releases: &'static [(&'static str, &'static str)],
    components: &'static str,
}

pub const DEBIAN: System = System {
    id: "debian",
    releases: &[("12", "bookworm"), ("13", "trixie"), ("11", "bullseye")],
    components: "main",
};

pub const UBUNTU: System = System {
    id: "ubuntu",
    releases: &[("24.04", "noble"), ("22.04", "jammy"), ("20.04", "focal")],
    components: "main,universe",
};

const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "cloud-init",
    "openssh-server",
    "ca-certificates",
    "iproute2",
    "iputils-ping",
    "netbase",
    "procps",
    "python3",
    "curl",
    "sudo",
];

impl System {
    /// The name of a release that is given by name or number.
    pub fn release(&self, wanted: Option<&str>) -> Result<String> {
        let Some(wanted) = wanted else { return Ok(self.releases[0].1.to_owned()) };
        let known =
            self.releases.iter().find(|(number, name)| wanted == *number || wanted == *name);
        match known {
            Some((_, name)) => Ok((*name).to_owned()),
            None if wanted.chars().all(|c| c.is_ascii_lowercase()) => Ok(wanted.to_owned()),
            None => bail!("{wanted} is no release of {} that is known here", self.id),
        }
    }
}

pub fn installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).any(|dir| dir.join(tool).is_file())
}

/// Writes the root file system to `archive`, the tool's progress on this terminal.
pub fn build(
    system: &System,
    release: &str,
    more: &[&str],
    mirror: Option<&str>,
    archive: &Path,
) -> Result<()> {
    let Some(tool) = ["mmdebstrap", "debootstrap"].into_iter().find(|tool| installed(tool)) else {
        bail!(
            "building an image needs mmdebstrap or debootstrap; `apt-get install mmdebstrap` gets it"
        );
    };
    let id = system.id;
    let include = format!("--include={}", [PACKAGES, more].concat().join(","));
    let components = format!("--components={}", system.components);
    let mirror = mirror.map(str::to_owned).or_else(|| host_mirror(system, release));
    eprintln!("Making {id} {release} with {tool} …");
    let root = archive.with_extension("root");
    let mut command = Command::new(tool);
    command.args(["--variant=minbase", &include, &components]);
    if tool == "mmdebstrap" {
        command.args(apt_options()?);
        command.arg("--format=directory");
    }
    command.arg(release).arg(&root).args(mirror);
    let made = succeed(&mut command).and_then(|()| clean(&root)).and_then(|()| {
        succeed(
            Command::new("tar")
                .args(["--numeric-owner", "--one-file-system", "--xattrs", "-cf"])
                .arg(archive)
                .arg("-C")
                .arg(&root)
                .arg("."),
        )
    });
    let _ = fs::remove_dir_all(&root);
    made
}

/// How this host's apt gets its packages, for one that has this very release.
fn host_mirror(system: &System, release: &str) -> Option<String> {
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is = |name: &str, value: &str| {
        os.lines()
            .any(|line| line == format!("{name}={value}") || line == format!("{name}=\"{value}\""))
    };
    if !is("ID", system.id) || !is("VERSION_CODENAME", release) {
        return None;
    }
    let lists = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let files = lists.map(|entry| entry.path()).chain([PathBuf::from("/etc/apt/sources.list")]);
    let texts: Vec<String> = files.filter_map(|path| fs::read_to_string(path).ok()).collect();
    texts.iter().find_map(|text| source(text, release))
}

/// The address of the source that has `release`, in either of apt's forms. None with a login in it: it
/// would become the image's.
fn source(text: &str, release: &str) -> Option<String> {
    let plain = |address: &str| {
        let web = address.starts_with("http://") || address.starts_with("https://");
        (web && !address.contains('@')).then(|| address.to_owned())
    };
    for line in text.lines().filter(|line| line.starts_with("deb ")) {
        let line = line.split(']').next_back().unwrap_or(line);
        let fields: Vec<&str> = line.trim_start_matches("deb ").split_whitespace().collect();
        if fields.get(1) == Some(&release) {
            return plain(fields[0]);
        }
    }
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
        let suites = field("Suites:")?;
        let has = suites.split_whitespace().any(|suite| suite == release);
        has.then(|| plain(field("URIs:")?.split_whitespace().next()?)).flatten()
    })
}

/// What of the host's apt configuration is about reaching its sources.
fn apt_options() -> Result<Vec<String>> {
    let Ok(dump) = Command::new("apt-config").args(["dump", "Acquire"]).output() else {
        return Ok(Vec::new());
    };
    let dump = String::from_utf8(dump.stdout).context("apt-config")?;
    let about = ["Proxy", "Check-Valid-Until", "Check-Date", "Retries", "CaInfo", "Timeout"];
    let wanted = |line: &&str| {
        let key = line.split(' ').next().unwrap_or_default();
        about.iter().any(|word| key.to_lowercase().contains(&word.to_lowercase()))
            && !line.ends_with(" \"\";")
    };
    Ok(dump.lines().filter(wanted).map(|line| format!("--aptopt={line}")).collect())
}

/// Takes out what belongs to one machine or to its making, and sets what cloud images usually have.
fn clean(root: &Path) -> Result<()> {
    for name in [
        "etc/hostname",
        "etc/resolv.conf",
        "var/lib/dbus/machine-id",
        "etc/apt/apt.conf.d/99mmdebstrap",
    ] {
        let _ = fs::remove_file(root.join(name));
    }
    fs::write(root.join("etc/machine-id"), "")?;
    for entry in fs::read_dir(root.join("etc/ssh")).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
            fs::remove_file(entry.path())?;
        }
    }
    let configuration = root.join("etc/cloud/cloud.cfg.d");
    if configuration.is_dir() {
        // The one locale that needs no package; an RSA key would take a first boot a second more, and
        // every ssh of these days takes the others.
        let settings = "locale: C.UTF-8\nssh_genkeytypes: [ed25519, ecdsa]\n";
        fs::write(configuration.join("01_image.cfg"), settings)?;
    }
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_by_name_and_number() {
        assert_eq!(DEBIAN.release(Some("12")).unwrap(), "bookworm");
        assert_eq!(UBUNTU.release(Some("22.04")).unwrap(), "jammy");
        assert_eq!(UBUNTU.release(None).unwrap(), "noble");
        assert_eq!(DEBIAN.release(Some("sid")).unwrap(), "sid");
        assert!(DEBIAN.release(Some("99")).is_err());
    }

    #[test]
    fn sources_are_read_in_both_forms() {
        let deb822 = "Types: deb\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\n\n\
                      Types: deb\nURIs: http://b.example/debian-security\nSuites: bookworm-security\n";
        assert_eq!(source(deb822, "bookworm").as_deref(), Some("http://a.example/debian"));
        let list = "# x\ndeb [signed-by=/k] http://c.example/ubuntu noble main\n";
        assert_eq!(source(list, "noble").as_deref(), Some("http://c.example/ubuntu"));
        assert_eq!(source("deb http://u:p@c.example/ubuntu noble main", "noble"), None);
        assert_eq!(source(list, "jammy"), None);
    }
}

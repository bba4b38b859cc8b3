//! The image's own init as pid 1: what systemd and cloud-init need to find of a machine, laid out
//! beside the image and never in it, and the step into it.
//!
//! ```text
//!  /run/systemd/system/…             units that no namespace can have are masked; our drop-ins
//!  /run/systemd/system.conf.d/…      the environment of services
//!  /run/systemd/network, /run/NetworkManager   interfaces are configured from outside
//!  /etc/cloud/cloud.cfg.d/95-drover.cfg        where cloud-init finds its data (written to the instance)
//!  /run/drover/dhcp/{dhclient,…}     for cloud-init's first stage alone: no address is to be asked for
//!  /sys/hypervisor/uuid              begins with `ec2`, by which AWS's guides have a guest know EC2
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::record::Record;
use super::{child, first_boot, init, mount, sys, within};
use crate::{Init, Spec};

/// Where an image's init is, if it has one.
const INIT: &str = "sbin/init";

/// Of kernel features that belong to the host, or devices that are never there.
const MASKED: &[&str] = &[
    "dev-hugepages.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "proc-sys-fs-binfmt_misc.mount",
    "systemd-udevd.service",
    "systemd-udevd-kernel.socket",
    "systemd-udevd-control.socket",
    "systemd-udev-trigger.service",
    "systemd-udev-settle.service",
    "systemd-networkd-wait-online.service",
    "NetworkManager-wait-online.service",
    // Of the host's clock.
    "systemd-timesyncd.service",
    "chronyd.service",
    "chrony.service",
];

/// The datasource is known, and everything about the network is done from outside.
const CLOUD_CFG: &str = "# Written by Drover at every boot.\n\
datasource_list: [ Ec2 ]\n\
datasource:\n  Ec2:\n    strict_id: false\n    metadata_urls: [ 'http://169.254.169.254' ]\n    \
max_wait: 30\n    timeout: 5\n\
network: { config: disabled }\n";

/// What the image brings.
#[derive(Debug)]
pub struct ImageInit {
    pub program: PathBuf,
    pub systemd: bool,
    pub cloud_init: bool,
}

/// Which init of the image at `root` is to run; `None`: Drover's. An error: one is asked for that is not
/// there.
pub fn choose(root: &Path, record: &Record) -> Result<Option<ImageInit>, String> {
    let wanted = record.spec.init;
    // The host's own system boots without the host's services.
    let host = !record.root.usr.is_empty();
    if wanted == Init::Drover || (wanted == Init::Auto && host) {
        return Ok(None);
    }
    let root = fs::File::open(root).map_err(|error| error.to_string())?;
    let there = |path: &str| within::resolve_within(root.as_fd(), path);
    let Some(program) = there(INIT) else {
        return match wanted {
            Init::Image => {
                Err("the image has no /sbin/init, and its own init was asked for".into())
            }
            _ => Ok(None),
        };
    };
    let systemd = program.ends_with("systemd/systemd");
    if wanted == Init::Auto && !systemd {
        return Ok(None);
    }
    let cloud_init =
        systemd && there("usr/bin/cloud-init").is_some() && there("etc/cloud/cloud.cfg").is_some();
    Ok(Some(ImageInit { program, systemd, cloud_init }))
}

/// /sys with room for what the kernel does not say: a read-only copy of its directories, and one more.
pub fn mount_sys(root: &Path, spec: &Spec) -> io::Result<()> {
    let sys = root.join("sys");
    let (nosuid, nodev, noexec) = (libc::MS_NOSUID, libc::MS_NODEV, libc::MS_NOEXEC);
    let all = nosuid | nodev | noexec;
    fs::create_dir_all(&sys)?;
    mount::mount("tmpfs", &sys, all, "mode=755,size=64k")?;
    let full = sys.join("full");
    fs::create_dir(&full)?;
    mount::mount("sysfs", &full, all | libc::MS_RDONLY, "")?;
    for entry in fs::read_dir(&full)? {
        let entry = entry?;
        let place = sys.join(entry.file_name());
        if entry.file_name() == "hypervisor" || !entry.file_type()?.is_dir() {
            continue;
        }
        fs::create_dir(&place)?;
        mount::bind(&entry.path(), &place)?;
    }
    mount::unmount(&full, libc::MNT_DETACH)?;
    fs::remove_dir(&full)?;
    fs::create_dir(sys.join("hypervisor"))?;
    fs::write(sys.join("hypervisor/uuid"), format!("{}\n", machine_uuid(&spec.id)))?;
    mount::change(&sys, libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | all)
}

/// `ec2` and what of the id is hexadecimal, in the form of a UUID.
fn machine_uuid(id: &str) -> String {
    let mut digits: String =
        id.trim_start_matches("i-").chars().filter(char::is_ascii_hexdigit).take(29).collect();
    while digits.len() < 29 {
        digits.push('0');
    }
    let all = format!("ec2{digits}").to_ascii_lowercase();
    format!("{}-{}-{}-{}-{}", &all[..8], &all[8..12], &all[12..16], &all[16..20], &all[20..])
}

/// Becomes the image's init. Never returns; if it cannot, the shim is told why.
pub fn run(record: &Record, channel: OwnedFd, image: &ImageInit) -> ! {
    init::usual_limits();
    sys::default_signals(&(1..32).collect::<Vec<_>>());
    let (spec, notes) = init::settle(record, !image.cloud_init);
    for note in notes {
        init::say(&note);
    }
    let prepared = if image.systemd { lay_out(&spec, image) } else { Ok(()) };
    if !image.cloud_init
        && let Err(error) = first_boot::start(&spec, image.systemd)
    {
        init::say(&format!("first boot: {error}"));
    }
    let name = image.program.display();
    init::say(&format!("init of the image, {name}"));
    let error = match prepared {
        Ok(()) => {
            let message = [&[child::EXEC], image.program.as_os_str().as_encoded_bytes()].concat();
            let _ = sys::send(channel.as_fd(), &message, &[]);
            // The channel closes with this, by which the shim knows.
            Command::new(&image.program)
                .arg0("/sbin/init")
                .env_clear()
                .env("container", "drover")
                .env("TERM", "linux")
                .env("PATH", init::PATH)
                .envs(&spec.env)
                .exec()
        }
        Err(error) => error,
    };
    let why = format!("{name}: {error}");
    let _ = sys::send(channel.as_fd(), &[&[child::FAILED], why.as_bytes()].concat(), &[]);
    sys::exit(1)
}

/// What is said to systemd and to cloud-init.
fn lay_out(spec: &Spec, image: &ImageInit) -> io::Result<()> {
    let units = Path::new("/run/systemd/system");
    fs::create_dir_all(units)?;
    for unit in MASKED {
        symlink("/dev/null", units.join(unit))?;
    }
    put("/run/systemd/system.conf.d/drover.conf", &system_conf(spec))?;
    put("/run/systemd/network/00-drover.network", "[Match]\nName=eth*\n[Link]\nUnmanaged=yes\n")?;
    put(
        "/run/NetworkManager/conf.d/drover.conf",
        "[keyfile]\nunmanaged-devices=interface-name:eth*\n",
    )?;
    if !image.cloud_init {
        return Ok(());
    }
    let config = "/etc/cloud/cloud.cfg.d/95-drover.cfg";
    if fs::read(config).ok().as_deref() != Some(CLOUD_CFG.as_bytes()) {
        put(config, CLOUD_CFG)?;
    }
    let path = format!("[Service]\nEnvironment=PATH=/run/drover/dhcp:{}\n", init::PATH);
    for unit in ["cloud-init-local.service.d", "cloud-init-main.service.d"] {
        put(&format!("/run/systemd/system/{unit}/drover.conf"), &path)?;
    }
    for client in ["dhclient", "dhcpcd", "udhcpc"] {
        let script = format!("/run/drover/dhcp/{client}");
        let text = "#!/bin/sh\necho 'interfaces are configured from outside of the instance' >&2\nexit 1\n";
        put(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn put(path: &str, text: &str) -> io::Result<()> {
    if let Some(directory) = Path::new(path).parent() {
        fs::create_dir_all(directory)?;
    }
    fs::File::create(path)?.write_all(text.as_bytes())
}

/// See systemd-system.conf(5): values are quoted, `%` and backslashes doubled.
fn system_conf(spec: &Spec) -> String {
    let quoted = |(key, value): (&String, &String)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
        format!(" \"{key}={value}\"")
    };
    let environment: String = spec.env.iter().map(quoted).collect();
    format!("[Manager]\nDefaultEnvironment={environment}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_s_uuid_begins_as_ec2_s_do() {
        assert_eq!(machine_uuid("i-0123456789abcdef0"), "ec201234-5678-9abc-def0-000000000000");
        assert_eq!(machine_uuid("x").len(), 36);
    }
}

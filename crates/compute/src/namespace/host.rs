//! The host layer: a root file system made of this host's own system, without anything that is its
//! own. The skeleton for `/` is made once; `/usr` is the host's, as a read-only layer.
//!
//! ```text
//! FINGERPRINT/root      bin, sbin, lib… -> usr/…, a generated /etc, empty /root /home /srv /opt /var
//! FINGERPRINT/usr-mask  goes over /usr: hides what the administrator may have put there to configure
//!                       programs, and brings poweroff, reboot, shutdown and halt that speak to init.rs
//! ```

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{sys, trust};

/// Raise when what is generated here changes.
const VERSION: u32 = 1;

/// What of the host's /etc is its system and not its own: never a whole directory in which secrets
/// are at home. Of these only what everybody may read is copied.
const COPIED: &[&str] = &[
    "alternatives",
    "bash.bashrc",
    "bindresvport.blacklist",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "libaudit.conf",
    "locale.alias",
    "locale.conf",
    "localtime",
    "login.defs",
    "lsb-release",
    "magic",
    "magic.mime",
    "mime.types",
    "os-release",
    "pam.conf",
    "pam.d",
    "perl",
    "pki/ca-trust",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "protocols",
    "redhat-release",
    "rpc",
    "security",
    "services",
    "shells",
    "skel",
    "ssl/certs",
    "ssl/openssl.cnf",
    "system-release",
    "terminfo",
    "timezone",
    "vim",
];

/// Whatever begins so, as its name has a version in it.
const COPIED_PREFIXES: &[&str] = &["java-", "python3"];

const DIRECTORIES: &[(&str, u32)] = &[
    ("boot", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/profile.d", 0o755),
    ("etc/sudoers.d", 0o750),
    ("home", 0o755),
    ("home/ec2-user", 0o700),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/backups", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/lib/cloud", 0o755),
    ("var/local", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o2775),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// Where the parts of the host layer are.
#[derive(Clone, Debug)]
pub struct HostLayer {
    pub root: PathBuf,
    pub usr_mask: PathBuf,
}

/// Finds or makes the layer below `directory`, with a certificate authority to trust. One of an earlier state of the host is left for the
/// instances that run on it and removed when `in_use` says there are none.
pub fn make(
    directory: &Path,
    trusted: Option<&str>,
    in_use: impl Fn(&Path) -> bool,
) -> io::Result<HostLayer> {
    fs::create_dir_all(directory)?;
    let name = format!("{:016x}", fingerprint(trusted));
    let place = directory.join(&name);
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path != place && !in_use(&path) {
            fs::remove_dir_all(path)?;
        }
    }
    if !place.exists() {
        let fresh = directory.join(format!("{name}.new"));
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        fs::create_dir(&fresh)?;
        make_root(&fresh.join("root"))?;
        if let Some(pem) = trusted {
            trust::install(&fresh.join("root"), pem)?;
        }
        make_usr_mask(&fresh.join("usr-mask"))?;
        fs::rename(fresh, &place)?;
    }
    Ok(HostLayer { root: place.join("root"), usr_mask: place.join("usr-mask") })
}

/// Whether this host's / has the shape this is about: /bin and its like are links into /usr.
pub fn supported() -> Result<(), String> {
    for name in ["bin", "sbin", "lib"] {
        let path = Path::new("/").join(name);
        if !path.is_symlink() && path.exists() {
            return Err(format!("{} is no link into /usr (usr-merge)", path.display()));
        }
    }
    Ok(())
}

/// The names below /etc to copy.
fn copied() -> Vec<String> {
    let mut names: Vec<String> = COPIED.iter().map(|&name| name.to_owned()).collect();
    for entry in fs::read_dir("/etc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if COPIED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            names.push(name);
        }
    }
    names.sort_unstable();
    names
}

/// Changes when the host's part of the layer does.
fn fingerprint(trusted: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (VERSION, trusted).hash(&mut hasher);
    for name in copied().iter().map(String::as_str).chain(["passwd", "group"]) {
        if let Ok(data) = fs::symlink_metadata(Path::new("/etc").join(name)) {
            (name, data.mtime(), data.mtime_nsec(), data.ino(), data.size()).hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn make_root(root: &Path) -> io::Result<()> {
    fs::create_dir(root)?;
    sys::set_mode(root, 0o755)?;
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if target.strip_prefix("/").unwrap_or(&target).starts_with("usr") {
            symlink(target, root.join(entry.file_name()))?;
        }
    }
    for (path, mode) in DIRECTORIES {
        fs::create_dir(root.join(path))?;
        sys::set_mode(&root.join(path), *mode)?;
    }
    symlink("/run", root.join("var/run"))?;
    symlink("/run/lock", root.join("var/lock"))?;
    symlink("/proc/self/mounts", root.join("etc/mtab"))?;
    std::os::unix::fs::chown(root.join("home/ec2-user"), Some(1000), Some(1000))?;
    for name in copied() {
        let (from, to) = (Path::new("/etc").join(&name), root.join("etc").join(&name));
        fs::create_dir_all(to.parent().expect("below etc"))?;
        copy_readable(&from, &to)?;
    }
    make_accounts(&root.join("etc"))?;
    let file = |name: &str, mode: u32, text: &str| put(&root.join("etc").join(name), mode, text);
    file(
        "nsswitch.conf",
        0o644,
        "passwd: files\ngroup: files\nshadow: files\ngshadow: files\nhosts: files dns\n\
         networks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n",
    )?;
    file(
        "sudoers",
        0o440,
        "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n",
    )?;
    file("sudoers.d/90-cloud-init-users", 0o440, "ec2-user ALL=(ALL) NOPASSWD:ALL\n")?;
    file("fstab", 0o644, "")?;
    file("machine-id", 0o444, "")?;
    file("environment", 0o644, "")?;
    Ok(())
}

/// The system accounts of the host, without passwords, and EC2's usual first user.
fn make_accounts(etc: &Path) -> io::Result<()> {
    let system = |id: Option<&str>| {
        id.and_then(|id| id.parse::<u32>().ok()).is_some_and(|id| id < 1000 || id == 65534)
    };
    let (mut passwd, mut shadow) = (String::new(), String::new());
    for line in fs::read_to_string("/etc/passwd")?.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, shell] = fields[..] else { continue };
        if system(Some(uid)) && name != "ec2-user" {
            passwd += &format!("{name}:x:{uid}:{gid}::{home}:{shell}\n");
            shadow += &format!("{name}:*:19000:0:99999:7:::\n");
        }
    }
    let shell = if Path::new("/usr/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    passwd += &format!("ec2-user:x:1000:1000::/home/ec2-user:{shell}\n");
    shadow += "ec2-user:*:19000:0:99999:7:::\n";
    let (mut group, mut gshadow) = (String::new(), String::new());
    for line in fs::read_to_string("/etc/group")?.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, _] = fields[..] else { continue };
        if system(Some(gid)) && name != "ec2-user" {
            let members = if matches!(name, "sudo" | "wheel" | "adm") { "ec2-user" } else { "" };
            group += &format!("{name}:x:{gid}:{members}\n");
            gshadow += &format!("{name}:*::{members}\n");
        }
    }
    group += "ec2-user:x:1000:\n";
    gshadow += "ec2-user:!::\n";
    put(&etc.join("passwd"), 0o644, &passwd)?;
    put(&etc.join("group"), 0o644, &group)?;
    put(&etc.join("shadow"), 0o640, &shadow)?;
    put(&etc.join("gshadow"), 0o640, &gshadow)?;
    let shadow_group = group.lines().find_map(|line| line.strip_prefix("shadow:x:"));
    let gid = shadow_group.and_then(|rest| rest.split(':').next()?.parse().ok());
    std::os::unix::fs::chown(etc.join("shadow"), Some(0), gid)?;
    std::os::unix::fs::chown(etc.join("gshadow"), Some(0), gid)
}

fn put(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Copies what everybody may read: links as links, no devices, nothing set-user-id.
fn copy_readable(from: &Path, to: &Path) -> io::Result<()> {
    let data = match fs::symlink_metadata(from) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if data.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if data.mode() & 0o004 == 0 {
        return Ok(());
    }
    if data.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy_readable(&from.join(&name), &to.join(&name))?;
        }
        sys::set_mode(to, data.mode() & 0o777)
    } else if data.is_file() {
        fs::write(to, fs::read(from)?)?;
        sys::set_mode(to, data.mode() & 0o777)
    } else {
        Ok(())
    }
}

fn make_usr_mask(mask: &Path) -> io::Result<()> {
    for directory in ["", "local", "local/etc"] {
        let path = mask.join(directory);
        fs::create_dir(&path)?;
        sys::set_mode(&path, 0o755)?;
    }
    sys::set_xattr(&mask.join("local/etc"), c"user.overlay.opaque", b"y")?;
    let sbin = if Path::new("/usr/sbin").is_symlink() { "bin" } else { "sbin" };
    fs::create_dir(mask.join(sbin))?;
    sys::set_mode(&mask.join(sbin), 0o755)?;
    let off = "#!/bin/sh\nkill -USR1 1\n";
    let again = "#!/bin/sh\nkill -USR2 1\n";
    let shutdown = "#!/bin/sh\nsignal=USR1\nfor option; do\n\
                    \t[ \"$option\" = -r ] && signal=USR2\ndone\nkill -$signal 1\n";
    for (name, script) in
        [("poweroff", off), ("halt", off), ("reboot", again), ("shutdown", shutdown)]
    {
        put(&mask.join(sbin).join(name), 0o755, script)?;
    }
    Ok(())
}

//! What a step of cloud-config does, with the image's own tools. An error says what could not be done.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::config::{Step, User, WriteFile};
use super::init;
use super::sys;
use crate::Spec;

type Result<T = (), E = String> = std::result::Result<T, E>;

/// First users of images, in the order in which they are looked for.
const DEFAULT_USERS: &[&str] = &[
    "ec2-user",
    "admin",
    "debian",
    "ubuntu",
    "fedora",
    "centos",
    "rocky",
    "almalinux",
    "alpine",
    "arch",
];

const SUDOERS: &str = "/etc/sudoers.d/90-cloud-init-users";

pub fn apply(step: &Step, spec: &Spec) -> Result {
    match step {
        Step::WriteFile(file) => {
            write_file(file).map_err(|why| format!("write_files, {}: {why}", file.path))
        }
        Step::MakeFileSystem { device, kind, label, overwrite } => {
            make_file_system(device, kind, label, *overwrite)
        }
        Step::Mount(fields) => note_mount(fields),
        Step::Hostname { name, fqdn } => set_hostname(name, fqdn.as_deref(), spec),
        Step::Group { name, members } => group(name, members),
        Step::DefaultUser => default_user()
            .map(drop)
            .ok_or_else(|| "users: this image has no default user".to_owned()),
        Step::User(user) => make_user(user).map_err(|why| format!("users, {}: {why}", user.name)),
        Step::Keys(keys) => {
            let user = default_user().unwrap_or_else(|| "root".to_owned());
            authorize_user(&user, keys)
        }
        Step::Password { user, password, hashed, expire } => {
            let user = match user.as_str() {
                "" => default_user().ok_or("password: this image has no default user")?,
                user => user.to_owned(),
            };
            set_password(&user, password, *hashed)?;
            match expire {
                true => succeed(tool("chage").args(["-d", "0", &user])),
                false => Ok(()),
            }
        }
        Step::PasswordLogins(on) => password_logins(*on),
        Step::Timezone(zone) => set_timezone(zone),
        Step::PackageUpdate => packages(&Wish::Update),
        Step::PackageUpgrade => packages(&Wish::Upgrade),
        Step::Packages(names) => packages(&Wish::Install(names)),
        Step::FinalMessage(message) => {
            println!("{}", final_message(message));
            Ok(())
        }
        Step::Power { mode, delay, message } => power(mode, delay, message.as_deref()),
    }
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().envs(init::usual_environment()).stdin(Stdio::null());
    command
}

/// Runs it with its output among the instance's.
pub fn succeed(command: &mut Command) -> Result {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn has(program: &str) -> bool {
    init::PATH.split(':').any(|directory| Path::new(directory).join(program).exists())
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

fn write_file(file: &WriteFile) -> Result {
    let path = Path::new(&file.path);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(text)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).write(true).mode(file.mode);
    let options = if file.append { options.append(true) } else { options.truncate(true) };
    let mut opened = options.open(path).map_err(text)?;
    opened.write_all(&file.content).map_err(text)?;
    opened.set_permissions(fs::Permissions::from_mode(file.mode)).map_err(text)?;
    if file.owner.is_empty() {
        return Ok(());
    }
    let (user, group) = file.owner.split_once(':').unwrap_or((&file.owner, ""));
    let uid = lookup("/etc/passwd", user)?;
    let gid = if group.is_empty() { None } else { lookup("/etc/group", group)? };
    chown(path, uid, gid).map_err(text)
}

/// The number of a user or a group.
fn lookup(table: &str, name: &str) -> Result<Option<u32>> {
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let lines = fs::read_to_string(table).map_err(text)?;
    let found = lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.map(Some).ok_or_else(|| format!("{name} is not in {table}"))
}

/// As cloud-init: what has a file system keeps it, unless it is to be overwritten.
fn make_file_system(device: &str, kind: &str, label: &str, overwrite: bool) -> Result {
    let present = tool("blkid").args(["-o", "value", "-s", "TYPE", device]).output();
    let present = present.map(|output| !output.stdout.trim_ascii().is_empty());
    if !overwrite && present.map_err(|error| format!("fs_setup: blkid: {error}"))? {
        println!("fs_setup: {device} has a file system, which is kept");
        return Ok(());
    }
    let mut command = tool(&format!("mkfs.{kind}"));
    match kind {
        "xfs" | "btrfs" => command.arg("-f"),
        "vfat" => &mut command,
        _ => command.arg("-F"),
    };
    if !label.is_empty() {
        command.args([if kind == "vfat" { "-n" } else { "-L" }, label]);
    }
    succeed(command.arg(device)).map_err(|why| format!("fs_setup, {device}: {why}"))
}

fn note_mount(fields: &[String; 6]) -> Result {
    let old = fs::read_to_string("/etc/fstab").unwrap_or_default();
    let same = |line: &str| line.split_whitespace().nth(1) == Some(&fields[1]);
    let mut lines: String =
        old.lines().filter(|line| !same(line)).map(|l| format!("{l}\n")).collect();
    let options = format!("{},comment=cloudconfig", fields[3]);
    let [device, place, kind, _, dump, check] = fields;
    lines += &format!("{device}\t{place}\t{kind}\t{options}\t{dump}\t{check}\n");
    fs::write("/etc/fstab", lines).map_err(|error| format!("mounts: /etc/fstab: {error}"))?;
    fs::create_dir_all(place).map_err(|error| format!("mounts: {place}: {error}"))
}

pub fn mount_all() -> Result {
    succeed(tool("mount").arg("-a")).map_err(|why| format!("mounts: {why}"))
}

fn set_hostname(name: &str, fqdn: Option<&str>, spec: &Spec) -> Result {
    let all = || {
        fs::write("/etc/hostname", format!("{name}\n"))?;
        init::write_hosts(fqdn.unwrap_or(name), spec)?;
        sys::set_hostname(name)
    };
    all().map_err(|error| format!("hostname: {error}"))
}

fn group(name: &str, members: &[String]) -> Result {
    if lookup("/etc/group", name).is_err() {
        let made = match has("groupadd") {
            true => succeed(tool("groupadd").arg(name)),
            false => succeed(tool("addgroup").arg(name)),
        };
        made.map_err(|why| format!("groups, {name}: {why}"))?;
    }
    members.iter().try_for_each(|member| join(member, name))
}

fn join(user: &str, group: &str) -> Result {
    let joined = match has("usermod") {
        true => succeed(tool("usermod").args(["-a", "-G", group, user])),
        false => succeed(tool("addgroup").args([user, group])),
    };
    joined.map_err(|why| format!("groups, {group}: {user}: {why}"))
}

fn make_user(user: &User) -> Result {
    let name = &user.name;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
        return Err("this cannot be a user's name".into());
    }
    if lookup("/etc/passwd", name).is_err() {
        create_user(user)?;
    }
    // Missing ones are made, as by cloud-init.
    for wanted in &user.groups {
        group(wanted, std::slice::from_ref(name))?;
    }
    match (&user.password, &user.hash) {
        (Some(password), _) => set_password(name, password, false)?,
        (None, Some(hash)) => set_password(name, hash, true)?,
        (None, None) => {}
    }
    if user.lock_password && user.password.is_none() && user.hash.is_some() {
        succeed(tool("usermod").args(["-L", name]))?;
    }
    if let Some(inactive) = &user.inactive {
        succeed(tool("usermod").args(["-f", inactive, name]))?;
    }
    if let Some(expires) = &user.expires {
        succeed(tool("usermod").args(["-e", expires, name]))?;
    }
    if !user.sudo.is_empty() {
        allow_sudo(name, &user.sudo)?;
    }
    match user.keys.as_slice() {
        [] => Ok(()),
        keys => authorize_user(name, keys),
    }
}

fn create_user(user: &User) -> Result {
    let mut command = match (has("useradd"), has("adduser")) {
        (true, _) => tool("useradd"),
        // BusyBox's.
        (false, true) => {
            let mut command = tool("adduser");
            if user.primary_group.is_some() || user.no_user_group {
                return Err("the image's adduser knows no groups of users".into());
            }
            command.arg("-D");
            for (option, value) in
                [("-g", &user.gecos), ("-h", &user.home), ("-s", &user.shell), ("-u", &user.uid)]
            {
                if let Some(value) = value {
                    command.args([option, value]);
                }
            }
            command.args(user.no_create_home.then_some("-H"));
            command.args(user.system.then_some("-S"));
            return succeed(command.arg(&user.name));
        }
        (false, false) => return Err("the image has neither useradd nor adduser".into()),
    };
    for (option, value) in [
        ("--comment", &user.gecos),
        ("--home-dir", &user.home),
        ("--shell", &user.shell),
        ("--uid", &user.uid),
        ("--gid", &user.primary_group),
    ] {
        if let Some(value) = value {
            command.args([option, value]);
        }
    }
    if let Some(primary) = &user.primary_group {
        group(primary, &[])?;
    }
    command.args(user.no_user_group.then_some("--no-user-group"));
    command.args(user.system.then_some("--system"));
    let home =
        if user.no_create_home || user.system { "--no-create-home" } else { "--create-home" };
    succeed(command.arg(home).arg(&user.name))
}

fn allow_sudo(user: &str, rules: &[String]) -> Result {
    fs::create_dir_all("/etc/sudoers.d").map_err(text)?;
    let old = fs::read_to_string(SUDOERS).unwrap_or_default();
    let mut options = OpenOptions::new();
    let mut file = options.create(true).append(true).mode(0o440).open(SUDOERS).map_err(text)?;
    for line in rules.iter().map(|rule| format!("{user} {rule}\n")) {
        if !old.contains(&line) {
            file.write_all(line.as_bytes()).map_err(text)?;
        }
    }
    Ok(())
}

fn set_password(user: &str, password: &str, hashed: bool) -> Result {
    let mut command = tool("chpasswd");
    command.args(hashed.then_some("-e")).stdin(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("chpasswd: {error}"))?;
    let line = format!("{user}:{password}\n");
    let written = child.stdin.take().map(|mut input| input.write_all(line.as_bytes()));
    let status = child.wait().map_err(text)?;
    match status.success() && written.is_some_and(|written| written.is_ok()) {
        true => Ok(()),
        false => Err(format!("the password of {user} was not set: chpasswd: {status}")),
    }
}

/// sshd takes the first value that it finds.
fn password_logins(on: bool) -> Result {
    let word = if on { "yes" } else { "no" };
    let line = format!("PasswordAuthentication {word}\n");
    let (directory, file) = ("/etc/ssh/sshd_config.d", "/etc/ssh/sshd_config");
    let old = fs::read_to_string(file).map_err(|error| format!("ssh_pwauth: {file}: {error}"))?;
    let written = match old.contains("sshd_config.d/") {
        true => fs::create_dir_all(directory)
            .and_then(|()| fs::write(format!("{directory}/50-cloud-init.conf"), line)),
        false => fs::write(file, line + &old),
    };
    written.map_err(|error| format!("ssh_pwauth: {error}"))?;
    // One that runs takes it at once; one that starts later finds it.
    let _ = tool("pkill").args(["-HUP", "-o", "-x", "sshd"]).status();
    Ok(())
}

fn set_timezone(zone: &str) -> Result {
    let file = Path::new("/usr/share/zoneinfo").join(zone);
    if zone.split('/').any(|part| part == "..") || !file.is_file() {
        return Err(format!("timezone: {} is not there", file.display()));
    }
    let all = || {
        let _ = fs::remove_file("/etc/localtime");
        symlink(&file, "/etc/localtime")?;
        fs::write("/etc/timezone", format!("{zone}\n"))
    };
    all().map_err(|error: std::io::Error| format!("timezone: {error}"))
}

enum Wish<'a> {
    Update,
    Upgrade,
    Install(&'a [(String, Option<String>)]),
}

/// Package tools: update, upgrade, install, and what is between a name and a version.
const TOOLS: &[(&str, &[&str], &[&str], &[&str], &str)] = &[
    ("apt-get", &["update", "-q"], &["dist-upgrade", "-q", "-y"], &["install", "-q", "-y"], "="),
    ("dnf", &["makecache"], &["upgrade", "-y"], &["install", "-y"], "-"),
    ("yum", &["makecache"], &["upgrade", "-y"], &["install", "-y"], "-"),
    ("apk", &["update"], &["upgrade"], &["add"], "="),
    ("zypper", &["-n", "refresh"], &["-n", "update"], &["-n", "install"], "="),
    ("pacman", &["-Sy"], &["-Su", "--noconfirm"], &["-S", "--noconfirm", "--needed"], "="),
];

fn packages(wish: &Wish<'_>) -> Result {
    let found = TOOLS.iter().find(|(name, ..)| has(name));
    let (name, update, upgrade, install, joint) =
        found.ok_or("packages: the image has no package tool that is known here")?;
    let run = |arguments: &[&str], more: &[String]| {
        let mut command = tool(name);
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments).args(more);
        succeed(&mut command).map_err(|why| format!("packages: {why}"))
    };
    match wish {
        Wish::Update => run(update, &[]),
        Wish::Upgrade => run(upgrade, &[]),
        Wish::Install(packages) => {
            let full = |(package, version): &(String, Option<String>)| match version {
                Some(version) => format!("{package}{joint}{version}"),
                None => package.clone(),
            };
            // Bare images have no lists; cloud-init updates them before it installs, too.
            if *name == "apt-get" && !lists_are_there() {
                run(update, &[])?;
            }
            run(install, &packages.iter().map(full).collect::<Vec<_>>())
        }
    }
}

fn lists_are_there() -> bool {
    let lists = fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    lists.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("Packages"))
}

fn final_message(message: &str) -> String {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime.split(' ').next().unwrap_or_default().to_owned();
    let now = std::time::SystemTime::now();
    let seconds =
        now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
    let mut message = message.to_owned();
    for (name, value) in [
        ("uptime", uptime.as_str()),
        ("version", concat!("drover ", env!("CARGO_PKG_VERSION"))),
        ("timestamp", &seconds),
        ("datasource", "DataSourceEc2"),
    ] {
        for form in
            [format!("${{{name}}}"), format!("${name}"), format!("${}", name.to_uppercase())]
        {
            message = message.replace(&form, value);
        }
    }
    message
}

/// Tells init, once the delay is over.
fn power(mode: &str, delay: &str, message: Option<&str>) -> Result {
    if let Some(message) = message {
        println!("{message}");
    }
    let systemd = Path::new("/run/systemd/private").exists();
    let signal = match (mode, systemd) {
        ("reboot", true) => "RTMIN+5",
        ("reboot", false) => "USR2",
        (_, true) => "RTMIN+4",
        (_, false) => "USR1",
    };
    let minutes: u64 = delay.trim_start_matches('+').parse().unwrap_or(0);
    let script = format!("sleep {}; kill -s {signal} 1", minutes * 60);
    let mut command = tool("setsid");
    command.args(["sh", "-c", &script]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop).map_err(|error| format!("power_state: {error}"))
}

/// The image's first user, if it has one.
pub fn default_user() -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let accounts: Vec<_> = passwd.lines().filter_map(init::account).collect();
    let named = DEFAULT_USERS.iter().find(|name| accounts.iter().any(|(user, ..)| user == *name));
    let first =
        || accounts.iter().find(|(_, uid, ..)| *uid == 1000).map(|(user, ..)| user.to_string());
    named.map(|name| (*name).to_owned()).or_else(first)
}

/// Lets these keys log in as root and, where the image has one, as its first user.
pub fn authorize(keys: &[String]) -> std::io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    for user in std::iter::once("root".to_owned()).chain(default_user()) {
        authorize_user(&user, keys).map_err(std::io::Error::other)?;
    }
    Ok(())
}

fn authorize_user(user: &str, keys: &[String]) -> Result {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let account = passwd.lines().filter_map(init::account).find(|(name, ..)| *name == user);
    let Some((_, uid, gid, home)) = account else {
        return Err(format!("ssh keys: there is no user {user}"));
    };
    let all = || {
        let directory = Path::new(home).join(".ssh");
        fs::create_dir_all(&directory)?;
        let path = directory.join("authorized_keys");
        let mut lines = fs::read_to_string(&path).unwrap_or_default();
        for key in keys.iter().map(|key| key.trim()) {
            if !lines.lines().any(|line| line == key) {
                lines += &format!("{key}\n");
            }
        }
        fs::write(&path, lines)?;
        sys::set_mode(&directory, 0o700)?;
        sys::set_mode(&path, 0o600)?;
        [Path::new(home), &directory, &path]
            .into_iter()
            .try_for_each(|path| chown(path, Some(uid), Some(gid)))
    };
    all().map_err(|error: std::io::Error| format!("ssh keys of {user}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_message_is_filled_in() {
        let message = final_message("up ${uptime} by $DATASOURCE at $timestamp");
        assert!(!message.contains('$'), "{message}");
        assert!(message.contains("DataSourceEc2"), "{message}");
    }
}

//! `#cloud-config`: what its keys ask for, as steps in cloud-init's order. A key that is not known here,
//! or has a form that is not, is refused in words; nothing is passed over.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::yaml::Value;

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Shell(String),
    Arguments(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct WriteFile {
    pub path: String,
    pub content: Vec<u8>,
    pub mode: u32,
    /// `user:group`, `user`, or nothing: root's.
    pub owner: String,
    pub append: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct User {
    pub name: String,
    pub gecos: Option<String>,
    pub home: Option<String>,
    pub no_create_home: bool,
    pub primary_group: Option<String>,
    pub no_user_group: bool,
    pub groups: Vec<String>,
    pub shell: Option<String>,
    pub system: bool,
    pub uid: Option<String>,
    pub sudo: Vec<String>,
    pub keys: Vec<String>,
    /// As in shadow(5).
    pub hash: Option<String>,
    pub password: Option<String>,
    pub lock_password: bool,
    pub inactive: Option<String>,
    pub expires: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    WriteFile(WriteFile),
    MakeFileSystem {
        device: String,
        kind: String,
        label: String,
        overwrite: bool,
    },
    /// The six fields of fstab(5).
    Mount([String; 6]),
    Hostname {
        name: String,
        fqdn: Option<String>,
    },
    Group {
        name: String,
        members: Vec<String>,
    },
    /// The image's default user.
    DefaultUser,
    User(User),
    /// Of the image's default user.
    Keys(Vec<String>),
    Password {
        user: String,
        password: String,
        hashed: bool,
        expire: bool,
    },
    PasswordLogins(bool),
    Timezone(String),
    PackageUpdate,
    PackageUpgrade,
    Packages(Vec<(String, Option<String>)>),
    FinalMessage(String),
    Power {
        mode: String,
        delay: String,
        message: Option<String>,
    },
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// At every boot, before all else.
    pub boot_commands: Vec<Command>,
    /// Once, in this order.
    pub steps: Vec<Step>,
    /// Files that wait for users and packages.
    pub deferred: Vec<Step>,
    /// Once, with the scripts.
    pub run_commands: Vec<Command>,
    /// Once, when all is done.
    pub last: Vec<Step>,
    pub refused: Vec<String>,
}

type Result<T> = std::result::Result<T, String>;

pub fn plan(config: &Value) -> Plan {
    let mut plan = Plan::default();
    let mut keys = Keys { left: config.map().unwrap_or_default().iter().collect(), prefix: "" };
    let mut refused = Vec::new();
    let mut take = |key: &str, read: &mut dyn FnMut(&Value) -> Result<()>| {
        if let Some(value) = keys.take(key).filter(|value| !value.is_null())
            && let Err(why) = read(value)
        {
            refused.push(format!("{key}: {why}"));
        }
    };
    let steps = &mut plan.steps;
    take("bootcmd", &mut |v| commands(v).map(|c| plan.boot_commands = c));
    take("write_files", &mut |v| {
        for file in v.list().ok_or("it must be a list")? {
            let (file, deferred) = write_file(file)?;
            let list = if deferred { &mut plan.deferred } else { &mut *steps };
            list.push(Step::WriteFile(file));
        }
        Ok(())
    });
    take("disk_setup", &mut |v| {
        for (device, disk) in v.map().ok_or("it must be a map")? {
            no_partitions(device, disk)?;
        }
        Ok(())
    });
    take("fs_setup", &mut |v| {
        for system in v.list().ok_or("it must be a list")? {
            steps.push(file_system(system)?);
        }
        Ok(())
    });
    take("mounts", &mut |v| {
        for mount in v.list().ok_or("it must be a list")? {
            steps.push(Step::Mount(mount_line(mount)?));
        }
        Ok(())
    });
    let (mut name, mut fqdn) = (None, None);
    take("hostname", &mut |v| text(v).map(|text| name = Some(text)));
    take("fqdn", &mut |v| text(v).map(|text| fqdn = Some(text)));
    let short = fqdn.as_ref().and_then(|fqdn: &String| fqdn.split('.').next().map(str::to_owned));
    if let Some(name) = name.or(short) {
        steps.push(Step::Hostname { name, fqdn });
    }
    take("groups", &mut |v| groups(v).map(|groups| steps.extend(groups)));
    take("users", &mut |v| users(v).map(|users| steps.extend(users)));
    take("ssh_authorized_keys", &mut |v| texts(v).map(|keys| steps.push(Step::Keys(keys))));
    take("ssh_pwauth", &mut |v| {
        let on = v.truth().ok_or("it must be true or false")?;
        steps.push(Step::PasswordLogins(on));
        Ok(())
    });
    take("password", &mut |v| {
        let password = text(v)?;
        steps.push(Step::Password { user: String::new(), password, hashed: false, expire: true });
        Ok(())
    });
    take("chpasswd", &mut |v| passwords(v, steps));
    take("timezone", &mut |v| text(v).map(|zone| steps.push(Step::Timezone(zone))));
    for (key, step) in [
        ("package_update", Step::PackageUpdate),
        ("apt_update", Step::PackageUpdate),
        ("package_upgrade", Step::PackageUpgrade),
        ("apt_upgrade", Step::PackageUpgrade),
    ] {
        take(key, &mut |v| {
            if v.truth().ok_or("it must be true or false")? {
                steps.push(step.clone());
            }
            Ok(())
        });
    }
    take("packages", &mut |v| {
        let packages = v.list().ok_or("it must be a list")?.iter().map(package);
        steps.push(Step::Packages(packages.collect::<Result<_>>()?));
        Ok(())
    });
    take("runcmd", &mut |v| commands(v).map(|c| plan.run_commands = c));
    take("final_message", &mut |v| text(v).map(|text| plan.last.push(Step::FinalMessage(text))));
    take("power_state", &mut |v| power(v).map(|step| plan.last.push(step)));
    plan.refused = refused;
    plan.refused.extend(keys.rest());
    plan
}

/// A map of which every key must be taken.
struct Keys<'a> {
    left: Vec<&'a (String, Value)>,
    prefix: &'a str,
}

impl<'a> Keys<'a> {
    fn of(value: &'a Value, prefix: &'a str) -> Result<Keys<'a>> {
        let entries = value.map().ok_or("an item must be a map")?;
        Ok(Keys { left: entries.iter().collect(), prefix })
    }

    fn take(&mut self, key: &str) -> Option<&'a Value> {
        let at = self.left.iter().position(|(name, _)| name == key)?;
        Some(&self.left.remove(at).1)
    }

    fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => text(value).map(Some).map_err(|why| format!("{key}: {why}")),
        }
    }

    fn needed(&mut self, key: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| format!("{key} is missing"))
    }

    fn truth(&mut self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.take(key).filter(|value| !value.is_null()) else { return Ok(None) };
        value.truth().map(Some).ok_or_else(|| format!("{key} must be true or false"))
    }

    fn texts(&mut self, key: &str) -> Result<Vec<String>> {
        self.take(key).filter(|v| !v.is_null()).map_or(Ok(Vec::new()), texts)
    }

    fn rest(&self) -> Vec<String> {
        let refuse = |entry: &&(String, Value)| {
            format!("{}{}: this key is not supported here", self.prefix, entry.0)
        };
        self.left.iter().map(refuse).collect()
    }

    fn done(self) -> Result<()> {
        match self.rest().as_slice() {
            [] => Ok(()),
            rest => Err(rest.join("; ")),
        }
    }
}

fn text(value: &Value) -> Result<String> {
    value.text().map(str::to_owned).ok_or_else(|| "it must be a text".to_owned())
}

/// A list of texts, or one with commas.
fn texts(value: &Value) -> Result<Vec<String>> {
    match (value.list(), value.text()) {
        (Some(items), _) => items.iter().map(text).collect(),
        (None, Some(line)) => Ok(line
            .split(',')
            .map(|item| item.trim().to_owned())
            .filter(|i| !i.is_empty())
            .collect()),
        _ => Err("it must be a list".into()),
    }
}

fn commands(value: &Value) -> Result<Vec<Command>> {
    let one = |item: &Value| match item {
        item if item.is_null() => Ok(None),
        Value::List(_) => Ok(Some(Command::Arguments(texts(item)?))),
        Value::Scalar { text, .. } => Ok(Some(Command::Shell(text.clone()))),
        Value::Map(_) => Err("a command must be a text or a list".to_owned()),
    };
    let items = value.list().ok_or("it must be a list")?;
    items.iter().filter_map(|item| one(item).transpose()).collect()
}

fn write_file(value: &Value) -> Result<(WriteFile, bool)> {
    let mut keys = Keys::of(value, "")?;
    let path = keys.needed("path")?;
    if !path.starts_with('/') {
        return Err(format!("{path}: the path must be absolute"));
    }
    let encoding = keys.text("encoding")?.unwrap_or_default().to_ascii_lowercase();
    let text = keys.text("content")?.unwrap_or_default();
    let content = decode(&encoding, &text).map_err(|why| format!("{path}: {why}"))?;
    let mode = keys.take("permissions").filter(|v| !v.is_null()).map_or(Ok(0o644), mode)?;
    let owner = keys.text("owner")?.unwrap_or_default();
    let append = keys.truth("append")?.unwrap_or(false);
    let deferred = keys.truth("defer")?.unwrap_or(false);
    keys.done()?;
    Ok((WriteFile { path, content, mode, owner, append }, deferred))
}

fn decode(encoding: &str, text: &str) -> Result<Vec<u8>> {
    let unpack =
        |data: &[u8]| super::parts::gunzip_exactly(data).ok_or("broken gzip data".to_owned());
    let base64 = || {
        let packed: String = text.split_ascii_whitespace().collect();
        STANDARD.decode(packed).map_err(|error| error.to_string())
    };
    match encoding {
        "" | "text/plain" => Ok(text.as_bytes().to_vec()),
        "b64" | "base64" => base64(),
        "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => unpack(&base64()?),
        other => Err(format!("encoding {other} is not known")),
    }
}

/// `'0644'`, and `0644` as YAML 1.1 has it. A number in decimal is one.
fn mode(value: &Value) -> Result<u32> {
    let Value::Scalar { text, plain } = value else {
        return Err("permissions must be a text".into());
    };
    let octal = text.strip_prefix("0o").unwrap_or(text);
    let radix = if *plain && !text.starts_with('0') { 10 } else { 8 };
    let mode = u32::from_str_radix(octal, radix).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("permissions {text} are none"))
}

/// Partitions of a volume never appear in an instance, so that only a disk of none can be asked for.
fn no_partitions(device: &str, value: &Value) -> Result<()> {
    match value.get("layout") {
        None => Ok(()),
        Some(layout) if layout.truth() == Some(false) => Ok(()),
        Some(_) => Err(format!(
            "{device}: partitions do not appear in an instance; use the whole device (layout: false)"
        )),
    }
}

fn file_system(value: &Value) -> Result<Step> {
    let mut keys = Keys::of(value, "")?;
    let device = keys.needed("device")?;
    let kind = keys.needed("filesystem")?;
    if !kind.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(format!("{device}: file system {kind}"));
    }
    let label = keys.text("label")?.unwrap_or_default();
    let overwrite = keys.truth("overwrite")?.unwrap_or(false);
    match keys.text("partition")?.as_deref() {
        None | Some("none" | "auto" | "any") => {}
        Some(other) => {
            return Err(format!("{device}: there is no partition {other}; use the whole device"));
        }
    }
    keys.done()?;
    Ok(Step::MakeFileSystem { device, kind, label, overwrite })
}

/// cloud-init's defaults for what is not said.
fn mount_line(value: &Value) -> Result<[String; 6]> {
    let given = texts(value)?;
    if given.len() < 2 || given.len() > 6 {
        return Err("a mount has two to six fields".into());
    }
    if given.iter().any(|field| field.contains(['\n', '\t'])) {
        return Err("a field of a mount holds a line's end".into());
    }
    if given.get(2).is_some_and(|kind| kind == "swap") || given[1] == "swap" {
        return Err("an instance has no swap space".into());
    }
    let usual = ["", "", "auto", "defaults,nofail", "0", "2"].map(str::to_owned);
    let mut fields = usual;
    for (field, given) in fields.iter_mut().zip(given) {
        *field = given;
    }
    if !fields[0].starts_with('/') && !fields[0].contains(['=', ':']) {
        fields[0] = format!("/dev/{}", fields[0]);
    }
    Ok(fields)
}

fn groups(value: &Value) -> Result<Vec<Step>> {
    let group = |name: &str, members: Vec<String>| Step::Group { name: name.to_owned(), members };
    let of_map = |entries: &[(String, Value)]| -> Result<Vec<Step>> {
        entries.iter().map(|(name, members)| Ok(group(name, texts(members)?))).collect()
    };
    match value {
        Value::Map(entries) => of_map(entries),
        Value::List(items) => {
            let mut steps = Vec::new();
            for item in items {
                match item {
                    Value::Map(entries) => steps.extend(of_map(entries)?),
                    item => steps.push(group(&text(item)?, Vec::new())),
                }
            }
            Ok(steps)
        }
        value => Ok(texts(value)?.iter().map(|name| group(name, Vec::new())).collect()),
    }
}

fn users(value: &Value) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for item in value.list().ok_or("it must be a list")? {
        match item.text() {
            Some("default") => steps.push(Step::DefaultUser),
            Some(name) => steps.push(Step::User(User {
                name: name.to_owned(),
                lock_password: true,
                ..User::default()
            })),
            None => steps.push(Step::User(user(item)?)),
        }
    }
    Ok(steps)
}

fn user(value: &Value) -> Result<User> {
    let mut keys = Keys::of(value, "")?;
    let name = keys.needed("name")?;
    let sudo = match keys.take("sudo") {
        None => Vec::new(),
        Some(value) if value.is_null() || value.truth() == Some(false) => Vec::new(),
        Some(Value::List(rules)) => rules.iter().map(text).collect::<Result<_>>()?,
        Some(rule) => vec![text(rule)?],
    };
    let mut keys_of = keys.texts("ssh_authorized_keys")?;
    keys_of.extend(keys.texts("ssh-authorized-keys")?);
    let hash = keys.text("hashed_passwd")?.or(keys.text("passwd")?);
    let user = User {
        gecos: keys.text("gecos")?,
        home: keys.text("homedir")?,
        no_create_home: keys.truth("no_create_home")?.unwrap_or(false),
        primary_group: keys.text("primary_group")?.or(keys.text("primary-group")?),
        no_user_group: keys.truth("no_user_group")?.unwrap_or(false),
        groups: keys.texts("groups")?,
        shell: keys.text("shell")?,
        system: keys.truth("system")?.unwrap_or(false),
        uid: keys.text("uid")?,
        sudo,
        keys: keys_of,
        hash,
        password: keys.text("plain_text_passwd")?,
        lock_password: keys.truth("lock_passwd")?.unwrap_or(true),
        inactive: keys.text("inactive")?,
        expires: keys.text("expiredate")?,
        name,
    };
    let name = user.name.clone();
    keys.done().map_err(|why| format!("{name}: {why}"))?;
    Ok(user)
}

fn passwords(value: &Value, steps: &mut Vec<Step>) -> Result<()> {
    let mut keys = Keys::of(value, "")?;
    let expire = keys.truth("expire")?.unwrap_or(true);
    let (list, users) = (keys.take("list"), keys.take("users"));
    keys.done()?;
    let mut add = |user: String, password: String, hashed: bool| {
        steps.push(Step::Password { user, password, hashed, expire });
    };
    let lines = match list {
        None => Vec::new(),
        Some(Value::List(items)) => items.iter().map(text).collect::<Result<_>>()?,
        Some(value) => text(value)?.lines().map(str::to_owned).collect(),
    };
    for line in lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()) {
        let (user, password) = line.split_once(':').ok_or("a line must be user:password")?;
        if matches!(password, "R" | "RANDOM") {
            return Err("random passwords are not made here".into());
        }
        let hashed = password.starts_with("$") && password.matches('$').count() >= 3;
        add(user.to_owned(), password.to_owned(), hashed);
    }
    for item in users.and_then(Value::list).unwrap_or_default() {
        let mut keys = Keys::of(item, "")?;
        let (user, password) = (keys.needed("name")?, keys.needed("password")?);
        let kind = keys.text("type")?.unwrap_or_else(|| "hash".into());
        keys.done()?;
        match kind.as_str() {
            "hash" | "text" => add(user, password, kind == "hash"),
            other => return Err(format!("passwords of type {other} are not made here")),
        }
    }
    Ok(())
}

fn package(value: &Value) -> Result<(String, Option<String>)> {
    let checked = |name: String| match name.starts_with('-') || name.contains(char::is_whitespace) {
        true => Err(format!("{name:?} is no package")),
        false => Ok(name),
    };
    match value.list() {
        None => Ok((checked(text(value)?)?, None)),
        Some([name, version]) => Ok((checked(text(name)?)?, Some(checked(text(version)?)?))),
        Some(_) => Err("a package is a name, or a name and a version".into()),
    }
}

fn power(value: &Value) -> Result<Step> {
    let mut keys = Keys::of(value, "")?;
    let mode = keys.needed("mode")?;
    if !["poweroff", "halt", "reboot"].contains(&mode.as_str()) {
        return Err(format!("mode {mode}"));
    }
    let delay = keys.text("delay")?.unwrap_or_else(|| "now".into());
    let minutes = delay.strip_prefix('+').unwrap_or(&delay);
    if delay != "now" && minutes.parse::<u32>().is_err() {
        return Err(format!("delay {delay}"));
    }
    let message = keys.text("message")?;
    keys.done()?;
    Ok(Step::Power { mode, delay, message })
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    fn planned(text: &str) -> Plan {
        plan(&parse(text).unwrap())
    }

    #[test]
    fn keys_become_steps_in_cloud_init_s_order() {
        let plan = planned(
            "packages: [nginx, [curl, 7.1]]\npackage_update: true\nruncmd:\n- [ls, -l, 5]\n- echo a\n\
             bootcmd: [echo b]\nhostname: web\nfqdn: web.example.com\ntimezone: Europe/Berlin\n\
             final_message: done\nwrite_files:\n- {path: /a, content: x, permissions: '0600', owner: 'a:b'}\n\
             - {path: /b, encoding: b64, content: eA==, permissions: 0755, append: yes, defer: true}\n",
        );
        assert_eq!(plan.refused, [""; 0]);
        let arguments = ["ls", "-l", "5"].map(str::to_owned).to_vec();
        let shell = |text: &str| Command::Shell(text.into());
        assert_eq!(plan.run_commands, [Command::Arguments(arguments), shell("echo a")]);
        assert_eq!(plan.boot_commands, [shell("echo b")]);
        let file = |path: &str, mode, owner: &str, append| {
            let (path, owner) = (path.to_owned(), owner.to_owned());
            Step::WriteFile(WriteFile { path, content: b"x".to_vec(), mode, owner, append })
        };
        assert_eq!(
            plan.steps,
            [
                file("/a", 0o600, "a:b", false),
                Step::Hostname { name: "web".into(), fqdn: Some("web.example.com".into()) },
                Step::Timezone("Europe/Berlin".into()),
                Step::PackageUpdate,
                Step::Packages(vec![("nginx".into(), None), ("curl".into(), Some("7.1".into()))]),
            ]
        );
        assert_eq!(plan.deferred, [file("/b", 0o755, "", true)]);
        assert_eq!(plan.last, [Step::FinalMessage("done".into())]);
    }

    #[test]
    fn users_and_disks() {
        let plan = planned(
            "users:\n- default\n- name: bob\n  sudo: ALL=(ALL) NOPASSWD:ALL\n  groups: adm, sudo\n\
            \x20 ssh_authorized_keys: [k1]\n  shell: /bin/bash\n\
             disk_setup:\n  /dev/xvdf: {table_type: gpt, layout: false}\n\
             fs_setup: [{device: /dev/xvdf, partition: none, filesystem: ext4, label: data}]\n\
             mounts: [[xvdf, /data], [tmpfs, /fast, tmpfs]]\n",
        );
        assert_eq!(plan.refused, [""; 0]);
        let Step::User(bob) = plan.steps.last().unwrap() else { panic!("{plan:?}") };
        assert_eq!((bob.groups.len(), bob.keys.len(), bob.lock_password), (2, 1, true));
        assert!(plan.steps.contains(&Step::DefaultUser));
        let mount = ["/dev/xvdf", "/data", "auto", "defaults,nofail", "0", "2"].map(str::to_owned);
        assert!(plan.steps.contains(&Step::Mount(mount)));
        assert!(plan.steps.contains(&Step::MakeFileSystem {
            device: "/dev/xvdf".into(),
            kind: "ext4".into(),
            label: "data".into(),
            overwrite: false
        }));
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        for (text, word) in [
            ("snap: {}", "snap: this key"),
            ("write_files: [{path: /a, source: {uri: x}}]", "source: this key"),
            ("write_files: [{path: a}]", "absolute"),
            ("write_files: [{path: /a, encoding: rot13}]", "rot13"),
            ("users: [{name: a, snapuser: b}]", "a: snapuser"),
            ("disk_setup: {/dev/xvdf: {layout: true}}", "partitions"),
            ("mounts: [[a]]", "fields"),
            ("mounts: [[swap.img, none, swap]]", "swap"),
            ("power_state: {mode: sleep}", "mode sleep"),
            ("runcmd: ls", "list"),
            ("packages: ['--download-only']", "no package"),
        ] {
            let plan = planned(text);
            assert!(plan.refused.iter().any(|why| why.contains(word)), "{text}: {plan:?}");
        }
    }
}

//! Drover's first-boot agent, for images without cloud-init: acts on user data as cloud-init does, in an
//! own process inside the instance.
//!
//! ```text
//!  init ─fork─► agent: copies output to the console and the log
//!                 └fork─► worker: reads the parts, then
//!                           every boot   boothooks, bootcmd
//!                           once         files, disks, names, users, packages …   (config.rs, apply.rs)
//!                           every boot   /var/lib/cloud/scripts/per-boot
//!                           once         per-instance, the scripts, runcmd, final_message
//! ```
//!
//! What "once" is about is the instance's id: /var/lib/cloud/instances/ID. It is marked before it is
//! done: what fails half-way is not done again either. Whatever cannot be done is said on the console,
//! and the result is not zero.

mod apply;
mod config;
mod parts;
mod yaml;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use self::config::Plan;
use self::parts::Part;
use super::init::{self, say};
use super::sys::{self, Forked};
use super::within;
use crate::Spec;

const LOG: &str = "/var/log/cloud-init-output.log";
/// When the agent got how far at this boot: lines of a word and microseconds.
const TIMES: &str = "/run/drover/first-boot";
const CLOUD: &str = "/var/lib/cloud";

/// How long the image's init may take until services can be started.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where what is once in the life of an instance is kept.
fn home(spec: &Spec) -> PathBuf {
    Path::new(CLOUD).join("instances").join(&spec.id)
}

/// Whether this root was never booted as this instance.
pub fn is_first(spec: &Spec) -> bool {
    !home(spec).join("sem/config_scripts_user.once").exists()
}

/// Lets the keys in, and leaves user data to an agent. To be called at every boot, by a process with one
/// thread.
pub fn start(spec: &Spec, systemd: bool) -> io::Result<()> {
    let home = home(spec);
    fs::create_dir_all(home.join("sem"))?;
    let current = Path::new(CLOUD).join("instance");
    let _ = fs::remove_file(&current);
    symlink(&home, current)?;
    let mark = home.join("sem/config_scripts_user.once");
    let marked = OpenOptions::new().write(true).create_new(true).open(mark);
    let first = match marked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        result => result.map(|_| true)?,
    };
    if first {
        apply::authorize(&spec.ssh_keys)?;
    }
    if spec.user_data.is_none() && scripts_in(Path::new(CLOUD)).is_empty() {
        if first {
            File::create(home.join("boot-finished"))?;
        }
        return Ok(());
    }
    match sys::fork()? {
        Forked::Parent(_) => Ok(()),
        Forked::Child => agent(spec, &home, first, systemd),
    }
}

/// Whether anything is in /var/lib/cloud/scripts.
fn scripts_in(cloud: &Path) -> Vec<PathBuf> {
    ["per-boot", "per-instance", "per-once"]
        .iter()
        .flat_map(|when| executables(&cloud.join("scripts").join(when)))
        .collect()
}

fn executables(directory: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| {
            entry.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

fn agent(spec: &Spec, home: &Path, first: bool, systemd: bool) -> ! {
    sys::close_all_but(&[0, 1, 2]);
    sys::setsid();
    // Init blocks what it waits for, and a mask is inherited.
    sys::unblock_signals();
    sys::default_signals(&(1..32).collect::<Vec<_>>());
    sys::set_title("drover-first-boot");
    if let Err(error) = watch(spec, home, first, systemd) {
        say(&format!("first boot: {error}"));
    }
    sys::exit(0)
}

/// Runs the worker and copies what it and its children write, as long as any of them may.
fn watch(spec: &Spec, home: &Path, first: bool, systemd: bool) -> io::Result<()> {
    fs::create_dir_all("/var/log")?;
    let mut log = OpenOptions::new().append(true).create(true).mode(0o640).open(LOG)?;
    let (reader, writer) = io::pipe()?;
    let worker = match sys::fork()? {
        Forked::Child => {
            let null = File::open("/dev/null").and_then(|null| sys::dup_to(null.as_fd(), 0));
            let ends = sys::dup_to(writer.as_fd(), 1).and_then(|()| sys::dup_to(writer.as_fd(), 2));
            sys::close_all_but(&[0, 1, 2]);
            let worker = Worker { spec, home, first, systemd, failures: Vec::new() };
            sys::exit(if null.is_ok() && ends.is_ok() { worker.run() } else { 1 })
        }
        Forked::Parent(pid) => pid,
    };
    drop(writer);
    // What others say while they shut down is heard to the end; a closed pipe would kill them.
    sys::ignore_signals(&[libc::SIGTERM, libc::SIGHUP]);
    let (reader, pidfd) = (OwnedFd::from(reader), sys::pidfd_open(worker)?);
    sys::set_nonblocking(reader.as_fd())?;
    // SAFETY: descriptor 1 is the console and stays open.
    let console = unsafe { std::os::fd::BorrowedFd::borrow_raw(1) };
    let mut buffer = vec![0; 16 * 1024];
    let mut times = format!("begun {}\n", sys::realtime_us());
    let note = |times: &str| {
        let _ = fs::create_dir_all("/run/drover").and_then(|()| fs::write(TIMES, times));
    };
    note(&times);
    let mut silent = true;
    let (mut open, mut runs) = (true, true);
    while open {
        let none = libc::pollfd { fd: -1, events: 0, revents: 0 };
        let mut fds = [sys::pollfd(&reader), if runs { sys::pollfd(&pidfd) } else { none }];
        sys::poll(&mut fds, -1)?;
        loop {
            match sys::read(reader.as_fd(), &mut buffer) {
                Ok(n) if n > 0 => {
                    if std::mem::take(&mut silent) {
                        times += &format!("first {}\n", sys::realtime_us());
                        note(&times);
                    }
                    let _ = log.write_all(&buffer[..n]);
                    let _ = sys::write_all(console, &buffer[..n]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                _ => {
                    open = false;
                    break;
                }
            }
        }
        if runs && (fds[1].revents != 0 || !open) {
            runs = false;
            times += &format!("ended {}\n", sys::realtime_us());
            note(&times);
            ended(sys::wait(worker)?, home, first);
        }
    }
    Ok(())
}

fn ended(status: libc::c_int, home: &Path, first: bool) {
    match std::process::ExitStatus::from_raw(status).code() {
        // Nothing was there to be run.
        Some(NOTHING) => {}
        Some(code) => say(&format!("user data ended with exit status {code}")),
        None => say(&format!("user data was ended by signal {}", libc::WTERMSIG(status))),
    }
    if first {
        let _ = File::create(home.join("boot-finished"));
    }
}

/// A worker's exit status that no script's result is mapped to.
const NOTHING: i32 = 254;

struct Worker<'a> {
    spec: &'a Spec,
    home: &'a Path,
    first: bool,
    systemd: bool,
    /// Exit statuses that are not zero.
    failures: Vec<i32>,
}

impl Worker<'_> {
    fn run(mut self) -> i32 {
        let data = self.spec.user_data.as_deref().unwrap_or_default();
        if self.systemd
            && let Err(why) = services()
        {
            self.fail(&format!("user data waits in vain for services: {why}"));
        }
        let save = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.home.join("user-data.txt"));
        if let Err(error) = save.and_then(|mut file| file.write_all(data)) {
            self.fail(&format!("user-data.txt: {error}"));
        }
        let found = parts::read(data, &mut fetch);
        if self.first {
            for why in &found.refused {
                self.fail(why);
            }
            if found.left {
                println!("drover: user data is of no format that is run; it is left to be read");
            }
        }
        let mut config: Option<yaml::Value> = None;
        for part in &found.parts {
            match part {
                Part::CloudConfig(more) => match &mut config {
                    Some(config) => config.merge(more.clone()),
                    None => config = Some(more.clone()),
                },
                Part::Boothook(hook) => self.part("boothooks", "part", hook),
                Part::Script(_) | Part::PerBoot(_) => {}
            }
        }
        let plan = config.as_ref().map(config::plan).unwrap_or_default();
        if !plan.boot_commands.is_empty() {
            self.part("boothooks", "bootcmd", &shell_script(&plan.boot_commands));
        }
        if self.first {
            self.once(&plan);
        } else if !self.systemd
            && plan.steps.iter().any(|step| matches!(step, config::Step::Mount(_)))
        {
            self.step(apply::mount_all());
        }
        self.scripts(&found.parts, &plan);
        let idle = found.parts.is_empty()
            && self.failures.is_empty()
            && scripts_in(Path::new(CLOUD)).is_empty();
        let nothing_new =
            !self.first && self.failures.is_empty() && !every_boot(&found.parts, &plan);
        if idle || nothing_new {
            return NOTHING;
        }
        match self.failures.as_slice() {
            [] => 0,
            [one] => *one,
            _ => 1,
        }
    }

    fn fail(&mut self, why: &str) {
        println!("drover: {why}");
        self.failures.push(1);
    }

    fn step(&mut self, result: Result<(), String>) {
        if let Err(why) = result {
            self.fail(&why);
        }
    }

    fn once(&mut self, plan: &Plan) {
        for why in &plan.refused {
            self.fail(why);
        }
        let mut mounts = false;
        for step in plan.steps.iter().chain(&plan.deferred) {
            mounts |= matches!(step, config::Step::Mount(_));
            self.step(apply::apply(step, self.spec));
        }
        if mounts {
            self.step(apply::mount_all());
        }
    }

    fn scripts(&mut self, parts: &[Part], plan: &Plan) {
        let scripts = Path::new(CLOUD).join("scripts");
        if self.first && once_ever("scripts_per_once") {
            self.directory(&scripts.join("per-once"));
        }
        self.directory(&scripts.join("per-boot"));
        for part in parts {
            if let Part::PerBoot(script) = part {
                self.part("scripts-per-boot", "part", script);
            }
        }
        if !self.first {
            return;
        }
        self.directory(&scripts.join("per-instance"));
        for part in parts {
            if let Part::Script(script) = part {
                self.part("scripts", "part", script);
            }
        }
        if !plan.run_commands.is_empty() {
            self.part("scripts", "runcmd", &shell_script(&plan.run_commands));
        }
        for step in &plan.last {
            self.step(apply::apply(step, self.spec));
        }
    }

    fn directory(&mut self, directory: &Path) {
        for path in executables(directory) {
            self.execute(&path);
        }
    }

    /// Writes a script beside the others of its kind and runs it.
    fn part(&mut self, kind: &str, name: &str, script: &[u8]) {
        let directory = self.home.join(kind);
        let path = match name {
            "part" => (1..)
                .map(|n| directory.join(format!("part-{n:03}")))
                .find(|path| !path.exists() || !self.first)
                .expect("there is always another number"),
            name => directory.join(name),
        };
        let written = fs::create_dir_all(&directory).and_then(|()| {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o700).open(&path)?;
            file.write_all(script)
        });
        match written {
            Ok(()) => self.execute(&path),
            Err(error) => self.fail(&format!("{}: {error}", path.display())),
        }
    }

    fn execute(&mut self, path: &Path) {
        let mut command = Command::new(path);
        command
            .env_clear()
            .envs(init::usual_environment())
            .envs(&self.spec.env)
            .env("INSTANCE_ID", &self.spec.id)
            .current_dir("/")
            .stdin(Stdio::null());
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                let signal = 128 + status.signal().unwrap_or_default();
                self.failures.push(status.code().unwrap_or(signal));
            }
            Err(error) => {
                self.fail(&format!("user data, {}: {error}", path.display()));
            }
        }
    }
}

/// How far user data got in the instance of this process, by what its agent or cloud-init notes there.
pub fn marks(pid: i32) -> Vec<(String, u64)> {
    let Ok(root) = File::open(format!("/proc/{pid}/root")) else { return Vec::new() };
    let read = |path: &str| within::read_within(root.as_fd(), path).unwrap_or_default();
    let mut marks = agent_marks(&read(TIMES));
    marks.extend(cloud_init_marks(&read("/run/cloud-init/status.json")));
    marks
}

fn agent_marks(text: &str) -> Vec<(String, u64)> {
    let mark = |line: &str| {
        let (word, at) = line.split_once(' ')?;
        let what = match word {
            "begun" => "user data begins",
            "first" => "first line of user data",
            "ended" => "user data done",
            _ => return None,
        };
        Some((what.to_owned(), at.parse().ok()?))
    };
    text.lines().filter_map(mark).collect()
}

/// Seconds since the epoch, as fractions, for each of its stages.
fn cloud_init_marks(status: &str) -> Vec<(String, u64)> {
    let status: serde_json::Value = serde_json::from_str(status).unwrap_or_default();
    let at = |stage: &str, end: &str| status["v1"][stage][end].as_f64().filter(|at| *at > 0.0);
    [
        ("init-local", "start", "cloud-init begins"),
        ("modules-final", "start", "cloud-init's final stage begins, with user data"),
        ("modules-final", "finished", "user data done"),
    ]
    .into_iter()
    .filter_map(|(stage, end, what)| Some((what.to_owned(), (at(stage, end)? * 1e6) as u64)))
    .collect()
}

/// Whether something of it is done at every boot.
fn every_boot(parts: &[Part], plan: &Plan) -> bool {
    !plan.boot_commands.is_empty()
        || parts.iter().any(|part| matches!(part, Part::Boothook(_) | Part::PerBoot(_)))
        || !executables(&Path::new(CLOUD).join("scripts/per-boot")).is_empty()
}

/// Whether this was never done on this root, by whatever instance.
fn once_ever(name: &str) -> bool {
    let directory = Path::new(CLOUD).join("sem");
    let mark = directory.join(format!("config_{name}.once"));
    let made = fs::create_dir_all(directory)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).open(mark));
    made.is_ok()
}

/// As cloud-init makes a script of commands.
fn shell_script(commands: &[config::Command]) -> Vec<u8> {
    let quoted = |argument: &String| format!("'{}'", argument.replace('\'', "'\\''"));
    let line = |command: &config::Command| match command {
        config::Command::Shell(line) => line.clone(),
        config::Command::Arguments(arguments) => {
            arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
        }
    };
    let lines: Vec<String> = commands.iter().map(line).collect();
    format!("#!/bin/sh\n{}\n", lines.join("\n")).into_bytes()
}

/// Waits until systemd can be asked to start services.
fn services() -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    while !Path::new("/run/systemd/private").exists() {
        if Instant::now() > until {
            return Err("systemd does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let env: BTreeMap<String, String> = init::usual_environment();
    apply::succeed(Command::new("systemctl").args(["start", "basic.target"]).env_clear().envs(env))
}

/// With what the image has for it.
fn fetch(address: &str) -> Result<Vec<u8>, String> {
    if !address.starts_with("http://") && !address.starts_with("https://") {
        return Err("only http and https are fetched".into());
    }
    let python = "import sys,urllib.request as u; \
                  sys.stdout.buffer.write(u.urlopen(sys.argv[1], timeout=30).read())";
    let ways: [(&str, &[&str]); 3] = [
        ("curl", &["--fail", "--silent", "--show-error", "--location", "--max-time", "60", "--"]),
        ("wget", &["-q", "-O", "-", "--"]),
        ("python3", &["-c", python]),
    ];
    for (program, arguments) in ways {
        let mut command = Command::new(program);
        command.args(arguments).arg(address).env_clear().envs(init::usual_environment());
        match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => return Ok(output.stdout),
            Ok(output) => {
                return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{program}: {error}")),
        }
    }
    Err("the image has no curl, wget or python3 to fetch it with".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_what_the_guest_notes() {
        let marks = agent_marks("begun 1\nfirst 2\nnoise\nended 3\nended x\n");
        assert_eq!(marks.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [1, 2, 3]);
        let status = r#"{"v1": {"init-local": {"start": 1.5}, "modules-final": {"start": null}}}"#;
        assert_eq!(cloud_init_marks(status), [("cloud-init begins".to_owned(), 1_500_000)]);
        assert_eq!(cloud_init_marks("nonsense"), []);
    }

    #[test]
    fn commands_become_a_script() {
        let commands = [
            config::Command::Shell("echo $HOME | cat".into()),
            config::Command::Arguments(vec!["echo".into(), "it's".into(), "$HOME".into()]),
        ];
        let script = String::from_utf8(shell_script(&commands)).unwrap();
        assert_eq!(script, "#!/bin/sh\necho $HOME | cat\n'echo' 'it'\\''s' '$HOME'\n");
    }
}

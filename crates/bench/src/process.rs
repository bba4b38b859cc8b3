//! Processes under measurement: started, ended whatever happens, and looked at through /proc.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// A child that ends when this is dropped: asked first, killed if it does not.
pub struct Running {
    pub child: Child,
}

impl Running {
    /// In a process group of its own, so that Ctrl-C reaches only this program, which then ends
    /// everything in order.
    pub fn start(command: &mut Command) -> Result<Running> {
        let child = command.process_group(0).spawn();
        let child = child.with_context(|| format!("cannot start {command:?}"))?;
        Ok(Running { child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn end(&mut self, patience: Duration) {
        let Ok(None) = self.child.try_wait() else { return };
        // Not waited for yet, so the pid is still this child's. A shell that fails: killed below.
        let _ = Command::new("sh").args(["-c", &format!("kill {}", self.pid())]).status();
        let deadline = Instant::now() + patience;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(Duration::from_secs(5));
    }
}

/// The children, their children, and so on, of a process.
pub fn descendants(pid: u32) -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(parent) = stat(child).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut found = Vec::new();
    let mut of = vec![pid];
    while let Some(pid) = of.pop() {
        let children = children.remove(&pid).unwrap_or_default();
        found.extend(&children);
        of.extend(children);
    }
    Ok(found)
}

/// The fields of /proc/PID/stat after the name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = text.rsplit(')').next()?.split_whitespace();
    Some(fields.map(str::to_owned).collect())
}

/// User and system time of a process and all its threads.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let fields = stat(pid).with_context(|| format!("process {pid} is gone"))?;
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    Ok(Duration::from_millis(ticks.context("an odd /proc/PID/stat")? * 10))
}

/// Proportional set size in KiB: what is shared counts in parts. 0 for a process that is gone.
pub fn pss_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    field_kib(&rollup, "Pss:").unwrap_or(0)
}

pub fn title(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()
}

/// What programs could still allocate on this host without swapping.
pub fn available_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    field_kib(&text, "MemAvailable:").ok_or_else(|| anyhow!("/proc/meminfo lacks MemAvailable"))
}

fn field_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

//! Under what circumstances was measured: without these a figure means nothing.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::Options;

pub fn describe(options: &Options) -> Result<Vec<String>> {
    let date = first_line("date", &["+%Y-%m-%d %H:%M %Z"]).unwrap_or_default();
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let cpu =
        cpu.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory: u64 = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .context("/proc/meminfo is odd")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load: f64 = load.split(' ').next().unwrap_or_default().parse()?;
    let root = options.root.to_string_lossy();
    let commit = first_line("git", &["-C", &root, "describe", "--always", "--dirty"]);
    let mut lines = vec![
        format!(
            "{date}; {} at commit {}; {}",
            first_line(&options.program("drover").to_string_lossy(), &["--version"])
                .unwrap_or_else(|| "drover".into()),
            commit.unwrap_or_else(|| "unknown".into()),
            first_line("rustc", &["--version"]).unwrap_or_default()
        ),
        format!(
            "{} cores of {}, {:.0} GiB of memory, Linux {}",
            cores(),
            cpu.unwrap_or("an unnamed CPU"),
            memory as f64 / 1024.0 / 1024.0,
            kernel.trim()
        ),
        format!("load average at the start: {load:.2}"),
        format!("command: `cargo xtask bench{}`", if options.quick { " --quick" } else { "" }),
    ];
    if load > 1.0 {
        lines.push(
            "**the machine was busy with other work: times are longer and percentiles wider than \
             on a quiet one**"
                .into(),
        );
    }
    if options.quick {
        lines.push("**a quick run: too few samples to rely on**".into());
    }
    Ok(lines)
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The first line a program says, on whichever stream; `None` when it is not installed.
pub fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let line = String::from_utf8_lossy(&said).lines().next()?.trim().to_owned();
    output.status.success().then_some(line)
}

//! How long it takes to decide whether a caller may do what it asks: of the policies alone, without
//! a call. Measured by an example of the crate that decides.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::Options;
use crate::report::{Report, percentile, table};

pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let times = options.times(20_000, 500).to_string();
    let output = Command::new(options.program("examples/decisions")).arg(&times).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let measured: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let mut rows = Vec::new();
    let mut slowest = Duration::ZERO;
    for of_kind in &measured {
        let times: Vec<Duration> = serde_json::from_value::<Vec<u64>>(of_kind["ns"].clone())?
            .into_iter()
            .map(Duration::from_nanos)
            .collect();
        slowest = slowest.max(percentile(&times, 50));
        let what = of_kind["what"].as_str().unwrap_or_default().to_owned();
        rows.push([what, us(percentile(&times, 50)), us(percentile(&times, 99))]);
    }
    report.section(
        "Decisions on requests",
        &table(&["with 50 attached statements", "p50", "p99"], &rows),
        &format!("In 10 policies, {times} decisions each, compiled beforehand; a call's own time is extra."),
    );
    report.aim(
        "decision with 50 attached statements in less than 20 µs (p50)",
        us(slowest),
        slowest < Duration::from_micros(20),
    );
    Ok(())
}

fn us(duration: Duration) -> String {
    format!("{:.1} µs", duration.as_secs_f64() * 1e6)
}

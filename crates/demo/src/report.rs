//! What the demo found: per act and in all, as a table and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::{Latency, Tally};

#[derive(Debug, Serialize)]
pub struct Report {
    pub time_scale: f64,
    pub seconds: f64,
    pub acts: Vec<Act>,
    pub total: Figures,
    /// Why the demo did not end as it should; empty when all is well.
    pub problems: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Act {
    pub number: u8,
    pub name: &'static str,
    pub seconds: f64,
    /// Seconds of host time, by what was waited for (`detect`, `replace`, `rebalance`, …).
    pub times: BTreeMap<&'static str, f64>,
    pub figures: Figures,
}

#[derive(Debug, Default, Serialize)]
pub struct Figures {
    pub requests: u64,
    pub failed: u64,
    pub failures: BTreeMap<String, u64>,
    pub repeated: u64,
    pub sessions_lost: u64,
    pub pictures_lost: u64,
    pub latency: Latency,
}

impl From<&Tally> for Figures {
    fn from(tally: &Tally) -> Figures {
        Figures {
            requests: tally.requests,
            failed: tally.failures(),
            failures: tally.failed.clone(),
            repeated: tally.repeated,
            sessions_lost: tally.sessions_lost,
            pictures_lost: tally.pictures_lost,
            latency: tally.latency(),
        }
    }
}

impl Report {
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:<24} {:>6} {:>9} {:>7} {:>9} {:>9} {:>9} {:>8} {:>8}  {}\n",
            "ACT",
            "SECS",
            "REQUESTS",
            "FAILED",
            "REPEATED",
            "SESSIONS",
            "PICTURES",
            "P50 MS",
            "P99 MS",
            "TIMES (S)"
        );
        for act in &self.acts {
            let times: Vec<String> =
                act.times.iter().map(|(name, seconds)| format!("{name} {seconds:.1}")).collect();
            let name = format!("{} {}", act.number, act.name);
            text += &line(&name, act.seconds, &act.figures, &times.join(", "));
        }
        text += &line("all", self.seconds, &self.total, "");
        for (reason, count) in &self.total.failures {
            text += &format!("  failed {count}×: {reason}\n");
        }
        text += "SESSIONS and PICTURES are those lost. ";
        text += "REPEATED were sent again after a kept-alive connection had closed under them.\n";
        text += &format!(
            "Cloud time ran {}× faster than yours; instances ran at their own pace.\n",
            self.time_scale
        );
        text
    }
}

fn line(name: &str, seconds: f64, figures: &Figures, times: &str) -> String {
    let line = format!(
        "{name:<24} {seconds:>6.1} {:>9} {:>7} {:>9} {:>9} {:>9} {:>8.2} {:>8.2}  {times}",
        figures.requests,
        figures.failed,
        figures.repeated,
        figures.sessions_lost,
        figures.pictures_lost,
        figures.latency.p50_ms,
        figures.latency.p99_ms,
    );
    format!("{}\n", line.trim_end())
}

//! The figures of a run, as Markdown that also reads well on a terminal.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

const BEGIN: &str = "<!-- written by cargo xtask bench -->";
const END: &str = "<!-- end of what cargo xtask bench writes -->";

pub struct Report {
    circumstances: Vec<String>,
    aims: Vec<[String; 3]>,
    sections: String,
}

impl Report {
    pub fn new(circumstances: Vec<String>) -> Report {
        for line in &circumstances {
            println!("{line}");
        }
        Report { circumstances, aims: Vec::new(), sections: String::new() }
    }

    /// What was aimed at, what came out, and whether that is it.
    pub fn aim(&mut self, aim: &str, figure: String, met: bool) {
        let met = if met { "yes" } else { "**no**" };
        self.aims.push([aim.to_owned(), figure, met.to_owned()]);
    }

    pub fn section(&mut self, title: &str, table: &str, notes: &str) {
        println!("\n{title}\n\n{table}");
        let _ = write!(self.sections, "### {title}\n\n{table}\n{notes}\n\n");
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.circumstances {
            let _ = writeln!(text, "- {line}");
        }
        if !self.aims.is_empty() {
            let aims = table(&["aim", "measured", "met"], &self.aims);
            let _ = write!(text, "\n### Aims\n\n{aims}");
        }
        let _ = write!(text, "\n{}", self.sections);
        text.trim_end().to_owned()
    }

    /// Replaces what stands between the marks.
    pub fn write(&self, path: &Path) -> Result<()> {
        let old = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let marks = old.split_once(BEGIN).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(END)?;
            Some((before, after))
        });
        let (before, after) =
            marks.with_context(|| format!("{} lacks the marks", path.display()))?;
        let new = format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", self.text());
        std::fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))
    }
}

pub fn table<const N: usize>(head: &[&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(head[column].chars().count())
    };
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        for (column, cell) in cells.into_iter().enumerate() {
            let _ = write!(text, "| {cell:<width$} ", width = width(column));
        }
        text.push_str("|\n");
    };
    line(*head);
    let rules: [String; N] = std::array::from_fn(|column| "-".repeat(width(column)));
    line(std::array::from_fn(|column| rules[column].as_str()));
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
    text
}

/// The smallest value that `percent` of them do not exceed.
pub fn percentile<T: Copy + PartialOrd>(values: &[T], percent: usize) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("figures are numbers"));
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

pub fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

pub fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

/// A row: what, how often, p50, p99, and the worst.
pub fn spread(what: &str, values: &[Duration]) -> [String; 5] {
    [
        what.to_owned(),
        values.len().to_string(),
        ms(percentile(values, 50)),
        ms(percentile(values, 99)),
        ms(percentile(values, 100)),
    ]
}

pub const SPREAD: [&str; 5] = ["", "times", "p50", "p99", "longest"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let values: Vec<u32> = (1..=200).rev().collect();
        for (percent, value) in [(0, 1), (50, 100), (99, 198), (100, 200)] {
            assert_eq!(percentile(&values, percent), value);
        }
        assert_eq!(percentile(&[7.5], 50), 7.5);
    }

    #[test]
    fn writing_replaces_only_what_stands_between_the_marks() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("before\n{BEGIN}\nold\n{END}\nafter\n")).unwrap();
        let mut report =
            Report { circumstances: vec!["here".into()], aims: vec![], sections: String::new() };
        report.section("Section", "| table |\n", "Notes.");
        for _ in 0..2 {
            report.write(file.path()).unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap();
            assert_eq!(
                text,
                format!(
                    "before\n{BEGIN}\n\n- here\n\n### Section\n\n| table |\n\nNotes.\n\n{END}\nafter\n"
                )
            );
        }
    }
}

//! `cargo xtask codegen`: from botocore's service models to the wire's shapes.
//!
//! ```text
//!  models/botocore.txt ─► pip ─► service-2.json ─► models/SERVICE.json ─► src/shapes/SERVICE.rs
//!                                      models/operations.toml ┘
//! ```
//!
//! Both results are committed; `--check` makes them anew and fails when they differ.

mod model;
mod names;
mod rust;
mod source;
mod trim;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Write,
    Check,
}

/// One service of `operations.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    version: String,
    operations: Vec<String>,
    /// Enumerations whose values are not checked at decoding.
    #[serde(default)]
    open_enums: Vec<String>,
    /// Of a JSON service whose older clients speak the query protocol, which its model no longer
    /// tells of: the namespace of its answers there.
    query_namespace: Option<String>,
    /// There lists and maps are flat; what the entries of a shape are called.
    #[serde(default)]
    query_names: BTreeMap<String, String>,
}

pub fn run(mode: Mode) -> Result<()> {
    let wire = crate::root().join("crates/wire");
    let table = fs::read_to_string(wire.join("models/operations.toml"))?;
    let table: BTreeMap<String, Wanted> = toml::from_str(&table).context("operations.toml")?;
    let data = source::botocore(&wire.join("models/botocore.txt"))?;

    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut models = BTreeMap::new();
    for (service, wanted) in &table {
        let full = source::service(&data, service, &wanted.version)?;
        let model = trim::trim(&full, wanted).with_context(|| service.clone())?;
        let mut json = serde_json::to_string_pretty(&model)?;
        json.push('\n');
        let code = rust::service(service, &model, wanted).with_context(|| service.clone())?;
        files.insert(wire.join(format!("models/{service}.json")), json);
        files.insert(
            wire.join(format!("src/shapes/{}.rs", names::module(service))),
            format_rust(&code)?,
        );
        models.insert(service.as_str(), model);
    }
    let code = rust::operations(&models);
    files.insert(wire.join("tests/operations/mod.rs"), format_rust(&code)?);
    let code = rust::index(table.keys().map(String::as_str));
    files.insert(wire.join("src/shapes/mod.rs"), format_rust(&code)?);

    match mode {
        Mode::Write => write(&files),
        Mode::Check => check(&files),
    }
}

fn write(files: &BTreeMap<PathBuf, String>) -> Result<()> {
    for (path, content) in files {
        if fs::read_to_string(path).ok().as_ref() != Some(content) {
            fs::create_dir_all(path.parent().expect("it is in a directory"))?;
            fs::write(path, content)?;
            println!("{}", shown(path));
        }
    }
    Ok(())
}

fn check(files: &BTreeMap<PathBuf, String>) -> Result<()> {
    let mut stale: Vec<String> = Vec::new();
    for (path, content) in files {
        if fs::read_to_string(path).ok().as_ref() != Some(content) {
            stale.push(shown(path));
        }
    }
    if !stale.is_empty() {
        bail!("not as `cargo xtask codegen` makes it: {}", stale.join(", "));
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.strip_prefix(crate::root()).unwrap_or(path).display().to_string()
}

fn format_rust(code: &str) -> Result<String> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout", "--config-path"])
        .arg(crate::root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt")?;
    let mut stdin = rustfmt.stdin.take().expect("it is piped");
    let code = code.to_owned();
    let feed = std::thread::spawn(move || stdin.write_all(code.as_bytes()));
    let output = rustfmt.wait_with_output()?;
    feed.join().expect("writing does not panic")?;
    ensure!(output.status.success(), "rustfmt refused the generated code");
    Ok(String::from_utf8(output.stdout)?)
}

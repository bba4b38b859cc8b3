//! Keeps of a model what the wanted operations need.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::Wanted;
use super::model::{Model, Shape};

pub fn trim(full: &Model, wanted: &Wanted) -> Result<Model> {
    let mut operations = BTreeMap::new();
    let mut shapes = BTreeMap::new();
    for name in &wanted.operations {
        let operation = full.operations.get(name).with_context(|| format!("no {name}"))?;
        for reference in operation.input.iter().chain(&operation.output).chain(&operation.errors) {
            keep(full, &reference.shape, &mut shapes)?;
        }
        ensure!(operations.insert(name.clone(), operation.clone()).is_none(), "{name} twice");
    }
    for name in &wanted.open_enums {
        ensure!(shapes.contains_key(name), "open enum {name} is of no served operation");
    }
    let known = full.operations.keys().cloned().collect();
    Ok(Model { metadata: full.metadata.clone(), operations, shapes, known })
}

fn keep(full: &Model, name: &str, kept: &mut BTreeMap<String, Shape>) -> Result<()> {
    if kept.contains_key(name) {
        return Ok(());
    }
    let shape = full.shapes.get(name).with_context(|| format!("no shape {name}"))?;
    kept.insert(name.to_owned(), shape.clone());
    let inner = shape.members.values().chain(&shape.member).chain(&shape.key).chain(&shape.value);
    for reference in inner {
        keep(full, &reference.shape, kept)?;
    }
    Ok(())
}

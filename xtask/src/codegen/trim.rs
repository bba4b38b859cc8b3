//! Keeps of a model what the wanted operations need.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::Wanted;
use super::model::{Model, Shape};

pub fn trim(full: &Model, wanted: &Wanted) -> Result<Model> {
    let mut operations = BTreeMap::new();
    let mut shapes = BTreeMap::new();
    let rest = full.metadata.protocol.starts_with("rest");
    for name in &wanted.operations {
        let operation = full.operations.get(name).with_context(|| format!("no {name}"))?;
        for reference in operation.input.iter().chain(&operation.output).chain(&operation.errors) {
            keep(full, &reference.shape, &mut shapes)?;
        }
        let mut operation = operation.clone();
        operation.http = operation.http.filter(|_| rest);
        ensure!(operations.insert(name.clone(), operation).is_none(), "{name} twice");
    }
    for name in &wanted.open_enums {
        ensure!(shapes.contains_key(name), "open enum {name} is of no served operation");
    }
    if wanted.query_namespace.is_some() {
        // All of its lists and maps are, in that protocol.
        shapes.values_mut().for_each(|shape| {
            shape.unserved.flattened = false;
            shape.members.values_mut().for_each(|member| member.unserved.flattened = false);
        });
    }
    for name in wanted.query_names.keys() {
        ensure!(shapes.contains_key(name), "query name of {name} is of no served operation");
    }
    let known = full.operations.keys().cloned().collect();
    let mut routes = BTreeMap::new();
    for (name, operation) in full.operations.iter().filter(|_| rest) {
        let http = operation.http.clone().with_context(|| format!("{name}: no path"))?;
        routes.insert(name.clone(), http);
    }
    let mut metadata = full.metadata.clone();
    metadata.protocols.retain(|_| full.metadata.protocols.len() > 1);
    if wanted.query_namespace.is_some() {
        metadata.xml_namespace = wanted.query_namespace.clone();
        metadata.protocols = vec![metadata.protocol.clone(), "query".to_owned()];
    }
    Ok(Model { metadata, operations, shapes, known, routes })
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

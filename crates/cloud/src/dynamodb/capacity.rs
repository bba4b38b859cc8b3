//! Capacity units that calls consume (AWS: "DynamoDB read and write operations").

use std::collections::BTreeMap;

use super::model::{Index, IndexKind};

/// Of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capacity {
    pub table: f64,
    pub local: BTreeMap<String, f64>,
    pub global: BTreeMap<String, f64>,
}

impl Capacity {
    pub fn total(&self) -> f64 {
        self.table + self.local.values().sum::<f64>() + self.global.values().sum::<f64>()
    }

    pub fn add(&mut self, index: Option<&Index>, units: f64) {
        let Some(index) = index else {
            self.table += units;
            return;
        };
        let indexes = match index.kind {
            IndexKind::Global => &mut self.global,
            IndexKind::Local => &mut self.local,
        };
        *indexes.entry(index.name.clone()).or_default() += units;
    }

    pub fn merge(&mut self, other: &Capacity) {
        self.table += other.table;
        for (name, units) in &other.local {
            *self.local.entry(name.clone()).or_default() += units;
        }
        for (name, units) in &other.global {
            *self.global.entry(name.clone()).or_default() += units;
        }
    }

    pub fn times(mut self, factor: f64) -> Capacity {
        self.table *= factor;
        self.local.values_mut().chain(self.global.values_mut()).for_each(|units| *units *= factor);
        self
    }
}

/// One unit for each 4 KB, half of that when the read need not be consistent.
pub fn read_units(bytes: usize, consistent: bool) -> f64 {
    let units = bytes.div_ceil(4096).max(1) as f64;
    if consistent { units } else { units / 2.0 }
}

/// One unit for each KB.
pub fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(1024).max(1) as f64
}

//! Reads of items: by key, by Query and by Scan.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use store::Range;

use super::capacity::{Capacity, read_units};
use super::expression::{
    self, Condition, FILTER, KEY_CONDITION, KeyCondition, PROJECTION, Placeholders, Projection,
    SortCondition,
};
use super::model::{Index, IndexKind, Table};
use super::value::{self, Item, Value};
use super::write::{decode, get};
use super::{Error, ITEMS, Result, index, key};
use crate::Context;

/// A page ends with the item that reaches this.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// The placeholder whose value is the partition that a Query with this key condition is about.
pub fn queried_partition<'a>(
    table: &Table,
    index: Option<&str>,
    key_condition: &str,
    names: BTreeMap<String, String>,
    values: impl Iterator<Item = &'a String>,
) -> Option<String> {
    // Each value stands for itself: only which of them it is counts.
    let values = values.map(|name| (name.clone(), Value::S(name.clone()))).collect();
    let names = Some(names).filter(|names| !names.is_empty());
    let given = [KEY_CONDITION, FILTER, PROJECTION].map(|name| (name, true));
    let with = Placeholders::new(names, Some(values), &given).ok()?;
    let (partition, sort) = Query::key_names(table, index).ok()?;
    match expression::key_condition(key_condition, &with, partition, sort).ok()?.partition {
        Value::S(name) => Some(name),
        _ => None,
    }
}

pub struct Get {
    pub table: Arc<Table>,
    pub key: Item,
    pub projection: Option<Projection>,
}

pub struct Got {
    /// Its projection.
    pub item: Option<Item>,
    /// Of the whole item.
    pub bytes: usize,
}

impl Get {
    pub fn new(table: Arc<Table>, key: Item, projection: Option<Projection>) -> Result<Get> {
        index::check_key(&table, &key)?;
        Ok(Get { table, key, projection })
    }
}

/// All of them at one moment.
pub fn items(cx: &Context, gets: &[Get]) -> Result<Vec<Got>> {
    let items = cx.env.store.keyspace(ITEMS);
    cx.env.store.view(|view| {
        gets.iter()
            .map(|wanted| {
                let found = get(view, &items, &index::item_key(&wanted.table, &wanted.key))?;
                let bytes = found.as_ref().map_or(0, value::size);
                let item = match (&wanted.projection, found) {
                    (Some(projection), Some(item)) => Some(projection.apply(&item)),
                    (_, found) => found,
                };
                Ok(Got { item, bytes })
            })
            .collect()
    })
}

pub struct Query {
    pub table: Arc<Table>,
    pub index: Option<String>,
    pub what: What,
    pub forward: bool,
    pub limit: Option<usize>,
    pub start: Option<Item>,
    pub filter: Option<Condition>,
    pub select: Select,
    pub consistent: bool,
}

pub enum What {
    Partition(KeyCondition),
    /// Segment and total.
    All(u32, u32),
}

pub enum Select {
    /// All that the table or index has.
    Default,
    AllAttributes,
    Count,
    Projection(Projection),
}

pub struct Page {
    pub items: Vec<Item>,
    pub scanned: usize,
    pub last: Option<Item>,
    pub capacity: Capacity,
}

impl Query {
    fn index(&self) -> Result<Option<&Index>> {
        let Some(name) = &self.index else { return Ok(None) };
        let found = self.table.index(name);
        found.map(Some).ok_or_else(|| no_index(name))
    }

    /// The keys of what is queried, by name.
    pub fn key_names<'a>(
        table: &'a Table,
        index: Option<&str>,
    ) -> Result<(&'a str, Option<&'a str>)> {
        let schema = match index {
            None => &table.key,
            Some(name) => &table.index(name).ok_or_else(|| no_index(name))?.key,
        };
        Ok((&schema.partition, schema.sort.as_deref()))
    }

    pub fn run(&self, cx: &Context) -> Result<Page> {
        let index = self.index()?;
        self.check(index)?;
        let fetch = self.needs_fetch(index);
        let range = self.range(index)?;
        let items = cx.env.store.keyspace(ITEMS);
        let mut page =
            Page { items: Vec::new(), scanned: 0, last: None, capacity: Capacity::default() };
        let (mut bytes, mut fetched) = (0, 0.0);
        cx.env.store.view(|view| {
            view.scan(&items, &range, |_, found| {
                let mut item = decode(&found)?;
                let key = index::key_of(&self.table, index, &item);
                bytes += value::size(&item);
                if fetch {
                    let whole = get(view, &items, &index::item_key(&self.table, &item))?;
                    item = whole.unwrap_or(item);
                    fetched += read_units(value::size(&item), self.consistent);
                }
                page.scanned += 1;
                if self.filter.as_ref().is_none_or(|filter| filter.holds(&item)) {
                    page.items.push(match &self.select {
                        Select::Projection(projection) => projection.apply(&item),
                        Select::Count => Item::new(),
                        Select::Default | Select::AllAttributes => item,
                    });
                }
                if Some(page.scanned) == self.limit || bytes >= MAX_PAGE_BYTES {
                    page.last = Some(key);
                    return Ok(ControlFlow::Break(()));
                }
                Ok::<_, Error>(ControlFlow::Continue(()))
            })
        })?;
        page.capacity.add(index, read_units(bytes, self.consistent));
        if fetched > 0.0 {
            page.capacity.add(None, fetched);
        }
        Ok(page)
    }

    fn check(&self, index: Option<&Index>) -> Result<()> {
        if let Some(index) = index
            && index.kind == IndexKind::Global
        {
            if self.consistent {
                return Err(Error::validation(
                    "Consistent reads are not supported on global secondary indexes",
                ));
            }
            let missing = |name: &&str| !index::holds(&self.table, index, name);
            match &self.select {
                Select::AllAttributes if index.projection != super::model::Projection::All => {
                    return Err(Error::parameter(format!(
                        "Select type ALL_ATTRIBUTES is not supported for global secondary index {} \
                         because its projection type is not ALL",
                        index.name
                    )));
                }
                Select::Projection(projection) => {
                    let missing: Vec<&str> = projection.attributes().filter(missing).collect();
                    if !missing.is_empty() {
                        return Err(Error::parameter(format!(
                            "Global secondary index {} does not project [{}]",
                            index.name,
                            missing.join(", ")
                        )));
                    }
                }
                _ => {}
            }
        }
        if let (What::Partition(_), Some(filter)) = (&self.what, &self.filter) {
            let schema = index.map_or(&self.table.key, |index| &index.key);
            if let Some(name) = filter.attributes().into_iter().find(|name| schema.contains(name)) {
                return Err(Error::validation(format!(
                    "Filter Expression can only contain non-primary key attributes: Primary key \
                     attribute: {name}"
                )));
            }
        }
        Ok(())
    }

    /// Whether a local index must ask the table for what it does not hold.
    fn needs_fetch(&self, index: Option<&Index>) -> bool {
        let Some(index) = index.filter(|index| index.kind == IndexKind::Local) else {
            return false;
        };
        match &self.select {
            Select::AllAttributes => index.projection != super::model::Projection::All,
            Select::Projection(projection) => {
                projection.attributes().any(|name| !index::holds(&self.table, index, name))
            }
            Select::Default | Select::Count => false,
        }
    }

    fn range(&self, index: Option<&Index>) -> Result<Range> {
        let (number, schema) = match index {
            Some(index) => (index.number, &index.key),
            None => (key::ITEMS, &self.table.key),
        };
        let range = match &self.what {
            What::All(segment, total) => {
                let root = key::root(self.table.number, number);
                let (begin, end) = key::segment(*segment, *total);
                let range = Range::prefix(&root).from(&[&root[..], &begin].concat());
                match end {
                    Some(end) => range.before(&[&root[..], &end].concat()),
                    None => range,
                }
            }
            What::Partition(wanted) => {
                self.check_type(&schema.partition, &wanted.partition)?;
                let begin = key::partition(self.table.number, number, &wanted.partition);
                match (&wanted.sort, &schema.sort) {
                    (Some(sort), Some(name)) => self.sort_range(name, begin, sort)?,
                    _ => Range::prefix(&begin),
                }
            }
        };
        let range = match &self.start {
            None => range,
            Some(start) => self.continue_after(range, start, index)?,
        };
        Ok(if self.forward { range } else { range.descending() })
    }

    fn sort_range(&self, name: &str, partition: Vec<u8>, sort: &SortCondition) -> Result<Range> {
        use super::expression::Comparator;
        let whole = Range::prefix(&partition);
        let at = |value: &Value| {
            let mut key = partition.clone();
            key::push(&mut key, value);
            key
        };
        Ok(match sort {
            SortCondition::Compare(comparator, value) => {
                self.check_type(name, value)?;
                let at = at(value);
                match comparator {
                    Comparator::Eq => Range::prefix(&at),
                    Comparator::Lt => whole.before(&at),
                    Comparator::Le => whole.through_prefix(&at),
                    Comparator::Ge => whole.from(&at),
                    // In an index there may be several entries with one sort key.
                    Comparator::Gt => whole.after_prefix(&at),
                    Comparator::Ne => unreachable!("no key condition has it"),
                }
            }
            SortCondition::Between(low, high) => {
                self.check_type(name, low)?;
                self.check_type(name, high)?;
                whole.from(&at(low)).through_prefix(&at(high))
            }
            SortCondition::BeginsWith(value) => {
                self.check_type(name, value)?;
                if matches!(value, Value::N(_)) {
                    return Err(Error::validation(
                        "Invalid KeyConditionExpression: Incorrect operand type for operator or \
                         function; operator or function: begins_with, operand type: N",
                    ));
                }
                let mut prefix = partition.clone();
                key::push_prefix(&mut prefix, value);
                Range::prefix(&prefix)
            }
        })
    }

    fn check_type(&self, name: &str, value: &Value) -> Result<()> {
        if value.type_name() != self.table.attributes[name] {
            return Err(Error::parameter("Condition parameter type does not match schema type"));
        }
        let empty = match value {
            Value::S(s) => s.is_empty(),
            Value::B(b) => b.is_empty(),
            _ => false,
        };
        if empty {
            return Err(Error::validation(format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute \
                 cannot contain an empty string value. Key: {name}"
            )));
        }
        Ok(())
    }

    fn continue_after(&self, range: Range, start: &Item, index: Option<&Index>) -> Result<Range> {
        let invalid = || Error::validation("The provided starting key is invalid");
        let schemas = [Some(&self.table.key), index.map(|index| &index.key)];
        let mut names: Vec<&str> = schemas.into_iter().flatten().flat_map(|s| s.names()).collect();
        names.sort_unstable();
        names.dedup();
        let fits = |name: &&str| {
            start.get(*name).is_some_and(|v| v.type_name() == self.table.attributes[*name])
        };
        if start.len() != names.len() || !names.iter().all(fits) {
            return Err(invalid());
        }
        let at = match index {
            Some(index) => index::entry_key(&self.table, index, start).ok_or_else(invalid)?,
            None => index::item_key(&self.table, start),
        };
        if !range.contains(&at) {
            return Err(match self.what {
                What::All(..) => Error::validation(
                    "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use \
                     ExclusiveStartKey with correct Segment.",
                ),
                What::Partition(_) => Error::validation(
                    "The provided starting key is outside query boundaries based on provided \
                     conditions",
                ),
            });
        }
        Ok(if self.forward { range.after(&at) } else { range.before(&at) })
    }
}

fn no_index(name: &str) -> Error {
    Error::validation(format!("The table does not have the specified index: {name}"))
}

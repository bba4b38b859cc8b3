//! Calls on several items: batches and transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wire::dynamodb as w;

use super::convert::{item, item_out};
use super::item::{placeholders, projection, returns_old};
use super::{Kind, consumed};
use crate::Context;
use crate::dynamodb::capacity::{Capacity, read_units};
use crate::dynamodb::expression::{self, CONDITION, UPDATE};
use crate::dynamodb::model::Table;
use crate::dynamodb::read::{self, Get};
use crate::dynamodb::write::{self, Token, Write};
use crate::dynamodb::{Error, Result, index, ops};

const MAX_GETS: usize = 100;
const MAX_WRITES: usize = 25;
const MAX_ACTIONS: usize = 100;
const MAX_GOT_BYTES: usize = 16 << 20;
const MAX_TRANSACTION_BYTES: usize = 4 << 20;

/// What was consumed of each table, in their order by name.
#[derive(Default)]
struct Consumed(BTreeMap<String, (Arc<Table>, Capacity)>);

impl Consumed {
    fn add(&mut self, table: &Arc<Table>, capacity: &Capacity) {
        let entry = self.0.entry(table.name.clone());
        entry.or_insert_with(|| (Arc::clone(table), Capacity::default())).1.merge(capacity);
    }

    fn out(&self, wanted: Option<&str>, kind: Option<Kind>) -> Option<Vec<w::ConsumedCapacity>> {
        wanted.filter(|wanted| *wanted != "NONE")?;
        let all = self.0.values();
        Some(all.filter_map(|(table, capacity)| consumed(wanted, table, capacity, kind)).collect())
    }
}

/// Refuses two of one key.
fn check_distinct(seen: &mut BTreeSet<Vec<u8>>, key: Vec<u8>, message: &str) -> Result<()> {
    if seen.insert(key) { Ok(()) } else { Err(Error::validation(message)) }
}

const DUPLICATES: &str = "Provided list of item keys contains duplicates";
const TWICE: &str = "Transaction request cannot include multiple operations on one item";

pub async fn batch_get(cx: Context, input: w::BatchGetItemInput) -> Result<w::BatchGetItemOutput> {
    let count: usize = input.request_items.values().map(|wanted| wanted.keys.len()).sum();
    if count > MAX_GETS {
        return Err(Error::validation("Too many items requested for the BatchGetItem call"));
    }
    if input.request_items.is_empty() {
        return Err(Error::validation(
            "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: \
             Member must have length greater than or equal to 1",
        ));
    }
    let snapshot = cx.read();
    let mut gets = Vec::with_capacity(count);
    let mut asked = Vec::with_capacity(count);
    for (name, wanted) in &input.request_items {
        if wanted.attributes_to_get.is_some() {
            return Err(Error::validation(
                "The legacy parameter AttributesToGet is not supported here; use expressions instead",
            ));
        }
        let table = ops::table(&snapshot, &cx, name)?;
        let projection = projection(
            wanted.projection_expression.clone(),
            wanted.expression_attribute_names.clone(),
        )?;
        let mut seen = BTreeSet::new();
        for key in &wanted.keys {
            let get = Get::new(Arc::clone(&table), item(key.clone())?, projection.clone())?;
            check_distinct(&mut seen, index::item_key(&get.table, &get.key), DUPLICATES)?;
            gets.push(get);
            asked.push((name, wanted, key));
        }
    }
    let mut responses: BTreeMap<String, Vec<_>> =
        input.request_items.keys().map(|name| (name.clone(), Vec::new())).collect();
    let mut unprocessed: BTreeMap<String, w::KeysAndAttributes> = BTreeMap::new();
    let mut used = Consumed::default();
    let mut bytes = 0;
    for ((got, get), (name, wanted, key)) in
        read::items(&cx, &gets)?.into_iter().zip(&gets).zip(asked)
    {
        if bytes + got.bytes > MAX_GOT_BYTES {
            let left = unprocessed
                .entry(name.clone())
                .or_insert_with(|| w::KeysAndAttributes { keys: Vec::new(), ..wanted.clone() });
            left.keys.push(key.clone());
            continue;
        }
        bytes += got.bytes;
        let units = read_units(got.bytes, wanted.consistent_read.unwrap_or(false));
        used.add(&get.table, &Capacity { table: units, ..Default::default() });
        if let Some(found) = got.item {
            responses.entry(name.clone()).or_default().push(item_out(found));
        }
    }
    Ok(w::BatchGetItemOutput {
        consumed_capacity: used.out(input.return_consumed_capacity.as_deref(), None),
        responses: Some(responses),
        unprocessed_keys: Some(unprocessed),
    })
}

pub async fn batch_write(
    cx: Context,
    input: w::BatchWriteItemInput,
) -> Result<w::BatchWriteItemOutput> {
    refuse_metrics(input.return_item_collection_metrics.as_deref())?;
    let count: usize = input.request_items.values().map(Vec::len).sum();
    if count > MAX_WRITES {
        return Err(Error::validation("Too many items requested for the BatchWriteItem call"));
    }
    if input.request_items.is_empty() {
        return Err(Error::validation(
            "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: \
             Member must have length greater than or equal to 1",
        ));
    }
    let snapshot = cx.read();
    let mut writes = Vec::with_capacity(count);
    for (name, requests) in input.request_items {
        let table = ops::table(&snapshot, &cx, &name)?;
        let mut seen = BTreeSet::new();
        for request in requests {
            let table = Arc::clone(&table);
            let write = match (request.put_request, request.delete_request) {
                (Some(put), None) => Write::put(table, item(put.item)?)?,
                (None, Some(delete)) => Write::delete(table, item(delete.key)?)?,
                _ => {
                    return Err(Error::validation(
                        "Supplied AttributeValue has more than one datatypes set, must contain \
                         exactly one of the supported datatypes",
                    ));
                }
            };
            check_distinct(&mut seen, index::item_key(&write.table, &write.key), DUPLICATES)?;
            writes.push(write);
        }
    }
    let mut used = Consumed::default();
    for (written, write) in write::perform(&cx, &writes, None).await?.iter().zip(&writes) {
        used.add(&write.table, &written.capacity);
    }
    Ok(w::BatchWriteItemOutput {
        consumed_capacity: used.out(input.return_consumed_capacity.as_deref(), None),
        item_collection_metrics: None,
        unprocessed_items: Some(BTreeMap::new()),
    })
}

fn refuse_metrics(wanted: Option<&str>) -> Result<()> {
    match wanted {
        Some("SIZE") => {
            Err(Error::validation("ReturnItemCollectionMetrics SIZE is not supported here"))
        }
        _ => Ok(()),
    }
}

fn check_actions(count: usize) -> Result<()> {
    if (1..=MAX_ACTIONS).contains(&count) {
        return Ok(());
    }
    Err(Error::validation(format!(
        "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: Member \
         must have length between 1 and {MAX_ACTIONS}"
    )))
}

pub async fn get(
    cx: Context,
    input: w::TransactGetItemsInput,
) -> Result<w::TransactGetItemsOutput> {
    check_actions(input.transact_items.len())?;
    let snapshot = cx.read();
    let mut seen = BTreeSet::new();
    let mut gets = Vec::new();
    for wanted in input.transact_items {
        let wanted = wanted.get;
        let projection =
            projection(wanted.projection_expression, wanted.expression_attribute_names)?;
        let table = ops::table(&snapshot, &cx, &wanted.table_name)?;
        let get = Get::new(table, item(wanted.key)?, projection)?;
        check_distinct(&mut seen, index::item_key(&get.table, &get.key), TWICE)?;
        gets.push(get);
    }
    let mut used = Consumed::default();
    let found = read::items(&cx, &gets)?;
    if found.iter().map(|got| got.bytes).sum::<usize>() > MAX_TRANSACTION_BYTES {
        return Err(Error::validation(
            "Collection size of all items in the transaction exceeds the limit of 4 MB",
        ));
    }
    let responses = found.into_iter().zip(&gets).map(|(got, get)| {
        // Transactions consume twice what others do.
        let units = 2.0 * read_units(got.bytes, true);
        used.add(&get.table, &Capacity { table: units, ..Default::default() });
        w::ItemResponse { item: got.item.map(item_out) }
    });
    let responses = responses.collect();
    Ok(w::TransactGetItemsOutput {
        consumed_capacity: used.out(input.return_consumed_capacity.as_deref(), Some(Kind::Read)),
        responses: Some(responses),
    })
}

pub async fn write(
    cx: Context,
    input: w::TransactWriteItemsInput,
) -> Result<w::TransactWriteItemsOutput> {
    refuse_metrics(input.return_item_collection_metrics.as_deref())?;
    check_actions(input.transact_items.len())?;
    let token = input.client_request_token.filter(|token| !token.is_empty()).map(|token| Token {
        token,
        digest: Sha256::digest(format!("{:?}", input.transact_items)).into(),
    });
    let snapshot = cx.read();
    let mut seen = BTreeSet::new();
    let mut writes = Vec::new();
    for wanted in input.transact_items {
        let write = action(&cx, &snapshot, wanted)?;
        check_distinct(&mut seen, index::item_key(&write.table, &write.key), TWICE)?;
        writes.push(write);
    }
    let mut used = Consumed::default();
    for (written, write) in write::perform(&cx, &writes, token).await?.into_iter().zip(&writes) {
        used.add(&write.table, &written.capacity.times(2.0));
    }
    Ok(w::TransactWriteItemsOutput {
        consumed_capacity: used.out(input.return_consumed_capacity.as_deref(), Some(Kind::Write)),
        item_collection_metrics: None,
    })
}

fn action(cx: &Context, snapshot: &store::Snapshot, wanted: w::TransactWriteItem) -> Result<Write> {
    let one = match wanted {
        w::TransactWriteItem {
            put: Some(put),
            condition_check: None,
            delete: None,
            update: None,
        } => {
            let given = [(CONDITION, put.condition_expression.is_some())];
            let with = placeholders(
                put.expression_attribute_names,
                put.expression_attribute_values,
                &given,
            )?;
            let condition =
                put.condition_expression.map(|t| expression::condition(CONDITION, &t, &with));
            let condition = condition.transpose()?;
            with.finish()?;
            let table = ops::table(snapshot, cx, &put.table_name)?;
            let write = Write::put(table, item(put.item)?)?;
            (write, condition, put.return_values_on_condition_check_failure)
        }
        w::TransactWriteItem {
            delete: Some(delete),
            condition_check: None,
            put: None,
            update: None,
        } => {
            let given = [(CONDITION, delete.condition_expression.is_some())];
            let with = placeholders(
                delete.expression_attribute_names,
                delete.expression_attribute_values,
                &given,
            )?;
            let condition =
                delete.condition_expression.map(|t| expression::condition(CONDITION, &t, &with));
            let condition = condition.transpose()?;
            with.finish()?;
            let table = ops::table(snapshot, cx, &delete.table_name)?;
            let write = Write::delete(table, item(delete.key)?)?;
            (write, condition, delete.return_values_on_condition_check_failure)
        }
        w::TransactWriteItem {
            update: Some(update),
            condition_check: None,
            put: None,
            delete: None,
        } => {
            let given = [(UPDATE, true), (CONDITION, update.condition_expression.is_some())];
            let with = placeholders(
                update.expression_attribute_names,
                update.expression_attribute_values,
                &given,
            )?;
            let change = expression::update(&update.update_expression, &with)?;
            let condition =
                update.condition_expression.map(|t| expression::condition(CONDITION, &t, &with));
            let condition = condition.transpose()?;
            with.finish()?;
            let table = ops::table(snapshot, cx, &update.table_name)?;
            let write = Write::update(table, item(update.key)?, change)?;
            (write, condition, update.return_values_on_condition_check_failure)
        }
        w::TransactWriteItem {
            condition_check: Some(check),
            put: None,
            delete: None,
            update: None,
        } => {
            let with = placeholders(
                check.expression_attribute_names,
                check.expression_attribute_values,
                &[(CONDITION, true)],
            )?;
            let condition = expression::condition(CONDITION, &check.condition_expression, &with)?;
            with.finish()?;
            let table = ops::table(snapshot, cx, &check.table_name)?;
            let write = Write::check(table, item(check.key)?)?;
            (write, Some(condition), check.return_values_on_condition_check_failure)
        }
        _ => {
            return Err(Error::validation(
                "TransactItems can only contain one of Check, Put, Update or Delete",
            ));
        }
    };
    let (write, condition, returned) = one;
    Ok(Write { condition, return_on_failure: returns_old(returned.as_deref()), ..write })
}

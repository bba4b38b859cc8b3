//! Calls on one item, and queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::dynamodb as w;

use super::consumed;
use super::convert::{item, item_out};
use crate::Context;
use crate::dynamodb::capacity::{Capacity, read_units};
use crate::dynamodb::expression::{
    self, CONDITION, FILTER, KEY_CONDITION, PROJECTION, Placeholders, Projection, UPDATE,
};
use crate::dynamodb::model::Table;
use crate::dynamodb::read::{self, Page, Query, Select, What};
use crate::dynamodb::value::Item;
use crate::dynamodb::write::{self, Write, Written};
use crate::dynamodb::{Error, Result, ops};

type Attributes = BTreeMap<String, w::AttributeValue>;
type Names = Option<BTreeMap<String, String>>;

/// Refuses the parameters that expressions have replaced.
fn refuse_legacy(members: &[(bool, &str)]) -> Result<()> {
    match members.iter().find(|(given, _)| *given) {
        Some((_, name)) => Err(Error::validation(format!(
            "The legacy parameter {name} is not supported here; use expressions instead"
        ))),
        None => Ok(()),
    }
}

/// Sizes of item collections are not estimated here.
fn refuse_metrics(wanted: Option<&str>) -> Result<()> {
    match wanted {
        Some("SIZE") => {
            Err(Error::validation("ReturnItemCollectionMetrics SIZE is not supported here"))
        }
        _ => Ok(()),
    }
}

pub fn placeholders(
    names: Names,
    values: Option<Attributes>,
    expressions: &[(&'static str, bool)],
) -> Result<Placeholders> {
    Placeholders::new(names, values.map(item).transpose()?, expressions)
}

/// What the old item is answered for a failed condition by.
pub fn returns_old(member: Option<&str>) -> bool {
    member == Some("ALL_OLD")
}

pub async fn put(cx: Context, input: w::PutItemInput) -> Result<w::PutItemOutput> {
    refuse_legacy(&[
        (input.expected.is_some(), "Expected"),
        (input.conditional_operator.is_some(), "ConditionalOperator"),
    ])?;
    refuse_metrics(input.return_item_collection_metrics.as_deref())?;
    let old = old_or_none(input.return_values.as_deref())?;
    let given = [(CONDITION, input.condition_expression.is_some())];
    let with =
        placeholders(input.expression_attribute_names, input.expression_attribute_values, &given)?;
    let condition =
        input.condition_expression.map(|text| expression::condition(CONDITION, &text, &with));
    let condition = condition.transpose()?;
    with.finish()?;
    let table = ops::table(&cx.read(), &cx, &input.table_name)?;
    let mut write = Write::put(Arc::clone(&table), item(input.item)?)?;
    write.condition = condition;
    write.return_on_failure =
        returns_old(input.return_values_on_condition_check_failure.as_deref());
    let written = write::one(&cx, write).await?;
    Ok(w::PutItemOutput {
        attributes: written.before.filter(|_| old).map(item_out),
        consumed_capacity: consumed(
            input.return_consumed_capacity.as_deref(),
            &table,
            &written.capacity,
            None,
        ),
        item_collection_metrics: None,
    })
}

fn old_or_none(wanted: Option<&str>) -> Result<bool> {
    match wanted {
        None | Some("NONE") => Ok(false),
        Some("ALL_OLD") => Ok(true),
        Some(_) => Err(Error::validation("Return values set to invalid value")),
    }
}

pub async fn delete(cx: Context, input: w::DeleteItemInput) -> Result<w::DeleteItemOutput> {
    refuse_legacy(&[
        (input.expected.is_some(), "Expected"),
        (input.conditional_operator.is_some(), "ConditionalOperator"),
    ])?;
    refuse_metrics(input.return_item_collection_metrics.as_deref())?;
    let old = old_or_none(input.return_values.as_deref())?;
    let given = [(CONDITION, input.condition_expression.is_some())];
    let with =
        placeholders(input.expression_attribute_names, input.expression_attribute_values, &given)?;
    let condition =
        input.condition_expression.map(|text| expression::condition(CONDITION, &text, &with));
    let condition = condition.transpose()?;
    with.finish()?;
    let table = ops::table(&cx.read(), &cx, &input.table_name)?;
    let mut write = Write::delete(Arc::clone(&table), item(input.key)?)?;
    write.condition = condition;
    write.return_on_failure =
        returns_old(input.return_values_on_condition_check_failure.as_deref());
    let written = write::one(&cx, write).await?;
    Ok(w::DeleteItemOutput {
        attributes: written.before.filter(|_| old).map(item_out),
        consumed_capacity: consumed(
            input.return_consumed_capacity.as_deref(),
            &table,
            &written.capacity,
            None,
        ),
        item_collection_metrics: None,
    })
}

pub async fn update(cx: Context, input: w::UpdateItemInput) -> Result<w::UpdateItemOutput> {
    refuse_legacy(&[
        (input.attribute_updates.is_some(), "AttributeUpdates"),
        (input.expected.is_some(), "Expected"),
        (input.conditional_operator.is_some(), "ConditionalOperator"),
    ])?;
    refuse_metrics(input.return_item_collection_metrics.as_deref())?;
    let given = [
        (UPDATE, input.update_expression.is_some()),
        (CONDITION, input.condition_expression.is_some()),
    ];
    let with =
        placeholders(input.expression_attribute_names, input.expression_attribute_values, &given)?;
    let update =
        input.update_expression.map(|text| expression::update(&text, &with)).transpose()?;
    let update = update.unwrap_or_default();
    let condition =
        input.condition_expression.map(|text| expression::condition(CONDITION, &text, &with));
    let condition = condition.transpose()?;
    with.finish()?;
    let changed = Projection::new(&update.paths());
    let table = ops::table(&cx.read(), &cx, &input.table_name)?;
    let mut write = Write::update(Arc::clone(&table), item(input.key)?, update)?;
    write.condition = condition;
    write.return_on_failure =
        returns_old(input.return_values_on_condition_check_failure.as_deref());
    let Written { before, after, capacity } = write::one(&cx, write).await?;
    let part =
        |item: Option<Item>| item.map(|item| changed.apply(&item)).filter(|item| !item.is_empty());
    let attributes = match input.return_values.as_deref() {
        Some("ALL_OLD") => before,
        Some("ALL_NEW") => after,
        Some("UPDATED_OLD") => part(before),
        Some("UPDATED_NEW") => part(after),
        _ => None,
    };
    Ok(w::UpdateItemOutput {
        attributes: attributes.map(item_out),
        consumed_capacity: consumed(
            input.return_consumed_capacity.as_deref(),
            &table,
            &capacity,
            None,
        ),
        item_collection_metrics: None,
    })
}

pub async fn get(cx: Context, input: w::GetItemInput) -> Result<w::GetItemOutput> {
    refuse_legacy(&[(input.attributes_to_get.is_some(), "AttributesToGet")])?;
    let projection = projection(input.projection_expression, input.expression_attribute_names)?;
    let table = ops::table(&cx.read(), &cx, &input.table_name)?;
    let wanted = read::Get::new(Arc::clone(&table), item(input.key)?, projection)?;
    let got = read::items(&cx, &[wanted])?.remove(0);
    let units = read_units(got.bytes, input.consistent_read.unwrap_or(false));
    let capacity = Capacity { table: units, ..Default::default() };
    Ok(w::GetItemOutput {
        consumed_capacity: consumed(
            input.return_consumed_capacity.as_deref(),
            &table,
            &capacity,
            None,
        ),
        item: got.item.map(item_out),
    })
}

pub fn projection(text: Option<String>, names: Names) -> Result<Option<Projection>> {
    let with = placeholders(names, None, &[(PROJECTION, text.is_some())])?;
    let projection = text.map(|text| expression::projection(&text, &with)).transpose()?;
    with.finish()?;
    Ok(projection)
}

pub async fn query(cx: Context, input: w::QueryInput) -> Result<w::QueryOutput> {
    refuse_legacy(&[
        (input.attributes_to_get.is_some(), "AttributesToGet"),
        (input.key_conditions.is_some(), "KeyConditions"),
        (input.query_filter.is_some(), "QueryFilter"),
        (input.conditional_operator.is_some(), "ConditionalOperator"),
    ])?;
    let given = [
        (FILTER, input.filter_expression.is_some()),
        (KEY_CONDITION, input.key_condition_expression.is_some()),
        (PROJECTION, input.projection_expression.is_some()),
    ];
    let with =
        placeholders(input.expression_attribute_names, input.expression_attribute_values, &given)?;
    let Some(key_condition) = input.key_condition_expression else {
        return Err(Error::validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the \
             request.",
        ));
    };
    let table = ops::table(&cx.read(), &cx, &input.table_name)?;
    let (partition, sort) = Query::key_names(&table, input.index_name.as_deref())?;
    let filter = input.filter_expression.map(|text| expression::condition(FILTER, &text, &with));
    let filter = filter.transpose()?;
    let key_condition = expression::key_condition(&key_condition, &with, partition, sort)?;
    let projection =
        input.projection_expression.map(|text| expression::projection(&text, &with)).transpose()?;
    with.finish()?;
    let query = Query {
        select: select(input.select.as_deref(), projection, input.index_name.is_some())?,
        table: Arc::clone(&table),
        index: input.index_name,
        what: What::Partition(key_condition),
        forward: input.scan_index_forward.unwrap_or(true),
        limit: limit(input.limit)?,
        start: input.exclusive_start_key.map(item).transpose()?,
        filter,
        consistent: input.consistent_read.unwrap_or(false),
    };
    let page = query.run(&cx)?;
    let answer = Answer::new(page, &query, &table, input.return_consumed_capacity.as_deref());
    Ok(w::QueryOutput {
        consumed_capacity: answer.consumed,
        count: Some(answer.count),
        items: answer.items,
        last_evaluated_key: answer.last,
        scanned_count: Some(answer.scanned),
    })
}

pub async fn scan(cx: Context, input: w::ScanInput) -> Result<w::ScanOutput> {
    refuse_legacy(&[
        (input.attributes_to_get.is_some(), "AttributesToGet"),
        (input.scan_filter.is_some(), "ScanFilter"),
        (input.conditional_operator.is_some(), "ConditionalOperator"),
    ])?;
    let segment = segment(input.segment, input.total_segments)?;
    let given = [
        (FILTER, input.filter_expression.is_some()),
        (PROJECTION, input.projection_expression.is_some()),
    ];
    let with =
        placeholders(input.expression_attribute_names, input.expression_attribute_values, &given)?;
    let filter = input.filter_expression.map(|text| expression::condition(FILTER, &text, &with));
    let filter = filter.transpose()?;
    let projection =
        input.projection_expression.map(|text| expression::projection(&text, &with)).transpose()?;
    with.finish()?;
    let table = ops::table(&cx.read(), &cx, &input.table_name)?;
    let query = Query {
        select: select(input.select.as_deref(), projection, input.index_name.is_some())?,
        table: Arc::clone(&table),
        index: input.index_name,
        what: What::All(segment.0, segment.1),
        forward: true,
        limit: limit(input.limit)?,
        start: input.exclusive_start_key.map(item).transpose()?,
        filter,
        consistent: input.consistent_read.unwrap_or(false),
    };
    let page = query.run(&cx)?;
    let answer = Answer::new(page, &query, &table, input.return_consumed_capacity.as_deref());
    Ok(w::ScanOutput {
        consumed_capacity: answer.consumed,
        count: Some(answer.count),
        items: answer.items,
        last_evaluated_key: answer.last,
        scanned_count: Some(answer.scanned),
    })
}

struct Answer {
    consumed: Option<w::ConsumedCapacity>,
    count: i32,
    items: Option<Vec<Attributes>>,
    last: Option<Attributes>,
    scanned: i32,
}

impl Answer {
    fn new(page: Page, query: &Query, table: &Table, wanted: Option<&str>) -> Answer {
        let count = page.items.len() as i32;
        let count_only = matches!(query.select, Select::Count);
        Answer {
            consumed: consumed(wanted, table, &page.capacity, None),
            count,
            items: (!count_only).then(|| page.items.into_iter().map(item_out).collect()),
            last: page.last.map(item_out),
            scanned: page.scanned as i32,
        }
    }
}

fn select(wanted: Option<&str>, projection: Option<Projection>, index: bool) -> Result<Select> {
    match (wanted, projection) {
        (None | Some("SPECIFIC_ATTRIBUTES"), Some(projection)) => {
            Ok(Select::Projection(projection))
        }
        (None, None) => Ok(Select::Default),
        (Some("ALL_ATTRIBUTES"), None) => Ok(Select::AllAttributes),
        (Some("ALL_PROJECTED_ATTRIBUTES"), None) if index => Ok(Select::Default),
        (Some("ALL_PROJECTED_ATTRIBUTES"), None) => Err(Error::parameter(
            "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
        )),
        (Some("COUNT"), None) => Ok(Select::Count),
        (Some("SPECIFIC_ATTRIBUTES"), None) => Err(Error::validation(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get \
             SPECIFIC_ATTRIBUTES",
        )),
        (Some(wanted), _) => Err(Error::validation(format!(
            "Cannot specify the ProjectionExpression when choosing to get {wanted}"
        ))),
    }
}

fn limit(limit: Option<i32>) -> Result<Option<usize>> {
    match limit {
        Some(limit) if limit < 1 => Err(Error::validation(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: \
             Member must have value greater than or equal to 1"
        ))),
        limit => Ok(limit.map(|limit| limit as usize)),
    }
}

fn segment(segment: Option<i32>, total: Option<i32>) -> Result<(u32, u32)> {
    match (segment, total) {
        (None, None) => Ok((0, 1)),
        (Some(_), None) => Err(Error::validation(
            "The TotalSegments parameter is required but was not present in the request when Segment \
             parameter is present",
        )),
        (None, Some(_)) => Err(Error::validation(
            "The Segment parameter is required but was not present in the request when parameter \
             TotalSegments is present",
        )),
        (Some(segment), Some(total)) if !(1..=1_000_000).contains(&total) || segment < 0 => {
            Err(Error::validation(format!(
                "1 validation error detected: Segment {segment} of TotalSegments {total}: \
                 TotalSegments must be between 1 and 1000000"
            )))
        }
        (Some(segment), Some(total)) if segment >= total => Err(Error::validation(format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: \
             Segment: {segment} is not less than TotalSegments: {total}"
        ))),
        (Some(segment), Some(total)) => Ok((segment as u32, total as u32)),
    }
}

//! DynamoDB's operations: what came over the wire to `ops`, `read` and `write`, and back.

mod convert;
mod item;
mod transaction;

use wire::dynamodb as w;

use super::capacity::Capacity;
use super::model::{Index, IndexKind, KeySchema, Projection, Table, Throughput};
use super::ops::{Creation, IndexCreation};
use super::write::Count;
use super::{Error, ITEMS, Result, ops};
use crate::Context;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateTable, _, _, _>(create_table),
        serve::<w::DescribeTable, _, _, _>(describe_table),
        serve::<w::ListTables, _, _, _>(list_tables),
        serve::<w::DeleteTable, _, _, _>(delete_table),
        serve::<w::TagResource, _, _, _>(tag_resource),
        serve::<w::UntagResource, _, _, _>(untag_resource),
        serve::<w::ListTagsOfResource, _, _, _>(list_tags),
        serve::<w::PutItem, _, _, _>(item::put),
        serve::<w::GetItem, _, _, _>(item::get),
        serve::<w::UpdateItem, _, _, _>(item::update),
        serve::<w::DeleteItem, _, _, _>(item::delete),
        serve::<w::Query, _, _, _>(item::query),
        serve::<w::Scan, _, _, _>(item::scan),
        serve::<w::BatchGetItem, _, _, _>(transaction::batch_get),
        serve::<w::BatchWriteItem, _, _, _>(transaction::batch_write),
        serve::<w::TransactGetItems, _, _, _>(transaction::get),
        serve::<w::TransactWriteItems, _, _, _>(transaction::write),
    ]
}

async fn create_table(cx: Context, input: w::CreateTableInput) -> Result<w::CreateTableOutput> {
    let creation = creation(input)?;
    let table = cx.write(|tx| ops::create(tx, &cx, &creation)).await?;
    let description = description(&table, "CREATING", &Count::default());
    Ok(w::CreateTableOutput { table_description: Some(description) })
}

async fn describe_table(
    cx: Context,
    input: w::DescribeTableInput,
) -> Result<w::DescribeTableOutput> {
    let table = ops::describe(&cx.read(), &cx, &input.table_name)?;
    let status = if table.deleting { "DELETING" } else { "ACTIVE" };
    let count = count(&cx, &table)?;
    Ok(w::DescribeTableOutput { table: Some(description(&table, status, &count)) })
}

async fn list_tables(cx: Context, input: w::ListTablesInput) -> Result<w::ListTablesOutput> {
    let limit = input.limit.unwrap_or(100);
    if !(1..=100).contains(&limit) {
        return Err(Error::validation(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: \
             Member must have value between 1 and 100"
        )));
    }
    let start = input.exclusive_start_table_name.as_deref();
    let (names, last) = ops::list(&cx.read(), &cx, start, limit as usize);
    Ok(w::ListTablesOutput { last_evaluated_table_name: last, table_names: Some(names) })
}

async fn delete_table(cx: Context, input: w::DeleteTableInput) -> Result<w::DeleteTableOutput> {
    let table = cx.write(|tx| ops::delete(tx, &cx, &input.table_name)).await?;
    let description = description(&table, "DELETING", &count(&cx, &table)?);
    Ok(w::DeleteTableOutput { table_description: Some(description) })
}

async fn tag_resource(cx: Context, input: w::TagResourceInput) -> Result<w::TagResourceOutput> {
    let tags = pairs(input.tags);
    cx.write(|tx| ops::set_tags(tx, &cx, &input.resource_arn, &tags)).await?;
    Ok(w::TagResourceOutput {})
}

async fn untag_resource(
    cx: Context,
    input: w::UntagResourceInput,
) -> Result<w::UntagResourceOutput> {
    cx.write(|tx| ops::remove_tags(tx, &cx, &input.resource_arn, &input.tag_keys)).await?;
    Ok(w::UntagResourceOutput {})
}

async fn list_tags(
    cx: Context,
    input: w::ListTagsOfResourceInput,
) -> Result<w::ListTagsOfResourceOutput> {
    if input.next_token.is_some() {
        // A table's tags fit one page.
        return Err(Error::validation("The provided NextToken is invalid"));
    }
    let table = ops::tagged(&cx.read(), &cx, &input.resource_arn)?;
    let tags =
        table.tags.iter().map(|(key, value)| w::Tag { key: key.clone(), value: value.clone() });
    Ok(w::ListTagsOfResourceOutput { next_token: None, tags: Some(tags.collect()) })
}

fn pairs(tags: Vec<w::Tag>) -> Vec<(String, String)> {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

fn creation(input: w::CreateTableInput) -> Result<Creation> {
    let unsupported = [
        (input.on_demand_throughput.is_some(), "OnDemandThroughput"),
        (input.resource_policy.is_some(), "ResourcePolicy"),
        (input.vector_indexes.is_some(), "VectorIndexes"),
        (input.warm_throughput.is_some(), "WarmThroughput"),
        (input.global_table_source_arn.is_some(), "GlobalTableSourceArn"),
        (
            input.global_table_settings_replication_mode.is_some(),
            "GlobalTableSettingsReplicationMode",
        ),
        (input.stream_specification.is_some_and(|s| s.stream_enabled), "StreamSpecification"),
        (
            input.sse_specification.is_some_and(|sse| {
                sse.enabled == Some(true)
                    || sse.sse_type.is_some()
                    || sse.kms_master_key_id.is_some()
            }),
            "SSESpecification",
        ),
    ];
    refuse(&unsupported)?;
    let global = input.global_secondary_indexes.unwrap_or_default().into_iter().map(|index| {
        refuse(&[
            (index.on_demand_throughput.is_some(), "OnDemandThroughput"),
            (index.warm_throughput.is_some(), "WarmThroughput"),
        ])?;
        Ok(IndexCreation {
            name: index.index_name,
            key: schema(index.key_schema),
            projection_type: index.projection.projection_type,
            non_key_attributes: index.projection.non_key_attributes,
            throughput: index.provisioned_throughput.map(throughput).transpose()?,
        })
    });
    let local = input.local_secondary_indexes.unwrap_or_default().into_iter();
    let definitions = input.attribute_definitions.unwrap_or_default().into_iter();
    Ok(Creation {
        name: input.table_name,
        attributes: definitions.map(|def| (def.attribute_name, def.attribute_type)).collect(),
        key: schema(input.key_schema.unwrap_or_default()),
        global: global.collect::<Result<_>>()?,
        local: local
            .map(|index| IndexCreation {
                name: index.index_name,
                key: schema(index.key_schema),
                projection_type: index.projection.projection_type,
                non_key_attributes: index.projection.non_key_attributes,
                throughput: None,
            })
            .collect(),
        billing_mode: input.billing_mode,
        throughput: input.provisioned_throughput.map(throughput).transpose()?,
        table_class: input.table_class,
        deletion_protection: input.deletion_protection_enabled.unwrap_or(false),
        tags: pairs(input.tags.unwrap_or_default()),
    })
}

/// Refuses members that have no effect here.
fn refuse(members: &[(bool, &str)]) -> Result<()> {
    match members.iter().find(|(given, _)| *given) {
        Some((_, name)) => Err(Error::validation(format!("{name} is not supported here"))),
        None => Ok(()),
    }
}

fn schema(elements: Vec<w::KeySchemaElement>) -> Vec<(String, String)> {
    elements.into_iter().map(|element| (element.attribute_name, element.key_type)).collect()
}

fn throughput(wire: w::ProvisionedThroughput) -> Result<Throughput> {
    let (read, write) = (wire.read_capacity_units, wire.write_capacity_units);
    if read < 1 || write < 1 {
        return Err(Error::validation(
            "1 validation error detected: provisionedThroughput.readCapacityUnits and \
             provisionedThroughput.writeCapacityUnits must have value greater than or equal to 1",
        ));
    }
    Ok(Throughput { read, write })
}

fn count(cx: &Context, table: &Table) -> Result<Count> {
    let items = cx.env.store.keyspace(ITEMS);
    cx.env.store.view(|view| Count::total(view, &items, table))
}

fn description(table: &Table, status: &str, count: &Count) -> w::TableDescription {
    let of = |number: u8| count.0.get(&number).copied().unwrap_or_default();
    let indexes = |kind: IndexKind| table.indexes.iter().filter(move |index| index.kind == kind);
    let global: Vec<_> = indexes(IndexKind::Global)
        .map(|index| w::GlobalSecondaryIndexDescription {
            index_arn: Some(index_arn(table, index)),
            index_name: Some(index.name.clone()),
            index_status: Some(status.to_owned()),
            item_count: Some(of(index.number).0),
            index_size_bytes: Some(of(index.number).1),
            key_schema: Some(schema_out(&index.key)),
            projection: Some(projection_out(&index.projection)),
            provisioned_throughput: Some(throughput_out(index.throughput)),
            ..Default::default()
        })
        .collect();
    let local: Vec<_> = indexes(IndexKind::Local)
        .map(|index| w::LocalSecondaryIndexDescription {
            index_arn: Some(index_arn(table, index)),
            index_name: Some(index.name.clone()),
            item_count: Some(of(index.number).0),
            index_size_bytes: Some(of(index.number).1),
            key_schema: Some(schema_out(&index.key)),
            projection: Some(projection_out(&index.projection)),
        })
        .collect();
    let created = wire::Timestamp(table.created_at.0);
    w::TableDescription {
        attribute_definitions: Some(
            table
                .attributes
                .iter()
                .map(|(name, kind)| w::AttributeDefinition {
                    attribute_name: name.clone(),
                    attribute_type: kind.clone(),
                })
                .collect(),
        ),
        billing_mode_summary: table.throughput.is_none().then(|| w::BillingModeSummary {
            billing_mode: Some("PAY_PER_REQUEST".to_owned()),
            last_update_to_pay_per_request_date_time: Some(created),
        }),
        creation_date_time: Some(created),
        deletion_protection_enabled: Some(table.deletion_protection),
        global_secondary_indexes: (!global.is_empty()).then_some(global),
        local_secondary_indexes: (!local.is_empty()).then_some(local),
        item_count: Some(of(0).0),
        table_size_bytes: Some(of(0).1),
        key_schema: Some(schema_out(&table.key)),
        provisioned_throughput: Some(throughput_out(table.throughput)),
        table_arn: Some(table.arn()),
        table_class_summary: table.table_class.as_ref().map(|class| w::TableClassSummary {
            table_class: Some(class.clone()),
            last_update_date_time: None,
        }),
        table_id: Some(table.id.clone()),
        table_name: Some(table.name.clone()),
        table_status: Some(status.to_owned()),
        ..Default::default()
    }
}

fn index_arn(table: &Table, index: &Index) -> String {
    format!("{}/index/{}", table.arn(), index.name)
}

fn schema_out(key: &KeySchema) -> Vec<w::KeySchemaElement> {
    let kinds = ["HASH", "RANGE"];
    key.names()
        .zip(kinds)
        .map(|(name, kind)| w::KeySchemaElement {
            attribute_name: name.to_owned(),
            key_type: kind.to_owned(),
        })
        .collect()
}

fn projection_out(projection: &Projection) -> w::Projection {
    let (kind, names) = match projection {
        Projection::All => ("ALL", None),
        Projection::KeysOnly => ("KEYS_ONLY", None),
        Projection::Include(names) => ("INCLUDE", Some(names.iter().cloned().collect())),
    };
    w::Projection { non_key_attributes: names, projection_type: Some(kind.to_owned()) }
}

fn throughput_out(throughput: Option<Throughput>) -> w::ProvisionedThroughputDescription {
    let Throughput { read, write } = throughput.unwrap_or(Throughput { read: 0, write: 0 });
    w::ProvisionedThroughputDescription {
        number_of_decreases_today: Some(0),
        read_capacity_units: Some(read),
        write_capacity_units: Some(write),
        ..Default::default()
    }
}

/// As `ReturnConsumedCapacity` asks: `None`, `TOTAL` or `INDEXES`. `kind`: also apart as read or write
/// units, as transactions answer.
fn consumed(
    wanted: Option<&str>,
    table: &Table,
    capacity: &Capacity,
    kind: Option<Kind>,
) -> Option<w::ConsumedCapacity> {
    let wanted = wanted.filter(|wanted| *wanted != "NONE")?;
    let of = |units: f64| w::Capacity {
        capacity_units: Some(units),
        read_capacity_units: (kind == Some(Kind::Read)).then_some(units),
        write_capacity_units: (kind == Some(Kind::Write)).then_some(units),
    };
    let total = of(capacity.total());
    let mut out = w::ConsumedCapacity {
        table_name: Some(table.name.clone()),
        capacity_units: total.capacity_units,
        read_capacity_units: total.read_capacity_units,
        write_capacity_units: total.write_capacity_units,
        ..Default::default()
    };
    if wanted == "INDEXES" {
        out.table = Some(of(capacity.table));
        let all = |map: &std::collections::BTreeMap<String, f64>| {
            let map: std::collections::BTreeMap<_, _> =
                map.iter().map(|(name, units)| (name.clone(), of(*units))).collect();
            (!map.is_empty()).then_some(map)
        };
        out.local_secondary_indexes = all(&capacity.local);
        out.global_secondary_indexes = all(&capacity.global);
    }
    Some(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

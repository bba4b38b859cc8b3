//! `dynamodb:LeadingKeys`: the partition keys that a request is about. Source: DynamoDB Developer Guide,
//! "Using IAM policy conditions for fine-grained access control".

use serde_json::Value;
use store::Snapshot;

use super::Call;
use super::keys::Keys;
use crate::dynamodb::{Table, ops, queried_partition};
use crate::{Context, arn};

/// Of the items of one table, or of an index.
pub fn keys(snapshot: &Snapshot, cx: &Context, call: &Call<'_>, resource: &str) -> Keys {
    if call.service != "dynamodb" {
        return Keys::new();
    }
    let table = arn::parse(resource).and_then(|parts| parts.resource.split('/').nth(1));
    let table = table.and_then(|name| ops::table(snapshot, cx, name).ok());
    let leading = table.map(|table| leading(&table, cx, call)).unwrap_or_default();
    if leading.is_empty() {
        return Keys::new();
    }
    vec![("dynamodb:LeadingKeys".to_owned(), leading)]
}

fn leading(table: &Table, cx: &Context, call: &Call<'_>) -> Vec<String> {
    let input = call.input;
    let of_item = |item: &Value| scalar(item.get(&table.key.partition)?);
    let named = |name: &str| ops::name_of(cx, name).is_ok_and(|name| name == table.name);
    match call.operation {
        "Query" => queried(table, input).into_iter().collect(),
        "BatchGetItem" | "BatchWriteItem" => {
            let tables = input.get("RequestItems").and_then(Value::as_object);
            let own = tables.into_iter().flatten().filter(|(name, _)| named(name));
            let items = own.flat_map(|(_, asked)| {
                let gets = asked.get("Keys").and_then(Value::as_array).into_iter().flatten();
                let writes = asked.as_array().into_iter().flatten().filter_map(written);
                gets.chain(writes)
            });
            items.filter_map(of_item).collect()
        }
        "TransactGetItems" | "TransactWriteItems" => {
            let asked = input.get("TransactItems").and_then(Value::as_array);
            let asked = asked.into_iter().flatten().filter_map(Value::as_object);
            let actions = asked.flat_map(|one| one.values());
            let of_table = |action: &&Value| {
                action.get("TableName").and_then(Value::as_str).is_some_and(named)
            };
            actions.filter(of_table).filter_map(item).filter_map(of_item).collect()
        }
        _ => item(input).and_then(of_item).into_iter().collect(),
    }
}

/// Of one write of a batch.
fn written(write: &Value) -> Option<&Value> {
    item(write.get("PutRequest").or_else(|| write.get("DeleteRequest"))?)
}

fn item(of: &Value) -> Option<&Value> {
    of.get("Key").or_else(|| of.get("Item"))
}

fn queried(table: &Table, input: &Value) -> Option<String> {
    let expression = input.get("KeyConditionExpression")?.as_str()?;
    let index = input.get("IndexName").and_then(Value::as_str);
    let names = input.get("ExpressionAttributeNames").and_then(Value::as_object);
    let names = names.into_iter().flatten();
    let names = names.filter_map(|(key, name)| Some((key.clone(), name.as_str()?.to_owned())));
    let values = input.get("ExpressionAttributeValues").and_then(Value::as_object)?;
    let placeholder = queried_partition(table, index, expression, names.collect(), values.keys())?;
    scalar(values.get(&placeholder)?)
}

/// Strings and numbers, as they are written; bytes are compared with nothing.
fn scalar(value: &Value) -> Option<String> {
    value.get("S").or_else(|| value.get("N"))?.as_str().map(str::to_owned)
}

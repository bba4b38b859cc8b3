//! DynamoDB as its clients see it: JSON in, JSON out.

use std::sync::Arc;

use serde_json::{Value, json};

use super::controller::Sweeper;
use crate::controller::Controller;
use crate::{Context, services, testing};

/// `Err`: the code and the whole body.
async fn call(cx: &Context, operation: &str, body: Value) -> Result<Value, (String, Value)> {
    let request = wire::Request {
        service: "dynamodb",
        operation: operation.to_owned(),
        protocol: wire::Protocol::Json10,
        method: http::Method::POST,
        uri: http::Uri::from_static("/"),
        headers: http::HeaderMap::new(),
        body: body.to_string().into(),
    };
    let entry = services::table()
        .into_iter()
        .find(|entry| entry.service == "dynamodb" && entry.operation == operation)
        .expect("a served operation");
    match (entry.call)(cx.clone(), Arc::new(request)).await {
        Ok(response) => Ok(serde_json::from_slice(&response.body).unwrap()),
        Err(error) => {
            let mut body = serde_json::to_value(&error.members).unwrap();
            body["message"] = json!(error.message);
            Err((error.code, body))
        }
    }
}

async fn ok(cx: &Context, operation: &str, body: Value) -> Value {
    call(cx, operation, body).await.unwrap_or_else(|error| panic!("{operation}: {error:?}"))
}

/// Expects a refusal that says `message`.
async fn refused(cx: &Context, operation: &str, body: Value, code: &str, message: &str) {
    let (got, body) = call(cx, operation, body).await.expect_err(operation);
    assert_eq!((got.as_str(), body["message"].as_str().unwrap()), (code, message), "{operation}");
}

async fn cloud() -> Context {
    let cx = testing::context();
    let table = json!({
        "TableName": "things",
        "AttributeDefinitions": [
            {"AttributeName": "p", "AttributeType": "S"},
            {"AttributeName": "s", "AttributeType": "N"},
            {"AttributeName": "g", "AttributeType": "S"},
            {"AttributeName": "l", "AttributeType": "B"},
        ],
        "KeySchema": [
            {"AttributeName": "p", "KeyType": "HASH"},
            {"AttributeName": "s", "KeyType": "RANGE"},
        ],
        "GlobalSecondaryIndexes": [{
            "IndexName": "by-g",
            "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]},
        }],
        "LocalSecondaryIndexes": [{
            "IndexName": "by-l",
            "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "l", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }],
        "BillingMode": "PAY_PER_REQUEST",
    });
    let created = ok(&cx, "CreateTable", table.clone()).await;
    assert_eq!(created["TableDescription"]["TableStatus"], "CREATING");
    refused(&cx, "CreateTable", table, "ResourceInUseException", "Table already exists: things")
        .await;
    cx
}

fn key(p: &str, s: i32) -> Value {
    json!({"p": {"S": p}, "s": {"N": s.to_string()}})
}

async fn put(cx: &Context, p: &str, s: i32, more: Value) {
    let mut item = key(p, s);
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ok(cx, "PutItem", json!({"TableName": "things", "Item": item})).await;
}

fn numbers(answer: &Value) -> Vec<&str> {
    answer["Items"].as_array().unwrap().iter().map(|i| i["s"]["N"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn tables_are_described_counted_and_deleted_with_their_items() {
    let cx = cloud().await;
    for n in 0..30 {
        put(&cx, "a", n, json!({"g": {"S": "x"}})).await;
    }
    put(&cx, "a", 3, json!({})).await;
    let table = ok(&cx, "DescribeTable", json!({"TableName": "things"})).await["Table"].clone();
    assert_eq!(table["TableStatus"], "ACTIVE");
    assert_eq!(table["ItemCount"], 30);
    assert_eq!(table["GlobalSecondaryIndexes"][0]["ItemCount"], 29);
    assert_eq!(table["LocalSecondaryIndexes"][0]["ItemCount"], 0);
    assert_eq!(table["TableArn"], "arn:aws:dynamodb:us-east-1:123456789012:table/things");
    let listed = ok(&cx, "ListTables", json!({})).await;
    assert_eq!(listed["TableNames"], json!(["things"]));

    let deleted = ok(&cx, "DeleteTable", json!({"TableName": "things"})).await;
    assert_eq!(deleted["TableDescription"]["TableStatus"], "DELETING");
    let get = json!({"TableName": "things", "Key": key("a", 1)});
    refused(&cx, "GetItem", get, "ResourceNotFoundException", "Requested resource not found").await;
    for _ in 0..2 {
        Sweeper.reconcile(&cx.env).await.unwrap();
    }
    refused(
        &cx,
        "DescribeTable",
        json!({"TableName": "things"}),
        "ResourceNotFoundException",
        "Requested resource not found: Table: things not found",
    )
    .await;
    let mut left = 0;
    let items = cx.env.store.keyspace(super::ITEMS);
    let counted = items.scan(&store::Range::all(), |_, _| {
        left += 1;
        Ok::<_, store::Error>(std::ops::ControlFlow::Continue(()))
    });
    counted.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn create_table_refuses_what_does_not_fit_together() {
    let cx = testing::context();
    let with = |more: Value| {
        let mut body = json!({
            "TableName": "abc",
            "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (more, message) in [
        (
            json!({"TableName": "ab"}),
            "TableName must be at least 3 characters long and at most 255 characters long",
        ),
        (
            json!({"BillingMode": "PROVISIONED"}),
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        ),
        (
            json!({"KeySchema": [{"AttributeName": "q", "KeyType": "HASH"}]}),
            "One or more parameter values were invalid: Some key attributes are not defined in AttributeDefinitions. Keys: [q], AttributeDefinitions: [p]",
        ),
        (
            json!({"KeySchema": [{"AttributeName": "p", "KeyType": "RANGE"}]}),
            "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
        ),
        (
            json!({"AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}, {"AttributeName": "q", "AttributeType": "S"}]}),
            "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
        ),
        (
            json!({"StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"}}),
            "StreamSpecification is not supported here",
        ),
        (json!({"SSESpecification": {"Enabled": true}}), "SSESpecification is not supported here"),
    ] {
        refused(&cx, "CreateTable", with(more), "ValidationException", message).await;
    }
    ok(&cx, "CreateTable", with(json!({"DeletionProtectionEnabled": true}))).await;
    let message = "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.";
    refused(&cx, "DeleteTable", json!({"TableName": "abc"}), "ValidationException", message).await;
}

#[tokio::test]
async fn items_come_back_as_they_were_put() {
    let cx = cloud().await;
    let more = json!({
        "n": {"N": "1.50e1"}, "b": {"B": "AAEC"}, "t": {"BOOL": true}, "z": {"NULL": true},
        "ss": {"SS": ["b", "a"]}, "ns": {"NS": ["2", "1.0"]}, "bs": {"BS": ["AA=="]},
        "m": {"M": {"k": {"L": [{"S": ""}, {"N": "-0"}]}}},
    });
    put(&cx, "a", 1, more).await;
    let got = ok(&cx, "GetItem", json!({"TableName": "things", "Key": key("a", 1)})).await;
    assert_eq!(
        got["Item"],
        json!({
            "p": {"S": "a"}, "s": {"N": "1"},
            "n": {"N": "15"}, "b": {"B": "AAEC"}, "t": {"BOOL": true}, "z": {"NULL": true},
            "ss": {"SS": ["a", "b"]}, "ns": {"NS": ["1", "2"]}, "bs": {"BS": ["AA=="]},
            "m": {"M": {"k": {"L": [{"S": ""}, {"N": "0"}]}}},
        })
    );
    let projected = json!({
        "TableName": "things", "Key": key("a", 1),
        "ProjectionExpression": "#m.k[1], t", "ExpressionAttributeNames": {"#m": "m"},
        "ConsistentRead": true, "ReturnConsumedCapacity": "TOTAL",
    });
    let got = ok(&cx, "GetItem", projected).await;
    assert_eq!(got["Item"], json!({"t": {"BOOL": true}, "m": {"M": {"k": {"L": [{"N": "0"}]}}}}));
    assert_eq!(got["ConsumedCapacity"], json!({"TableName": "things", "CapacityUnits": 1.0}));
    assert_eq!(
        ok(&cx, "GetItem", json!({"TableName": "things", "Key": key("a", 2)})).await,
        json!({})
    );
}

#[tokio::test]
async fn bad_items_are_refused_in_awss_words() {
    let cx = cloud().await;
    for (item, message) in [
        (
            json!({"p": {"S": "a"}}),
            "One or more parameter values were invalid: Missing the key s in the item",
        ),
        (
            json!({"p": {"N": "1"}, "s": {"N": "1"}}),
            "One or more parameter values were invalid: Type mismatch for key p expected: S actual: N",
        ),
        (
            json!({"p": {"S": ""}, "s": {"N": "1"}}),
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: p",
        ),
        (
            json!({"p": {"S": "a"}, "s": {"N": "x"}}),
            "The parameter cannot be converted to a numeric value: x",
        ),
        (
            json!({"p": {"S": "a"}, "s": {}}),
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        ),
        (
            json!({"p": {"S": "a"}, "s": {"N": "1"}, "g": {"N": "1"}}),
            "One or more parameter values were invalid: Type mismatch for Index Key g Expected: S Actual: N IndexName: by-g",
        ),
        (
            json!({"p": {"S": "a"}, "s": {"N": "1"}, "x": {"SS": ["a", "a"]}}),
            "One or more parameter values were invalid: Input collection [\"a\", \"a\"] contains duplicates.",
        ),
        (
            json!({"p": {"S": "a"}, "s": {"N": "1"}, "x": {"S": "x".repeat(410_000)}}),
            "Item size has exceeded the maximum allowed size",
        ),
    ] {
        refused(
            &cx,
            "PutItem",
            json!({"TableName": "things", "Item": item}),
            "ValidationException",
            message,
        )
        .await;
    }
    let get = json!({"TableName": "things", "Key": {"p": {"S": "a"}}});
    refused(
        &cx,
        "GetItem",
        get,
        "ValidationException",
        "The provided key element does not match the schema",
    )
    .await;
}

#[tokio::test]
async fn conditions_decide_and_return_the_item() {
    let cx = cloud().await;
    let create = json!({
        "TableName": "things", "Item": key("a", 1),
        "ConditionExpression": "attribute_not_exists(p)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    ok(&cx, "PutItem", create.clone()).await;
    let (code, body) = call(&cx, "PutItem", create).await.unwrap_err();
    assert_eq!(code, "ConditionalCheckFailedException");
    assert_eq!(body, json!({"message": "The conditional request failed", "Item": key("a", 1)}));
    let delete = json!({
        "TableName": "things", "Key": key("a", 1), "ReturnValues": "ALL_OLD",
        "ConditionExpression": "s BETWEEN :a AND :b AND NOT contains(p, :x)",
        "ExpressionAttributeValues": {":a": {"N": "0"}, ":b": {"N": "1"}, ":x": {"S": "b"}},
    });
    assert_eq!(ok(&cx, "DeleteItem", delete).await["Attributes"], key("a", 1));
}

#[tokio::test]
async fn updates_change_nested_values_and_return_what_changed() {
    let cx = cloud().await;
    let update = |expression: &str, values: Value, returns: &str| {
        let mut body = json!({
            "TableName": "things", "Key": key("a", 1), "UpdateExpression": expression, "ReturnValues": returns,
        });
        if values != json!({}) {
            body["ExpressionAttributeValues"] = values;
        }
        body
    };
    let first = update(
        "SET m = :m, n = if_not_exists(n, :zero) + :one ADD tags :t",
        json!({":m": {"M": {"l": {"L": [{"N": "1"}]}}}, ":zero": {"N": "0"}, ":one": {"N": "1"}, ":t": {"SS": ["a"]}}),
        "ALL_NEW",
    );
    let mut expected = key("a", 1);
    expected["m"] = json!({"M": {"l": {"L": [{"N": "1"}]}}});
    expected["n"] = json!({"N": "1"});
    expected["tags"] = json!({"SS": ["a"]});
    assert_eq!(ok(&cx, "UpdateItem", first).await["Attributes"], expected);
    let second = update(
        "SET m.l = list_append(m.l, :l), m.k = :k REMOVE n DELETE tags :t",
        json!({":l": {"L": [{"S": "x"}]}, ":k": {"BOOL": false}, ":t": {"SS": ["a", "b"]}}),
        "UPDATED_NEW",
    );
    let expected =
        json!({"m": {"M": {"k": {"BOOL": false}, "l": {"L": [{"N": "1"}, {"S": "x"}]}}}});
    assert_eq!(ok(&cx, "UpdateItem", second).await["Attributes"], expected);
    let third = update("SET m.l[9] = m.l[0] REMOVE m.l[0]", json!({}), "ALL_NEW");
    let got = ok(&cx, "UpdateItem", third).await;
    assert_eq!(got["Attributes"]["m"]["M"]["l"], json!({"L": [{"S": "x"}, {"N": "1"}]}));
    assert_eq!(got["Attributes"].get("tags"), None);

    for (expression, values, message) in [
        (
            "SET s = :v",
            json!({":v": {"N": "1"}}),
            "One or more parameter values were invalid: Cannot update attribute s. This attribute is part of the key",
        ),
        (
            "SET x = y",
            json!({}),
            "The provided expression refers to an attribute that does not exist in the item",
        ),
        (
            "SET x.y = :v",
            json!({":v": {"N": "1"}}),
            "The document path provided in the update expression is invalid for update",
        ),
        (
            "SET x = m + :v",
            json!({":v": {"N": "1"}}),
            "An operand in the update expression has an incorrect data type",
        ),
        (
            "SET x = :v, x.y = :v",
            json!({":v": {"N": "1"}}),
            "Invalid UpdateExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [x], path two: [x, y]",
        ),
        (
            "SET name = :v",
            json!({":v": {"N": "1"}}),
            "Invalid UpdateExpression: Attribute name is a reserved keyword; reserved keyword: name",
        ),
        (
            "SET x = :w",
            json!({":v": {"N": "1"}}),
            "Invalid UpdateExpression: An expression attribute value used in expression is not defined; attribute value: :w",
        ),
        (
            "SET x = :v",
            json!({":v": {"N": "1"}, ":w": {"N": "1"}}),
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}",
        ),
        (
            "SET x = ",
            json!({}),
            "Invalid UpdateExpression: Syntax error; token: \"<EOF>\", near: \"=\"",
        ),
        (
            "SET x = :v SET y = :v",
            json!({":v": {"N": "1"}}),
            "Invalid UpdateExpression: The \"SET\" section can only be used once in an update expression;",
        ),
    ] {
        refused(
            &cx,
            "UpdateItem",
            update(expression, values, "NONE"),
            "ValidationException",
            message,
        )
        .await;
    }
}

#[tokio::test]
async fn queries_go_in_order_by_pages_both_ways() {
    let cx = cloud().await;
    for n in [-20, -3, 0, 1, 2, 10, 100] {
        put(&cx, "a", n, json!({"x": {"N": (n * n).to_string()}})).await;
    }
    put(&cx, "b", 5, json!({})).await;
    let query = |condition: &str, more: Value| {
        let mut body = json!({
            "TableName": "things", "KeyConditionExpression": format!("p = :p{condition}"),
            "ExpressionAttributeValues": {":p": {"S": "a"}},
        });
        for (name, value) in more.as_object().unwrap() {
            match value.as_object() {
                Some(values) if name == "ExpressionAttributeValues" => {
                    body[name].as_object_mut().unwrap().extend(values.clone());
                }
                _ => body[name] = value.clone(),
            }
        }
        body
    };
    for (condition, values, expected) in [
        ("", json!({}), "-20 -3 0 1 2 10 100"),
        (" AND s > :v", json!({":v": {"N": "0"}}), "1 2 10 100"),
        (" AND s >= :v", json!({":v": {"N": "0"}}), "0 1 2 10 100"),
        (" AND s < :v", json!({":v": {"N": "0"}}), "-20 -3"),
        (" AND s <= :v", json!({":v": {"N": "0"}}), "-20 -3 0"),
        (" AND s = :v", json!({":v": {"N": "10.0"}}), "10"),
        (" AND s BETWEEN :v AND :w", json!({":v": {"N": "-3"}, ":w": {"N": "2"}}), "-3 0 1 2"),
    ] {
        let values = json!({"ExpressionAttributeValues": values});
        let got = ok(&cx, "Query", query(condition, values)).await;
        assert_eq!(numbers(&got).join(" "), expected, "{condition}");
        assert_eq!(got.get("LastEvaluatedKey"), None);
    }
    for (forward, expected) in [(true, "-20 -3 0 1 2 10 100"), (false, "100 10 2 1 0 -3 -20")] {
        let (mut all, mut start) = (Vec::new(), Value::Null);
        loop {
            let mut body = query("", json!({"Limit": 2, "ScanIndexForward": forward}));
            if start != Value::Null {
                body["ExclusiveStartKey"] = start;
            }
            let got = ok(&cx, "Query", body).await;
            all.extend(numbers(&got).into_iter().map(str::to_owned));
            start = got["LastEvaluatedKey"].clone();
            if start == Value::Null {
                break;
            }
        }
        assert_eq!(all.join(" "), expected);
    }
    let filtered = query(
        "",
        json!({
            "FilterExpression": "x > :v", "ExpressionAttributeValues": {":v": {"N": "50"}}, "Limit": 6, "Select": "COUNT",
        }),
    );
    let got = ok(&cx, "Query", filtered).await;
    assert_eq!(
        (&got["Count"], &got["ScannedCount"], got.get("Items")),
        (&json!(2), &json!(6), None)
    );
    for (condition, values, message) in [
        (" AND x = :v", json!({":v": {"N": "1"}}), "Query condition missed key schema element: s"),
        (
            " AND s = :v",
            json!({":v": {"S": "1"}}),
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
        (
            " OR s = :v",
            json!({":v": {"N": "1"}}),
            "Invalid KeyConditionExpression: Invalid operator used in KeyConditionExpression: OR",
        ),
        (
            " AND s = :v AND s = :v",
            json!({":v": {"N": "1"}}),
            "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key",
        ),
    ] {
        let values = json!({"ExpressionAttributeValues": values});
        refused(&cx, "Query", query(condition, values), "ValidationException", message).await;
    }
}

#[tokio::test]
async fn indexes_follow_their_items() {
    let cx = cloud().await;
    for n in 0..5 {
        put(
            &cx,
            "a",
            n,
            json!({"g": {"S": "x"}, "x": {"N": "7"}, "y": {"N": "8"}, "l": {"B": "AAE="}}),
        )
        .await;
    }
    let by_g = |g: &str| {
        json!({
            "TableName": "things", "IndexName": "by-g", "KeyConditionExpression": "g = :g",
            "ExpressionAttributeValues": {":g": {"S": g}},
        })
    };
    let got = ok(&cx, "Query", by_g("x")).await;
    assert_eq!(numbers(&got), ["0", "1", "2", "3", "4"]);
    assert_eq!(
        got["Items"][0],
        json!({"p": {"S": "a"}, "s": {"N": "0"}, "g": {"S": "x"}, "x": {"N": "7"}})
    );
    let update = json!({
        "TableName": "things", "Key": key("a", 2), "UpdateExpression": "SET g = :g",
        "ExpressionAttributeValues": {":g": {"S": "z"}}, "ReturnConsumedCapacity": "INDEXES",
    });
    let used = ok(&cx, "UpdateItem", update).await["ConsumedCapacity"].clone();
    assert_eq!(used["CapacityUnits"], 3.0);
    assert_eq!(used["GlobalSecondaryIndexes"], json!({"by-g": {"CapacityUnits": 2.0}}));
    ok(&cx, "DeleteItem", json!({"TableName": "things", "Key": key("a", 3)})).await;
    assert_eq!(numbers(&ok(&cx, "Query", by_g("x")).await), ["0", "1", "4"]);
    assert_eq!(numbers(&ok(&cx, "Query", by_g("z")).await), ["2"]);
    let by_l = json!({
        "TableName": "things", "IndexName": "by-l", "KeyConditionExpression": "p = :p AND begins_with(l, :l)",
        "ExpressionAttributeValues": {":p": {"S": "a"}, ":l": {"B": "AA=="}}, "Select": "ALL_ATTRIBUTES",
        "ConsistentRead": true, "Limit": 1,
    });
    let got = ok(&cx, "Query", by_l).await;
    assert_eq!(got["Items"][0]["y"], json!({"N": "8"}));
    assert_eq!(
        got["LastEvaluatedKey"],
        json!({"p": {"S": "a"}, "s": {"N": "0"}, "l": {"B": "AAE="}})
    );
    let mut body = by_g("x");
    body["ConsistentRead"] = json!(true);
    refused(
        &cx,
        "Query",
        body,
        "ValidationException",
        "Consistent reads are not supported on global secondary indexes",
    )
    .await;
    let mut body = by_g("x");
    body["ProjectionExpression"] = json!("y");
    refused(&cx, "Query", body, "ValidationException", "One or more parameter values were invalid: Global secondary index by-g does not project [y]").await;
}

#[tokio::test]
async fn parallel_scans_see_every_item_once() {
    let cx = cloud().await;
    for n in 0..40 {
        put(&cx, &format!("p{n}"), n, json!({"x": {"S": "y".repeat(100_000)}})).await;
    }
    let mut seen = Vec::new();
    for segment in 0..3 {
        let mut body = json!({"TableName": "things", "Segment": segment, "TotalSegments": 3});
        loop {
            let got = ok(&cx, "Scan", body.clone()).await;
            let page = numbers(&got);
            assert!(page.len() <= 11, "a page is at most 1 MB");
            seen.extend(page.iter().map(|n| n.parse::<i32>().unwrap()));
            match got.get("LastEvaluatedKey") {
                Some(key) => body["ExclusiveStartKey"] = key.clone(),
                None => break,
            }
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn transactions_do_all_or_nothing_once() {
    let cx = cloud().await;
    put(&cx, "a", 1, json!({"x": {"N": "5"}})).await;
    let transaction = json!({
        "ClientRequestToken": "token",
        "TransactItems": [
            {"Put": {"TableName": "things", "Item": key("b", 1)}},
            {"Update": {
                "TableName": "things", "Key": key("a", 1), "UpdateExpression": "SET x = x - :n",
                "ConditionExpression": "x >= :n", "ExpressionAttributeValues": {":n": {"N": "3"}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }},
            {"ConditionCheck": {
                "TableName": "things", "Key": key("c", 1), "ConditionExpression": "attribute_not_exists(p)",
            }},
        ],
    });
    ok(&cx, "TransactWriteItems", transaction.clone()).await;
    ok(&cx, "TransactWriteItems", transaction.clone()).await;
    let gets = json!({"TransactItems": [
        {"Get": {"TableName": "things", "Key": key("a", 1)}},
        {"Get": {"TableName": "things", "Key": key("b", 1)}},
        {"Get": {"TableName": "things", "Key": key("c", 1)}},
    ]});
    let got = ok(&cx, "TransactGetItems", gets).await;
    assert_eq!(got["Responses"][0]["Item"]["x"], json!({"N": "2"}));
    assert_eq!(got["Responses"][1]["Item"], key("b", 1));
    assert_eq!(got["Responses"][2], json!({}));

    let mut again = transaction.clone();
    again["ClientRequestToken"] = json!("other");
    let (code, body) = call(&cx, "TransactWriteItems", again).await.unwrap_err();
    assert_eq!(code, "TransactionCanceledException");
    assert_eq!(
        body["message"],
        "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed, None]"
    );
    let reason = &body["CancellationReasons"][1];
    assert_eq!(reason["Code"], "ConditionalCheckFailed");
    assert_eq!(reason["Item"]["x"], json!({"N": "2"}));
    let mut changed = transaction;
    changed["TransactItems"].as_array_mut().unwrap().pop();
    let (code, _) = call(&cx, "TransactWriteItems", changed).await.unwrap_err();
    assert_eq!(code, "IdempotentParameterMismatchException");
}

#[tokio::test]
async fn batches_write_and_read_several_items() {
    let cx = cloud().await;
    let puts: Vec<Value> = (0..25).map(|n| json!({"PutRequest": {"Item": key("a", n)}})).collect();
    let done = ok(&cx, "BatchWriteItem", json!({"RequestItems": {"things": puts}})).await;
    assert_eq!(done["UnprocessedItems"], json!({}));
    let keys: Vec<Value> = (20..30).map(|n| key("a", n)).collect();
    let got = ok(&cx, "BatchGetItem", json!({"RequestItems": {"things": {"Keys": keys}}})).await;
    assert_eq!(got["Responses"]["things"].as_array().unwrap().len(), 5);
    let twice = json!({"RequestItems": {"things": {"Keys": [key("a", 1), key("a", 1)]}}});
    refused(
        &cx,
        "BatchGetItem",
        twice,
        "ValidationException",
        "Provided list of item keys contains duplicates",
    )
    .await;
}

#[tokio::test]
async fn counters_lose_no_update_under_contention() {
    let cx = cloud().await;
    let updates = (0..200).map(|n| {
        let cx = cx.clone();
        tokio::spawn(async move {
            let body = json!({
                "TableName": "things", "Key": key("a", n % 2), "UpdateExpression": "ADD x :n",
                "ExpressionAttributeValues": {":n": {"N": "1"}},
            });
            ok(&cx, "UpdateItem", body).await
        })
    });
    for update in updates.collect::<Vec<_>>() {
        update.await.unwrap();
    }
    let got = ok(&cx, "Scan", json!({"TableName": "things"})).await;
    let counts: Vec<&str> =
        got["Items"].as_array().unwrap().iter().map(|i| i["x"]["N"].as_str().unwrap()).collect();
    assert_eq!(counts, ["100", "100"]);
}

//! Queues and their messages through the API, in the cloud's time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::controller::Controller;
use crate::sqs::{Gone, MESSAGES, Sweeper};
use crate::{Context, testing};

async fn call(cx: &Context, operation: &str, input: Value) -> Result<Value, wire::Error> {
    let mut table = crate::services::table().into_iter();
    let entry = table.find(|e| e.service == "sqs" && e.operation == operation).expect("is served");
    let request = wire::Request {
        service: "sqs",
        operation: operation.to_owned(),
        protocol: wire::Protocol::Json10,
        method: http::Method::POST,
        uri: http::Uri::from_static("/"),
        headers: http::HeaderMap::new(),
        body: input.to_string().into_bytes().into(),
    };
    let cx = Context { now: cx.env.clock.now(), ..cx.clone() };
    let answer = (entry.call)(cx, Arc::new(request)).await?;
    Ok(serde_json::from_slice(&answer.body).unwrap())
}

async fn ok(cx: &Context, operation: &str, input: Value) -> Value {
    let answer = call(cx, operation, input.clone()).await;
    answer.unwrap_or_else(|error| panic!("{operation} {input}: {error:?}"))
}

async fn refused(cx: &Context, operation: &str, input: Value) -> String {
    match call(cx, operation, input.clone()).await {
        Err(error) => error.code,
        Ok(answer) => panic!("{operation} {input}: {answer}"),
    }
}

async fn queue(cx: &Context, name: &str, attributes: Value) -> String {
    let made = ok(cx, "CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await;
    made["QueueUrl"].as_str().unwrap().to_owned()
}

async fn send(cx: &Context, url: &str, text: &str) -> Value {
    ok(cx, "SendMessage", json!({"QueueUrl": url, "MessageBody": text})).await
}

async fn send_in(cx: &Context, url: &str, group: &str, text: &str) -> Value {
    let input = json!({"QueueUrl": url, "MessageBody": text, "MessageGroupId": group});
    ok(cx, "SendMessage", input).await
}

async fn messages(cx: &Context, url: &str, more: Value) -> Vec<Value> {
    let mut input = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"]});
    let members = more.as_object().unwrap().clone();
    input.as_object_mut().unwrap().extend(members);
    let answer = ok(cx, "ReceiveMessage", input).await;
    answer["Messages"].as_array().cloned().unwrap_or_default()
}

async fn bodies(cx: &Context, url: &str) -> Vec<String> {
    let all = messages(cx, url, json!({})).await;
    all.iter().map(|message| message["Body"].as_str().unwrap().to_owned()).collect()
}

async fn counts(cx: &Context, url: &str) -> [String; 3] {
    let answer =
        ok(cx, "GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": ["All"]})).await;
    ["", "NotVisible", "Delayed"].map(|kind| {
        let name = format!("ApproximateNumberOfMessages{kind}");
        answer["Attributes"][name].as_str().unwrap().to_owned()
    })
}

async fn delete(cx: &Context, url: &str, message: &Value) -> Result<Value, wire::Error> {
    let handle = &message["ReceiptHandle"];
    call(cx, "DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": handle})).await
}

fn pass(cx: &Context, seconds: u64) {
    cx.env.clock.advance(cx.env.clock.now().plus(Duration::from_secs(seconds)));
}

/// As after a restart of the daemon: what is in memory is made again.
fn restarted(cx: &Context) -> Context {
    let parts: &crate::env::Parts = &cx.env;
    let parts = crate::env::Parts { sqs: crate::sqs::Lines::default(), ..parts.clone() };
    Context { env: crate::Env::new(parts), ..cx.clone() }
}

#[tokio::test]
async fn a_message_is_kept_from_others_until_it_is_deleted_or_its_time_is_over() {
    let cx = testing::context();
    let url = queue(&cx, "jobs", json!({"VisibilityTimeout": "20"})).await;
    assert_eq!(url, "https://sqs.us-east-1.amazonaws.com/123456789012/jobs");
    let sent = send(&cx, &url, "This is a test message").await;
    assert_eq!(sent["MD5OfMessageBody"], "fafb00f5732ab283681e124bf8747ed1");
    send(&cx, &url, "other").await;
    assert_eq!(counts(&cx, &url).await, ["2", "0", "0"]);

    let first = messages(&cx, &url, json!({"MaxNumberOfMessages": 1})).await.remove(0);
    assert_eq!(first["MessageId"], sent["MessageId"]);
    assert_eq!(first["MD5OfBody"], sent["MD5OfMessageBody"]);
    assert_eq!(first["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(first["Attributes"]["SenderId"], "123456789012");
    assert_eq!(bodies(&cx, &url).await, ["other"]);
    assert_eq!(counts(&cx, &url).await, ["0", "2", "0"]);

    // What is in flight stays so over a restart, and its handle stays good.
    let cx = restarted(&cx);
    assert!(bodies(&cx, &url).await.is_empty());
    delete(&cx, &url, &first).await.unwrap();
    delete(&cx, &url, &first).await.unwrap();
    pass(&cx, 20);
    let again = messages(&cx, &url, json!({})).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["Attributes"]["ApproximateReceiveCount"], "2");

    // An older handle deletes nothing.
    let handle = again[0]["ReceiptHandle"].clone();
    let release = json!({"QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": 0});
    ok(&cx, "ChangeMessageVisibility", release.clone()).await;
    assert_eq!(refused(&cx, "ChangeMessageVisibility", release).await, "MessageNotInflight");
    assert_eq!(bodies(&cx, &url).await, ["other"]);
    delete(&cx, &url, &again[0]).await.unwrap();
    assert_eq!(counts(&cx, &url).await, ["0", "1", "0"]);
    let garbage = json!({"QueueUrl": url, "ReceiptHandle": "garbage"});
    assert_eq!(refused(&cx, "DeleteMessage", garbage).await, "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn delays_and_retention_go_by_the_clouds_time() {
    let cx = testing::context();
    let url =
        queue(&cx, "jobs", json!({"DelaySeconds": "5", "MessageRetentionPeriod": "60"})).await;
    send(&cx, &url, "late").await;
    let now = json!({"QueueUrl": url, "MessageBody": "now", "DelaySeconds": 0});
    ok(&cx, "SendMessage", now).await;
    assert_eq!(counts(&cx, &url).await, ["1", "0", "1"]);
    assert_eq!(bodies(&cx, &url).await, ["now"]);
    pass(&cx, 5);
    let cx = restarted(&cx);
    assert_eq!(bodies(&cx, &url).await, ["late"]);
    pass(&cx, 55);
    assert!(bodies(&cx, &url).await.is_empty(), "both are too old");
    let left = cx.env.store.keyspace(MESSAGES);
    let mut kinds = Vec::new();
    let all = left.scan(&store::Range::all(), |key, _| {
        kinds.push(key[8]);
        Ok::<_, store::Error>(std::ops::ControlFlow::Continue(()))
    });
    all.unwrap();
    assert_eq!(kinds, [b'S'], "nothing of them is stored any more");
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_message_or_with_its_time() {
    let cx = testing::context();
    let url = queue(&cx, "jobs", json!({})).await;
    let poll = |cx: Context, url: String| {
        tokio::spawn(async move { messages(&cx, &url, json!({"WaitTimeSeconds": 20})).await })
    };
    let waiting = poll(cx.clone(), url.clone());
    tokio::task::yield_now().await;
    pass(&cx, 19);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    send(&cx, &url, "hello").await;
    let received = waiting.await.unwrap();
    assert_eq!(received[0]["Body"], "hello");

    // What becomes visible meanwhile is received too.
    let waiting = poll(cx.clone(), url.clone());
    tokio::task::yield_now().await;
    let change = json!({"QueueUrl": url, "ReceiptHandle": received[0]["ReceiptHandle"],
                        "VisibilityTimeout": 7});
    ok(&cx, "ChangeMessageVisibility", change).await;
    for second in 1..=7 {
        assert!(!waiting.is_finished(), "after {second} seconds");
        pass(&cx, 1);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    assert!(waiting.is_finished());
    assert_eq!(waiting.await.unwrap()[0]["Attributes"]["ApproximateReceiveCount"], "2");

    let waiting = poll(cx.clone(), url.clone());
    tokio::task::yield_now().await;
    pass(&cx, 20);
    assert!(waiting.await.unwrap().is_empty());

    // A queue that goes ends it.
    let waiting = poll(cx.clone(), url.clone());
    tokio::task::yield_now().await;
    ok(&cx, "DeleteQueue", json!({"QueueUrl": url})).await;
    assert!(waiting.await.unwrap_err().is_panic(), "QueueDoesNotExist");
}

#[tokio::test]
async fn groups_keep_their_order_and_duplicates_are_told() {
    let cx = testing::context();
    let fifo = json!({"FifoQueue": "true", "ContentBasedDeduplication": "true"});
    let url = queue(&cx, "jobs.fifo", fifo).await;
    let first = send_in(&cx, &url, "a", "1").await;
    send_in(&cx, &url, "a", "2").await;
    send_in(&cx, &url, "b", "3").await;
    let again = send_in(&cx, &url, "a", "1").await;
    assert_eq!(
        (&again["MessageId"], &again["SequenceNumber"]),
        (&first["MessageId"], &first["SequenceNumber"])
    );
    assert_eq!(first["SequenceNumber"].as_str().unwrap().len(), 20);

    let one = messages(&cx, &url, json!({"MaxNumberOfMessages": 1})).await.remove(0);
    assert_eq!((&one["Body"], &one["Attributes"]["MessageGroupId"]), (&json!("1"), &json!("a")));
    let cx = restarted(&cx);
    assert_eq!(bodies(&cx, &url).await, ["3"], "a is blocked");
    delete(&cx, &url, &one).await.unwrap();
    assert_eq!(bodies(&cx, &url).await, ["2"]);

    // Known though it is deleted, for five minutes.
    send_in(&cx, &url, "a", "1").await;
    assert_eq!(counts(&cx, &url).await, ["0", "2", "0"]);
    pass(&cx, 301);
    let cx = restarted(&cx);
    send_in(&cx, &url, "a", "1").await;
    assert_eq!(counts(&cx, &url).await, ["3", "0", "0"]);
    assert_eq!(bodies(&cx, &url).await, ["2", "1", "3"], "in the order of the groups' firsts");

    // A handle whose time is over is refused.
    let all = messages(&cx, &url, json!({})).await;
    assert!(all.is_empty());
    pass(&cx, 31);
    let late = delete(&cx, &url, &one).await;
    assert!(late.is_ok(), "the message is gone: nothing to refuse");
    let taken = messages(&cx, &url, json!({})).await;
    pass(&cx, 31);
    let late = delete(&cx, &url, &taken[0]).await.unwrap_err();
    assert_eq!(late.code, "InvalidParameterValueException");
}

#[tokio::test]
async fn an_attempt_is_repeated_also_after_a_restart() {
    let cx = testing::context();
    let fifo = json!({"FifoQueue": "true", "ContentBasedDeduplication": "true"});
    let url = queue(&cx, "jobs.fifo", fifo).await;
    for text in ["1", "2", "3"] {
        send_in(&cx, &url, text, text).await;
    }
    let attempt = json!({"ReceiveRequestAttemptId": "try", "MaxNumberOfMessages": 2});
    let first = messages(&cx, &url, attempt.clone()).await;
    let cx = restarted(&cx);
    assert_eq!(messages(&cx, &url, attempt.clone()).await, first);
    delete(&cx, &url, &first[0]).await.unwrap();
    let other = messages(&cx, &url, attempt).await;
    assert_eq!((other.len(), &other[0]["Body"]), (1, &json!("3")));
}

#[tokio::test]
async fn what_is_received_too_often_goes_to_the_dead_letter_queue() {
    let cx = testing::context();
    let dead = queue(&cx, "dead", json!({})).await;
    let target = "arn:aws:sqs:us-east-1:123456789012:dead";
    let redrive = json!({"deadLetterTargetArn": target, "maxReceiveCount": 2}).to_string();
    let url = queue(&cx, "jobs", json!({"RedrivePolicy": redrive, "VisibilityTimeout": "1"})).await;
    let sources = ok(&cx, "ListDeadLetterSourceQueues", json!({"QueueUrl": dead})).await;
    assert_eq!(sources["queueUrls"], json!([url]));
    let sent = send(&cx, &url, "poison").await;
    for _ in 0..2 {
        assert_eq!(bodies(&cx, &url).await, ["poison"]);
        pass(&cx, 1);
    }
    assert!(bodies(&cx, &url).await.is_empty());
    assert_eq!(counts(&cx, &url).await, ["0", "0", "0"]);
    let cx = restarted(&cx);
    let buried = messages(&cx, &dead, json!({})).await.remove(0);
    assert_eq!(buried["MessageId"], sent["MessageId"]);
    assert_eq!(buried["Attributes"]["ApproximateReceiveCount"], "3");
    assert_eq!(
        buried["Attributes"]["DeadLetterQueueSourceArn"],
        "arn:aws:sqs:us-east-1:123456789012:jobs"
    );

    let deny = json!({"redrivePermission": "denyAll"}).to_string();
    let set = json!({"QueueUrl": dead, "Attributes": {"RedriveAllowPolicy": deny}});
    ok(&cx, "SetQueueAttributes", set).await;
    let create = json!({"QueueName": "more", "Attributes": {"RedrivePolicy": redrive}});
    assert_eq!(refused(&cx, "CreateQueue", create).await, "InvalidParameterValueException");
    let fifo = json!({"QueueName": "more.fifo",
                      "Attributes": {"FifoQueue": "true", "RedrivePolicy": redrive}});
    assert_eq!(refused(&cx, "CreateQueue", fifo).await, "InvalidParameterValueException");
}

#[tokio::test]
async fn purged_and_deleted_queues_are_empty_and_their_names_rest() {
    let cx = testing::context();
    let url = queue(&cx, "jobs", json!({})).await;
    let address = json!({"QueueUrl": url});
    send(&cx, &url, "1").await;
    ok(&cx, "PurgeQueue", address.clone()).await;
    assert_eq!(refused(&cx, "PurgeQueue", address.clone()).await, "PurgeQueueInProgress");
    send(&cx, &url, "2").await;
    let cx = restarted(&cx);
    assert_eq!(bodies(&cx, &url).await, ["2"]);
    Sweeper.reconcile(&cx.env).await.unwrap();
    let cx = restarted(&cx);
    assert_eq!(counts(&cx, &url).await, ["0", "1", "0"]);

    ok(&cx, "DeleteQueue", address.clone()).await;
    assert_eq!(refused(&cx, "GetQueueAttributes", address).await, "QueueDoesNotExist");
    let create = json!({"QueueName": "jobs"});
    assert_eq!(refused(&cx, "CreateQueue", create.clone()).await, "QueueDeletedRecently");
    Sweeper.reconcile(&cx.env).await.unwrap();
    let messages = cx.env.store.keyspace(MESSAGES);
    let count = || {
        let mut count = 0;
        let all = messages.scan(&store::Range::all(), |_, _| {
            count += 1;
            Ok::<_, store::Error>(std::ops::ControlFlow::Continue(()))
        });
        all.unwrap();
        count
    };
    assert_eq!(count(), 0);
    pass(&cx, 60);
    let wake = Sweeper.reconcile(&cx.env).await.unwrap();
    assert_eq!((wake, cx.read().scan::<Gone>("").count()), (None, 0));
    ok(&cx, "CreateQueue", create).await;
    assert!(bodies(&cx, &url).await.is_empty());
}

#[tokio::test]
async fn a_queue_is_made_once_and_lists_in_pages() {
    let cx = testing::context();
    let url = queue(&cx, "a1", json!({"DelaySeconds": "5"})).await;
    assert_eq!(queue(&cx, "a1", json!({"DelaySeconds": "5"})).await, url);
    assert_eq!(queue(&cx, "a1", json!({})).await, url);
    let other = json!({"QueueName": "a1", "Attributes": {"DelaySeconds": "6"}});
    assert_eq!(refused(&cx, "CreateQueue", other).await, "QueueNameExists");
    for name in ["a2", "a3", "b"] {
        queue(&cx, name, json!({})).await;
    }
    let page = ok(&cx, "ListQueues", json!({"QueueNamePrefix": "a", "MaxResults": 2})).await;
    assert_eq!(page["QueueUrls"].as_array().unwrap().len(), 2);
    let rest = json!({"QueueNamePrefix": "a", "MaxResults": 2, "NextToken": page["NextToken"]});
    let rest = ok(&cx, "ListQueues", rest).await;
    assert_eq!(
        (rest["QueueUrls"].as_array().unwrap().len(), &rest["NextToken"]),
        (1, &Value::Null)
    );

    ok(&cx, "TagQueue", json!({"QueueUrl": url, "Tags": {"team": "red", "x": ""}})).await;
    ok(&cx, "UntagQueue", json!({"QueueUrl": url, "TagKeys": ["x"]})).await;
    let tags = ok(&cx, "ListQueueTags", json!({"QueueUrl": url})).await;
    assert_eq!(tags["Tags"], json!({"team": "red"}));
    let found = ok(&cx, "GetQueueUrl", json!({"QueueName": "a1"})).await;
    assert_eq!(found["QueueUrl"], json!(url));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let cx = testing::context();
    let url = queue(&cx, "jobs", json!({"MaximumMessageSize": "1024"})).await;
    let fifo = queue(&cx, "jobs.fifo", json!({"FifoQueue": "true"})).await;
    let create = |name: &str, attributes: Value| {
        ("CreateQueue", json!({"QueueName": name, "Attributes": attributes}))
    };
    let sending = |url: &str, more: Value| {
        let mut input = json!({"QueueUrl": url, "MessageBody": "x"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("SendMessage", input)
    };
    let receive = |more: Value| {
        let mut input = json!({"QueueUrl": url});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("ReceiveMessage", input)
    };
    let value = "InvalidParameterValueException";
    for (code, (operation, input)) in [
        (value, create("my queue", json!({}))),
        (value, create("jobs.fifo", json!({}))),
        (value, create("jobs", json!({"FifoQueue": "true"}))),
        ("InvalidAttributeName", create("other", json!({"FifoQueue": "false"}))),
        ("InvalidAttributeName", create("other", json!({"Colour": "red"}))),
        ("InvalidAttributeName", create("other", json!({"ContentBasedDeduplication": "true"}))),
        ("InvalidAttributeValue", create("other", json!({"DelaySeconds": "901"}))),
        ("InvalidAttributeValue", create("other", json!({"MaximumMessageSize": "1048577"}))),
        ("InvalidAttributeValue", create("other", json!({"Policy": "{}"}))),
        (
            "InvalidAttributeValue",
            create(
                "o.fifo",
                json!({"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}),
            ),
        ),
        ("UnsupportedOperation", create("other", json!({"KmsMasterKeyId": "alias/aws/sqs"}))),
        (value, sending(&url, json!({"MessageBody": "x".repeat(1025)}))),
        (value, sending(&url, json!({"DelaySeconds": 901}))),
        (value, sending(&url, json!({"MessageGroupId": "a"}))),
        (value, sending(&fifo, json!({"DelaySeconds": 1, "MessageGroupId": "a"}))),
        (value, sending(&fifo, json!({"MessageGroupId": "a"}))),
        ("MissingRequiredParameterException", sending(&fifo, json!({}))),
        ("MissingRequiredParameterException", sending(&url, json!({"MessageBody": ""}))),
        ("MissingRequiredParameterException", ("SendMessage", json!({"QueueUrl": url}))),
        ("InvalidMessageContents", sending(&url, json!({"MessageBody": "\u{1}"}))),
        ("QueueDoesNotExist", sending("http://x/123456789012/none", json!({}))),
        ("QueueDoesNotExist", sending("http://x/999999999999/jobs", json!({}))),
        ("InvalidAddress", sending("jobs", json!({}))),
        (value, receive(json!({"MaxNumberOfMessages": 11}))),
        (value, receive(json!({"WaitTimeSeconds": 21}))),
        (value, receive(json!({"VisibilityTimeout": 43201}))),
        (value, receive(json!({"ReceiveRequestAttemptId": "a"}))),
        ("InvalidAttributeName", receive(json!({"AttributeNames": ["Colour"]}))),
        ("QueueDoesNotExist", ("GetQueueUrl", json!({"QueueName": "none"}))),
    ] {
        assert_eq!(refused(&cx, operation, input.clone()).await, code, "{operation} {input}");
    }
}

#[tokio::test]
async fn batches_are_answered_entry_by_entry() {
    let cx = testing::context();
    let url = queue(&cx, "jobs", json!({})).await;
    let entries = json!([
        {"Id": "good", "MessageBody": "x",
         "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "a"}}},
        {"Id": "bad", "MessageBody": "x", "DelaySeconds": -1},
        {"Id": "odd", "MessageBody": "x",
         "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "many"}}},
    ]);
    let sent = ok(&cx, "SendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(sent["Successful"].as_array().unwrap().len(), 1);
    assert_eq!(sent["Successful"][0]["Id"], "good");
    let failed: Vec<_> = sent["Failed"].as_array().unwrap().iter().map(|f| &f["Code"]).collect();
    assert_eq!(failed, ["InvalidParameterValue", "InvalidParameterValue"]);

    let names = json!({"MessageAttributeNames": ["ki.*"]});
    let received = messages(&cx, &url, names).await.remove(0);
    assert_eq!(received["MessageAttributes"]["kind"]["StringValue"], "a");
    assert_eq!(received["MD5OfMessageAttributes"], sent["Successful"][0]["MD5OfMessageAttributes"]);
    let change = json!({"QueueUrl": url, "Entries": [
        {"Id": "a", "ReceiptHandle": received["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "b", "ReceiptHandle": "garbage", "VisibilityTimeout": 0}]});
    let changed = ok(&cx, "ChangeMessageVisibilityBatch", change).await;
    assert_eq!(changed["Failed"][0]["Code"], "ReceiptHandleIsInvalid");
    let received = messages(&cx, &url, json!({})).await.remove(0);
    assert_eq!(received["MessageAttributes"], Value::Null, "none was asked for");
    let entries = json!([{"Id": "a", "ReceiptHandle": received["ReceiptHandle"]}]);
    ok(&cx, "DeleteMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(counts(&cx, &url).await, ["0", "0", "0"]);

    let entry = |id: &str, text: &str| json!({"Id": id, "MessageBody": text});
    for (code, entries) in [
        ("EmptyBatchRequest", vec![]),
        ("BatchEntryIdsNotDistinct", vec![entry("a", "x"), entry("a", "x")]),
        ("InvalidBatchEntryId", vec![entry("a b", "x")]),
        ("TooManyEntriesInBatchRequest", (0..11).map(|n| entry(&n.to_string(), "x")).collect()),
        (
            "BatchRequestTooLong",
            (0..2).map(|n| entry(&n.to_string(), &"x".repeat(600_000))).collect(),
        ),
    ] {
        let input = json!({"QueueUrl": url, "Entries": entries});
        assert_eq!(refused(&cx, "SendMessageBatch", input).await, code);
    }
}

#[tokio::test]
async fn permissions_are_statements_of_the_policy() {
    let cx = testing::context();
    let url = queue(&cx, "jobs", json!({})).await;
    let add = json!({"QueueUrl": url, "Label": "theirs", "AWSAccountIds": ["111122223333"],
                     "Actions": ["SendMessage"]});
    ok(&cx, "AddPermission", add.clone()).await;
    assert_eq!(refused(&cx, "AddPermission", add).await, "InvalidParameterValueException");
    let asked = json!({"QueueUrl": url, "AttributeNames": ["Policy"]});
    let shown = ok(&cx, "GetQueueAttributes", asked.clone()).await;
    let policy: Value =
        serde_json::from_str(shown["Attributes"]["Policy"].as_str().unwrap()).unwrap();
    assert_eq!(policy["Statement"][0]["Principal"]["AWS"], "arn:aws:iam::111122223333:root");
    assert_eq!(policy["Statement"][0]["Action"], "SQS:SendMessage");
    let own = json!({"QueueUrl": url, "Label": "x", "AWSAccountIds": ["111122223333"],
                     "Actions": ["DeleteQueue"]});
    assert_eq!(refused(&cx, "AddPermission", own).await, "InvalidParameterValueException");
    let remove = json!({"QueueUrl": url, "Label": "theirs"});
    ok(&cx, "RemovePermission", remove.clone()).await;
    assert_eq!(refused(&cx, "RemovePermission", remove).await, "InvalidParameterValueException");
    assert_eq!(ok(&cx, "GetQueueAttributes", asked).await, json!({}));
}

#[tokio::test]
async fn bodies_are_sealed_where_they_are_stored() {
    let cx = testing::context();
    for (name, encrypted) in [("plain", "false"), ("sealed", "true")] {
        let url = queue(&cx, name, json!({"SqsManagedSseEnabled": encrypted})).await;
        send(&cx, &url, "the password").await;
        let mut found = false;
        let all = cx.env.store.keyspace(MESSAGES).scan(&store::Range::all(), |_, value| {
            found |= String::from_utf8_lossy(&value).contains("the password");
            Ok::<_, store::Error>(std::ops::ControlFlow::Continue(()))
        });
        all.unwrap();
        assert_eq!(found, encrypted == "false");
        assert_eq!(bodies(&cx, &url).await, ["the password"]);
        ok(&cx, "DeleteQueue", json!({"QueueUrl": url})).await;
        Sweeper.reconcile(&cx.env).await.unwrap();
    }
}

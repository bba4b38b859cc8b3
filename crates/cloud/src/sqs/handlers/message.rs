//! Messages on the wire, one by one and in batches.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use wire::sqs as w;

use crate::Context;
use crate::sqs::index::Entry;
use crate::sqs::message::{self, Attribute, Body, MAX_BYTES, Value};
use crate::sqs::receive::{MAX_VISIBILITY_SECONDS, Receive, Received};
use crate::sqs::send::{self, Accepted, Outgoing, check_id};
use crate::sqs::{Error, Result, ops, receive as out};

pub async fn send(cx: Context, input: w::SendMessageRequest) -> Result<w::SendMessageResult> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    let message = Outgoing {
        text: input.message_body,
        attributes: attributes(input.message_attributes)?,
        trace_header: trace_header(input.message_system_attributes)?,
        delay_seconds: input.delay_seconds,
        deduplication_id: input.message_deduplication_id,
        group: input.message_group_id,
    };
    let mut sent = send::send(&cx, &name, vec![message]).await?;
    let accepted = sent.remove(0)?;
    Ok(w::SendMessageResult {
        md5_of_message_body: Some(accepted.md5_of_body),
        md5_of_message_attributes: accepted.md5_of_attributes,
        md5_of_message_system_attributes: accepted.md5_of_system_attributes,
        message_id: Some(accepted.message_id),
        sequence_number: accepted.sequence.map(sequence_number),
    })
}

pub async fn send_batch(
    cx: Context,
    input: w::SendMessageBatchRequest,
) -> Result<w::SendMessageBatchResult> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    ops::queue(&cx.read(), &cx, &name)?;
    let entries = input.entries;
    check_batch("SendMessageBatchRequestEntry", entries.iter().map(|entry| entry.id.as_str()))?;
    let (mut ids, mut failed) = (Vec::new(), Vec::new());
    let (mut messages, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        let made = (attributes(entry.message_attributes))
            .and_then(|found| Ok((found, trace_header(entry.message_system_attributes)?)));
        match made {
            Ok((attributes, trace_header)) => {
                bytes += message::size(&entry.message_body, &attributes);
                ids.push(entry.id);
                messages.push(Outgoing {
                    text: entry.message_body,
                    attributes,
                    trace_header,
                    delay_seconds: entry.delay_seconds,
                    deduplication_id: entry.message_deduplication_id,
                    group: entry.message_group_id,
                });
            }
            Err(error) => failed.push(failure(entry.id, error)),
        }
    }
    if bytes > MAX_BYTES {
        return Err(Error::BatchRequestTooLong(bytes));
    }
    let mut successful = Vec::new();
    for (id, sent) in ids.into_iter().zip(send::send(&cx, &name, messages).await?) {
        match sent {
            Ok(accepted) => successful.push(success(id, accepted)),
            Err(error) => failed.push(failure(id, error)),
        }
    }
    Ok(w::SendMessageBatchResult { successful, failed })
}

fn success(id: String, accepted: Accepted) -> w::SendMessageBatchResultEntry {
    w::SendMessageBatchResultEntry {
        id,
        message_id: accepted.message_id,
        md5_of_message_body: accepted.md5_of_body,
        md5_of_message_attributes: accepted.md5_of_attributes,
        md5_of_message_system_attributes: accepted.md5_of_system_attributes,
        sequence_number: accepted.sequence.map(sequence_number),
    }
}

/// An entry of a batch that failed on its own.
fn failure(id: String, error: Error) -> w::BatchResultErrorEntry {
    let error: wire::Error = error.into();
    w::BatchResultErrorEntry {
        id,
        sender_fault: error.status < 500,
        code: wire::query_code(&error.code).to_owned(),
        message: Some(error.message),
    }
}

fn check_batch<'a>(kind: &'static str, ids: impl Iterator<Item = &'a str>) -> Result<()> {
    let ids: Vec<&str> = ids.collect();
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if ids.is_empty() {
        return Err(Error::EmptyBatchRequest(kind));
    }
    if ids.len() > 10 {
        return Err(Error::TooManyEntriesInBatchRequest(ids.len()));
    }
    if ids.iter().any(|id| id.is_empty() || id.len() > 80 || !id.chars().all(word)) {
        return Err(Error::InvalidBatchEntryId);
    }
    let mut seen = BTreeSet::new();
    match ids.iter().find(|id| !seen.insert(**id)) {
        Some(twice) => Err(Error::BatchEntryIdsNotDistinct((*twice).to_owned())),
        None => Ok(()),
    }
}

/// 20 digits, in the order of sending.
fn sequence_number(sequence: u64) -> String {
    format!("1{sequence:019}")
}

fn attributes(
    given: Option<BTreeMap<String, w::MessageAttributeValue>>,
) -> Result<BTreeMap<String, Attribute>> {
    let one = |(name, given): (String, w::MessageAttributeValue)| {
        if given.string_list_values.is_some() || given.binary_list_values.is_some() {
            return Err(Error::UnsupportedOperation(
                "Message attribute list values in SendMessage operation are not supported."
                    .to_owned(),
            ));
        }
        let value = match (given.string_value, given.binary_value) {
            (Some(text), None) => Value::Text(text),
            (None, Some(bytes)) => Value::Binary(bytes),
            _ => {
                let kind = given.data_type.split('.').next().unwrap_or_default();
                return Err(Error::InvalidParameterValue(format!(
                    "The message attribute '{name}' with type '{kind}' must use one field of its type."
                )));
            }
        };
        Ok((name, Attribute { data_type: given.data_type, value }))
    };
    given.unwrap_or_default().into_iter().map(one).collect()
}

fn trace_header(
    given: Option<BTreeMap<String, w::MessageSystemAttributeValue>>,
) -> Result<Option<String>> {
    let mut header = None;
    for (name, value) in given.unwrap_or_default() {
        if name != "AWSTraceHeader" {
            return Err(Error::InvalidParameterValue(format!(
                "Message system attribute name '{name}' is invalid."
            )));
        }
        header = match (value.data_type.as_str(), value.string_value) {
            ("String", Some(text)) if !text.is_empty() => Some(text),
            _ => {
                return Err(Error::InvalidParameterValue(
                    "Message system attribute 'AWSTraceHeader' must be of type 'String'."
                        .to_owned(),
                ));
            }
        };
    }
    Ok(header)
}

/// What is known of a message besides its body.
const SYSTEM: &[&str] = &[
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
];

pub async fn receive(
    cx: Context,
    input: w::ReceiveMessageRequest,
) -> Result<w::ReceiveMessageResult> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    let within = |value: Option<i32>, parameter: &str, max: i32| match value {
        Some(n) if !(0..=max).contains(&n) => {
            let reason = format!("Must be >= 0 and <= {max}, if provided.");
            Err(Error::value(n, parameter, &reason))
        }
        value => Ok(value.map(i32::unsigned_abs)),
    };
    let max = input.max_number_of_messages.unwrap_or(1);
    if !(1..=10).contains(&max) {
        let reason = "Must be between 1 and 10, if provided.";
        return Err(Error::value(max, "MaxNumberOfMessages", reason));
    }
    let mut system = input.attribute_names.unwrap_or_default();
    system.extend(input.message_system_attribute_names.unwrap_or_default());
    let known = |name: &String| name == "All" || SYSTEM.contains(&name.as_str());
    // Among the attributes of queues it means nothing here, and is let through.
    system.retain(|name| name != "SqsManagedSseEnabled");
    if let Some(unknown) = system.iter().find(|name| !known(name)) {
        return Err(Error::InvalidAttributeName(unknown.clone()));
    }
    if let Some(attempt) = &input.receive_request_attempt_id {
        check_id(attempt, "ReceiveRequestAttemptId")?;
        if !ops::queue(&cx.read(), &cx, &name)?.fifo() {
            let reason = "The request include parameter that is not valid for this queue type.";
            return Err(Error::value(attempt, "ReceiveRequestAttemptId", reason));
        }
    }
    let wanted = Receive {
        max: max.unsigned_abs() as usize,
        visibility_seconds: within(
            input.visibility_timeout,
            "VisibilityTimeout",
            MAX_VISIBILITY_SECONDS,
        )?,
        wait_seconds: within(input.wait_time_seconds, "WaitTimeSeconds", 20)?,
        attempt: input.receive_request_attempt_id,
    };
    let names = input.message_attribute_names.unwrap_or_default();
    let received = out::receive(&cx, &name, &wanted).await?;
    let messages: Vec<w::Message> =
        received.into_iter().map(|one| shown(one, &system, &names)).collect();
    Ok(w::ReceiveMessageResult { messages: (!messages.is_empty()).then_some(messages) })
}

fn shown(received: Received, system: &[String], names: &[String]) -> w::Message {
    let Received { sequence, body, entry, handle } = received;
    let system = system_attributes(sequence, &body, &entry, system);
    let attributes: BTreeMap<String, Attribute> =
        body.attributes.into_iter().filter(|(name, _)| is_asked(name, names)).collect();
    w::Message {
        message_id: Some(body.id),
        receipt_handle: Some(handle),
        md5_of_body: Some(message::md5_of_text(&body.text)),
        md5_of_message_attributes: message::md5_of_attributes(&attributes),
        body: Some(body.text),
        attributes: (!system.is_empty()).then_some(system),
        message_attributes: (!attributes.is_empty()).then(|| {
            let one = |(name, attribute): (String, Attribute)| {
                let (string_value, binary_value) = match attribute.value {
                    Value::Text(text) => (Some(text), None),
                    Value::Binary(bytes) => (None, Some(bytes)),
                };
                let value = w::MessageAttributeValue {
                    data_type: attribute.data_type,
                    string_value,
                    binary_value,
                    ..Default::default()
                };
                (name, value)
            };
            attributes.into_iter().map(one).collect()
        }),
    }
}

/// `All`, `.*`, a name, or the beginning of names as `bar.*`.
fn is_asked(name: &str, asked: &[String]) -> bool {
    asked.iter().any(|asked| {
        asked == "All"
            || asked == name
            || asked.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix))
    })
}

fn system_attributes(
    sequence: u64,
    body: &Body,
    entry: &Entry,
    names: &[String],
) -> BTreeMap<String, String> {
    let all = names.iter().any(|name| name == "All");
    let asked = |name: &str| all || names.iter().any(|asked| asked == name);
    let value = |name: &str| match name {
        "ApproximateFirstReceiveTimestamp" => entry.first_received_at.map(|at| at.0.to_string()),
        "ApproximateReceiveCount" => Some(entry.receives.to_string()),
        "AWSTraceHeader" => body.trace_header.clone(),
        "DeadLetterQueueSourceArn" => body.source.clone(),
        "MessageDeduplicationId" => body.deduplication_id.clone(),
        "MessageGroupId" => entry.group.clone(),
        "SenderId" => Some(body.sender_id.clone()),
        "SentTimestamp" => Some(entry.sent_at.0.to_string()),
        // Only FIFO queues have groups.
        _ => entry.group.as_ref().map(|_| sequence_number(sequence)),
    };
    let asked = SYSTEM.iter().filter(|name| asked(name));
    asked.filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect()
}

pub async fn delete(cx: Context, input: w::DeleteMessageRequest) -> Result<w::DeleteMessageOutput> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    out::delete(&cx, &name, &input.receipt_handle).await?;
    Ok(w::DeleteMessageOutput {})
}

pub async fn delete_batch(
    cx: Context,
    input: w::DeleteMessageBatchRequest,
) -> Result<w::DeleteMessageBatchResult> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    ops::queue(&cx.read(), &cx, &name)?;
    let entries = input.entries;
    check_batch("DeleteMessageBatchRequestEntry", entries.iter().map(|entry| entry.id.as_str()))?;
    let done = join_all(entries.into_iter().map(|entry| {
        let (cx, name) = (&cx, &name);
        async move { (entry.id, out::delete(cx, name, &entry.receipt_handle).await) }
    }));
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, done) in done.await {
        match done {
            Ok(()) => successful.push(w::DeleteMessageBatchResultEntry { id }),
            Err(error) => failed.push(failure(id, error)),
        }
    }
    Ok(w::DeleteMessageBatchResult { successful, failed })
}

pub async fn change_visibility(
    cx: Context,
    input: w::ChangeMessageVisibilityRequest,
) -> Result<w::ChangeMessageVisibilityOutput> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    out::change_visibility(&cx, &name, &input.receipt_handle, input.visibility_timeout).await?;
    Ok(w::ChangeMessageVisibilityOutput {})
}

pub async fn change_visibility_batch(
    cx: Context,
    input: w::ChangeMessageVisibilityBatchRequest,
) -> Result<w::ChangeMessageVisibilityBatchResult> {
    let name = ops::name_of(&cx, &input.queue_url)?;
    ops::queue(&cx.read(), &cx, &name)?;
    let entries = input.entries;
    let ids = entries.iter().map(|entry| entry.id.as_str());
    check_batch("ChangeMessageVisibilityBatchRequestEntry", ids)?;
    let done = join_all(entries.into_iter().map(|entry| {
        let (cx, name) = (&cx, &name);
        async move {
            let changed = match entry.visibility_timeout {
                Some(seconds) => {
                    out::change_visibility(cx, name, &entry.receipt_handle, seconds).await
                }
                None => Err(Error::MissingParameter("VisibilityTimeout")),
            };
            (entry.id, changed)
        }
    }));
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, done) in done.await {
        match done {
            Ok(()) => successful.push(w::ChangeMessageVisibilityBatchResultEntry { id }),
            Err(error) => failed.push(failure(id, error)),
        }
    }
    Ok(w::ChangeMessageVisibilityBatchResult { successful, failed })
}

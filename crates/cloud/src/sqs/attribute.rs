//! Attributes of queues: what may be set, and how they are shown.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use store::Snapshot;

use super::index::Counts;
use super::model::{Attributes, Fifo, Queue, Redrive, RedriveAllow};
use super::{Error, Result, ops};
use crate::iam::{Document, Place, trust};
use crate::{Context, arn};

/// What every queue shows of itself.
const SHOWN: &[&str] = &[
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

/// What can be set, or could where keys of KMS are.
const SET: &[&str] = &[
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

const MAX_POLICY_BYTES: usize = 8 << 10;
const MAX_SOURCES: usize = 10;
const MAX_RECEIVES: u32 = 1000;

/// The attributes of a queue, present or to be made, with those `given` set.
pub fn set(
    snapshot: &Snapshot,
    cx: &Context,
    queue: &Queue,
    given: &BTreeMap<String, String>,
) -> Result<Attributes> {
    let mut attributes = queue.attributes.clone();
    for (name, text) in given {
        if !SET.contains(&name.as_str()) {
            return Err(Error::InvalidAttributeName(name.clone()));
        }
        one(snapshot, cx, queue, &mut attributes, name, text)?;
    }
    if let Some(fifo) = &attributes.fifo
        && fifo.throughput_by_group
        && !fifo.by_group
    {
        return Err(Error::attribute("FifoThroughputLimit"));
    }
    Ok(attributes)
}

fn one(
    snapshot: &Snapshot,
    cx: &Context,
    queue: &Queue,
    attributes: &mut Attributes,
    name: &str,
    text: &str,
) -> Result<()> {
    let invalid = || Error::attribute(name);
    let number = |min: u32, max: u32| {
        let number = text.parse::<u32>().ok().filter(|n| (min..=max).contains(n));
        number.ok_or_else(invalid)
    };
    let truth = || match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid()),
    };
    match name {
        "DelaySeconds" => attributes.delay_seconds = number(0, 900)?,
        "MaximumMessageSize" => attributes.maximum_message_bytes = number(1024, 1 << 20)?,
        "MessageRetentionPeriod" => attributes.retention_seconds = number(60, 1_209_600)?,
        "ReceiveMessageWaitTimeSeconds" => attributes.wait_seconds = number(0, 20)?,
        "VisibilityTimeout" => attributes.visibility_seconds = number(0, 43_200)?,
        "SqsManagedSseEnabled" => attributes.encrypted = truth()?,
        "KmsMasterKeyId" if text.is_empty() => {}
        "KmsMasterKeyId" | "KmsDataKeyReusePeriodSeconds" => {
            let message = format!("{name} is not supported: there are no KMS keys in this cloud.");
            return Err(Error::UnsupportedOperation(message));
        }
        "Policy" => attributes.policy = policy(snapshot, cx, queue, text)?,
        "RedrivePolicy" => attributes.redrive = redrive(snapshot, cx, queue, text)?,
        "RedriveAllowPolicy" => attributes.redrive_allow = redrive_allow(text)?,
        // It is said once, with the name.
        "FifoQueue" => match (truth()?, queue.fifo()) {
            (true, true) => {}
            _ => return Err(Error::InvalidAttributeName(name.to_owned())),
        },
        _ => {
            let Some(fifo) = &mut attributes.fifo else {
                return Err(Error::InvalidAttributeName(name.to_owned()));
            };
            of_fifo(fifo, name, text)?;
        }
    }
    Ok(())
}

fn of_fifo(fifo: &mut Fifo, name: &str, text: &str) -> Result<()> {
    match (name, text) {
        ("ContentBasedDeduplication", "true" | "false") => fifo.content_based = text == "true",
        ("DeduplicationScope", "queue" | "messageGroup") => fifo.by_group = text == "messageGroup",
        ("FifoThroughputLimit", "perQueue" | "perMessageGroupId") => {
            fifo.throughput_by_group = text == "perMessageGroupId";
        }
        _ => return Err(Error::attribute(name)),
    }
    Ok(())
}

/// A queue's own policy; none, where the text is empty. It may speak of no other resource.
pub fn policy(
    snapshot: &Snapshot,
    cx: &Context,
    queue: &Queue,
    text: &str,
) -> Result<Option<Document>> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > MAX_POLICY_BYTES {
        return Err(Error::attribute("Policy"));
    }
    let document =
        Document::parse(text, Place::Resource).map_err(|_| Error::attribute("Policy"))?;
    trust::check_principals(snapshot, cx, &document).map_err(|_| Error::attribute("Policy"))?;
    let own = queue.arn();
    let of_queue =
        |resource: &String| resource == "*" || *resource == own || covers(resource, &own);
    if !resources(text).iter().all(of_queue) {
        return Err(Error::attribute("Policy"));
    }
    Ok(Some(document))
}

/// Whether a pattern means this queue: the same kind of ARN, whose name begins alike.
fn covers(pattern: &str, own: &str) -> bool {
    let fixed = pattern.split(['*', '?']).next().unwrap_or_default();
    fixed.len() < pattern.len() && own.starts_with(fixed)
}

fn resources(text: &str) -> Vec<String> {
    let many = |value: &Value| match value {
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    let policy: Value = serde_json::from_str(text).unwrap_or_default();
    let statements = policy.get("Statement").map(many).unwrap_or_default();
    let named = statements.iter().filter_map(|one| one.get("Resource").map(many)).flatten();
    named.filter_map(|resource| resource.as_str().map(str::to_owned)).collect()
}

fn redrive(
    snapshot: &Snapshot,
    cx: &Context,
    queue: &Queue,
    text: &str,
) -> Result<Option<Redrive>> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = |reason: &str| Error::value(text, "RedrivePolicy", reason);
    let parsed: Value = serde_json::from_str(text)
        .map_err(|_| invalid("Redrive policy is not a valid JSON map."))?;
    let members = parsed.as_object();
    let members = members.ok_or_else(|| invalid("Redrive policy is not a valid JSON map."))?;
    if let Some(name) =
        members.keys().find(|name| !["deadLetterTargetArn", "maxReceiveCount"].contains(&&***name))
    {
        return Err(invalid(&format!("Unrecognized parameter {name}.")));
    }
    let target = members.get("deadLetterTargetArn").and_then(Value::as_str);
    let target = target.ok_or_else(|| {
        invalid("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
    })?;
    let count = match members.get("maxReceiveCount") {
        None => {
            return Err(invalid(
                "Redrive policy does not contain mandatory attribute: maxReceiveCount.",
            ));
        }
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_u64().and_then(|n| u32::try_from(n).ok()),
    };
    let count = count.filter(|n| (1..=MAX_RECEIVES).contains(n));
    let max_receives = count.ok_or_else(|| {
        invalid("Invalid value for maxReceiveCount. It must be an integer from 1 to 1000.")
    })?;
    let here = arn::parse(target).is_some_and(|parts| {
        (parts.service, parts.region, parts.account) == ("sqs", &*cx.region, &*cx.account)
    });
    let found = if here { ops::by_arn(snapshot, target) } else { None };
    let found = found.ok_or_else(|| invalid("Dead letter target does not exist."))?;
    if found.fifo() != queue.fifo() {
        return Err(invalid("Dead-letter queue must be same type of queue as the source."));
    }
    let allowed = match &found.attributes.redrive_allow {
        None | Some(RedriveAllow::All) => true,
        Some(RedriveAllow::Nobody) => false,
        Some(RedriveAllow::Queues(arns)) => arns.contains(&queue.arn()),
    };
    if !allowed {
        return Err(invalid(
            "The dead-letter queue's redrive allow policy does not permit this source queue.",
        ));
    }
    Ok(Some(Redrive { target: target.to_owned(), max_receives }))
}

fn redrive_allow(text: &str) -> Result<Option<RedriveAllow>> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = |reason: &str| Error::value(text, "RedriveAllowPolicy", reason);
    let parsed: Value = serde_json::from_str(text).map_err(|_| {
        invalid("Amazon SQS can't create the redrive allow policy, as it's malformed.")
    })?;
    let sources = parsed.get("sourceQueueArns").map(|value| {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect::<Vec<_>>()
    });
    match (parsed.get("redrivePermission").and_then(Value::as_str), sources) {
        (Some("allowAll"), None) => Ok(Some(RedriveAllow::All)),
        (Some("denyAll"), None) => Ok(Some(RedriveAllow::Nobody)),
        (Some("byQueue"), Some(arns)) if (1..=MAX_SOURCES).contains(&arns.len()) => {
            Ok(Some(RedriveAllow::Queues(arns)))
        }
        (Some("byQueue"), _) => Err(invalid("sourceQueueArns must name 1 to 10 queues.")),
        _ => Err(invalid("Amazon SQS can't create the redrive allow policy.")),
    }
}

/// The attributes of these names.
pub fn show(queue: &Queue, counts: Counts, names: &[String]) -> Result<BTreeMap<String, String>> {
    let known = |name: &str| name == "All" || SHOWN.contains(&name) || SET.contains(&name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return Err(Error::InvalidAttributeName(unknown.clone()));
    }
    let all = names.iter().any(|name| name == "All");
    let shown = every(queue, counts).into_iter();
    let asked = shown.filter(|(name, _)| all || names.iter().any(|asked| asked == name));
    Ok(asked.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Of attributes that are given with CreateQueue: the first that the queue has otherwise.
pub fn differs(
    queue: &Queue,
    wanted: &Attributes,
    given: &BTreeMap<String, String>,
) -> Option<String> {
    let other = Queue { attributes: wanted.clone(), ..queue.clone() };
    let (present, wanted) = (every(queue, Counts::default()), every(&other, Counts::default()));
    let value = |all: &[(&str, String)], name: &str| {
        all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    };
    given.keys().find(|name| value(&present, name) != value(&wanted, name)).cloned()
}

fn every(queue: &Queue, counts: Counts) -> Vec<(&'static str, String)> {
    let Attributes { policy, redrive, redrive_allow, fifo, .. } = &queue.attributes;
    let set = &queue.attributes;
    let mut all = vec![
        ("ApproximateNumberOfMessages", counts.ready.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
        ("CreatedTimestamp", queue.created_at.seconds().to_string()),
        ("LastModifiedTimestamp", queue.modified_at.seconds().to_string()),
        ("QueueArn", queue.arn()),
        ("DelaySeconds", set.delay_seconds.to_string()),
        ("MaximumMessageSize", set.maximum_message_bytes.to_string()),
        ("MessageRetentionPeriod", set.retention_seconds.to_string()),
        ("ReceiveMessageWaitTimeSeconds", set.wait_seconds.to_string()),
        ("VisibilityTimeout", set.visibility_seconds.to_string()),
        ("SqsManagedSseEnabled", set.encrypted.to_string()),
    ];
    all.extend(policy.as_ref().map(|policy| ("Policy", policy.text.clone())));
    all.extend(redrive.as_ref().map(|redrive| {
        let Redrive { target, max_receives } = redrive;
        let text = json!({"deadLetterTargetArn": target, "maxReceiveCount": max_receives});
        ("RedrivePolicy", text.to_string())
    }));
    all.extend(redrive_allow.as_ref().map(|allow| {
        let text = match allow {
            RedriveAllow::All => json!({"redrivePermission": "allowAll"}),
            RedriveAllow::Nobody => json!({"redrivePermission": "denyAll"}),
            RedriveAllow::Queues(arns) => {
                json!({"redrivePermission": "byQueue", "sourceQueueArns": arns})
            }
        };
        ("RedriveAllowPolicy", text.to_string())
    }));
    if let Some(Fifo { content_based, by_group, throughput_by_group }) = fifo {
        let scope = if *by_group { "messageGroup" } else { "queue" };
        let limit = if *throughput_by_group { "perMessageGroupId" } else { "perQueue" };
        all.extend([
            ("FifoQueue", "true".to_owned()),
            ("ContentBasedDeduplication", content_based.to_string()),
            ("DeduplicationScope", scope.to_owned()),
            ("FifoThroughputLimit", limit.to_owned()),
        ]);
    }
    all
}

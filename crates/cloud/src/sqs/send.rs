//! Messages come in: one or several, durable before they are answered.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use store::Batch;

use super::index::{Entry, REMEMBERED, Sent, State};
use super::lines::{self, Arriving};
use super::message::{self, Attribute, Body, Value};
use super::model::{Fifo, Queue};
use super::{Error, MESSAGES, Result, ops};
use crate::{Context, id};

const MAX_DELAY_SECONDS: i32 = 900;
const OF_OTHER_QUEUES: &str =
    "The request include parameter that is not valid for this queue type.";

/// A message as it came.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    pub text: String,
    pub attributes: BTreeMap<String, Attribute>,
    pub trace_header: Option<String>,
    pub delay_seconds: Option<i32>,
    pub deduplication_id: Option<String>,
    pub group: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    pub message_id: String,
    pub md5_of_body: String,
    pub md5_of_attributes: Option<String>,
    pub md5_of_system_attributes: Option<String>,
    /// Of FIFO queues.
    pub sequence: Option<u64>,
}

/// For each message whether it was accepted. Those that are, are stored together.
pub async fn send(
    cx: &Context,
    name: &str,
    messages: Vec<Outgoing>,
) -> Result<Vec<Result<Accepted>>> {
    let queue = ops::queue(&cx.read(), cx, name)?;
    let line = cx.env.sqs.of(&queue);
    let _in_order = if queue.fifo() { Some(line.sending.lock().await) } else { None };
    // It may have gone while this waited.
    ops::same_queue(&cx.read(), &queue)?;
    let now = cx.env.clock.now();

    let mut batch = Batch::default();
    let mut answers: Vec<Result<Accepted>> = Vec::new();
    let mut new: Vec<(u64, String, Outgoing, Option<String>)> = Vec::new();
    let mut remembered: Vec<String> = Vec::new();
    line.with(&cx.env, &queue, |index| {
        for message in messages {
            let deduplication = match check(&queue, &message) {
                Ok(id) => id,
                Err(error) => {
                    answers.push(Err(error));
                    continue;
                }
            };
            let remember = deduplication.as_ref().map(|id| scoped(&queue, &message, id));
            let known = remember.as_ref().and_then(|id| index.duplicate(id, now)).cloned();
            let (message_id, sequence) = match &known {
                Some(sent) => (sent.message_id.clone(), sent.sequence),
                None => {
                    (id::uuid(&cx.env.rng), lines::allocate(&cx.env, &queue, index, &mut batch, 1))
                }
            };
            answers.push(Ok(accepted(&queue, &message, message_id.clone(), sequence)));
            if known.is_some() {
                continue;
            }
            if let Some(id) = remember {
                let until = now.plus(REMEMBERED);
                let sent = Sent { until, sequence, message_id: message_id.clone() };
                let key = [message::prefix(queue.number, message::SENT), id.clone().into_bytes()];
                let value = serde_json::to_vec(&sent).expect("it is JSON");
                batch.put(&cx.env.store.keyspace(MESSAGES), key.concat(), value);
                index.remember(id.clone(), sent);
                remembered.push(id);
            }
            new.push((sequence, message_id, message, deduplication));
        }
    })?;

    let mut entries = Vec::with_capacity(new.len());
    for (sequence, id, message, deduplication_id) in new {
        let delay = message.delay_seconds.map(|seconds| seconds.unsigned_abs());
        let delay = delay.unwrap_or(queue.attributes.delay_seconds);
        let until = now.plus(Duration::from_secs(delay.into()));
        let entry = Entry {
            sent_at: now,
            group: message.group,
            state: if delay > 0 { State::Delayed(until) } else { State::Ready },
            receives: 0,
            first_received_at: None,
            received_at: None,
            receipt: 0,
            attempt: None,
        };
        let body = Body {
            id,
            text: message.text,
            attributes: message.attributes,
            trace_header: message.trace_header,
            sender_id: cx.from.user_id(&cx.account),
            deduplication_id,
            source: None,
        };
        let key = message::key(queue.number, message::BODY, sequence);
        let stored = message::encode(&cx.env, &queue, &body);
        batch.put(&cx.env.store.keyspace(MESSAGES), key, stored);
        lines::put(&mut batch, &cx.env, &queue, sequence, &entry);
        entries.push((sequence, entry));
    }
    let arriving = Arriving { env: &cx.env, queue: &queue, line: line.clone(), entries };
    if let Err(error) = arriving.apply(batch).await {
        line.with(&cx.env, &queue, |index| remembered.iter().for_each(|id| index.forget(id)))?;
        return Err(error);
    }
    Ok(answers)
}

fn accepted(queue: &Queue, message: &Outgoing, message_id: String, sequence: u64) -> Accepted {
    let trace = message.trace_header.as_ref().map(|header| {
        let value = Value::Text(header.clone());
        let attribute = Attribute { data_type: "String".to_owned(), value };
        BTreeMap::from([("AWSTraceHeader".to_owned(), attribute)])
    });
    Accepted {
        message_id,
        md5_of_body: message::md5_of_text(&message.text),
        md5_of_attributes: message::md5_of_attributes(&message.attributes),
        md5_of_system_attributes: trace.and_then(|trace| message::md5_of_attributes(&trace)),
        sequence: queue.fifo().then_some(sequence),
    }
}

/// Whether the queue takes it; its deduplication id, if it has one.
fn check(queue: &Queue, message: &Outgoing) -> Result<Option<String>> {
    message::check_text(&message.text)?;
    message::check_attributes(&message.attributes)?;
    let limit = queue.attributes.maximum_message_bytes as usize;
    if message::size(&message.text, &message.attributes) > limit {
        return Err(Error::InvalidParameterValue(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
        )));
    }
    if let Some(delay) = message.delay_seconds {
        if !(0..=MAX_DELAY_SECONDS).contains(&delay) {
            let reason = "DelaySeconds must be >= 0 and <= 900.";
            return Err(Error::value(delay, "DelaySeconds", reason));
        }
        if queue.fifo() && delay > 0 {
            return Err(Error::value(delay, "DelaySeconds", OF_OTHER_QUEUES));
        }
    }
    match &queue.attributes.fifo {
        None => {
            let ids = [
                ("MessageDeduplicationId", &message.deduplication_id),
                ("MessageGroupId", &message.group),
            ];
            match ids.into_iter().find_map(|(name, id)| id.as_ref().map(|id| (name, id))) {
                Some((name, id)) => Err(Error::value(id, name, OF_OTHER_QUEUES)),
                None => Ok(None),
            }
        }
        Some(fifo) => check_fifo(fifo, message).map(Some),
    }
}

fn check_fifo(fifo: &Fifo, message: &Outgoing) -> Result<String> {
    let group = message.group.as_ref().ok_or(Error::MissingParameter("MessageGroupId"))?;
    check_id(group, "MessageGroupId")?;
    match &message.deduplication_id {
        Some(id) => {
            check_id(id, "MessageDeduplicationId")?;
            Ok(id.clone())
        }
        None if fifo.content_based => {
            let digest = Sha256::digest(&message.text);
            Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
        }
        None => Err(Error::InvalidParameterValue(
            "The queue should either have ContentBasedDeduplication enabled or \
             MessageDeduplicationId provided explicitly"
                .to_owned(),
        )),
    }
}

/// Letters, digits and punctuation of ASCII, at most 128.
pub fn check_id(id: &str, parameter: &str) -> Result<()> {
    if (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let reason = format!(
        "{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
    );
    Err(Error::value(id, parameter, &reason))
}

/// The id as it counts for the queue.
fn scoped(queue: &Queue, message: &Outgoing, id: &str) -> String {
    match (&queue.attributes.fifo, &message.group) {
        (Some(fifo), Some(group)) if fifo.by_group => format!("{group} {id}"),
        _ => id.to_owned(),
    }
}

//! AddPermission and RemovePermission: statements of a queue's policy by their labels.

use serde_json::{Value, json};
use store::Tx;

use super::model::{Attributes, Queue};
use super::{Error, Result, attribute, ops};
use crate::Context;

/// What others than the owner can be allowed to do. Source: SQS API Reference, AddPermission.
const ACTIONS: &[&str] = &[
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
];
const MAX_ACTIONS: usize = 7;
const MAX_STATEMENTS: usize = 20;

pub fn add(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    label: &str,
    accounts: &[String],
    actions: &[String],
) -> Result<()> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if label.is_empty() || label.len() > 80 || !label.chars().all(word) {
        let reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 \
                      in length";
        return Err(Error::value(label, "Label", reason));
    }
    if let Some(action) = actions.iter().find(|action| !ACTIONS.contains(&action.as_str())) {
        let reason = "Only the queue owner is allowed to invoke this action.";
        return Err(Error::value(format!("SQS:{action}"), "ActionName", reason));
    }
    if actions.len() > MAX_ACTIONS {
        return Err(Error::OverLimit(format!(
            "{} Actions were found, maximum allowed is {MAX_ACTIONS}.",
            actions.len()
        )));
    }
    let is_account = |id: &&String| id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit());
    if let Some(bad) = accounts.iter().find(is_account) {
        let reason = "Unable to verify.";
        return Err(Error::value(bad, "PrincipalId", reason));
    }
    if accounts.is_empty() {
        return Err(Error::MissingParameter("AWSAccountIds"));
    }
    if actions.is_empty() {
        return Err(Error::MissingParameter("Actions"));
    }
    change(tx, cx, name, |queue, statements| {
        if statements.iter().any(|one| one["Sid"] == label) {
            return Err(Error::value(label, "Label", "Already exists."));
        }
        if statements.len() >= MAX_STATEMENTS {
            return Err(Error::OverLimit(format!(
                "{} statements were found, maximum allowed is {MAX_STATEMENTS}.",
                statements.len() + 1
            )));
        }
        let roots: Vec<String> =
            accounts.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect();
        let actions: Vec<String> = actions.iter().map(|action| format!("SQS:{action}")).collect();
        statements.push(json!({
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": one_or_many(roots)},
            "Action": one_or_many(actions),
            "Resource": queue.arn(),
        }));
        Ok(())
    })
}

pub fn remove(tx: &mut Tx, cx: &Context, name: &str, label: &str) -> Result<()> {
    change(tx, cx, name, |_, statements| {
        let before = statements.len();
        statements.retain(|one| one["Sid"] != label);
        if statements.len() < before {
            return Ok(());
        }
        Err(Error::value(label, "Label", "can't find label on existing policy."))
    })
}

/// Changes the statements of the policy. One without statements is none.
fn change(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    change: impl FnOnce(&Queue, &mut Vec<Value>) -> Result<()>,
) -> Result<()> {
    let queue = ops::queue(tx, cx, name)?;
    let text = queue.attributes.policy.as_ref().map(|policy| policy.text.as_str());
    let mut policy = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| {
        let id = format!("{}/SQSDefaultPolicy", queue.arn());
        json!({"Version": "2008-10-17", "Id": id, "Statement": []})
    });
    let mut statements = match policy["Statement"].take() {
        Value::Array(statements) => statements,
        one => vec![one],
    };
    change(&queue, &mut statements)?;
    let text = if statements.is_empty() {
        String::new()
    } else {
        policy["Statement"] = Value::Array(statements);
        policy.to_string()
    };
    let policy = attribute::policy(tx, cx, &queue, &text)?;
    let attributes = Attributes { policy, ..queue.attributes.clone() };
    tx.put(Queue { attributes, modified_at: cx.now, ..Queue::clone(&queue) });
    Ok(())
}

fn one_or_many(mut values: Vec<String>) -> Value {
    if values.len() == 1 { json!(values.remove(0)) } else { json!(values) }
}

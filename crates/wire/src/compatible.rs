//! JSON services that once spoke the query protocol (`awsQueryCompatible`): every error has a name there
//! too, and clients go by that one. Source: Smithy, "AWS query compatible trait"; SQS API Reference,
//! "Common errors" and the errors of each action.

use http::HeaderValue;

use crate::schema::Structure;
use crate::value::Value;
use crate::{Error, Response};

/// Errors of shapes by their JSON names, and their codes in the query protocol.
const CODES: &[(&str, &str)] = &[
    ("BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
    ("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong"),
    ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest"),
    ("InvalidAddress", "InvalidAddress"),
    ("InvalidAttributeName", "InvalidAttributeName"),
    ("InvalidAttributeValue", "InvalidAttributeValue"),
    ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId"),
    ("InvalidMessageContents", "InvalidMessageContents"),
    ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"),
    ("OverLimit", "OverLimit"),
    ("PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress"),
    ("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently"),
    ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
    ("QueueNameExists", "QueueAlreadyExists"),
    ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
    ("ResourceNotFoundException", "ResourceNotFoundException"),
    ("TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
    ("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation"),
];

const MISSING: &str = "MissingRequiredParameterException";

/// The code that the query protocol has for an error.
pub fn query_code(json: &str) -> &str {
    if json == MISSING {
        return "MissingParameter";
    }
    let listed = CODES.iter().find(|(name, _)| *name == json).map(|(_, code)| *code);
    listed.unwrap_or_else(|| json.strip_suffix("Exception").unwrap_or(json))
}

/// What stands before the name in `__type`.
pub fn prefix(json: &str) -> &'static str {
    let of_shape = CODES.iter().any(|(name, _)| *name == json);
    if of_shape { "com.amazonaws.sqs#" } else { "com.amazon.coral.service#" }
}

/// Says the other name beside the answer.
pub fn name(response: &mut Response, error: &Error) {
    let fault = if error.status < 500 { "Sender" } else { "Receiver" };
    if let Ok(value) = HeaderValue::from_str(&format!("{};{fault}", query_code(&error.code))) {
        response.headers.insert("x-amzn-query-error", value);
    }
}

/// A member that must be there has an error of its own.
pub fn check(schema: &Structure, value: &Value) -> Result<(), Error> {
    let Value::Structure(present) = value else { return Ok(()) };
    for (index, member) in schema.members.iter().enumerate() {
        if member.required && !present.iter().any(|(i, _)| *i == index) {
            let message = format!("The request must contain the parameter {}.", member.name);
            return Err(Error::new(400, MISSING, message));
        }
    }
    Ok(())
}

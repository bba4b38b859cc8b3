//! Every way a DynamoDB call is refused, with the code and the words AWS uses.

use serde_json::{Map, json};

use super::number;
use super::value::Item;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("{0}")]
    ResourceInUse(String),
    /// With the item as it is, where it was asked for.
    #[error("The conditional request failed")]
    ConditionalCheckFailed(Option<Item>),
    /// For each action of the transaction why it failed, if it did.
    #[error(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes(.0)
    )]
    TransactionCanceled(Vec<Option<Box<Error>>>),
    #[error("Request with the same ClientRequestToken but different parameters")]
    IdempotentParameterMismatch,
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    pub fn validation(message: impl Into<String>) -> Error {
        Error::Validation(message.into())
    }

    /// `One or more parameter values were invalid: …`
    pub fn parameter(message: impl std::fmt::Display) -> Error {
        Error::Validation(format!("One or more parameter values were invalid: {message}"))
    }

    pub fn no_table() -> Error {
        Error::ResourceNotFound("Requested resource not found".to_owned())
    }
}

impl From<number::Invalid> for Error {
    fn from(invalid: number::Invalid) -> Error {
        Error::Validation(invalid.to_string())
    }
}

/// The code of a transaction's reason.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::ConditionalCheckFailed(_) => "ConditionalCheckFailed",
        Error::Validation(_) => "ValidationError",
        _ => "InternalServerError",
    }
}

fn codes(reasons: &[Option<Box<Error>>]) -> String {
    let codes: Vec<_> =
        reasons.iter().map(|error| error.as_ref().map_or("None", |error| reason(error))).collect();
    codes.join(", ")
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        let (status, code) = match &error {
            Error::Validation(_) => (400, "ValidationException"),
            Error::ResourceNotFound(_) => (400, "ResourceNotFoundException"),
            Error::ResourceInUse(_) => (400, "ResourceInUseException"),
            Error::ConditionalCheckFailed(_) => (400, "ConditionalCheckFailedException"),
            Error::TransactionCanceled(_) => (400, "TransactionCanceledException"),
            Error::IdempotentParameterMismatch => (400, "IdempotentParameterMismatchException"),
            Error::Store(_) => (500, "InternalServerError"),
        };
        let mut wire = wire::Error::new(status, code, error.to_string());
        match error {
            Error::ConditionalCheckFailed(Some(item)) => {
                wire.members.insert("Item".to_owned(), super::value::to_json(&item));
            }
            Error::TransactionCanceled(reasons) => {
                let reasons = reasons.into_iter().map(|error| {
                    let mut members = Map::new();
                    match error {
                        None => {
                            members.insert("Code".to_owned(), json!("None"));
                        }
                        Some(error) => {
                            members.insert("Code".to_owned(), json!(reason(&error)));
                            members.insert("Message".to_owned(), json!(error.to_string()));
                            if let Error::ConditionalCheckFailed(Some(item)) = *error {
                                members.insert("Item".to_owned(), super::value::to_json(&item));
                            }
                        }
                    }
                    serde_json::Value::Object(members)
                });
                wire.members.insert("CancellationReasons".to_owned(), reasons.collect());
            }
            Error::Store(error) => {
                tracing::error!("{error}");
                wire.message = "The request could not be stored; try again".to_owned();
            }
            _ => {}
        }
        wire
    }
}

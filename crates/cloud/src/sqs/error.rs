//! Every way an SQS call is refused, by the names of the JSON protocol; `wire` knows those of the other.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("The specified queue does not exist.")]
    QueueDoesNotExist,
    #[error("{0}")]
    QueueNameExists(String),
    #[error(
        "You must wait 60 seconds after deleting a queue before you can create another with the same name."
    )]
    QueueDeletedRecently,
    #[error("Only one PurgeQueue operation on {0} is allowed every 60 seconds.")]
    PurgeQueueInProgress(String),
    #[error("The address {0} is not valid for this endpoint.")]
    InvalidAddress(String),
    #[error("Unknown Attribute {0}.")]
    InvalidAttributeName(String),
    #[error("{0}")]
    InvalidAttributeValue(String),
    #[error("{0}")]
    InvalidParameterValue(String),
    #[error("The request must contain the parameter {0}.")]
    MissingParameter(&'static str),
    #[error(
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
    )]
    InvalidMessageContents,
    #[error("The input receipt handle \"{0}\" is not a valid receipt handle.")]
    ReceiptHandleIsInvalid(String),
    #[error("The specified message isn't in flight.")]
    MessageNotInflight,
    #[error("{0}")]
    OverLimit(String),
    #[error("There should be at least one {0} in the request.")]
    EmptyBatchRequest(&'static str),
    #[error("Maximum number of entries per request are 10. You have sent {0}.")]
    TooManyEntriesInBatchRequest(usize),
    #[error("Id {0} repeated.")]
    BatchEntryIdsNotDistinct(String),
    #[error(
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
    )]
    InvalidBatchEntryId,
    #[error("Batch requests cannot be longer than 1048576 bytes. You have sent {0} bytes.")]
    BatchRequestTooLong(usize),
    #[error("{0}")]
    UnsupportedOperation(String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// `Value 11 for parameter MaxNumberOfMessages is invalid. Reason: …`
    pub fn value(value: impl std::fmt::Display, parameter: &str, reason: &str) -> Error {
        Error::InvalidParameterValue(format!(
            "Value {value} for parameter {parameter} is invalid. Reason: {reason}"
        ))
    }

    pub fn attribute(name: &str) -> Error {
        Error::InvalidAttributeValue(format!("Invalid value for the parameter {name}."))
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        let (status, code) = match &error {
            Error::QueueDoesNotExist => (400, "QueueDoesNotExist"),
            Error::QueueNameExists(_) => (400, "QueueNameExists"),
            Error::QueueDeletedRecently => (400, "QueueDeletedRecently"),
            Error::PurgeQueueInProgress(_) => (403, "PurgeQueueInProgress"),
            Error::InvalidAddress(_) => (404, "InvalidAddress"),
            Error::InvalidAttributeName(_) => (400, "InvalidAttributeName"),
            Error::InvalidAttributeValue(_) => (400, "InvalidAttributeValue"),
            Error::InvalidParameterValue(_) => (400, "InvalidParameterValueException"),
            Error::MissingParameter(_) => (400, "MissingRequiredParameterException"),
            Error::InvalidMessageContents => (400, "InvalidMessageContents"),
            Error::ReceiptHandleIsInvalid(_) => (404, "ReceiptHandleIsInvalid"),
            Error::MessageNotInflight => (400, "MessageNotInflight"),
            Error::OverLimit(_) => (403, "OverLimit"),
            Error::EmptyBatchRequest(_) => (400, "EmptyBatchRequest"),
            Error::TooManyEntriesInBatchRequest(_) => (400, "TooManyEntriesInBatchRequest"),
            Error::BatchEntryIdsNotDistinct(_) => (400, "BatchEntryIdsNotDistinct"),
            Error::InvalidBatchEntryId => (400, "InvalidBatchEntryId"),
            Error::BatchRequestTooLong(_) => (400, "BatchRequestTooLong"),
            Error::UnsupportedOperation(_) => (400, "UnsupportedOperation"),
            Error::Store(_) => (500, "InternalFailure"),
        };
        match &error {
            Error::Store(inner) => {
                tracing::error!("{inner}");
                wire::Error::new(status, code, "The request could not be stored; try again")
            }
            error => wire::Error::new(status, code, error.to_string()),
        }
    }
}

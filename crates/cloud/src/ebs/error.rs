//! Every way the EBS direct APIs refuse a call, with the code and the reason AWS has for it.

use serde_json::Value;

use crate::ec2;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{1}")]
    Validation(Reason, String),
    #[error("The snapshot '{0}' does not exist.")]
    NotFound(String),
    #[error("The request uses the same client token as a previous, but non-identical request.")]
    Conflict,
    #[error("An internal error has occurred.")]
    Internal(String),
}

/// `ValidationExceptionReason`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    PageToken,
    BlockToken,
    SnapshotId,
    Unrelated,
    Block,
    Tag,
    ParameterValue,
    VolumeSize,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Reason::PageToken => "INVALID_PAGE_TOKEN",
            Reason::BlockToken => "INVALID_BLOCK_TOKEN",
            Reason::SnapshotId => "INVALID_SNAPSHOT_ID",
            Reason::Unrelated => "UNRELATED_SNAPSHOTS",
            Reason::Block => "INVALID_BLOCK",
            Reason::Tag => "INVALID_TAG",
            Reason::ParameterValue => "INVALID_PARAMETER_VALUE",
            Reason::VolumeSize => "INVALID_VOLUME_SIZE",
        }
    }
}

impl Error {
    pub fn invalid(reason: Reason, message: impl Into<String>) -> Error {
        Error::Validation(reason, message.into())
    }

    pub fn value(message: impl Into<String>) -> Error {
        Error::invalid(Reason::ParameterValue, message)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        Error::Internal(error.to_string())
    }
}

impl From<compute::Error> for Error {
    fn from(error: compute::Error) -> Error {
        Error::Internal(error.to_string())
    }
}

/// Of what is EC2's: the snapshot's record and its tags.
impl From<ec2::Error> for Error {
    fn from(error: ec2::Error) -> Error {
        match error {
            ec2::Error::NotFound { ids, .. } => Error::NotFound(ids.join(", ")),
            ec2::Error::Store(error) => error.into(),
            ec2::Error::IdempotentParameterMismatch(_) => Error::Conflict,
            ec2::Error::TagLimitExceeded => Error::invalid(Reason::Tag, error.to_string()),
            error @ ec2::Error::Malformed { .. } => {
                Error::invalid(Reason::SnapshotId, error.to_string())
            }
            error => Error::value(error.to_string()),
        }
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        if let Error::Internal(why) = &error {
            tracing::warn!("{why}");
        }
        let (status, code, reason) = match &error {
            Error::Validation(reason, _) => (400, "ValidationException", Some(reason.name())),
            Error::NotFound(_) => (404, "ResourceNotFoundException", Some("SNAPSHOT_NOT_FOUND")),
            Error::Conflict => (503, "ConflictException", None),
            Error::Internal(_) => (500, "InternalServerException", None),
        };
        let mut answer = wire::Error::new(status, code, error.to_string());
        if let Some(reason) = reason {
            answer.members.insert("Reason".to_owned(), Value::from(reason));
        }
        answer
    }
}

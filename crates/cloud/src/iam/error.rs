//! Every way an IAM or STS call is refused, with the code and the words AWS uses.

use super::model::Kind;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The words whole.
    #[error("{0}")]
    NoSuchEntity(String),
    #[error("{0}")]
    EntityAlreadyExists(String),
    #[error("Cannot delete entity, must {0} first.")]
    DeleteConflict(&'static str),
    #[error(
        "This policy has more than one version. Before you delete a policy, you must delete the \
         policy's versions. The default version is deleted with the policy."
    )]
    PolicyHasVersions,
    #[error("Cannot delete a policy attached to entities.")]
    PolicyAttached,
    #[error("Cannot delete the default version of a policy.")]
    DefaultVersion,
    #[error("Cannot exceed quota for {0}: {1}")]
    Quota(&'static str, usize),
    #[error("{0}")]
    LimitExceeded(String),
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    InvalidInput(String),
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    Unmodifiable(String),
    #[error("Policy {0} does not exist or is not attachable.")]
    NotAttachable(String),
    /// The words whole, as the policy evaluation puts them.
    #[error("{0}")]
    AccessDenied(String),
    #[error("The session's policies and tags are larger than a session can hold.")]
    Packed,
    #[error("Message is not valid")]
    InvalidAuthorizationMessage,
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    pub fn not_found(kind: Kind, name: &str) -> Error {
        Error::NoSuchEntity(format!("The {} with name {name} cannot be found.", kind.word()))
    }

    pub fn validation(message: impl Into<String>) -> Error {
        Error::Validation(message.into())
    }

    /// For what AWS has and this cloud has not: says what.
    pub fn unsupported(what: impl std::fmt::Display) -> Error {
        Error::Validation(format!("{what} is not supported by this cloud."))
    }

    pub fn code(&self) -> &'static str {
        use Error::*;
        match self {
            NoSuchEntity(_) => "NoSuchEntity",
            EntityAlreadyExists(_) => "EntityAlreadyExists",
            DeleteConflict(_) | PolicyHasVersions | PolicyAttached | DefaultVersion => {
                "DeleteConflict"
            }
            Quota(..) | LimitExceeded(_) => "LimitExceeded",
            Malformed(_) => "MalformedPolicyDocument",
            InvalidInput(_) => "InvalidInput",
            Validation(_) => "ValidationError",
            Unmodifiable(_) => "UnmodifiableEntity",
            NotAttachable(_) => "NoSuchEntity",
            AccessDenied(_) => "AccessDenied",
            Packed => "PackedPolicyTooLarge",
            InvalidAuthorizationMessage => "InvalidAuthorizationMessageException",
            Store(_) => "ServiceFailure",
        }
    }

    fn status(&self) -> u16 {
        match self.code() {
            "NoSuchEntity" => 404,
            "EntityAlreadyExists" | "DeleteConflict" | "LimitExceeded" => 409,
            "AccessDenied" => 403,
            "ServiceFailure" => 500,
            _ => 400,
        }
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        let message = match &error {
            // What the disk said is for the log, not for the caller.
            Error::Store(_) => "An internal error has occurred.".to_owned(),
            other => other.to_string(),
        };
        wire::Error::new(error.status(), error.code(), message)
    }
}

impl From<crate::page::BadToken> for Error {
    fn from(_: crate::page::BadToken) -> Error {
        Error::validation("Invalid Marker.")
    }
}

impl From<crate::tag::Invalid> for Error {
    fn from(invalid: crate::tag::Invalid) -> Error {
        use crate::tag::Invalid;
        Error::InvalidInput(match invalid {
            Invalid::Key(key) => {
                format!("Tag key '{key}' is invalid: it must have 1 to 128 characters.")
            }
            Invalid::Value(value) => {
                format!("Tag value '{value}' is invalid: it must have at most 256 characters.")
            }
            Invalid::Reserved(_) => "Tag keys with the prefix 'aws:' are reserved.".to_owned(),
            Invalid::TooMany => return Error::Quota("TagsPerResource", 50),
        })
    }
}

//! Every way a call of the Fault Injection Service is refused.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::Validation(message.into())
    }

    /// For what AWS has and this cloud has not.
    pub fn unsupported(what: &str) -> Error {
        Error::Validation(format!("{what} is not supported by this cloud."))
    }
}

impl From<crate::ec2::Error> for Error {
    fn from(error: crate::ec2::Error) -> Error {
        match error {
            crate::ec2::Error::Store(error) => error.into(),
            crate::ec2::Error::IdempotentParameterMismatch(message) => Error::Conflict(message),
            error => Error::Validation(error.to_string()),
        }
    }
}

impl From<crate::page::BadToken> for Error {
    fn from(_: crate::page::BadToken) -> Error {
        Error::invalid("The nextToken is invalid.")
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        let (status, code) = match &error {
            Error::Validation(_) => (400, "ValidationException"),
            Error::NotFound(_) => (404, "ResourceNotFoundException"),
            Error::Conflict(_) => (409, "ConflictException"),
            Error::Store(_) => {
                let message = "An internal error has occurred.";
                return wire::Error::new(500, "InternalServerException", message);
            }
        };
        wire::Error::new(status, code, error.to_string())
    }
}

//! Every way a Cost Explorer call is refused.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Validation(String),
    #[error("Invalid pagination token.")]
    NextToken,
    #[error("Requested unknown dimension")]
    Dimension,
}

impl Error {
    pub fn validation(message: impl Into<String>) -> Error {
        Error::Validation(message.into())
    }

    /// For what AWS has and this cloud has not.
    pub fn unsupported(what: &str) -> Error {
        Error::Validation(format!("{what} is not supported by this cloud."))
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        let code = match error {
            Error::Validation(_) | Error::Dimension => "ValidationException",
            Error::NextToken => "InvalidNextTokenException",
        };
        wire::Error::new(400, code, error.to_string())
    }
}

impl From<crate::page::BadToken> for Error {
    fn from(_: crate::page::BadToken) -> Error {
        Error::NextToken
    }
}

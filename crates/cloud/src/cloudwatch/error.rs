//! Every way a CloudWatch call is refused, with its code of the query protocol.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    InvalidParameterValue(String),
    #[error("{0}")]
    InvalidParameterCombination(String),
    #[error("{0}")]
    Validation(String),
    #[error("The next token specified is invalid.")]
    NextToken,
}

impl Error {
    /// For what AWS has and this cloud has not: says what.
    pub fn unsupported(what: &str) -> Error {
        Error::InvalidParameterValue(format!("{what} is not supported by this cloud."))
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        let code = match error {
            Error::InvalidParameterValue(_) => "InvalidParameterValue",
            Error::InvalidParameterCombination(_) => "InvalidParameterCombination",
            Error::Validation(_) => "ValidationError",
            Error::NextToken => "InvalidNextToken",
        };
        wire::Error::new(400, code, error.to_string())
    }
}

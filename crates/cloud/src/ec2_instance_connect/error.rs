//! Every way a call of EC2 Instance Connect is refused.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("Instance not found")]
    InstanceNotFound,
    #[error("Instance is not in a valid state: {0}. Ensure that it is running and try again")]
    InstanceStateInvalid(&'static str),
    #[error("Instance is currently unavailable: {0}")]
    InstanceUnavailable(String),
    #[error("{0}")]
    InvalidArgs(String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        let (status, code) = match &error {
            Error::InstanceNotFound => (400, "EC2InstanceNotFoundException"),
            Error::InstanceStateInvalid(_) => (400, "EC2InstanceStateInvalidException"),
            Error::InstanceUnavailable(_) => (400, "EC2InstanceUnavailableException"),
            Error::InvalidArgs(_) => (400, "InvalidArgsException"),
            Error::Store(_) => {
                let message = "An internal error has occurred.";
                return wire::Error::new(500, "ServiceException", message);
            }
        };
        wire::Error::new(status, code, error.to_string())
    }
}

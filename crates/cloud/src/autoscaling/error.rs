//! Every way an Auto Scaling call is refused, with the code and the words AWS uses.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "AutoScalingGroup by this name already exists - A group with the name {0} already exists"
    )]
    AlreadyExists(String),
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    ResourceInUse(String),
    #[error("{0}")]
    ScalingActivityInProgress(String),
    #[error("{0}")]
    LimitExceeded(String),
    #[error("The token '{0}' is invalid.")]
    InvalidNextToken(String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    pub fn validation(message: impl Into<String>) -> Error {
        Error::Validation(message.into())
    }

    /// For what AWS has and this cloud has not: says what.
    pub fn unsupported(what: impl std::fmt::Display) -> Error {
        Error::Validation(format!("{what} is not supported by this cloud."))
    }

    pub fn no_group() -> Error {
        Error::validation("AutoScalingGroup name not found - null")
    }

    pub fn no_instance(id: &str) -> Error {
        Error::validation(format!(
            "Instance Id not found - No managed instance found for instance ID: {id}"
        ))
    }

    /// What EC2 said of the launch template or of what it names.
    pub fn template(error: &crate::ec2::Error) -> Error {
        Error::validation(format!("You must use a valid fully-formed launch template. {error}"))
    }

    pub fn code(&self) -> &'static str {
        match self {
            Error::AlreadyExists(_) => "AlreadyExists",
            Error::Validation(_) => "ValidationError",
            Error::ResourceInUse(_) => "ResourceInUse",
            Error::ScalingActivityInProgress(_) => "ScalingActivityInProgress",
            Error::LimitExceeded(_) => "LimitExceeded",
            Error::InvalidNextToken(_) => "InvalidNextToken",
            Error::Store(_) => "InternalFailure",
        }
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        match &error {
            // What the disk said is for the log, not for the caller.
            Error::Store(_) => {
                wire::Error::new(500, error.code(), "An internal error has occurred.")
            }
            _ => wire::Error::new(400, error.code(), error.to_string()),
        }
    }
}

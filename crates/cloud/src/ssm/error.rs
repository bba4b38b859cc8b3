//! Every way Systems Manager refuses a call, with the code and the words AWS uses.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("Parameter {0} not found.")]
    ParameterNotFound(String),
    /// A public parameter of an image that this installation has not.
    #[error("Parameter {name} not found: there is no such image here. `{command}` gets it.")]
    NoSuchImage { name: String, command: String },
    #[error(
        "The parameter already exists. To overwrite this value, set the overwrite option in the \
         request to true."
    )]
    ParameterAlreadyExists,
    #[error("{0}")]
    ParameterVersionNotFound(String),
    #[error(
        "You attempted to create a new version of {name} by calling the PutParameter API with the \
         overwrite flag. Version {version}, the oldest version, can't be deleted because it has a \
         label associated with it. Move the label to another version of the parameter, and try again."
    )]
    ParameterMaxVersionLimitExceeded { name: String, version: i64 },
    #[error("A parameter version can have a maximum of ten labels.")]
    ParameterVersionLabelLimitExceeded,
    #[error(
        "A hierarchy can have a maximum of 15 levels. For more information, see Requirements and \
         constraints for parameter names in the AWS Systems Manager User Guide."
    )]
    HierarchyLevelLimitExceeded,
    #[error(
        "Parameter Store doesn't support changing a parameter type in a hierarchy. You must create a \
         new, unique parameter."
    )]
    HierarchyTypeMismatch,
    #[error("The regular expression provided isn't valid: {0}")]
    InvalidAllowedPattern(String),
    #[error("Parameter value, cannot be validated against allowedPattern: {0}")]
    ParameterPatternMismatch(String),
    #[error("Invalid keyId {0}")]
    InvalidKeyId(String),
    #[error("No access to reserved parameter name: {0}.")]
    AccessDenied(String),
    #[error("{0}")]
    InvalidFilterKey(String),
    #[error("{0}")]
    InvalidFilterOption(String),
    #[error("{0}")]
    InvalidFilterValue(String),
    #[error("The specified token isn't valid.")]
    InvalidNextToken,
    #[error("{0} is not a valid resource type.")]
    InvalidResourceType(String),
    #[error("{0} is not a valid resource ID.")]
    InvalidResourceId(String),
    #[error("A resource can have a maximum of 50 tags.")]
    TooManyTags,
    #[error("{0}")]
    InvalidDocument(String),
    #[error("{0}")]
    InvalidDocumentVersion(String),
    #[error("{0}")]
    InvalidParameters(String),
    #[error("The size of the document exceeds 64 KB.")]
    MaxDocumentSizeExceeded,
    #[error("Instances [[{}]] not in a valid state for account {account}", ids.join(", "))]
    InvalidInstanceId { ids: Vec<String>, account: String },
    #[error("You can't specify an instance ID in more than one association: {0}")]
    DuplicateInstanceId(String),
    #[error("{0}")]
    InvalidTarget(String),
    #[error("The S3 bucket does not exist.")]
    InvalidOutputFolder,
    #[error("The specified command ID isn't valid.")]
    InvalidCommandId,
    #[error("The command ID and managed node ID you specified didn't match any invocations.")]
    InvocationDoesNotExist,
    #[error("The plugin name isn't valid.")]
    InvalidPluginName,
    #[error("{0}")]
    InvalidInstanceInformationFilterValue(String),
    #[error("{0}")]
    Validation(String),
    /// A sealed value that the cloud's key does not open.
    #[error("The value of {0} cannot be decrypted: it was sealed with another key.")]
    Sealed(String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    pub fn validation(message: impl Into<String>) -> Error {
        Error::Validation(message.into())
    }

    pub fn code(&self) -> &'static str {
        match self {
            Error::ParameterNotFound(_) | Error::NoSuchImage { .. } => "ParameterNotFound",
            Error::ParameterAlreadyExists => "ParameterAlreadyExists",
            Error::ParameterVersionNotFound(_) => "ParameterVersionNotFound",
            Error::ParameterMaxVersionLimitExceeded { .. } => "ParameterMaxVersionLimitExceeded",
            Error::ParameterVersionLabelLimitExceeded => "ParameterVersionLabelLimitExceeded",
            Error::HierarchyLevelLimitExceeded => "HierarchyLevelLimitExceededException",
            Error::HierarchyTypeMismatch => "HierarchyTypeMismatchException",
            Error::InvalidAllowedPattern(_) => "InvalidAllowedPatternException",
            Error::ParameterPatternMismatch(_) => "ParameterPatternMismatchException",
            Error::InvalidKeyId(_) => "InvalidKeyId",
            Error::AccessDenied(_) => "AccessDeniedException",
            Error::InvalidFilterKey(_) => "InvalidFilterKey",
            Error::InvalidFilterOption(_) => "InvalidFilterOption",
            Error::InvalidFilterValue(_) => "InvalidFilterValue",
            Error::InvalidNextToken => "InvalidNextToken",
            Error::InvalidResourceType(_) => "InvalidResourceType",
            Error::InvalidResourceId(_) => "InvalidResourceId",
            Error::TooManyTags => "TooManyTagsError",
            Error::InvalidDocument(_) => "InvalidDocument",
            Error::InvalidDocumentVersion(_) => "InvalidDocumentVersion",
            Error::InvalidParameters(_) => "InvalidParameters",
            Error::MaxDocumentSizeExceeded => "MaxDocumentSizeExceeded",
            Error::InvalidInstanceId { .. } => "InvalidInstanceId",
            Error::DuplicateInstanceId(_) => "DuplicateInstanceId",
            Error::InvalidTarget(_) => "InvalidTarget",
            Error::InvalidOutputFolder => "InvalidOutputFolder",
            Error::InvalidCommandId => "InvalidCommandId",
            Error::InvocationDoesNotExist => "InvocationDoesNotExist",
            Error::InvalidPluginName => "InvalidPluginName",
            Error::InvalidInstanceInformationFilterValue(_) => {
                "InvalidInstanceInformationFilterValue"
            }
            Error::Validation(_) => "ValidationException",
            Error::Sealed(_) | Error::Store(_) => "InternalServerError",
        }
    }
}

impl From<crate::page::BadToken> for Error {
    fn from(_: crate::page::BadToken) -> Error {
        Error::InvalidNextToken
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        let (status, message) = match &error {
            // What the disk said is for the log, not for the caller.
            Error::Store(_) => (500, "An internal error has occurred.".to_owned()),
            Error::Sealed(_) => (500, error.to_string()),
            other => (400, other.to_string()),
        };
        wire::Error::new(status, error.code(), message)
    }
}

//! Every way an S3 call is refused, with the code and the words AWS uses.

use s3s::{S3Error, S3ErrorCode};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("The specified bucket does not exist")]
    NoSuchBucket,
    #[error("The specified key does not exist.")]
    NoSuchKey,
    #[error("The bucket policy does not exist")]
    NoSuchBucketPolicy,
    #[error("{0}")]
    MalformedPolicy(String),
    #[error(
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have \
         been aborted or completed."
    )]
    NoSuchUpload,
    #[error("Your previous request to create the named bucket succeeded and you already own it.")]
    BucketAlreadyOwnedByYou,
    #[error("The bucket you tried to delete is not empty")]
    BucketNotEmpty,
    #[error("{0}")]
    IllegalLocationConstraint(String),
    #[error("{0}")]
    BadDigest(String),
    #[error("{0}")]
    InvalidDigest(String),
    #[error("At least one of the pre-conditions you specified did not hold")]
    PreconditionFailed,
    #[error("Not Modified")]
    NotModified,
    #[error("The requested range is not satisfiable")]
    InvalidRange,
    #[error(
        "One or more of the specified parts could not be found. The part may not have been uploaded, \
         or the specified entity tag may not match the part's entity tag."
    )]
    InvalidPart,
    #[error("The list of parts was not in ascending order. Parts must be ordered by part number.")]
    InvalidPartOrder,
    #[error("The requested partnumber is not satisfiable")]
    InvalidPartNumber,
    #[error("Your proposed upload is smaller than the minimum allowed size")]
    EntityTooSmall,
    #[error("{0}")]
    InvalidArgument(String),
    #[error("{0}")]
    InvalidRequest(String),
    #[error("Access Denied")]
    AccessDenied,
    /// Who may not do what.
    #[error("{0}")]
    Unauthorized(String),
    /// Real in AWS, not here.
    #[error("{0} is not supported here")]
    NotImplemented(&'static str),
    #[error("The bucket does not allow ACLs")]
    AccessControlListNotSupported,
    /// The client went away or broke the protocol in the middle of a body.
    #[error("{0}")]
    IncompleteBody(String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<Error> for S3Error {
    fn from(error: Error) -> S3Error {
        let code = match &error {
            Error::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            Error::NoSuchKey => S3ErrorCode::NoSuchKey,
            Error::NoSuchBucketPolicy => S3ErrorCode::NoSuchBucketPolicy,
            Error::MalformedPolicy(_) => S3ErrorCode::MalformedPolicy,
            Error::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            Error::BucketAlreadyOwnedByYou => S3ErrorCode::BucketAlreadyOwnedByYou,
            Error::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            Error::IllegalLocationConstraint(_) => S3ErrorCode::IllegalLocationConstraintException,
            Error::BadDigest(_) => S3ErrorCode::BadDigest,
            Error::InvalidDigest(_) => S3ErrorCode::InvalidDigest,
            Error::PreconditionFailed => S3ErrorCode::PreconditionFailed,
            Error::NotModified => S3ErrorCode::NotModified,
            Error::InvalidRange => S3ErrorCode::InvalidRange,
            Error::InvalidPart => S3ErrorCode::InvalidPart,
            Error::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            Error::InvalidPartNumber => {
                let mut wire = S3Error::with_message(
                    S3ErrorCode::Custom("InvalidPartNumber".into()),
                    error.to_string(),
                );
                wire.set_status_code(http::StatusCode::RANGE_NOT_SATISFIABLE);
                return wire;
            }
            Error::EntityTooSmall => S3ErrorCode::EntityTooSmall,
            Error::InvalidArgument(_) => S3ErrorCode::InvalidArgument,
            Error::InvalidRequest(_) => S3ErrorCode::InvalidRequest,
            Error::AccessDenied | Error::Unauthorized(_) => S3ErrorCode::AccessDenied,
            Error::NotImplemented(_) => S3ErrorCode::NotImplemented,
            Error::AccessControlListNotSupported => S3ErrorCode::AccessControlListNotSupported,
            Error::IncompleteBody(_) => S3ErrorCode::IncompleteBody,
            Error::Store(store) => {
                tracing::error!("{store}");
                return S3Error::with_message(
                    S3ErrorCode::InternalError,
                    "We encountered an internal error. Please try again.",
                );
            }
        };
        S3Error::with_message(code, error.to_string())
    }
}

//! Every way a CloudTrail call is refused.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("Event category is invalid: {0}")]
    EventCategory(String),
    #[error("You can only specify one lookup attribute.")]
    LookupAttributes,
    #[error("The start time must be before the end time.")]
    TimeRange,
    #[error("Max results must be between 1 and 50.")]
    MaxResults,
    #[error("The token is invalid.")]
    NextToken,
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        let code = match error {
            Error::EventCategory(_) => "InvalidEventCategoryException",
            Error::LookupAttributes => "InvalidLookupAttributesException",
            Error::TimeRange => "InvalidTimeRangeException",
            Error::MaxResults => "InvalidMaxResultsException",
            Error::NextToken => "InvalidNextTokenException",
        };
        wire::Error::new(400, code, error.to_string())
    }
}

//! Every way an Elastic Load Balancing call is refused, with the code and the words AWS uses.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("Load balancers '[{0}]' not found")]
    LoadBalancerNotFound(String),
    #[error("Target groups '[{0}]' not found")]
    TargetGroupNotFound(String),
    #[error("One or more listeners not found")]
    ListenerNotFound,
    #[error("One or more rules not found")]
    RuleNotFound,
    #[error("A load balancer with the same name '{0}' exists, but with different settings")]
    DuplicateLoadBalancerName(String),
    #[error("A target group with the same name '{0}' exists, but with different settings")]
    DuplicateTargetGroupName(String),
    #[error("A listener already exists on this port for this load balancer '{0}'")]
    DuplicateListener(String),
    #[error("{0}")]
    ResourceInUse(String),
    #[error("Priority '{0}' is currently in use")]
    PriorityInUse(u32),
    #[error(
        "The following target groups cannot be associated with more than one load balancer: {0}"
    )]
    TargetGroupAssociationLimit(String),
    #[error("{0}")]
    InvalidConfigurationRequest(String),
    #[error("{0}")]
    InvalidLoadBalancerAction(String),
    #[error("{0}")]
    InvalidTarget(String),
    #[error("{0}")]
    InvalidScheme(String),
    #[error("The subnet ID '{0}' does not exist")]
    SubnetNotFound(String),
    #[error("{0}")]
    InvalidSubnet(String),
    #[error("{0}")]
    InvalidSecurityGroup(String),
    #[error("{0}")]
    UnsupportedProtocol(String),
    #[error("{0}")]
    OperationNotPermitted(String),
    #[error("{0}")]
    Validation(String),
    #[error("Tag keys cannot be duplicated: {0}")]
    DuplicateTagKeys(String),
    /// A quota: the code's last part, and the words.
    #[error("{1}")]
    TooMany(Quota, String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    Actions,
    Listeners,
    LoadBalancers,
    Rules,
    Tags,
    TargetGroups,
    Targets,
}

impl Error {
    pub fn validation(message: impl Into<String>) -> Error {
        Error::Validation(message.into())
    }

    pub fn configuration(message: impl Into<String>) -> Error {
        Error::InvalidConfigurationRequest(message.into())
    }

    /// For what AWS has and this cloud has not: says what.
    pub fn unsupported(what: impl std::fmt::Display) -> Error {
        Error::InvalidConfigurationRequest(format!("{what} is not supported by this cloud"))
    }

    pub fn code(&self) -> &'static str {
        use Error::*;
        match self {
            LoadBalancerNotFound(_) => "LoadBalancerNotFound",
            TargetGroupNotFound(_) => "TargetGroupNotFound",
            ListenerNotFound => "ListenerNotFound",
            RuleNotFound => "RuleNotFound",
            DuplicateLoadBalancerName(_) => "DuplicateLoadBalancerName",
            DuplicateTargetGroupName(_) => "DuplicateTargetGroupName",
            DuplicateListener(_) => "DuplicateListener",
            ResourceInUse(_) => "ResourceInUse",
            PriorityInUse(_) => "PriorityInUse",
            TargetGroupAssociationLimit(_) => "TargetGroupAssociationLimit",
            InvalidConfigurationRequest(_) => "InvalidConfigurationRequest",
            InvalidLoadBalancerAction(_) => "InvalidLoadBalancerAction",
            InvalidTarget(_) => "InvalidTarget",
            InvalidScheme(_) => "InvalidScheme",
            SubnetNotFound(_) => "SubnetNotFound",
            InvalidSubnet(_) => "InvalidSubnet",
            InvalidSecurityGroup(_) => "InvalidSecurityGroup",
            UnsupportedProtocol(_) => "UnsupportedProtocol",
            OperationNotPermitted(_) => "OperationNotPermitted",
            Validation(_) => "ValidationError",
            DuplicateTagKeys(_) => "DuplicateTagKeys",
            TooMany(quota, _) => match quota {
                Quota::Actions => "TooManyActions",
                Quota::Listeners => "TooManyListeners",
                Quota::LoadBalancers => "TooManyLoadBalancers",
                Quota::Rules => "TooManyRules",
                Quota::Tags => "TooManyTags",
                Quota::TargetGroups => "TooManyTargetGroups",
                Quota::Targets => "TooManyTargets",
            },
            Store(_) => "InternalFailure",
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

impl From<crate::page::BadToken> for Error {
    fn from(_: crate::page::BadToken) -> Error {
        Error::validation("Invalid marker")
    }
}

//! Every way an EC2 call is refused, with the code and the words AWS uses ("Error codes for the
//! Amazon EC2 API"). One enum for all of EC2: add a variant, its message, and its line in `code`.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Ids or names that name nothing here.
    #[error("{}", kind.not_found(ids))]
    NotFound { kind: Kind, ids: Vec<String> },
    /// An id that cannot be one of this kind.
    #[error("{}", kind.malformed(ids))]
    Malformed { kind: Kind, ids: Vec<String> },

    #[error("{0}")]
    InvalidParameterValue(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("{0}")]
    InvalidParameterCombination(String),
    #[error("{0}")]
    InvalidParameterDependency(String),
    #[error("The request must contain the parameter {0}")]
    MissingParameter(&'static str),
    /// A filter this call does not know.
    #[error("The filter '{0}' is invalid")]
    InvalidFilter(String),
    #[error("The maximum number of filter values specified on a single call is 200")]
    FilterLimitExceeded,
    #[error("The token '{0}' is invalid")]
    InvalidNextToken(String),
    /// Real in AWS, not here.
    #[error("{0}")]
    UnsupportedOperation(String),
    /// Not for this instance type, image or zone.
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    OperationNotPermitted(String),
    #[error("{0}")]
    DependencyViolation(String),
    #[error("Request would have succeeded, but DryRun flag is set.")]
    DryRun,
    #[error("The maximum number of Tags for a resource has been reached.")]
    TagLimitExceeded,
    /// An id of no kind that the call can take.
    #[error("The ID '{0}' is not valid")]
    InvalidId(String),
    #[error("{0}")]
    IdempotentParameterMismatch(String),

    /// Of an instance profile.
    #[error("An invalid association-id of '{0}' was given")]
    NoSuchAssociation(String),
    /// A quota of the account, by the code that AWS has for it.
    #[error("{1}")]
    LimitExceeded(&'static str, &'static str),
    #[error("No default VPC for this user")]
    VpcIdNotSpecified,
    #[error("No subnets found for the default VPC '{0}'. Please specify a subnet.")]
    MissingDefaultSubnet(String),
    #[error("A Default VPC already exists for this account in this region.")]
    DefaultVpcAlreadyExists,
    #[error("'{id}' is already the default subnet in {zone}.")]
    DefaultSubnetAlreadyExists { id: String, zone: String },
    #[error("{0}")]
    InvalidVpcRange(String),
    #[error("The CIDR '{0}' is invalid.")]
    InvalidSubnetRange(String),
    #[error("The CIDR '{0}' conflicts with another subnet")]
    InvalidSubnetConflict(String),
    #[error("The route identified by {0} already exists.")]
    RouteAlreadyExists(String),
    #[error("no route with destination-cidr-block {destination} in route table {table_id}")]
    RouteNotFound { destination: String, table_id: String },
    #[error("resource {gateway} is not attached to network {vpc_id}")]
    GatewayNotAttached { gateway: String, vpc_id: String },

    #[error("The keypair already exists")]
    KeyPairDuplicate,
    #[error("Key is not in valid OpenSSH public key format")]
    KeyFormat,
    #[error("Launch template name already in use.")]
    LaunchTemplateNameInUse,
    #[error(
        "A launch template name must be between 3 and 128 characters, and may contain letters, \
         numbers, and the following characters: - ( ) . / _."
    )]
    LaunchTemplateNameMalformed,
    #[error("Could not find the specified version {version} for the launch template with ID {id}.")]
    LaunchTemplateVersionNotFound { id: String, version: String },
    #[error("The security group '{name}' already exists for VPC '{vpc_id}'")]
    GroupDuplicate { name: String, vpc_id: String },
    #[error("Cannot use reserved security group name: {0}")]
    GroupReserved(String),
    #[error("the specified rule \"{0}\" already exists")]
    PermissionDuplicate(String),
    #[error("The specified rule does not exist in this security group.")]
    PermissionNotFound,
    #[error("The maximum number of rules per security group has been reached.")]
    RulesPerSecurityGroupLimitExceeded,
    #[error("The maximum number of security groups per interface has been reached.")]
    SecurityGroupsPerInterfaceLimitExceeded,
    #[error("{0}")]
    CannotDelete(String),
    #[error("AMI name {name} is already in use by AMI {id}")]
    AmiNameDuplicate { name: String, id: String },
    #[error(
        "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', \
         ')', '.', '-', '/' and '_'"
    )]
    AmiNameMalformed,

    #[error("{0}")]
    IncorrectInstanceState(String),
    /// Of anything but an instance alone.
    #[error("{0}")]
    IncorrectState(String),
    #[error("{0}")]
    VolumeInUse(String),
    #[error("{0}")]
    VolumeZoneMismatch(String),
    /// Of a volume.
    #[error("{0}")]
    NoSuchVolumeAttachment(String),
    #[error(
        "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between \
         modifications per EBS volume ({0})."
    )]
    VolumeModificationRateExceeded(String),
    #[error("{0}")]
    IncorrectModificationState(String),
    #[error("Modification for volume '{0}' does not exist.")]
    NoSuchModification(String),
    #[error("There is not enough capacity to fulfill your EBS volume provision request.")]
    InsufficientVolumeCapacity,
    #[error("{0}")]
    SnapshotInUse(String),
    /// An image that cannot be launched from, or no more.
    #[error("{0}")]
    AmiUnavailable(String),
    /// `others`: zones of the region that have what this one has not.
    #[error("{}", no_capacity(instance_type, zone, others))]
    InsufficientInstanceCapacity { instance_type: String, zone: String, others: Vec<String> },
    /// A spread placement group that has as many in the zone as it can.
    #[error(
        "The spread placement group '{group}' has seven running instances in the Availability Zone {zone}, \
         which is the maximum per Availability Zone and group. Launch in another Availability Zone or \
         with another placement group."
    )]
    SpreadLimitExceeded { group: String, zone: String },
    #[error("The placement group '{group}' is in use in another availability zone: {zone}")]
    PlacementGroupInUseElsewhere { group: String, zone: String },
    #[error("The placement group '{0}' is in use and may not be deleted.")]
    PlacementGroupInUse(String),
    #[error("The placement group '{0}' already exists.")]
    PlacementGroupDuplicate(String),
    #[error(
        "The requested reservation does not have sufficient compatible and available capacity for this \
         request."
    )]
    ReservationCapacityExceeded,
    #[error("{0}")]
    UnsupportedHibernationConfiguration(String),
    #[error(
        "Your Spot request price of {most} is lower than the minimum required Spot request fulfillment \
         price of {price}."
    )]
    SpotMaxPriceTooLow { most: String, price: String },
    #[error("{0}")]
    IncorrectSpotRequestState(String),
    #[error("{0}")]
    InvalidSpotFleetRequestConfig(String),
    #[error("{0}")]
    FleetNotInModifiableState(String),
    /// What the role of a Spot Fleet does not let it do.
    #[error("{0}")]
    FleetRole(String),
    #[error(
        "The specified subnet '{0}' does not have enough free addresses to satisfy the request."
    )]
    InsufficientFreeAddressesInSubnet(String),
    #[error("{0}")]
    NoCpuCredits(String),
    #[error("{0}")]
    InvalidInstanceId(String),
    #[error("Interface: [{0}] in use.")]
    InterfaceInUse(String),
    #[error("{0}")]
    AttachmentLimitExceeded(String),
    #[error("Number of private addresses will exceed limit.")]
    PrivateIpAddressLimitExceeded,
    #[error("The prefix list has room for {max_entries} entries, but would have {entries}.")]
    PrefixListMaxEntriesExceeded { entries: usize, max_entries: usize },
    #[error("The prefix list '{id}' is at version {version} by now.")]
    PrefixListVersionMismatch { id: String, version: i64 },
    #[error("Network {0} is not attached to any internet gateway")]
    NoInternetGateway(String),
    #[error("The maximum number of addresses has been reached.")]
    AddressLimitExceeded,
    #[error("There are not enough free public addresses to satisfy the request.")]
    InsufficientAddressCapacity,
    #[error("The network acl entry identified by {0} already exists.")]
    NetworkAclEntryAlreadyExists(i32),
    #[error("The network acl entry identified by {0} does not exist")]
    NetworkAclEntryNotFound(i32),
    #[error("{0}")]
    InvalidStateTransition(String),
    #[error("{0}")]
    AlreadyAssociated(String),
    #[error("Address {0} is in use.")]
    AddressInUse(std::net::Ipv4Addr),
    #[error("The network insights path {0} has analyses, which must be deleted first.")]
    AnalysisExistsForNetworkInsightsPath(String),
    #[error("Flow log already exists.")]
    FlowLogAlreadyExists,
    #[error(
        "Found another VPC endpoint subnet in the availability zone of {0}. VPC endpoint subnets should \
         be in different availability zones supported by the VPC endpoint service."
    )]
    DuplicateSubnetsInSameZone(String),
    #[error("{0}")]
    InvalidPolicyDocument(String),
    #[error("{0}")]
    InvalidBlockDeviceMapping(String),

    #[error(transparent)]
    Store(#[from] store::Error),
}

fn no_capacity(instance_type: &str, zone: &str, others: &[String]) -> String {
    let mut message = format!(
        "We currently do not have sufficient {instance_type} capacity in the Availability Zone you \
         requested ({zone}). Our system will be working on provisioning additional capacity."
    );
    if !others.is_empty() {
        message.push_str(&format!(
            " You can currently get {instance_type} capacity by not specifying an Availability Zone \
             in your request or choosing {}.",
            others.join(", ")
        ));
    }
    message
}

impl Error {
    pub fn not_found(kind: Kind, id: impl Into<String>) -> Error {
        Error::NotFound { kind, ids: vec![id.into()] }
    }

    pub fn malformed(kind: Kind, id: impl Into<String>) -> Error {
        Error::Malformed { kind, ids: vec![id.into()] }
    }

    pub fn value(message: impl Into<String>) -> Error {
        Error::InvalidParameterValue(message.into())
    }

    pub fn combination(message: impl Into<String>) -> Error {
        Error::InvalidParameterCombination(message.into())
    }

    /// For a client token that was used for another request.
    pub fn token_mismatch(token: &str) -> Error {
        Error::IdempotentParameterMismatch(format!(
            "Arguments on this idempotent request are inconsistent with arguments used in previous \
             request(s) with the token {token}."
        ))
    }

    /// For what AWS has and this cloud has not: says what.
    pub fn unsupported(what: impl std::fmt::Display) -> Error {
        Error::UnsupportedOperation(format!("{what} is not supported by this cloud."))
    }

    /// For a tenancy, or a host, that is not shared with others.
    pub fn tenancy(what: impl std::fmt::Display) -> Error {
        Error::Unsupported(format!(
            "The requested configuration is currently not supported. Please check the documentation for \
             supported configurations. {what} is not supported by this cloud, in which every instance has \
             the tenancy 'default'."
        ))
    }

    /// Whether another zone may have what this one could not give.
    pub fn is_of_zone(&self) -> bool {
        matches!(
            self,
            Error::InsufficientInstanceCapacity { .. }
                | Error::InsufficientFreeAddressesInSubnet(_)
                | Error::PlacementGroupInUseElsewhere { .. }
                | Error::ReservationCapacityExceeded
                | Error::SpreadLimitExceeded { .. }
        )
    }

    pub fn code(&self) -> String {
        use Error::*;
        match self {
            NotFound { kind, .. } => return kind.not_found_code(),
            Malformed { kind, .. } => return kind.malformed_code(),
            InvalidParameterValue(_) | InvalidFilter(_) => "InvalidParameterValue",
            InvalidParameter(_) => "InvalidParameter",
            InvalidParameterCombination(_) => "InvalidParameterCombination",
            InvalidParameterDependency(_) => "InvalidParameterDependency",
            MissingParameter(_) => "MissingParameter",
            FilterLimitExceeded => "FilterLimitExceeded",
            InvalidNextToken(_) => "InvalidNextToken",
            UnsupportedOperation(_) => "UnsupportedOperation",
            Unsupported(_) => "Unsupported",
            OperationNotPermitted(_) => "OperationNotPermitted",
            DependencyViolation(_) => "DependencyViolation",
            DryRun => "DryRunOperation",
            TagLimitExceeded => "TagLimitExceeded",
            InvalidId(_) => "InvalidID",
            IdempotentParameterMismatch(_) => "IdempotentParameterMismatch",
            LimitExceeded(code, _) => code,
            VpcIdNotSpecified => "VPCIdNotSpecified",
            MissingDefaultSubnet(_) => "MissingInput",
            DefaultVpcAlreadyExists => "DefaultVpcAlreadyExists",
            DefaultSubnetAlreadyExists { .. } => "DefaultSubnetAlreadyExistsInAvailabilityZone",
            InvalidVpcRange(_) => "InvalidVpc.Range",
            InvalidSubnetRange(_) => "InvalidSubnet.Range",
            InvalidSubnetConflict(_) => "InvalidSubnet.Conflict",
            RouteAlreadyExists(_) => "RouteAlreadyExists",
            RouteNotFound { .. } => "InvalidRoute.NotFound",
            GatewayNotAttached { .. } => "Gateway.NotAttached",
            KeyPairDuplicate => "InvalidKeyPair.Duplicate",
            KeyFormat => "InvalidKey.Format",
            LaunchTemplateNameInUse => "InvalidLaunchTemplateName.AlreadyExistsException",
            LaunchTemplateNameMalformed => "InvalidLaunchTemplateName.MalformedException",
            LaunchTemplateVersionNotFound { .. } => "InvalidLaunchTemplateId.VersionNotFound",
            GroupDuplicate { .. } => "InvalidGroup.Duplicate",
            GroupReserved(_) => "InvalidGroup.Reserved",
            PermissionDuplicate(_) => "InvalidPermission.Duplicate",
            PermissionNotFound => "InvalidPermission.NotFound",
            RulesPerSecurityGroupLimitExceeded => "RulesPerSecurityGroupLimitExceeded",
            SecurityGroupsPerInterfaceLimitExceeded => "SecurityGroupsPerInterfaceLimitExceeded",
            CannotDelete(_) => "CannotDelete",
            AmiNameDuplicate { .. } => "InvalidAMIName.Duplicate",
            AmiNameMalformed => "InvalidAMIName.Malformed",
            IncorrectState(_) => "IncorrectState",
            VolumeInUse(_) => "VolumeInUse",
            VolumeZoneMismatch(_) => "InvalidVolume.ZoneMismatch",
            NoSuchVolumeAttachment(_) => "InvalidAttachment.NotFound",
            VolumeModificationRateExceeded(_) => "VolumeModificationRateExceeded",
            NoSuchModification(_) => "InvalidVolumeModification.NotFound",
            IncorrectModificationState(_) => "IncorrectModificationState",
            InsufficientVolumeCapacity => "InsufficientVolumeCapacity",
            SnapshotInUse(_) => "InvalidSnapshot.InUse",
            AmiUnavailable(_) => "InvalidAMIID.Unavailable",
            NoSuchAssociation(_) => "NoSuchAssociation",
            IncorrectInstanceState(_) => "IncorrectInstanceState",
            NoCpuCredits(_) => "InstanceCreditSpecification.NotSupported",
            InvalidInstanceId(_) => "InvalidInstanceID",
            InterfaceInUse(_) => "InvalidNetworkInterface.InUse",
            AttachmentLimitExceeded(_) => "AttachmentLimitExceeded",
            PrivateIpAddressLimitExceeded => "PrivateIpAddressLimitExceeded",
            PrefixListMaxEntriesExceeded { .. } => "PrefixListMaxEntriesExceeded",
            PrefixListVersionMismatch { .. } => "PrefixListVersionMismatch",
            NoInternetGateway(_) => "Gateway.NotAttached",
            AddressLimitExceeded => "AddressLimitExceeded",
            InsufficientAddressCapacity => "InsufficientAddressCapacity",
            NetworkAclEntryAlreadyExists(_) => "NetworkAclEntryAlreadyExists",
            NetworkAclEntryNotFound(_) => "InvalidNetworkAclEntry.NotFound",
            InvalidStateTransition(_) => "InvalidStateTransition",
            AlreadyAssociated(_) => "Resource.AlreadyAssociated",
            InsufficientInstanceCapacity { .. } | SpreadLimitExceeded { .. } => {
                "InsufficientInstanceCapacity"
            }
            PlacementGroupInUse(_) | PlacementGroupInUseElsewhere { .. } => {
                "InvalidPlacementGroup.InUse"
            }
            PlacementGroupDuplicate(_) => "InvalidPlacementGroup.Duplicate",
            ReservationCapacityExceeded => "ReservationCapacityExceeded",
            UnsupportedHibernationConfiguration(_) => "UnsupportedHibernationConfiguration",
            SpotMaxPriceTooLow { .. } => "SpotMaxPriceTooLow",
            IncorrectSpotRequestState(_) => "IncorrectSpotRequestState",
            InvalidSpotFleetRequestConfig(_) => "InvalidSpotFleetRequestConfig",
            FleetNotInModifiableState(_) => "FleetNotInModifiableState",
            FleetRole(_) => "UnauthorizedOperation",
            InsufficientFreeAddressesInSubnet(_) => "InsufficientFreeAddressesInSubnet",
            AddressInUse(_) => "InvalidIPAddress.InUse",
            AnalysisExistsForNetworkInsightsPath(_) => "AnalysisExistsForNetworkInsightsPath",
            FlowLogAlreadyExists => "FlowLogAlreadyExists",
            DuplicateSubnetsInSameZone(_) => "DuplicateSubnetsInSameZone",
            InvalidPolicyDocument(_) => "InvalidPolicyDocument",
            InvalidBlockDeviceMapping(_) => "InvalidBlockDeviceMapping",
            Store(_) => "InternalError",
        }
        .to_owned()
    }

    pub fn status(&self) -> u16 {
        match self {
            Error::DryRun => 412,
            Error::InsufficientInstanceCapacity { .. }
            | Error::SpreadLimitExceeded { .. }
            | Error::InsufficientAddressCapacity
            | Error::InsufficientVolumeCapacity
            | Error::Store(_) => 500,
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
        Error::InvalidNextToken("NextToken".to_owned())
    }
}

/// What an id or a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    CapacityReservation,
    Fleet,
    FlowLog,
    NetworkInsightsAnalysis,
    NetworkInsightsPath,
    Allocation,
    /// Of a subnet with a route table or a network ACL, or of a public address.
    Association,
    Attachment,
    DhcpOptions,
    /// What a route's `GatewayId` names.
    Gateway,
    Instance,
    Image,
    InstanceType,
    InternetGateway,
    KeyPair,
    KeyPairId,
    LaunchTemplate,
    LaunchTemplateName,
    NatGateway,
    NetworkAcl,
    NetworkInterface,
    /// By its name or its id.
    PlacementGroup,
    PrefixList,
    PublicAddress,
    RouteTable,
    SecurityGroup,
    SecurityGroupRule,
    SpotFleet,
    SpotRequest,
    Snapshot,
    Subnet,
    Volume,
    Vpc,
    VpcCidrAssociation,
    VpcEndpoint,
    VpcEndpointService,
    VpcPeeringConnection,
    Zone,
}

impl Kind {
    /// Of its error codes: `InvalidInstanceID` in `InvalidInstanceID.NotFound`.
    fn stem(self) -> &'static str {
        match self {
            Kind::Allocation => "InvalidAllocationID",
            Kind::Association => "InvalidAssociationID",
            Kind::Attachment => "InvalidAttachmentID",
            Kind::DhcpOptions => "InvalidDhcpOptionID",
            Kind::Gateway => "InvalidGatewayID",
            Kind::Fleet => "InvalidFleetId",
            Kind::FlowLog => "InvalidFlowLogId",
            Kind::NetworkInsightsAnalysis => "InvalidNetworkInsightsAnalysisId",
            Kind::NetworkInsightsPath => "InvalidNetworkInsightsPathId",
            Kind::Instance => "InvalidInstanceID",
            Kind::Image => "InvalidAMIID",
            Kind::InstanceType => "InvalidInstanceType",
            Kind::InternetGateway => "InvalidInternetGatewayID",
            Kind::KeyPair | Kind::KeyPairId => "InvalidKeyPair",
            Kind::LaunchTemplate => "InvalidLaunchTemplateId",
            Kind::LaunchTemplateName => "InvalidLaunchTemplateName",
            Kind::NatGateway => "NatGateway",
            Kind::NetworkAcl => "InvalidNetworkAclID",
            Kind::NetworkInterface => "InvalidNetworkInterfaceID",
            Kind::CapacityReservation => "InvalidCapacityReservationId",
            Kind::PlacementGroup => "InvalidPlacementGroup",
            Kind::PrefixList => "InvalidPrefixListID",
            Kind::PublicAddress => "InvalidAddress",
            Kind::RouteTable => "InvalidRouteTableID",
            Kind::SecurityGroup => "InvalidGroup",
            Kind::SecurityGroupRule => "InvalidSecurityGroupRuleId",
            Kind::SpotFleet => "InvalidSpotFleetRequestId",
            Kind::SpotRequest => "InvalidSpotInstanceRequestID",
            Kind::Snapshot => "InvalidSnapshot",
            Kind::Subnet => "InvalidSubnetID",
            Kind::Volume => "InvalidVolume",
            Kind::Vpc => "InvalidVpcID",
            Kind::VpcCidrAssociation => "InvalidVpcCidrBlockAssociationID",
            Kind::VpcEndpoint => "InvalidVpcEndpointId",
            Kind::VpcEndpointService => "InvalidServiceName",
            Kind::VpcPeeringConnection => "InvalidVpcPeeringConnectionID",
            Kind::Zone => "InvalidZone",
        }
    }

    fn not_found_code(self) -> String {
        match self {
            Kind::InstanceType => "InvalidInstanceType".to_owned(),
            Kind::VpcEndpointService => self.stem().to_owned(),
            Kind::LaunchTemplateName => format!("{}.NotFoundException", self.stem()),
            Kind::NatGateway => "NatGatewayNotFound".to_owned(),
            Kind::PlacementGroup => "InvalidPlacementGroup.Unknown".to_owned(),
            _ => format!("{}.NotFound", self.stem()),
        }
    }

    fn malformed_code(self) -> String {
        match self {
            Kind::SecurityGroup => "InvalidGroupId.Malformed".to_owned(),
            Kind::Volume => "InvalidVolumeID.Malformed".to_owned(),
            Kind::Snapshot => "InvalidSnapshotID.Malformed".to_owned(),
            Kind::DhcpOptions => "InvalidDhcpOptionsId.Malformed".to_owned(),
            Kind::InternetGateway => "InvalidInternetGatewayId.Malformed".to_owned(),
            Kind::NatGateway => "NatGatewayMalformed".to_owned(),
            Kind::NetworkAcl => "InvalidNetworkAclId.Malformed".to_owned(),
            Kind::NetworkInterface => "InvalidNetworkInterfaceId.Malformed".to_owned(),
            Kind::PlacementGroup => "InvalidPlacementGroupId.Malformed".to_owned(),
            Kind::PrefixList => "InvalidPrefixListId.Malformed".to_owned(),
            Kind::RouteTable => "InvalidRouteTableId.Malformed".to_owned(),
            Kind::VpcPeeringConnection => "InvalidVpcPeeringConnectionId.Malformed".to_owned(),
            _ => format!("{}.Malformed", self.stem()),
        }
    }

    /// What its ids begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Allocation => "eipalloc-",
            Kind::Attachment => "eni-attach-",
            Kind::DhcpOptions => "dopt-",
            Kind::Fleet => "fleet-",
            Kind::SpotFleet => "sfr-",
            Kind::FlowLog => "fl-",
            Kind::NetworkInsightsAnalysis => "nia-",
            Kind::NetworkInsightsPath => "nip-",
            Kind::Instance => "i-",
            Kind::Image => "ami-",
            Kind::InternetGateway => "igw-",
            Kind::KeyPairId => "key-",
            Kind::LaunchTemplate => "lt-",
            Kind::NatGateway => "nat-",
            Kind::NetworkAcl => "acl-",
            Kind::NetworkInterface => "eni-",
            Kind::CapacityReservation => "cr-",
            Kind::PlacementGroup => "pg-",
            Kind::PrefixList => "pl-",
            Kind::RouteTable => "rtb-",
            Kind::SecurityGroup => "sg-",
            Kind::SecurityGroupRule => "sgr-",
            Kind::Snapshot => "snap-",
            Kind::Subnet => "subnet-",
            Kind::Volume => "vol-",
            Kind::Vpc => "vpc-",
            Kind::VpcEndpoint => "vpce-",
            Kind::VpcPeeringConnection => "pcx-",
            Kind::Association
            | Kind::Gateway
            | Kind::InstanceType
            | Kind::KeyPair
            | Kind::LaunchTemplateName
            | Kind::PublicAddress
            | Kind::SpotRequest
            | Kind::VpcCidrAssociation
            | Kind::VpcEndpointService
            | Kind::Zone => "",
        }
    }

    /// Whether `id` could be one: the prefix and 8 or 17 hexadecimal digits.
    pub fn is_id(self, id: &str) -> bool {
        id.strip_prefix(self.prefix()).is_some_and(|digits| {
            matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        })
    }

    fn not_found(self, ids: &[String]) -> String {
        let list = ids.join(", ");
        let many = ids.len() > 1;
        let plain = |noun: &str| {
            if many {
                format!("The {noun}s '{list}' do not exist")
            } else {
                format!("The {noun} '{list}' does not exist")
            }
        };
        match self {
            Kind::Allocation => plain("allocation ID"),
            Kind::Association => plain("association ID"),
            Kind::Attachment => plain("attachment ID"),
            Kind::DhcpOptions => plain("dhcpOption ID"),
            Kind::Gateway => plain("gateway ID"),
            Kind::Fleet => plain("fleet ID"),
            Kind::FlowLog => plain("flow log ID"),
            Kind::NetworkInsightsAnalysis => plain("network insights analysis ID"),
            Kind::NetworkInsightsPath => plain("network insights path ID"),
            Kind::Instance => plain("instance ID"),
            Kind::Image => format!("The image id '[{list}]' does not exist"),
            Kind::InstanceType => {
                format!("The following supplied instance types do not exist: [{list}]")
            }
            Kind::InternetGateway => plain("internetGateway ID"),
            Kind::KeyPair => plain("key pair"),
            Kind::KeyPairId => plain("key pair ID"),
            Kind::LaunchTemplate => {
                format!("The specified launch template, with template ID {list}, does not exist.")
            }
            Kind::LaunchTemplateName => {
                format!("The specified launch template, with template name {list}, does not exist.")
            }
            Kind::NatGateway => format!("The Nat Gateway {list} was not found"),
            Kind::NetworkAcl => plain("networkAcl ID"),
            Kind::NetworkInterface => plain("networkInterface ID"),
            Kind::CapacityReservation => plain("capacity reservation ID"),
            Kind::PlacementGroup => format!("The Placement Group '{list}' is unknown."),
            Kind::PrefixList => plain("prefix list ID"),
            Kind::PublicAddress => format!("Address '{list}' not found."),
            Kind::RouteTable => plain("routeTable ID"),
            Kind::SecurityGroup => plain("security group"),
            Kind::SecurityGroupRule => plain("security group rule ID"),
            Kind::SpotFleet => plain("spot fleet request ID"),
            Kind::SpotRequest => {
                format!("The spot instance request ID '{list}' does not exist")
            }
            Kind::Subnet => plain("subnet ID"),
            Kind::Snapshot => format!("The snapshot '{list}' does not exist."),
            Kind::Volume => format!("The volume '{list}' does not exist."),
            Kind::Vpc => plain("vpc ID"),
            Kind::VpcCidrAssociation => plain("vpc CIDR block association ID"),
            Kind::VpcEndpoint => format!("The Vpc Endpoint Id '{list}' does not exist"),
            Kind::VpcEndpointService => {
                format!("The Vpc Endpoint Service '{list}' does not exist")
            }
            Kind::VpcPeeringConnection => plain("vpcPeeringConnection ID"),
            Kind::Zone => format!("The zone '{list}' does not exist."),
        }
    }

    fn malformed(self, ids: &[String]) -> String {
        let list = ids.join(", ");
        let plural = if ids.len() > 1 { "s" } else { "" };
        match self.prefix() {
            "" => format!("Invalid value '{list}'"),
            prefix => format!("Invalid id{plural}: \"{list}\" (expecting \"{prefix}...\")"),
        }
    }
}

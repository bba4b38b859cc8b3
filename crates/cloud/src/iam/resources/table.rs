//! Which resources an operation is about, as data. What is not listed here is found by its members'
//! names: ids and ARNs at the top of a request; Describe and List calls are about none.
//!
//! ```text
//!  MEMBER          the values of a member: ARNs, or ids of EC2, whose prefix says their kind
//!  kind/{MEMBER}   values that name a resource of that kind; `A|B`: the first that is there
//!  kind/{MEMBER}!  … and any of that kind when there are none, as the service then chooses
//!  kind/*          one that is made
//!  Action:…        asks for another action than the operation's name
//! ```
//!
//! `A.B` goes down; lists are gone through; `A.#` are the keys of a map. Source: Service Authorization
//! Reference, "Resource types" of each service's actions.

/// Of a service by its signing name: operations, and the resources of each.
pub fn of(service: &str) -> &'static [(&'static str, &'static str)] {
    match service {
        "ec2" => EC2,
        "ebs" => EBS,
        "elasticloadbalancing" => ELASTIC_LOAD_BALANCING,
        "autoscaling" => AUTO_SCALING,
        "ssm" => SSM,
        "ec2-instance-connect" => EC2_INSTANCE_CONNECT,
        "dynamodb" => DYNAMODB,
        "iam" => IAM,
        "sqs" => SQS,
        "fis" => FIS,
        _ => &[],
    }
}

/// No permission is needed: AWS STS API Reference of each. AssumeRole asks the role's trust policy too,
/// so its operation does the asking.
pub const FREE: &[(&str, &str)] =
    &[("sts", "GetCallerIdentity"), ("sts", "GetSessionToken"), ("sts", "AssumeRole")];

/// Action that setting tags takes while another operation (any, where none is named) makes what is
/// tagged.
pub const TAGGING: &[(&str, &str, &str)] = &[
    ("ec2", "", "CreateTags"),
    ("elasticloadbalancing", "", "AddTags"),
    ("ssm", "", "AddTagsToResource"),
    ("dynamodb", "", "TagResource"),
    ("autoscaling", "", "CreateOrUpdateTags"),
    ("sqs", "CreateQueue", "TagQueue"),
    ("fis", "", "TagResource"),
    ("iam", "CreateUser", "TagUser"),
    ("iam", "CreateRole", "TagRole"),
    ("iam", "CreatePolicy", "TagPolicy"),
    ("iam", "CreateInstanceProfile", "TagInstanceProfile"),
];

const EC2: &[(&str, &str)] = &[
    (
        "RunInstances",
        "image/{ImageId}! instance/* network-interface/{NetworkInterfaces.NetworkInterfaceId}! \
         volume/* snapshot/{BlockDeviceMappings.Ebs.SnapshotId} \
         subnet/{SubnetId|NetworkInterfaces.SubnetId}! \
         security-group/{SecurityGroupIds|NetworkInterfaces.Groups}! key-pair/{KeyName} \
         launch-template/{LaunchTemplate.LaunchTemplateId} \
         spot-instances-request/{SpotInstancesRequest} \
         placement-group/{OfPlacementGroup|Placement.GroupName} \
         capacity-reservation/{CapacityReservationSpecification.CapacityReservationTarget\
         .CapacityReservationId}",
    ),
    (
        "RequestSpotInstances",
        "spot-instances-request/* image/{LaunchSpecification.ImageId}! \
         network-interface/{LaunchSpecification.NetworkInterfaces.NetworkInterfaceId} \
         subnet/{LaunchSpecification.SubnetId|LaunchSpecification.NetworkInterfaces.SubnetId}! \
         security-group/{LaunchSpecification.SecurityGroupIds}! \
         key-pair/{LaunchSpecification.KeyName}",
    ),
    (
        "CreateFleet",
        "fleet/* instance/* \
         launch-template/{LaunchTemplateConfigs.LaunchTemplateSpecification.LaunchTemplateId} \
         subnet/{LaunchTemplateConfigs.Overrides.SubnetId}",
    ),
    ("ModifyFleet", "FleetId"),
    (
        "RequestSpotFleet",
        "spot-fleet-request/* \
         launch-template/{SpotFleetRequestConfig.LaunchTemplateConfigs.LaunchTemplateSpecification.LaunchTemplateId} \
         image/{SpotFleetRequestConfig.LaunchSpecifications.ImageId} \
         key-pair/{SpotFleetRequestConfig.LaunchSpecifications.KeyName} \
         security-group/{SpotFleetRequestConfig.LaunchSpecifications.SecurityGroups.GroupId}",
    ),
    ("ModifySpotFleetRequest", "SpotFleetRequestId"),
    ("CancelSpotFleetRequests", "SpotFleetRequestIds"),
    ("DescribeSpotFleetInstances", "SpotFleetRequestId"),
    ("DescribeSpotFleetRequestHistory", "SpotFleetRequestId"),
    ("DeleteFleets", "FleetIds"),
    ("CancelSpotInstanceRequests", "SpotInstanceRequestIds"),
    ("ModifyInstanceAttribute", "InstanceId Groups"),
    ("CreateVolume", "volume/* SnapshotId"),
    ("DescribeVolumeAttribute", "VolumeId"),
    ("CreateSnapshot", "snapshot/* VolumeId"),
    ("CreateSnapshots", "snapshot/* instance/{InstanceSpecification.InstanceId}! volume/*"),
    ("CopySnapshot", "snapshot/* snapshot/{SourceSnapshotId}"),
    ("DescribeSnapshotAttribute", "SnapshotId"),
    ("CreateImage", "image/* InstanceId snapshot/*"),
    ("RegisterImage", "image/* BlockDeviceMappings.Ebs.SnapshotId"),
    ("CopyImage", "image/* image/{SourceImageId}"),
    ("DescribeImageAttribute", "ImageId"),
    ("ModifyInstanceCreditSpecification", "InstanceCreditSpecifications.InstanceId"),
    ("DescribeInstanceAttribute", "InstanceId"),
    ("DescribeVpcAttribute", "VpcId"),
    ("DescribeNetworkInterfaceAttribute", "NetworkInterfaceId"),
    ("DescribeAddressesAttribute", "AllocationIds"),
    ("CreateLaunchTemplate", "launch-template/*"),
    ("CreatePlacementGroup", "placement-group/{GroupName}"),
    ("DeletePlacementGroup", "placement-group/{GroupName}"),
    ("ModifyInstancePlacement", "InstanceId placement-group/{OfPlacementGroup|GroupName}"),
    ("CreateCapacityReservation", "capacity-reservation/*"),
    ("GetCapacityReservationUsage", "CapacityReservationId"),
    (
        "ModifyInstanceCapacityReservationAttributes",
        "InstanceId capacity-reservation/{CapacityReservationSpecification.CapacityReservationTarget\
         .CapacityReservationId}",
    ),
    ("CreateKeyPair", "key-pair/{KeyName}"),
    ("ImportKeyPair", "key-pair/{KeyName}"),
    ("DeleteKeyPair", "key-pair/{KeyName|KeyPairId}!"),
    ("CreateSecurityGroup", "security-group/* VpcId"),
    ("DeleteSecurityGroup", "security-group/{GroupId}!"),
    ("AuthorizeSecurityGroupIngress", "security-group/{GroupId}!"),
    ("AuthorizeSecurityGroupEgress", "security-group/{GroupId}!"),
    ("RevokeSecurityGroupIngress", "security-group/{GroupId}!"),
    ("RevokeSecurityGroupEgress", "security-group/{GroupId}!"),
    ("UpdateSecurityGroupRuleDescriptionsIngress", "security-group/{GroupId}!"),
    ("UpdateSecurityGroupRuleDescriptionsEgress", "security-group/{GroupId}!"),
    ("ModifySecurityGroupRules", "GroupId SecurityGroupRules.SecurityGroupRuleId"),
    ("CreateTags", "Resources"),
    ("DeleteTags", "Resources"),
    ("CreateVpc", "vpc/*"),
    ("CreateDefaultVpc", "vpc/*"),
    ("CreateDefaultSubnet", "subnet/*"),
    ("CreateSubnet", "subnet/* VpcId"),
    ("CreateRouteTable", "route-table/* VpcId"),
    ("CreateRoute", "RouteTableId"),
    ("ReplaceRoute", "RouteTableId"),
    ("DeleteRoute", "RouteTableId"),
    ("CreateInternetGateway", "internet-gateway/*"),
    ("CreateNatGateway", "natgateway/* SubnetId AllocationId"),
    ("AllocateAddress", "elastic-ip/*"),
    ("CreateNetworkInterface", "network-interface/* SubnetId Groups"),
    ("CreateVpcPeeringConnection", "vpc-peering-connection/* VpcId"),
    ("CreateVpcEndpoint", "vpc-endpoint/* VpcId SubnetIds SecurityGroupIds RouteTableIds"),
    ("CreateNetworkAcl", "network-acl/* VpcId"),
    ("CreateManagedPrefixList", "prefix-list/*"),
    ("CreateDhcpOptions", "dhcp-options/*"),
    ("CreateFlowLogs", "vpc-flow-log/* ResourceIds"),
    ("CreateNetworkInsightsPath", "network-insights-path/*"),
    ("StartNetworkInsightsAnalysis", "network-insights-analysis/* NetworkInsightsPathId"),
];

const EBS: &[(&str, &str)] = &[
    ("ListSnapshotBlocks", "snapshot/{SnapshotId}!"),
    ("ListChangedBlocks", "snapshot/{FirstSnapshotId} snapshot/{SecondSnapshotId}!"),
    ("GetSnapshotBlock", "snapshot/{SnapshotId}!"),
    ("StartSnapshot", "snapshot/* snapshot/{ParentSnapshotId}"),
    ("PutSnapshotBlock", "snapshot/{SnapshotId}!"),
    ("CompleteSnapshot", "snapshot/{SnapshotId}!"),
];

const ELASTIC_LOAD_BALANCING: &[(&str, &str)] = &[
    ("CreateLoadBalancer", "loadbalancer/app/{Name}/*"),
    ("CreateTargetGroup", "targetgroup/{Name}/*"),
    ("CreateListener", "LoadBalancerArn"),
    ("CreateRule", "ListenerArn"),
    ("SetRulePriorities", "RulePriorities.RuleArn"),
];

const AUTO_SCALING: &[(&str, &str)] = &[
    ("CreateOrUpdateTags", "autoScalingGroup/{Tags.ResourceId}"),
    ("DeleteTags", "autoScalingGroup/{Tags.ResourceId}"),
];

const SSM: &[(&str, &str)] = &[
    ("GetParametersByPath", "parameter/{Path}"),
    ("AddTagsToResource", "parameter/{ResourceId}"),
    ("RemoveTagsFromResource", "parameter/{ResourceId}"),
    ("ListTagsForResource", "parameter/{ResourceId}"),
    ("PutParameter", "parameter/{Name}"),
    ("GetParameter", "parameter/{Name}"),
    ("GetParameters", "parameter/{Names}"),
    ("GetParameterHistory", "parameter/{Name}"),
    ("DeleteParameter", "parameter/{Name}"),
    ("DeleteParameters", "parameter/{Names}"),
    ("LabelParameterVersion", "parameter/{Name}"),
    ("UnlabelParameterVersion", "parameter/{Name}"),
    ("SendCommand", "document/{DocumentName} instance/{InstanceIds}!"),
    ("DescribeDocument", "document/{Name}"),
    ("GetDocument", "document/{Name}"),
];

const EC2_INSTANCE_CONNECT: &[(&str, &str)] = &[("SendSSHPublicKey", "instance/{InstanceId}")];

const DYNAMODB: &[(&str, &str)] = &[
    ("BatchGetItem", "table/{RequestItems.#}"),
    ("BatchWriteItem", "table/{RequestItems.#}"),
    ("TransactGetItems", "GetItem:table/{TransactItems.Get.TableName}"),
    (
        "TransactWriteItems",
        "PutItem:table/{TransactItems.Put.TableName} \
         UpdateItem:table/{TransactItems.Update.TableName} \
         DeleteItem:table/{TransactItems.Delete.TableName} \
         ConditionCheckItem:table/{TransactItems.ConditionCheck.TableName}",
    ),
    ("Query", "index/{TableName}"),
    ("Scan", "index/{TableName}"),
    ("ListTables", "table/*"),
];

const SQS: &[(&str, &str)] = &[
    ("AddPermission", "queue/{QueueUrl}"),
    ("ChangeMessageVisibility", "queue/{QueueUrl}"),
    ("ChangeMessageVisibilityBatch", "ChangeMessageVisibility:queue/{QueueUrl}"),
    ("CreateQueue", "queue/{QueueName}"),
    ("DeleteMessage", "queue/{QueueUrl}"),
    ("DeleteMessageBatch", "DeleteMessage:queue/{QueueUrl}"),
    ("DeleteQueue", "queue/{QueueUrl}"),
    ("GetQueueAttributes", "queue/{QueueUrl}"),
    ("GetQueueUrl", "queue/{QueueName}"),
    ("ListDeadLetterSourceQueues", "queue/{QueueUrl}"),
    ("ListQueueTags", "queue/{QueueUrl}"),
    ("PurgeQueue", "queue/{QueueUrl}"),
    ("ReceiveMessage", "queue/{QueueUrl}"),
    ("RemovePermission", "queue/{QueueUrl}"),
    ("SendMessage", "queue/{QueueUrl}"),
    ("SendMessageBatch", "SendMessage:queue/{QueueUrl}"),
    ("SetQueueAttributes", "queue/{QueueUrl}"),
    ("TagQueue", "queue/{QueueUrl}"),
    ("UntagQueue", "queue/{QueueUrl}"),
];

const FIS: &[(&str, &str)] = &[
    ("CreateExperimentTemplate", "experiment-template/* action/{ActionIds}"),
    ("GetExperimentTemplate", "experiment-template/{id}"),
    ("DeleteExperimentTemplate", "experiment-template/{id}"),
    ("StartExperiment", "experiment-template/{experimentTemplateId} experiment/*"),
    ("GetExperiment", "experiment/{id}"),
    ("StopExperiment", "experiment/{id}"),
    ("ListExperimentResolvedTargets", "experiment/{experimentId}"),
    ("GetAction", "action/{id}"),
    ("TagResource", "resourceArn"),
    ("UntagResource", "resourceArn"),
    ("ListTagsForResource", "resourceArn"),
];

const IAM: &[(&str, &str)] = &[
    ("AddRoleToInstanceProfile", "instance-profile/{InstanceProfileName}"),
    ("RemoveRoleFromInstanceProfile", "instance-profile/{InstanceProfileName}"),
    ("AddUserToGroup", "group/{GroupName}"),
    ("RemoveUserFromGroup", "group/{GroupName}"),
    ("CreatePolicy", "policy/{PolicyName}"),
    ("UpdateUser", "user/{UserName} user/{NewUserName}"),
    ("UpdateGroup", "group/{GroupName} group/{NewGroupName}"),
    ("SimulatePrincipalPolicy", "PolicySourceArn"),
    ("GetContextKeysForPrincipalPolicy", "PolicySourceArn"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_line_is_of_an_operation_that_aws_has() {
        for service in [
            "ec2",
            "ebs",
            "ec2-instance-connect",
            "elasticloadbalancing",
            "autoscaling",
            "ssm",
            "dynamodb",
            "iam",
            "sqs",
            "fis",
        ] {
            let known = wire::SERVICES.iter().find(|known| known.signing_name == service).unwrap();
            let mut seen = BTreeSet::new();
            for (operation, words) in super::of(service) {
                assert!(known.operations.contains(operation), "{service} {operation}");
                assert!(seen.insert(operation), "{operation} stands twice");
                assert!(!words.contains("  "), "{operation}: {words}");
            }
        }
    }
}

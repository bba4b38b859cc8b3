//! The actions and resources that calls ask for, as the Service Authorization Reference has them.

use serde_json::{Value, json};

use super::super::{Call, demands};
use super::*;

/// Each demand: `ACTION RESOURCE`, the resource's ARN without partition and account.
fn asked(cloud: &Cloud, service: &str, operation: &str, input: &Value) -> Vec<String> {
    let call = Call { service, operation, input };
    let found = demands(&cloud.cx.read(), &cloud.cx, &call).into_iter();
    let shown = found.map(|demand| {
        let resource = demand.resource.replace(":123456789012:", "::");
        format!("{} {}", demand.action, resource.trim_start_matches("arn:aws:"))
    });
    shown.collect()
}

fn check(cloud: &Cloud, service: &str, operation: &str, input: &Value, expected: &[&str]) {
    let mut found = asked(cloud, service, operation, input);
    let mut expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
    // Without an action: the operation's own.
    for text in expected.iter_mut().filter(|text| !text.contains(' ')) {
        *text = format!("{service}:{operation} {text}");
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{operation} {input}");
}

#[tokio::test]
async fn resources_of_ec2() {
    let cloud = Cloud::new();
    let vpcs = cloud.ok("ec2", "DescribeVpcs", &[]).await;
    let vpc = ("VpcId", element(&vpcs, "vpcId"));
    let new = [("GroupName", "web"), ("GroupDescription", "x"), vpc];
    let group = cloud.ok("ec2", "CreateSecurityGroup", &new).await;
    let group = element(&group, "groupId");
    let new = [("LaunchTemplateName", "web"), ("LaunchTemplateData.InstanceType", "t3.micro")];
    let template = cloud.ok("ec2", "CreateLaunchTemplate", &new).await;
    let template = element(&template, "launchTemplateId");
    let pair = cloud.ok("ec2", "CreateKeyPair", &[("KeyName", "k")]).await;
    let pair = element(&pair, "keyPairId");
    let address = cloud.ok("ec2", "AllocateAddress", &[]).await;
    let (allocation, ip) = (element(&address, "allocationId"), element(&address, "publicIp"));
    let new = [("VpcId", vpc.1), ("CidrBlock", "100.64.0.0/24")];
    let block = cloud.ok("ec2", "AssociateVpcCidrBlock", &new).await;
    let block = element(&block, "associationId");
    let acls = cloud.ok("ec2", "DescribeNetworkAcls", &[]).await;
    let (acl, association) =
        (element(&acls, "networkAclId"), element(&acls, "networkAclAssociationId"));
    let acl_subnet = element(&acls, "subnetId");
    let tables = cloud.ok("ec2", "DescribeRouteTables", &[]).await;
    let (table, main) =
        (element(&tables, "routeTableId"), element(&tables, "routeTableAssociationId"));
    let new = [("GroupName", "near"), ("Strategy", "cluster")];
    let near = cloud.ok("ec2", "CreatePlacementGroup", &new).await;
    let near = element(&near, "groupId");
    let near_arn = "ec2:us-east-1::placement-group/near";
    let new = [
        ("LaunchTemplateName", "placed"),
        ("LaunchTemplateData.Placement.GroupName", "near"),
        (
            "LaunchTemplateData.CapacityReservationSpecification.CapacityReservationTarget\
             .CapacityReservationId",
            "cr-1",
        ),
    ];
    let placed = cloud.ok("ec2", "CreateLaunchTemplate", &new).await;
    let placed_arn =
        format!("ec2:us-east-1::launch-template/{}", element(&placed, "launchTemplateId"));
    let here = |kind: &str, id: &str| format!("ec2:us-east-1::{kind}/{id}");
    let (vpc_arn, group_arn) = (here("vpc", vpc.1), here("security-group", group));
    let template_arn = here("launch-template", template);
    let address_arn = here("elastic-ip", allocation);
    let (acl_arn, subnet_arn) = (here("network-acl", acl), here("subnet", acl_subnet));
    let table_arn = here("route-table", table);
    for (operation, input, expected) in [
        ("DescribeInstances", json!({"InstanceIds": ["i-1"]}), &["*"][..]),
        (
            "StopInstances",
            json!({"InstanceIds": ["i-1", "i-2"]}),
            &["ec2:us-east-1::instance/i-1", "ec2:us-east-1::instance/i-2"],
        ),
        ("GetConsoleOutput", json!({"InstanceId": "i-1"}), &["ec2:us-east-1::instance/i-1"]),
        (
            "DescribeInstanceAttribute",
            json!({"InstanceId": "i-1", "Attribute": "userData"}),
            &["ec2:us-east-1::instance/i-1"],
        ),
        ("DescribeVpcAttribute", json!({"VpcId": vpc.1}), &[&vpc_arn]),
        ("CreateVpc", json!({"CidrBlock": "10.0.0.0/16"}), &["ec2:us-east-1::vpc/*"]),
        ("CreateSubnet", json!({"VpcId": vpc.1}), &["ec2:us-east-1::subnet/*", &vpc_arn]),
        ("DeleteSubnet", json!({"SubnetId": acl_subnet}), &[&subnet_arn]),
        (
            "CreateSecurityGroup",
            json!({"GroupName": "web", "VpcId": vpc.1}),
            &["ec2:us-east-1::security-group/*", &vpc_arn],
        ),
        ("DeleteSecurityGroup", json!({"GroupId": group}), &[&group_arn]),
        // By its name it is the same.
        ("DeleteSecurityGroup", json!({"GroupName": "web"}), &[&group_arn]),
        ("AuthorizeSecurityGroupIngress", json!({"GroupName": "web"}), &[&group_arn]),
        (
            "ModifySecurityGroupRules",
            json!({"GroupId": group, "SecurityGroupRules": [{"SecurityGroupRuleId": "sgr-1"}]}),
            &[&group_arn, "ec2:us-east-1::security-group-rule/sgr-1"],
        ),
        ("DeleteLaunchTemplate", json!({"LaunchTemplateName": "web"}), &[&template_arn]),
        ("CreateLaunchTemplateVersion", json!({"LaunchTemplateId": template}), &[&template_arn]),
        ("DeleteKeyPair", json!({"KeyPairId": pair}), &["ec2:us-east-1::key-pair/k"]),
        ("ReleaseAddress", json!({"PublicIp": ip}), &[&address_arn]),
        ("ReleaseAddress", json!({"AllocationId": allocation}), &[&address_arn]),
        (
            "AssociateAddress",
            json!({"AllocationId": allocation, "InstanceId": "i-1"}),
            &[&address_arn, "ec2:us-east-1::instance/i-1"],
        ),
        ("DisassociateVpcCidrBlock", json!({"AssociationId": block}), &[&vpc_arn]),
        (
            "ReplaceNetworkAclAssociation",
            json!({"AssociationId": association, "NetworkAclId": "acl-2"}),
            &[&acl_arn, &subnet_arn, "ec2:us-east-1::network-acl/acl-2"],
        ),
        (
            "ReplaceRouteTableAssociation",
            json!({"AssociationId": main, "RouteTableId": "rtb-2"}),
            &[&table_arn, "ec2:us-east-1::route-table/rtb-2"],
        ),
        ("CreateRoute", json!({"RouteTableId": table, "GatewayId": "igw-1"}), &[&table_arn]),
        (
            "AttachInternetGateway",
            json!({"InternetGatewayId": "igw-1", "VpcId": vpc.1}),
            &["ec2:us-east-1::internet-gateway/igw-1", &vpc_arn],
        ),
        (
            "CreateNatGateway",
            json!({"SubnetId": acl_subnet, "AllocationId": allocation}),
            &["ec2:us-east-1::natgateway/*", &subnet_arn, &address_arn],
        ),
        (
            "DeleteVpcEndpoints",
            json!({"VpcEndpointIds": ["vpce-1"]}),
            &["ec2:us-east-1::vpc-endpoint/vpce-1"],
        ),
        (
            "CreateTags",
            json!({"Resources": ["i-1", "vol-1", "ami-1"], "Tags": [{"Key": "a"}]}),
            &[
                "ec2:us-east-1::instance/i-1",
                "ec2:us-east-1::volume/vol-1",
                "ec2:us-east-1::image/ami-1",
            ],
        ),
        ("DeletePlacementGroup", json!({"GroupName": "near"}), &[near_arn]),
        ("CreateTags", json!({"Resources": [near], "Tags": [{"Key": "a"}]}), &[near_arn]),
        (
            "ModifyInstancePlacement",
            json!({"InstanceId": "i-1", "GroupId": near}),
            &["ec2:us-east-1::instance/i-1", near_arn],
        ),
        (
            "CreateCapacityReservation",
            json!({"InstanceType": "t3.micro"}),
            &["ec2:us-east-1::capacity-reservation/*"],
        ),
        (
            "CancelCapacityReservation",
            json!({"CapacityReservationId": "cr-1"}),
            &["ec2:us-east-1::capacity-reservation/cr-1"],
        ),
        (
            "RunInstances",
            json!({"ImageId": "ami-1", "SubnetId": acl_subnet, "SecurityGroupIds": [group],
                "Placement": {"AvailabilityZone": "us-east-1a"},
                "LaunchTemplate": {"LaunchTemplateName": "placed"}}),
            &[
                "ec2:us-east-1::image/ami-1",
                "ec2:us-east-1::instance/*",
                "ec2:us-east-1::network-interface/*",
                "ec2:us-east-1::volume/*",
                &subnet_arn,
                &group_arn,
                &placed_arn,
                near_arn,
                "ec2:us-east-1::capacity-reservation/cr-1",
            ],
        ),
        (
            "RunInstances",
            json!({"ImageId": "ami-1", "SubnetId": acl_subnet, "SecurityGroups": ["web"], "KeyName": "k",
                "TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "a"}]}]}),
            &[
                "ec2:us-east-1::image/ami-1",
                "ec2:us-east-1::instance/*",
                "ec2:us-east-1::network-interface/*",
                "ec2:us-east-1::volume/*",
                &subnet_arn,
                &group_arn,
                "ec2:us-east-1::key-pair/k",
                "ec2:CreateTags ec2:us-east-1::volume/*",
            ],
        ),
        // With Spot there is a request for it.
        (
            "RunInstances",
            json!({"ImageId": "ami-1", "SubnetId": acl_subnet, "SecurityGroupIds": [group],
                "InstanceMarketOptions": {"MarketType": "spot"}}),
            &[
                "ec2:us-east-1::image/ami-1",
                "ec2:us-east-1::instance/*",
                "ec2:us-east-1::network-interface/*",
                "ec2:us-east-1::volume/*",
                &subnet_arn,
                &group_arn,
                "ec2:us-east-1::spot-instances-request/*",
            ],
        ),
    ] {
        check(&cloud, "ec2", operation, &input, expected);
    }
}

#[tokio::test]
async fn resources_of_other_services() {
    let cloud = Cloud::new();
    cloud.ok("iam", "CreateUser", &[("UserName", "ann"), ("Path", "/ops/")]).await;
    let linked =
        "iam:::role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling";
    let balancer =
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/web/50dc6c495c0c9188";
    let tag = json!([{"Key": "a", "Value": "b"}]);
    for (service, operation, input, expected) in [
        (
            "elasticloadbalancing",
            "CreateLoadBalancer",
            json!({"Name": "web", "Subnets": ["subnet-1"]}),
            &["elasticloadbalancing:us-east-1::loadbalancer/app/web/*"][..],
        ),
        (
            "elasticloadbalancing",
            "SetSubnets",
            json!({"LoadBalancerArn": balancer, "Subnets": ["subnet-1"]}),
            &["elasticloadbalancing:us-east-1::loadbalancer/app/web/50dc6c495c0c9188"],
        ),
        (
            "elasticloadbalancing",
            "CreateListener",
            json!({"LoadBalancerArn": balancer, "Tags": tag}),
            &[
                "elasticloadbalancing:us-east-1::loadbalancer/app/web/50dc6c495c0c9188",
                "elasticloadbalancing:AddTags elasticloadbalancing:us-east-1::listener/app/web/50dc6c495c0c9188/*",
            ],
        ),
        (
            "elasticloadbalancing",
            "CreateTargetGroup",
            json!({"Name": "tg", "VpcId": "vpc-1"}),
            &["elasticloadbalancing:us-east-1::targetgroup/tg/*"],
        ),
        ("elasticloadbalancing", "DescribeTags", json!({"ResourceArns": [balancer]}), &["*"]),
        (
            "autoscaling",
            "CreateAutoScalingGroup",
            json!({"AutoScalingGroupName": "asg", "VPCZoneIdentifier": "subnet-1", "MinSize": 1,
                "TargetGroupARNs": ["arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/a/b"]}),
            &["autoscaling:us-east-1::autoScalingGroup:*:autoScalingGroupName/asg"],
        ),
        (
            "autoscaling",
            "ExecutePolicy",
            json!({"PolicyName": "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:u:autoScalingGroupName/asg:policyName/p"}),
            &["autoscaling:us-east-1::autoScalingGroup:*:autoScalingGroupName/asg"],
        ),
        (
            "autoscaling",
            "DescribeAutoScalingGroups",
            json!({"AutoScalingGroupNames": ["asg"]}),
            &["*"],
        ),
        (
            "ssm",
            "GetParameter",
            json!({"Name": "/db/password"}),
            &["ssm:us-east-1::parameter/db/password"],
        ),
        (
            "ssm",
            "GetParameter",
            json!({"Name": "/db/password:3"}),
            &["ssm:us-east-1::parameter/db/password"],
        ),
        (
            "ssm",
            "GetParameter",
            json!({"Name": "arn:aws:ssm:us-east-1:123456789012:parameter/db/password:live"}),
            &["ssm:us-east-1::parameter/db/password"],
        ),
        (
            "ssm",
            "GetParameters",
            json!({"Names": ["plain", "/db/a"]}),
            &["ssm:us-east-1::parameter/plain", "ssm:us-east-1::parameter/db/a"],
        ),
        ("ssm", "GetParametersByPath", json!({"Path": "/db"}), &["ssm:us-east-1::parameter/db"]),
        ("ssm", "DescribeParameters", json!({}), &["ssm:us-east-1::*"]),
        ("ssm", "DescribeInstanceInformation", json!({}), &["ssm:us-east-1::*"]),
        (
            "ssm",
            "SendCommand",
            json!({"DocumentName": "AWS-RunShellScript", "InstanceIds": ["i-1", "i-2"]}),
            &[
                "ssm:us-east-1::document/AWS-RunShellScript",
                "ec2:us-east-1::instance/i-1",
                "ec2:us-east-1::instance/i-2",
            ],
        ),
        (
            "ssm",
            "SendCommand",
            json!({"DocumentName": "mine", "Targets": [{"Key": "tag:a", "Values": ["b"]}]}),
            &["ssm:us-east-1::document/mine", "ec2:us-east-1::instance/*"],
        ),
        ("ssm", "CancelCommand", json!({"CommandId": "c"}), &["ssm:us-east-1::*"]),
        (
            "ssm",
            "GetDocument",
            json!({"Name": "AWS-RunShellScript"}),
            &["ssm:us-east-1::document/AWS-RunShellScript"],
        ),
        (
            "ec2-instance-connect",
            "SendSSHPublicKey",
            json!({"InstanceId": "i-1", "InstanceOSUser": "root"}),
            &["ec2:us-east-1::instance/i-1"],
        ),
        (
            "ssm",
            "PutParameter",
            json!({"Name": "p", "Tags": tag}),
            &["ssm:us-east-1::parameter/p", "ssm:AddTagsToResource ssm:us-east-1::parameter/p"],
        ),
        ("dynamodb", "GetItem", json!({"TableName": "t"}), &["dynamodb:us-east-1::table/t"]),
        (
            "dynamodb",
            "Query",
            json!({"TableName": "t", "IndexName": "i"}),
            &["dynamodb:us-east-1::table/t/index/i"],
        ),
        (
            "dynamodb",
            "Query",
            json!({"TableName": "arn:aws:dynamodb:us-east-1:123456789012:table/t", "IndexName": "i"}),
            &["dynamodb:us-east-1::table/t/index/i"],
        ),
        (
            "dynamodb",
            "BatchGetItem",
            json!({"RequestItems": {"t": {}, "u": {}}}),
            &["dynamodb:us-east-1::table/t", "dynamodb:us-east-1::table/u"],
        ),
        (
            "dynamodb",
            "TransactWriteItems",
            json!({"TransactItems": [{"Put": {"TableName": "t"}}, {"ConditionCheck": {"TableName": "u"}}]}),
            &[
                "dynamodb:PutItem dynamodb:us-east-1::table/t",
                "dynamodb:ConditionCheckItem dynamodb:us-east-1::table/u",
            ],
        ),
        ("dynamodb", "ListTables", json!({}), &["dynamodb:us-east-1::table/*"]),
        ("iam", "GetUser", json!({"UserName": "ann"}), &["iam:::user/ops/ann"]),
        (
            "iam",
            "UpdateUser",
            json!({"UserName": "ann", "NewUserName": "eve"}),
            &["iam:::user/ops/ann", "iam:::user/ops/eve"],
        ),
        (
            "iam",
            "CreateUser",
            json!({"UserName": "bob", "Path": "/x/", "Tags": tag}),
            &["iam:::user/x/bob", "iam:TagUser iam:::user/x/bob"],
        ),
        ("iam", "ListUsers", json!({}), &["iam:::user/"]),
        ("iam", "ListRoles", json!({"PathPrefix": "/x/"}), &["iam:::role/x/"]),
        (
            "iam",
            "AttachRolePolicy",
            json!({"RoleName": "r", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
            &["iam:::role/r"],
        ),
        (
            "iam",
            "GetPolicy",
            json!({"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
            &["iam::aws:policy/ReadOnlyAccess"],
        ),
        ("iam", "AddUserToGroup", json!({"GroupName": "g", "UserName": "ann"}), &["iam:::group/g"]),
        (
            "iam",
            "AddRoleToInstanceProfile",
            json!({"InstanceProfileName": "p", "RoleName": "r"}),
            &["iam:::instance-profile/p", "iam:PassRole iam:::role/r"],
        ),
        (
            "iam",
            "CreateServiceLinkedRole",
            json!({"AWSServiceName": "autoscaling.amazonaws.com"}),
            &[linked],
        ),
        ("sts", "GetAccessKeyInfo", json!({"AccessKeyId": "AKIA"}), &["*"]),
        ("cloudtrail", "LookupEvents", json!({}), &["*"]),
    ] {
        check(&cloud, service, operation, &input, expected);
    }
}

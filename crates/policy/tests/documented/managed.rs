//! What AWS's managed policies are said to allow.

use crate::{context, decide};
use policy::{Policy, managed};

#[test]
fn cases() {
    for (name, action, resource, allowed) in [
        ("AdministratorAccess", "iam:CreateUser", "*", true),
        ("PowerUserAccess", "ec2:RunInstances", "*", true),
        ("PowerUserAccess", "iam:CreateUser", "*", false),
        ("PowerUserAccess", "iam:CreateServiceLinkedRole", "*", true),
        ("ReadOnlyAccess", "ec2:DescribeInstances", "*", true),
        ("ReadOnlyAccess", "s3:GetObject", "arn:aws:s3:::b/k", true),
        ("ReadOnlyAccess", "ec2:TerminateInstances", "*", false),
        ("ViewOnlyAccess", "s3:GetObject", "arn:aws:s3:::b/k", false),
        ("ViewOnlyAccess", "s3:ListBucket", "arn:aws:s3:::b", true),
        ("AmazonEC2FullAccess", "elasticloadbalancing:CreateLoadBalancer", "*", true),
        ("AmazonEC2FullAccess", "iam:PassRole", "arn:aws:iam::1:role/x", false),
        ("AmazonEC2ReadOnlyAccess", "ec2:DescribeInstances", "*", true),
        ("AmazonEC2ReadOnlyAccess", "ec2:StopInstances", "*", false),
        ("AmazonVPCFullAccess", "ec2:CreateVpc", "*", true),
        ("AmazonVPCFullAccess", "ec2:RunInstances", "*", false),
        ("AmazonVPCReadOnlyAccess", "ec2:DescribeVpcs", "*", true),
        ("AmazonS3ReadOnlyAccess", "s3:ListBucket", "arn:aws:s3:::b", true),
        ("AmazonS3ReadOnlyAccess", "s3:PutObject", "arn:aws:s3:::b/k", false),
        ("AmazonDynamoDBFullAccess", "dynamodb:PutItem", "*", true),
        ("AmazonDynamoDBReadOnlyAccess", "dynamodb:Query", "*", true),
        ("AmazonDynamoDBReadOnlyAccess", "dynamodb:PutItem", "*", false),
        ("AmazonSSMManagedInstanceCore", "ssm:GetParameter", "*", true),
        ("AmazonSSMManagedInstanceCore", "ssm:PutParameter", "*", false),
        ("AmazonSSMManagedInstanceCore", "ssmmessages:OpenDataChannel", "*", true),
        ("AmazonSSMReadOnlyAccess", "ssm:GetParametersByPath", "*", true),
        ("CloudWatchAgentServerPolicy", "cloudwatch:PutMetricData", "*", true),
        (
            "CloudWatchAgentServerPolicy",
            "ssm:GetParameter",
            "arn:aws:ssm:eu-west-1:1:parameter/AmazonCloudWatch-linux",
            true,
        ),
        (
            "CloudWatchAgentServerPolicy",
            "ssm:GetParameter",
            "arn:aws:ssm:eu-west-1:1:parameter/secret",
            false,
        ),
        ("AutoScalingFullAccess", "autoscaling:CreateAutoScalingGroup", "*", true),
        ("AutoScalingReadOnlyAccess", "autoscaling:SetDesiredCapacity", "*", false),
        ("ElasticLoadBalancingReadOnly", "elasticloadbalancing:DescribeRules", "*", true),
        ("IAMReadOnlyAccess", "iam:SimulatePrincipalPolicy", "*", true),
        ("IAMReadOnlyAccess", "iam:AttachUserPolicy", "*", false),
        ("IAMUserChangePassword", "iam:ChangePassword", "arn:aws:iam::111122223333:user/ana", true),
        (
            "IAMUserChangePassword",
            "iam:ChangePassword",
            "arn:aws:iam::111122223333:user/bob",
            false,
        ),
        ("AWSCloudTrail_ReadOnlyAccess", "cloudtrail:LookupEvents", "*", true),
    ] {
        let found = managed().iter().find(|found| found.name == name).expect(name);
        let policy = Policy::new(found.arn.as_str(), found.document.clone());
        let keys = context("aws:username=ana; iam:AWSServiceName=spot.amazonaws.com");
        let decision = decide(policy, action, resource, &keys);
        assert_eq!(decision.is_allowed(), allowed, "{name} {action} {resource}");
    }
}

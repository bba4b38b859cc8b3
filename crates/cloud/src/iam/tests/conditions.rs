//! Condition keys through the API: of principals, requests and resources.

use serde_json::{Value, json};

use super::*;

/// Statements of a policy, each `Allow` unless it says otherwise.
fn policy(statements: &[Value]) -> String {
    let complete = statements.iter().map(|statement| {
        let mut all = json!({"Effect": "Allow", "Resource": "*"});
        all.as_object_mut().unwrap().extend(statement.as_object().unwrap().clone());
        all
    });
    json!({"Version": "2012-10-17", "Statement": complete.collect::<Vec<_>>()}).to_string()
}

fn is_denial(answer: &Answer) -> bool {
    let codes = ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"];
    answer.as_ref().is_err_and(|error| codes.contains(&error.code.as_str()))
}

#[tokio::test]
async fn conditions_on_principals_requests_and_resources() {
    let cloud = Cloud::new();
    let ann = cloud.user("ann", ALLOW_ALL).await;
    let tag = [("UserName", "ann"), ("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "web")];
    cloud.ok("iam", "TagUser", &tag).await;
    let images = cloud.ok("ec2", "DescribeImages", &[]).await;
    let launch = |kind| {
        let image = ("ImageId", element(&images, "imageId"));
        vec![
            image,
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("InstanceType", kind),
            ("DryRun", "true"),
        ]
    };
    let vpcs = cloud.ok("ec2", "DescribeVpcs", &[]).await;
    let vpc = element(&vpcs, "vpcId");
    let tag = [("ResourceId.1", vpc), ("Tag.1.Key", "team"), ("Tag.1.Value", "web")];
    cloud.ok("ec2", "CreateTags", &tag).await;
    let of_vpc = || vec![("VpcId", vpc), ("EnableDnsHostnames.Value", "true")];
    let tagged = |key, value| {
        vec![("ResourceId.1", vpc), ("Tag.1.Key", key), ("Tag.1.Value", value), ("DryRun", "true")]
    };
    let list = || vec![];
    for (service, operation, parameters, condition, expected) in [
        (
            "iam",
            "ListUsers",
            list(),
            json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/a*"}}),
            true,
        ),
        (
            "iam",
            "ListUsers",
            list(),
            json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/b*"}}),
            false,
        ),
        (
            "iam",
            "ListUsers",
            list(),
            json!({"StringEquals": {"aws:PrincipalTag/team": "web"}}),
            true,
        ),
        (
            "iam",
            "ListUsers",
            list(),
            json!({"StringEquals": {"aws:PrincipalTag/team": "db"}}),
            false,
        ),
        ("iam", "ListUsers", list(), json!({"StringEquals": {"aws:username": "ann"}}), true),
        ("iam", "ListUsers", list(), json!({"Null": {"aws:TokenIssueTime": "true"}}), true),
        (
            "ec2",
            "DescribeVpcs",
            list(),
            json!({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}),
            true,
        ),
        (
            "ec2",
            "DescribeVpcs",
            list(),
            json!({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}),
            false,
        ),
        (
            "ec2",
            "ModifyVpcAttribute",
            of_vpc(),
            json!({"StringEquals": {"ec2:ResourceTag/team": "web"}}),
            true,
        ),
        (
            "ec2",
            "ModifyVpcAttribute",
            of_vpc(),
            json!({"StringEquals": {"aws:ResourceTag/team": "db"}}),
            false,
        ),
        (
            "ec2",
            "ModifyVpcAttribute",
            of_vpc(),
            json!({"StringEquals": {"ec2:Region": "us-east-1"}}),
            true,
        ),
        (
            "ec2",
            "ModifyVpcAttribute",
            of_vpc(),
            json!({"StringEquals": {"ec2:Region": "eu-west-1"}}),
            false,
        ),
        ("ec2", "ModifyVpcAttribute", of_vpc(), json!({"StringEquals": {"ec2:VpcID": vpc}}), true),
        (
            "ec2",
            "CreateTags",
            tagged("env", "x"),
            json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["env", "team"]}}),
            true,
        ),
        (
            "ec2",
            "CreateTags",
            tagged("cost", "x"),
            json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["env", "team"]}}),
            false,
        ),
        (
            "ec2",
            "CreateTags",
            tagged("env", "x"),
            json!({"ForAnyValue:StringEquals": {"aws:TagKeys": ["team"]}}),
            false,
        ),
        (
            "ec2",
            "CreateTags",
            tagged("env", "x"),
            json!({"StringLike": {"aws:RequestTag/env": "?"}}),
            true,
        ),
        (
            "ec2",
            "CreateTags",
            tagged("env", "xy"),
            json!({"StringLike": {"aws:RequestTag/env": "?"}}),
            false,
        ),
        (
            "ec2",
            "RunInstances",
            launch("t3.micro"),
            json!({"StringEqualsIfExists": {"ec2:InstanceType": "t3.*"}}),
            false,
        ),
        (
            "ec2",
            "RunInstances",
            launch("t3.micro"),
            json!({"StringLikeIfExists": {"ec2:InstanceType": "t3.*"}}),
            true,
        ),
        (
            "ec2",
            "RunInstances",
            launch("m5.large"),
            json!({"StringLikeIfExists": {"ec2:InstanceType": "t3.*"}}),
            false,
        ),
    ] {
        let statement = json!({"Action": format!("{service}:{operation}"), "Condition": condition});
        cloud.put_policy("ann", &policy(&[statement])).await;
        let answer = cloud.call(&ann, service, operation, &parameters).await;
        assert_eq!(!is_denial(&answer), expected, "{operation} {condition}: {answer:?}");
    }
}

#[tokio::test]
async fn parameters_by_their_place_in_the_hierarchy() {
    let cloud = Cloud::new();
    for name in ["/app/db", "/ops/key"] {
        let new = [("Name", name), ("Value", "v"), ("Type", "SecureString")];
        cloud.ok("ssm", "PutParameter", &new).await;
    }
    let ann =
        cloud.user("ann", &allow("ssm:GetParameter*", "arn:aws:ssm:*:*:parameter/app*")).await;
    let get = async |operation: &str, member: &str, name: &str| {
        cloud.call(&ann, "ssm", operation, &[(member, name)]).await
    };
    for (name, expected) in
        [("/app/db", true), ("/app/db:1", true), ("/ops/key", false), ("/ops/key:1", false)]
    {
        assert_eq!(get("GetParameter", "Name", name).await.is_ok(), expected, "{name}");
    }
    for (path, expected) in [("/app", true), ("/ops", false), ("/", false)] {
        assert_eq!(get("GetParametersByPath", "Path", path).await.is_ok(), expected, "{path}");
    }
    // What is denied by its name is denied in every version.
    let denied = policy(&[
        json!({"Action": "ssm:*"}),
        json!({"Effect": "Deny", "Action": "ssm:*",
        "Resource": "arn:aws:ssm:us-east-1:123456789012:parameter/app/db"}),
    ]);
    cloud.put_policy("ann", &denied).await;
    let arn = "arn:aws:ssm:us-east-1:123456789012:parameter/app/db:1";
    for name in ["/app/db", "/app/db:1", arn] {
        assert!(is_denial(&get("GetParameter", "Name", name).await), "{name}");
    }
    assert!(get("GetParameter", "Name", "/ops/key:1").await.is_ok());
}

#[tokio::test]
async fn a_group_is_given_only_templates_that_its_maker_may_launch_with() {
    let cloud = Cloud::new();
    cloud.role("web", &json!({"Service": "ec2.amazonaws.com"}), ALLOW_ALL).await;
    cloud.ok("iam", "CreateInstanceProfile", &[("InstanceProfileName", "web")]).await;
    let held = [("InstanceProfileName", "web"), ("RoleName", "web")];
    cloud.ok("iam", "AddRoleToInstanceProfile", &held).await;
    let images = cloud.ok("ec2", "DescribeImages", &[]).await;
    let template = [
        ("LaunchTemplateName", "web"),
        ("LaunchTemplateData.ImageId", element(&images, "imageId")),
        ("LaunchTemplateData.InstanceType", "t3.micro"),
        ("LaunchTemplateData.IamInstanceProfile.Name", "web"),
    ];
    cloud.ok("ec2", "CreateLaunchTemplate", &template).await;
    let group = [
        ("AutoScalingGroupName", "web"),
        ("MinSize", "0"),
        ("MaxSize", "1"),
        ("AvailabilityZones.member.1", "us-east-1a"),
        ("LaunchTemplate.LaunchTemplateName", "web"),
        ("LaunchTemplate.Version", "$Latest"),
    ];
    let scale = json!({"Action": "autoscaling:*"});
    let run = json!({"Action": "ec2:RunInstances"});
    let small = json!({"Action": "ec2:RunInstances",
        "Condition": {"StringLikeIfExists": {"ec2:InstanceType": "t2.*"}}});
    let pass = json!({"Action": "iam:PassRole"});
    let ann = cloud.user("ann", &policy(std::slice::from_ref(&scale))).await;
    let refused = (
        "ValidationError".to_owned(),
        "You are not authorized to use launch template: web".to_owned(),
    );
    for statements in [
        vec![scale.clone()],
        vec![scale.clone(), run.clone()],
        vec![scale.clone(), pass.clone()],
        vec![scale.clone(), small, pass.clone()],
    ] {
        cloud.put_policy("ann", &policy(&statements)).await;
        let answer = cloud.refused(&ann, "autoscaling", "CreateAutoScalingGroup", &group).await;
        assert_eq!(answer, refused, "{statements:?}");
    }
    cloud.put_policy("ann", &policy(&[scale.clone(), run, pass])).await;
    cloud.call(&ann, "autoscaling", "CreateAutoScalingGroup", &group).await.unwrap();
    // Without a template in the call there is nothing to try.
    cloud.put_policy("ann", &policy(&[scale])).await;
    let resize = [group[0], ("MaxSize", "2")];
    cloud.call(&ann, "autoscaling", "UpdateAutoScalingGroup", &resize).await.unwrap();
    let template = [group[0], group[4], group[5]];
    let answer = cloud.refused(&ann, "autoscaling", "UpdateAutoScalingGroup", &template).await;
    assert_eq!(answer, refused);
}

#[tokio::test]
async fn sessions_are_revoked_by_when_they_began() {
    let cloud = Cloud::new();
    let trusted = json!({"AWS": "arn:aws:iam::123456789012:root"});
    cloud.role("reader", &trusted, ALLOW_ALL).await;
    let ann = cloud.user("ann", &allow("sts:*", "*")).await;
    let role = [("RoleArn", "arn:aws:iam::123456789012:role/reader"), ("RoleSessionName", "work")];
    let old = cloud.call(&ann, "sts", "AssumeRole", &role).await.unwrap();
    cloud.advance(Duration::from_secs(60));
    let revoke = policy(&[json!({"Effect": "Deny", "Action": "*", "Condition":
        {"DateLessThan": {"aws:TokenIssueTime": cloud.cx.env.clock.host_now().iso8601()}}})]);
    let deny = [("RoleName", "reader"), ("PolicyName", "revoke"), ("PolicyDocument", &*revoke)];
    cloud.ok("iam", "PutRolePolicy", &deny).await;
    cloud.advance(Duration::from_secs(1));
    let new = cloud.call(&ann, "sts", "AssumeRole", &role).await.unwrap();
    for (session, expected) in [(old, false), (new, true)] {
        let session = cloud.with_credentials(&session).unwrap();
        let answer = cloud.call(&session, "ec2", "DescribeVpcs", &[]).await;
        assert_eq!(answer.is_ok(), expected, "{answer:?}");
    }
}

#[tokio::test]
async fn items_by_their_partition_keys() {
    let cloud = Cloud::new();
    let dynamodb = wire::Service::named("dynamodb").unwrap();
    let create = json!({"TableName": "scores", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "user", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "user", "KeyType": "HASH"}]});
    cloud.send(&cloud.cx, dynamodb, "CreateTable", create.to_string()).await.unwrap();
    let own = json!({"Action": "dynamodb:*", "Condition":
        {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["${aws:username}"]}}});
    let ann = cloud.user("ann", &policy(&[own])).await;
    let key = |user: &str| json!({"user": {"S": user}});
    let query = |user: &str, text: &str| {
        json!({"TableName": "scores", "KeyConditionExpression": text,
            "ExpressionAttributeNames": {"#u": "user"}, "ExpressionAttributeValues": {":u": {"S": user}}})
    };
    for (operation, input, expected) in [
        ("PutItem", json!({"TableName": "scores", "Item": key("ann")}), true),
        ("PutItem", json!({"TableName": "scores", "Item": key("bob")}), false),
        ("GetItem", json!({"TableName": "scores", "Key": key("ann")}), true),
        ("GetItem", json!({"TableName": "scores", "Key": key("bob")}), false),
        ("Query", query("ann", "#u = :u"), true),
        ("Query", query("bob", "#u = :u"), false),
        ("Query", query("bob", ":u = #u"), false),
        (
            "BatchGetItem",
            json!({"RequestItems": {"scores": {"Keys": [key("ann"), key("bob")]}}}),
            false,
        ),
        (
            "BatchWriteItem",
            json!({"RequestItems": {"scores": [{"PutRequest": {"Item": key("bob")}}]}}),
            false,
        ),
        (
            "TransactWriteItems",
            json!({"TransactItems": [{"Delete": {"TableName": "scores", "Key": key("bob")}}]}),
            false,
        ),
        (
            "TransactGetItems",
            json!({"TransactItems": [{"Get": {"TableName": "scores", "Key": key("ann")}}]}),
            true,
        ),
    ] {
        let answer = cloud.send(&ann, dynamodb, operation, input.to_string()).await;
        let expected = if expected { answer.is_ok() } else { is_denial(&answer) };
        assert!(expected, "{operation} {input}: {answer:?}");
    }
}

#[tokio::test]
async fn commands_and_keys_by_tag_and_user() {
    let cloud = Cloud::new();
    let image = crate::ec2::image::ops::built_in_id();
    let tagged = [
        ("ImageId", image.as_str()),
        ("InstanceType", "t3.micro"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "tier"),
        ("TagSpecification.1.Tag.1.Value", "web"),
    ];
    let run = cloud.ok("ec2", "RunInstances", &tagged).await;
    let web = element(&run, "instanceId");
    let run = cloud.ok("ec2", "RunInstances", &tagged[..4]).await;
    let other = element(&run, "instanceId");
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "ssm:SendCommand", "Resource": "arn:aws:ssm:*::document/*"},
        {"Effect": "Allow", "Action": "ssm:SendCommand", "Resource": "arn:aws:ec2:*:*:instance/*",
         "Condition": {"StringEquals": {"ssm:resourceTag/tier": "web"}}},
        {"Effect": "Allow", "Action": "ec2-instance-connect:SendSSHPublicKey", "Resource": "*",
         "Condition": {"StringEquals": {"ec2:osuser": "ann", "aws:ResourceTag/tier": "web"}}},
    ]});
    let ann = cloud.user("ann", &policy.to_string()).await;
    let code = |answer: Answer| answer.map_or_else(|error| error.code, |_| "ok".to_owned());
    let send = async |id: &str| {
        let service = wire::Service::named("ssm").unwrap();
        let body = json!({"DocumentName": "AWS-RunShellScript", "InstanceIds": [id],
            "Parameters": {"commands": ["x"]}});
        code(cloud.send(&ann, service, "SendCommand", body.to_string()).await)
    };
    // Let through, and then found to be no managed node.
    assert_eq!(send(web).await, "InvalidInstanceId");
    assert_eq!(send(other).await, "AccessDeniedException");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr3OyPnrOxW9wKSmVQPxfSIHyYSPTdP7y1tUXFzy0X2";
    for (id, user, expected) in [
        (web, "ann", "EC2InstanceStateInvalidException"),
        (web, "root", "AccessDeniedException"),
        (other, "ann", "AccessDeniedException"),
    ] {
        let members = [("InstanceId", id), ("InstanceOSUser", user), ("SSHPublicKey", key)];
        let answer = cloud.call(&ann, "ec2-instance-connect", "SendSSHPublicKey", &members).await;
        assert_eq!(code(answer), expected, "{id} {user}");
    }
}

//! IAM and STS as calls see them: requests in, answers and refusals out, as one caller or another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Caller, Refusal, Who, of_key};
use crate::services::{self, Entry};
use crate::{Context, testing};

mod conditions;
mod network;
mod resources;
mod served;

const ALLOW_ALL: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

struct Cloud {
    cx: Context,
    table: BTreeMap<(&'static str, &'static str), Entry>,
}

type Answer = Result<String, wire::Error>;

/// Spoken where a service speaks CBOR first.
const JSON: &[wire::Protocol] = &[wire::Protocol::Json10, wire::Protocol::Json11];

impl Cloud {
    fn new() -> Cloud {
        let entries = services::table().into_iter();
        let table = entries.map(|entry| ((entry.service, entry.operation), entry)).collect();
        Cloud { cx: testing::context(), table }
    }

    /// As root.
    async fn ok(&self, service: &str, operation: &str, parameters: &[(&str, &str)]) -> String {
        let answer = self.call(&self.cx, service, operation, parameters).await;
        answer.unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    }

    async fn call(
        &self,
        cx: &Context,
        service: &str,
        operation: &str,
        parameters: &[(&str, &str)],
    ) -> Answer {
        let service = wire::Service::named(service).unwrap();
        let encode = |text: &str| wire::query::params::percent_encode(text.as_bytes(), false);
        let form: Vec<String> =
            parameters.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
        let body = match service.protocol {
            wire::Protocol::Ec2 | wire::Protocol::Query => form.join("&"),
            _ => {
                let members = parameters.iter().map(|(k, v)| (k.to_string(), json!(v)));
                Value::Object(members.collect()).to_string()
            }
        };
        self.send(cx, service, operation, body).await
    }

    async fn send(
        &self,
        cx: &Context,
        service: &'static wire::Service,
        operation: &str,
        body: String,
    ) -> Answer {
        let entry = &self.table[&self.key(service.name, operation)];
        let request = wire::Request {
            service: service.name,
            operation: operation.to_owned(),
            protocol: service.speaks(JSON).unwrap_or(service.protocol),
            method: http::Method::POST,
            uri: "/".parse().unwrap(),
            headers: http::HeaderMap::new(),
            body: body.into(),
        };
        let response = (entry.call)(cx.clone(), Arc::new(request)).await?;
        Ok(String::from_utf8(response.body.to_vec()).unwrap())
    }

    fn key(&self, service: &str, operation: &str) -> (&'static str, &'static str) {
        let mut keys = self.table.keys();
        *keys.find(|key| **key == (service, operation)).unwrap_or_else(|| panic!("{operation}?"))
    }

    async fn refused(
        &self,
        cx: &Context,
        service: &str,
        operation: &str,
        parameters: &[(&str, &str)],
    ) -> (String, String) {
        match self.call(cx, service, operation, parameters).await {
            Ok(answer) => panic!("{operation} is not refused: {answer}"),
            Err(error) => (error.code, error.message),
        }
    }

    async fn code(&self, operation: &str, parameters: &[(&str, &str)]) -> String {
        self.refused(&self.cx, "iam", operation, parameters).await.0
    }

    /// A context as the gateway makes it for a caller.
    fn as_caller(&self, caller: Caller) -> Context {
        let arn = caller.arn(&self.cx.read(), &self.cx.account);
        let now = self.cx.env.clock.now();
        Context { caller: arn, from: Arc::new(caller), now, ..self.cx.clone() }
    }

    /// A user with one inline policy.
    async fn user(&self, name: &str, policy: &str) -> Context {
        self.ok("iam", "CreateUser", &[("UserName", name)]).await;
        self.put_policy(name, policy).await;
        let made = self.ok("iam", "CreateAccessKey", &[("UserName", name)]).await;
        let caller = of_key(&self.cx.env, element(&made, "AccessKeyId"), None).unwrap();
        self.as_caller(caller)
    }

    async fn put_policy(&self, user: &str, policy: &str) {
        let parameters = [("UserName", user), ("PolicyName", "own"), ("PolicyDocument", policy)];
        self.ok("iam", "PutUserPolicy", &parameters).await;
    }

    async fn role(&self, name: &str, trusted: &Value, policy: &str) {
        let trust = json!({"Version": "2012-10-17", "Statement":
            [{"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}]});
        let document = ("AssumeRolePolicyDocument", &*trust.to_string());
        self.ok("iam", "CreateRole", &[("RoleName", name), document]).await;
        let parameters = [("RoleName", name), ("PolicyName", "own"), ("PolicyDocument", policy)];
        self.ok("iam", "PutRolePolicy", &parameters).await;
    }

    /// The caller that an answer's credentials make.
    fn with_credentials(&self, answer: &str) -> Result<Context, Refusal> {
        let token = element(answer, "SessionToken");
        let caller = of_key(&self.cx.env, element(answer, "AccessKeyId"), Some(token))?;
        Ok(self.as_caller(caller))
    }

    fn advance(&self, by: Duration) {
        let clock = &self.cx.env.clock;
        clock.advance(clock.now().plus(by));
    }
}

/// What stands in the first element of this name.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let after = xml.split_once(open.as_str()).unwrap_or_else(|| panic!("no {name} in {xml}")).1;
    after.split_once(close.as_str()).unwrap().0
}

fn allow(action: &str, resource: &str) -> String {
    json!({"Version": "2012-10-17", "Statement":
        [{"Effect": "Allow", "Action": action, "Resource": resource}]})
    .to_string()
}

#[tokio::test]
async fn users_are_made_once_renamed_and_deleted_when_nothing_is_left() {
    let cloud = Cloud::new();
    let path = ("Path", "/ops/");
    let made = cloud.ok("iam", "CreateUser", &[("UserName", "ann"), path]).await;
    assert_eq!(element(&made, "Arn"), "arn:aws:iam::123456789012:user/ops/ann");
    assert!(element(&made, "UserId").starts_with("AIDA"));
    assert_eq!(element(&made, "UserId").len(), 21);
    assert_eq!(cloud.code("CreateUser", &[("UserName", "ANN")]).await, "EntityAlreadyExists");
    let key = cloud.ok("iam", "CreateAccessKey", &[("UserName", "ann")]).await;
    assert_eq!(element(&key, "SecretAccessKey").len(), 40);
    cloud.ok("iam", "CreateAccessKey", &[("UserName", "ann")]).await;
    assert_eq!(cloud.code("CreateAccessKey", &[("UserName", "ann")]).await, "LimitExceeded");
    cloud.ok("iam", "UpdateUser", &[("UserName", "ann"), ("NewUserName", "eve")]).await;
    let (code, message) = cloud.refused(&cloud.cx, "iam", "GetUser", &[("UserName", "ann")]).await;
    assert_eq!(code, "NoSuchEntity");
    assert_eq!(message, "The user with name ann cannot be found.");
    let access_key = element(&key, "AccessKeyId");
    let caller = of_key(&cloud.cx.env, access_key, None).unwrap();
    assert!(matches!(caller.who, Who::User { name, .. } if name == "eve"));
    assert_eq!(cloud.code("DeleteUser", &[("UserName", "eve")]).await, "DeleteConflict");
    let off = [("UserName", "eve"), ("AccessKeyId", access_key), ("Status", "Inactive")];
    cloud.ok("iam", "UpdateAccessKey", &off).await;
    assert_eq!(of_key(&cloud.cx.env, access_key, None).err(), Some(Refusal::Unknown));
    let keys = cloud.ok("iam", "ListAccessKeys", &[("UserName", "eve")]).await;
    for id in keys.split("<AccessKeyId>").skip(1).map(|rest| rest.split_once('<').unwrap().0) {
        let parameters = [("UserName", "eve"), ("AccessKeyId", id)];
        cloud.ok("iam", "DeleteAccessKey", &parameters).await;
    }
    cloud.ok("iam", "DeleteUser", &[("UserName", "eve")]).await;
}

#[tokio::test]
async fn policies_have_five_versions_and_stay_while_attached() {
    let cloud = Cloud::new();
    cloud
        .ok(
            "iam",
            "CreateRole",
            &[
                ("RoleName", "web"),
                (
                    "AssumeRolePolicyDocument",
                    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
            "Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#,
                ),
            ],
        )
        .await;
    let document = ("PolicyDocument", ALLOW_ALL);
    let made = cloud.ok("iam", "CreatePolicy", &[("PolicyName", "all"), document]).await;
    let arn = ("PolicyArn", element(&made, "Arn"));
    for _ in 2..=5 {
        cloud.ok("iam", "CreatePolicyVersion", &[arn, document]).await;
    }
    assert_eq!(cloud.code("CreatePolicyVersion", &[arn, document]).await, "LimitExceeded");
    let first = [arn, ("VersionId", "v1")];
    assert_eq!(cloud.code("DeletePolicyVersion", &first).await, "DeleteConflict");
    cloud.ok("iam", "SetDefaultPolicyVersion", &[arn, ("VersionId", "v5")]).await;
    cloud.ok("iam", "DeletePolicyVersion", &first).await;
    cloud.ok("iam", "AttachRolePolicy", &[("RoleName", "web"), arn]).await;
    let shown = cloud.ok("iam", "GetPolicy", &[arn]).await;
    assert_eq!(
        (element(&shown, "AttachmentCount"), element(&shown, "DefaultVersionId")),
        ("1", "v5")
    );
    assert_eq!(cloud.code("DeletePolicy", &[arn]).await, "DeleteConflict");
    assert_eq!(cloud.code("DeleteRole", &[("RoleName", "web")]).await, "DeleteConflict");
    cloud.ok("iam", "DetachRolePolicy", &[("RoleName", "web"), arn]).await;
    assert_eq!(cloud.code("DeletePolicy", &[arn]).await, "DeleteConflict");
    for version in ["v2", "v3", "v4"] {
        cloud.ok("iam", "DeletePolicyVersion", &[arn, ("VersionId", version)]).await;
    }
    cloud.ok("iam", "DeletePolicy", &[arn]).await;
    let bad = [("PolicyName", "bad"), ("PolicyDocument", r#"{"Version":"2012-10-17"}"#)];
    assert_eq!(cloud.code("CreatePolicy", &bad).await, "MalformedPolicyDocument");
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":
        {"AWS":"arn:aws:iam::123456789012:user/nobody"},"Action":"sts:AssumeRole"}]}"#;
    let role = [("RoleName", "r"), ("AssumeRolePolicyDocument", trust)];
    assert_eq!(cloud.code("CreateRole", &role).await, "MalformedPolicyDocument");
}

#[tokio::test]
async fn lists_come_in_pages_by_path() {
    let cloud = Cloud::new();
    for name in ["a", "b", "c"] {
        cloud.ok("iam", "CreateGroup", &[("GroupName", name), ("Path", "/x/")]).await;
    }
    cloud.ok("iam", "CreateGroup", &[("GroupName", "other")]).await;
    let first = [("PathPrefix", "/x/"), ("MaxItems", "2")];
    let page = cloud.ok("iam", "ListGroups", &first).await;
    assert_eq!((element(&page, "IsTruncated"), page.matches("<GroupName>").count()), ("true", 2));
    let next = [first[0], first[1], ("Marker", element(&page, "Marker"))];
    let page = cloud.ok("iam", "ListGroups", &next).await;
    assert_eq!((element(&page, "IsTruncated"), element(&page, "GroupName")), ("false", "c"));
}

#[tokio::test]
async fn a_user_may_do_what_policies_allow_and_is_told_what_not() {
    let cloud = Cloud::new();
    let ann = cloud.user("ann", &allow("ec2:DescribeVpcs", "*")).await;
    cloud.call(&ann, "ec2", "DescribeVpcs", &[]).await.unwrap();
    let (code, message) = cloud.refused(&ann, "ec2", "DescribeSubnets", &[]).await;
    assert_eq!(code, "UnauthorizedOperation");
    let expected = "You are not authorized to perform this operation. User: \
        arn:aws:iam::123456789012:user/ann is not authorized to perform: ec2:DescribeSubnets \
        because no identity-based policy allows the ec2:DescribeSubnets action. Encoded \
        authorization failure message: ";
    let encoded = message.strip_prefix(expected).unwrap_or_else(|| panic!("{message}"));
    let decoded =
        cloud.ok("sts", "DecodeAuthorizationMessage", &[("EncodedMessage", encoded)]).await;
    assert!(decoded.contains("ec2:DescribeSubnets"), "{decoded}");
    let cut = [("EncodedMessage", &encoded[1..])];
    let (code, _) = cloud.refused(&cloud.cx, "sts", "DecodeAuthorizationMessage", &cut).await;
    assert_eq!(code, "InvalidAuthorizationMessageException");
    // A dry run tells what a run would: first whether it is allowed.
    let dry = [("DryRun", "true")];
    let (code, _) = cloud.refused(&ann, "ec2", "DescribeSubnets", &dry).await;
    assert_eq!(code, "UnauthorizedOperation");
    assert_eq!(cloud.refused(&ann, "ec2", "DescribeVpcs", &dry).await.0, "DryRunOperation");
    // Everybody may know who he is.
    let who = cloud.call(&ann, "sts", "GetCallerIdentity", &[]).await.unwrap();
    assert_eq!(element(&who, "Arn"), "arn:aws:iam::123456789012:user/ann");
    assert!(element(&who, "UserId").starts_with("AIDA"));
    let (code, _) = cloud.refused(&ann, "ssm", "GetParameter", &[("Name", "x")]).await;
    assert_eq!(code, "AccessDeniedException");
    assert_eq!(cloud.refused(&ann, "iam", "ListUsers", &[]).await.0, "AccessDenied");
}

#[tokio::test]
async fn groups_allow_boundaries_bound_and_denials_win() {
    let cloud = Cloud::new();
    let ann = cloud.user("ann", &allow("sts:*", "*")).await;
    let cloud = &cloud;
    let may =
        |cx: Context| async move { cloud.call(&cx, "iam", "ListUsers", &[]).await.map(|_| ()) };
    assert!(may(ann.clone()).await.is_err());
    cloud.ok("iam", "CreateGroup", &[("GroupName", "ops")]).await;
    let of_group = [("GroupName", "ops"), ("PolicyName", "p"), ("PolicyDocument", ALLOW_ALL)];
    cloud.ok("iam", "PutGroupPolicy", &of_group).await;
    cloud.ok("iam", "AddUserToGroup", &[("GroupName", "ops"), ("UserName", "ann")]).await;
    may(ann.clone()).await.unwrap();
    let bounds = allow("ec2:*", "*");
    let policy = [("PolicyName", "bounds"), ("PolicyDocument", bounds.as_str())];
    let made = cloud.ok("iam", "CreatePolicy", &policy).await;
    let boundary = ("PermissionsBoundary", element(&made, "Arn"));
    cloud.ok("iam", "PutUserPermissionsBoundary", &[("UserName", "ann"), boundary]).await;
    let message = may(ann.clone()).await.unwrap_err().message;
    assert!(message.ends_with("because no permissions boundary allows the iam:ListUsers action"));
    cloud.ok("iam", "DeleteUserPermissionsBoundary", &[("UserName", "ann")]).await;
    may(ann.clone()).await.unwrap();
    cloud.put_policy("ann", &allow("iam:*", "*").replace("Allow", "Deny")).await;
    let message = may(ann).await.unwrap_err().message;
    assert!(message.ends_with("with an explicit deny in an identity-based policy"), "{message}");
}

#[tokio::test]
async fn resources_and_condition_keys_come_from_the_request() {
    let cloud = Cloud::new();
    let vpcs = cloud.ok("ec2", "DescribeVpcs", &[]).await;
    let vpc = ("VpcId", element(&vpcs, "vpcId"));
    let description = ("GroupDescription", "of a test");
    let name = |name| ("GroupName", name);
    let made = cloud.ok("ec2", "CreateSecurityGroup", &[name("one"), description, vpc]).await;
    let one = element(&made, "groupId");
    let made = cloud.ok("ec2", "CreateSecurityGroup", &[name("two"), description, vpc]).await;
    let two = element(&made, "groupId");
    let arn = format!("arn:aws:ec2:us-east-1:123456789012:security-group/{one}");
    let ann = cloud.user("ann", &allow("ec2:DeleteSecurityGroup", &arn)).await;
    let (code, message) =
        cloud.refused(&ann, "ec2", "DeleteSecurityGroup", &[("GroupId", two)]).await;
    assert_eq!(code, "UnauthorizedOperation");
    assert!(message.contains(&format!("on resource: {}", arn.replace(one, two))), "{message}");
    cloud.call(&ann, "ec2", "DeleteSecurityGroup", &[("GroupId", one)]).await.unwrap();
    // By the tag of the resource.
    let tagged = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Action": "ec2:DeleteSecurityGroup", "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:username}"}}}]});
    cloud.put_policy("ann", &tagged.to_string()).await;
    let delete = [("GroupId", two)];
    let (code, _) = cloud.refused(&ann, "ec2", "DeleteSecurityGroup", &delete).await;
    assert_eq!(code, "UnauthorizedOperation");
    let tag = [("ResourceId.1", two), ("Tag.1.Key", "team"), ("Tag.1.Value", "ann")];
    cloud.ok("ec2", "CreateTags", &tag).await;
    cloud.call(&ann, "ec2", "DeleteSecurityGroup", &delete).await.unwrap();
    // By the tag in the request, with the right to tag while creating only.
    let tags = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "ec2:CreateSecurityGroup", "Resource": "*"},
        {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "*", "Condition": {
            "StringEquals": {"ec2:CreateAction": "CreateSecurityGroup",
                             "aws:RequestTag/team": "web"}}}]});
    cloud.put_policy("ann", &tags.to_string()).await;
    let spec = |team| {
        [
            name("three"),
            description,
            vpc,
            ("TagSpecification.1.ResourceType", "security-group"),
            ("TagSpecification.1.Tag.1.Key", "team"),
            ("TagSpecification.1.Tag.1.Value", team),
        ]
    };
    let (_, message) = cloud.refused(&ann, "ec2", "CreateSecurityGroup", &spec("db")).await;
    assert!(message.contains("ec2:CreateTags"), "{message}");
    cloud.call(&ann, "ec2", "CreateSecurityGroup", &spec("web")).await.unwrap();
    assert_eq!(cloud.refused(&ann, "ec2", "CreateTags", &tag).await.0, "UnauthorizedOperation");
}

#[tokio::test]
async fn roles_are_assumed_by_whom_they_trust_for_as_long_as_said() {
    let cloud = Cloud::new();
    let ann = cloud.user("ann", &allow("ec2:*", "*")).await;
    cloud.user("bob", ALLOW_ALL).await;
    let trusted = json!({"AWS": "arn:aws:iam::123456789012:user/ann"});
    cloud.role("reader", &trusted, &allow("ec2:Describe*", "*")).await;
    let arn = ("RoleArn", "arn:aws:iam::123456789012:role/reader");
    let session = ("RoleSessionName", "work");
    // The trust policy names the user: that is enough within an account.
    let assumed = cloud.call(&ann, "sts", "AssumeRole", &[arn, session]).await.unwrap();
    let reader = cloud.with_credentials(&assumed).unwrap();
    let who = cloud.call(&reader, "sts", "GetCallerIdentity", &[]).await.unwrap();
    assert_eq!(element(&who, "Arn"), "arn:aws:sts::123456789012:assumed-role/reader/work");
    assert!(element(&who, "UserId").ends_with(":work"));
    cloud.call(&reader, "ec2", "DescribeVpcs", &[]).await.unwrap();
    assert!(cloud.call(&reader, "iam", "ListUsers", &[]).await.is_err());
    // Bob may do all, but the role does not trust him.
    let bob = cloud.ok("iam", "CreateAccessKey", &[("UserName", "bob")]).await;
    let bob = of_key(&cloud.cx.env, element(&bob, "AccessKeyId"), None).unwrap();
    let bob = cloud.as_caller(bob);
    let refused = cloud.refused(&bob, "sts", "AssumeRole", &[arn, session]).await;
    assert_eq!(refused.0, "AccessDenied");
    // A session's policy takes away.
    let narrow = allow("ec2:DescribeSubnets", "*");
    let parameters = [arn, session, ("Policy", &*narrow)];
    let narrowed = cloud.call(&ann, "sts", "AssumeRole", &parameters).await.unwrap();
    let narrowed = cloud.with_credentials(&narrowed).unwrap();
    cloud.call(&narrowed, "ec2", "DescribeSubnets", &[]).await.unwrap();
    let (_, message) = cloud.refused(&narrowed, "ec2", "DescribeVpcs", &[]).await;
    assert!(message.contains("because no session policy allows"), "{message}");
    let long = [arn, session, ("DurationSeconds", "7200")];
    assert_eq!(cloud.refused(&ann, "sts", "AssumeRole", &long).await.0, "ValidationError");
    // A changed token, an old one, and one of a role that is no more.
    let forged = assumed.replace("<SessionToken>", "<SessionToken>A");
    assert_eq!(cloud.with_credentials(&forged).err(), Some(Refusal::Unknown));
    cloud.advance(Duration::from_secs(3599));
    assert!(cloud.with_credentials(&assumed).is_ok());
    cloud.advance(Duration::from_secs(1));
    assert_eq!(cloud.with_credentials(&assumed).err(), Some(Refusal::Expired));
    let again = cloud.call(&ann, "sts", "AssumeRole", &[arn, session]).await.unwrap();
    let policy = [("RoleName", "reader"), ("PolicyName", "own")];
    cloud.ok("iam", "DeleteRolePolicy", &policy).await;
    cloud.ok("iam", "DeleteRole", &policy[..1]).await;
    cloud.role("reader", &trusted, ALLOW_ALL).await;
    assert_eq!(cloud.with_credentials(&again).err(), Some(Refusal::Unknown));
}

/// One instance with the profile "web".
fn launch_of_web(images: &str) -> [(&str, &str); 5] {
    [
        ("ImageId", element(images, "imageId")),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("InstanceType", "t3.micro"),
        ("IamInstanceProfile.Name", "web"),
    ]
}

#[tokio::test]
async fn a_role_is_passed_only_by_whom_may_pass_it() {
    let cloud = Cloud::new();
    cloud.role("web", &json!({"Service": "ec2.amazonaws.com"}), ALLOW_ALL).await;
    let profile = ("InstanceProfileName", "web");
    cloud.ok("iam", "CreateInstanceProfile", &[profile]).await;
    let images = cloud.ok("ec2", "DescribeImages", &[]).await;
    let launch = [&launch_of_web(&images)[..], &[("DryRun", "true")]].concat();
    let ann = cloud.user("ann", &allow("ec2:*", "*")).await;
    // Without a role there is nothing to pass, and nothing to launch with.
    let refused = cloud.refused(&ann, "ec2", "RunInstances", &launch).await;
    assert_eq!(refused.0, "InvalidParameterValue");
    let held = [profile, ("RoleName", "web")];
    assert_eq!(
        cloud.refused(&ann, "iam", "AddRoleToInstanceProfile", &held).await.0,
        "AccessDenied"
    );
    cloud.ok("iam", "AddRoleToInstanceProfile", &held).await;
    assert_eq!(cloud.code("AddRoleToInstanceProfile", &held).await, "LimitExceeded");
    let (code, message) = cloud.refused(&ann, "ec2", "RunInstances", &launch).await;
    assert_eq!(code, "UnauthorizedOperation");
    let expected = "iam:PassRole on resource: arn:aws:iam::123456789012:role/web";
    assert!(message.contains(expected), "{message}");
    let pass = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*",
         "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}}]});
    cloud.put_policy("ann", &pass.to_string()).await;
    assert_eq!(cloud.refused(&ann, "ec2", "RunInstances", &launch).await.0, "DryRunOperation");
}

#[tokio::test]
async fn the_trail_tells_who_did_what_and_which_statement_decided() {
    let cloud = Cloud::new();
    let ann = cloud.user("ann", &allow("ec2:Describe*", "*")).await;
    cloud.call(&ann, "ec2", "DescribeVpcs", &[]).await.unwrap();
    cloud.call(&ann, "iam", "ListUsers", &[]).await.unwrap_err();
    let events = cloud.cx.env.trail.events();
    assert_eq!(events[0].error.as_ref().unwrap().0, "AccessDenied");
    assert_eq!(events[0].verdict.by, "no identity-based policy allows it");
    assert_eq!(events[1].verdict.by, "identity-based policy own, statement 1");
    assert!(events[1].verdict.allowed && events[1].error.is_none());
    let seek = [("LookupAttributes", "")];
    assert!(cloud.call(&cloud.cx, "cloudtrail", "LookupEvents", &seek).await.is_err());
    let found = cloud.ok("cloudtrail", "LookupEvents", &[]).await;
    let found: Value = serde_json::from_str(&found).unwrap();
    let names: Vec<&str> = found["Events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["EventName"].as_str())
        .collect();
    let expected = ["ListUsers", "DescribeVpcs", "CreateAccessKey", "PutUserPolicy", "CreateUser"];
    let mut sorted = (names.clone(), expected.to_vec());
    sorted.0.sort_unstable();
    sorted.1.sort_unstable();
    assert_eq!(sorted.0, sorted.1);
}

#[tokio::test]
async fn a_service_linked_role_is_its_services() {
    let cloud = Cloud::new();
    let service = [("AWSServiceName", "autoscaling.amazonaws.com")];
    let made = cloud.ok("iam", "CreateServiceLinkedRole", &service).await;
    assert_eq!(element(&made, "RoleName"), "AWSServiceRoleForAutoScaling");
    assert_eq!(cloud.code("CreateServiceLinkedRole", &service).await, "InvalidInput");
    let name = [("RoleName", "AWSServiceRoleForAutoScaling")];
    assert_eq!(cloud.code("DeleteRole", &name).await, "UnmodifiableEntity");
    let task = cloud.ok("iam", "DeleteServiceLinkedRole", &name).await;
    let task = [("DeletionTaskId", element(&task, "DeletionTaskId"))];
    let status = cloud.ok("iam", "GetServiceLinkedRoleDeletionStatus", &task).await;
    assert_eq!(element(&status, "Status"), "SUCCEEDED");
    assert_eq!(cloud.code("GetRole", &name).await, "NoSuchEntity");
}

#[tokio::test]
async fn a_user_reads_his_own_without_naming_himself() {
    let cloud = Cloud::new();
    let own = allow("iam:GetUser", "arn:aws:iam::*:user/${aws:username}");
    let ann = cloud.user("ann", &own).await;
    let shown = cloud.call(&ann, "iam", "GetUser", &[]).await.unwrap();
    assert_eq!(element(&shown, "UserName"), "ann");
    cloud.user("bob", &own).await;
    let bob = [("UserName", "bob")];
    assert_eq!(cloud.refused(&ann, "iam", "GetUser", &bob).await.0, "AccessDenied");
}

/// What an instance reads at a path of its metadata; none where there is nothing.
fn metadata(cloud: &Cloud, instance_id: &str, path: &str) -> Option<String> {
    let (env, cx) = (&cloud.cx.env, &cloud.cx);
    let instance = crate::ec2::instance::ops::instance(&cx.read(), cx, instance_id).unwrap();
    let service = crate::ec2::instance::metadata::Service::new(env.clone(), [7; 32]);
    let request = http::Request::builder().uri(format!("/latest/meta-data/{path}"));
    let request = request.body(()).unwrap();
    let answer = service.answer(&instance.vpc_id, instance.private_ip, &request);
    let found = answer.status().is_success();
    found.then(|| String::from_utf8(answer.into_body()).unwrap())
}

#[tokio::test]
async fn an_instance_finds_its_roles_credentials_and_new_ones_before_they_end() {
    let cloud = Cloud::new();
    cloud.role("web", &json!({"Service": "ec2.amazonaws.com"}), &allow("ec2:*", "*")).await;
    let profile = ("InstanceProfileName", "web");
    cloud.ok("iam", "CreateInstanceProfile", &[profile]).await;
    cloud.ok("iam", "AddRoleToInstanceProfile", &[profile, ("RoleName", "web")]).await;
    let images = cloud.ok("ec2", "DescribeImages", &[]).await;
    let launch = launch_of_web(&images);
    let launched = cloud.ok("ec2", "RunInstances", &launch).await;
    let id = element(&launched, "instanceId");
    let expected = "arn:aws:iam::123456789012:instance-profile/web";
    assert_eq!(element(element(&launched, "iamInstanceProfile"), "arn"), expected);
    let list = "iam/security-credentials/";
    assert_eq!(metadata(&cloud, id, list).as_deref(), Some("web"));
    let offered = || -> Value {
        let text = metadata(&cloud, id, "iam/security-credentials/web").unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let caller = |offered: &Value| {
        let key = offered["AccessKeyId"].as_str().unwrap();
        of_key(&cloud.cx.env, key, offered["Token"].as_str())
    };
    let first = offered();
    let who = cloud.as_caller(caller(&first).unwrap());
    let identity = cloud.call(&who, "sts", "GetCallerIdentity", &[]).await.unwrap();
    let arn = format!("arn:aws:sts::123456789012:assumed-role/web/{id}");
    assert_eq!(element(&identity, "Arn"), arn);
    cloud.call(&who, "ec2", "DescribeVpcs", &[]).await.unwrap();
    cloud.advance(Duration::from_secs(5 * 3600 - 1));
    assert_eq!(offered()["AccessKeyId"], first["AccessKeyId"]);
    cloud.advance(Duration::from_secs(1));
    let second = offered();
    assert_ne!(second["AccessKeyId"], first["AccessKeyId"]);
    assert!(caller(&first).is_ok() && caller(&second).is_ok());
    cloud.advance(Duration::from_secs(3600));
    assert_eq!(caller(&first).err(), Some(Refusal::Expired));
    // A role that EC2 may not assume gives nothing.
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let parameters = [("RoleName", "web"), ("PolicyDocument", &*trust.to_string())];
    cloud.ok("iam", "UpdateAssumeRolePolicy", &parameters).await;
    assert_eq!(offered()["Code"], "AssumeRoleUnauthorizedAccess");
    let shown = cloud.ok("ec2", "DescribeIamInstanceProfileAssociations", &[]).await;
    let association = [("AssociationId", element(&shown, "associationId"))];
    cloud.ok("ec2", "DisassociateIamInstanceProfile", &association).await;
    assert_eq!(metadata(&cloud, id, list), None);
    let refused =
        cloud.refused(&cloud.cx, "ec2", "DisassociateIamInstanceProfile", &association).await;
    assert_eq!(refused.0, "NoSuchAssociation");
}

#[tokio::test]
async fn simulations_say_what_would_be_and_what_is_missing() {
    let cloud = Cloud::new();
    let conditional = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Action": "ec2:RunInstances", "Resource": "*",
        "Condition": {"StringEquals": {"ec2:InstanceType": "t3.micro"}}}]});
    cloud.user("ann", &conditional.to_string()).await;
    let source = ("PolicySourceArn", "arn:aws:iam::123456789012:user/ann");
    let action = ("ActionNames.member.1", "ec2:RunInstances");
    let without = cloud.ok("iam", "SimulatePrincipalPolicy", &[source, action]).await;
    assert_eq!(element(&without, "EvalDecision"), "implicitDeny");
    assert!(element(&without, "MissingContextValues").contains("ec2:InstanceType"), "{without}");
    let with = [
        source,
        action,
        ("ContextEntries.member.1.ContextKeyName", "ec2:InstanceType"),
        ("ContextEntries.member.1.ContextKeyType", "string"),
        ("ContextEntries.member.1.ContextKeyValues.member.1", "t3.micro"),
    ];
    let with = cloud.ok("iam", "SimulatePrincipalPolicy", &with).await;
    assert_eq!(element(&with, "EvalDecision"), "allowed");
    assert_eq!(element(&with, "SourcePolicyId"), "own");
    let keys = cloud.ok("iam", "GetContextKeysForPrincipalPolicy", &[source]).await;
    assert!(keys.contains("<member>ec2:InstanceType</member>"), "{keys}");
    let bad = [("PolicyInputList.member.1", "{}"), action];
    assert_eq!(cloud.code("SimulateCustomPolicy", &bad).await, "InvalidInput");
}

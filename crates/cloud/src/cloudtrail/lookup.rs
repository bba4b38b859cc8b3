//! Which events a lookup is about, and how an event tells itself.

use std::sync::Arc;

use serde_json::{Value, json};

use super::error::{Error, Result};
use crate::iam::{Event, Who};
use crate::{Context, Timestamp, arn, page};

const MAX_RESULTS: i32 = 50;

#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// Name and value of the attribute sought.
    pub attribute: Option<(String, String)>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub max_results: Option<i32>,
    pub next_token: Option<String>,
}

/// Management events of this region, the newest first. IAM and STS are in every region.
pub fn lookup(cx: &Context, asked: &Lookup) -> Result<(Vec<Arc<Event>>, Option<String>)> {
    if asked.from.zip(asked.to).is_some_and(|(from, to)| from > to) {
        return Err(Error::TimeRange);
    }
    let limit = asked.max_results.unwrap_or(MAX_RESULTS);
    if !(1..=MAX_RESULTS).contains(&limit) {
        return Err(Error::MaxResults);
    }
    let mut events = cx.env.trail.events();
    events.retain(|event| {
        let here = event.region == cx.region || matches!(event.service.as_str(), "iam" | "sts");
        let in_time = asked.from.is_none_or(|from| event.at >= from)
            && asked.to.is_none_or(|to| event.at <= to);
        !event.is_data && here && in_time && asked.attribute.iter().all(|pair| has(event, pair))
    });
    // Pages count down from the newest; events of a moment are told apart by id.
    let key = |event: &Arc<Event>| format!("{:020}{}", i64::MAX - event.at.0, event.id);
    events.sort_by_cached_key(key);
    page::page(events, key, limit as usize, asked.next_token.as_deref())
        .map_err(|_| Error::NextToken)
}

fn has(event: &Event, (name, value): &(String, String)) -> bool {
    let is = |text: Option<&str>| text == Some(value.as_str());
    match name.as_str() {
        "EventId" => is(Some(&event.id)),
        "EventName" => is(Some(&event.operation)),
        "EventSource" => is(Some(&event.source())),
        "ReadOnly" => is(Some(&event.is_read.to_string())),
        "Username" => is(event.user_name().as_deref()),
        "AccessKeyId" => is(event.access_key.as_deref()),
        "ResourceName" => {
            event.resources.iter().any(|resource| is(Some(resource)) || is(Some(name_of(resource))))
        }
        "ResourceType" => event.resources.iter().any(|resource| is(type_of(resource))),
        _ => false,
    }
}

/// What an ARN names, without its kind: `i-0123`, a bucket.
pub fn name_of(resource: &str) -> &str {
    let Some(parts) = arn::parse(resource) else { return resource };
    match parts.service {
        "ec2" | "iam" => parts.resource.rsplit('/').next().unwrap_or(parts.resource),
        _ => parts.resource,
    }
}

pub fn type_of(resource: &str) -> Option<&'static str> {
    let parts = arn::parse(resource)?;
    let kind = parts.resource.split(['/', ':']).next()?;
    Some(match (parts.service, kind) {
        ("ec2", "instance") => "AWS::EC2::Instance",
        ("ec2", "image") => "AWS::EC2::Ami",
        ("ec2", "network-interface") => "AWS::EC2::NetworkInterface",
        ("ec2", "subnet") => "AWS::EC2::Subnet",
        ("ec2", "security-group") => "AWS::EC2::SecurityGroup",
        ("ec2", "vpc") => "AWS::EC2::VPC",
        ("ec2", "volume") => "AWS::EC2::Volume",
        ("ec2", "key-pair") => "AWS::EC2::KeyPair",
        ("ec2", "route-table") => "AWS::EC2::RouteTable",
        ("ec2", "launch-template") => "AWS::EC2::LaunchTemplate",
        ("iam", "user") => "AWS::IAM::User",
        ("iam", "group") => "AWS::IAM::Group",
        ("iam", "role") => "AWS::IAM::Role",
        ("iam", "policy") => "AWS::IAM::Policy",
        ("iam", "instance-profile") => "AWS::IAM::InstanceProfile",
        ("s3", _) => "AWS::S3::Bucket",
        ("dynamodb", "table") => "AWS::DynamoDB::Table",
        ("ssm", "parameter") => "AWS::SSM::Parameter",
        ("autoscaling", "autoScalingGroup") => "AWS::AutoScaling::AutoScalingGroup",
        ("elasticloadbalancing", "loadbalancer") => "AWS::ElasticLoadBalancingV2::LoadBalancer",
        ("elasticloadbalancing", "targetgroup") => "AWS::ElasticLoadBalancingV2::TargetGroup",
        _ => return None,
    })
}

/// The event whole, as CloudTrail's records are written.
pub fn record(cx: &Context, event: &Event) -> Value {
    let (code, message) = event.error.clone().unzip();
    let mut record = json!({
        "eventVersion": "1.11",
        "userIdentity": identity(cx, event),
        "eventTime": event.at.iso8601(),
        "eventSource": event.source(),
        "eventName": event.operation,
        "awsRegion": event.region,
        "sourceIPAddress": event.source_ip,
        "userAgent": event.user_agent,
        "vpcEndpointId": event.endpoint,
        "errorCode": code,
        "errorMessage": message,
        "requestID": event.request_id,
        "eventID": event.id,
        "readOnly": event.is_read,
        "resources": event.resources.iter().map(|arn| json!({"ARN": arn})).collect::<Vec<_>>(),
        "eventType": "AwsApiCall",
        "managementEvent": !event.is_data,
        "recipientAccountId": cx.account,
        "eventCategory": if event.is_data { "Data" } else { "Management" },
    });
    // What does not apply is left out.
    if let Value::Object(members) = &mut record {
        members.retain(|_, value| !value.is_null());
    }
    record
}

fn identity(cx: &Context, event: &Event) -> Value {
    let (kind, id) = match &event.who {
        Who::Root => ("Root", cx.account.clone()),
        Who::Service(_) => return json!({"type": "AWSService", "invokedBy": event.caller}),
        Who::User { id, .. } => ("IAMUser", id.clone()),
        Who::Role { id, session, .. } => ("AssumedRole", format!("{id}:{session}")),
        Who::Anonymous => return json!({"type": "AWSAccount", "principalId": "anonymous"}),
    };
    let mut identity = json!({
        "type": kind,
        "principalId": id,
        "arn": event.caller,
        "accountId": cx.account,
        "accessKeyId": event.access_key,
    });
    match &event.who {
        Who::User { name, .. } => identity["userName"] = json!(name),
        Who::Role { id, name, .. } => {
            identity["sessionContext"] = json!({"sessionIssuer": {
                "type": "Role",
                "principalId": id,
                "accountId": cx.account,
                "userName": name,
            }});
        }
        _ => {}
    }
    identity
}

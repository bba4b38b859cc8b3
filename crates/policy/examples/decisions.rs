//! How long decisions take with 50 attached statements, in JSON: for each kind of request what it is
//! and the times of single decisions in nanoseconds, sorted. `decisions [TIMES]`.

use std::hint::black_box;
use std::time::Instant;

use policy::{Context, Document, Effect, Kind, Policies, Policy, Principal, Request, evaluate};
use serde_json::{Value, json};

const ACCOUNT: &str = "111122223333";
const STATEMENTS: usize = 50;
const A_POLICY: usize = 5;
/// Of attached policies there may be more than one needs; each is about another bucket and fleet.
const KINDS: usize = 5;

fn main() {
    let times = std::env::args().nth(1).map_or(20_000, |times| times.parse().expect("a number"));
    let policies = Policies { identity: attached(), ..Policies::default() };
    let bounded = Policies {
        boundary: Some(policy(vec![json!({"Effect": "Allow", "Action": "*", "Resource": "*"})])),
        session: vec![policy(vec![json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})])],
        ..policies.clone()
    };
    let last = format!("arn:aws:s3:::fleet-{}/ana/report", STATEMENTS - KINDS);
    let instance = "arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0";
    let measured = [
        ("allowed by a statement among the last", &policies, "s3:GetObject", last.as_str(), Effect::Allowed),
        ("the same within a boundary and a session policy", &bounded, "s3:GetObject", &last, Effect::Allowed),
        ("allowed by no statement", &policies, "s3:GetObject", "arn:aws:s3:::other/x", Effect::ImplicitDeny),
        ("all statements of the action look at conditions", &policies, "ec2:StopInstances", instance, Effect::ImplicitDeny),
        ("of a service that no statement is about", &policies, "sqs:SendMessage", "*", Effect::ImplicitDeny),
    ]
    .map(|(what, policies, action, resource, effect)| {
        json!({"what": what, "ns": measure(policies, action, resource, effect, times)})
    });
    println!("{}", Value::from(measured.to_vec()));
}

fn attached() -> Vec<Policy> {
    let statements: Vec<Value> = (0..STATEMENTS).map(statement).collect();
    statements.chunks(A_POLICY).map(|chunk| policy(chunk.to_vec())).collect()
}

fn policy(statements: Vec<Value>) -> Policy {
    let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    Policy::new("policy", Document::parse(&text, Kind::Identity).expect("this is a policy"))
}

fn statement(n: usize) -> Value {
    match n % KINDS {
        0 => json!({
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": format!("arn:aws:s3:::fleet-{n}/${{aws:username}}/*"),
        }),
        1 => json!({
            "Effect": "Allow", "Action": "s3:ListBucket", "Resource": format!("arn:aws:s3:::fleet-{n}"),
            "Condition": {"StringLike": {"s3:prefix": ["", "home/", "home/${aws:username}/*"]}},
        }),
        2 => json!({
            "Effect": "Allow",
            "Action": ["ec2:StartInstances", "ec2:StopInstances", "ec2:RebootInstances"],
            "Resource": "arn:aws:ec2:*:*:instance/*",
            "Condition": {
                "StringEquals": {"aws:ResourceTag/fleet": n.to_string()},
                "IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "203.0.113.0/24"]},
            },
        }),
        3 => {
            json!({"Effect": "Allow", "Action": ["ec2:Describe*", "autoscaling:Describe*"], "Resource": "*"})
        }
        _ => json!({
            "Effect": "Deny", "NotAction": ["iam:*", "sts:*"], "Resource": "*",
            "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["eu-west-1", "eu-central-1"]}},
        }),
    }
}

fn measure(
    policies: &Policies,
    action: &str,
    resource: &str,
    effect: Effect,
    times: usize,
) -> Vec<u64> {
    let context = Context::new()
        .with("aws:username", "ana")
        .with("aws:PrincipalArn", "arn:aws:iam::111122223333:user/ana")
        .with("aws:RequestedRegion", "eu-west-1")
        .with("aws:SourceIp", "203.0.113.9")
        .with("aws:SecureTransport", "false")
        .with("aws:CurrentTime", "2026-01-01T00:00:00Z")
        .with("aws:ResourceTag/fleet", "other");
    let principal = Principal::User { arn: "arn:aws:iam::111122223333:user/ana".into() };
    let request = Request {
        principal: &principal,
        action,
        resource,
        account: ACCOUNT,
        canonical_user: None,
        context: &context,
    };
    assert_eq!(evaluate(policies, &request).effect, effect, "{action} {resource}");
    let decide = |_| {
        let begin = Instant::now();
        black_box(evaluate(policies, black_box(&request)));
        begin.elapsed().as_nanos() as u64
    };
    let mut times: Vec<u64> = (0..times).map(decide).collect();
    times.sort_unstable();
    times
}

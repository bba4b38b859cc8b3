//! SimulateCustomPolicy and GetContextKeysForCustomPolicy, as the AWS CLI's reference shows them.

use crate::{ACCOUNT, ANA, compile, context, statements};
use policy::{
    Context, Effect, Kind, Policies, Position, Principal, Request, Simulation, context_keys,
    simulate,
};

/// From the examples of `aws iam simulate-custom-policy`.
const EXAMPLE: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}"#;

fn run(policies: &Policies, action: &str, context: &Context) -> Simulation {
    let principal = Principal::User { arn: ANA.into() };
    let request = Request {
        principal: &principal,
        action,
        resource: "*",
        account: ACCOUNT,
        canonical_user: None,
        context,
    };
    simulate(policies, &request)
}

#[test]
fn positions() {
    let policies =
        Policies { identity: vec![compile(Kind::Identity, EXAMPLE)], ..Policies::default() };
    let keys = context("aws:CurrentTime=2019-04-25T11:00:00Z");
    let found = run(&policies, "dynamodb:CreateBackup", &keys);
    assert_eq!(found.decision.effect.as_str(), "allowed");
    let [matched] = found.matched.as_slice() else { panic!("{found:?}") };
    assert_eq!(matched.start, Position { line: 1, column: 38 });
    assert_eq!(matched.end, Position { line: 1, column: 167 });
    let keys = context("aws:CurrentTime=2014-04-25T11:00:00Z");
    let found = run(&policies, "dynamodb:CreateBackup", &keys);
    assert_eq!((found.decision.effect.as_str(), found.matched.len()), ("implicitDeny", 0));
}

#[test]
fn lines() {
    let text = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {\"Effect\": \"Deny\",\n\
                \"Action\": \"*\", \"Resource\": \"*\"}\n  ]\n}";
    let policies =
        Policies { identity: vec![compile(Kind::Identity, text)], ..Policies::default() };
    let found = run(&policies, "s3:ListBucket", &Context::new());
    assert_eq!(found.decision.effect.as_str(), "explicitDeny");
    assert_eq!(found.matched[0].start, Position { line: 4, column: 6 });
    assert_eq!(found.matched[0].end, Position { line: 5, column: 32 });
}

#[test]
fn missing_keys() {
    let text = r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:PrincipalTag/T}","Condition":{"Bool":{"aws:SecureTransport":"true"},"StringEquals":{"aws:x":"${aws:username}"}}},{"Effect":"Allow","Action":"ec2:*","Resource":"*","Condition":{"Bool":{"aws:Elsewhere":"true"}}}"#;
    let policies =
        Policies { identity: vec![statements(Kind::Identity, text)], ..Policies::default() };
    let found = run(&policies, "s3:ListBucket", &context("AWS:securetransport=true"));
    assert_eq!(found.missing, ["aws:PrincipalTag/T", "aws:x", "aws:username"]);
}

#[test]
fn boundaries() {
    let allow = |action: &str| {
        let text = format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"*"}}"#);
        statements(Kind::Identity, &text)
    };
    for (boundary, allowed) in
        [(None, None), (Some("s3:*"), Some(true)), (Some("ec2:*"), Some(false))]
    {
        let boundary = boundary.map(allow);
        let policies = Policies { identity: vec![allow("s3:*")], boundary, ..Policies::default() };
        let found = run(&policies, "s3:ListBucket", &Context::new());
        assert_eq!(found.allowed_by_boundary, allowed);
        assert_eq!(found.decision.effect == Effect::Allowed, allowed != Some(false));
    }
}

#[test]
fn all_that_deny_are_named_and_only_they() {
    let deny = r#"{"Effect":"Deny","Action":"s3:*","Resource":"*"}"#;
    let allow = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
    let text = format!("{allow},{deny},{deny}");
    let policies =
        Policies { identity: vec![statements(Kind::Identity, &text)], ..Policies::default() };
    let found = run(&policies, "s3:ListBucket", &Context::new());
    assert_eq!(found.matched.iter().map(|found| found.statement).collect::<Vec<_>>(), [1, 2]);
    let found = run(&policies, "ec2:RunInstances", &Context::new());
    assert_eq!(found.matched.iter().map(|found| found.statement).collect::<Vec<_>>(), [0]);
}

#[test]
fn context_keys_of_a_policy() {
    let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"arn:aws:dynamodb:us-west-2:123456789012:table/${aws:username}","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2015-08-16T12:00:00Z"},"StringEquals":{"AWS:UserName":"x"}}}}"#;
    let policy = compile(Kind::Identity, text);
    assert_eq!(context_keys(&policy.document), ["aws:username", "aws:CurrentTime"]);
}

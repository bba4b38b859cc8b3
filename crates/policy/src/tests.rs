//! The crate from outside of its modules: documents that are refused, decisions and their wording.

use crate::{Context, Document, Kind, Policies, Policy, Principal, Request, evaluate};

fn allow(action: &str) -> Policy {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"{action}","Resource":"*"}}}}"#
    );
    Policy::new("allow", Document::parse(&text, Kind::Identity).unwrap())
}

#[test]
fn a_denial_says_why() {
    let arn = "arn:aws:iam::123456789012:user/ana";
    let principal = Principal::User { arn: arn.into() };
    let bucket = "arn:aws:s3:::b";
    let message = |policies: &Policies, resource| {
        let request = Request {
            principal: &principal,
            action: "s3:ListBucket",
            resource,
            account: "123456789012",
            canonical_user: None,
            context: &Context::new(),
        };
        evaluate(policies, &request).message(arn, "s3:ListBucket", resource)
    };
    let who = format!("User: {arn} is not authorized to perform: s3:ListBucket");
    let none = Policies::default();
    assert_eq!(
        message(&none, "*"),
        format!("{who} because no identity-based policy allows the s3:ListBucket action")
    );
    let bounded = Policies {
        identity: vec![allow("s3:*")],
        boundary: Some(allow("ec2:*")),
        ..Policies::default()
    };
    assert_eq!(
        message(&bounded, bucket),
        format!(
            "{who} on resource: {bucket} because no permissions boundary allows the s3:ListBucket \
             action"
        )
    );
}

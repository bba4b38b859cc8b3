//! "IAM policy elements: variables and tags".

use crate::{cases, compile, context, decide};
use policy::Kind;

#[test]
fn all() {
    for (rule, [name, elements, keys, holds]) in cases(include_str!("variables.txt")) {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"*",{elements}}}}}"#
        );
        let policy = compile(Kind::Identity, &text);
        let decision = decide(policy, "s3:GetObject", "arn:aws:s3:::b/ana/x", &context(keys));
        assert_eq!(decision.is_allowed(), holds == "yes", "{name} ({rule})");
    }
}

const VERSION: &str = "Version: before 2012-10-17 variables are literal text";

#[test]
fn versions() {
    for (name, version, resource, holds) in [
        ("of-2012", r#""Version":"2012-10-17","#, "arn:aws:s3:::b/ana", true),
        ("of-2008", r#""Version":"2008-10-17","#, "arn:aws:s3:::b/ana", false),
        ("of-2008-literal", r#""Version":"2008-10-17","#, "arn:aws:s3:::b/${aws:username}", true),
        ("of-none-is-2008", "", "arn:aws:s3:::b/${aws:username}", true),
    ] {
        let text = format!(
            r#"{{{version}"Statement":{{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::b/${{aws:username}}"}}}}"#
        );
        let policy = compile(Kind::Session, &text);
        let keys = context("aws:username=ana");
        let decision = decide(policy, "s3:GetObject", resource, &keys);
        assert_eq!(decision.is_allowed(), holds, "{name} ({VERSION})");
    }
}

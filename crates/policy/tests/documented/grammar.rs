//! "Grammar of the IAM JSON policy language", and what IAM says of documents that break it.

use policy::{Document, Kind};

const SYNTAX: &str = "Syntax errors in policy.";
const LEGACY: &str = "The policy failed legacy parsing";
const VENDOR: &str = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";
const PATHS: &str = "IAM resource path must either be \"*\" or start with user/, federated-user/, \
    role/, group/, instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, \
    saml-provider/, oidc-provider/, report/, access-report/.";

fn refusal(kind: Kind, text: &str) -> String {
    Document::parse(text, kind).err().map_or_else(|| "fine".to_owned(), |error| error.to_string())
}

#[test]
fn documents() {
    let fine = r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#;
    for (name, text, message) in [
        ("one-statement", format!(r#"{{"Version":"2012-10-17","Statement":{fine}}}"#), "fine"),
        ("id", format!(r#"{{"Version":"2012-10-17","Id":"x","Statement":[{fine}]}}"#), "fine"),
        (
            "white-space",
            format!(" {{\n \"Version\":\t\"2012-10-17\",\"Statement\":[{fine},{fine}] }}\n"),
            "fine",
        ),
        ("no-json", "{".into(), SYNTAX),
        ("no-object", "[]".into(), SYNTAX),
        ("text-after", format!(r#"{{"Version":"2012-10-17","Statement":{fine}}} x"#), SYNTAX),
        ("no-statement", r#"{"Version":"2012-10-17"}"#.into(), SYNTAX),
        ("empty-statement", r#"{"Version":"2012-10-17","Statement":[]}"#.into(), SYNTAX),
        ("statement-is-text", r#"{"Version":"2012-10-17","Statement":"x"}"#.into(), SYNTAX),
        (
            "statement-in-list-is-text",
            r#"{"Version":"2012-10-17","Statement":["x"]}"#.into(),
            SYNTAX,
        ),
        (
            "unknown-element",
            format!(r#"{{"Version":"2012-10-17","Extra":1,"Statement":{fine}}}"#),
            SYNTAX,
        ),
        ("unknown-version", format!(r#"{{"Version":"2013-10-17","Statement":{fine}}}"#), SYNTAX),
        (
            "key-twice",
            format!(r#"{{"Version":"2012-10-17","Version":"2012-10-17","Statement":{fine}}}"#),
            SYNTAX,
        ),
        (
            "old-version",
            format!(r#"{{"Version":"2008-10-17","Statement":{fine}}}"#),
            "Policy document must be version 2012-10-17 or greater.",
        ),
        (
            "no-version",
            format!(r#"{{"Statement":{fine}}}"#),
            "Policy document must be version 2012-10-17 or greater.",
        ),
    ] {
        assert_eq!(refusal(Kind::Identity, &text), message, "{name}");
    }
}

#[test]
fn statements() {
    for (name, text, message) in [
        ("no-effect", r#"{"Action":"s3:*","Resource":"*"}"#, SYNTAX),
        ("unknown-effect", r#"{"Effect":"Maybe","Action":"s3:*","Resource":"*"}"#, SYNTAX),
        ("effect-in-other-case", r#"{"Effect":"allow","Action":"s3:*","Resource":"*"}"#, LEGACY),
        (
            "unknown-element",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Actions":"x"}"#,
            SYNTAX,
        ),
        (
            "action-and-not-action",
            r#"{"Effect":"Allow","Action":"s3:*","NotAction":"s3:x","Resource":"*"}"#,
            SYNTAX,
        ),
        (
            "resource-and-not-resource",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","NotResource":"*"}"#,
            SYNTAX,
        ),
        ("action-is-number", r#"{"Effect":"Allow","Action":1,"Resource":"*"}"#, SYNTAX),
        (
            "resource-list-of-numbers",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":[1]}"#,
            SYNTAX,
        ),
        (
            "principal",
            r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}"#,
            "Policy document should not specify a principal.",
        ),
        (
            "no-action",
            r#"{"Effect":"Allow","Resource":"*"}"#,
            "Policy statement must contain actions.",
        ),
        (
            "empty-action",
            r#"{"Effect":"Allow","Action":[],"Resource":"*"}"#,
            "Policy statement must contain actions.",
        ),
        (
            "no-resource",
            r#"{"Effect":"Allow","Action":"s3:*"}"#,
            "Policy statement must contain resources.",
        ),
        (
            "empty-resource",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":[]}"#,
            "Policy statement must contain resources.",
        ),
        (
            "action-without-vendor",
            r#"{"Effect":"Allow","Action":"GetObject","Resource":"*"}"#,
            VENDOR,
        ),
        (
            "action-of-two-colons",
            r#"{"Effect":"Allow","Action":"s3:Get:Object","Resource":"*"}"#,
            "Actions/Condition can contain only one colon.",
        ),
        (
            "action-of-odd-vendor",
            r#"{"Effect":"Allow","Action":"s 3:GetObject","Resource":"*"}"#,
            "Vendor s 3 is not valid",
        ),
        (
            "condition-key-without-vendor",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"x":"y"}}}"#,
            VENDOR,
        ),
        (
            "unknown-operator",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringIs":{"aws:x":"y"}}}"#,
            SYNTAX,
        ),
        (
            "unknown-modifier",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"ForSome:StringEquals":{"aws:x":"y"}}}"#,
            SYNTAX,
        ),
        (
            "null-if-exists",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"NullIfExists":{"aws:x":"true"}}}"#,
            SYNTAX,
        ),
        (
            "condition-value-is-object",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:x":{}}}}"#,
            SYNTAX,
        ),
        (
            "ill-number",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"NumericEquals":{"aws:x":"y"}}}"#,
            SYNTAX,
        ),
        (
            "ill-date",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"DateEquals":{"aws:x":"soon"}}}"#,
            LEGACY,
        ),
        (
            "ill-variable",
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username"}"#,
            SYNTAX,
        ),
        (
            "sid-twice",
            r#"{"Sid":"a","Effect":"Allow","Action":"s3:*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"s3:*","Resource":"*"}"#,
            "Statement IDs (SID) in a single policy must be unique.",
        ),
        (
            "empty-sid-twice",
            r#"{"Sid":"","Effect":"Allow","Action":"s3:*","Resource":"*"},{"Sid":"","Effect":"Allow","Action":"s3:*","Resource":"*"}"#,
            "fine",
        ),
        (
            "odd-sid",
            r#"{"Sid":"a b","Effect":"Allow","Action":"s3:*","Resource":"*"}"#,
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
        ),
    ] {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{text}]}}"#);
        assert_eq!(refusal(Kind::Identity, &text), message, "{name}");
    }
}

#[test]
fn resources() {
    for (name, resource, message) in [
        ("no-arn", "bucket", "Resource bucket must be in ARN format or \"*\"."),
        (
            "other-partition",
            "arn:azure:s3:::b",
            "Partition \"azure\" is not valid for resource \"arn:azure:s3:::b\".",
        ),
        (
            "other-partition-short",
            "arn:x:s3",
            "Partition \"x\" is not valid for resource \"arn:x:s3:*:*:*\".",
        ),
        (
            "vendor-with-wildcard",
            "arn:aws:s*:::b",
            "Resource vendor must be fully qualified and cannot contain regexes.",
        ),
        (
            "no-vendor",
            "arn:aws",
            "Resource vendor must be fully qualified and cannot contain regexes.",
        ),
        ("few-colons", "arn:aws:s3::b", LEGACY),
        ("few-segments", "arn:aws:ec2:*", "fine"),
        (
            "iam-region",
            "arn:aws:iam:eu-west-1:1:user/x",
            "IAM resource arn:aws:iam:eu-west-1:1:user/x cannot contain region information.",
        ),
        ("iam-path", "arn:aws:iam::1:usr/x", PATHS),
        ("iam-all", "arn:aws:iam::1:*", "fine"),
        (
            "s3-region",
            "arn:aws:s3:eu-west-1::b",
            "Resource arn:aws:s3:eu-west-1::b can not contain region information.",
        ),
        ("variable", "arn:aws:s3:::b/${aws:username}", "fine"),
        ("variable-as-account", "arn:aws:iam::${aws:PrincipalAccount}:user/x", "fine"),
        ("not-arn", "x:aws:s3:::b", "Resource x:aws:s3:::b must be in ARN format or \"*\"."),
    ] {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"s3:*","Resource":"{resource}"}}}}"#
        );
        assert_eq!(refusal(Kind::Identity, &text), message, "{name}");
    }
}

#[test]
fn policies_that_name_principals() {
    let trust = r#"{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}"#;
    for (name, kind, text, message) in [
        ("trust", Kind::Trust, trust, "fine"),
        (
            "trust-with-resource",
            Kind::Trust,
            r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}"#,
            "Has prohibited field Resource",
        ),
        (
            "trust-without-principal",
            Kind::Trust,
            r#"{"Effect":"Allow","Action":"sts:AssumeRole"}"#,
            "Missing required field Principal",
        ),
        (
            "trust-without-action",
            Kind::Trust,
            r#"{"Effect":"Allow","Principal":"*"}"#,
            "Missing required field Action",
        ),
        (
            "trust-without-effect",
            Kind::Trust,
            r#"{"Principal":"*","Action":"sts:AssumeRole"}"#,
            "Missing required field Effect",
        ),
        (
            "trust-of-other-action",
            Kind::Trust,
            r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}"#,
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ),
        (
            "trust-of-odd-service",
            Kind::Trust,
            r#"{"Effect":"Allow","Principal":{"Service":"ec2"},"Action":"sts:AssumeRole"}"#,
            "Invalid principal in policy: \"SERVICE\":\"ec2\"",
        ),
        (
            "trust-of-odd-arn",
            Kind::Trust,
            r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1:user/x"},"Action":"sts:AssumeRole"}"#,
            "Invalid principal in policy: \"AWS\":\"arn:aws:iam::1:user/x\"",
        ),
        (
            "trust-of-group",
            Kind::Trust,
            r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:group/x"},"Action":"sts:AssumeRole"}"#,
            "Invalid principal in policy: \"AWS\":\"arn:aws:iam::111122223333:group/x\"",
        ),
        (
            "trust-with-wildcard",
            Kind::Trust,
            r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/*"},"Action":"sts:AssumeRole"}"#,
            "Invalid principal in policy: \"AWS\":\"arn:aws:iam::111122223333:role/*\"",
        ),
        (
            "trust-of-unknown-kind",
            Kind::Trust,
            r#"{"Effect":"Allow","Principal":{"User":"x"},"Action":"sts:AssumeRole"}"#,
            "Invalid principal in policy: \"USER\":\"x\"",
        ),
        (
            "trust-unknown-element",
            Kind::Trust,
            r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Principle":"*"}"#,
            "Unknown field Principle",
        ),
        (
            "trust-all-but",
            Kind::Trust,
            r#"{"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}"#,
            "Has prohibited field NotPrincipal",
        ),
        (
            "bucket",
            Kind::Resource,
            r#"{"Sid":"with spaces","Effect":"Allow","Principal":{"AWS":"*"},"Action":"s3:*","Resource":"arn:aws:s3:::b"}"#,
            "fine",
        ),
        (
            "bucket-without-principal",
            Kind::Resource,
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#,
            "Missing required field Principal",
        ),
        (
            "bucket-without-resource",
            Kind::Resource,
            r#"{"Effect":"Allow","Principal":"*","Action":"s3:*"}"#,
            "Missing required field Resource",
        ),
        (
            "bucket-of-odd-resource",
            Kind::Resource,
            r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"b"}"#,
            "Policy has invalid resource",
        ),
        (
            "boundary-with-principal",
            Kind::Boundary,
            r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}"#,
            "Policy document should not specify a principal.",
        ),
        ("session", Kind::Session, r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#, "fine"),
    ] {
        let text = format!(r#"{{"Statement":[{text}]}}"#);
        let text = if kind == Kind::Boundary {
            text.replacen('{', r#"{"Version":"2012-10-17","#, 1)
        } else {
            text
        };
        assert_eq!(refusal(kind, &text), message, "{name}");
    }
    assert_eq!(refusal(Kind::Trust, "{"), "This policy contains invalid Json");
    assert_eq!(
        refusal(Kind::Resource, "x"),
        "Policies must be valid JSON and the first byte must be '{'"
    );
}

//! "Policy evaluation logic", "Permissions boundaries for IAM entities", "Session policies",
//! "Cross-account policy evaluation logic", "IAM JSON policy elements: Principal" and "NotPrincipal".

use crate::{ACCOUNT, ANA, statements};
use policy::{
    Context, Decision, Effect, Kind, Layer, Policies, Policy, Principal, Request, evaluate,
};

use Effect::{Allowed, ExplicitDeny, ImplicitDeny};

const OTHER: &str = "444455556666";
const ROLE: &str = "arn:aws:iam::111122223333:role/app";
const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/app/i-1";
const ALL: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
const NONE: &str = r#"{"Effect":"Allow","Action":"x:Nothing","Resource":"*"}"#;
const DENY: &str = r#"{"Effect":"Deny","Action":"s3:*","Resource":"*"}"#;

const BASICS: &str = "Evaluation logic: an explicit deny in any policy overrides the allow";
const BOUNDARY: &str = "Permissions boundary: the intersection with the identity-based policies";
const SESSIONS: &str = "Session policy: the intersection with the role's identity-based policies";
const RESOURCE: &str = "Resource-based policies within an account: the union";
const USER_ARN: &str = "A resource-based policy that names a user's ARN passes implicit denies";
const ROLE_ARN: &str =
    "A resource-based policy that names a role's ARN is limited by boundary and session policy";
const SESSION_ARN: &str = "A resource-based policy that names the session passes implicit denies";
const ACCOUNT_ARN: &str =
    "A resource-based policy that names the account leaves it to its policies";
const CROSS: &str = "Cross-account: both the identity's and the resource's account have to allow";
const TRUST: &str = "Role trust policies: a role is assumed by those whom it trusts";
const PRINCIPAL: &str = "Principal: whom a statement is about";
const NOT_PRINCIPAL: &str = "NotPrincipal: a Deny to all but the listed, with their accounts";
const ROOT: &str = "The root user has full access to its account";

fn ana() -> Principal {
    Principal::User { arn: ANA.into() }
}

fn session() -> Principal {
    Principal::Role { role: ROLE.into(), session: SESSION.into() }
}

fn root(account: &str) -> Principal {
    Principal::Root { account: account.into() }
}

fn service(name: &str) -> Principal {
    Principal::Service { name: name.into() }
}

/// Policies, of which the empty text is none: identity, boundary, session, resource.
fn policies(texts: [&str; 4]) -> Policies {
    let [identity, boundary, session, resource] = texts;
    let policy = |kind, text: &str| (!text.is_empty()).then(|| statements(kind, text));
    Policies {
        identity: policy(Kind::Identity, identity).into_iter().collect(),
        groups: Vec::new(),
        boundary: policy(Kind::Boundary, boundary),
        session: policy(Kind::Session, session).into_iter().collect(),
        resource: policy(Kind::Resource, resource),
    }
}

fn decide(policies: &Policies, principal: &Principal, action: &str, account: &str) -> Decision {
    let resource = if action == "sts:AssumeRole" { ROLE } else { "arn:aws:s3:::b/k" };
    let context = Context::new();
    let request =
        Request { principal, action, resource, account, canonical_user: None, context: &context };
    evaluate(policies, &request)
}

/// A bucket policy that allows, or denies, whom the element names.
fn bucket(effect: &str, principal: &str) -> String {
    format!(r#"{{"Effect":"{effect}",{principal},"Action":"s3:*","Resource":"arn:aws:s3:::b/*"}}"#)
}

fn grant(arn: &str) -> String {
    bucket("Allow", &format!(r#""Principal":{{"AWS":"{arn}"}}"#))
}

fn not_principal(arns: &str) -> String {
    bucket("Deny", &format!(r#""NotPrincipal":{{"AWS":[{arns}]}}"#))
}

#[test]
fn within_an_account() {
    let (to_ana, to_role, to_session) = (grant(ANA), grant(ROLE), grant(SESSION));
    let to_account = grant(ACCOUNT);
    let to_all = bucket("Allow", r#""Principal":"*""#);
    let deny_all = bucket("Deny", r#""Principal":"*""#);
    for (name, rule, principal, texts, effect, layer) in [
        ("nothing", BASICS, ana(), ["", "", "", ""], ImplicitDeny, Layer::Identity),
        ("identity", BASICS, ana(), [ALL, "", "", ""], Allowed, Layer::Identity),
        ("deny-in-identity", BASICS, ana(), [DENY, "", "", &to_ana], ExplicitDeny, Layer::Identity),
        (
            "deny-in-boundary",
            BASICS,
            ana(),
            [ALL, DENY, "", &to_ana],
            ExplicitDeny,
            Layer::Boundary,
        ),
        (
            "deny-in-session",
            BASICS,
            session(),
            [ALL, "", DENY, &to_session],
            ExplicitDeny,
            Layer::Session,
        ),
        (
            "deny-in-resource",
            BASICS,
            ana(),
            [ALL, "", "", &deny_all],
            ExplicitDeny,
            Layer::Resource,
        ),
        ("boundary-allows", BOUNDARY, ana(), [ALL, ALL, "", ""], Allowed, Layer::Identity),
        (
            "boundary-does-not-allow",
            BOUNDARY,
            ana(),
            [ALL, NONE, "", ""],
            ImplicitDeny,
            Layer::Boundary,
        ),
        (
            "boundary-alone-grants-nothing",
            BOUNDARY,
            ana(),
            ["", ALL, "", ""],
            ImplicitDeny,
            Layer::Identity,
        ),
        (
            "boundary-of-role",
            BOUNDARY,
            session(),
            [ALL, NONE, "", ""],
            ImplicitDeny,
            Layer::Boundary,
        ),
        ("session-allows", SESSIONS, session(), [ALL, "", ALL, ""], Allowed, Layer::Identity),
        (
            "session-does-not-allow",
            SESSIONS,
            session(),
            [ALL, "", NONE, ""],
            ImplicitDeny,
            Layer::Session,
        ),
        (
            "session-alone-grants-nothing",
            SESSIONS,
            session(),
            ["", "", ALL, ""],
            ImplicitDeny,
            Layer::Identity,
        ),
        (
            "session-and-boundary",
            SESSIONS,
            session(),
            [ALL, ALL, ALL, ""],
            Allowed,
            Layer::Identity,
        ),
        (
            "session-within-boundary",
            SESSIONS,
            session(),
            [ALL, NONE, ALL, ""],
            ImplicitDeny,
            Layer::Boundary,
        ),
        ("resource-alone", RESOURCE, ana(), ["", "", "", &to_ana], Allowed, Layer::Resource),
        (
            "resource-names-another",
            RESOURCE,
            ana(),
            ["", "", "", &to_role],
            ImplicitDeny,
            Layer::Identity,
        ),
        ("resource-everybody", RESOURCE, ana(), ["", "", "", &to_all], Allowed, Layer::Resource),
        (
            "identity-without-resource",
            RESOURCE,
            ana(),
            [ALL, "", "", &to_role],
            Allowed,
            Layer::Identity,
        ),
        (
            "user-passes-boundary",
            USER_ARN,
            ana(),
            ["", NONE, "", &to_ana],
            Allowed,
            Layer::Resource,
        ),
        ("role-alone", ROLE_ARN, session(), ["", "", "", &to_role], Allowed, Layer::Resource),
        (
            "role-within-boundary",
            ROLE_ARN,
            session(),
            ["", ALL, "", &to_role],
            Allowed,
            Layer::Resource,
        ),
        (
            "role-stopped-by-boundary",
            ROLE_ARN,
            session(),
            ["", NONE, "", &to_role],
            ImplicitDeny,
            Layer::Boundary,
        ),
        (
            "role-stopped-by-session",
            ROLE_ARN,
            session(),
            ["", "", NONE, &to_role],
            ImplicitDeny,
            Layer::Session,
        ),
        (
            "session-passes-boundary",
            SESSION_ARN,
            session(),
            ["", NONE, "", &to_session],
            Allowed,
            Layer::Resource,
        ),
        (
            "session-passes-session",
            SESSION_ARN,
            session(),
            ["", "", NONE, &to_session],
            Allowed,
            Layer::Resource,
        ),
        (
            "account-grants-nothing",
            ACCOUNT_ARN,
            ana(),
            ["", "", "", &to_account],
            ImplicitDeny,
            Layer::Identity,
        ),
        (
            "account-and-identity",
            ACCOUNT_ARN,
            ana(),
            [ALL, "", "", &to_account],
            Allowed,
            Layer::Identity,
        ),
        ("root", ROOT, root(ACCOUNT), ["", "", "", ""], Allowed, Layer::Identity),
        (
            "root-denied",
            ROOT,
            root(ACCOUNT),
            ["", "", "", &deny_all],
            ExplicitDeny,
            Layer::Resource,
        ),
    ] {
        let decision = decide(&policies(texts), &principal, "s3:GetObject", ACCOUNT);
        assert_eq!((decision.effect, decision.layer), (effect, layer), "{name} ({rule})");
    }
}

#[test]
fn groups() {
    for (name, group, effect) in
        [("group-allows", ALL, Allowed), ("group-denies", DENY, ExplicitDeny)]
    {
        let mut found = policies([NONE, "", "", ""]);
        found.groups = vec![statements(Kind::Identity, group)];
        let decision = decide(&found, &ana(), "s3:GetObject", ACCOUNT);
        assert_eq!((decision.effect, decision.layer), (effect, Layer::Group), "{name} ({BASICS})");
    }
}

#[test]
fn across_accounts() {
    let (to_ana, to_account, to_session) = (grant(ANA), grant(ACCOUNT), grant(SESSION));
    let root_arn = grant("arn:aws:iam::111122223333:root");
    let to_all = bucket("Allow", r#""Principal":{"AWS":"*"}"#);
    for (name, rule, principal, texts, effect, layer) in [
        ("identity-only", CROSS, ana(), [ALL, "", "", ""], ImplicitDeny, Layer::Resource),
        ("resource-only", CROSS, ana(), ["", "", "", &to_ana], ImplicitDeny, Layer::Identity),
        ("both", CROSS, ana(), [ALL, "", "", &to_ana], Allowed, Layer::Identity),
        ("both-by-account", CROSS, ana(), [ALL, "", "", &to_account], Allowed, Layer::Identity),
        ("both-by-root-arn", CROSS, ana(), [ALL, "", "", &root_arn], Allowed, Layer::Identity),
        (
            "both-but-boundary",
            CROSS,
            ana(),
            [ALL, NONE, "", &to_ana],
            ImplicitDeny,
            Layer::Boundary,
        ),
        (
            "both-but-session",
            CROSS,
            session(),
            [ALL, "", NONE, &to_session],
            ImplicitDeny,
            Layer::Session,
        ),
        ("both-everybody", CROSS, ana(), [ALL, "", "", &to_all], Allowed, Layer::Identity),
        ("root-elsewhere", CROSS, root(ACCOUNT), ["", "", "", ""], ImplicitDeny, Layer::Resource),
        (
            "root-elsewhere-granted",
            CROSS,
            root(ACCOUNT),
            ["", "", "", &to_account],
            Allowed,
            Layer::Identity,
        ),
    ] {
        let decision = decide(&policies(texts), &principal, "s3:GetObject", OTHER);
        assert_eq!((decision.effect, decision.layer), (effect, layer), "{name} ({rule})");
    }
}

#[test]
fn principals() {
    let everybody = bucket("Allow", r#""Principal":"*""#);
    let to_aws = bucket("Allow", r#""Principal":{"AWS":"*"}"#);
    let to_list = bucket("Allow", &format!(r#""Principal":{{"AWS":["{ROLE}","{ANA}"]}}"#));
    let to_service = bucket("Allow", r#""Principal":{"Service":"cloudtrail.amazonaws.com"}"#);
    let both =
        bucket("Allow", &format!(r#""Principal":{{"Service":"ec2.amazonaws.com","AWS":"{ANA}"}}"#));
    let root_arn = r#""arn:aws:iam::111122223333:root""#;
    let but_ana = not_principal(&format!(r#""{ANA}",{root_arn}"#));
    let but_ana_without_account = not_principal(&format!(r#""{ANA}""#));
    let but_session = not_principal(&format!(r#""{ROLE}","{SESSION}",{root_arn}"#));
    let but_role = not_principal(&format!(r#""{ROLE}",{root_arn}"#));
    for (name, rule, principal, identity, boundary, resource, effect) in [
        ("anonymous-everybody", PRINCIPAL, Principal::Anonymous, "", "", &everybody, Allowed),
        ("anonymous-aws-star", PRINCIPAL, Principal::Anonymous, "", "", &to_aws, Allowed),
        ("anonymous-others", PRINCIPAL, Principal::Anonymous, "", "", &to_list, ImplicitDeny),
        ("one-of-a-list", PRINCIPAL, ana(), "", "", &to_list, Allowed),
        ("service", PRINCIPAL, service("cloudtrail.amazonaws.com"), "", "", &to_service, Allowed),
        (
            "other-service",
            PRINCIPAL,
            service("ec2.amazonaws.com"),
            "",
            "",
            &to_service,
            ImplicitDeny,
        ),
        ("service-is-no-user", PRINCIPAL, ana(), "", "", &to_service, ImplicitDeny),
        ("several-kinds-service", PRINCIPAL, service("ec2.amazonaws.com"), "", "", &both, Allowed),
        ("several-kinds-user", PRINCIPAL, ana(), "", "", &both, Allowed),
        ("not-principal-listed", NOT_PRINCIPAL, ana(), ALL, "", &but_ana, Allowed),
        (
            "not-principal-without-account",
            NOT_PRINCIPAL,
            ana(),
            ALL,
            "",
            &but_ana_without_account,
            ExplicitDeny,
        ),
        ("not-principal-other", NOT_PRINCIPAL, session(), ALL, "", &but_ana, ExplicitDeny),
        ("not-principal-session", NOT_PRINCIPAL, session(), ALL, "", &but_session, Allowed),
        (
            "not-principal-role-without-session",
            NOT_PRINCIPAL,
            session(),
            ALL,
            "",
            &but_role,
            ExplicitDeny,
        ),
        ("not-principal-with-boundary", NOT_PRINCIPAL, ana(), ALL, ALL, &but_ana, ExplicitDeny),
        (
            "not-principal-anonymous",
            NOT_PRINCIPAL,
            Principal::Anonymous,
            "",
            "",
            &but_ana,
            ExplicitDeny,
        ),
    ] {
        let found = policies([identity, boundary, "", resource]);
        let decision = decide(&found, &principal, "s3:GetObject", ACCOUNT);
        assert_eq!(decision.effect, effect, "{name} ({rule})");
    }
}

#[test]
fn canonical_users() {
    let id = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be";
    let text = bucket("Allow", &format!(r#""Principal":{{"CanonicalUser":"{id}"}}"#));
    let found = policies([ALL, "", "", &text]);
    for (name, canonical_user, effect) in
        [("canonical-user", Some(id), Allowed), ("canonical-user-unknown", None, ImplicitDeny)]
    {
        let request = Request {
            principal: &ana(),
            action: "s3:GetObject",
            resource: "arn:aws:s3:::b/k",
            account: OTHER,
            canonical_user,
            context: &Context::new(),
        };
        assert_eq!(evaluate(&found, &request).effect, effect, "{name} ({PRINCIPAL})");
    }
}

#[test]
fn trust() {
    let trusts = |principal: &str| {
        let text =
            format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}"#);
        statements(Kind::Trust, &text)
    };
    let to_account = r#"{"AWS":"111122223333"}"#;
    let to_ana = &format!(r#"{{"AWS":"{ANA}"}}"#);
    let to_session = &format!(r#"{{"AWS":"{SESSION}"}}"#);
    let to_ec2 = r#"{"Service":"ec2.amazonaws.com"}"#;
    let provider = "arn:aws:iam::111122223333:oidc-provider/example.com";
    let to_provider = &format!(r#"{{"Federated":"{provider}"}}"#);
    let federated = Principal::Federated { provider: provider.into() };
    for (name, principal, identity, trust, account, effect, layer) in [
        ("trusted-user", ana(), "", to_ana.as_str(), ACCOUNT, Allowed, Layer::Trust),
        ("trusted-account", ana(), ALL, to_account, ACCOUNT, Allowed, Layer::Identity),
        (
            "trusted-account-without-permission",
            ana(),
            "",
            to_account,
            ACCOUNT,
            ImplicitDeny,
            Layer::Identity,
        ),
        ("untrusted-with-permission", ana(), ALL, to_ec2, ACCOUNT, ImplicitDeny, Layer::Trust),
        (
            "trusted-service",
            service("ec2.amazonaws.com"),
            "",
            to_ec2,
            ACCOUNT,
            Allowed,
            Layer::Trust,
        ),
        (
            "untrusted-service",
            service("lambda.amazonaws.com"),
            "",
            to_ec2,
            ACCOUNT,
            ImplicitDeny,
            Layer::Trust,
        ),
        ("role-chaining", session(), "", to_session, ACCOUNT, Allowed, Layer::Trust),
        ("trusted-provider", federated.clone(), "", to_provider, ACCOUNT, Allowed, Layer::Trust),
        ("untrusted-provider", federated.clone(), "", to_ec2, ACCOUNT, ImplicitDeny, Layer::Trust),
        ("other-account-both", ana(), ALL, to_ana, OTHER, Allowed, Layer::Identity),
        ("other-account-trust-only", ana(), "", to_ana, OTHER, ImplicitDeny, Layer::Identity),
    ] {
        let mut found = policies([identity, "", "", ""]);
        found.resource = Some(trusts(trust));
        let decision = decide(&found, &principal, "sts:AssumeRole", account);
        assert_eq!((decision.effect, decision.layer), (effect, layer), "{name} ({TRUST})");
    }
}

#[test]
fn messages() {
    let to_all = bucket("Deny", r#""Principal":"*""#);
    let to_none = bucket("Allow", r#""Principal":{"Service":"ec2.amazonaws.com"}"#);
    let texts: [(&str, [&str; 4], &str, &str); 8] = [
        (
            "identity",
            ["", "", "", ""],
            ACCOUNT,
            "because no identity-based policy allows the s3:GetObject action",
        ),
        (
            "boundary",
            [ALL, NONE, "", ""],
            ACCOUNT,
            "because no permissions boundary allows the s3:GetObject action",
        ),
        (
            "session",
            [ALL, "", NONE, ""],
            ACCOUNT,
            "because no session policy allows the s3:GetObject action",
        ),
        (
            "resource",
            [ALL, "", "", &to_none],
            OTHER,
            "because no resource-based policy allows the s3:GetObject action",
        ),
        (
            "identity-deny",
            [DENY, "", "", ""],
            ACCOUNT,
            "with an explicit deny in an identity-based policy",
        ),
        (
            "boundary-deny",
            [ALL, DENY, "", ""],
            ACCOUNT,
            "with an explicit deny in a permissions boundary",
        ),
        ("session-deny", [ALL, "", DENY, ""], ACCOUNT, "with an explicit deny in a session policy"),
        (
            "resource-deny",
            [ALL, "", "", &to_all],
            ACCOUNT,
            "with an explicit deny in a resource-based policy",
        ),
    ];
    for (name, texts, account, why) in texts {
        let decision = decide(&policies(texts), &session(), "s3:GetObject", account);
        assert_eq!(
            decision.message(SESSION, "s3:GetObject", "arn:aws:s3:::b/k"),
            format!(
                "User: {SESSION} is not authorized to perform: s3:GetObject on resource: \
                 arn:aws:s3:::b/k {why}"
            ),
            "{name}"
        );
    }
}

#[test]
fn the_statement_that_decided_is_named() {
    let text =
        format!("{NONE},{}", r#"{"Sid":"Second","Effect":"Allow","Action":"*","Resource":"*"}"#);
    let policy = Policy::new("named", statements(Kind::Identity, &text).document);
    let found = Policies { identity: vec![policy], ..Policies::default() };
    let by = decide(&found, &ana(), "s3:GetObject", ACCOUNT).by.unwrap();
    assert_eq!((&*by.policy, by.statement, by.sid.as_deref()), ("named", 1, Some("Second")));
}

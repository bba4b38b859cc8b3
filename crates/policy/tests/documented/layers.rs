//! "Policy evaluation logic", "Permissions boundaries for IAM entities", "Session policies",
//! "Cross-account policy evaluation logic", "IAM JSON policy elements: Principal" and "NotPrincipal".

use crate::{ACCOUNT, ANA, cases, statements};
use policy::{
    Context, Decision, Effect, Kind, Layer, Policies, Policy, Principal, Request, evaluate,
};
use serde_json::{Map, Value, json};

const OTHER: &str = "444455556666";
const ROOT: &str = "arn:aws:iam::111122223333:root";
const ROLE: &str = "arn:aws:iam::111122223333:role/app";
const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/app/i-1";
const PROVIDER: &str = "arn:aws:iam::111122223333:oidc-provider/example.com";

fn principal(who: &str) -> Principal {
    match who {
        "user" => Principal::User { arn: ANA.into() },
        "session" => Principal::Role { role: ROLE.into(), session: SESSION.into() },
        "root" => Principal::Root { account: ACCOUNT.into() },
        "provider" => Principal::Federated { provider: PROVIDER.into() },
        "anonymous" => Principal::Anonymous,
        service => Principal::Service { name: service.into() },
    }
}

/// `all`, `none` (of what is asked), `deny`, or no policy.
fn own(kind: Kind, word: &str) -> Option<Policy> {
    let (effect, action) = match word {
        "" => return None,
        "all" => ("Allow", "*"),
        "none" => ("Allow", "x:Nothing"),
        "deny" => ("Deny", "*"),
        _ => panic!("{word} is no policy"),
    };
    let statement = json!({"Effect": effect, "Action": action, "Resource": "*"});
    Some(statements(kind, &statement.to_string()))
}

/// `allow NAMES`, `deny NAMES`, `deny not NAMES`, `trust NAMES`, or no policy.
fn of_resource(text: &str) -> Option<Policy> {
    let (word, names) = text.split_once(' ')?;
    let (element, names) = match names.strip_prefix("not ") {
        Some(names) => ("NotPrincipal", names),
        None => ("Principal", names),
    };
    let mut kinds = Map::new();
    for name in names.split(',') {
        let (kind, name) = match name {
            "aws:*" => ("AWS", "*"),
            "user" => ("AWS", ANA),
            "role" => ("AWS", ROLE),
            "session" => ("AWS", SESSION),
            "account" => ("AWS", ACCOUNT),
            "root" => ("AWS", ROOT),
            "provider" => ("Federated", PROVIDER),
            service => ("Service", service),
        };
        let list = kinds.entry(kind).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(json!(name));
    }
    let principal = if names == "*" { json!("*") } else { Value::Object(kinds) };
    let effect = if word == "deny" { "Deny" } else { "Allow" };
    let (kind, mut statement) = match word {
        "trust" => (Kind::Trust, json!({"Effect": effect, "Action": "sts:AssumeRole"})),
        _ => (Kind::Resource, json!({"Effect": effect, "Action": "s3:*", "Resource": "*"})),
    };
    statement[element] = principal;
    Some(statements(kind, &statement.to_string()))
}

fn policies([identity, boundary, session, resource]: [&str; 4]) -> Policies {
    Policies {
        identity: own(Kind::Identity, identity).into_iter().collect(),
        groups: Vec::new(),
        boundary: own(Kind::Boundary, boundary),
        session: own(Kind::Session, session).into_iter().collect(),
        resource: of_resource(resource),
        endpoint: None,
    }
}

fn decide(policies: &Policies, who: &str, account: &str) -> Decision {
    let trust = policies.resource.as_ref().is_some_and(|it| it.document.kind() == Kind::Trust);
    let (action, resource) =
        if trust { ("sts:AssumeRole", ROLE) } else { ("s3:GetObject", "arn:aws:s3:::b/k") };
    let request = Request {
        principal: &principal(who),
        action,
        resource,
        account: if account == "other" { OTHER } else { ACCOUNT },
        canonical_user: None,
        context: &Context::new(),
    };
    evaluate(policies, &request)
}

#[test]
fn all() {
    for (rule, row) in cases(include_str!("layers.txt")) {
        let [name, who, account, identity, boundary, session, resource, effect, layer] = row;
        let found = decide(&policies([identity, boundary, session, resource]), who, account);
        let found = (found.effect.as_str(), format!("{:?}", found.layer));
        assert_eq!(found, (effect, layer.to_owned()), "{name} ({rule})");
    }
}

#[test]
fn groups() {
    for (word, effect) in [("all", Effect::Allowed), ("deny", Effect::ExplicitDeny)] {
        let mut found = policies(["none", "", "", ""]);
        found.groups = own(Kind::Identity, word).into_iter().collect();
        let decision = decide(&found, "user", "own");
        assert_eq!((decision.effect, decision.layer), (effect, Layer::Group));
    }
}

#[test]
fn canonical_users() {
    let id = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be";
    let statement = json!({
        "Effect": "Allow", "Principal": {"CanonicalUser": id}, "Action": "s3:*", "Resource": "*",
    });
    let mut found = policies(["all", "", "", ""]);
    found.resource = Some(statements(Kind::Resource, &statement.to_string()));
    for (canonical_user, effect) in [(Some(id), Effect::Allowed), (None, Effect::ImplicitDeny)] {
        let request = Request {
            principal: &principal("user"),
            action: "s3:GetObject",
            resource: "arn:aws:s3:::b/k",
            account: OTHER,
            canonical_user,
            context: &Context::new(),
        };
        assert_eq!(evaluate(&found, &request).effect, effect);
    }
}

/// "Troubleshoot access denied error messages".
#[test]
fn messages() {
    const NO: &str = "allows the s3:GetObject action";
    for (texts, account, why) in [
        (["", "", "", ""], "own", format!("because no identity-based policy {NO}")),
        (["all", "none", "", ""], "own", format!("because no permissions boundary {NO}")),
        (["all", "", "none", ""], "own", format!("because no session policy {NO}")),
        (["all", "", "", "allow role"], "other", format!("because no resource-based policy {NO}")),
        (["deny", "", "", ""], "own", "with an explicit deny in an identity-based policy".into()),
        (["all", "deny", "", ""], "own", "with an explicit deny in a permissions boundary".into()),
        (["all", "", "deny", ""], "own", "with an explicit deny in a session policy".into()),
        (
            ["all", "", "", "deny *"],
            "own",
            "with an explicit deny in a resource-based policy".into(),
        ),
    ] {
        let decision = decide(&policies(texts), "user", account);
        let message = decision.message(ANA, "s3:GetObject", "arn:aws:s3:::b/k");
        let who = format!("User: {ANA} is not authorized to perform: s3:GetObject");
        assert_eq!(message, format!("{who} on resource: arn:aws:s3:::b/k {why}"));
    }
    let untrusted = decide(&policies(["all", "", "", "trust role"]), "user", "own");
    assert_eq!(
        untrusted.message(ANA, "sts:AssumeRole", "*"),
        format!(
            "User: {ANA} is not authorized to perform: sts:AssumeRole because no role trust policy \
             allows the sts:AssumeRole action"
        )
    );
}

/// "Control access to VPC endpoints using endpoint policies".
#[test]
fn endpoints() {
    let no = Effect::ImplicitDeny;
    for (who, identity, resource, endpoint, effect, layer) in [
        ("user", "all", "", "allow *", Effect::Allowed, Layer::Identity),
        ("user", "all", "", "allow user", Effect::Allowed, Layer::Identity),
        ("user", "all", "", "allow account", Effect::Allowed, Layer::Identity),
        ("user", "all", "", "allow role", no, Layer::Endpoint),
        ("user", "all", "allow user", "allow role", no, Layer::Endpoint),
        ("user", "all", "", "deny *", Effect::ExplicitDeny, Layer::Endpoint),
        // It gives nothing.
        ("user", "", "", "allow user", no, Layer::Identity),
        ("root", "", "", "allow *", Effect::Allowed, Layer::Identity),
        ("root", "", "", "allow role", no, Layer::Endpoint),
        ("anonymous", "", "allow *", "allow role", no, Layer::Endpoint),
    ] {
        let mut found = policies([identity, "", "", resource]);
        found.endpoint = of_resource(endpoint);
        let decision = decide(&found, who, "own");
        let case = format!("{who} {identity} {resource} {endpoint}");
        assert_eq!((decision.effect, decision.layer), (effect, layer), "{case}");
    }
    let mut found = policies(["all", "", "", ""]);
    found.endpoint = of_resource("allow role");
    let message = decide(&found, "user", "own").message(ANA, "s3:GetObject", "*");
    assert!(message.ends_with("because no VPC endpoint policy allows the s3:GetObject action"));
}

#[test]
fn the_statement_that_decided_is_named() {
    let text = r#"{"Effect":"Allow","Action":"x:y","Resource":"*"},{"Sid":"Second","Effect":"Allow","Action":"*","Resource":"*"}"#;
    let policy = Policy::new("named", statements(Kind::Identity, text).document);
    let found = Policies { identity: vec![policy], ..Policies::default() };
    let by = decide(&found, "user", "own").by.unwrap();
    assert_eq!((&*by.policy, by.statement, by.sid.as_deref()), ("named", 1, Some("Second")));
}

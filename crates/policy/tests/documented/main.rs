//! What AWS documents of IAM policies, case by case: each with a short name and the rule that it
//! shows, in the words of the page that has it. The pages are those of the IAM User Guide.

mod conditions;
mod elements;
mod grammar;
mod layers;
mod managed;
mod simulation;
mod variables;

use policy::{Context, Decision, Document, Kind, Policies, Policy, Principal, Request, evaluate};

const ACCOUNT: &str = "111122223333";
const ANA: &str = "arn:aws:iam::111122223333:user/ana";

fn compile(kind: Kind, text: &str) -> Policy {
    let document = Document::parse(text, kind).unwrap_or_else(|error| panic!("{error}: {text}"));
    Policy::new("policy", document)
}

/// A policy of one or more statements, given without their frame.
fn statements(kind: Kind, statements: &str) -> Policy {
    compile(kind, &format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#))
}

/// The rows of a table, each with the rule that it stands under: `# RULE`, and `name | … | …`. The
/// first line names the columns.
fn cases<const N: usize>(table: &'static str) -> Vec<(&'static str, [&'static str; N])> {
    let (mut rule, mut cases) = ("", Vec::new());
    for line in table.lines().skip(1).filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(text) => rule = text,
            None => {
                let columns: Vec<&str> = line.split('|').map(str::trim).collect();
                cases.push((rule, columns.try_into().expect(line)));
            }
        }
    }
    cases
}

/// From `KEY=VALUE,VALUE; KEY=VALUE; …`. A key without `=` has no values.
fn context(text: &str) -> Context {
    let keys = text.split("; ").filter(|key| !key.is_empty());
    keys.fold(Context::new(), |context, key| match key.split_once('=') {
        Some((key, values)) => {
            context.with_all(key, values.split(',').map(str::to_owned).collect())
        }
        None => context.with_all(key, Vec::new()),
    })
}

/// What an identity policy decides about a user of its account.
fn decide(policy: Policy, action: &str, resource: &str, context: &Context) -> Decision {
    let principal = Principal::User { arn: ANA.into() };
    let policies = Policies { identity: vec![policy], ..Policies::default() };
    let request = Request {
        principal: &principal,
        action,
        resource,
        account: ACCOUNT,
        canonical_user: None,
        context,
    };
    evaluate(&policies, &request)
}

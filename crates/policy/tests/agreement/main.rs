//! The evaluation agrees with a second, naive one, on random policies and requests.

mod naive;
mod random;

use std::cell::RefCell;
use std::collections::BTreeMap;

use policy::{Context, Decision, Document, Kind, Policies, Policy, Request, evaluate};
use proptest::prelude::{ProptestConfig, any};
use proptest::test_runner::TestRunner;
use serde_json::Value;

const CASES: u32 = 12_000;

/// All that a decision depends on, as data.
#[derive(Debug, Clone)]
pub struct Situation {
    principal: policy::Principal,
    action: &'static str,
    resource: &'static str,
    account: &'static str,
    context: Vec<(&'static str, Vec<&'static str>)>,
    identity: Vec<Value>,
    groups: Vec<Value>,
    boundary: Option<Value>,
    session: Vec<Value>,
    resource_policy: Option<Value>,
    trust: bool,
}

#[test]
fn both_decide_alike() {
    let decisions: RefCell<BTreeMap<String, u32>> = RefCell::default();
    // A seed tells all, and a smaller one is not simpler.
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let run = TestRunner::new(config).run(&any::<u64>(), |seed| {
        let situation = random::situation(seed);
        let found = decide(&situation);
        let found = format!("{:?} by {:?}", found.effect, found.layer);
        assert_eq!(found, naive::decide(&situation), "{seed}: {situation:#?}");
        *decisions.borrow_mut().entry(found).or_default() += 1;
        Ok(())
    });
    run.unwrap();
    let decisions = decisions.into_inner();
    println!("{decisions:#?}");
    for effect in ["Allowed", "ExplicitDeny", "ImplicitDeny"] {
        let of_effect = decisions.iter().filter(|(name, _)| name.starts_with(effect));
        let count: u32 = of_effect.map(|(_, count)| count).sum();
        assert!(count > CASES / 20, "too few are {effect}: {decisions:#?}");
    }
}

fn decide(situation: &Situation) -> Decision {
    let compile = |kind| {
        move |json: &Value| {
            let text = json.to_string();
            let document = Document::parse(&text, kind);
            Policy::new("", document.unwrap_or_else(|error| panic!("{error}: {text}")))
        }
    };
    let resource = if situation.trust { Kind::Trust } else { Kind::Resource };
    let policies = Policies {
        identity: situation.identity.iter().map(compile(Kind::Identity)).collect(),
        groups: situation.groups.iter().map(compile(Kind::Identity)).collect(),
        boundary: situation.boundary.as_ref().map(compile(Kind::Boundary)),
        session: situation.session.iter().map(compile(Kind::Session)).collect(),
        resource: situation.resource_policy.as_ref().map(compile(resource)),
        endpoint: None,
    };
    let mut context = Context::new();
    for (key, values) in &situation.context {
        context.set_all(key, values.iter().map(|value| value.to_string()).collect());
    }
    let request = Request {
        principal: &situation.principal,
        action: situation.action,
        resource: situation.resource,
        account: situation.account,
        canonical_user: None,
        context: &context,
    };
    evaluate(&policies, &request)
}

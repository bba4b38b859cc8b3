//! What a decision came from, for SimulatePrincipalPolicy, SimulateCustomPolicy and
//! GetContextKeysFor….

use crate::context::Key;
use crate::document::Document;
use crate::evaluate::{Ask, Decision, Effect, Layer, Match, Policies, Request, evaluate};

#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    pub decision: Decision,
    /// All statements that allowed, or, in an explicit deny, all that denied.
    pub matched: Vec<Match>,
    /// Condition keys that statements about the action look at and the request lacks.
    pub missing: Vec<String>,
    /// `None` if there is no boundary.
    pub allowed_by_boundary: Option<bool>,
}

impl Effect {
    /// As `EvalDecision` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Allowed => "allowed",
            Effect::ExplicitDeny => "explicitDeny",
            Effect::ImplicitDeny => "implicitDeny",
        }
    }
}

pub fn simulate(policies: &Policies, request: &Request) -> Simulation {
    let ask = Ask::new(policies, request);
    let decision = evaluate(policies, request);
    let allows = ask.matches(true);
    let denies = ask.matches(false);
    let boundary = |found: &Match| found.layer == Layer::Boundary;
    let allowed_by_boundary = policies
        .boundary
        .as_ref()
        .map(|_| allows.iter().any(boundary) && !denies.iter().any(boundary));
    let matched = match decision.effect {
        Effect::Allowed => {
            let limits = [Layer::Boundary, Layer::Session];
            allows.into_iter().filter(|found| !limits.contains(&found.layer)).collect()
        }
        Effect::ExplicitDeny => denies,
        Effect::ImplicitDeny => Vec::new(),
    };
    let keys = ask.about().flat_map(|statement| statement.keys());
    let missing = names(keys.filter(|key| request.context.of(key).is_none()));
    Simulation { decision, matched, missing, allowed_by_boundary }
}

/// The condition keys that a policy looks at, variables included.
pub fn context_keys(document: &Document) -> Vec<String> {
    names(document.statements.iter().flat_map(|statement| statement.keys()))
}

/// Each once, in whatever case it comes first.
fn names<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<String> {
    let mut known: Vec<&Key> = Vec::new();
    for key in keys {
        if !known.contains(&key) {
            known.push(key);
        }
    }
    known.into_iter().map(|key| key.name.clone()).collect()
}

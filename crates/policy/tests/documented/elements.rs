//! "IAM JSON policy elements": Effect, Action, NotAction, Resource, NotResource.

use crate::{cases, decide, statements};
use policy::{Context, Kind};

#[test]
fn all() {
    for (rule, [name, text, action, resource, effect]) in cases(include_str!("elements.txt")) {
        let decision = decide(statements(Kind::Identity, text), action, resource, &Context::new());
        assert_eq!(decision.effect.as_str(), effect, "{name} ({rule})");
    }
}

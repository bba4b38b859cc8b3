//! "Condition operators", "Conditions with multiple context keys or values", "Single-valued vs.
//! multivalued context keys".

use crate::{cases, context, decide, statements};
use policy::Kind;

#[test]
fn all() {
    for (rule, [name, condition, keys, holds]) in cases(include_str!("conditions.txt")) {
        let statement = format!(
            r#"{{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{{{condition}}}}}"#
        );
        let policy = statements(Kind::Identity, &statement);
        let decision = decide(policy, "s3:ListBucket", "arn:aws:s3:::b", &context(keys));
        assert_eq!(decision.is_allowed(), holds == "yes", "{name} ({rule})");
    }
}

//! The evaluation once more, without thought of speed: straight from JSON, by recursion, by the
//! letter of the documentation. Shares nothing with the crate but the names of principals.

use std::collections::BTreeSet;
use std::net::IpAddr;

use policy::Principal;
use serde_json::Value;

use crate::Situation;

/// As `EFFECT by LAYER`.
pub fn decide(it: &Situation) -> String {
    let boundary: Vec<Value> = it.boundary.iter().cloned().collect();
    let mut layers = vec![
        ("Identity", &it.identity),
        ("Boundary", &boundary),
        ("Session", &it.session),
        ("Group", &it.groups),
    ];
    layers.retain(|(_, policies)| !policies.is_empty());
    for (name, policies) in &layers {
        if policies.iter().any(|policy| has(policy, "Deny", it, |_| true)) {
            return format!("ExplicitDeny by {name}");
        }
    }
    let of_resource = if it.trust { "Trust" } else { "Resource" };
    let names = |statement: &Value| who(statement, it).is_some();
    if it.resource_policy.iter().any(|policy| has(policy, "Deny", it, names)) {
        return format!("ExplicitDeny by {of_resource}");
    }
    let allows = |name: &str| {
        let mut found = layers.iter().filter(|(layer, _)| *layer == name);
        found.any(|(_, policies)| policies.iter().any(|policy| has(policy, "Allow", it, |_| true)))
    };
    let limited = |name: &str| layers.iter().any(|(layer, _)| *layer == name) && !allows(name);
    let granted = |how: &[&str]| {
        let named = |statement: &Value| who(statement, it).is_some_and(|who| how.contains(&who));
        it.resource_policy.iter().any(|policy| has(policy, "Allow", it, named))
    };
    let any_grant = granted(&["account", "itself", "session"]);
    let own_account = match &it.principal {
        Principal::Service { .. } | Principal::Anonymous | Principal::Federated { .. } => {
            return if any_grant {
                format!("Allowed by {of_resource}")
            } else {
                format!("ImplicitDeny by {of_resource}")
            };
        }
        _ => it.account == "111122223333",
    };
    if (it.trust || !own_account) && !any_grant {
        return format!("ImplicitDeny by {of_resource}");
    }
    let by_resource = own_account && granted(&["itself", "session"]);
    let is_user = matches!(it.principal, Principal::User { .. });
    if own_account && (granted(&["session"]) || is_user && by_resource) {
        return format!("Allowed by {of_resource}");
    }
    let root = matches!(it.principal, Principal::Root { .. });
    let by = match (by_resource, allows("Identity"), allows("Group")) {
        (true, ..) => of_resource,
        (_, true, _) => "Identity",
        (_, _, true) => "Group",
        _ if root => "Identity",
        _ => return "ImplicitDeny by Identity".into(),
    };
    for name in ["Boundary", "Session"] {
        if limited(name) {
            return format!("ImplicitDeny by {name}");
        }
    }
    format!("Allowed by {by}")
}

/// Whether a statement of that effect applies.
fn has(policy: &Value, effect: &str, it: &Situation, about: impl Fn(&Value) -> bool) -> bool {
    let statements = policy["Statement"].as_array().unwrap();
    statements.iter().any(|statement| {
        statement["Effect"] == effect && applies(statement, it) && about(statement)
    })
}

fn applies(statement: &Value, it: &Situation) -> bool {
    let lower = it.action.to_lowercase();
    let action =
        |pattern: &str| glob(&literal_stars(&pattern.to_lowercase()), &chars(&lower), true);
    let resource = |pattern: &str| {
        expand(pattern, it).is_some_and(|pattern| glob(&pattern, &chars(it.resource), false))
    };
    element(statement, "Action", action)
        && element(statement, "Resource", resource)
        && statement["Condition"].as_object().is_none_or(|operators| {
            operators.iter().all(|(operator, keys)| {
                let mut keys = keys.as_object().unwrap().iter();
                keys.all(|(key, values)| condition(operator, key, &many(values), it))
            })
        })
}

fn element(statement: &Value, name: &str, matches: impl Fn(&str) -> bool) -> bool {
    if !statement[name].is_null() {
        many(&statement[name]).iter().any(|pattern| matches(pattern))
    } else if !statement[format!("Not{name}")].is_null() {
        !many(&statement[format!("Not{name}")]).iter().any(|pattern| matches(pattern))
    } else {
        true
    }
}

fn many(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        _ => value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect(),
    }
}

/// How a statement of a resource's policy names the principal: its account, itself, its session.
fn who(statement: &Value, it: &Situation) -> Option<&'static str> {
    let account = "arn:aws:iam::111122223333:root";
    let (mine, session): (Vec<&str>, Option<&str>) = match &it.principal {
        Principal::Root { .. } => (vec![account], None),
        Principal::User { arn } => (vec![account, arn], None),
        Principal::Role { role, session } => (vec![account, role], Some(session)),
        Principal::Service { name } => (vec![name], None),
        Principal::Federated { .. } | Principal::Anonymous => (vec![], None),
    };
    let negated = statement["Principal"].is_null();
    let list = &statement[if negated { "NotPrincipal" } else { "Principal" }];
    let everybody = list == "*";
    let mut named = BTreeSet::new();
    for kind in ["AWS", "Service"] {
        for name in if list[kind].is_null() { vec![] } else { many(&list[kind]) } {
            let is_account = name.len() == 12 && !name.contains(':');
            named.insert(if is_account { format!("arn:aws:iam::{name}:root") } else { name });
        }
    }
    let is_named = |arn: &str| named.contains(arn);
    if negated {
        let all = mine.iter().copied().chain(session);
        let known = everybody || !mine.is_empty() && all.into_iter().all(is_named);
        return (!known || it.boundary.is_some()).then_some("itself");
    }
    let myself = mine.last().is_some_and(|arn| is_named(arn));
    if everybody {
        Some("itself")
    } else if session.is_some_and(is_named) {
        Some("session")
    } else if myself {
        Some("itself")
    } else {
        mine.first().is_some_and(|arn| is_named(arn)).then_some("account")
    }
}

/// A character of a pattern; whether a star or question mark is one.
type Char = (char, bool);

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

fn literal_stars(text: &str) -> Vec<Char> {
    text.chars().map(|c| (c, true)).collect()
}

fn value_of<'a>(it: &'a Situation, key: &str) -> Option<&'a Vec<&'static str>> {
    let mut found = it.context.iter();
    found.find(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, values)| values)
}

/// Puts values in the places of variables.
fn expand(text: &str, it: &Situation) -> Option<Vec<Char>> {
    let Some(start) = text.find("${") else { return Some(literal_stars(text)) };
    let end = start + text[start..].find('}').unwrap();
    let inside = &text[start + 2..end];
    let (key, default) = match inside.split_once(", ") {
        Some((key, default)) => (key, Some(default.trim_matches('\''))),
        None => (inside, None),
    };
    let value = match value_of(it, key) {
        _ if key == "*" => Some("*"),
        Some(values) if values.len() == 1 => Some(values[0]),
        _ => default,
    }?;
    let mut expanded = literal_stars(&text[..start]);
    expanded.extend(value.chars().map(|c| (c, false)));
    expanded.extend(expand(&text[end + 1..], it)?);
    Some(expanded)
}

/// `free`: a star may stand for colons wherever it is. Otherwise at the end of one of the first five
/// segments, as the pattern is written, or in the sixth.
fn glob(pattern: &[Char], text: &[char], free: bool) -> bool {
    fn rest(pattern: &[Char], text: &[char], colons: usize, free: bool) -> bool {
        let Some(((first, special), after)) = pattern.split_first() else { return text.is_empty() };
        let sixth = free || colons >= 5;
        match first {
            '*' if *special => {
                let last = after.first().is_none_or(|next| *next == (':', true));
                rest(after, text, colons, free)
                    || text.split_first().is_some_and(|(c, text)| {
                        (sixth || last || *c != ':') && rest(pattern, text, colons, free)
                    })
            }
            '?' if *special => text
                .split_first()
                .is_some_and(|(c, text)| (sixth || *c != ':') && rest(after, text, colons, free)),
            c => text.split_first().is_some_and(|(found, text)| {
                let colons = colons + usize::from(*c == ':' && *special);
                c == found && rest(after, text, colons, free)
            }),
        }
    }
    rest(pattern, text, 0, free)
}

fn condition(operator: &str, key: &str, wanted: &[String], it: &Situation) -> bool {
    let found = value_of(it, key);
    if operator == "Null" {
        let missing = found.is_none_or(|values| values.is_empty());
        return wanted.iter().any(|value| (value == "true") == missing);
    }
    let all = operator.starts_with("ForAllValues:");
    let any = operator.starts_with("ForAnyValue:");
    let if_exists = operator.ends_with("IfExists");
    let base = operator.trim_start_matches("ForAllValues:").trim_start_matches("ForAnyValue:");
    let base = base.trim_end_matches("IfExists");
    let negated = base.contains("Not");
    let positive = base.replace("Not", "");
    let one = |value: &&str| {
        let matched = wanted.iter().any(|wanted| compare(&positive, value, wanted, it));
        if negated { !matched } else { matched }
    };
    let Some(values) = found else {
        return if any { if_exists } else { all || if_exists || negated };
    };
    if all {
        values.iter().filter(|value| !value.is_empty()).all(one)
    } else if any {
        values.iter().any(one)
    } else if values.is_empty() {
        if_exists || negated
    } else if negated {
        values.iter().all(one)
    } else {
        values.iter().any(one)
    }
}

fn compare(operator: &str, found: &str, wanted: &str, it: &Situation) -> bool {
    let order = match operator {
        "StringEquals" => return exact(wanted, it) == Some(found.to_owned()),
        "StringEqualsIgnoreCase" => {
            return exact(wanted, it)
                .is_some_and(|wanted| wanted.to_lowercase() == found.to_lowercase());
        }
        "StringLike" => {
            return expand(wanted, it).is_some_and(|wanted| glob(&wanted, &chars(found), true));
        }
        "ArnEquals" | "ArnLike" => return arn(found, wanted, it),
        "IpAddress" => return inside(found, wanted),
        "Bool" => {
            let known = ["true", "false"].contains(&found.to_lowercase().as_str());
            return known && found.to_lowercase() == wanted.to_lowercase();
        }
        "BinaryEquals" => return found == wanted,
        _ if operator.starts_with("Numeric") => number(found).partial_cmp(&number(wanted)),
        _ => instant(found).and_then(|found| found.partial_cmp(&instant(wanted).unwrap())),
    };
    let Some(order) = order else { return false };
    match operator.trim_start_matches("Numeric").trim_start_matches("Date") {
        "Equals" => order.is_eq(),
        "LessThan" => order.is_lt(),
        "LessThanEquals" => order.is_le(),
        "GreaterThan" => order.is_gt(),
        _ => order.is_ge(),
    }
}

/// The text with its variables' values; wildcards are characters.
fn exact(text: &str, it: &Situation) -> Option<String> {
    Some(expand(text, it)?.into_iter().map(|(c, _)| c).collect())
}

fn arn(found: &str, wanted: &str, it: &Situation) -> bool {
    let Some(wanted) = expand(wanted, it) else { return false };
    // Only colons of the text, not of values, part a pattern.
    let mut components: Vec<Vec<Char>> = vec![Vec::new()];
    for c in wanted {
        if c == (':', true) && components.len() < 6 {
            components.push(Vec::new());
        } else {
            components.last_mut().unwrap().push(c);
        }
    }
    let found: Vec<&str> = found.splitn(6, ':').collect();
    components.len() == 6
        && found.len() == 6
        && (0..6).all(|n| glob(&components[n], &chars(found[n]), true))
}

/// Not a number: compares with nothing.
fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

/// Of the few texts that are times, here.
fn instant(text: &str) -> Option<f64> {
    match text {
        "2020-01-01T00:00:00Z" | "2019-12-31T23:00:00-01:00" => Some(1_577_836_800.0),
        "2019" => Some(1_546_300_800.0),
        "203.0.113.9" | "9.5" | "" => None,
        _ => text.parse().ok(),
    }
}

fn inside(found: &str, network: &str) -> bool {
    let bits = |text: &str| -> Option<String> {
        Some(match text.parse().ok()? {
            IpAddr::V4(ip) => ip.octets().iter().map(|octet| format!("{octet:08b}")).collect(),
            IpAddr::V6(ip) => ip.octets().iter().map(|octet| format!("{octet:08b}")).collect(),
        })
    };
    let (network, prefix) = network.split_once('/').unwrap_or((network, "128"));
    let (Some(found), Some(network)) = (bits(found), bits(network)) else { return false };
    let prefix: usize = prefix.parse().unwrap();
    found.len() == network.len()
        && found.chars().zip(network.chars()).take(prefix).all(|(a, b)| a == b)
}

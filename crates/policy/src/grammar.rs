//! Reads a policy: the grammar of the policy language, and what IAM says of a text that breaks it.
//!
//! Policies of identities, boundaries and sessions are refused in the words of IAM's parser, in the
//! order in which it looks: syntax, version, what it calls legacy parsing, and then each rule.
//! Policies that name principals are refused in those of S3 and of UpdateAssumeRolePolicy, which
//! name the field.

use std::collections::HashSet;

use crate::condition::{Condition, Ill};
use crate::document::{Document, Error, Kind, Patterns, Position, Statement};
use crate::json::{self, Json};
use crate::pattern::{Pattern, Wildcards};
use crate::principal::Principals;
use crate::value::components;

const IAM_PATHS: [&str; 13] = [
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
];

pub(crate) fn parse(text: &str, kind: Kind) -> Result<Document, Error> {
    let grammar = Grammar { kind };
    let json = serde_json::from_str(text).map_err(|_| grammar.not_json())?;
    let Json::Object(members) = json else { return Err(grammar.not_json()) };
    let (mut version, mut list) = ("2008-10-17", None);
    for (name, value) in &members {
        match (name.as_str(), value) {
            ("Version", Json::Text(text)) => version = text,
            ("Id", Json::Text(_)) => {}
            ("Statement", Json::Object(_)) => list = Some(std::slice::from_ref(value)),
            ("Statement", Json::List(items)) => list = Some(items.as_slice()),
            _ => return Err(grammar.syntax(format!("Unknown field {name}"))),
        }
    }
    let variables = match version {
        "2012-10-17" => true,
        "2008-10-17" => false,
        _ => return Err(grammar.syntax(format!("Unknown version {version}"))),
    };
    let list = list.ok_or_else(|| grammar.syntax("Missing required field Statement"))?;
    if list.is_empty() {
        return Err(grammar.syntax("Could not parse the policy: Statement is empty!"));
    }
    let raw: Vec<Raw> =
        list.iter().map(|json| grammar.raw(json, variables)).collect::<Result<_, _>>()?;
    grammar.check(&raw, variables)?;
    let places = json::statements(text);
    assert_eq!(raw.len(), places.len(), "each statement stands somewhere");
    let statements = raw.into_iter().zip(places).map(|(raw, place)| {
        let start = position(text, place.start + 1);
        grammar.compile(raw, variables, start, position(text, place.end))
    });
    Ok(Document { kind, statements: statements.collect::<Result<_, _>>()? })
}

/// A statement whose elements have the right form, before its rules are looked at.
#[derive(Default)]
struct Raw<'a> {
    sid: Option<&'a str>,
    effect: Option<&'a str>,
    principals: Option<Principals>,
    actions: Option<(bool, Vec<String>)>,
    resources: Option<(bool, Vec<String>)>,
    conditions: Vec<Condition>,
    ill_date: bool,
}

struct Grammar {
    kind: Kind,
}

impl Grammar {
    /// IAM says no more of a policy of its own than that.
    fn syntax(&self, detail: impl Into<String>) -> Error {
        if self.kind.names_principals() {
            Error(detail.into())
        } else {
            Error("Syntax errors in policy.".into())
        }
    }

    fn not_json(&self) -> Error {
        match self.kind {
            Kind::Resource => {
                Error("Policies must be valid JSON and the first byte must be '{'".into())
            }
            _ => self.syntax("This policy contains invalid Json"),
        }
    }

    fn raw<'a>(&self, json: &'a Json, variables: bool) -> Result<Raw<'a>, Error> {
        let Json::Object(members) = json else {
            return Err(self.syntax("Could not parse the policy: a statement is no object"));
        };
        let mut raw = Raw::default();
        for (name, value) in members {
            let ill = || self.syntax(format!("Could not parse the policy: {name}"));
            let not = name.starts_with("Not");
            match (name.as_str(), value) {
                ("Sid", Json::Text(sid)) => raw.sid = Some(sid),
                ("Effect", Json::Text(effect)) => raw.effect = Some(effect),
                ("Principal" | "NotPrincipal", _) if !self.kind.names_principals() => {
                    return Err(Error("Policy document should not specify a principal.".into()));
                }
                ("Principal" | "NotPrincipal", _) if raw.principals.is_none() => {
                    raw.principals = Some(self.principals(value, not)?);
                }
                ("Action" | "NotAction", _) if raw.actions.is_none() => {
                    raw.actions = Some((not, texts(value).ok_or_else(ill)?));
                }
                ("Resource" | "NotResource", _) if self.kind == Kind::Trust => {
                    return Err(Error(format!("Has prohibited field {name}")));
                }
                ("Resource" | "NotResource", _) if raw.resources.is_none() => {
                    raw.resources = Some((not, texts(value).ok_or_else(ill)?));
                }
                ("Condition", Json::Object(operators)) => {
                    self.conditions(operators, variables, &mut raw)?;
                }
                ("Sid" | "Effect" | "Condition" | "Principal" | "NotPrincipal", _)
                | ("Action" | "NotAction" | "Resource" | "NotResource", _) => return Err(ill()),
                _ => return Err(self.syntax(format!("Unknown field {name}"))),
            }
        }
        let Some(effect) = raw.effect else {
            return Err(self.syntax("Missing required field Effect"));
        };
        // In another case it fails later, as IAM has it.
        if !effect.eq_ignore_ascii_case("Allow") && !effect.eq_ignore_ascii_case("Deny") {
            return Err(self.syntax(format!("Invalid effect: {effect}")));
        }
        Ok(raw)
    }

    fn principals(&self, json: &Json, negated: bool) -> Result<Principals, Error> {
        let mut principals = Principals { negated, ..Principals::default() };
        let invalid = |what: String| Error(format!("Invalid principal in policy{what}"));
        let kinds = match json {
            Json::Text(text) if text == "*" => {
                principals.everybody = true;
                return Ok(principals);
            }
            Json::Object(kinds) => kinds,
            _ => return Err(invalid(String::new())),
        };
        for (kind, values) in kinds {
            for value in texts(values).ok_or_else(|| invalid(String::new()))? {
                if !principals.add(kind, &value) {
                    let kind = kind.to_uppercase();
                    return Err(invalid(format!(": \"{kind}\":\"{value}\"")));
                }
            }
        }
        let empty = principals == Principals { negated, ..Principals::default() };
        if empty { Err(invalid(String::new())) } else { Ok(principals) }
    }

    fn conditions(
        &self,
        operators: &[(String, Json)],
        variables: bool,
        raw: &mut Raw,
    ) -> Result<(), Error> {
        for (operator, keys) in operators {
            let ill = || self.syntax(format!("Invalid Condition type : {operator}"));
            let Json::Object(keys) = keys else { return Err(ill()) };
            for (key, values) in keys {
                if !key.contains(':') {
                    return Err(Error(NO_VENDOR.into()));
                }
                let values = values_of_condition(values).ok_or_else(ill)?;
                match Condition::new(operator, key, &values, variables) {
                    Ok(condition) => raw.conditions.push(condition),
                    Err(Ill::Date) => raw.ill_date = true,
                    Err(Ill::Operator | Ill::Value) => return Err(ill()),
                }
            }
        }
        Ok(())
    }

    fn check(&self, raw: &[Raw], variables: bool) -> Result<(), Error> {
        if !variables && matches!(self.kind, Kind::Identity | Kind::Boundary) {
            refuse("Policy document must be version 2012-10-17 or greater.")?;
        }
        for statement in raw {
            let resources = statement.resources.iter().flat_map(|(_, list)| list);
            let exact = matches!(statement.effect, Some("Allow" | "Deny"));
            let mut broken = resources.map(|resource| breaks_legacy_parsing(resource));
            if !exact || statement.ill_date || broken.any(|broken| broken) {
                refuse("The policy failed legacy parsing")?;
            }
        }
        self.check_sids(raw)?;
        for statement in raw {
            self.check_elements(statement)?;
        }
        for statement in raw {
            for resource in statement.resources.iter().flat_map(|(_, list)| list) {
                self.check_resource(resource)?;
            }
        }
        for statement in raw {
            for action in statement.actions.iter().flat_map(|(_, list)| list) {
                self.check_action(action)?;
            }
        }
        Ok(())
    }

    fn check_sids(&self, raw: &[Raw]) -> Result<(), Error> {
        let mut known = HashSet::new();
        for sid in raw.iter().filter_map(|statement| statement.sid) {
            let plain = sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !plain && !self.kind.names_principals() {
                refuse(
                    "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the \
                     regular expression [0-9A-Za-z]*",
                )?;
            }
            if !sid.is_empty() && !known.insert(sid) {
                refuse("Statement IDs (SID) in a single policy must be unique.")?;
            }
        }
        Ok(())
    }

    fn check_elements(&self, raw: &Raw) -> Result<(), Error> {
        let some = |list: &Option<(bool, Vec<String>)>| {
            list.as_ref().is_some_and(|(_, list)| !list.is_empty())
        };
        if !self.kind.names_principals() {
            if !some(&raw.actions) {
                refuse("Policy statement must contain actions.")?;
            }
            if !some(&raw.resources) {
                refuse("Policy statement must contain resources.")?;
            }
            return Ok(());
        }
        let Some(principals) = &raw.principals else {
            return refuse("Missing required field Principal");
        };
        if principals.negated && raw.effect == Some("Allow") && self.kind == Kind::Trust {
            refuse("Has prohibited field NotPrincipal")?;
        }
        if !some(&raw.actions) {
            refuse("Missing required field Action")?;
        }
        if !some(&raw.resources) && self.kind == Kind::Resource {
            refuse("Missing required field Resource")?;
        }
        Ok(())
    }

    fn check_action(&self, action: &str) -> Result<(), Error> {
        let parts: Vec<&str> = action.split(':').collect();
        match (self.kind, parts.as_slice()) {
            (Kind::Trust, [vendor, _]) if vendor.eq_ignore_ascii_case("sts") => Ok(()),
            (Kind::Trust, _) => {
                refuse("AssumeRole policy may only specify STS AssumeRole actions.")
            }
            (_, ["*"]) => Ok(()),
            (_, [_]) => refuse(NO_VENDOR),
            (_, ["*", _]) => Ok(()),
            (_, [vendor, _]) => {
                let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
                if vendor.bytes().all(fine) && !vendor.is_empty() {
                    Ok(())
                } else {
                    refuse(&format!("Vendor {vendor} is not valid"))
                }
            }
            _ => refuse("Actions/Condition can contain only one colon."),
        }
    }

    fn check_resource(&self, resource: &str) -> Result<(), Error> {
        if resource == "*" {
            return Ok(());
        }
        if self.kind.names_principals() {
            return match resource.starts_with("arn:aws:") {
                true => Ok(()),
                false => refuse("Policy has invalid resource"),
            };
        }
        let mut parts = components(resource, true);
        if parts.len() < 2 || parts[0] != "arn" {
            refuse(&format!("Resource {resource} must be in ARN format or \"*\"."))?;
        }
        let partition = parts[1];
        if partition != "aws" {
            parts.resize(6, "*");
            let rest = parts[2..].join(":");
            refuse(&format!(
                "Partition \"{partition}\" is not valid for resource \"arn:{partition}:{rest}\"."
            ))?;
        }
        let service = parts.get(2).copied().unwrap_or_default();
        if service.is_empty() || service.contains(['*', '?']) {
            refuse("Resource vendor must be fully qualified and cannot contain regexes.")?;
        }
        let &[_, _, service, region, account, path] = parts.as_slice() else { return Ok(()) };
        match service {
            "iam" if !region.is_empty() => {
                refuse(&format!("IAM resource {resource} cannot contain region information."))
            }
            "s3" if !region.is_empty() && account.is_empty() => {
                refuse(&format!("Resource {resource} can not contain region information."))
            }
            "iam" if path != "*" && !IAM_PATHS.iter().any(|known| path.starts_with(known)) => {
                let known = IAM_PATHS.join(", ");
                refuse(&format!("IAM resource path must either be \"*\" or start with {known}."))
            }
            _ => Ok(()),
        }
    }

    fn compile(
        &self,
        raw: Raw,
        variables: bool,
        start: Position,
        end: Position,
    ) -> Result<Statement, Error> {
        let compile = |(negated, texts): (bool, Vec<String>), variables, wildcards| {
            let patterns = texts.iter().map(|text| Pattern::new(text, variables, wildcards));
            let patterns = patterns.collect::<Option<_>>();
            let patterns = patterns.ok_or_else(|| self.syntax("Policy has invalid resource"))?;
            Ok(Patterns { negated, patterns })
        };
        let (negated, actions) = raw.actions.expect("there are actions, it was checked");
        let actions = actions.iter().map(|action| action.to_ascii_lowercase()).collect();
        let resources =
            raw.resources.map(|resources| compile(resources, variables, Wildcards::Segments));
        Ok(Statement {
            sid: raw.sid.filter(|sid| !sid.is_empty()).map(Into::into),
            allows: raw.effect == Some("Allow"),
            principals: raw.principals,
            actions: compile((negated, actions), false, Wildcards::Anywhere)?,
            resources: resources.transpose()?,
            conditions: raw.conditions,
            start,
            end,
        })
    }
}

const NO_VENDOR: &str =
    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";

fn refuse(message: &str) -> Result<(), Error> {
    Err(Error(message.to_owned()))
}

/// What IAM looked at before it had ARNs of other forms.
fn breaks_legacy_parsing(resource: &str) -> bool {
    let colons = resource.matches(':').count();
    colons > 0 && colons < 5 && resource.contains("::")
}

fn texts(json: &Json) -> Option<Vec<String>> {
    match json {
        Json::Text(text) => Some(vec![text.clone()]),
        Json::List(items) => items.iter().map(text).collect(),
        _ => None,
    }
}

fn text(json: &Json) -> Option<String> {
    match json {
        Json::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// Values of conditions may be booleans and numbers.
fn values_of_condition(json: &Json) -> Option<Vec<String>> {
    let value = |json: &Json| match json {
        Json::Bool(value) => Some(value.to_string()),
        Json::Number(number) => Some(number.clone()),
        _ => text(json),
    };
    match json {
        Json::List(items) => items.iter().map(value).collect(),
        _ => value(json).map(|value| vec![value]),
    }
}

fn position(text: &str, offset: usize) -> Position {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Position { line: line as u32, column: column as u32 }
}

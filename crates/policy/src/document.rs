//! A policy as it is evaluated: its statements, compiled. How one is read is in `grammar`.

use std::sync::Arc;

use crate::condition::Condition;
use crate::context::{Context, Key};
use crate::grammar;
use crate::pattern::Pattern;
use crate::principal::Principals;

/// What a policy is for; the grammar differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of users, groups and roles.
    Identity,
    /// Of a bucket, a queue, …
    Resource,
    /// Of a role: who may assume it.
    Trust,
    /// A permissions boundary.
    Boundary,
    /// Passed to AssumeRole.
    Session,
}

impl Kind {
    /// Whether statements name principals.
    pub(crate) fn names_principals(self) -> bool {
        matches!(self, Kind::Resource | Kind::Trust)
    }
}

/// Why a text is no policy, in AWS's words (MalformedPolicyDocument, MalformedPolicy).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(crate) String);

/// A line and a column of a policy's text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub(crate) kind: Kind,
    pub(crate) statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statement {
    pub sid: Option<Arc<str>>,
    /// It denies otherwise.
    pub allows: bool,
    /// None in policies that belong to their principal.
    pub principals: Option<Principals>,
    pub actions: Patterns,
    /// None in the trust policy of a role, whose resource is that role.
    pub resources: Option<Patterns>,
    pub conditions: Vec<Condition>,
    /// After the statement's opening and closing brace.
    pub start: Position,
    pub end: Position,
}

/// `Action` or `Resource`, or their negation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Patterns {
    pub negated: bool,
    pub patterns: Vec<Pattern>,
}

impl Document {
    pub fn parse(text: &str, kind: Kind) -> Result<Document, Error> {
        grammar::parse(text, kind)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The ARNs that Principal and NotPrincipal elements name, those of accounts as
    /// `arn:aws:iam::ACCOUNT:root`. Whether they exist is not known here.
    pub fn principal_arns(&self) -> impl Iterator<Item = &str> {
        let principals = self.statements.iter().filter_map(|found| found.principals.as_ref());
        principals.flat_map(|principals| &principals.aws).map(String::as_str)
    }

    /// Whether a statement allows everybody something without a condition: S3's "public" policies.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            let everybody = statement.principals.as_ref().is_some_and(|p| p.everybody != p.negated);
            statement.allows && everybody && statement.conditions.is_empty()
        })
    }
}

impl Statement {
    /// Whether this is about the action (in lower case) on the resource, whoever asks.
    pub fn covers(&self, action: &str, resource: &str, context: &Context) -> bool {
        self.is_about(action, context)
            && self.resources.as_ref().is_none_or(|found| found.hold(resource, context))
            && self.conditions.iter().all(|condition| condition.holds(context))
    }

    pub fn is_about(&self, action: &str, context: &Context) -> bool {
        self.actions.hold(action, context)
    }

    /// The condition keys that this looks at.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let patterns = self.resources.iter().flat_map(|resources| &resources.patterns);
        patterns.flat_map(Pattern::keys).chain(self.conditions.iter().flat_map(Condition::keys))
    }
}

impl Patterns {
    fn hold(&self, text: &str, context: &Context) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(text, context)) != self.negated
    }
}

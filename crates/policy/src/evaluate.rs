//! The decision on a request.
//!
//! ```text
//!   a Deny in any policy ─────────────────────────────────────────────► explicit deny
//!   within an account   (identity ∪ resource) ∩ boundary ∩ session
//!                       where a resource's policy names the user or the very session
//!                       ───────────────────────────────────────────────► allowed
//!                       and a role's trust policy has to allow in any case
//!   across accounts     identity ∩ boundary ∩ session ∩ resource
//!   services, anonymous resource
//!   by a VPC endpoint   whatever else allows, its policy has to allow, too
//! ```
//!
//! That is "Policy evaluation logic" in the IAM User Guide, with "Permissions boundaries for IAM
//! entities" on what a policy of a resource bypasses: one that names a user, all implicit denies; a
//! role, those of its own policies; the session of a role, all; an account, none.

use std::sync::Arc;

use crate::context::Context;
use crate::document::{Document, Kind, Position, Statement};
use crate::principal::{Grant, Principal};

/// A document and what it is known as: an ARN, or a name.
#[derive(Debug, Clone)]
pub struct Policy {
    pub id: Arc<str>,
    pub document: Arc<Document>,
}

impl Policy {
    pub fn new(id: impl Into<Arc<str>>, document: impl Into<Arc<Document>>) -> Policy {
        Policy { id: id.into(), document: document.into() }
    }
}

/// The policies that apply to a request.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// The user's or role's own, attached and inline.
    pub identity: Vec<Policy>,
    /// Those of the user's groups.
    pub groups: Vec<Policy>,
    pub boundary: Option<Policy>,
    /// Those passed as the session began. None: the session is not limited.
    pub session: Vec<Policy>,
    /// The resource's own: of a bucket or a queue, or the trust policy of a role.
    pub resource: Option<Policy>,
    /// Of the VPC endpoint that the request came by. It is asked about everyone, root users too.
    pub endpoint: Option<Policy>,
}

/// One action on one resource. A call that is about several is allowed if each of them is.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub principal: &'a Principal,
    /// As `ec2:RunInstances`.
    pub action: &'a str,
    /// An ARN, or `*` where the action is on no resource in particular.
    pub resource: &'a str,
    /// The account that has the resource.
    pub account: &'a str,
    /// The canonical user id of the principal's account, where the service has them (S3).
    pub canonical_user: Option<&'a str>,
    pub context: &'a Context,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allowed,
    ExplicitDeny,
    ImplicitDeny,
}

/// Kinds of policies, as a decision names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    Identity,
    Group,
    Boundary,
    Session,
    Resource,
    Trust,
    Endpoint,
}

/// A statement of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    pub policy: Arc<str>,
    pub layer: Layer,
    /// Counted from 0.
    pub statement: usize,
    pub sid: Option<Arc<str>>,
    pub start: Position,
    pub end: Position,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub effect: Effect,
    /// The kind of policy that allowed, denied, or failed to allow.
    pub layer: Layer,
    /// The statement that allowed or denied; none of an implicit deny, and of what a root user may.
    pub by: Option<Match>,
}

impl Decision {
    pub fn is_allowed(&self) -> bool {
        self.effect == Effect::Allowed
    }

    /// How AWS says who may not do what, and why.
    pub fn message(&self, principal_arn: &str, action: &str, resource: &str) -> String {
        let on = match resource {
            "*" => String::new(),
            _ => format!(" on resource: {resource}"),
        };
        let layer = match self.layer {
            Layer::Identity | Layer::Group => "identity-based policy",
            Layer::Boundary => "permissions boundary",
            Layer::Session => "session policy",
            Layer::Resource => "resource-based policy",
            Layer::Trust => "role trust policy",
            Layer::Endpoint => "VPC endpoint policy",
        };
        let article = match self.layer {
            Layer::Identity | Layer::Group => "an",
            Layer::Trust => "the",
            _ => "a",
        };
        let why = match self.effect {
            Effect::Allowed => String::new(),
            Effect::ExplicitDeny => format!(" with an explicit deny in {article} {layer}"),
            Effect::ImplicitDeny => format!(" because no {layer} allows the {action} action"),
        };
        format!("User: {principal_arn} is not authorized to perform: {action}{on}{why}")
    }
}

pub fn evaluate(policies: &Policies, request: &Request) -> Decision {
    let ask = Ask::new(policies, request);
    match ask.survey() {
        Ok(found) => ask.decide(found),
        Err(by) => Decision { effect: Effect::ExplicitDeny, layer: by.layer, by: Some(by) },
    }
}

/// What each kind of policy allows, by which statement. Nothing denies.
struct Survey {
    identity: Option<Match>,
    boundary: Option<Match>,
    session: Option<Match>,
    resource: Option<(Grant, Match)>,
    endpoint: Option<Match>,
}

pub(crate) struct Ask<'a> {
    policies: &'a Policies,
    request: &'a Request<'a>,
    /// In lower case.
    action: String,
}

impl<'a> Ask<'a> {
    pub fn new(policies: &'a Policies, request: &'a Request<'a>) -> Ask<'a> {
        Ask { policies, request, action: request.action.to_ascii_lowercase() }
    }

    /// The statement that denies, otherwise those that allow.
    fn survey(&self) -> Result<Survey, Match> {
        let policies = self.policies;
        let mut survey = Survey {
            identity: self.of(Layer::Identity, &policies.identity)?,
            boundary: self.of(Layer::Boundary, policies.boundary.as_slice())?,
            session: self.of(Layer::Session, &policies.session)?,
            resource: None,
            endpoint: None,
        };
        let groups = self.of(Layer::Group, &policies.groups)?;
        survey.identity = survey.identity.or(groups);
        for (_, allows, found) in self.naming(Layer::Endpoint, policies.endpoint.as_slice()) {
            if !allows {
                return Err(found);
            }
            survey.endpoint.get_or_insert(found);
        }
        for (grant, allows, found) in self.of_resource() {
            if !allows {
                return Err(found);
            }
            if survey.resource.as_ref().is_none_or(|(best, _)| *best < grant) {
                survey.resource = Some((grant, found));
            }
        }
        Ok(survey)
    }

    fn of(&self, layer: Layer, policies: &[Policy]) -> Result<Option<Match>, Match> {
        let mut allowed = None;
        for (policy, index, statement) in statements(policies) {
            // A second statement that allows changes nothing.
            let idle = statement.allows && allowed.is_some();
            if !idle && self.covers(statement) {
                let found = Match::new(policy, layer, index, statement);
                if !statement.allows {
                    return Err(found);
                }
                allowed = Some(found);
            }
        }
        Ok(allowed)
    }

    fn of_resource(&self) -> impl Iterator<Item = (Grant, bool, Match)> {
        self.naming(self.layer_of_resource(), self.policies.resource.as_slice())
    }

    /// Of policies whose statements name principals.
    fn naming(
        &self,
        layer: Layer,
        policies: &'a [Policy],
    ) -> impl Iterator<Item = (Grant, bool, Match)> {
        statements(policies).filter_map(move |(policy, index, statement)| {
            let grant = self.names_principal(statement).filter(|_| self.covers(statement))?;
            Some((grant, statement.allows, Match::new(policy, layer, index, statement)))
        })
    }

    fn covers(&self, statement: &Statement) -> bool {
        statement.covers(&self.action, self.request.resource, self.request.context)
    }

    /// Whether, and how precisely, a statement of a resource's policy is about the principal.
    fn names_principal(&self, statement: &Statement) -> Option<Grant> {
        let Request { principal, canonical_user, .. } = *self.request;
        let principals = statement.principals.as_ref()?;
        if !principals.negated {
            return principals.grant(principal, canonical_user);
        }
        let other = if statement.allows {
            principals.grant(principal, canonical_user).is_none()
        } else {
            // A boundary makes NotPrincipal deny, whomever it lists.
            !principals.lists_wholly(principal) || self.policies.boundary.is_some()
        };
        other.then_some(Grant::Entity)
    }

    fn layer_of_resource(&self) -> Layer {
        match &self.policies.resource {
            Some(policy) if policy.document.kind() == Kind::Trust => Layer::Trust,
            _ => Layer::Resource,
        }
    }

    /// The statements that apply and allow, or deny: all of them.
    pub fn matches(&self, allow: bool) -> Vec<Match> {
        let own = self.layers().flat_map(|(layer, policies)| {
            let found = statements(policies).filter(|(.., statement)| self.covers(statement));
            found.map(move |(policy, index, statement)| {
                (statement.allows, Match::new(policy, layer, index, statement))
            })
        });
        let of_resource = self.of_resource().map(|(_, allows, found)| (allows, found));
        let found = own.chain(of_resource).filter(|(allows, _)| *allows == allow);
        found.map(|(_, found)| found).collect()
    }

    /// The statements about the action.
    pub fn about(&self) -> impl Iterator<Item = &Statement> {
        let own = self.layers().flat_map(|(_, policies)| policies);
        let policies = own.chain(&self.policies.resource).chain(&self.policies.endpoint);
        let statements = policies.flat_map(|policy| &policy.document.statements);
        statements.filter(|found| found.is_about(&self.action, self.request.context))
    }

    fn layers(&self) -> impl Iterator<Item = (Layer, &'a [Policy])> + use<'a> {
        let Policies { identity, groups, boundary, session, .. } = self.policies;
        let layers = [
            (Layer::Identity, identity.as_slice()),
            (Layer::Group, groups),
            (Layer::Boundary, boundary.as_slice()),
            (Layer::Session, session),
        ];
        layers.into_iter()
    }

    fn decide(&self, found: Survey) -> Decision {
        if self.policies.endpoint.is_some() && found.endpoint.is_none() {
            return implicit_deny(Layer::Endpoint);
        }
        let resource_layer = self.layer_of_resource();
        let grant = found.resource.as_ref().map(|(grant, _)| *grant);
        let by_resource = found.resource.map(|(_, by)| by);
        let Some(account) = self.request.principal.account() else {
            return by_resource.map_or(implicit_deny(resource_layer), allowed);
        };
        let is_user = matches!(self.request.principal, Principal::User { .. });
        let is_root = matches!(self.request.principal, Principal::Root { .. });
        let same_account = account == self.request.account;
        let needs_resource = !same_account || resource_layer == Layer::Trust;
        if needs_resource && by_resource.is_none() {
            return implicit_deny(resource_layer);
        }
        let named = same_account && grant >= Some(Grant::Entity);
        let direct = named && (is_user || grant == Some(Grant::Session));
        let (granted, by) = match (found.identity, by_resource) {
            (_, Some(by)) if named => (true, Some(by)),
            (identity, _) => (identity.is_some() || is_root, identity),
        };
        if !direct {
            if !granted {
                return implicit_deny(Layer::Identity);
            }
            if self.policies.boundary.is_some() && found.boundary.is_none() {
                return implicit_deny(Layer::Boundary);
            }
            if !self.policies.session.is_empty() && found.session.is_none() {
                return implicit_deny(Layer::Session);
            }
        }
        let layer = by.as_ref().map_or(Layer::Identity, |by| by.layer);
        Decision { effect: Effect::Allowed, layer, by }
    }
}

fn allowed(by: Match) -> Decision {
    Decision { effect: Effect::Allowed, layer: by.layer, by: Some(by) }
}

fn implicit_deny(layer: Layer) -> Decision {
    Decision { effect: Effect::ImplicitDeny, layer, by: None }
}

fn statements(policies: &[Policy]) -> impl Iterator<Item = (&Policy, usize, &Statement)> {
    policies.iter().flat_map(|policy| {
        let statements = policy.document.statements.iter().enumerate();
        statements.map(move |(index, statement)| (policy, index, statement))
    })
}

impl Match {
    fn new(policy: &Policy, layer: Layer, index: usize, statement: &Statement) -> Match {
        Match {
            policy: policy.id.clone(),
            layer,
            statement: index,
            sid: statement.sid.clone(),
            start: statement.start,
            end: statement.end,
        }
    }
}

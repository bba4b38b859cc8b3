//! Who calls, and the `Principal` and `NotPrincipal` elements that name callers.

/// Who makes a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Principal {
    /// The root user of an account.
    Root {
        account: String,
    },
    /// An IAM user, also through GetSessionToken.
    User {
        arn: String,
    },
    /// A session of an assumed role: ARNs of the role and of the session.
    Role {
        role: String,
        session: String,
    },
    /// A service, as `ec2.amazonaws.com`.
    Service {
        name: String,
    },
    /// Somebody whom an identity provider knows: its ARN or name.
    Federated {
        provider: String,
    },
    Anonymous,
}

impl Principal {
    /// `None` of those who belong to no account.
    pub fn account(&self) -> Option<&str> {
        match self {
            Principal::Root { account } => Some(account),
            Principal::User { arn } => arn.split(':').nth(4),
            Principal::Role { session, .. } => session.split(':').nth(4),
            _ => None,
        }
    }
}

/// How precisely a policy names a principal. The later, the less else is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grant {
    /// Its account, which leaves it to the account's own policies.
    Account,
    /// The user, the role, the service, or everybody.
    Entity,
    /// The very session.
    Session,
}

/// The element of a statement.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Principals {
    /// NotPrincipal.
    pub negated: bool,
    pub everybody: bool,
    /// ARNs, of accounts those of their root users.
    pub aws: Vec<String>,
    pub services: Vec<String>,
    pub federated: Vec<String>,
    pub canonical_users: Vec<String>,
}

impl Principals {
    /// Adds what a policy has below `"AWS"`, `"Service"`, …; false if that is not a principal.
    pub fn add(&mut self, kind: &str, value: &str) -> bool {
        match kind {
            "AWS" if value == "*" => self.everybody = true,
            "AWS" if is_account(value) => self.aws.push(root(value)),
            "AWS" if is_arn_of_principal(value) => self.aws.push(value.to_owned()),
            "Service" if is_service(value) => self.services.push(value.to_owned()),
            "Federated" if is_provider(value) => self.federated.push(value.to_owned()),
            "CanonicalUser"
                if value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                self.canonical_users.push(value.to_ascii_lowercase());
            }
            _ => return false,
        }
        true
    }

    /// `canonical_user` is that of the principal's account.
    pub fn grant(&self, principal: &Principal, canonical_user: Option<&str>) -> Option<Grant> {
        if self.everybody {
            return Some(Grant::Entity);
        }
        let named = |list: &[String], name: &str| list.iter().any(|known| known == name);
        let grant = match principal {
            Principal::Root { account } => {
                named(&self.aws, &root(account)).then_some(Grant::Entity)
            }
            Principal::User { arn } => named(&self.aws, arn).then_some(Grant::Entity),
            Principal::Role { session, .. } if named(&self.aws, session) => Some(Grant::Session),
            Principal::Role { role, .. } => named(&self.aws, role).then_some(Grant::Entity),
            Principal::Service { name } => named(&self.services, name).then_some(Grant::Entity),
            Principal::Federated { provider } => {
                named(&self.federated, provider).then_some(Grant::Entity)
            }
            Principal::Anonymous => None,
        };
        grant.or_else(|| {
            let account = principal.account().is_some_and(|id| named(&self.aws, &root(id)));
            let canonical = canonical_user.is_some_and(|id| named(&self.canonical_users, id));
            (account || canonical).then_some(Grant::Account)
        })
    }

    /// Whether `NotPrincipal` lists the principal and all it is part of: a user with its account, a
    /// session with its role and their account.
    pub fn lists_wholly(&self, principal: &Principal) -> bool {
        let listed = |arn: &str| self.aws.iter().any(|known| known == arn);
        let account = || principal.account().is_some_and(|account| listed(&root(account)));
        self.everybody
            || match principal {
                Principal::User { arn } => listed(arn) && account(),
                Principal::Role { role, session } => listed(role) && listed(session) && account(),
                _ => self.grant(principal, None).is_some(),
            }
    }
}

fn root(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_arn_of_principal(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let &["arn", "aws", service, "", account, name] = parts.as_slice() else { return false };
    let starts = |kinds: &[&str]| {
        kinds.iter().any(|kind| name.strip_prefix(kind).is_some_and(|name| !name.is_empty()))
    };
    let known = match service {
        "iam" => name == "root" || starts(&["user/", "role/"]),
        "sts" => starts(&["assumed-role/", "federated-user/"]),
        _ => false,
    };
    known && is_account(account) && !name.contains(['*', '?'])
}

fn is_service(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let name = text.strip_suffix(".amazonaws.com").or_else(|| text.strip_suffix(".amazon.com"));
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(fine))
}

fn is_provider(text: &str) -> bool {
    const KNOWN: [&str; 4] = [
        "accounts.google.com",
        "cognito-identity.amazonaws.com",
        "graph.facebook.com",
        "www.amazon.com",
    ];
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    KNOWN.contains(&text)
        || matches!(parts.as_slice(), ["arn", "aws", "iam", "", account, name]
            if is_account(account)
                && (name.starts_with("saml-provider/") || name.starts_with("oidc-provider/")))
}

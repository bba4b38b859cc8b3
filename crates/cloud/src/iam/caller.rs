//! Who calls: found out by the gateway from the signature, fixed for the call.
//!
//! ```text
//!  access key ── root's own ────────────────────────────────────────► Root
//!             ── AKIA…, a record ───────────────────────────────────► User
//!             ── ASIA…, with a session token that opens, is not over,
//!                and whose user or role is still the same ──────────► User, Role or Root
//! ```

use std::sync::Arc;
use std::time::Duration;

use store::Snapshot;

use super::model::{AccessKey, Identity, Kind, LastUsed};
use super::ops::identity;
use super::session::Session;
use super::source::Source;
use crate::arn;
use crate::env::Env;

/// Who makes a call, with what, and from where.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    pub who: Who,
    pub access_key: Option<String>,
    /// Of temporary credentials.
    pub session: Option<Box<Session>>,
    pub source: Source,
    pub user_agent: Option<String>,
    /// Authority that the request was sent to, as its Host says.
    pub host: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Who {
    /// May do all.
    #[default]
    Root,
    /// A service of this cloud on a user's behalf (`autoscaling.amazonaws.com`): may do all.
    Service(String),
    User {
        name: String,
        id: String,
    },
    Role {
        name: String,
        id: String,
        /// The session's name.
        session: String,
    },
    Anonymous,
}

/// Why an access key is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unknown,
    Expired,
}

impl Caller {
    pub fn service(name: &str) -> Caller {
        Caller { who: Who::Service(name.to_owned()), ..Caller::default() }
    }

    /// Whether no policy is asked. That of an endpoint is asked about root, too.
    pub fn may_do_all(&self) -> bool {
        match self.who {
            Who::Service(_) => true,
            Who::Root => self.endpoint_policy().is_none(),
            _ => false,
        }
    }

    /// Of the VPC endpoint that the call came by; none: it lets everything through.
    pub fn endpoint_policy(&self) -> Option<policy::Policy> {
        let endpoint = self.source.endpoint.as_ref()?;
        let document = endpoint.policy.as_ref()?;
        Some(policy::Policy::new(endpoint.id.as_str(), Arc::clone(&document.compiled)))
    }

    /// The ARN that GetCallerIdentity shows; a service has its name.
    pub fn arn(&self, snapshot: &Snapshot, account: &str) -> String {
        match &self.who {
            Who::Root => arn::arn("iam", "", account, "root"),
            Who::Service(name) => name.clone(),
            Who::User { name, .. } => {
                let user = snapshot.get::<Identity>(&Identity::key_of(account, Kind::User, name));
                user.map_or_else(
                    || arn::arn("iam", "", account, &format!("user/{name}")),
                    |u| u.arn(),
                )
            }
            Who::Role { name, session, .. } => {
                arn::arn("sts", "", account, &format!("assumed-role/{name}/{session}"))
            }
            Who::Anonymous => "anonymous".to_owned(),
        }
    }

    /// `aws:userid`
    pub fn user_id(&self, account: &str) -> String {
        match &self.who {
            Who::Root => account.to_owned(),
            Who::Service(name) => name.clone(),
            Who::User { id, .. } => id.clone(),
            Who::Role { id, session, .. } => format!("{id}:{session}"),
            Who::Anonymous => "anonymous".to_owned(),
        }
    }
}

/// The secret of an access key, for its signatures. What the key's owner is, `of_key` says.
pub fn secret(env: &Env, access_key: &str) -> Option<String> {
    if access_key.starts_with("ASIA") {
        return Some(env.seal.session_secret(access_key));
    }
    let snapshot = env.store.read();
    let key = snapshot.get::<AccessKey>(access_key).filter(|key| key.active)?;
    let secret = env.seal.open(&key.id, &key.secret).ok()?;
    String::from_utf8(secret).ok()
}

/// Whose key it is. The signature made with it is verified apart.
pub fn of_key(env: &Env, access_key: &str, token: Option<&str>) -> Result<Caller, Refusal> {
    let snapshot = env.store.read();
    if access_key.starts_with("ASIA") {
        let session = Session::open(env, token.ok_or(Refusal::Unknown)?).ok_or(Refusal::Unknown)?;
        if session.access_key != access_key {
            return Err(Refusal::Unknown);
        }
        if session.expires_at <= env.clock.host_now() {
            return Err(Refusal::Expired);
        }
        let who = still(&snapshot, &env.config.account, &session.who).ok_or(Refusal::Unknown)?;
        return Ok(Caller {
            who,
            access_key: Some(access_key.to_owned()),
            session: Some(Box::new(session)),
            ..Caller::default()
        });
    }
    // A long-term key comes without a token.
    let key = snapshot.get::<AccessKey>(access_key).filter(|key| key.active && token.is_none());
    let key = key.ok_or(Refusal::Unknown)?;
    let at = Identity::key_of(&key.account, Kind::User, &key.user);
    let user = snapshot.get::<Identity>(&at).ok_or(Refusal::Unknown)?;
    Ok(Caller {
        who: Who::User { name: user.name.clone(), id: user.id.clone() },
        access_key: Some(access_key.to_owned()),
        ..Caller::default()
    })
}

/// Writes when a key and a role were last used; at most once a minute of each, since a write takes as
/// long as it takes to be durable.
pub async fn note_use(env: &Env, caller: &Caller, service: &str, region: &str) {
    const OFTEN: Duration = Duration::from_secs(60);
    let id = match (&caller.who, &caller.access_key) {
        (Who::Role { id, .. }, _) => id,
        (Who::User { .. }, Some(key)) if caller.session.is_none() => key,
        _ => return,
    };
    let now = env.clock.now();
    let last = env.store.read().get::<LastUsed>(id);
    if last.is_some_and(|last| now.since(last.at) < OFTEN) {
        return;
    }
    let used = LastUsed {
        id: id.clone(),
        at: now,
        region: region.to_owned(),
        service: service.to_owned(),
    };
    let written = env.store.write(|tx| {
        tx.put(used.clone());
        Ok::<_, store::Error>(())
    });
    if let Err(error) = written.await {
        tracing::warn!("cannot note the use of {id}: {error}");
    }
}

/// The same user or role by its present name; none when it is no more. Another one that took its name
/// is not it.
fn still(snapshot: &Snapshot, account: &str, who: &Who) -> Option<Who> {
    let find = |kind, name: &str, id: &str| {
        let named = snapshot.get::<Identity>(&Identity::key_of(account, kind, name));
        let named = named.filter(|identity| identity.id == id);
        named.or_else(|| identity::with_id(snapshot, account, kind, id))
    };
    match who {
        Who::User { name, id } => find(Kind::User, name, id)
            .map(|user| Who::User { name: user.name.clone(), id: id.clone() }),
        Who::Role { name, id, .. } => find(Kind::Role, name, id).map(|_| who.clone()),
        other => Some(other.clone()),
    }
}

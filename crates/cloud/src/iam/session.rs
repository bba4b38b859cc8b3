//! Temporary credentials. A session token holds all there is to know of its session, sealed, so that
//! nothing is stored and nothing is lost when the cloud starts again. The secret follows from the
//! access key and this cloud's own key.
//!
//! Their time is the host's, not the scaled one: who holds them counts by it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::caller::Who;
use crate::env::Env;
use crate::tag::Tags;
use crate::{Timestamp, id};

/// What a token is sealed for.
const OWNER: &str = "sts:session";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// `ASIA…`
    pub access_key: String,
    pub who: Who,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// The text of the policy given with it.
    pub policy: Option<String>,
    /// Managed policies given with it.
    pub policy_arns: Vec<String>,
    pub tags: Tags,
    pub source_identity: Option<String>,
    /// ARN of the instance whose metadata offered it.
    pub instance: Option<String>,
}

/// What a client needs to act in a session.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key: String,
    pub secret: String,
    pub token: String,
    pub expires_at: Timestamp,
}

impl Session {
    /// Begins now.
    pub fn begin(env: &Env, who: Who, length: Duration) -> Session {
        let now = env.clock.host_now();
        Session {
            access_key: id::access_key(&env.rng, "ASIA"),
            who,
            issued_at: now,
            expires_at: now.plus(length),
            ..Session::default()
        }
    }

    pub fn credentials(&self, env: &Env) -> Credentials {
        let plain = serde_json::to_vec(self).expect("plain structures of strings and numbers");
        Credentials {
            access_key: self.access_key.clone(),
            secret: env.seal.session_secret(&self.access_key),
            token: STANDARD.encode(env.seal.seal(&env.rng, OWNER, &plain)),
            expires_at: self.expires_at,
        }
    }

    /// `None`: no token of ours.
    pub fn open(env: &Env, token: &str) -> Option<Session> {
        let plain = env.seal.open(OWNER, &STANDARD.decode(token).ok()?).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

//! Client tokens: what a resource was made for, kept in its record, so that the same request again finds
//! the resource and another request with the same token is refused ("Ensuring idempotency in Amazon EC2
//! API requests").

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::{Error, Result};
use crate::id;

const MAX_CHARS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientToken {
    token: String,
    /// SHA-256 of the request, hexadecimal.
    fingerprint: String,
}

/// Of a request that has one.
pub fn of(token: Option<&str>, request: &impl Serialize) -> Result<Option<ClientToken>> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
    if token.len() > MAX_CHARS || !token.is_ascii() {
        return Err(Error::value("Client token must be at most 64 ASCII characters."));
    }
    let text = serde_json::to_vec(request).expect("a request has only string keys");
    let fingerprint = id::hex(&sha2::Sha256::digest(text));
    Ok(Some(ClientToken { token: token.to_owned(), fingerprint }))
}

/// The one of `resources` that an earlier request with this token made.
pub fn made<R>(
    token: &Option<ClientToken>,
    mut resources: impl Iterator<Item = Arc<R>>,
    token_of: fn(&R) -> &Option<ClientToken>,
) -> Result<Option<Arc<R>>> {
    let Some(token) = token else { return Ok(None) };
    let same = |known: &ClientToken| known.token == token.token;
    let found = resources.find(|resource| token_of(resource).as_ref().is_some_and(same));
    match found {
        Some(found) if token_of(&found).as_ref() != Some(token) => {
            Err(Error::token_mismatch(&token.token))
        }
        found => Ok(found),
    }
}

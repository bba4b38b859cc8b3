//! Block tokens: which block of which snapshot may be read, and until when. Sealed, so that nobody can
//! make one.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::{Error, Reason, Result};
use crate::{Context, Timestamp};

/// How long a token is good for ("EBS direct APIs": seven days).
pub const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

fn owner(cx: &Context, snapshot: &str) -> String {
    format!("block of {}", cx.arn("ec2", &format!("snapshot/{snapshot}")))
}

/// Of a block, good until then.
pub fn of(cx: &Context, snapshot: &str, index: u64, until: Timestamp) -> String {
    let plain = format!("{index}/{}", until.0);
    STANDARD.encode(cx.env.seal.seal(&cx.env.rng, &owner(cx, snapshot), plain.as_bytes()))
}

pub fn check(cx: &Context, token: &str, snapshot: &str, index: u64) -> Result<()> {
    let invalid =
        || Error::invalid(Reason::BlockToken, "The block token is invalid or has expired.");
    let sealed = STANDARD.decode(token).map_err(|_| invalid())?;
    let plain = cx.env.seal.open(&owner(cx, snapshot), &sealed).map_err(|_| invalid())?;
    let text = String::from_utf8(plain).map_err(|_| invalid())?;
    let (of, until) = text.split_once('/').ok_or_else(invalid)?;
    let until: i64 = until.parse().map_err(|_| invalid())?;
    if of != index.to_string() || Timestamp(until) <= cx.now {
        return Err(invalid());
    }
    Ok(())
}

//! Letting keys in, and looking at those that are.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute::exec::{self, Keys};
use store::{Record, Snapshot};

use super::{Error, Key, Result};
use crate::ec2::instance::{Instance, InstanceState, Status};
use crate::{Context, id};

/// How long a key is good. Source: SendSSHPublicKey.
pub const GOOD: Duration = Duration::from_secs(60);

const TYPES: [&str; 5] =
    ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

#[derive(Clone, Debug)]
pub struct Send {
    pub instance_id: String,
    pub user: String,
    pub public_key: String,
    pub zone: Option<String>,
}

/// Returns when the key lets its owner in.
pub async fn send(cx: &Context, send: &Send) -> Result<()> {
    let key = check(&send.public_key)?;
    let found = cx.read().get::<Instance>(&cx.key(&send.instance_id));
    let instance = found.filter(|i| i.is_alive()).ok_or(Error::InstanceNotFound)?;
    if send.zone.as_ref().is_some_and(|zone| *zone != instance.zone) {
        return Err(Error::InvalidArgs(format!("{} is not in that zone.", instance.id)));
    }
    if instance.state() != InstanceState::Running {
        return Err(Error::InstanceStateInvalid(instance.state().name()));
    }
    if instance.status() != Status::Ok {
        return Err(Error::InstanceUnavailable("it is not up yet, or its host failed".into()));
    }
    let id = id::uuid(&cx.env.rng);
    let record = Key {
        account: cx.account.clone(),
        region: cx.region.clone(),
        instance_id: instance.id.clone(),
        user: send.user.clone(),
        line: format!("{key} ec2-instance-connect-{id}"),
        id,
        expires_at: cx.env.clock.host_now().plus(GOOD),
    };
    // The duty to take it out comes before it is in.
    cx.write(|tx| {
        tx.put(record.clone());
        Ok::<_, store::Error>(())
    })
    .await?;
    let keys = Keys { user: record.user.clone(), remove: vec![], add: vec![record.line.clone()] };
    let Err(error) = cx.env.driver.authorize(&instance.id, &keys).await else { return Ok(()) };
    let refused = matches!(error, exec::Error::Refused(_) | exec::Error::Simulated(_));
    if refused {
        // Nothing was written. Of any other failure that is not known: the controller sees to it.
        cx.write(|tx| Ok::<_, store::Error>(tx.delete::<Key>(&record.key()))).await?;
    }
    Err(match error {
        exec::Error::Refused(why) => Error::InvalidArgs(why),
        error => Error::InstanceUnavailable(error.to_string()),
    })
}

/// Type and body of a public key in OpenSSH's format; no options, and one line.
fn check(text: &str) -> Result<String> {
    let invalid = |why: &str| Error::InvalidArgs(format!("The SSH public key {why}."));
    let text = text.trim();
    if text.contains(['\n', '\r', '\0']) {
        return Err(invalid("must be one line"));
    }
    let mut words = text.split_whitespace();
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !TYPES.contains(&kind) {
        return Err(invalid("is of no supported type: use RSA, ECDSA or ED25519"));
    }
    // The body begins with its own type; see RFC 4253, section 6.6.
    let bytes = STANDARD.decode(body).map_err(|_| invalid("is not base64"))?;
    let length = bytes.first_chunk().map(|length| u32::from_be_bytes(*length) as usize);
    let inner = length.and_then(|length| bytes.get(4..4 + length));
    if inner != Some(kind.as_bytes()) {
        return Err(invalid("is not what it says it is"));
    }
    Ok(format!("{kind} {body}"))
}

/// Those of an instance that are good yet.
pub fn active(snapshot: &Snapshot, cx: &Context, instance_id: &str) -> Vec<Arc<Key>> {
    let now = cx.env.clock.host_now();
    let prefix = format!("{}/", cx.key(instance_id));
    let keys = snapshot.scan::<Key>(&prefix);
    keys.filter(|key| now < key.expires_at).collect()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn keys_are_keys() {
        let good =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr3OyPnrOxW9wKSmVQPxfSIHyYSPTdP7y1tUXFzy0X2";
        assert_eq!(check(&format!("{good} me@here")).unwrap(), good);
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-dss AAAAC3NzaC1lZDI1NTE5",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIGr3OyPnrOxW9wKSmVQPxfSIHyYSPTdP7y1tUXFzy0X2",
            "command=\"x\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
            &format!("{good}\n{good}"),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}

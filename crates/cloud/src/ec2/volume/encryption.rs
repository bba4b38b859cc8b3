//! Encryption of volumes: what is asked for, what a region does by itself, and the one key there is.
//! Source: Amazon EBS User Guide, "How Amazon EBS encryption works", "Encryption outcomes".

#[cfg(test)]
mod tests;

use compute::Layer;
use serde::{Deserialize, Serialize};
use store::{Snapshot, Tx};

use super::model::Tree;
use crate::ec2::{Error, Result};
use crate::env::Env;
use crate::{Context, id};

/// What the key is called everywhere.
pub const ALIAS: &str = "alias/aws/ebs";

/// Exists while a region encrypts whatever is made there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByDefault {
    pub account: String,
    pub region: String,
}

impl store::Record for ByDefault {
    const TABLE: &'static str = "ec2_ebs_encryption_by_default";

    fn key(&self) -> String {
        format!("{}/{}/", self.account, self.region)
    }
}

pub fn by_default(read: &Snapshot, cx: &Context) -> bool {
    read.get::<ByDefault>(&cx.prefix()).is_some()
}

pub fn set_by_default(tx: &mut Tx, cx: &Context, on: bool) -> Result<()> {
    if on {
        can_encrypt(cx)?;
        tx.put(ByDefault { account: cx.account.clone(), region: cx.region.clone() });
    } else {
        tx.delete::<ByDefault>(&cx.prefix());
    }
    Ok(())
}

/// Of the key that AWS manages for EBS; the same as long as there is this account.
pub fn key_arn(cx: &Context) -> String {
    let id = id::stable_uuid(&["kms", &cx.account, &cx.region, ALIAS]);
    cx.arn("kms", &format!("key/{id}"))
}

/// There is no other key than that of EBS.
pub fn check_key(cx: &Context, key: &str) -> Result<()> {
    let arn = key_arn(cx);
    let id = arn.rsplit('/').next().unwrap_or_default();
    if [ALIAS, id, &arn, &cx.arn("kms", ALIAS)].contains(&key) {
        return Ok(());
    }
    Err(Error::value(format!(
        "The KMS key '{key}' does not exist. Volumes are encrypted with the AWS managed key for EBS \
         ({ALIAS}) here."
    )))
}

/// A key is only for what is to be encrypted.
pub fn check(encrypted: Option<bool>, key: Option<&str>) -> Result<()> {
    match (encrypted, key) {
        (Some(true), _) | (_, None) => Ok(()),
        (_, Some(_)) => Err(Error::InvalidParameterDependency(
            "The parameter KmsKeyId requires the parameter Encrypted to be set.".into(),
        )),
    }
}

fn can_encrypt(cx: &Context) -> Result<()> {
    cx.env.storage.can_encrypt().map_err(|why| {
        Error::UnsupportedOperation(format!(
            "Volumes cannot be encrypted on this host: {why}. See `drover doctor`."
        ))
    })
}

/// Whether what is made is encrypted: `asked` for it, of a source that is or is not.
pub fn of_new(read: &Snapshot, cx: &Context, asked: Option<bool>, source: bool) -> Result<bool> {
    let encrypted = source || asked == Some(true) || by_default(read, cx);
    if encrypted {
        can_encrypt(cx)?;
    }
    Ok(encrypted)
}

/// How the copy of a frozen root is called that is encrypted.
pub fn copy_name(frozen: &str) -> String {
    format!("{frozen}.x")
}

/// The tree with all its frozen roots encrypted. `Busy` until they are. Who launches of the same image
/// shares them.
pub async fn encrypted(env: &Env, tree: &Tree) -> Result<Tree, compute::Error> {
    let mut next = tree.clone();
    for name in &mut next.frozen {
        let copy = copy_name(name);
        let Some(layer) = env.storage.encrypt_root(name, &copy).await? else { continue };
        let of = |known: &&mut Layer| match known {
            Layer::Image(path) | Layer::Dir(path) => path.file_name().is_some_and(|n| n == &**name),
            Layer::Host => false,
        };
        let place = next.layers.iter_mut().find(of);
        *place.ok_or_else(|| compute::Error::Spec(format!("{name} is no layer")))? = layer;
        *name = copy;
    }
    Ok(next)
}

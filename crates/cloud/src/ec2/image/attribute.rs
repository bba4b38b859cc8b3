//! What its owner can change of an image.

use std::time::Duration;

use store::Tx;

use super::model::{Image, Protection, Stage};
use super::ops;
use crate::ec2::snapshot::Permissions;
use crate::ec2::snapshot::ops::Share;
use crate::ec2::volume::mapping::{Device, What};
use crate::ec2::{Error, Result};
use crate::{Context, Timestamp};

/// How long protection with a cooldown stays in force once it is switched off.
const COOLDOWN: Duration = Duration::from_secs(24 * 3600);

/// The longest time ahead that an image can be deprecated at.
const FUTURE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// One that has a record: the built-in image is part of the installation.
pub fn changeable(tx: &Tx, cx: &Context, id: &str) -> Result<Image> {
    let image = ops::image(tx, cx, id)?;
    if id == ops::built_in_id() {
        return Err(Error::OperationNotPermitted(format!(
            "The image '{id}' ({}) is part of this installation and cannot be changed.",
            ops::BUILT_IN
        )));
    }
    Ok(image)
}

fn available(tx: &Tx, cx: &Context, id: &str) -> Result<Image> {
    let image = changeable(tx, cx, id)?;
    if image.stage != Stage::Available {
        return Err(Error::AmiUnavailable(format!(
            "The image ID '{id}' is not available: it is in the '{}' state.",
            image.state()
        )));
    }
    Ok(image)
}

pub fn describe(tx: &mut Tx, cx: &Context, id: &str, description: &str) -> Result<()> {
    crate::ec2::snapshot::ops::check_description(description)?;
    let image = changeable(tx, cx, id)?;
    tx.put(Image { description: description.to_owned(), ..image });
    Ok(())
}

pub fn share(tx: &mut Tx, cx: &Context, id: &str, share: &Share) -> Result<()> {
    share.check()?;
    let image = available(tx, cx, id)?;
    let encrypted = |device: &Device| matches!(device.what, What::Ebs { encrypted: true, .. });
    if share.gives() && image.devices().iter().any(encrypted) {
        return Err(Error::InvalidParameter(
            "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another snapshot."
                .into(),
        ));
    }
    if image.disabled {
        return Err(Error::OperationNotPermitted(format!(
            "The image '{id}' is disabled and cannot be shared."
        )));
    }
    tx.put(Image { permissions: share.apply(&image.permissions), ..image });
    Ok(())
}

pub fn unshare(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let image = changeable(tx, cx, id)?;
    tx.put(Image { permissions: Permissions::default(), ..image });
    Ok(())
}

/// A disabled image is nobody else's any more.
pub fn set_disabled(tx: &mut Tx, cx: &Context, id: &str, disabled: bool) -> Result<()> {
    let image = available(tx, cx, id)?;
    let permissions = match disabled {
        true => Permissions::default(),
        false => image.permissions.clone(),
    };
    tx.put(Image { disabled, permissions, ..image });
    Ok(())
}

pub fn deprecate(tx: &mut Tx, cx: &Context, id: &str, at: Option<Timestamp>) -> Result<()> {
    let image = changeable(tx, cx, id)?;
    // To the minute, as AWS rounds it.
    let at = at.map(|at| Timestamp(at.0.div_euclid(60_000) * 60_000));
    if at.is_some_and(|at| at <= cx.now || at > cx.now.plus(FUTURE)) {
        return Err(Error::value(
            "The deprecation time must be in the future, at most ten years from now.",
        ));
    }
    tx.put(Image { deprecate_at: at, ..image });
    Ok(())
}

/// What the protection is then.
pub fn protect(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    on: bool,
    with_cooldown: bool,
) -> Result<Protection> {
    let image = changeable(tx, cx, id)?;
    let protection = match (on, image.protection) {
        (true, _) => Protection::On { with_cooldown },
        (false, Protection::On { with_cooldown: true }) => {
            Protection::Cooling { until: cx.now.plus(COOLDOWN) }
        }
        (false, cooling @ Protection::Cooling { until }) if cx.now < until => cooling,
        (false, _) => Protection::Off,
    };
    tx.put(Image { protection, ..image });
    Ok(protection)
}

impl Protection {
    /// `DeregistrationProtection`
    pub fn text(self, now: Timestamp) -> String {
        match self {
            Protection::On { with_cooldown: true } => "enabled-with-cooldown".to_owned(),
            Protection::On { with_cooldown: false } => "enabled-without-cooldown".to_owned(),
            Protection::Cooling { until } if now < until => {
                format!("disabled on {}", until.iso8601())
            }
            Protection::Cooling { .. } | Protection::Off => "disabled".to_owned(),
        }
    }
}

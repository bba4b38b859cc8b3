//! Which images a DescribeImages call is about: ids, owners, filters, pages.

use store::Snapshot;

use super::model::{Image, ROOT_DEVICE, Stage};
use super::ops::images;
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::volume::mapping::{Device, What};
use crate::ec2::{Kind, Result, tag};

/// Who is asked for, besides names and filters.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `self`, account ids, or the alias of an owner.
    pub owners: Vec<String>,
    /// `self`, `all`, or account ids: images that these may launch by an explicit permission.
    pub executable_users: Vec<String>,
    pub deprecated: bool,
    pub disabled: bool,
}

const FILTERS: &[&str] = &[
    "architecture",
    "block-device-mapping.delete-on-termination",
    "block-device-mapping.device-name",
    "block-device-mapping.encrypted",
    "block-device-mapping.snapshot-id",
    "block-device-mapping.volume-size",
    "block-device-mapping.volume-type",
    "boot-mode",
    "creation-date",
    "description",
    "ena-support",
    "free-tier-eligible",
    "hypervisor",
    "image-allowed",
    "image-id",
    "image-type",
    "is-public",
    "kernel-id",
    "manifest-location",
    "name",
    "owner-alias",
    "owner-id",
    "platform",
    "product-code",
    "product-code.type",
    "public-ssm-parameter-name",
    "ramdisk-id",
    "root-device-name",
    "root-device-type",
    "source-image-id",
    "source-image-region",
    "source-instance-id",
    "sriov-net-support",
    "state",
    "state-reason-code",
    "state-reason-message",
    "virtualization-type",
];

pub fn describe_images(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    scope: &Scope,
    listing: &Listing,
) -> Result<(Vec<Image>, Option<String>)> {
    listing.check_max_results(1..=1000)?;
    let mut all = images(snapshot, cx);
    listing::only(&mut all, ids, |image| &image.id, Kind::Image)?;
    listing.check(FILTERS, true)?;
    if !scope.owners.is_empty() {
        all.retain(|image| {
            scope.owners.iter().any(|owner| owner == "self" || *owner == image.account)
        });
    }
    if !scope.executable_users.is_empty() {
        all.retain(|image| scope.executable_users.iter().any(|user| may_launch(cx, image, user)));
    }
    // Its owner sees a deprecated image always, and all here are the owner's. Those that are named are
    // shown in any state.
    all.retain(|image| !image.disabled || scope.disabled || ids.contains(&image.id));
    all.retain(|image| {
        let tags = || tag::ops::tags_of(snapshot, cx, &image.id);
        listing.keeps(tags, |name| values(image, name))
    });
    listing.page(all, |image| image.id.clone())
}

/// By a permission that was given, as `self`, `all` or an account.
fn may_launch(cx: &Context, image: &Image, user: &str) -> bool {
    match user {
        "all" => image.permissions.everybody,
        "self" => image.permissions.accounts.contains(&cx.account),
        account => image.permissions.accounts.contains(account),
    }
}

fn values(image: &Image, name: &str) -> Vec<String> {
    if let Some(name) = name.strip_prefix("block-device-mapping.") {
        return image.devices().iter().flat_map(|device| of_device(device, name)).collect();
    }
    let value = match name {
        "architecture" => image.architecture.clone(),
        "root-device-name" => ROOT_DEVICE.to_owned(),
        "creation-date" => image.creation_date(),
        "description" => image.description.clone(),
        "ena-support" => "true".to_owned(),
        "hypervisor" => "xen".to_owned(),
        "image-id" => image.id.clone(),
        "image-type" => "machine".to_owned(),
        "is-public" => image.permissions.everybody.to_string(),
        "manifest-location" => image.location(),
        "name" => image.name.clone(),
        "owner-id" => image.account.clone(),
        "root-device-type" => image.root_device.name().to_owned(),
        "state" => image.state().to_owned(),
        "virtualization-type" => "hvm".to_owned(),
        "source-instance-id" => return image.origin.instance_id.iter().cloned().collect(),
        "source-image-id" => return image.origin.image.iter().map(|(id, _)| id.clone()).collect(),
        "source-image-region" => {
            return image.origin.image.iter().map(|(_, region)| region.clone()).collect();
        }
        "state-reason-code" if matches!(image.stage, Stage::Failed(_)) => FAILED.to_owned(),
        "state-reason-message" => match &image.stage {
            Stage::Failed(why) => why.clone(),
            _ => return vec![],
        },
        _ => return vec![],
    };
    vec![value]
}

/// Code of the reason why an image could not be made.
pub const FAILED: &str = "Client.InternalError";

fn of_device(device: &Device, name: &str) -> Option<String> {
    if name == "device-name" {
        return Some(device.name.clone());
    }
    let What::Ebs { snapshot_id, size_gib, performance, delete_on_termination, encrypted } =
        &device.what
    else {
        return None;
    };
    match name {
        "delete-on-termination" => Some(delete_on_termination.to_string()),
        "encrypted" => Some(encrypted.to_string()),
        "snapshot-id" => snapshot_id.clone(),
        "volume-size" => Some(size_gib.to_string()),
        "volume-type" => Some(performance.kind.name().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use compute::Layer;

    use super::*;
    use crate::ec2::image::ops::{Content, register_local};
    use crate::filter::Filter;
    use crate::testing;

    fn content() -> Content {
        Content { layers: vec![Layer::Dir(PathBuf::from("/images/x"))], ..Content::default() }
    }

    #[tokio::test]
    async fn describing() {
        let cx = testing::context();
        cx.write(|tx| register_local(tx, &cx, "web-1", content(), "")).await.unwrap();
        let found = |owners: &[&str], users: &[&str], filter: Option<(&str, &str)>| {
            let scope = Scope {
                owners: owners.iter().map(|o| o.to_string()).collect(),
                executable_users: users.iter().map(|u| u.to_string()).collect(),
                ..Scope::default()
            };
            let filters = filter
                .map(|(name, value)| Filter { name: name.into(), values: vec![value.into()] });
            let listing = Listing::filtered(filters.into_iter().collect());
            describe_images(&cx.read(), &cx, &[], &scope, &listing).unwrap().0.len()
        };
        assert_eq!(found(&[], &[], None), 2);
        assert_eq!(found(&["self"], &[], Some(("name", "web-*"))), 1);
        assert_eq!(found(&["123456789012"], &[], Some(("creation-date", "2026-*"))), 2);
        assert_eq!(found(&["amazon"], &[], None), 0);
        assert_eq!(found(&[], &["all"], None), 0);
        assert_eq!(found(&[], &[], Some(("platform", "windows"))), 0);
    }
}
